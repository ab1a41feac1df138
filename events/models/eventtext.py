"""What of the events can be searched, in a table beside theirs: the webhook must not pay for it.

events.reading fills it, a moment after an event came in. PostgreSQL looks tokens up in a GIN index, SQLite in an
FTS5 table (migration 0005); neither needs an extension.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from django.db import connection, models
from django.db.models import BooleanField, Exists, OuterRef, Q
from django.db.models.expressions import RawSQL

from ..eventwords import asked_tokens, folded, id_tokens, text_tokens, texts_and_ids
from .event import Event
from .rows import storable

# Transactions that began earlier may commit later: so many ids behind the newest are looked at again.
LOOKED_AT_AGAIN = 2_000


class EventTextQuerySet(models.QuerySet["EventText"]):
    def missing(self) -> models.QuerySet[Event]:
        """Events that are not searchable yet, the oldest first, without what is not searched."""
        newest = self.order_by("-pk").values_list("pk", flat=True).first() or 0
        known = Exists(self.filter(pk=OuterRef("pk")))
        rows = Event.objects.filter(~known, pk__gt=newest - LOOKED_AT_AGAIN).order_by("pk")
        return rows.only("bot", "event_type", "body", "chat_id", "actor_open_id")

    def add(self, events: Iterable[Event]) -> None:
        """Makes them searchable; another process may have done so at the same moment."""
        self.bulk_create([EventText.of(event) for event in events], ignore_conflicts=True)

    def with_id(self, *ids: str) -> EventTextQuerySet:
        """Events in which one of these ids stands, wherever in the payload."""
        return self.filter(_any_of(id_tokens(set(ids)))) if ids else self.none()

    def containing(self, phrase: str, ids: Iterable[str] = ()) -> EventTextQuerySet:
        """Events whose texts contain the phrase, or in which it or one of `ids` stands as an id.

        A phrase of which the index knows nothing (one letter, a sign) is compared with every text.
        """
        held = Q(text__contains=folded(phrase))
        if tokens := asked_tokens(phrase):
            held &= Q(_all_of(tokens))
        return self.filter(Q(_any_of(id_tokens({phrase, *ids}))) | held)


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
        return cls(event_id=event.pk, text=storable(text), tokens=" ".join(tokens))


def _all_of(tokens: Iterable[str]) -> RawSQL:
    if connection.vendor == "postgresql":
        return _sql("string_to_array(tokens, ' ') @> %s::text[]", list(tokens))
    return _sql(_MATCH, " AND ".join(tokens))


def _any_of(tokens: Iterable[str]) -> RawSQL:
    if connection.vendor == "postgresql":
        return _sql("string_to_array(tokens, ' ') && %s::text[]", list(tokens))
    return _sql(_MATCH, " OR ".join(tokens))


_MATCH = "event_id IN (SELECT rowid FROM events_eventtext_tokens WHERE events_eventtext_tokens MATCH %s)"


def _sql(condition: str, value: object) -> RawSQL:
    return RawSQL(condition, [value], output_field=BooleanField())  # one of the two above  # noqa: S611
