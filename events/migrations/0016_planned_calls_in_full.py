"""A dry run's calls are kept in full until the real run is through: the operator reads them before saying go."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('events', '0015_urgent_rows_are_lined_up_first'),
    ]

    operations = [
        migrations.AddField(
            model_name='plannedcall',
            name='event',
            field=models.PositiveBigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='plannedcall',
            name='state',
            field=models.CharField(default='', max_length=10),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='plannedcall',
            name='call',
            field=models.CharField(default='', max_length=40),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='plannedcall',
            name='target',
            field=models.CharField(default='', max_length=200),
            preserve_default=False,
        ),
    ]
