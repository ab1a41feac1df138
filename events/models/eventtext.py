"""What of the events can be searched, in a table beside theirs: the webhook must not pay for it.

events.reading fills it, a moment after an event came in. PostgreSQL looks tokens up in a GIN index, SQLite in an
FTS5 table (migration 0005); neither needs an extension.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar

from django.db import connection, models, transaction
from django.db.models import BooleanField, Exists, OuterRef, Q
from django.db.models.expressions import RawSQL

from ..eventwords import asked_tokens, folded, id_tokens, is_id, text_tokens, texts_and_ids
from .event import Event
from .rows import BIGGEST_KEY, storable

# A GIN index finds all that match, however old. So that it need not, every row has a token for the stretch of the log
# in which its key lies: a fine one of 8,192 keys and a coarse one of 65,536.
STRETCHES = (("f", 13), ("c", 16))
STRETCHES_ASKED = 8
# Transactions that began earlier may commit later: so many ids behind the newest are looked at again.
LOOKED_AT_AGAIN = 2_000


# Without what is not searched.
_READ = Event.objects.only("bot", "event_type", "body", "chat_id", "actor_open_id")


class EventTextQuerySet(models.QuerySet["EventText"]):
    def missing(self, limit: int) -> list[Event]:
        """Events that came since and are not searchable yet, the oldest first; of a log nobody read, the newest."""
        newest = self._ends("-pk")
        if newest is None:
            return list(_READ.order_by("-pk")[:limit])[::-1]
        known = Exists(self.filter(pk=OuterRef("pk")))
        return list(_READ.filter(~known, pk__gt=newest - LOOKED_AT_AGAIN).order_by("pk")[:limit])

    def left_behind(self, limit: int) -> list[Event]:
        """Events older than all that are searchable, the newest of them: a log that was there before its index."""
        oldest = self._ends("pk")
        return [] if oldest is None else list(_READ.filter(pk__lt=oldest).order_by("-pk")[:limit])[::-1]

    def searchable_since(self) -> datetime | None:
        """When the oldest event came in that is searchable; None once all are."""
        oldest = self._ends("pk")
        if oldest is None or not Event.objects.filter(pk__lt=oldest).exists():
            return None
        return Event.objects.filter(pk=oldest).values_list("received_at", flat=True).first()

    def _ends(self, order: str) -> int | None:
        return self.order_by(order).values_list("pk", flat=True).first()

    def add(self, events: Iterable[Event]) -> None:
        """Makes them searchable; another process may have done so at the same moment."""
        rows = [EventText.of(event) for event in events]  # before SQLite's one writer is kept waiting
        with transaction.atomic():
            self.bulk_create(rows, ignore_conflicts=True)

    def between(self, above: int | None, below: int | None) -> EventTextQuerySet:
        """Those between two keys (excluded)."""
        bounds = {"pk__gt": above, "pk__lt": below}
        return self.filter(**{lookup: bound for lookup, bound in bounds.items() if bound is not None})

    def with_id(self, *ids: str, above: int | None = None, below: int | None = None) -> EventTextQuerySet:
        """Events between two keys in which one of these ids stands, wherever in the payload."""
        return self.between(above, below).filter(_any_of(id_tokens(set(ids)), above, below))

    def containing(
        self, phrase: str, ids: Iterable[str] = (), above: int | None = None, below: int | None = None
    ) -> EventTextQuerySet:
        """Events between two keys whose texts contain the phrase, or in which it or one of `ids` stands as an id.

        A phrase of which the index knows nothing (one letter, a sign) is compared with every text.
        """
        if is_id(phrase):
            return self.with_id(phrase, above=above, below=below)
        held = Q(text__contains=folded(phrase))
        if tokens := asked_tokens(phrase):
            held &= Q(_all_of(tokens, above, below))
        if ids := set(ids):
            held |= Q(_any_of(id_tokens(ids), above, below))
        return self.between(above, below).filter(held)


class EventText(models.Model):
    """The texts of one event, and the tokens of its texts and ids, separated by spaces."""

    event = models.OneToOneField(Event, models.CASCADE, primary_key=True, related_name="+")
    text = models.TextField()
    tokens = models.TextField()

    objects: ClassVar[EventTextQuerySet] = EventTextQuerySet.as_manager()  # type: ignore[assignment]

    def __str__(self) -> str:
        return self.text[:80]

    @classmethod
    def of(cls, event: Event) -> EventText:
        text, ids = texts_and_ids(event.payload)
        tokens = [*text_tokens(text), *id_tokens(ids | {event.actor_open_id, event.chat_id} - {""})]
        tokens += [f"{letter}{event.pk >> bits}" for letter, bits in STRETCHES]
        return cls(event_id=event.pk, text=storable(text), tokens=" ".join(tokens))


def _all_of(tokens: Iterable[str], above: int | None, below: int | None) -> RawSQL:
    if connection.vendor == "postgresql":
        return _sql("string_to_array(tokens, ' ') @> %s::text[]", [list(tokens)], above, below)
    return _sql(_MATCH, [" AND ".join(tokens)], above, below)


def _any_of(tokens: Iterable[str], above: int | None, below: int | None) -> RawSQL:
    if connection.vendor == "postgresql":
        return _sql("string_to_array(tokens, ' ') && %s::text[]", [list(tokens)], above, below)
    return _sql(_MATCH, [" OR ".join(tokens)], above, below)


_MATCH = (
    "event_id IN (SELECT rowid FROM events_eventtext_tokens WHERE events_eventtext_tokens MATCH %s"
    " AND rowid > %s AND rowid < %s)"
)


def _sql(condition: str, values: list[object], above: int | None, below: int | None) -> RawSQL:
    """The condition, told to both indexes for the stretch of the log alone."""
    if connection.vendor != "postgresql":
        values += [above or 0, BIGGEST_KEY if below is None else below]
    elif stretch := _stretch_tokens(above, below):
        condition = f"({condition} AND string_to_array(tokens, ' ') && %s::text[])"
        values.append(stretch)
    return RawSQL(condition, values, output_field=BooleanField())  # made of the above  # noqa: S611


def _stretch_tokens(above: int | None, below: int | None) -> list[str]:
    """The tokens of a stretch of the log that is not too long for them; the finest that do."""
    if below is None:
        return []
    for letter, bits in STRETCHES:
        first, last = ((above or 0) + 1) >> bits, (below - 1) >> bits
        if last - first < STRETCHES_ASKED:
            return [f"{letter}{number}" for number in range(first, last + 1)]
    return []
