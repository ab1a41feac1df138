"""The people of an incident, the chats it has left, and what happened, line by line."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from events.envelope import ID_LENGTH

from .actor import NAME_LENGTH, Via


class Responder(models.Model):
    """Someone who is to be in the incident's chat, and whether that worked."""

    class Status(models.TextChoices):
        WAITING = "waiting", _("waiting")
        APPROVAL = "approval", _("waits for approval")
        ADDED = "added", _("added")
        FAILED = "failed", _("could not be added")

    incident = models.ForeignKey(
        "incidents.Incident", models.CASCADE, related_name="responders", verbose_name=_("incident")
    )
    open_id = models.CharField(_("open_id"), max_length=ID_LENGTH, blank=True)
    email = models.CharField(_("e-mail"), max_length=254, blank=True)
    mobile = models.CharField(_("mobile"), max_length=40, blank=True)
    status = models.CharField(_("status"), max_length=10, choices=Status.choices, default=Status.WAITING)
    error = models.CharField(_("error"), max_length=300, blank=True)

    class Meta:
        verbose_name = _("responder")
        verbose_name_plural = _("responders")
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.label

    @property
    def identity(self) -> tuple[str, str, str]:
        return (self.open_id, self.email, self.mobile)

    @property
    def label(self) -> str:
        return self.open_id or self.email or self.mobile


class FormerChat(models.Model):
    """A chat that an incident had, until it was gone and another one was begun."""

    incident = models.ForeignKey(
        "incidents.Incident", models.CASCADE, related_name="former_chats", verbose_name=_("incident")
    )
    chat_id = models.CharField(_("chat"), max_length=ID_LENGTH, db_index=True)
    left_at = models.DateTimeField(_("left at"), default=timezone.now)

    class Meta:
        verbose_name = _("former chat")
        verbose_name_plural = _("former chats")
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.chat_id


class TimelineEntry(models.Model):
    """What happened, when, by whom, and the way it came."""

    class Kind(models.TextChoices):
        OPENED = "opened", _("opened")
        ACKNOWLEDGED = "acknowledged", pgettext_lazy("timeline entry", "acknowledged")
        RESOLVED = "resolved", _("resolved")
        FALSE_ALARM = "false_alarm", _("false alarm")
        REOPENED = "reopened", _("reopened")
        SEVERITY = "severity", _("severity changed")
        LEAD = "lead", _("lead assigned")
        CALLED_IN = "called_in", _("called in")
        MUTED = "muted", _("muted")
        NOTE = "note", _("note")
        MESSAGE = "message", _("chat message")
        JOINED = "joined", _("joined")
        LEFT = "left", _("left")
        CHAT = "chat", _("chat")
        REFUSED = "refused", _("refused press")
        IMPORTED = "imported", _("imported")
        POST_MORTEM = "post_mortem", _("post-mortem begun")
        ARCHIVED = "archived", _("archived")
        REMINDED = "reminded", _("reminded")
        ALERT = "alert", _("alert")
        RECOVERED = "recovered", _("recovered")

    TRACES = (Kind.JOINED, Kind.LEFT, Kind.MESSAGE)  # of people in the chat

    incident = models.ForeignKey(
        "incidents.Incident", models.CASCADE, related_name="timeline", verbose_name=_("incident")
    )
    happened_at = models.DateTimeField(_("happened at"), default=timezone.now)
    kind = models.CharField(_("kind"), max_length=20, choices=Kind.choices)
    via = models.CharField(_("by way of"), max_length=10, choices=Via.choices)
    person = models.CharField(_("person"), max_length=NAME_LENGTH, blank=True)
    open_id = models.CharField(max_length=ID_LENGTH, blank=True)
    text = models.TextField(_("text"), blank=True)
    message_id = models.CharField(max_length=ID_LENGTH, blank=True)
    recalled = models.BooleanField(_("recalled"), default=False)
    important = models.BooleanField(_("key entry"), default=False)

    class Meta:
        verbose_name = _("timeline entry")
        verbose_name_plural = _("timeline")
        ordering = ("happened_at", "pk")
        indexes = (
            models.Index(fields=("incident", "happened_at"), name="timeline_in_order"),
            # Whose name is not known yet (incidents.names); asked for each time that somebody's name is heard.
            models.Index(fields=("open_id",), condition=Q(person=""), name="timeline_unnamed"),
            models.Index(fields=("message_id",), condition=~Q(message_id=""), name="timeline_by_message"),
        )

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.text}".strip()

    def text_with(self, names: Mapping[str, str]) -> str:
        """The text; whom it names by open_id or address alone, by name where that is known."""
        if self.kind not in (TimelineEntry.Kind.LEAD, TimelineEntry.Kind.CALLED_IN):
            return self.text
        return "、".join(names.get(one) or one for one in self.text.split())
