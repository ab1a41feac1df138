"""Welcome templates, which of them greets where, and who has been greeted already."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import timedelta
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from events.cards import JSON, CardError, complete, parse, render, template, unknown_variables
from events.envelope import ID_LENGTH
from events.models import Bot
from events.remembered import Remembered

from .variables import VARIABLES, sample_variables

CHAT_ID = re.compile(r"^oc_[A-Za-z0-9]+$")


class Trigger(models.TextChoices):
    MEMBER_JOINED = "member_joined", _("someone joins a group")
    CONVERSATION_STARTED = "conversation_started", _("someone opens a conversation with the bot")
    BOT_JOINED = "bot_joined", _("the bot is added to a group")


def _ask_for_enabled(where: tuple[int, str]) -> list[WelcomeTemplate]:
    bot_pk, trigger = where
    return list(WelcomeTemplate.objects.filter(bot=bot_pk, trigger=trigger, enabled=True).order_by("-pk"))


_enabled = Remembered(_ask_for_enabled)


class WelcomeTemplateQuerySet(models.QuerySet["WelcomeTemplate"]):
    def best_for(self, bot: Bot, trigger: str, chat_id: str, tenant_key: str = "") -> WelcomeTemplate | None:
        """The enabled template that greets here: one for the chat, else for the tenant, else for all.

        One saved less than REMEMBER_SECONDS ago may not be known yet.
        """
        fitting = [one for one in _enabled((bot.pk, trigger)) if one.greets_in(chat_id, tenant_key)]
        return max(fitting, key=lambda one: (bool(one.chat_ids), bool(one.tenant_key)), default=None)


class WelcomeTemplate(models.Model):
    """A card that an operator wrote, the moment it is for, and the chats it is for."""

    bot = models.ForeignKey(Bot, models.CASCADE, related_name="welcome_templates", verbose_name=_("bot"))
    name = models.CharField(_("name"), max_length=80)
    trigger = models.CharField(
        _("greets when"), max_length=30, choices=Trigger.choices, default=Trigger.MEMBER_JOINED
    )
    chat_ids = models.JSONField(
        _("chats"),
        default=list,
        blank=True,
        help_text=_("One chat id (oc_...) a line. Empty: every chat without a template of its own."),
    )
    tenant_key = models.CharField(
        _("tenant"),
        max_length=ID_LENGTH,
        blank=True,
        help_text=_("For store apps: only people of this tenant are greeted. Empty: those of every tenant."),
    )
    card = models.TextField(
        _("card"), help_text=_("The card as JSON (1.0 or 2.0), with variables like {{ user.name }}.")
    )
    enabled = models.BooleanField(_("enabled"), default=True)
    late_hours = models.PositiveIntegerField(
        _("greet late, up to (hours)"),
        default=24,
        help_text=_("After an outage, events arrive late. 0: a late event is stored, but nobody is greeted."),
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    updated_at = models.DateTimeField(_("changed at"), auto_now=True)

    objects: ClassVar[WelcomeTemplateQuerySet] = WelcomeTemplateQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("welcome template")
        verbose_name_plural = _("welcome templates")
        ordering = ("bot", "trigger", "name")
        indexes = (
            models.Index(fields=("bot", "trigger"), condition=Q(enabled=True), name="welcome_enabled"),
        )

    def __str__(self) -> str:
        return self.name

    def greets_in(self, chat_id: str, tenant_key: str = "") -> bool:
        return (not self.chat_ids or chat_id in self.chat_ids) and self.tenant_key in ("", tenant_key)

    def greets_after(self, delay: timedelta) -> bool:
        """Whether someone is still greeted this long after the event."""
        return delay <= timedelta(hours=self.late_hours)

    def render(self, variables: dict[str, Any]) -> JSON:
        """The card with its variables filled in; raises CardError."""
        return complete(template(self.card, frozenset(variables)), variables)

    def clean(self) -> None:
        errors: dict[str, Any] = {}
        if problems := self._card_problems():
            errors["card"] = problems
        if problems := self._chat_problems():
            errors["chat_ids"] = problems
        if errors:
            raise ValidationError(errors)

    def _card_problems(self) -> list[str]:
        try:
            card = parse(self.card)
            if unknown := unknown_variables(card, VARIABLES[self.trigger]):
                return [f"{problem.path}: {problem.message}" for problem in unknown]
            render(card, sample_variables(self.trigger, self.bot_name))
        except CardError as error:
            return [
                f"{problem.path}: {problem.message}" if problem.path else problem.message
                for problem in error.problems
            ]
        return []

    def _chat_problems(self) -> list[str]:
        wrong = [chat_id for chat_id in self.chat_ids if not CHAT_ID.match(str(chat_id))]
        if wrong:
            return [gettext("“%s” is not a chat id: it starts with oc_.") % chat_id for chat_id in wrong]
        if self.enabled and self.bot_id and (rival := self._rival()):
            return [gettext("“%s” already greets there. Disable it first, or name other chats.") % rival.name]
        return []

    def _rival(self) -> WelcomeTemplate | None:
        """Another enabled template that is just as specific for one of the same chats."""
        same = {"bot": self.bot, "trigger": self.trigger, "tenant_key": self.tenant_key}
        others = WelcomeTemplate.objects.filter(**same, enabled=True).exclude(pk=self.pk)
        return next((other for other in others if _equally_specific(self.chat_ids, other.chat_ids)), None)

    @property
    def bot_name(self) -> str:
        return self.bot.name if self.bot_id else ""


def _equally_specific(ours: Collection[str], theirs: Collection[str]) -> bool:
    return bool(set(ours) & set(theirs)) or (not ours and not theirs)


class Greeting(models.Model):
    """Someone was greeted in the conversation with a bot: once is enough, whichever event said so first."""

    bot = models.ForeignKey(Bot, models.CASCADE, related_name="greetings", verbose_name=_("bot"))
    open_id = models.CharField(_("person"), max_length=ID_LENGTH)
    greeted_at = models.DateTimeField(_("greeted at"), default=timezone.now)

    class Meta:
        verbose_name = _("greeting")
        verbose_name_plural = _("greetings")
        constraints = (models.UniqueConstraint(fields=("bot", "open_id"), name="greeted_once"),)

    def __str__(self) -> str:
        return self.open_id
