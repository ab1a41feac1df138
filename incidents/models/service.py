"""How bad it is, what is broken, and who is called when it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from events.envelope import ID_LENGTH
from events.models import Bot


class Severity(models.TextChoices):
    P0 = "P0", _("P0 critical")
    P1 = "P1", _("P1 high")
    P2 = "P2", _("P2 medium")
    P3 = "P3", _("P3 low")


class ServiceManager(models.Manager["Service"]):
    def named(self, names: Iterable[str]) -> Service | None:
        """The service of the first name that is one, in capitals or not."""
        found = (self.filter(name__iexact=name).first() for name in names)
        return next((service for service in found if service), None)

    def default_of(self, bot: Bot) -> Service | None:
        """Whose the bot's incidents are that name no service."""
        return self.filter(default_for=bot).first()

    def bots_without_default(self) -> list[Bot]:
        """The enabled bots whose incidents may call nobody."""
        return list(Bot.objects.filter(enabled=True).exclude(pk__in=self._chosen()).order_by("name"))

    def _chosen(self) -> models.QuerySet[Service, int | None]:
        return self.exclude(default_for=None).values_list("default_for", flat=True)


class Service(models.Model):
    """What can break, and who is called when it does."""

    name = models.CharField(_("name"), max_length=80, unique=True)
    first_on_call = models.CharField(
        _("first on call"), max_length=ID_LENGTH, blank=True, help_text=_("An open_id (ou_...).")
    )
    second_on_call = models.CharField(_("second on call"), max_length=ID_LENGTH, blank=True)
    severity = models.CharField(
        _("default severity"), max_length=2, choices=Severity.choices, default=Severity.P2
    )
    member_ids = models.JSONField(_("further members of the chat"), default=list, blank=True)
    default_for = models.OneToOneField(
        Bot,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("default for"),
        help_text=_("This bot's incidents that name no service (alerts, /incident, the API) are this one's."),
        error_messages={"unique": _("Another service is this bot's default.")},
    )
    resolved_by_alerts = models.BooleanField(
        _("resolved by its alerts"),
        default=False,
        help_text=_("When all alerts behind an incident have recovered, it is resolved by itself."),
    )

    objects: ClassVar[ServiceManager] = ServiceManager()

    class Meta:
        verbose_name = _("service")
        verbose_name_plural = _("services")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def on_call(self) -> list[str]:
        return [open_id for open_id in (self.first_on_call, self.second_on_call) if open_id]

    @property
    def everyone(self) -> list[str]:
        return list(dict.fromkeys([*self.on_call, *self.member_ids]))
