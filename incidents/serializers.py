"""The JSON of incidents: what the API shows of them, and what it takes.

A field that is wrong is named in the ValidationError; nothing here writes.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from events.envelope import ID_LENGTH
from events.models import Bot

from . import images
from .forms import visible_title
from .models import Export, Incident, Responder, Service, Severity, TimelineEntry

TEXT_LENGTH = 5000
MAX_RESPONDERS = 500
MAX_MUTE_MINUTES = 7 * 24 * 60


# --- What goes out --------------------------------------------------------------------------------------
class OrNull(serializers.CharField):
    """A text; null where the column is empty."""

    def __init__(self, **options: Any) -> None:
        super().__init__(read_only=True, allow_null=True, **options)

    def to_representation(self, value: Any) -> Any:
        return value or None


class Person(OrNull):
    """A person by name, or by open_id where no name is known: the columns `opened_by` and `opened_by_open_id`."""

    def get_attribute(self, instance: Any) -> str:
        return str(getattr(instance, f"{self.source}") or getattr(instance, f"{self.source}_open_id"))


class IncidentSerializer(serializers.ModelSerializer[Incident]):
    number = serializers.CharField(read_only=True)
    bot = serializers.SlugRelatedField[Bot](slug_field="slug", read_only=True)
    service = serializers.SlugRelatedField[Service](slug_field="name", read_only=True, allow_null=True)
    chat_id = OrNull(help_text="null until the chat is made")
    lead = OrNull(source="lead_open_id", help_text="an open_id")
    opened_by = Person()
    acknowledged_by = Person()
    resolved_by = Person()
    url = serializers.SerializerMethodField(help_text="the incident in the console")

    class Meta:
        model = Incident
        fields: tuple[str, ...] = (
            "number", "title", "severity", "status", "chat_id", "opened_at", "opened_by",
            "acknowledged_at", "acknowledged_by", "resolved_at", "resolved_by", "resolution_note", "false_alarm",
            "muted_until", "description", "service", "bot", "lead", "source", "private", "drill", "active_at", "url",
        )  # fmt: skip
        read_only_fields = fields

    def get_url(self, incident: Incident) -> str:
        return f"{settings.PUBLIC_URL}/admin/incidents/incident/{incident.pk}/change/"


class CalledResponderSerializer(serializers.ModelSerializer[Responder]):
    open_id = OrNull()
    email = OrNull()
    mobile = OrNull()
    error = OrNull(help_text="why the person could not be added")

    class Meta:
        model = Responder
        fields = ("open_id", "email", "mobile", "status", "error")
        read_only_fields = fields


class IncidentDetailSerializer(IncidentSerializer):
    responders = CalledResponderSerializer(many=True, read_only=True)

    class Meta(IncidentSerializer.Meta):
        fields = (*IncidentSerializer.Meta.fields, "responders")
        read_only_fields = fields


class TimelineEntrySerializer(serializers.ModelSerializer[TimelineEntry]):
    person = OrNull()
    open_id = OrNull()
    message_id = OrNull()

    class Meta:
        model = TimelineEntry
        fields = (
            "id", "happened_at", "kind", "via", "person", "open_id", "text", "message_id", "recalled", "important",
        )  # fmt: skip
        read_only_fields = fields


# --- What comes in --------------------------------------------------------------------------------------
@extend_schema_field(OpenApiTypes.BYTE)
class Base64ImageField(serializers.Field[bytes, str, bytes, Any]):
    """A picture in base64, with or without `data:image/...;base64,` before it."""

    default_error_messages = {**images.WHY}

    def to_internal_value(self, data: Any) -> bytes:
        try:
            return images.from_base64(data)
        except images.ImageError as error:
            self.fail(error.code)


class ResponderSerializer(serializers.Serializer[Any]):
    """One person, by exactly one of the three."""

    open_id = serializers.RegexField(r"^ou_[A-Za-z0-9_-]+$", max_length=ID_LENGTH, required=False)
    email = serializers.EmailField(required=False)
    mobile = serializers.RegexField(r"^\+?[0-9]{5,20}$", required=False)

    def validate(self, attrs: dict[str, str]) -> dict[str, str]:
        if len(attrs) != 1:
            raise serializers.ValidationError(_("Give one of open_id, email and mobile."))
        return attrs


class NamedField(serializers.SlugRelatedField[Any]):
    """A row by its name. PostgreSQL holds no NUL and says so loudly when asked for one."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            self.fail("invalid")
        if "\0" in data:
            self.fail("does_not_exist", slug_name=self.slug_field, value=data)
        return super().to_internal_value(data)


class BotSerializer(serializers.Serializer[Any]):
    """Whose incident it is."""

    bot = NamedField(
        slug_field="slug",
        queryset=Bot.objects.filter(enabled=True),
        required=False,
        help_text="may be left out where there is one bot",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "bot" not in attrs:
            bots = list(Bot.objects.filter(enabled=True)[:2])
            if len(bots) != 1:
                why = _("There are several bots: say which.") if bots else _("There is no enabled bot.")
                raise serializers.ValidationError({"bot": [why]})
            attrs["bot"] = bots[0]
        return attrs


class NewIncidentSerializer(BotSerializer):
    """An incident to open."""

    title = serializers.CharField(max_length=200)
    severity = serializers.ChoiceField(
        Severity.choices, required=False, help_text="else the service's, else P2"
    )
    description = serializers.CharField(max_length=TEXT_LENGTH, required=False, allow_blank=True)
    service = NamedField(slug_field="name", queryset=Service.objects.all(), required=False, allow_null=True)
    responders = serializers.ListSerializer[Any](
        child=ResponderSerializer(), required=False, max_length=MAX_RESPONDERS
    )
    image = Base64ImageField(required=False, help_text="up to 10 MB")
    drill = serializers.BooleanField(required=False)
    private = serializers.BooleanField(required=False, help_text="needs the scope incidents:private")

    def validate_title(self, title: str) -> str:
        return visible_title(title)


class NothingSerializer(serializers.Serializer[Any]):
    """No fields."""


class ResolutionSerializer(serializers.Serializer[Any]):
    note = serializers.CharField(max_length=TEXT_LENGTH, required=False, allow_blank=True)
    false_alarm = serializers.BooleanField(required=False)


class ReopeningSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=TEXT_LENGTH, required=False, allow_blank=True)


class MuteSerializer(serializers.Serializer[Any]):
    minutes = serializers.IntegerField(min_value=1, max_value=MAX_MUTE_MINUTES)


class NoteSerializer(serializers.Serializer[Any]):
    text = serializers.CharField(max_length=TEXT_LENGTH)


class NewSeveritySerializer(serializers.Serializer[Any]):
    severity = serializers.ChoiceField(Severity.choices)


class LeadSerializer(serializers.Serializer[Any]):
    open_id = serializers.RegexField(r"^ou_[A-Za-z0-9_-]+$", max_length=ID_LENGTH)


class RespondersSerializer(serializers.Serializer[Any]):
    responders = serializers.ListSerializer[Any](
        child=ResponderSerializer(), allow_empty=False, max_length=MAX_RESPONDERS
    )


class ExportSerializer(serializers.ModelSerializer[Export]):
    """How far an export is; done, its zip is at the same address."""

    class Meta:
        model = Export
        fields = ("status", "done", "total", "missing", "error", "requested_at", "finished_at")
