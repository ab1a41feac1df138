from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('incidents', '0004_export_pieces'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='timelineentry',
            index=models.Index(condition=models.Q(('person', '')), fields=['open_id'], name='timeline_unnamed'),
        ),
    ]
