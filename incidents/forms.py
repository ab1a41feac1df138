"""What operators fill in: a new incident, an import, a service. Lists of people are typed one a line."""

import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, validate_email
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from events.cards import check
from events.models import Bot

from . import images
from .cards import alert_card
from .models import Incident, Responder, Service, Severity
from .phrases import one_line

OPEN_ID = re.compile(r"ou_[A-Za-z0-9_-]{1,120}")
CHAT_ID = re.compile(r"oc_[A-Za-z0-9_-]{1,120}")
MOBILE = re.compile(r"\+?[0-9]{6,20}")
PEOPLE_AT_MOST = 500
# Moments nearer to the ends of the calendar cannot be told in other time zones.
SANE_MOMENTS = (
    MinValueValidator(datetime(1970, 1, 2, tzinfo=UTC)),
    MaxValueValidator(datetime(9999, 1, 1, tzinfo=UTC)),
)
LINES = {"rows": 3, "spellcheck": "false", "autocapitalize": "off", "class": "vLargeTextField code"}


def responder_of(text: str) -> Responder:
    """An open_id, an e-mail address or a mobile number; ValidationError for anything else."""
    if OPEN_ID.fullmatch(text):
        return Responder(open_id=text)
    if "@" in text:
        validate_email(text)
        return Responder(email=text)
    digits = re.sub(r"[\s()-]", "", text)
    if MOBILE.fullmatch(digits):
        return Responder(mobile=digits)
    raise ValidationError("")


def visible_title(text: str) -> str:
    """A title in one line; ValidationError where nothing of it can be seen."""
    title = one_line(text)
    if not title:
        raise ValidationError(_("Nothing of this title can be seen."))
    return title


class LinesField(forms.CharField):
    """A list typed one a line; commas and semicolons part lines too."""

    widget = forms.Textarea(attrs=LINES)

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        text = "\n".join(map(str, value)) if isinstance(value, list) else str(value or "")
        return [line.strip() for line in re.split(r"[\n\r,，;；、]+", text) if line.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.to_python(initial) != self.to_python(data))

    def run_validators(self, value: Any) -> None:
        for line in value:
            super().run_validators(line)


class PeopleField(LinesField):
    """Responders, unsaved, each once."""

    def clean(self, value: Any) -> list[Responder]:
        people: dict[Any, Responder] = {}
        for line in super().clean(value):
            try:
                one = responder_of(line)
            except ValidationError:
                raise ValidationError(
                    _("“%(line)s” is no open_id (ou_...), e-mail address or mobile number."),
                    params={"line": line[:80]},
                ) from None
            people.setdefault(one.identity, one)
        if len(people) > PEOPLE_AT_MOST:
            raise ValidationError(_("At most %(count)d people at once.") % {"count": PEOPLE_AT_MOST})
        return list(people.values())


class OpenIdsField(LinesField):
    def clean(self, value: Any) -> list[str]:
        ids: Sequence[str] = super().clean(value)
        if wrong := [one for one in ids if not OPEN_ID.fullmatch(one)]:
            raise ValidationError(_("“%(line)s” is no open_id (ou_...)."), params={"line": wrong[0][:80]})
        return list(dict.fromkeys(ids))


class OpenIdField(forms.CharField):
    widget = forms.TextInput(
        attrs={
            "class": "vTextField code",
            "list": "known-people",
            "placeholder": "ou_...",
            "spellcheck": "false",
            "autocomplete": "off",
        }
    )

    def clean(self, value: Any) -> str:
        open_id = str(super().clean(value))
        if open_id and not OPEN_ID.fullmatch(open_id):
            raise ValidationError(_("An open_id looks like ou_a1b2c3."))
        return open_id


class MomentInput(forms.DateTimeInput):
    """A moment that the browser helps to pick."""

    input_type = "datetime-local"

    def __init__(self) -> None:
        super().__init__(format="%Y-%m-%dT%H:%M")


