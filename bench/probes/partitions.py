"""Times of storing, listing and deleting events, before and after `partition_events`; prints them as JSON."""

import json
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import islice
from statistics import median

from django.utils import timezone

from events.dispatch import accept
from events.envelope import Challenge, Envelope, open_envelope
from events.eventfilter import EventFilter
from events.eventlist import page_of
from events.models import Arrival, Bot, Event
from events.partitioning import convert, plan
from events.retention import ROWS_AT_ONCE, prune
from tests import feishu_events

ROUNDS, GROUP, BATCHES = 300, 20, 100
bot, now = Bot.objects.get(), timezone.now()
past_all = now + timedelta(days=140)
numbers = iter(range(10**6))


def envelope() -> Envelope:
    body = feishu_events.member_joined(event_id=f"new_{next(numbers)}")
    raw, headers = feishu_events.sealed(body, bot.encrypt_key.reveal())
    opened = open_envelope(bot, headers, raw, now=timezone.now(), max_age=timedelta(hours=1))
    if isinstance(opened, Challenge):
        raise TypeError(opened)
    return opened


def milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def store(count: int) -> Callable[[], object]:
    arrivals = [Arrival(bot, envelope(), "webhook") for _ in range(count)]
    return lambda: Event.objects.receive_all(arrivals)


def handle() -> Callable[[], object]:
    one = envelope()
    return lambda: accept(bot, one, transport="webhook")


def figures() -> dict[str, float]:
    return {
        "store an event": median(milliseconds(store(1)) for _ in range(ROUNDS)),
        f"store {GROUP} together": median(milliseconds(store(GROUP)) for _ in range(ROUNDS // 10)),
        "store and handle an event": median(milliseconds(handle()) for _ in range(ROUNDS)),
        "read one event by its key": median(
            milliseconds(lambda: Event.objects.get(pk=newest)) for _ in range(ROUNDS)
        ),
        "the newest page": median(milliseconds(lambda: page_of(EventFilter())) for _ in range(30)),
        "the page since an hour ago": median(
            milliseconds(lambda: page_of(EventFilter(since=(now - timedelta(hours=1)).isoformat())))
            for _ in range(10)
        ),
    }


newest = Event.objects.order_by("-pk").values_list("pk", flat=True)[0]
before = figures()
batches = milliseconds(lambda: list(islice(prune(past_all), BATCHES)))
conversion = milliseconds(lambda: list(convert(plan(now))))
after = figures()
events = Event.objects.count()
steps = []
going = prune(past_all)
while True:
    began = time.perf_counter()
    done = next(going, 0)
    steps.append(time.perf_counter() - began)
    if not done:
        break
result = {name: f"{before[name]:.2f} / {after[name]:.2f} ms" for name in before}
result["delete events in batches, per 1,000"] = f"{batches / (BATCHES * ROWS_AT_ONCE / 1000):.0f} ms"
result["the conversion"] = f"{conversion / 1000:.1f} s"
result[f"drop a partition of {events:,} events: their texts, in batches"] = f"{sum(steps[:-1]):.1f} s"
result["the drop itself, with the search for texts left over"] = f"{steps[-1]:.2f} s"
print(json.dumps(result))
