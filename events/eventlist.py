"""Pages of the event log by key: no page number, no count of the table, and never a search without an end.

What a filter asks for is read along one index. Where that index answers all of it, a page reads 51 rows. Where
something remains to be compared row by row, a page compares at most LOOKED_THROUGH of them. Texts are looked up
stretch by stretch, the newest first, because the index of texts knows no order. A page that ends before it is full
says how far back it looked and offers to go on: a filter that fits nothing costs the same among 10,000 events and
among 1,000,000.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any

from django.db import connection
from django.db.models import Q, QuerySet

from .eventfilter import EventFilter
from .models import Event

PAGE_LENGTH = 50
LOOKED_THROUGH = 20_000
COUNTED = 1_000  # matches that are counted; of more, the number is estimated
# A word that everyone writes is found in the newest 8,192 keys, a rare one takes more.
STRETCH_BITS = (13, 13, 16, 19)
STRETCHES_READ = 20  # some ten million events
READ_SECONDS = 0.5  # words that are frequent, but never together, take longer

# Sets of filters that one index answers, the most telling first, and the condition the index is read by.
# "delivery" and "status" have indexes of their rare rows only (eventfilter.BESIDE_RARE_ROWS).
INDEXED: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("status", lambda value: value == Event.Status.FAILED),
    ("delivery", lambda _value: True),
    ("chat", lambda _value: True),
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
    events, bound = _read(chosen, before, None, among, length + 1)
    newer = before - 1 if before is not None else None
    if len(events) > length:
        return Page(events[:length], newer, events[length - 1].pk)
    # The row at the bound was not compared yet: it is the first of the next page.
    return Page(events, newer, bound + 1 if bound else None, bound)


def _page_after(chosen: EventFilter, after: int, among: QuerySet[Event] | None, length: int) -> Page:
    events, bound = _read(chosen, None, after, among, length + 1)
    full = len(events) > length
    events = events[:length][::-1]
    newer = events[0].pk if full else bound - 1 if bound else None
    if newer is None:  # the newest page, whole
        return page_of(chosen, among=among, length=length)
    return Page(events, newer, after + 1)


def _read(
    chosen: EventFilter, before: int | None, after: int | None, among: QuerySet[Event] | None, limit: int
) -> tuple[list[Event], int | None]:
    """Up to `limit` events from the key on, downwards or (after) upwards; and the key where it gave up, if it did."""

    def rows(above: int | None, below: int | None, wanted: int) -> list[Event]:
        found = chosen.queryset(above=above, below=below, among=among).select_related("bot")
        return list(found.order_by("-pk" if after is None else "pk")[:wanted])

    if is_along_texts(chosen):
        return _read_stretches(chosen, before, after, limit, rows)
    bound = _bound(chosen, below=before, above=after, upwards=after is not None)
    return (rows(bound, before, limit) if after is None else rows(after, bound, limit)), bound


Rows = Callable[[int | None, int | None, int], list[Any]]


def _read_stretches(
    chosen: EventFilter, before: int | None, after: int | None, limit: int, rows: Rows
) -> tuple[list[Any], int | None]:
    first, last = ends_of(chosen)
    low, high = max(first, (after or 0) + 1), min(last, before - 1 if before is not None else last)
    found: list[Any] = []
    stretches = upwards(low, high) if after is not None else downwards(low, high)
    until = time.monotonic() + READ_SECONDS
    for number, (begin, end) in enumerate(stretches):
        if number == STRETCHES_READ or (number and time.monotonic() > until):
            return found, begin if after is not None else end
        found += rows(begin - 1, end + 1, limit - len(found))
        if len(found) >= limit:
            break
    return found, None


def downwards(low: int, high: int) -> Iterator[tuple[int, int]]:
    """The stretches from the highest key to the lowest, as (first, last) keys."""
    for bits in chain(STRETCH_BITS, repeat(STRETCH_BITS[-1])):
        if high < low:
            return
        begin = max(low, high >> bits << bits)
        yield begin, high
        high = begin - 1


def upwards(low: int, high: int) -> Iterator[tuple[int, int]]:
    for bits in chain(STRETCH_BITS, repeat(STRETCH_BITS[-1])):
        if low > high:
            return
        end = min(high, (low >> bits << bits) + (1 << bits) - 1)
        yield low, end
        low = end + 1


def newest_key() -> int:
    return Event.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def newer_than(chosen: EventFilter, after: int, among: QuerySet[Event], limit: int) -> list[Event]:
    """Up to `limit` matching events that came after one, newest first; for the live tail."""
    events, _bound = _read(chosen, None, max(after, newest_key() - LOOKED_THROUGH), among, limit)
    return events[::-1]


@dataclass(frozen=True)
class Estimate:
    """How many events match; `is_exact` where they were counted."""

    count: int
    is_exact: bool


def estimate(chosen: EventFilter, among: QuerySet[Event] | None = None) -> Estimate:
    """How many match, for the price of a page: counted up to COUNTED, else scaled up from the newest of them."""
    if chosen.is_empty:
        return Estimate(*_size_of_table())
    oldest, newest = ends_of(chosen)
    if newest < oldest:
        return Estimate(0, True)

    def keys(above: int | None, below: int | None, wanted: int) -> list[int]:
        rows = chosen.queryset(above=above, below=below, among=among).order_by("-pk")
        return list(rows.values_list("pk", flat=True)[:wanted])

    if is_along_texts(chosen):
        found, bound = _read_stretches(chosen, None, None, COUNTED + 1, keys)
    else:
        bound = _bound(chosen)
        found = keys(bound, None, COUNTED + 1)
    if len(found) <= COUNTED and not bound:
        return Estimate(len(found), True)
    looked_back_to = found[-1] if len(found) > COUNTED else bound or oldest
    return Estimate(round(len(found) * (newest - oldest + 1) / max(1, newest - looked_back_to + 1)), False)


def ends_of(chosen: EventFilter) -> tuple[int, int]:
    """The oldest and the newest key that could match."""
    above, below = chosen.stretch
    keys = Event.objects.order_by("pk").values_list("pk", flat=True)
    oldest, newest = keys.first() or 1, keys.last() or 0
    return max(oldest, above + 1 if above else 0), min(newest, below - 1 if below else newest)


# Of the table, or of its partitions: nothing keeps the number of the table above them up to date.
_KEPT_SIZE = (
    "WITH log AS (SELECT %s::regclass::oid AS oid) SELECT sum(reltuples) FROM pg_class WHERE relkind = 'r' AND"
    " (oid IN (SELECT oid FROM log) OR oid IN (SELECT inhrelid FROM pg_inherits, log WHERE inhparent = log.oid))"
)


def _size_of_table() -> tuple[int, bool]:
    """PostgreSQL keeps a number, SQLite's keys are nearly without gaps; a small table is counted."""
    oldest, newest = ends_of(EventFilter())
    if newest - oldest < COUNTED:
        return Event.objects.count(), True
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(_KEPT_SIZE, [Event._meta.db_table])
            kept = int(cursor.fetchone()[0])
        if kept > 0:
            return kept, False
    return newest - oldest + 1, False


