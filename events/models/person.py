"""What people are called: events and buttons carry an open_id only."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..envelope import ID_LENGTH
from .bot import Bot

NAME_LENGTH = 120


class Person(models.Model):
    """Someone a bot has met; the name is empty until an event or the contact API has told it."""

    bot = models.ForeignKey(Bot, models.CASCADE, related_name="people", verbose_name=_("bot"))
    open_id = models.CharField(max_length=ID_LENGTH)
    name = models.CharField(_("name"), max_length=NAME_LENGTH, blank=True)
    seen_at = models.DateTimeField(_("seen at"), default=timezone.now)
    asked_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("person")
        verbose_name_plural = _("people")
        constraints = (models.UniqueConstraint(fields=("bot", "open_id"), name="one_person_per_bot"),)

    def __str__(self) -> str:
        return self.name or self.open_id
