"""The form of a bot: its secrets can be written, never read."""

from typing import Any

from django import forms
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from .models import Bot
from .sealed import Secret, UnsealError

SECRETS = ("app_secret", "verification_token", "encrypt_key")
RETENTION = ("retain_events_days", "retain_outbox_days")
WITH_DEFAULTS = {"app_type", "transport"}
REQUIRED = ("app_secret", "verification_token")


def secret_state(secret: object) -> str | SafeString:
    """What may be said of a stored secret: whether it is set, its last characters, or why it cannot be opened."""
    if not isinstance(secret, Secret) or not secret:
        return str(_("Not set."))
    try:
        hint = secret.hint()
    except UnsealError as error:
        return format_html('<strong class="problem">{}</strong>', error)
    return str(_("Set, ends in …%(hint)s.") % {"hint": hint}) if hint else str(_("Set."))


def secrets_problem(bot: Bot) -> str:
    """Why the bot's secrets cannot be used, or nothing."""
    try:
        for name in SECRETS:
            getattr(bot, name).reveal()
    except UnsealError as error:
        return str(error)
    return ""


class SecretField(forms.CharField):
    """A write-only text: never filled in, and changed only if something is entered."""

    def __init__(self, **options: Any) -> None:
        widget = forms.PasswordInput(
            attrs={"autocomplete": "new-password", "class": "vTextField", "spellcheck": "false"}
        )
        super().__init__(widget=widget, required=False, **options)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(data)


class BotForm(forms.ModelForm[Bot]):
    """An empty secret stays as it was; the Encrypt Key, being optional, can be removed."""

    app_secret = SecretField(label=_("App Secret"))
    verification_token = SecretField(label=_("Verification Token"))
    encrypt_key = SecretField(label=_("Encrypt Key"))
    remove_encrypt_key = forms.BooleanField(label=_("Remove the Encrypt Key"), required=False)

    class Meta:
        model = Bot
        fields = (
            *("name", "slug", "app_id", "domain", "app_type", "transport", "enabled"),
            *("alarm_chat_id", "alarm_bot", *RETENTION, *SECRETS),
        )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name in self.fields.keys() & WITH_DEFAULTS:  # a viewer's form has none of them
            self.fields[name].required = False  # what is not sent stays as it is
        for name in SECRETS:
            self.initial.pop(name, None)
            if self.kept(name):
                state = secret_state(getattr(self.instance, name))
                self.fields[name].help_text = format_html("{} {}", state, _("Leave empty to keep it."))
            else:
                self.fields[name].required = name in REQUIRED

    def clean_app_secret(self) -> Secret:
        return self._kept_or_new("app_secret")

    def clean_verification_token(self) -> Secret:
        return self._kept_or_new("verification_token")

    def clean_encrypt_key(self) -> Secret:
        return self._kept_or_new("encrypt_key")

    def clean_app_type(self) -> str:
        return self.cleaned_data["app_type"] or self.instance.app_type

    def clean_transport(self) -> str:
        return self.cleaned_data["transport"] or self.instance.transport

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        if values.get("remove_encrypt_key"):
            if "encrypt_key" in self.changed_data:
                self.add_error("remove_encrypt_key", _("Enter a new Encrypt Key or remove it, not both."))
            values["encrypt_key"] = Secret.seal("")
        return values

    def kept(self, name: str) -> Secret | None:
        """The secret that is stored already."""
        secret = getattr(self.instance, name)
        return secret if isinstance(secret, Secret) and secret else None

    def _kept_or_new(self, name: str) -> Secret:
        text = self.cleaned_data[name]
        return Secret.seal(text) if text else self.kept(name) or Secret.seal("")