class IncidentForm(forms.ModelForm[Incident]):
    """A new incident; only what Feishu can take as a card is accepted."""

    responders = PeopleField(
        label=_("Responders"),
        required=False,
        help_text=_("One a line: open_id (ou_...), e-mail address or mobile number."),
    )
    image = forms.FileField(
        label=_("Image"),
        required=False,
        help_text=_(
            "PNG, JPEG, WebP, GIF, BMP, TIFF, ICO or HEIC, at most 10 MB; on the card once uploaded."
        ),
    )

    # One form, one incident: posted twice, it finds the one that the first post opened.
    form_key = forms.UUIDField(required=False, widget=forms.HiddenInput)

    class Meta:
        model = Incident
        fields = ("bot", "title", "severity", "service", "description", "drill", "private")
        help_texts: ClassVar = {"service": _("Whose people are called. Empty: the bot's default service.")}
        widgets: ClassVar = {
            "title": forms.TextInput(attrs={"class": "vTextField", "autocomplete": "off"}),
            "description": forms.Textarea(attrs={"rows": 5, "class": "vLargeTextField"}),
        }

    def clean_image(self) -> bytes:
        file = self.cleaned_data["image"]
        if not file:
            return b""
        if file.size > images.MAX_BYTES:
            raise ValidationError(_("The image is larger than 10 MB."))
        content = bytes(file.read())
        if not images.kind_of(content):
            raise ValidationError(_("This is no image that Feishu takes."))
        return content

    def clean_form_key(self) -> uuid.UUID:
        return self.cleaned_data["form_key"] or uuid.uuid4()

    def clean_title(self) -> str:
        return visible_title(str(self.cleaned_data["title"]))

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        if "title" in values and "description" in values and values.get("severity"):
            fields = {name: values.get(name) for name in ("title", "severity", "service", "description")}
            if problems := check(alert_card(Incident(pk=0, opened_at=timezone.now(), **fields))):
                self.add_error("description", str(problems[0]))
        return values


class ImportForm(forms.Form):
    """An existing chat as an incident, for a retrospective."""

    required_css_class = "required"
    OUTCOMES = (
        (Incident.Status.RESOLVED, _("It is over")),
        (Incident.Status.OPEN, _("It is still going on")),
    )

    bot = forms.ModelChoiceField(Bot.objects.all(), label=_("Bot"), help_text=_("It must be in the chat."))
    chat_id = forms.CharField(
        label=_("Chat id"),
        max_length=128,
        widget=forms.TextInput(
            attrs={
                "class": "vTextField code",
                "list": "known-chats",
                "placeholder": "oc_...",
                "autocomplete": "off",
            }
        ),
    )
    title = forms.CharField(
        label=_("Title"), max_length=200, widget=forms.TextInput(attrs={"class": "vTextField"})
    )
    severity = forms.ChoiceField(label=_("Severity"), choices=Severity.choices, initial=Severity.P2)
    service = forms.ModelChoiceField(Service.objects.all(), label=_("Service"), required=False)
    status = forms.ChoiceField(label=_("Status"), choices=OUTCOMES, initial=Incident.Status.RESOLVED)
    opened_at = forms.DateTimeField(
        label=_("Opened at"),
        required=False,
        validators=SANE_MOMENTS,
        widget=MomentInput,
        help_text=_("Empty: now, with all that the event log has of the chat."),
    )
    resolved_at = forms.DateTimeField(
        label=_("Resolved at"), required=False, validators=SANE_MOMENTS, widget=MomentInput
    )
    drill = forms.BooleanField(label=_("Drill"), required=False)
    private = forms.BooleanField(label=_("Private"), required=False)

    def __init__(self, *args: Any, sees_private: bool, **kwargs: Any) -> None:
        """Whoever could not see a private incident cannot import one."""
        super().__init__(*args, **kwargs)
        if not sees_private:
            del self.fields["private"]

    def clean_chat_id(self) -> str:
        chat_id = str(self.cleaned_data["chat_id"])
        if not CHAT_ID.fullmatch(chat_id):
            raise ValidationError(_("A chat id looks like oc_a1b2c3."))
        return chat_id

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        bot, chat_id = values.get("bot"), values.get("chat_id")
        if bot and chat_id and (known := Incident.objects.that_had(bot, chat_id)):
            self.add_error("chat_id", _("This chat belongs to %(incident)s already.") % {"incident": known})
        opened_at, resolved_at = values.get("opened_at"), values.get("resolved_at")
        if any(moment and moment > timezone.now() for moment in (opened_at, resolved_at)):
            self.add_error("opened_at", _("Not in the future."))
        elif resolved_at and (opened_at is None or opened_at > resolved_at):
            self.add_error("resolved_at", _("Resolved after it was opened: give both times."))
        return values

    def clean_title(self) -> str:
        return visible_title(str(self.cleaned_data["title"]))

    def imported(self) -> dict[str, Any]:
        """The arguments of Incident.objects.import_chat."""
        values = {name: value for name, value in self.cleaned_data.items() if value not in (None, "")}
        values["resolved"] = values.pop("status") == Incident.Status.RESOLVED
        if not values["resolved"]:
            values.pop("resolved_at", None)
        return values


class ServiceForm(forms.ModelForm[Service]):
    first_on_call = OpenIdField(label=_("First on call"), required=False)
    second_on_call = OpenIdField(label=_("Second on call"), required=False)
    member_ids = OpenIdsField(
        label=_("Further members of the chat"), required=False, help_text=_("One open_id (ou_...) a line.")
    )

    class Meta:
        model = Service
        fields = (
            *("name", "severity", "first_on_call", "second_on_call", "member_ids"),
            *("default_for", "resolved_by_alerts"),
        )
