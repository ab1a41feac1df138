"""The fleet: every long connection of every listener, and how it is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .bot import Bot
from .heartbeat import SEEN_LATELY

MOST_CONNECTIONS = 50  # of one app, Feishu's limit
SILENT_AFTER = timedelta(seconds=120)  # a listener reopens a silent connection after 90 s


class ConnectionQuerySet(models.QuerySet["Connection"]):
    def beat(self, bot: Bot, host: str, pid: int, now: datetime, columns: Mapping[str, Any]) -> None:
        """This process holds (or wants) a connection of the bot, and this is how it is."""
        self.update_or_create(bot=bot, host=host, pid=pid, defaults={**columns, "seen_at": now})

    def drop_old(self, now: datetime) -> None:
        self.filter(seen_at__lt=now - timedelta(days=1)).delete()

    def live(self, now: datetime) -> ConnectionQuerySet:
        """Those that receive: their process is seen, they are connected, and Feishu speaks."""
        heard = Q(last_frame_at__gte=now - SILENT_AFTER) | Q(connected_since__gte=now - SILENT_AFTER)
        return self.filter(heard, seen_at__gte=now - SEEN_LATELY, connected_since__isnull=False)


class Connection(models.Model):
    """One bot's long connection in one listener process; written every 10 s by that process."""

    class State(models.TextChoices):
        LIVE = "live", _("receiving")
        SILENT = "silent", _("silent")
        CONNECTING = "connecting", _("not connected")
        GONE = "gone", _("gone")

    bot = models.ForeignKey(Bot, models.CASCADE, related_name="connections", verbose_name=_("bot"))
    host = models.CharField(_("host"), max_length=200)
    pid = models.PositiveIntegerField(_("process"))
    version = models.CharField(_("version"), max_length=40)
    routes = models.JSONField(_("routes"), default=list)
    started_at = models.DateTimeField(_("started at"))
    seen_at = models.DateTimeField(_("seen at"))
    connected_since = models.DateTimeField(_("connected since"), null=True)
    last_frame_at = models.DateTimeField(_("last frame"), null=True)
    last_event_at = models.DateTimeField(_("last event"), null=True)
    frames = models.PositiveBigIntegerField(_("frames"), default=0)
    events = models.PositiveBigIntegerField(_("events"), default=0)
    errors = models.PositiveBigIntegerField(_("errors"), default=0)
    last_error = models.CharField(_("last error"), max_length=300, blank=True)

    objects: ClassVar[ConnectionQuerySet] = ConnectionQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("listener")
        verbose_name_plural = _("listeners")
        ordering = ("bot", "host", "pid")
        constraints = (
            models.UniqueConstraint(fields=("bot", "host", "pid"), name="one_connection_per_process"),
        )

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"

    def state(self, now: datetime | None = None) -> Connection.State:
        now = now or timezone.now()
        if self.seen_at < now - SEEN_LATELY:
            return Connection.State.GONE
        if self.connected_since is None:
            return Connection.State.CONNECTING
        heard_at = max(self.connected_since, self.last_frame_at or self.connected_since)
        return Connection.State.LIVE if heard_at >= now - SILENT_AFTER else Connection.State.SILENT
