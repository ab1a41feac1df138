"""A process whose files cannot grow: posts events until the disk is full, makes room, posts again."""

import json
import resource
from pathlib import Path

import django

LARGE = "x" * 60_000  # so that the disk is full after some dozens

if __name__ == "__main__":
    django.setup()
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client

    from events.models import Bot, Event
    from tests import feishu_events

    call_command("migrate", verbosity=0)
    secrets = {"app_secret": "s", "verification_token": feishu_events.VERIFICATION_TOKEN}
    Bot.objects.create(name="b", slug="default", app_id=feishu_events.APP_ID, **secrets)
    client = Client()

    def post() -> int:
        body = feishu_events.member_joined()
        body["event"]["name"] = LARGE
        raw, headers = feishu_events.sealed(body, "", encrypted=False, signed=False)
        return client.post(
            "/webhook/event/default", raw, content_type="application/json", headers=headers
        ).status_code

    with connection.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = Path(connection.settings_dict["NAME"]).stat().st_size
    _soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 500_000, hard))
    full = [post() for _ in range(120)]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    again = post()
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA integrity_check")
        (state,) = cursor.fetchone()
    stored = Event.objects.count()
    print(json.dumps({"full": full, "again": again, "integrity": state, "stored": stored}))
