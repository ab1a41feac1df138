"""How each bot hears: what it heard in which hour, when last, and since when it is taken for deaf."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

from django.db import models
from django.db.models import F
from django.utils.translation import gettext_lazy as _

from .bot import Bot

HOURS_KEPT = timedelta(weeks=5)  # before the last event: the rhythm is learned from four of them


class Counted(models.Model):
    """Up to which event the hours are counted; one row, and whoever locks it counts."""

    events_to = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return str(self.events_to)

    @classmethod
    def lock(cls) -> Counted | None:
        """The row, locked until the transaction ends; None if another process has it."""
        cls.objects.get_or_create(pk=1)
        return cls.objects.select_for_update(skip_locked=True).filter(pk=1).first()


class HourCountManager(models.Manager["HourCount"]):
    def add(self, bot_id: int, hour: datetime, events: int) -> None:
        """For one caller at a time: whoever holds the lock of Counted."""
        if not self.filter(bot_id=bot_id, hour=hour).update(events=F("events") + events):
            self.create(bot_id=bot_id, hour=hour, events=events)


class HourCount(models.Model):
    """How many events a bot received in one hour; hours without events have no row."""

    bot = models.ForeignKey(Bot, models.CASCADE, related_name="hours")
    hour = models.DateTimeField()
    events = models.PositiveIntegerField()

    objects: ClassVar[HourCountManager] = HourCountManager()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("bot", "hour"), name="one_count_per_hour"),)

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}h: {self.events}"


class Hearing(models.Model):
    """What is known of one bot's hearing; `reason` is empty while all is well."""

    class Reason(models.TextChoices):
        UNATTENDED = "unattended", _("nobody listens to its long connection")
        REFUSED = "refused", _("its newest requests were all refused: the keys do not fit")
        SILENT = "silent", _("it has been silent for much longer than usual")

    bot = models.OneToOneField(Bot, models.CASCADE, related_name="hearing", primary_key=True)
    learned_since = models.DateTimeField(null=True)  # the first hour that was counted
    heard_at = models.DateTimeField(null=True)
    unattended_since = models.DateTimeField(null=True)
    expected = models.FloatField(default=0)  # events that should have come since heard_at
    reason = models.CharField(max_length=12, choices=Reason.choices, blank=True)
    deaf_since = models.DateTimeField(null=True)
    told_at = models.DateTimeField(null=True)  # when the alarm was queued, once per episode

    def __str__(self) -> str:
        return f"{self.bot_id}: {self.reason or 'hears'}"
