"""`ROUNDS`: the median milliseconds of pages of the event log, ours and Django's stock list, as JSON."""

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.auth.models import User
from django.test import Client, RequestFactory

from events.eventlist import newest_key
from events.models import Event
from events.reading import read_new


class Stock(ModelAdmin[Event]):
    list_display = ("event_id", "event_type", "bot", "chat_id", "status", "received_at")
    list_per_page = 50
    search_fields = ("event_id", "body")


while read_new():
    pass
user, _ = User.objects.get_or_create(username="bench", is_staff=True, is_superuser=True)
client = Client()
client.force_login(user)
stock = Stock(Event, AdminSite())


def ours(query: str) -> None:
    answer = client.get(f"/admin/events/event/?{query}", headers={"host": "127.0.0.1"})
    if answer.status_code != 200:
        sys.exit(f"{query}: {answer.status_code}")


def theirs(query: str) -> None:
    request: Any = RequestFactory().get(f"/?{query}")
    request.user, request.session = user, {}
    answer: Any = stock.changelist_view(request)
    answer.render()


def median(ask: Callable[[str], None], query: str, rounds: int) -> float:
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        ask(query)
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


rounds, newest = int(sys.argv[1]), newest_key()
oldest = Event.objects.order_by("pk").values_list("pk", flat=True).first() or 0
pages = {
    "first page": "",
    "deep page": f"before={oldest + (newest - oldest) // 10}",
    "one chat": "chat=oc_7",
    "failed only": "status=failed",
    "an id searched": "q=ev_77",
    "text searched": "q=payments",
    "a filter that fits nothing": "chat=oc_none&type=p2p_chat_create",
}
ours("")  # what is imported and compiled at first use
theirs("")
found = {name: median(ours, query, rounds) for name, query in pages.items()}
found["stock, first page"] = median(theirs, "", 3)
found["stock, deep page"] = median(theirs, f"p={(newest - oldest) * 9 // 10 // 50}", 3)
found["stock, text searched"] = median(theirs, "q=payments", 1)
print(json.dumps(found))
