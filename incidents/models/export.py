"""Exports of incidents: jobs that the worker makes, and the files they end in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from django.conf import settings
from django.db import models, transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from events.envelope import ID_LENGTH
from events.models import storable

from .actor import NAME_LENGTH, Actor

if TYPE_CHECKING:
    from .incident import Incident

# Above the time of the longest single call (3 minutes), by as much as the clocks of two machines may differ.
LEASE = timedelta(minutes=10)
# The wait after the 1st, 2nd, ... try; then the export has failed until somebody retries it.
RETRY_SECONDS = (30, 120, 600, 1800)
PIECE_BYTES = 1024 * 1024
EXPIRED_AT_ONCE = 100


class LostError(Exception):
    """The export is no longer this worker's: its lease ran out, and another one has it."""


class ExportQuerySet(models.QuerySet["Export"]):
    @transaction.atomic
    def ask(self, incident: Incident, by: Actor, *, then: str = "", accept_gaps: bool = False) -> Export:
        """An export that the worker makes; one that waits or runs for the same purpose is taken for it."""
        type(incident).objects.select_for_update().get(pk=incident.pk)
        waiting = self.filter(incident=incident, then=then, status__in=Export.UNFINISHED).first()
        return waiting or self.create(
            incident=incident,
            then=then,
            accept_gaps=accept_gaps,
            requested_by=by.name,
            requested_by_open_id=by.open_id,
            via=by.via,
        )

    def due(self, now: datetime) -> ExportQuerySet:
        """What waits for its (next) try, and what a worker left behind."""
        waiting = Q(status=Export.Status.WAITING, next_try_at__lte=now)
        abandoned = Q(status=Export.Status.RUNNING, leased_until__lt=now)
        return self.filter(waiting | abandoned).order_by("pk")

    def expire(self, now: datetime) -> int:
        """Drops the files of exports older than EXPORT_DAYS (0: never); the number of exports.

        What may be the only copy of a chat stays: exports of archives, and of chats that are gone.
        """
        if not settings.EXPORT_DAYS:
            return 0
        old = self.filter(
            status=Export.Status.DONE,
            then="",
            incident__chat_gone=False,
            finished_at__lt=now - timedelta(days=settings.EXPORT_DAYS),
        )
        expired = list(old.order_by("pk").values_list("pk", flat=True)[:EXPIRED_AT_ONCE])
        with transaction.atomic():
            ExportPiece.objects.filter(export__in=expired).delete()
            return Export.objects.filter(pk__in=expired).update(status=Export.Status.EXPIRED)

    def claim(self, now: datetime) -> Export | None:
        """Leases the oldest due export to the caller; of several workers one gets it."""
        for export in self.due(now).select_related("incident__bot", "incident__service")[:10]:
            rows = self.due(now).filter(pk=export.pk, tries=export.tries).order_by()
            if not rows.update(status=Export.Status.RUNNING, tries=F("tries") + 1, leased_until=now + LEASE):
                continue
            export.status, export.tries = Export.Status.RUNNING, export.tries + 1
            if export.tries > len(RETRY_SECONDS) + 1:
                export.fail(_("The worker was stopped in the middle too often."), again=False)
                continue
            return export
        return None


