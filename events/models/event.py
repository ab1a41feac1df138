"""Events as Feishu pushed them, and what was done about each."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.db import IntegrityError, ProgrammingError, connection, models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..confidential import Reader, hidden_from
from ..envelope import ID_LENGTH, Envelope
from ..partitions import RECEIVE, is_partitioned
from .bot import Bot
from .rows import as_json, insert_all, prepared_cursor, storable, update_all

# An event whose handler raised is run again after these seconds, then left to the operator.
EVENT_RETRY_SECONDS = (15, 60, 300, 1800, 7200)
DELIVERY_TIMES_KEPT = 50
SIMULATED = "simulated"  # the transport of an event that an operator made up
HANDLER_LENGTH = 120


@dataclass(slots=True)
class Arrival:
    """An event on its way into the table; `stored` says what the row is once it is there, or counted once more."""

    bot: Bot
    envelope: Envelope
    transport: str
    columns: dict[str, Any] = field(default_factory=dict)
    stored: tuple[Any, ...] | None = None  # the rest of _STORED
    known: Event | None = None  # stored before under another key: this is a copy of it

    def __post_init__(self) -> None:
        now, envelope = timezone.now(), self.envelope
        created_at = envelope.created_at or now
        self.columns |= {
            "bot_id": self.bot.pk,
            "event_id": envelope.event_id,
            "dedup_key": envelope.dedup_key,
            "event_type": envelope.event_type,
            "schema": envelope.schema,
            "tenant_key": envelope.tenant_key,
            "chat_id": envelope.chat_id,
            "actor_open_id": envelope.actor_open_id,
            "body": envelope.body,
            "transport": self.transport,
            "created_at": created_at,
            "received_at": now,
            "late": (now - created_at).total_seconds() > settings.LATE_AFTER_SECONDS,
            "delivery_times": [now.isoformat()],
        }

    @property
    def key(self) -> tuple[int, str]:
        return self.bot.pk, self.envelope.dedup_key

    @property
    def event(self) -> Event:
        """The row as it was stored; made anew each time."""
        if self.known is not None:
            return self.known
        if self.stored is None:
            raise IntegrityError("DO UPDATE returned no row")
        event = Event(bot=self.bot, **self.columns)
        event.pk, event.status, event.deliveries, event.tries, late, *received = self.stored
        event.late = bool(late)
        if received:
            event.received_at = received[0]
        return event

    @property
    def may_be_a_copy(self) -> bool:
        """A message is told apart by its message_id; one whose event_id is known is a duplicate all the same."""
        return self.envelope.dedup_key != self.envelope.event_id

    @property
    def is_settled(self) -> bool:
        """Whether the row waits for no handler."""
        if self.known is not None:
            return not self.known.is_waiting
        return self.stored is not None and self.stored[1] not in Event.WAITING

    @property
    def is_ignored(self) -> bool:
        return self.columns.get("status") == Event.Status.IGNORED.value

    def ignore(self, why: str) -> None:
        """No handler will see it: if it is new, it is stored as IGNORED in the same statement."""
        ignored = {"status": Event.Status.IGNORED.value, "summary": why, "tries": 1, "duration_ms": 0}
        self.columns |= {**ignored, "handled_at": self.columns["received_at"]}


class EventQuerySet(models.QuerySet["Event"]):
    def receive(self, bot: Bot, envelope: Envelope, *, transport: str) -> Event:
        """Stores the event, or counts one more delivery of it, in one statement.

        The row that comes back knows whether it still waits for its handler (`is_waiting`). Copies that arrive
        at the same moment wait for the first one's transaction here.
        """
        arrival = Arrival(bot, envelope, transport)
        self.receive_all([arrival])
        return arrival.event

    def receive_all(self, arrivals: Sequence[Arrival]) -> None:
        """The same for several, in one statement; no two of them may have one `key`."""
        # In one order for all processes: copies of two events that meet in two statements must not deadlock.
        ordered = sorted(arrivals, key=lambda arrival: arrival.key)
        found = _insert_or_count([arrival.columns for arrival in ordered])
        stored = {row[:2]: row[2:] for row in found}
        for arrival in arrivals:
            arrival.stored = stored[arrival.key]
            if arrival.may_be_a_copy:
                arrival.known = self._stored_before(arrival.event)

    def save_outcomes(self, events: Sequence[Event]) -> None:
        """Writes what `conclude` said of them, in one statement."""
        # By the key alone, every partition would be planned for. save() costs four times as much.
        update_all(events, _CONCLUDED, key=("id", "received_at") if is_partitioned() else ("id",))

    def _stored_before(self, event: Event) -> Event | None:
        """The event of which this new row is a copy under another key; the row goes, the event is counted once more."""
        if event.deliveries > 1:
            return None
        known = self.filter(bot=event.bot, event_id=event.event_id, pk__lt=event.pk).first()
        if known is not None:
            event.delete()
            self.filter(pk=known.pk).update(deliveries=F("deliveries") + 1)
            known.deliveries += 1
        return known

    def readable_by(self, reader: Reader) -> EventQuerySet:
        """Without what belongs to somebody's private matter (events.confidential)."""
        rows = self
        for hidden in hidden_from(reader):
            rows = rows.exclude(hidden.events)
        return rows

    def tenant_of(self, bot: Bot, chat_id: str) -> str:
        """The tenant from which a store app last heard of a chat, or nothing; a custom app has only one."""
        if bot.app_type != Bot.AppType.STORE:
            return ""
        heard = self.filter(bot=bot, chat_id=chat_id).exclude(tenant_key="").order_by("-pk")
        return str(heard.values_list("tenant_key", flat=True).first() or "")

    def due(self, now: datetime) -> EventQuerySet:
        """Failed events whose next try has come."""
        return self.filter(status=Event.Status.FAILED, next_try_at__lte=now)

    def retry(self, now: datetime) -> int:
        """Lets the worker run failed events once more; the number of rows."""
        return self.filter(status=Event.Status.FAILED).update(next_try_at=now)


