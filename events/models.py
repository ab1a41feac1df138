"""What is stored of bots, of the events they receive and of the calls they make; the verbs live on the rows."""

from __future__ import annotations

import json
import traceback
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.core.validators import RegexValidator
from django.db import IntegrityError, connection, models
from django.db.models import Case, Exists, F, OuterRef, Q, When
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .envelope import ID_LENGTH, Envelope
from .sealed import SealedField

# An event whose handler raised is run again after these seconds, then left to the operator.
EVENT_RETRY_SECONDS = (15, 60, 300, 1800, 7200)
REFUSALS_KEPT = 200
DELIVERY_TIMES_KEPT = 50
SEEN_LATELY = timedelta(seconds=45)  # a process without a heartbeat for longer counts as gone


def insert(row: models.Model, *, on_conflict: str, returning: str) -> tuple[Any, ...] | None:
    """One `INSERT ... ON CONFLICT ... RETURNING` of a row; None where the conflict left nothing to return.

    `bulk_create(ignore_conflicts=True)` cannot tell whether it inserted, and `get_or_create` takes four queries.
    """
    fields = [field for field in row._meta.concrete_fields if not field.primary_key]
    quote = connection.ops.quote_name
    values = [field.get_db_prep_save(field.pre_save(row, add=True), connection) for field in fields]
    columns = ", ".join(quote(str(field.column)) for field in fields)
    holders = ", ".join(["%s"] * len(fields))
    sql = (
        f"INSERT INTO {quote(row._meta.db_table)} AS existing ({columns}) VALUES ({holders})"  # noqa: S608
        f" ON CONFLICT {on_conflict} RETURNING {returning}"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        found: tuple[Any, ...] | None = cursor.fetchone()
    return found


def insert_once(row: models.Model) -> bool:
    """Inserts the row unless a unique key forbids it; True and `row.pk` set if it was inserted."""
    found = insert(row, on_conflict="DO NOTHING", returning="id")
    if found is None:
        return False
    row.pk = found[0]
    return True


def storable(text: str) -> str:
    """The text without what PostgreSQL cannot hold: NUL, and halves of surrogate pairs."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def default_domain() -> str:
    return str(settings.FEISHU_DOMAIN)


class Bot(models.Model):
    """One Feishu app; its three secrets are sealed at rest."""

    name = models.CharField(_("name"), max_length=80)
    slug = models.SlugField(_("slug"), unique=True, help_text=_("The last part of the request URL."))
    app_id = models.CharField(
        _("App ID"),
        max_length=64,
        validators=[RegexValidator(r"^[A-Za-z0-9_-]+$", _("An App ID looks like cli_a1b2c3."))],
    )
    domain = models.CharField(
        _("API domain"),
        max_length=200,
        default=default_domain,
        validators=[
            RegexValidator(
                r"^https?://[A-Za-z0-9._\[\]:-]+$", _("Give scheme and host only: https://open.feishu.cn")
            )
        ],
        help_text=_("https://open.feishu.cn for Feishu, https://open.larksuite.com for Lark."),
    )
    app_secret = SealedField(_("App Secret"))
    verification_token = SealedField(_("Verification Token"))
    encrypt_key = SealedField(_("Encrypt Key"), blank=True)
    enabled = models.BooleanField(
        _("enabled"),
        default=True,
        help_text=_("A disabled bot stores its events but reacts to none and sends nothing."),
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("bot")
        verbose_name_plural = _("bots")
        ordering = ("name",)
        constraints = (models.UniqueConstraint(fields=("app_id", "domain"), name="one_bot_per_app"),)

    def __str__(self) -> str:
        return self.name

    @property
    def webhook_url(self) -> str:
        """The request URL to paste into Feishu's developer console."""
        return str(settings.PUBLIC_URL) + reverse("webhook", args=[self.slug])


class RefusalManager(models.Manager["Refusal"]):
    def record(self, bot: Bot, reason: str, remote_address: str) -> None:
        """Keeps the reason for the operator; only the newest REFUSALS_KEPT of a bot stay."""
        self.create(bot=bot, reason=reason[:300], remote_address=remote_address[:64])
        outdated = (
            self.filter(bot=bot)
            .order_by("-pk")
            .values_list("pk", flat=True)[REFUSALS_KEPT : REFUSALS_KEPT + 1]
        )
        for newest_outdated in outdated:
            self.filter(bot=bot, pk__lte=newest_outdated).delete()


class Refusal(models.Model):
    """A request to a bot's webhook that was answered 403; never holds any of its content."""

    bot = models.ForeignKey(Bot, models.CASCADE, related_name="refusals", verbose_name=_("bot"))
    refused_at = models.DateTimeField(_("refused at"), default=timezone.now)
    reason = models.CharField(_("reason"), max_length=300)
    remote_address = models.CharField(_("remote address"), max_length=64)

    objects: ClassVar[RefusalManager] = RefusalManager()

    class Meta:
        verbose_name = _("refused request")
        verbose_name_plural = _("refused requests")
        ordering = ("-pk",)

    def __str__(self) -> str:
        return self.reason


class EventQuerySet(models.QuerySet["Event"]):
    def receive(self, bot: Bot, envelope: Envelope, *, transport: str) -> Event:
        """Stores the event, or counts one more delivery of it, in one statement.

        The row that comes back knows whether it still waits for its handler (`is_waiting`). Copies that arrive
        at the same moment wait for the first one's transaction here.
        """
        now = timezone.now()
        event = Event(
            bot=bot,
            event_id=envelope.event_id,
            dedup_key=envelope.dedup_key,
            event_type=envelope.event_type,
            schema=envelope.schema,
            tenant_key=envelope.tenant_key,
            chat_id=envelope.chat_id,
            actor_open_id=envelope.actor_open_id,
            body=envelope.body,
            transport=transport,
            created_at=envelope.created_at or now,
            received_at=now,
            delivery_times=[now.isoformat()],
        )
        event.late = now - event.created_at > timedelta(seconds=settings.LATE_AFTER_SECONDS)
        found = insert(
            event,
            on_conflict="(bot_id, dedup_key) DO UPDATE SET deliveries = existing.deliveries + 1, "
            + _APPEND_TIME[connection.vendor],
            returning="id, status, deliveries, tries, late, received_at",
        )
        if found is None:
            raise IntegrityError("DO UPDATE returned no row")
        event.pk, event.status, event.deliveries, event.tries, event.late, event.received_at = found
        if event.deliveries == 1 and event.dedup_key != event.event_id:
            return self._the_one_with_its_event_id(event)
        return event

    def _the_one_with_its_event_id(self, event: Event) -> Event:
        """A message is told apart by its message_id; one whose event_id is known is a duplicate all the same."""
        known = self.filter(bot=event.bot, event_id=event.event_id, pk__lt=event.pk).first()
        if known is None:
            return event
        event.delete()
        self.filter(pk=known.pk).update(deliveries=F("deliveries") + 1)
        known.deliveries += 1
        return known

    def due(self, now: datetime) -> EventQuerySet:
        """Failed events whose next try has come."""
        return self.filter(status=Event.Status.FAILED, next_try_at__lte=now)

    def retry(self, now: datetime) -> int:
        """Lets the worker run failed events once more; the number of rows."""
        return self.filter(status=Event.Status.FAILED).update(next_try_at=now)

    def chat_names(self, newest: int = 500) -> dict[str, str]:
        """chat_id -> the name last heard (or ""), from the newest of these events that can carry one."""
        named = self.filter(event_type__in=Event.TYPES_WITH_CHAT_NAME).exclude(chat_id="").order_by("-pk")
        names: dict[str, str] = {}
        for chat_id, name in named.values_list("chat_id", "body__event__name")[:newest]:
            names[chat_id] = names.get(chat_id) or (name if isinstance(name, str) else "")
        return names


# A redelivery's time goes to the end of the list; the list stops growing at DELIVERY_TIMES_KEPT.
_APPEND_TIME = {
    "postgresql": "delivery_times = CASE WHEN existing.deliveries < {0} THEN"
    " existing.delivery_times || excluded.delivery_times ELSE existing.delivery_times END",
    "sqlite": "delivery_times = CASE WHEN existing.deliveries < {0} THEN"
    " json_insert(existing.delivery_times, '$[#]', json_extract(excluded.delivery_times, '$[0]'))"
    " ELSE existing.delivery_times END",
}
_APPEND_TIME = {vendor: sql.format(DELIVERY_TIMES_KEPT) for vendor, sql in _APPEND_TIME.items()}


class Event(models.Model):
    """One event as Feishu pushed it, what was done about it, and how often it was delivered."""

    class Status(models.TextChoices):
        RECEIVED = "received", _("received")
        HANDLED = "handled", _("handled")
        IGNORED = "ignored", _("ignored")
        FAILED = "failed", _("failed")

    TYPES_WITH_CHAT_NAME = (
        "im.chat.member.user.added_v1",
        "im.chat.member.user.deleted_v1",
        "im.chat.member.bot.added_v1",
        "im.chat.member.bot.deleted_v1",
    )

    bot = models.ForeignKey(Bot, models.CASCADE, related_name="events", verbose_name=_("bot"))
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
        )

    def __str__(self) -> str:
        return f"{self.event_type} {self.event_id}"

    @property
    def payload(self) -> dict[str, Any]:
        """The `event` part of the body."""
        event = self.body.get("event")
        return event if isinstance(event, dict) else {}

    @property
    def is_waiting(self) -> bool:
        """Whether no handler has finished with it yet: new, or failed so far."""
        return self.status in (Event.Status.RECEIVED, Event.Status.FAILED)

    def finish(self, status: str, summary: str, duration_ms: int) -> None:
        """The handler is through: the event is HANDLED or IGNORED."""
        self.status, self.summary, self.duration_ms = status, summary[:300], duration_ms
        self.tries, self.handled_at, self.next_try_at, self.error = self.tries + 1, timezone.now(), None, ""
        self.save(
            update_fields=["status", "summary", "duration_ms", "tries", "handled_at", "next_try_at", "error"]
        )

    def fail(self, error: BaseException, duration_ms: int) -> None:
        """The handler raised: kept with its traceback and run again after EVENT_RETRY_SECONDS."""
        wait = EVENT_RETRY_SECONDS[self.tries] if self.tries < len(EVENT_RETRY_SECONDS) else None
        self.status, self.duration_ms = Event.Status.FAILED, duration_ms
        self.summary = storable(f"{type(error).__name__}: {error}")[:300]
        self.error = storable("".join(traceback.format_exception(error)))
        self.tries += 1
        self.next_try_at = None if wait is None else timezone.now() + timedelta(seconds=wait)
        self.save(update_fields=["status", "summary", "duration_ms", "error", "tries", "next_try_at"])


