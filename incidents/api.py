"""Incidents by API: what comes in is checked here, what happens is a verb of the model.

Stands below the console: who calls (`request.auth`), which scope allows what, and the form of errors come from there.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import django_filters
from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django_filters.rest_framework import DjangoFilterBackend, FilterSet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, NotFound, PermissionDenied
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from events.envelope import ID_LENGTH
from events.models import Bot

from . import images
from .models import Actor, Incident, Responder, Service, Severity, StepError, TimelineEntry, Via

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

    default_error_messages = {
        "base64": gettext_lazy("This is not base64."),
        "large": gettext_lazy("The image is larger than 10 MB."),
        "format": gettext_lazy("No image that Feishu takes: PNG, JPEG, GIF, WEBP, BMP, TIFF, ICO, HEIC."),
    }

    def to_internal_value(self, data: Any) -> bytes:
        if not isinstance(data, str):
            self.fail("base64")
        text = "".join(data[data.startswith("data:") and data.find(",") + 1 :].split())
        if len(text) > (images.MAX_BYTES + 2) // 3 * 4:
            self.fail("large")
        try:
            image = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            self.fail("base64")
        if len(image) > images.MAX_BYTES:
            self.fail("large")
        if not images.kind_of(image):
            self.fail("format")
        return image


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


class NewIncidentSerializer(serializers.Serializer[Any]):
    title = serializers.CharField(max_length=200)
    severity = serializers.ChoiceField(
        Severity.choices, required=False, help_text="else the service's, else P2"
    )
    bot = NamedField(
        slug_field="slug",
        queryset=Bot.objects.filter(enabled=True),
        required=False,
        help_text="may be left out where there is one bot",
    )
    description = serializers.CharField(max_length=TEXT_LENGTH, required=False, allow_blank=True)
    service = NamedField(slug_field="name", queryset=Service.objects.all(), required=False, allow_null=True)
    responders = serializers.ListSerializer[Any](
        child=ResponderSerializer(), required=False, max_length=MAX_RESPONDERS
    )
    image = Base64ImageField(required=False, help_text="up to 10 MB")
    drill = serializers.BooleanField(required=False)
    private = serializers.BooleanField(required=False, help_text="needs the scope incidents:private")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "bot" not in attrs:
            bots = list(Bot.objects.filter(enabled=True)[:2])
            if len(bots) != 1:
                why = _("There are several bots: say which.") if bots else _("There is no enabled bot.")
                raise serializers.ValidationError({"bot": [why]})
            attrs["bot"] = bots[0]
        return attrs


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


class IncidentFilter(FilterSet):  # type: ignore[misc]
    status = django_filters.MultipleChoiceFilter(choices=Incident.Status.choices)
    severity = django_filters.MultipleChoiceFilter(choices=Severity.choices)
    source = django_filters.MultipleChoiceFilter(choices=Via.choices)
    service = django_filters.CharFilter(field_name="service__name")
    bot = django_filters.CharFilter(field_name="bot__slug")
    drill = django_filters.BooleanFilter()
    opened_after = django_filters.IsoDateTimeFilter(field_name="opened_at", lookup_expr="gte")
    opened_before = django_filters.IsoDateTimeFilter(field_name="opened_at", lookup_expr="lt")
    q = django_filters.CharFilter(
        method="search", label="in the title or description; or a number or chat_id"
    )

    def search(self, incidents: QuerySet[Incident], _name: str, text: str) -> QuerySet[Incident]:
        found = Q(title__icontains=text) | Q(description__icontains=text) | Q(chat_id=text)
        if (number := text.upper().removeprefix("INC-")).isascii() and number.isdigit() and len(number) <= 18:
            found |= Q(pk=int(number))
        return incidents.filter(found)


# --- The views ------------------------------------------------------------------------------------------
class ConflictError(APIException):
    """The step is not possible; `members` say how the incident is now."""

    status_code = 409
    default_code = "conflict"

    def __init__(self, incident: Incident) -> None:
        now = present_state(incident)
        words = {"incident": incident, "person": now["acknowledged_by"] or "?", "time": ""}
        if incident.resolved_at:
            time = timezone.localtime(incident.resolved_at).strftime("%m-%d %H:%M")
            words |= {"person": now["resolved_by"] or "?", "time": time}
            message = _("%(incident)s was resolved by %(person)s at %(time)s") % words
        elif incident.acknowledged_at:
            message = _("%(incident)s was taken by %(person)s") % words
        else:
            message = _("%s is open") % incident
        super().__init__(message)
        self.members = {"incident": now}


def present_state(incident: Incident) -> dict[str, Any]:
    """Who was first: {"number", "status", "acknowledged_by", "resolved_by", "at"}; `at` is when it came to this."""
    data = IncidentSerializer(incident).data
    state = {name: data[name] for name in ("number", "status", "acknowledged_by", "resolved_by")}
    return {**state, "at": data["resolved_at"] or data["acknowledged_at"] or data["opened_at"]}


def verb(form: type[serializers.Serializer[Any]]) -> Callable[[Any], Any]:
    """A POST below an incident: the form checks the body, the answer is the incident as it is then."""

    def decorate(method: Any) -> Any:
        described = extend_schema(request=form, responses=IncidentDetailSerializer)(method)
        return action(detail=True, methods=["post"], serializer_class=form)(described)

    return decorate


class IncidentViewSet(ListModelMixin, GenericViewSet[Incident]):
    """Incidents. Private ones are there only for keys with the scope incidents:private."""

    scope = "incidents"
    serializer_class = IncidentSerializer
    filter_backends = (DjangoFilterBackend,)
    filterset_class = IncidentFilter
    queryset = Incident.objects.select_related("bot", "service").order_by("-pk")
    lookup_field = "number"
    lookup_value_regex = "(?:[Ii][Nn][Cc]-)?[0-9]{1,18}"

    @property
    def api_key(self) -> Any:
        """The console's ApiKey, whose model stands above this package."""
        return self.request.auth

    @property
    def sees_private(self) -> bool:
        return bool(self.api_key.allows("incidents:private"))

    @property
    def by(self) -> Actor:
        return Actor(Via.API, name=self.api_key.name)

    def get_queryset(self) -> QuerySet[Incident]:
        incidents = super().get_queryset()
        return incidents if self.sees_private else incidents.filter(private=False)

    def get_object(self) -> Incident:
        pk = int(self.kwargs["number"].upper().removeprefix("INC-"))
        incident = self.get_queryset().filter(pk=pk).first()
        if incident is None:
            raise NotFound
        return incident

    def handle_exception(self, exc: Exception) -> Response:
        return super().handle_exception(ConflictError(exc.incident) if isinstance(exc, StepError) else exc)

    @extend_schema(request=NewIncidentSerializer, responses={201: IncidentDetailSerializer})
    def create(self, request: Request) -> Response:
        fields = checked(NewIncidentSerializer(data=request.data))
        if fields.get("private") and not self.sees_private:
            raise PermissionDenied(_("This API key lacks the scope %s.") % "incidents:private")
        people = [Responder(**one) for one in fields.pop("responders", ())]
        incident = Incident.objects.open(by=self.by, responders=people, **fields)
        return Response(IncidentDetailSerializer(incident).data, status=201)

    @extend_schema(responses=IncidentDetailSerializer)
    def retrieve(self, request: Request, number: str) -> Response:
        return Response(IncidentDetailSerializer(self.get_object()).data)

    @extend_schema(responses=TimelineEntrySerializer(many=True), filters=False)
    @action(detail=True)
    def timeline(self, request: Request, number: str) -> Response:
        """What happened, oldest first."""
        entries: Any = self.get_object().timeline.order_by("happened_at", "pk")
        entries = self.paginate_queryset(entries)
        return self.get_paginated_response(TimelineEntrySerializer(entries, many=True).data)

    def step(self, does: Callable[..., None]) -> Response:
        """Runs a verb of the incident with the fields of its form."""
        fields = checked(self.get_serializer(data=self.request.data))
        incident = self.get_object()
        does(incident, self.by, **fields)
        return Response(IncidentDetailSerializer(incident).data)

    @verb(NothingSerializer)
    def acknowledge(self, request: Request, number: str) -> Response:
        """409 unless it is open."""
        return self.step(Incident.acknowledge)

    @verb(ResolutionSerializer)
    def resolve(self, request: Request, number: str) -> Response:
        """409 if it is resolved already."""
        return self.step(Incident.resolve)

    @verb(ReopeningSerializer)
    def reopen(self, request: Request, number: str) -> Response:
        """409 unless it is resolved."""
        return self.step(Incident.reopen)

    @verb(MuteSerializer)
    def mute(self, request: Request, number: str) -> Response:
        """No reminders and no repeated alerts for that long; 409 if it is resolved."""
        return self.step(lambda incident, by, minutes: incident.mute(by, timedelta(minutes=minutes)))

    @verb(NoteSerializer)
    def note(self, request: Request, number: str) -> Response:
        """A remark for the timeline; possible at any time."""
        return self.step(Incident.note)

    @verb(NewSeveritySerializer)
    def severity(self, request: Request, number: str) -> Response:
        """409 if it is resolved."""
        return self.step(Incident.change_severity)

    @verb(LeadSerializer)
    def lead(self, request: Request, number: str) -> Response:
        """Names the lead, who is added to the chat; 409 if it is resolved."""
        return self.step(Incident.assign_lead)

    @verb(RespondersSerializer)
    def responders(self, request: Request, number: str) -> Response:
        """Calls more people into the chat; 409 if it is resolved."""
        return self.step(
            lambda incident, by, responders: incident.add_responders(
                by, [Responder(**one) for one in responders]
            )
        )


def checked(form: serializers.BaseSerializer[Any]) -> dict[str, Any]:
    """The fields of a body; a ValidationError names those that are wrong."""
    form.is_valid(raise_exception=True)
    return dict(form.validated_data)
