"""POST /api/v1/alerts/{source}: alerts from outside. What a request says is read by its source's parser, and what
happens is a verb of the alerts' groups; a request that was half understood is half done, and says so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from .alerts import PARSERS, AlertError, Batch
from .api import checked
from .models import Actor, AlertGroup, Received, Service, Via
from .serializers import BotSerializer, IncidentSerializer, NamedField

TEXT, WORDS = {"type": "string"}, {"type": "object", "additionalProperties": {"type": "string"}}
STATUS = {"type": "string", "enum": ["firing", "resolved"]}
NOTIFICATION = {
    "type": "object",
    "description": "What Alertmanager (version 4) and Grafana send by themselves; only what is read is listed.",
    "required": ["alerts"],
    "properties": {
        "groupKey": {
            **TEXT,
            "description": "one incident for all alerts of the group, if it has groupLabels",
        },
        "groupLabels": WORDS,
        "alerts": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["status", "labels"],
                "properties": {
                    "status": STATUS,
                    "labels": WORDS,
                    "annotations": WORDS,
                    "fingerprint": TEXT,
                    "startsAt": {"type": "string", "format": "date-time"},
                    "generatorURL": TEXT,
                    "panelURL": TEXT,
                    "dashboardURL": TEXT,
                    "imageURL": {**TEXT, "description": "taken as data:image/...;base64, never fetched"},
                },
            },
        },
    },
}
GENERIC = {
    "type": "object",
    "description": "One alert in our own words (source `generic`).",
    "required": ["title"],
    "properties": {
        "title": TEXT,
        "status": {**STATUS, "default": "firing"},
        "severity": {
            **TEXT,
            "description": "P0 to P3, critical, error, warning, info, ...; else the service's",
        },
        "service": {**TEXT, "description": "the name of a service: who is called"},
        "description": TEXT,
        "dedup_key": {**TEXT, "description": "one incident for all alerts with it; else the fingerprint"},
        "fingerprint": {**TEXT, "description": "what is one alert; else the dedup_key, else the title"},
        "starts_at": {"type": "string", "format": "date-time"},
        "url": {**TEXT, "description": "the source's page, http or https"},
        "image": {"type": "string", "format": "byte", "description": "up to 10 MB"},
    },
}


class AlertQuerySerializer(BotSerializer):
    """What the address says; it holds for all alerts that come there."""

    service = NamedField(
        slug_field="name",
        queryset=Service.objects.all(),
        required=False,
        help_text="who is called about an alert that names no service of ours",
    )


class ReceivedSerializer(serializers.Serializer[Received]):
    number = serializers.CharField(source="incident.number")
    status = serializers.CharField(source="incident.status")
    opened = serializers.BooleanField(help_text="whether it was opened for this alert")
    url = serializers.SerializerMethodField(help_text="the incident in the console")

    def get_url(self, received: Received) -> str:
        return IncidentSerializer().get_url(received.incident)


class AnswerSerializer(serializers.Serializer[Any]):
    """What became of a request."""

    alerts = serializers.IntegerField(help_text="how many were understood")
    incidents = ReceivedSerializer(many=True)
    refused = serializers.DictField(
        child=serializers.CharField(), help_text="what was not understood: where, and why"
    )


class AlertView(APIView):
    """Takes alerts; needs a key with the scope alerts."""

    scope = "alerts"

    @extend_schema(
        request={"application/json": {"oneOf": [NOTIFICATION, GENERIC]}},
        responses=AnswerSerializer,
        parameters=[
            OpenApiParameter("source", OpenApiTypes.STR, OpenApiParameter.PATH, enum=list(PARSERS)),
            AlertQuerySerializer,
        ],
    )
    def post(self, request: Request, source: str) -> Response:
        """A firing alert opens an incident, or is counted where one is open; 400 if none was understood."""
        address = checked(AlertQuerySerializer(data=request.query_params))
        batch = read(source, request.data)
        alerts = batch.alerts
        if service := address.get("service"):
            alerts = tuple(replace(one, services=(*one.services, service.name)) for one in alerts)
        api_key: Any = request.auth  # the console's, whose model stands above this package
        received = AlertGroup.objects.receive(address["bot"], source, alerts, Actor(Via.ALERT, api_key.name))
        answer = {"alerts": len(batch.alerts), "incidents": received, "refused": batch.refused}
        return Response(AnswerSerializer(answer).data)


def read(source: str, body: Any) -> Batch:
    """The request as its source's parser reads it; a problem where not a single alert is left."""
    if source not in PARSERS:
        raise NotFound
    try:
        batch = PARSERS[source](body)
    except AlertError as error:
        raise ValidationError({error.field or "alert": [str(error)]}) from error
    if not batch.alerts:
        raise ValidationError({where: [why] for where, why in batch.refused.items()})
    return batch