class OutboxQuerySet(models.QuerySet["OutboxItem"]):
    def due(self, now: datetime) -> OutboxQuerySet:
        """Rows to call Feishu for now, oldest first, at most one per bot and target.

        A row waits for the call in flight to its target, and for the earlier rows to it; but an earlier row that
        waits for its next try and has kept failing for HOLD lets the later ones pass.
        """
        waiting = Q(status=OutboxItem.Status.PENDING, next_attempt_at__lte=now)
        abandoned = Q(status=OutboxItem.Status.SENDING, leased_until__lt=now)
        in_flight = Q(status=OutboxItem.Status.SENDING, leased_until__gte=now)
        held_up = Q(next_attempt_at__gt=now, first_attempt_at__lt=now - OutboxItem.HOLD)
        others = OutboxItem.objects.filter(
            bot=OuterRef("bot"), target=OuterRef("target"), status__in=OutboxItem.UNFINISHED
        )
        earlier = others.filter(pk__lt=OuterRef("pk")).exclude(held_up, status=OutboxItem.Status.PENDING)
        # The status is named once more for the partial index.
        unfinished = self.filter(status__in=OutboxItem.UNFINISHED, bot__enabled=True)
        return unfinished.filter(
            waiting | abandoned, ~Exists(earlier), ~Exists(others.filter(in_flight))
        ).order_by("pk")

    def to_follow_up(self, now: datetime) -> OutboxQuerySet:
        """Ended calls whose chain has not gone on yet."""
        ended = (OutboxItem.Status.SENT, OutboxItem.Status.FAILED)
        return self.filter(followed_up=False, status__in=ended, next_attempt_at__lte=now).order_by("pk")

    def retry(self, now: datetime) -> int:
        """Queues failed rows once more, under the same uuid; the number of rows."""
        return self.filter(status=OutboxItem.Status.FAILED).update(
            status=OutboxItem.Status.PENDING,
            next_attempt_at=now,
            attempt_count=0,
            error_code=None,
            error="",
            followed_up=Case(When(step="", then=True), default=False),
        )


