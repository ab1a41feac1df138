"""When an incident of a severity asks for attention by itself; the operator's to change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from .service import Severity

WEEK = 7 * 24 * 60
MINUTES = (MinValueValidator(1), MaxValueValidator(WEEK))


class ReminderRuleManager(models.Manager["ReminderRule"]):
    def by_severity(self) -> dict[str, ReminderRule]:
        """The rule of every severity; a missing one is made with its defaults."""
        rules = {rule.severity: rule for rule in self.all()}
        missing = [one for one in Severity.values if one not in rules]
        if missing:
            made = [self.model(severity=one, **DEFAULTS[one]) for one in missing]
            self.bulk_create(made, ignore_conflicts=True)
            rules = {rule.severity: rule for rule in self.all()}
        return rules


class ReminderRule(models.Model):
    """How long nobody may have taken an incident, or said a word about it, before the chat is told."""

    severity = models.CharField(_("severity"), max_length=2, choices=Severity.choices, unique=True)
    enabled = models.BooleanField(_("enabled"), default=True)
    remind_after_minutes = models.PositiveIntegerField(
        _("remind after (minutes)"),
        validators=MINUTES,
        help_text=_("Not acknowledged for so long: a line in the chat, and the first on call is buzzed."),
    )
    escalate_after_minutes = models.PositiveIntegerField(
        _("escalate after further (minutes)"),
        validators=MINUTES,
        help_text=_("Still not acknowledged: the second on call is buzzed."),
    )
    repeat_every_minutes = models.PositiveIntegerField(
        _("repeat every (minutes)"), validators=MINUTES, help_text=_("From then on both are buzzed.")
    )
    at_most = models.PositiveIntegerField(
        _("at most (times)"), validators=(MinValueValidator(1), MaxValueValidator(100))
    )
    ask_for_update_after_minutes = models.PositiveIntegerField(
        _("ask for an update after (minutes)"),
        validators=MINUTES,
        help_text=_("Acknowledged, and nothing has happened in the chat or on the card for so long."),
    )

    objects: ClassVar[ReminderRuleManager] = ReminderRuleManager()

    class Meta:
        verbose_name = _("reminder rule")
        verbose_name_plural = _("reminder rules")
        ordering = ("severity",)

    def __str__(self) -> str:
        return self.get_severity_display()


def _minutes(
    remind: int, repeat: int, at_most: int, update: int, *, enabled: bool = True
) -> dict[str, int | bool]:
    return {
        "enabled": enabled,
        "remind_after_minutes": remind,
        "escalate_after_minutes": remind,
        "repeat_every_minutes": repeat,
        "at_most": at_most,
        "ask_for_update_after_minutes": update,
    }


DEFAULTS: Mapping[str, Mapping[str, int | bool]] = {
    "P0": _minutes(5, 10, 6, 30),
    "P1": _minutes(15, 30, 4, 60),
    "P2": _minutes(60, 120, 3, 240),
    "P3": _minutes(240, 480, 3, 1440, enabled=False),
}
