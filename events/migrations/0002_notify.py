"""On PostgreSQL, every statement that adds rows to the outbox wakes the workers."""

from django.db import migrations

CREATE = """
CREATE FUNCTION events_outbox_notify() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_notify('outbox', ''); RETURN NULL; END $$;
CREATE TRIGGER events_outbox_notify AFTER INSERT ON events_outboxitem
FOR EACH STATEMENT EXECUTE FUNCTION events_outbox_notify();
"""
DROP = """
DROP TRIGGER events_outbox_notify ON events_outboxitem;
DROP FUNCTION events_outbox_notify();
"""


def run(sql):
    def step(apps, schema_editor):
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(sql)

    return step


class Migration(migrations.Migration):
    dependencies = [("events", "0001_initial")]
    operations = [migrations.RunPython(run(CREATE), run(DROP))]
