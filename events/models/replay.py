"""Replays: received events run once more, tried without a trace first, then for real; the row is job and record."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

CALLS_PER_MINUTE = 300  # Feishu takes 1000 an app; the rest is for what happens now
MOST_CALLS_PER_MINUTE = 1000
NAME_LENGTH = 150


class ReplayQuerySet(models.QuerySet["Replay"]):
    def due(self, now: datetime) -> ReplayQuerySet:
        """What a worker may go on with, the one that waited longest first."""
        return self.filter(status__in=Replay.AT_WORK, next_step_at__lte=now).order_by("next_step_at", "pk")


class Replay(models.Model):
    """Some of the events, run again: asked for with a reason, tried, confirmed, done, each with its figures."""

    class Status(models.TextChoices):
        TRYING = "trying", _("dry run")
        TRIED = "tried", _("waits for your go")
        RUNNING = "running", _("running")
        DONE = "done", _("done")
        CANCELLED = "cancelled", _("cancelled")

    AT_WORK = (Status.TRYING, Status.RUNNING)
    UNFINISHED = (Status.TRYING, Status.TRIED, Status.RUNNING)

    # {"events": [pk, ...]} or {"filter": the event list's parameters}; see replay.matching.
    selection = models.JSONField(_("events"), default=dict)
    why = models.CharField(_("why"), max_length=300, blank=True)
    send_again = models.BooleanField(
        _("send again"),
        default=False,
        help_text=_("What was sent before is sent once more, as a new message."),
    )
    calls_per_minute = models.PositiveIntegerField(_("calls a minute, at most"), default=CALLS_PER_MINUTE)
    only_public = models.BooleanField(
        _("without private matters"), default=False, editable=False
    )  # whoever asked may not see everything
    asked_by = models.CharField(_("asked for by"), max_length=NAME_LENGTH, blank=True)
    asked_at = models.DateTimeField(_("asked for at"), default=timezone.now)
    confirmed_by = models.CharField(_("confirmed by"), max_length=NAME_LENGTH, blank=True)
    cancelled_by = models.CharField(_("cancelled by"), max_length=NAME_LENGTH, blank=True)
    started_at = models.DateTimeField(_("started at"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)

    status = models.CharField(_("status"), max_length=10, choices=Status.choices, default=Status.TRYING)
    # The events from `first` to `last` (keys), oldest first; `cursor` is the last one that is through.
    first = models.PositiveBigIntegerField(default=0, editable=False)
    last = models.PositiveBigIntegerField(default=0, editable=False)
    cursor = models.PositiveBigIntegerField(default=0, editable=False)
    next_step_at = models.DateTimeField(default=timezone.now, editable=False)
    # The figures of the dry run and of the real one (replay.Totals), the first events of the dry run in full, and
    # what failed in the real run.
    tried = models.JSONField(default=dict, editable=False)
    done = models.JSONField(default=dict, editable=False)
    sample = models.JSONField(default=list, editable=False)
    failures = models.JSONField(default=list, editable=False)

    objects: ClassVar[ReplayQuerySet] = ReplayQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("replay")
        verbose_name_plural = _("replays")
        ordering = ("-pk",)
        permissions = (
            ("replay_event", "Can replay events"),
            ("simulate_event", "Can simulate events"),
        )
        indexes = (
            models.Index(
                fields=("next_step_at",), condition=Q(status__in=("trying", "running")), name="replay_due"
            ),
        )

    def __str__(self) -> str:
        return f"#{self.pk}"

    @property
    def is_at_work(self) -> bool:
        return self.status in Replay.AT_WORK

    @property
    def is_unfinished(self) -> bool:
        return self.status in Replay.UNFINISHED

    @property
    def figures(self) -> dict[str, Any]:
        """Of the run that is under way, or was the last."""
        figures: dict[str, Any] = self.done if self.started_at else self.tried
        return figures

    @property
    def total(self) -> int:
        """How many events there are; 0 until the dry run has counted them."""
        return 0 if self.status == Replay.Status.TRYING else int(self.tried.get("events", 0))

    @property
    def percent(self) -> int:
        """How far it is: by events once they are counted, before that by the place in the log."""
        if not self.is_at_work:
            return 100
        if self.status == Replay.Status.RUNNING and self.total:
            return min(99, 100 * int(self.done.get("events", 0)) // self.total)
        return min(99, 100 * (self.cursor - self.first) // max(1, self.last - self.first))

    def start(self, by: str) -> bool:
        """For real, now that the dry run is through; False if it is not, or somebody else was first."""
        now = timezone.now()
        return self._turn(
            (Replay.Status.TRIED,),
            status=Replay.Status.RUNNING,
            confirmed_by=by[:NAME_LENGTH],
            started_at=now,
            next_step_at=now,
            cursor=F("first"),
            done={},
        )

    def cancel(self, by: str) -> bool:
        """Nothing more is run; what has been queued is sent all the same. False if it had ended."""
        ended = {"cancelled_by": by[:NAME_LENGTH], "finished_at": timezone.now()}
        if not self._turn(Replay.UNFINISHED, status=Replay.Status.CANCELLED, **ended):
            return False
        self.planned.all().delete()
        return True

    def is_enough(self, calls: int) -> bool:
        """Whether so many calls are more than a second's share."""
        return self.status == Replay.Status.RUNNING and calls > self.calls_per_minute / 60

    def go_on(self, figures: dict[str, Any], cursor: int, calls: int, now: datetime) -> None:
        """These are through, up to `cursor`; so many calls must be waited for before the next."""
        changed = ["cursor", "status", "next_step_at"]
        self.cursor = cursor
        if self.status == Replay.Status.TRYING:
            self.tried = figures
            changed += ["tried", *(["sample"] if "sample" not in self.get_deferred_fields() else [])]
            self.status = Replay.Status.TRIED if cursor >= self.last else self.status
        else:
            self.done = figures
            self.next_step_at = max(self.next_step_at, now) + timedelta(minutes=calls / self.calls_per_minute)
            if cursor >= self.last:
                self.status, self.finished_at = Replay.Status.DONE, timezone.now()
            changed += ["done", "failures", "finished_at"]
        self.save(update_fields=changed)
        if not self.is_unfinished:
            self.planned.all().delete()

    def _turn(self, from_statuses: tuple[str, ...], **changes: Any) -> bool:
        won = bool(Replay.objects.filter(pk=self.pk, status__in=from_statuses).update(**changes))
        self.refresh_from_db()
        return won


class PlannedCall(models.Model):
    """A call that the real run makes, kept until it is through: what two events would cause stands here once."""

    replay = models.ForeignKey(Replay, models.CASCADE, related_name="planned")
    key = models.CharField(max_length=200)
    event = models.PositiveBigIntegerField(default=0)  # its key: the event may be pruned meanwhile
    state = models.CharField(max_length=10)
    call = models.CharField(max_length=40)
    target = models.CharField(max_length=200)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("replay", "key"), name="planned_once"),)

    def __str__(self) -> str:
        return self.key
