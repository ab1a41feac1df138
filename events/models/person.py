"""What people and chats are called: events and buttons carry ids only."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..confidential import Reader, hidden_from
from ..envelope import ID_LENGTH
from .bot import Bot

NAME_LENGTH = 120


class Named(models.Model):
    """Someone or something with a name that Feishu is asked for at most once a day, after a page wanted it."""

    ID_FIELD: ClassVar[str]

    name = models.CharField(_("name"), max_length=NAME_LENGTH, blank=True)
    seen_at = models.DateTimeField(_("seen at"), default=timezone.now)
    asked_at = models.DateTimeField(null=True, blank=True, editable=False)
    wanted_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name or str(getattr(self, self.ID_FIELD))


class Person(Named):
    """Someone a bot has met; the name is empty until an event or the contact API has told it."""

    ID_FIELD = "open_id"

    bot = models.ForeignKey(Bot, models.CASCADE, related_name="people", verbose_name=_("bot"))
    open_id = models.CharField(max_length=ID_LENGTH)

    class Meta:
        verbose_name = _("person")
        verbose_name_plural = _("people")
        constraints = (models.UniqueConstraint(fields=("bot", "open_id"), name="one_person_per_bot"),)
        indexes = (
            models.Index(fields=("wanted_at",), condition=Q(wanted_at__isnull=False), name="person_wanted"),
        )


class ChatQuerySet(models.QuerySet["Chat"]):
    def readable_by(self, reader: Reader) -> ChatQuerySet:
        """Without those whose name belongs to somebody's private matter (events.confidential)."""
        rows = self
        for hidden in hidden_from(reader):
            rows = rows.exclude(hidden.chats)
        return rows

    def newest_names(self, most: int) -> dict[str, str]:
        """chat_id -> name of the chats that a bot met last; what two bots are in counts once."""
        newest = self.exclude(name="").order_by("-pk").values_list("chat_id", "name")[: 2 * most]
        names: dict[str, str] = {}
        for chat_id, name in newest:
            names.setdefault(chat_id, name)
        return dict(list(names.items())[:most])


class Chat(Named):
    """A chat that a bot has heard of; the name is empty until an event or the chat API has told it."""

    ID_FIELD = "chat_id"

    bot = models.ForeignKey(Bot, models.CASCADE, related_name="chats", verbose_name=_("bot"))
    chat_id = models.CharField(max_length=ID_LENGTH)

    objects: ClassVar[ChatQuerySet] = ChatQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("chat")
        verbose_name_plural = _("known chats")
        constraints = (models.UniqueConstraint(fields=("bot", "chat_id"), name="one_chat_per_bot"),)
        indexes = (
            models.Index(fields=("chat_id",), name="chat_by_id"),
            models.Index(fields=("wanted_at",), condition=Q(wanted_at__isnull=False), name="chat_wanted"),
        )
