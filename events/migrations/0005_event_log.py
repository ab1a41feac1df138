"""What the event log is read by: its indexes, the names of people and chats, the tokens of texts and ids."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


# PostgreSQL looks tokens up in the column itself. SQLite's FTS5 keeps an index of the column beside the table.
CREATE = {
    "postgresql": [
        "CREATE INDEX event_text_tokens ON events_eventtext USING gin (string_to_array(tokens, ' '))",
        # An array of tokens says how rare each is; the default keeps too few to tell.
        "ALTER INDEX event_text_tokens ALTER COLUMN 1 SET STATISTICS 1000",
    ],
    "sqlite": [
        "CREATE VIRTUAL TABLE events_eventtext_tokens USING fts5("
        "tokens, content='events_eventtext', content_rowid='event_id', detail=none, tokenize='ascii')",
        "CREATE TRIGGER events_eventtext_added AFTER INSERT ON events_eventtext BEGIN"
        " INSERT INTO events_eventtext_tokens (rowid, tokens) VALUES (new.event_id, new.tokens); END",
        "CREATE TRIGGER events_eventtext_removed AFTER DELETE ON events_eventtext BEGIN"
        " INSERT INTO events_eventtext_tokens (events_eventtext_tokens, rowid, tokens)"
        " VALUES ('delete', old.event_id, old.tokens); END",
    ],
}
DROP = {
    "postgresql": ["DROP INDEX event_text_tokens"],
    "sqlite": [
        "DROP TRIGGER events_eventtext_removed",
        "DROP TRIGGER events_eventtext_added",
        "DROP TABLE events_eventtext_tokens",
    ],
}


def run(statements):
    def step(apps, schema_editor):
        for statement in statements[schema_editor.connection.vendor]:
            schema_editor.execute(statement)

    return step


class Migration(migrations.Migration):

    dependencies = [
        ('events', '0004_people_and_open_id'),
    ]

    operations = [
        migrations.CreateModel(
            name='Chat',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(blank=True, max_length=120, verbose_name='name')),
                ('seen_at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='seen at')),
                ('asked_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('wanted_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('chat_id', models.CharField(max_length=128)),
            ],
            options={
                'verbose_name': 'chat',
                'verbose_name_plural': 'known chats',
            },
        ),
        migrations.CreateModel(
            name='EventText',
            fields=[
                ('event', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='+', serialize=False, to='events.event')),
                ('text', models.TextField()),
                ('tokens', models.TextField()),
            ],
        ),
        migrations.AddField(
            model_name='person',
            name='wanted_at',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AlterField(
            model_name='event',
            name='bot',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='events', to='events.bot', verbose_name='bot'),
        ),
        migrations.AddIndex(
            model_name='event',
            index=models.Index(fields=['bot', '-id'], name='event_by_bot'),
        ),
        migrations.AddIndex(
            model_name='event',
            index=models.Index(condition=models.Q(('status', 'failed')), fields=['-id'], name='event_failed'),
        ),
        migrations.AddIndex(
            model_name='event',
            index=models.Index(condition=models.Q(('late', True)), fields=['-id'], name='event_late'),
        ),
        migrations.AddIndex(
            model_name='event',
            index=models.Index(condition=models.Q(('deliveries__gt', 1)), fields=['-id'], name='event_again'),
        ),
        migrations.AddIndex(
            model_name='person',
            index=models.Index(condition=models.Q(('wanted_at__isnull', False)), fields=['wanted_at'], name='person_wanted'),
        ),
        migrations.AddField(
            model_name='chat',
            name='bot',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='chats', to='events.bot', verbose_name='bot'),
        ),
        migrations.AddIndex(
            model_name='chat',
            index=models.Index(fields=['chat_id'], name='chat_by_id'),
        ),
        migrations.AddIndex(
            model_name='chat',
            index=models.Index(condition=models.Q(('wanted_at__isnull', False)), fields=['wanted_at'], name='chat_wanted'),
        ),
        migrations.AddConstraint(
            model_name='chat',
            constraint=models.UniqueConstraint(fields=('bot', 'chat_id'), name='one_chat_per_bot'),
        ),
        migrations.RunPython(run(CREATE), run(DROP)),
    ]
