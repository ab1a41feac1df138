"""The doctor's findings, kept: the console shows the newest, a worker makes them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

LEASE = timedelta(minutes=10)  # a checkup takes 3 at most; the clocks of two machines may differ
KEPT = 20


class CheckupQuerySet(models.QuerySet["Checkup"]):
    def due(self, now: datetime) -> CheckupQuerySet:
        """Asked for and not made, or left behind by a worker that is gone."""
        abandoned = Q(status=Checkup.Status.RUNNING, leased_until__lt=now)
        return self.filter(Q(status=Checkup.Status.WAITING) | abandoned).order_by("pk")

    def ask(self, by: str) -> Checkup:
        """A checkup of everything; one that waits or runs is taken for it."""
        return self.filter(status__in=Checkup.UNFINISHED).first() or self.create(asked_by=by[:150])

    def claim(self, now: datetime) -> Checkup | None:
        """The oldest due one, leased to the caller; of several workers one gets it."""
        for checkup in self.due(now)[:5]:
            lease = {"status": Checkup.Status.RUNNING, "leased_until": now + LEASE}
            if self.due(now).filter(pk=checkup.pk).order_by().update(**lease):
                return checkup
        return None

    def newest(self) -> Checkup | None:
        """The newest with findings."""
        return self.filter(status=Checkup.Status.DONE).order_by("-pk").first()


class Checkup(models.Model):
    """One round of all checks: `findings` are doctor.Finding as JSON."""

    class Status(models.TextChoices):
        WAITING = "waiting", _("queued")
        RUNNING = "running", _("running")
        DONE = "done", _("done")

    UNFINISHED = (Status.WAITING, Status.RUNNING)

    asked_by = models.CharField(_("asked for by"), max_length=150, blank=True)
    asked_at = models.DateTimeField(_("asked for at"), default=timezone.now)
    status = models.CharField(_("status"), max_length=10, choices=Status.choices, default=Status.WAITING)
    leased_until = models.DateTimeField(null=True, blank=True, editable=False)
    made_at = models.DateTimeField(_("made at"), null=True, blank=True)
    findings = models.JSONField(_("findings"), default=list)

    objects: ClassVar[CheckupQuerySet] = CheckupQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("setup check")
        verbose_name_plural = _("setup check")
        ordering = ("-pk",)
        permissions = (("run_checkup", "Can run the setup check"),)

    def __str__(self) -> str:
        return f"#{self.pk}"

    @property
    def is_unfinished(self) -> bool:
        return self.status in Checkup.UNFINISHED

    def finish(self, findings: list[dict[str, Any]]) -> None:
        """Keeps the findings; older rounds are dropped."""
        self.status, self.findings, self.made_at = Checkup.Status.DONE, findings, timezone.now()
        self.save(update_fields=["status", "findings", "made_at"])
        older = (
            Checkup.objects.filter(status=Checkup.Status.DONE).order_by("-pk").values_list("pk", flat=True)
        )
        for newest_too_old in older[KEPT : KEPT + 1]:
            Checkup.objects.filter(status=Checkup.Status.DONE, pk__lte=newest_too_old).delete()
