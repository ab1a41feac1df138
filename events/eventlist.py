"""Pages of the event log by key: no page number, no count of the table, and never a search without an end.

What a filter asks for is read along one index (`_along`). Where that index answers all of it, a page reads 51 rows.
Where something remains to be compared row by row, a page compares at most LOOKED_THROUGH of them, says how far
back it looked, and offers to go on: a filter that fits nothing costs the same among 10,000 events and among 1,000,000.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import connection
from django.db.models import Q, QuerySet

from .eventfilter import EventFilter
from .models import Event, EventText

PAGE_LENGTH = 50
LOOKED_THROUGH = 20_000
COUNTED = 1_000  # matches that are counted; of more, the number is estimated

# Sets of filters that one index answers, the most telling first, and the condition the index is read by.
# "delivery" and "status" have indexes of their rare rows only.
INDEXED: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("chat", lambda _value: True),
    ("status", lambda value: value == Event.Status.FAILED),
    ("delivery", lambda _value: True),
    ("type", lambda value: value != "other"),
    ("bot", lambda _value: True),
)
SET_BY_STRETCH = {"since", "until"}


@dataclass(frozen=True)
class Page:
    """Some events, newest first. `newer` and `older` are keys for `after` and `before`; None: there are no more.

    `looked_back_to` is the key of the last row that was compared, where the page ended there without being full.
    """

    events: list[Event] = field(default_factory=list)
    newer: int | None = None
    older: int | None = None
    looked_back_to: int | None = None


def page_of(
    chosen: EventFilter,
    *,
    before: int | None = None,
    after: int | None = None,
    among: QuerySet[Event] | None = None,
    length: int = PAGE_LENGTH,
) -> Page:
    """The newest events that match, or those next to a key: older than `before`, newer than `after`."""
    if after is not None:
        return _page_after(chosen, after, among, length)
    floor = _bound(chosen, below=before)
    rows = chosen.queryset(below=before, above=floor, among=among).select_related("bot").order_by("-pk")
    events = list(rows[: length + 1])
    newer = before - 1 if before is not None else None
    if len(events) > length:
        return Page(events[:length], newer, events[length - 1].pk)
    # The row at the bound was not compared yet: it is the first of the next page.
    return Page(events, newer, floor + 1 if floor else None, floor)


def _page_after(chosen: EventFilter, after: int, among: QuerySet[Event] | None, length: int) -> Page:
    ceiling = _bound(chosen, above=after, upwards=True)
    rows = chosen.queryset(above=after, below=ceiling, among=among).select_related("bot").order_by("pk")
    events = list(rows[: length + 1])
    full = len(events) > length
    events = events[:length][::-1]
    newer = events[0].pk if full else ceiling - 1 if ceiling else None
    if newer is None:  # the newest page, whole
        return page_of(chosen, among=among, length=length)
    return Page(events, newer, after + 1)


def newest_key() -> int:
    return Event.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def newer_than(chosen: EventFilter, after: int, among: QuerySet[Event], limit: int) -> list[Event]:
    """Up to `limit` matching events that came after one, newest first; for the live tail."""
    floor = _larger(after, _bound(chosen))
    rows = chosen.queryset(above=floor, among=among).select_related("bot").order_by("-pk")
    return list(rows[:limit])


@dataclass(frozen=True)
class Estimate:
    """How many events match; `is_exact` where they were counted."""

    count: int
    is_exact: bool


def estimate(chosen: EventFilter, among: QuerySet[Event] | None = None) -> Estimate:
    """How many match, for the price of a page: counted up to COUNTED, else scaled up from the newest of them."""
    if chosen.is_empty:
        return Estimate(*_size_of_table())
    oldest, newest = _ends(chosen)
    if not newest:
        return Estimate(0, True)
    floor = _bound(chosen)
    rows = chosen.queryset(above=floor, among=among).order_by("-pk").values_list("pk", flat=True)
    found = list(rows[: COUNTED + 1])
    if len(found) <= COUNTED and not floor:
        return Estimate(len(found), True)
    looked_back_to = found[-1] if len(found) > COUNTED else floor or oldest
    return Estimate(round(len(found) * (newest - oldest + 1) / max(1, newest - looked_back_to + 1)), False)


def _ends(chosen: EventFilter) -> tuple[int, int]:
    """The oldest and the newest key that could match."""
    above, below = chosen.stretch
    keys = Event.objects.order_by("pk").values_list("pk", flat=True)
    oldest, newest = keys.first() or 0, keys.last() or 0
    return max(oldest, above + 1 if above else 0), min(newest, below - 1 if below else newest)


def _size_of_table() -> tuple[int, bool]:
    """PostgreSQL keeps a number, SQLite's keys are nearly without gaps; a small table is counted."""
    oldest, newest = _ends(EventFilter())
    if newest - oldest < COUNTED:
        return Event.objects.count(), True
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT reltuples FROM pg_class WHERE oid = %s::regclass", [Event._meta.db_table])
            kept = int(cursor.fetchone()[0])
        if kept > 0:
            return kept, False
    return newest - oldest + 1, False


def _bound(
    chosen: EventFilter, *, below: int | None = None, above: int | None = None, upwards: bool = False
) -> int | None:
    """The key behind the LOOKED_THROUGH rows that may be compared; None where fewer remain, or none need be."""
    along, answered = _along(chosen)
    if not set(chosen.as_json()) - answered - SET_BY_STRETCH:
        return None
    first, last = chosen.stretch
    above, below = _larger(above, first), _smaller(below, last)
    keys = along(above, below).values_list("pk", flat=True)
    ordered = keys.order_by("pk" if upwards else "-pk")
    return ordered[LOOKED_THROUGH : LOOKED_THROUGH + 1].first()


Along = Callable[[int | None, int | None], "QuerySet[Any]"]


def _along(chosen: EventFilter) -> tuple[Along, set[str]]:
    """The index to read along, as rows between two keys, and which filters it answers."""
    for name in ("q", "person"):
        if getattr(chosen, name) and (name == "person" or chosen.is_indexed or chosen.known_ids):
            return _texts_along(chosen, name), {name}
    for name, has_index in INDEXED:
        value = getattr(chosen, name)
        if value and has_index(value):
            return _events_along(EventFilter(**{name: value}).conditions), {name}
    return _events_along(Q()), set()


def _events_along(condition: Q) -> Along:
    return lambda above, below: Event.objects.filter(condition, **_between(above, below))


def _texts_along(chosen: EventFilter, name: str) -> Along:
    def rows(above: int | None, below: int | None) -> "QuerySet[Any]":
        texts = EventText.objects.filter(**_between(above, below))
        if name == "person":
            return texts.with_id(chosen.person)
        if chosen.known_ids:
            return Event.objects.filter(pk__in=chosen.known_ids)
        return texts.containing(chosen.q, chosen.named_ids)

    return rows


def _between(above: int | None, below: int | None) -> Mapping[str, int]:
    bounds = {"pk__gt": above, "pk__lt": below}
    return {lookup: bound for lookup, bound in bounds.items() if bound is not None}


def _larger(one: int | None, other: int | None) -> int | None:
    return max((bound for bound in (one, other) if bound is not None), default=None)


def _smaller(one: int | None, other: int | None) -> int | None:
    return min((bound for bound in (one, other) if bound is not None), default=None)
