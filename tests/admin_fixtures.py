"""Who visits the console in the tests (operator, viewer, nobody), and rows for them to look at."""

import json
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

WATCHED = ("bot", "event", "outboxitem", "refusal", "welcometemplate")
OPERATED = ("event", "outboxitem")
EDITED = ("bot", "welcometemplate")

numbers = count(1)


@pytest.fixture
def client_of(db: None) -> Callable[[str, list[str]], Client]:
    """The client of a member of staff with these permissions, reading English."""

    def login(name: str, codenames: list[str]) -> Client:
        user = User.objects.create_user(name, password="secret", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client = Client(headers={"accept-language": "en"})
        client.force_login(user)
        return client

    return login


@pytest.fixture
def operator(client_of: Any) -> Client:
    seen = [f"view_{model}" for model in WATCHED]
    changed = [f"change_{model}" for model in (*OPERATED, *EDITED)]
    made = [f"{verb}_{model}" for verb in ("add", "delete") for model in EDITED]
    return client_of("operator", seen + changed + made)


@pytest.fixture
def viewer(client_of: Any) -> Client:
    return client_of("viewer", [f"view_{model}" for model in WATCHED])


@pytest.fixture
def nobody(db: None) -> Client:
    return Client(headers={"accept-language": "en"})


@pytest.fixture
def make_event(bot: Any) -> Callable[..., Any]:
    """An event of someone joining a group, as it is stored; any column may be given."""
    from events.models import Event

    def make(**columns: Any) -> Any:
        number = next(numbers)
        now = timezone.now()
        payload = {
            "chat_id": "oc_team",
            "name": "Team",
            "operator_id": {"open_id": "ou_boss"},
            "users": [{"name": "Ada", "user_id": {"open_id": "ou_ada"}}],
        }
        defaults = {
            "bot": bot,
            "event_id": f"event-{number}",
            "dedup_key": f"event-{number}",
            "event_type": "im.chat.member.user.added_v1",
            "schema": "2.0",
            "chat_id": "oc_team",
            "actor_open_id": "ou_boss",
            "body": {"schema": "2.0", "event": payload},
            "created_at": now,
            "received_at": now,
            "status": "handled",
            "delivery_times": [now.isoformat()],
        }
        return Event.objects.create(**{**defaults, **columns})

    return make


@pytest.fixture
def make_item(bot: Any) -> Callable[..., Any]:
    """A card for a group, as it is queued; any column may be given."""
    from events.models import OutboxItem

    def make(**columns: Any) -> Any:
        number = next(numbers)
        card = {"schema": "2.0", "body": {"elements": [{"tag": "markdown", "content": "Hello **there**"}]}}
        arguments = {
            "receive_id_type": "chat_id",
            "receive_id": "oc_team",
            "msg_type": "interactive",
            "content": json.dumps(card),
        }
        defaults = {
            "bot": bot,
            "key": f"key-{number}",
            "uuid": f"key-{number}",
            "call": "send_message",
            "target": "oc_team",
            "arguments": arguments,
        }
        return OutboxItem.objects.create(**{**defaults, **columns})

    return make


@pytest.fixture
def queries_of() -> Callable[[Client, str], int]:
    """How many queries a page takes, once the caches of the process are warm."""

    def count_queries(client: Client, url: str) -> int:
        cache.clear()  # filled by the first request, not about to expire at the second
        assert client.get(url).status_code == 200
        with CaptureQueriesContext(connection) as queries:
            client.get(url)
        return len(queries)

    return count_queries
