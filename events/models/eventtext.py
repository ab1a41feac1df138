"""What of the events can be searched, in a table beside theirs: the webhook must not pay for it.

The worker fills it a moment after an event came in; whoever searches first brings it up to date. PostgreSQL looks
tokens up in a GIN index, SQLite in an FTS5 table (migration 0005); neither needs an extension.
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

BATCH = 500
# Transactions that began earlier may commit later: so many ids behind the newest are looked at again.
LOOKED_AT_AGAIN = 2_000


class EventTextQuerySet(models.QuerySet["EventText"]):
    def add_new(self, limit: int = BATCH) -> int:
        """Takes in up to `limit` events that are not searchable yet, the oldest first; how many it took."""
        newest = self.order_by("-pk").values_list("pk", flat=True).first() or 0
        known = Exists(self.filter(pk=OuterRef("pk")))
        missing = Event.objects.filter(~known, pk__gt=newest - LOOKED_AT_AGAIN).order_by("pk")
        rows = [
            EventText.of(pk, body, actor_open_id)
            for pk, body, actor_open_id in missing.values_list("pk", "body", "actor_open_id")[:limit]
        ]
        self.bulk_create(rows, ignore_conflicts=True)
        return len(rows)

    def catch_up(self, batches: int = 4) -> None:
        """Takes in what came since, before a search; a long backlog is the worker's."""
        while batches and self.add_new() == BATCH:
            batches -= 1

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
    def of(cls, event_pk: int, body: object, actor_open_id: str = "") -> EventText:
        payload = body.get("event") if isinstance(body, dict) else None
        text, ids = texts_and_ids(payload)
        if actor_open_id:
            ids.add(actor_open_id)
        return cls(
            event_id=event_pk, text=storable(text), tokens=" ".join([*text_tokens(text), *id_tokens(ids)])
        )


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