class Export(models.Model):
    """A job: the whole of an incident as a zip. `then` is what an archive does when it is done."""

    class Status(models.TextChoices):
        WAITING = "waiting", _("queued")
        RUNNING = "running", _("running")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")
        EXPIRED = "expired", _("no longer kept")

    class Then(models.TextChoices):
        NOTHING = "", _("nothing more")
        DISBAND = "disband", _("dissolve the chat")
        LEAVE = "leave", _("leave the chat")

    UNFINISHED = (Status.WAITING, Status.RUNNING)

    incident = models.ForeignKey(
        "incidents.Incident", models.CASCADE, related_name="exports", verbose_name=_("incident")
    )
    requested_by = models.CharField(_("requested by"), max_length=NAME_LENGTH, blank=True)
    requested_by_open_id = models.CharField(max_length=ID_LENGTH, blank=True)
    via = models.CharField(_("by way of"), max_length=10)
    requested_at = models.DateTimeField(_("requested at"), default=timezone.now)
    status = models.CharField(_("status"), max_length=10, choices=Status.choices, default=Status.WAITING)
    then = models.CharField(_("then"), max_length=10, choices=Then.choices, blank=True)
    accept_gaps = models.BooleanField(_("even if something is missing"), default=False)
    done = models.PositiveIntegerField(_("done"), default=0)
    total = models.PositiveIntegerField(_("of"), default=0)
    tries = models.PositiveIntegerField(_("tries"), default=0)
    next_try_at = models.DateTimeField(_("next try at"), default=timezone.now)
    leased_until = models.DateTimeField(null=True, blank=True, editable=False)
    error = models.CharField(_("error"), max_length=500, blank=True)
    missing = models.JSONField(_("missing"), default=list, blank=True)
    size = models.PositiveBigIntegerField(_("size"), default=0)
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)

    objects: ClassVar[ExportQuerySet] = ExportQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("export")
        verbose_name_plural = _("exports")
        ordering = ("-pk",)
        indexes = (
            models.Index(
                fields=("next_try_at",), condition=Q(status__in=("waiting", "running")), name="export_due"
            ),
        )

    def __str__(self) -> str:
        return f"{self.incident} {self.get_status_display()}"

    @property
    def is_unfinished(self) -> bool:
        return self.status in Export.UNFINISHED

    @property
    def file_name(self) -> str:
        return f"{self.incident.number}-{timezone.localtime(self.requested_at):%Y%m%d-%H%M}.zip"

    @property
    def by(self) -> Actor:
        return Actor(self.via, self.requested_by, self.requested_by_open_id)

    def progress(self, done: int, total: int) -> None:
        """Tells how far it is, and renews the lease; raises LostError."""
        self._update(done=done, total=total, leased_until=timezone.now() + LEASE)

    @transaction.atomic
    def finish(self, zipped: Path, missing: list[str]) -> None:
        """The zip is stored, and what an archive wanted afterwards is queued, or neither."""
        from .. import archive

        self._update(
            status=Export.Status.DONE,
            finished_at=timezone.now(),
            missing=[storable(text) for text in missing],
            size=zipped.stat().st_size,
            error="",
            leased_until=None,
        )
        self.pieces.all().delete()
        with zipped.open("rb") as file:
            for number, data in enumerate(iter(lambda: file.read(PIECE_BYTES), b"")):
                self.pieces.create(number=number, data=data)
        archive.export_ended(self)

    @transaction.atomic
    def fail(self, error: object, *, again: bool) -> None:
        """It did not work this time; `again`: it is tried again by itself while tries are left."""
        from .. import archive

        again = again and self.tries <= len(RETRY_SECONDS)
        wait = timedelta(seconds=RETRY_SECONDS[self.tries - 1] if again else 0)
        self._update(
            status=Export.Status.WAITING if again else Export.Status.FAILED,
            next_try_at=timezone.now() + wait,
            finished_at=None if again else timezone.now(),
            error=storable(str(error))[:500],
            leased_until=None,
        )
        if not again:
            archive.export_ended(self)

    def content(self) -> Iterator[bytes]:
        """The zip, piece by piece: at no time more than one of them is in memory."""
        for number in range(-(-self.size // PIECE_BYTES)):
            yield bytes(self.pieces.values_list("data", flat=True).get(number=number))

    def release(self) -> None:
        """The worker stops: another one begins at once."""
        self._update(status=Export.Status.WAITING, tries=self.tries - 1, leased_until=None)

    def retry(self) -> bool:
        """A failed export is made after all; False if it has not failed."""
        rows = Export.objects.filter(pk=self.pk, status=Export.Status.FAILED)
        return bool(
            rows.update(
                status=Export.Status.WAITING, tries=0, next_try_at=timezone.now(), error="", finished_at=None
            )
        )

    def _update(self, **changes: object) -> None:
        rows = Export.objects.filter(pk=self.pk, status=Export.Status.RUNNING, tries=self.tries)
        if not rows.update(**changes):
            raise LostError(str(self.pk))
        for name, value in changes.items():
            setattr(self, name, value)


class ExportPiece(models.Model):
    """PIECE_BYTES of an export's zip: in the database, because worker and web may be on different machines."""

    export = models.ForeignKey(Export, models.CASCADE, related_name="pieces")
    number = models.PositiveIntegerField()
    data = models.BinaryField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("export", "number"), name="one_piece_per_number"),)

    def __str__(self) -> str:
        return f"{self.export_id}/{self.number}"
