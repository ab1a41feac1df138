"""Which processes are alive."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

from django.db import models
from django.utils import timezone

SEEN_LATELY = timedelta(seconds=45)  # a process without a heartbeat for longer counts as gone


class HeartbeatManager(models.Manager["Heartbeat"]):
    def beat(self, kind: str, host: str, pid: int, started_at: datetime, now: datetime | None = None) -> None:
        """This process is alive now; rows of processes silent for a day are dropped."""
        now = now or timezone.now()
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
