"""Incidents by API: what comes in is checked here, what happens is a verb of the model.

Stands below the console: who calls (`request.auth`), which scope allows what, and the form of errors come from there.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import django_filters
from django.db.models import Q, QuerySet
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from django_filters.rest_framework import DjangoFilterBackend, FilterSet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, NotFound, PermissionDenied
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from . import names
from .download import as_download
from .forms import SANE_MOMENTS
from .models import Actor, Export, Incident, Responder, Severity, StepError, Via
from .serializers import (
    ExportSerializer,
    IncidentDetailSerializer,
    IncidentSerializer,
    LeadSerializer,
    MuteSerializer,
    NewIncidentSerializer,
    NewSeveritySerializer,
    NoteSerializer,
    NothingSerializer,
    ReopeningSerializer,
    ResolutionSerializer,
    RespondersSerializer,
    TimelineEntrySerializer,
)

PRESENT = ("number", "status", "severity", "lead", "acknowledged_by", "resolved_by")


class IncidentFilter(FilterSet):  # type: ignore[misc]
    status = django_filters.MultipleChoiceFilter(choices=Incident.Status.choices)
    severity = django_filters.MultipleChoiceFilter(choices=Severity.choices)
    source = django_filters.MultipleChoiceFilter(choices=Via.choices)
    service = django_filters.CharFilter(field_name="service__name")
    bot = django_filters.CharFilter(field_name="bot__slug")
    drill = django_filters.BooleanFilter()
    opened_after = django_filters.IsoDateTimeFilter(
        field_name="opened_at", lookup_expr="gte", validators=SANE_MOMENTS
    )
    opened_before = django_filters.IsoDateTimeFilter(
        field_name="opened_at", lookup_expr="lt", validators=SANE_MOMENTS
    )
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

    def __init__(self, error: StepError) -> None:
        super().__init__(names.who_was_first(error))
        self.members = {"incident": present_state(error.incident)}


def present_state(incident: Incident) -> dict[str, Any]:
    """How it is now, and who was first: PRESENT, and `at`, when it came to this."""
    data = IncidentSerializer(incident).data
    state = {name: data[name] for name in PRESENT}
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
        return bool(self.api_key.has_perm(Incident.SEES_PRIVATE))

    @property
    def by(self) -> Actor:
        return Actor(Via.API, name=self.api_key.name)

    def get_queryset(self) -> QuerySet[Incident]:
        return super().get_queryset().visible_to(self.api_key)  # type: ignore[attr-defined,no-any-return]

    def get_object(self) -> Incident:
        pk = int(self.kwargs["number"].upper().removeprefix("INC-"))
        incident = self.get_queryset().filter(pk=pk).first()
        if incident is None:
            raise NotFound
        return incident

    def handle_exception(self, exc: Exception) -> Response:
        return super().handle_exception(ConflictError(exc) if isinstance(exc, StepError) else exc)

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

    @extend_schema(
        methods=["GET"],
        responses={(200, "application/zip"): OpenApiTypes.BINARY, 202: ExportSerializer},
        filters=False,
    )
    @extend_schema(methods=["POST"], request=None, responses={202: ExportSerializer})
    @action(detail=True, methods=["get", "post"])
    def export(self, request: Request, number: str) -> HttpResponseBase:
        """GET: the newest zip, or how far it is (202; asked for, it is begun). POST: asks for a new one."""
        incident = self.get_object()
        newest = incident.exports.order_by("-pk").first()
        is_over = newest is None or newest.status == Export.Status.EXPIRED
        if newest is None or is_over or (request.method == "POST" and not newest.is_unfinished):
            newest = incident.export(self.by)
        if newest.status == Export.Status.DONE and request.method == "GET":
            return as_download(newest)
        return Response(ExportSerializer(newest).data, status=202, headers={"Retry-After": "2"})

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