# A redelivery's time goes to the end of the list; the list stops growing at DELIVERY_TIMES_KEPT.
_APPEND_TIME = {
    "postgresql": "delivery_times = CASE WHEN existing.deliveries < {0} THEN"
    " existing.delivery_times || excluded.delivery_times ELSE existing.delivery_times END",
    "sqlite": "delivery_times = CASE WHEN existing.deliveries < {0} THEN"
    " json_insert(existing.delivery_times, '$[#]', json_extract(excluded.delivery_times, '$[0]'))"
    " ELSE existing.delivery_times END",
}
_COUNT_AGAIN = {
    vendor: "deliveries = existing.deliveries + 1, " + sql.format(DELIVERY_TIMES_KEPT)
    for vendor, sql in _APPEND_TIME.items()
}
_STORED = "bot_id, dedup_key, id, status, deliveries, tries, late"
_RECEIVE = f"SELECT {_STORED}, received_at FROM {RECEIVE}(%s::jsonb, %s)"  # constants  # noqa: S608


def _insert_or_count(rows: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """The rows as they are stored now, each as _STORED; in a partitioned log with the time that tells its partition."""
    try:
        return _store(rows)
    except ProgrammingError:  # the table is not any more what this process took it for
        is_partitioned.cache_clear()
        if connection.in_atomic_block:
            raise
        return _store(rows)


def _store(rows: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    if not is_partitioned():
        on_conflict = f"(bot_id, dedup_key) DO UPDATE SET {_COUNT_AGAIN[connection.vendor]}"
        return insert_all(Event, rows, on_conflict=on_conflict, returning=_STORED)
    with prepared_cursor() as cursor:
        cursor.execute(_RECEIVE, [as_json(Event, rows), DELIVERY_TIMES_KEPT])
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


class Event(models.Model):
    """One event as Feishu pushed it, what was done about it, and how often it was delivered."""

    class Status(models.TextChoices):
        RECEIVED = "received", _("received")
        HANDLED = "handled", _("handled")
        IGNORED = "ignored", _("ignored")
        FAILED = "failed", _("failed")

    WAITING = (Status.RECEIVED, Status.FAILED)

    # Set by a replay for the handlers: they write what is missing and act for nobody once more; `sent_again`: even
    # what was sent before is to be sent.
    replayed = False
    sent_again = False

    TYPES_WITH_CHAT_NAME = (
        "im.chat.member.user.added_v1",
        "im.chat.member.user.deleted_v1",
        "im.chat.member.bot.added_v1",
        "im.chat.member.bot.deleted_v1",
    )

    # Its index is event_by_bot: the same write, and the newest of a bot come in order.
    bot = models.ForeignKey(Bot, models.CASCADE, related_name="events", verbose_name=_("bot"), db_index=False)
    event_id = models.CharField(_("event id"), max_length=ID_LENGTH)
    dedup_key = models.CharField(max_length=ID_LENGTH, editable=False)
    event_type = models.CharField(_("type"), max_length=ID_LENGTH)
    schema = models.CharField(_("schema"), max_length=10)
    tenant_key = models.CharField(_("tenant"), max_length=ID_LENGTH, blank=True)
    chat_id = models.CharField(_("chat"), max_length=ID_LENGTH, blank=True)
    actor_open_id = models.CharField(_("person"), max_length=ID_LENGTH, blank=True)
    body = models.JSONField(_("payload"))
    transport = models.CharField(_("transport"), max_length=20, default="webhook")
    created_at = models.DateTimeField(_("created at"))
    received_at = models.DateTimeField(_("received at"))
    late = models.BooleanField(_("late"), default=False)
    deliveries = models.PositiveIntegerField(_("deliveries"), default=1)
    delivery_times = models.JSONField(_("delivery times"), default=list)
    status = models.CharField(_("status"), max_length=10, choices=Status.choices, default=Status.RECEIVED)
    handler = models.CharField(_("handler"), max_length=HANDLER_LENGTH, blank=True)
    summary = models.CharField(_("outcome"), max_length=300, blank=True)
    error = models.TextField(_("error"), blank=True)
    tries = models.PositiveIntegerField(_("tries"), default=0)
    next_try_at = models.DateTimeField(_("next try at"), null=True, blank=True)
    handled_at = models.DateTimeField(_("handled at"), null=True, blank=True)
    duration_ms = models.PositiveIntegerField(_("duration (ms)"), null=True, blank=True)

    objects: ClassVar[EventQuerySet] = EventQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("event log")
        ordering = ("-pk",)
        # One constraint only: with a second, copies that arrive together deadlock on PostgreSQL.
        constraints = (models.UniqueConstraint(fields=("bot", "dedup_key"), name="event_handled_once"),)
        indexes = (
            models.Index(fields=("next_try_at",), condition=Q(status="failed"), name="event_due"),
            models.Index(fields=("event_type", "-id"), name="event_by_type"),
            models.Index(fields=("chat_id", "-id"), name="event_by_chat"),
            models.Index(fields=("event_id",), name="event_by_event_id"),
            models.Index(fields=("bot", "-id"), name="event_by_bot"),
            # Rare rows only: an event that came once, in time, and was handled, is in none of these.
            models.Index(fields=("-id",), condition=Q(status="failed"), name="event_failed"),
            models.Index(fields=("-id",), condition=Q(late=True), name="event_late"),
            models.Index(fields=("-id",), condition=Q(deliveries__gt=1), name="event_again"),
        )

    def __str__(self) -> str:
        return f"{self.event_type} {self.event_id}"

    @property
    def payload(self) -> dict[str, Any]:
        """The `event` part of the body."""
        event = self.body.get("event") if isinstance(self.body, dict) else None
        return event if isinstance(event, dict) else {}

    @property
    def is_simulated(self) -> bool:
        """Made up by an operator; nothing happened in Feishu."""
        return self.transport == SIMULATED

    @property
    def is_waiting(self) -> bool:
        """Whether no handler has finished with it yet: new, or failed so far."""
        return self.status in Event.WAITING

    def finish(self, status: str, summary: str, duration_ms: int) -> None:
        """The handler is through: the event is HANDLED or IGNORED."""
        self.conclude(status, summary, duration_ms)
        Event.objects.save_outcomes([self])

    def conclude(self, status: str, summary: str, duration_ms: int) -> None:
        """`finish` without the writing, for who finishes several at once."""
        self.status, self.summary, self.duration_ms = status, summary[:300], duration_ms
        self.tries, self.handled_at, self.next_try_at, self.error = self.tries + 1, timezone.now(), None, ""

    def fail(self, error: BaseException, duration_ms: int, handler: str = "") -> None:
        """The handler raised: kept with its traceback and run again after EVENT_RETRY_SECONDS."""
        self.handler = handler
        wait = EVENT_RETRY_SECONDS[self.tries] if self.tries < len(EVENT_RETRY_SECONDS) else None
        self.status, self.duration_ms = Event.Status.FAILED, duration_ms
        self.summary = storable(f"{type(error).__name__}: {error}")[:300]
        self.error = storable("".join(traceback.format_exception(error)))
        self.tries += 1
        self.next_try_at = None if wait is None else timezone.now() + timedelta(seconds=wait)
        self.save(update_fields=_OUTCOME)


_CONCLUDED = ("status", "handler", "summary", "duration_ms", "tries", "handled_at", "next_try_at", "error")
_OUTCOME = ("status", "handler", "summary", "duration_ms", "error", "tries", "next_try_at")
