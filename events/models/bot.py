"""Bots, and the requests that were refused at their door."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..envelope import ID_LENGTH
from ..sealed import SealedField

REFUSALS_KEPT = 200


def default_domain() -> str:
    return str(settings.FEISHU_DOMAIN)


class Bot(models.Model):
    """One Feishu app; its three secrets are sealed at rest."""

    class Transport(models.TextChoices):
        WEBHOOK = "webhook", _("webhook")
        LONG_CONNECTION = "long_connection", _("long connection")

    class AppType(models.TextChoices):
        CUSTOM = "custom", _("custom app (one company)")
        STORE = "store", _("store app (ISV, many companies)")

    name = models.CharField(_("name"), max_length=80)
    slug = models.SlugField(_("slug"), unique=True, help_text=_("The last part of the request URL."))
    app_id = models.CharField(
        _("App ID"),
        max_length=64,
        validators=[RegexValidator(r"^[A-Za-z0-9_-]+$", _("An App ID looks like cli_a1b2c3."))],
    )
    domain = models.CharField(
        _("API domain"),
        max_length=200,
        default=default_domain,
        validators=[
            RegexValidator(
                r"^https?://[A-Za-z0-9._\[\]:-]+$", _("Give scheme and host only: https://open.feishu.cn")
            )
        ],
        help_text=_("https://open.feishu.cn for Feishu, https://open.larksuite.com for Lark."),
    )
    app_secret = SealedField(_("App Secret"))
    verification_token = SealedField(_("Verification Token"))
    encrypt_key = SealedField(_("Encrypt Key"), blank=True)
    app_type = models.CharField(
        _("kind of app"), max_length=10, choices=AppType.choices, default=AppType.CUSTOM
    )
    transport = models.CharField(
        _("events come by"),
        max_length=20,
        choices=Transport.choices,
        default=Transport.WEBHOOK,
        help_text=_("As chosen in Feishu's developer console. The long connection needs: manage.py listen"),
    )
    enabled = models.BooleanField(
        _("enabled"),
        default=True,
        help_text=_("A disabled bot stores its events but reacts to none and sends nothing."),
    )
    paused = models.BooleanField(
        _("sending is paused"),
        default=False,
        editable=False,
        help_text=_("Nothing is sent; what is queued waits."),
    )
    alarm_chat_id = models.CharField(
        _("alarm chat"),
        max_length=ID_LENGTH,
        blank=True,
        validators=[RegexValidator(r"^oc_[A-Za-z0-9]+$", _("A chat id looks like oc_a1b2c3."))],
        help_text=_("Chat id (oc_...) that is told when this bot goes deaf, and when it hears again."),
    )
    alarm_bot = models.ForeignKey(
        "self",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("told by"),
        help_text=_("A bot that is in that chat. Best another one; empty: this bot itself."),
    )
    retain_events_days = models.PositiveIntegerField(
        _("keep events (days)"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("Empty: as the whole console does. What belongs to incidents stays."),
    )
    retain_outbox_days = models.PositiveIntegerField(
        _("keep calls (days)"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("A call stays for as long as the event that caused it, even if this is shorter."),
    )
    open_id = models.CharField(
        max_length=ID_LENGTH, blank=True, editable=False
    )  # asked for when first needed
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("bot")
        verbose_name_plural = _("bots")
        ordering = ("name",)
        constraints = (models.UniqueConstraint(fields=("app_id", "domain"), name="one_bot_per_app"),)

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if problem := self.transport_problem(self.transport):
            raise ValidationError({"transport": problem})

    def transport_problem(self, transport: str) -> str:
        """Why the bot's events cannot come this way, or nothing."""
        if transport == Bot.Transport.LONG_CONNECTION and self.app_type == Bot.AppType.STORE:
            return str(_("Feishu has no long connection for store apps: use the webhook."))
        return ""

    def pause_sending(self) -> bool:
        """Nothing more of this bot goes out; False if that was so already."""
        return bool(type(self).objects.filter(pk=self.pk, paused=False).update(paused=True))

    def resume_sending(self) -> bool:
        return bool(type(self).objects.filter(pk=self.pk, paused=True).update(paused=False))

    @property
    def webhook_url(self) -> str:
        """The request URL to paste into Feishu's developer console."""
        return str(settings.PUBLIC_URL) + reverse("webhook", args=[self.slug])

    @property
    def alarm_speaker(self) -> Bot:
        """Who speaks in its alarm chat."""
        other = self.alarm_bot
        return other if other is not None and other.enabled else self


class RefusalManager(models.Manager["Refusal"]):
    def record(self, bot: Bot, reason: str, remote_address: str) -> None:
        """Keeps the reason for the operator; only the newest REFUSALS_KEPT of a bot stay."""
        self.create(bot=bot, reason=reason[:300], remote_address=remote_address[:64])
        outdated = (
            self.filter(bot=bot)
            .order_by("-pk")
            .values_list("pk", flat=True)[REFUSALS_KEPT : REFUSALS_KEPT + 1]
        )
        for newest_outdated in outdated:
            self.filter(bot=bot, pk__lte=newest_outdated).delete()


class Refusal(models.Model):
    """A request to a bot's webhook that was answered 403; never holds any of its content."""

    bot = models.ForeignKey(Bot, models.CASCADE, related_name="refusals", verbose_name=_("bot"))
    refused_at = models.DateTimeField(_("refused at"), default=timezone.now)
    reason = models.CharField(_("reason"), max_length=300)
    remote_address = models.CharField(_("remote address"), max_length=64)

    objects: ClassVar[RefusalManager] = RefusalManager()

    class Meta:
        verbose_name = _("refused request")
        verbose_name_plural = _("refused requests")
        ordering = ("-pk",)

    def __str__(self) -> str:
        return self.reason
