"""The calls to Feishu that are to be made, and every try of each."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.db.models import Case, F, Q, When
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .. import clock
from ..codes import in_words
from ..confidential import Reader, hidden_from
from ..envelope import ID_LENGTH
from .bot import Bot
from .event import Event
from .replay import Replay

AGAIN = "again:"  # how the key of a call begins that a replay makes although it was made before


class Priority(models.IntegerChoices):
    """What goes first when not everything can go at once; who queues with which is in PRIORITIES of the routes."""

    INCIDENT = 10, _("incident")
    ANSWER = 20, _("answer to a person")
    TEST = 30, _("operator's test")
    WELCOME = 40, _("welcome")
    BULK = 50, _("bulk")


class _IsUnfinished(models.Func):
    """The condition of the partial indexes, word for word: SQLite does not use them for values that are bound."""

    template = "%(expressions)s IN ('pending', 'sending')"
    output_field = models.BooleanField()


class OutboxQuerySet(models.QuerySet["OutboxItem"]):
    def readable_by(self, reader: Reader) -> OutboxQuerySet:
        """Without what belongs to somebody's private matter (events.confidential)."""
        rows = self
        for hidden in hidden_from(reader):
            rows = rows.exclude(hidden.outbox)
        return rows

    def unfinished(self) -> OutboxQuerySet:
        return self.filter(_IsUnfinished(F("status")))

    def to_follow_up(self, now: datetime) -> OutboxQuerySet:
        """Ended calls whose chain has not gone on yet."""
        ended = (OutboxItem.Status.SENT, OutboxItem.Status.FAILED)
        return self.filter(followed_up=False, status__in=ended, next_attempt_at__lte=now).order_by(
            "next_attempt_at", "pk"
        )

    def retry(self, now: datetime) -> int:
        """Queues failed rows once more, under the same uuid; the number of rows."""
        return self.filter(status=OutboxItem.Status.FAILED).update(
            status=OutboxItem.Status.PENDING,
            next_attempt_at=now,
            attempt_count=0,
            error_code=None,
            error="",
            followed_up=Case(When(step="", then=True), default=False),
            lined_up=False,
        )

    def hurry(self, now: datetime) -> int:
        """Rows that wait for their next try are tried at once; the number of rows."""
        return self.filter(status=OutboxItem.Status.PENDING).update(next_attempt_at=now, lined_up=False)


class OutboxItem(models.Model):
    """One call to Feishu that must happen once. The row is the job: state, tries and what the operator sees."""

    class Status(models.TextChoices):
        PENDING = "pending", _("pending")
        SENDING = "sending", _("sending")
        SENT = "sent", _("sent")
        FAILED = "failed", _("failed")
        SUPERSEDED = "superseded", _("superseded")

    # Set when an unsure row is claimed: what of the chat's history cannot be its message.
    messages_of_others: frozenset[str] = frozenset()
    # Set when a row is claimed: under which lease of its lane.
    lease: str = ""
    # Set when a row is claimed to find out whether its app gets answers again.
    is_probe: bool = False

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
    tenant_key = models.CharField(
        _("tenant"),
        max_length=ID_LENGTH,
        blank=True,
        help_text=_("A store app sends with the token of this tenant."),
    )
    step = models.CharField(
        _("step"),
        max_length=40,
        blank=True,
        help_text=_("What goes on once the call has ended: RESULT_ROUTES."),
    )
    followed_up = models.BooleanField(_("followed up"), default=True, editable=False)
    priority = models.PositiveSmallIntegerField(
        _("priority"), choices=Priority.choices, default=Priority.BULK, help_text=_("What goes first.")
    )
    merge_key = models.CharField(
        max_length=200,
        blank=True,
        editable=False,
        help_text="Of rows to one target with the same merge key and step, only the newest is sent.",
    )
    # Whether a worker has put it into the lane of its target (events.lanes).
    lined_up = models.BooleanField(default=False, editable=False)
    cause = models.ForeignKey(
        Event, models.SET_NULL, null=True, blank=True, related_name="outbox", verbose_name=_("cause")
    )
    replay = models.ForeignKey(
        Replay, models.SET_NULL, null=True, blank=True, related_name="outbox", verbose_name=_("replay")
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
                fields=("priority", "id"),
                condition=Q(status="pending", lined_up=False),
                name="outbox_to_line_up",
            ),
            models.Index(
                fields=("bot", "target", "id"),
                condition=Q(status__in=("pending", "sending")),
                name="outbox_order",
            ),
            models.Index(
                fields=("bot", "target", "priority"),
                condition=Q(status__in=("pending", "sending")),
                name="outbox_urgency",
            ),
            models.Index(fields=("leased_until",), condition=Q(status="sending"), name="outbox_leases"),
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
        self.status, self.next_attempt_at, self.attempt_count = OutboxItem.Status.PENDING, clock.now(), 0
        self.lined_up = False
        self.save(update_fields=["arguments", "status", "next_attempt_at", "attempt_count", "lined_up"])

    @classmethod
    def held_up_at(cls, now: datetime) -> Q:
        return Q(
            status=cls.Status.PENDING, next_attempt_at__gt=now, first_attempt_at__lt=now - OutboxItem.HOLD
        )

    def is_held_up(self, now: datetime) -> bool:
        """Whether later rows may pass this one."""
        failing_since = self.first_attempt_at
        waiting = self.status == self.Status.PENDING and self.next_attempt_at > now
        return waiting and failing_since is not None and failing_since < now - self.HOLD

    @property
    def why(self) -> str:
        """Why the call failed, in words; "" if it has not."""
        return in_words(self.error_code) if self.status == OutboxItem.Status.FAILED else ""

    @property
    def is_sent_again(self) -> bool:
        """Whether a replay was told to send what had been sent before."""
        return self.key.startswith(AGAIN)

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
