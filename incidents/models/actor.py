"""Who does something to an incident, the way it comes, and what stands against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import models
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from .incident import Incident

NAME_LENGTH = 120


class Via(models.TextChoices):
    """The way a change came."""

    ADMIN = "admin", _("console")
    API = "api", _("API")
    BUTTON = "button", _("card")
    COMMAND = "command", _("command")
    ALERT = "alert", _("alert")
    CHAT = "chat", _("chat")
    SYSTEM = "system", _("system")


@dataclass(frozen=True)
class Actor:
    """Who does something, and the way it comes; either the name or the open_id may be unknown."""

    via: str
    name: str = ""
    open_id: str = ""

    @property
    def markup(self) -> str:
        """The person in a text message: a mention where Feishu knows the person, else the name."""
        from events.outbox import at, plain

        return at(self.open_id) if self.open_id else plain(self.name or "botconsole")


class StepError(Exception):
    """The incident's state does not allow the step; `incident` is as it is now.

    `contested` is the field that somebody else has just set ("severity", "lead"), "" where the status forbids it.
    """

    def __init__(self, incident: Incident, contested: str = "") -> None:
        super().__init__(f"{incident} is {incident.status}")
        self.incident = incident
        self.contested = contested