class OutboxItem(models.Model):
    """One call to Feishu that must happen once. The row is the job: state, tries and what the operator sees."""

    class Status(models.TextChoices):
        PENDING = "pending", _("pending")
        SENDING = "sending", _("sending")
        SENT = "sent", _("sent")
        FAILED = "failed", _("failed")

    # Set when an unsure row is claimed: what of the chat's history cannot be its message.
    messages_of_others: frozenset[str] = frozenset()

    UNFINISHED = (Status.PENDING, Status.SENDING)
    HOLD = timedelta(minutes=2)

    bot = models.ForeignKey(Bot, models.CASCADE, related_name="outbox", verbose_name=_("bot"))
    key = models.CharField(
        _("key"), max_length=200, unique=True, help_text=_("Derived from the cause: one cause, one row.")
    )
    uuid = models.CharField(
        _("uuid"), max_length=50, help_text=_("Feishu sends equal uuids once within an hour.")
    )
    call = models.CharField(_("call"), max_length=40)
    target = models.CharField(
        _("target"), max_length=ID_LENGTH, help_text=_("The chat or person; order is kept per target.")
    )
    arguments = models.JSONField(_("arguments"))
    step = models.CharField(
        _("step"),
        max_length=40,
        blank=True,
        help_text=_("What goes on once the call has ended: RESULT_ROUTES."),
    )
    followed_up = models.BooleanField(_("followed up"), default=True, editable=False)
    cause = models.ForeignKey(
        Event, models.SET_NULL, null=True, blank=True, related_name="outbox", verbose_name=_("cause")
    )
    subject_type = models.ForeignKey(ContentType, models.SET_NULL, null=True, blank=True)
    subject_id = models.PositiveBigIntegerField(null=True, blank=True)
    subject = GenericForeignKey("subject_type", "subject_id")
    status = models.CharField(_("status"), max_length=10, choices=Status.choices, default=Status.PENDING)
    created_at = models.DateTimeField(_("created at"), default=timezone.now)
    next_attempt_at = models.DateTimeField(_("next attempt at"), default=timezone.now)
    leased_until = models.DateTimeField(_("leased until"), null=True, blank=True)
    first_attempt_at = models.DateTimeField(_("first attempt at"), null=True, blank=True)
    attempt_count = models.PositiveIntegerField(
        _("tries"), default=0, help_text=_("Since it was queued, or retried by hand.")
    )
    unsure = models.BooleanField(
        _("unsure"), default=False, help_text=_("An earlier try got no answer: Feishu may have acted on it.")
    )
    sent_at = models.DateTimeField(_("sent at"), null=True, blank=True)
    result = models.JSONField(_("result"), null=True, blank=True)
    error_code = models.BigIntegerField(_("error code"), null=True, blank=True)
    error = models.CharField(_("error"), max_length=500, blank=True)

    objects: ClassVar[OutboxQuerySet] = OutboxQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("outbox item")
        verbose_name_plural = _("outbox")
        ordering = ("-pk",)
        indexes = (
            models.Index(
                fields=("id",), condition=Q(status__in=("pending", "sending")), name="outbox_unfinished"
            ),
            models.Index(
                fields=("bot", "target", "id"),
                condition=Q(status__in=("pending", "sending")),
                name="outbox_order",
            ),
            models.Index(fields=("subject_type", "subject_id"), name="outbox_by_subject"),
            models.Index(
                fields=("next_attempt_at",), condition=Q(followed_up=False), name="outbox_to_follow_up"
            ),
        )

    def __str__(self) -> str:
        return self.key

    def change_and_retry(self, **arguments: Any) -> None:
        """Queues the same call once more with other arguments; for a step that knows a way around a refusal."""
        self.arguments = {**self.arguments, **arguments}
        self.status, self.next_attempt_at, self.attempt_count = OutboxItem.Status.PENDING, timezone.now(), 0
        self.save(update_fields=["arguments", "status", "next_attempt_at", "attempt_count"])

    @property
    def attached(self) -> bytes:
        """The file that goes with the call; read with `select_related("attachment")`."""
        try:
            return bytes(self.attachment.data)
        except OutboxAttachment.DoesNotExist:
            return b""

    @property
    def message_id(self) -> str:
        """The message this call made, once it was sent."""
        return str((self.result or {}).get("message_id", ""))

    @property
    def content(self) -> Any:
        """The message's content, parsed (a card, for an interactive message); None where the call has none."""
        text = self.arguments.get("content")
        return json.loads(text) if isinstance(text, str) else None


