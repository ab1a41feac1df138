"""How long events and calls are kept: the old ones go, oldest first, in small batches that hold nobody up.

A bot may say otherwise than RETAIN_EVENTS_DAYS and RETAIN_OUTBOX_DAYS. What is never pruned (the history of
incidents) only the packages above know: KEPT in the routes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from importlib import import_module
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from .age import newest_before
from .models import Bot, Event, OutboxItem

ROWS_AT_ONCE = 500
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