def _bound(
    chosen: EventFilter, *, below: int | None = None, above: int | None = None, upwards: bool = False
) -> int | None:
    """The key behind the LOOKED_THROUGH rows that may be compared; None where fewer remain, or none need be."""
    condition, answered = _along(chosen)
    if not set(chosen.as_json()) - answered - SET_BY_STRETCH:
        return None
    first, last = chosen.stretch
    above, below = _larger(above, first), _smaller(below, last)
    keys = Event.objects.filter(condition, **_between(above, below)).values_list("pk", flat=True)
    ordered = keys.order_by("pk" if upwards else "-pk")
    return ordered[LOOKED_THROUGH : LOOKED_THROUGH + 1].first()


def is_along_texts(chosen: EventFilter) -> bool:
    """Whether the index of texts is the one to read along."""
    return bool(chosen.person) or (bool(chosen.q) and chosen.is_indexed and not chosen.known_ids)


def _along(chosen: EventFilter) -> tuple[Q, set[str]]:
    """The condition whose index is to be read along, and which filters it answers."""
    if chosen.known_ids:
        return Q(pk__in=chosen.known_ids), {"q"}
    for name, has_index in INDEXED:
        value = getattr(chosen, name)
        if value and has_index(value):
            return EventFilter(**{name: value}).conditions, {name}
    return Q(), set()


def _between(above: int | None, below: int | None) -> Mapping[str, int]:
    bounds = {"pk__gt": above, "pk__lt": below}
    return {lookup: bound for lookup, bound in bounds.items() if bound is not None}


def _larger(one: int | None, other: int | None) -> int | None:
    return max((bound for bound in (one, other) if bound is not None), default=None)


def _smaller(one: int | None, other: int | None) -> int | None:
    return min((bound for bound in (one, other) if bound is not None), default=None)