class OutboxAttachment(models.Model):
    """The bytes of a file to upload; in a table of their own, so that lists do not load them."""

    item = models.OneToOneField(OutboxItem, models.CASCADE, related_name="attachment", primary_key=True)
    data = models.BinaryField()

    def __str__(self) -> str:
        return f"{len(self.data)} bytes"


class Attempt(models.Model):
    """One try of an outbox item and what Feishu answered."""

    class Outcome(models.TextChoices):
        SENT = "sent", _("sent")
        REFUSED = "refused", _("refused")
        UNKNOWN = "unknown", _("no answer")

    item = models.ForeignKey(
        OutboxItem, models.CASCADE, related_name="attempts", verbose_name=_("outbox item")
    )
    started_at = models.DateTimeField(_("started at"))
    duration_ms = models.PositiveIntegerField(_("duration (ms)"), default=0)
    outcome = models.CharField(_("outcome"), max_length=10, choices=Outcome.choices)
    http_status = models.PositiveIntegerField(_("HTTP status"), null=True, blank=True)
    code = models.BigIntegerField(_("code"), null=True, blank=True)
    message = models.CharField(_("message"), max_length=500, blank=True)
    log_id = models.CharField(_("log id"), max_length=80, blank=True)

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        ordering = ("pk",)

    def __str__(self) -> str:
        return f"{self.get_outcome_display()} {self.code if self.code is not None else ''}".strip()


class HeartbeatManager(models.Manager["Heartbeat"]):
    def beat(self, kind: str, host: str, pid: int, started_at: datetime) -> None:
        """This process is alive now; rows of processes silent for a day are dropped."""
        now = timezone.now()
        self.update_or_create(
            kind=kind, host=host, pid=pid, defaults={"started_at": started_at, "seen_at": now}
        )
        self.filter(seen_at__lt=now - timedelta(days=1)).delete()

    def alive(self, kind: str, within: timedelta) -> bool:
        return self.filter(kind=kind, seen_at__gte=timezone.now() - within).exists()


class Heartbeat(models.Model):
    """A worker (or listener) process and when it was last seen alive."""

    kind = models.CharField(max_length=20)
    host = models.CharField(max_length=200)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()

    objects: ClassVar[HeartbeatManager] = HeartbeatManager()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("kind", "host", "pid"), name="one_heartbeat_per_process"),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.host}:{self.pid}"
