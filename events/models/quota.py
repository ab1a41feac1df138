"""What the workers share about an app: how much of Feishu's limits is used, and whether Feishu answers it at all."""

from __future__ import annotations

from typing import Any

from django.db import models

from .bot import Bot


def nothing_used() -> dict[str, Any]:
    return {"grants": [], "shares": {}}


class Quota(models.Model):
    """One app's use of one API: who may make how many calls (events.quota reads and writes `state`)."""

    bot = models.ForeignKey(Bot, models.CASCADE, related_name="quotas", db_index=False)
    call = models.CharField(max_length=40)
    state = models.JSONField(default=nothing_used)
    month = models.CharField(max_length=7, blank=True)  # 2026-11, as Feishu counts: China's time
    month_count = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("bot", "call"), name="one_quota_per_call"),)

    def __str__(self) -> str:
        return f"{self.bot_id} {self.call}"


class Circuit(models.Model):
    """Whether an app gets answers. While it is open, one call at a time probes whether it does again."""

    bot = models.OneToOneField(Bot, models.CASCADE, related_name="circuit", primary_key=True)
    # The rows that got no answer since the last answer; enough different ones open the circuit.
    suspects = models.JSONField(default=list)
    opened_at = models.DateTimeField(null=True, blank=True)
    probes = models.PositiveIntegerField(default=0)
    next_probe_at = models.DateTimeField(null=True, blank=True)
    error_code = models.BigIntegerField(null=True, blank=True)
    error = models.CharField(max_length=500, blank=True)

    def __str__(self) -> str:
        return "open" if self.opened_at else "closed"
