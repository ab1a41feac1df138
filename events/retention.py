"""How long events and calls are kept: the old ones go, oldest first, in small batches that hold nobody up.

A bot may say otherwise than RETAIN_EVENTS_DAYS and RETAIN_OUTBOX_DAYS. What is never pruned (the history of
incidents) only the packages above know: KEPT in the routes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from importlib import import_module
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from .age import newest_before
from .models import Bot, Event, EventText, OutboxItem
from .partitions import drop, is_partitioned, keep_ahead, partitions

ROWS_AT_ONCE = 500
KEYS_AT_ONCE = 2_000  # of a month that goes as a whole
IDLE = timedelta(minutes=10)


@dataclass(frozen=True)
class Kept:
    """The rows that stay, however old."""

    events: Q
    outbox: Q


Rule = Callable[[], Kept]


@cache
def rules() -> Sequence[Rule]:
    """`KEPT` of the composing package, loaded at first use: events imports nothing above itself."""
    table: Sequence[Rule] = import_module(settings.ROUTES_MODULE).KEPT
    return table


def prune(now: datetime) -> Iterator[int]:
    """Deletes what is past its time, a batch at each step, and gives the number of its rows. Any number may do so."""
    yield from _drop_whole_months(now)
    for rows in past_their_time(now):
        while count := _delete(rows):
            yield count


class Pruning:
    """The worker's share: one batch at a time, and a look for more every IDLE while there is nothing to do."""

    def __init__(self) -> None:
        self._batches: Iterator[int] | None = None
        self._next_at: datetime | None = None

    def step(self, now: datetime) -> int:
        if self._batches is None:
            if self._next_at is not None and now < self._next_at:
                return 0
            self._batches = prune(now)
        count = next(self._batches, 0)
        if not count:
            self._batches, self._next_at = None, now + IDLE
        return count


def past_their_time(now: datetime) -> list[QuerySet[Any]]:
    """What may go, for each bot: its events first, as a call stays for as long as the event that caused it."""
    kept = [rule() for rule in rules()]
    found: list[QuerySet[Any]] = []
    for bot in Bot.objects.all():
        before = now - timedelta(days=bot.retain_events_days or settings.RETAIN_EVENTS_DAYS)
        events = Event.objects.filter(bot=bot, pk__lte=newest_before(Event, "received_at", before))
        found.append(_without(events, [rule.events for rule in kept]))
    for bot in Bot.objects.all():
        before = now - timedelta(days=bot.retain_outbox_days or settings.RETAIN_OUTBOX_DAYS)
        calls = OutboxItem.objects.filter(bot=bot, pk__lte=newest_before(OutboxItem, "created_at", before))
        ended = calls.exclude(status__in=OutboxItem.UNFINISHED).filter(followed_up=True, cause=None)
        found.append(_without(ended, [rule.outbox for rule in kept]))
    return found


def _drop_whole_months(now: datetime) -> Iterator[int]:
    """A partitioned log: a month goes as one table once it is past the time of every bot.

    What refers to its events is let go first, in batches: the database does not see to that (decision 16).
    """
    is_partitioned.cache_clear()  # a worker may be older than the partitions
    if not is_partitioned():
        return
    keep_ahead(now)
    days = [bot.retain_events_days or settings.RETAIN_EVENTS_DAYS for bot in Bot.objects.all()]
    before = now - timedelta(days=max(days, default=settings.RETAIN_EVENTS_DAYS))
    for partition in partitions():
        if partition.end > before:
            return
        events = Event.objects.filter(received_at__lt=partition.end)
        if partition.begin:
            events = events.filter(received_at__gte=partition.begin)
        kept = [rule().events for rule in rules()]
        yield from _let_go(_without(events, kept))
        drop(partition, partial(_kept_keys, events, kept))


def _kept_keys(events: QuerySet[Event], kept: Sequence[Q]) -> list[int]:
    return [key for those in kept for key in events.filter(those).values_list("pk", flat=True)]


def _let_go(events: QuerySet[Event]) -> Iterator[int]:
    last = 0
    while keys := list(events.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:KEYS_AT_ONCE]):
        with transaction.atomic():
            EventText.objects.filter(pk__in=keys).delete()
            OutboxItem.objects.filter(cause__in=keys).update(cause=None)
        last = keys[-1]
        yield len(keys)
    # What was read for the search while its event was deleted.
    EventText.objects.filter(~Exists(Event.objects.filter(pk=OuterRef("pk"))), pk__lte=last).delete()


def _without(rows: QuerySet[Any], kept: Sequence[Q]) -> QuerySet[Any]:
    for those in kept:
        rows = rows.exclude(those)
    return rows


@transaction.atomic
def _delete(rows: QuerySet[Any]) -> int:
    """One batch; rows that somebody holds are left for the next time."""
    oldest = (
        rows.order_by("pk").select_for_update(skip_locked=True, of=("self",)).values_list("pk", flat=True)
    )
    keys = list(oldest[:ROWS_AT_ONCE])
    rows.model._default_manager.filter(pk__in=keys).delete()
    return len(keys)
