"""The REST API's root: its addresses, its OpenAPI description, and what holds for every POST.

Importing it takes REST framework along: only a request to /api/ may do that (see urls.py).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import transaction
from django.urls import include, path, re_path
from django.utils.translation import gettext as _
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerSplitView
from rest_framework.exceptions import APIException, NotFound, ValidationError
from rest_framework.permissions import AllowAny
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView

from events.models import insert_once
from incidents.alertapi import AlertView
from incidents.api import IncidentViewSet

from .models import IdempotencyKey

IDEMPOTENCY_KEY = re.compile(r"[!-~]{1,200}")


# --- A POST that is sent again --------------------------------------------------------------------------
class KeyReusedError(APIException):
    status_code = 422
    default_code = "key_reused"


def answer_once(post: Callable[..., Response], request: Request, *args: Any, **kwargs: Any) -> Response:
    """The first answer to this Idempotency-Key. An error is no answer: nothing was done, so it may be tried again.

    The key is stored in the transaction that does the work, so whoever comes at the same moment waits for it here.
    """
    key = request.headers["Idempotency-Key"]
    if not IDEMPOTENCY_KEY.fullmatch(key):
        raise ValidationError({"Idempotency-Key": [_("1 to 200 visible ASCII characters are needed.")]})
    asked = json.dumps([request.path, request.data], sort_keys=True).encode()
    api_key: Any = request.auth
    row = IdempotencyKey(api_key=api_key, key=key, request_hash=hashlib.sha256(asked).hexdigest())
    with transaction.atomic():
        if insert_once(row):
            response = post(request, *args, **kwargs)
            row.status, row.body = response.status_code, JSONRenderer().render(response.data).decode()
            row.save(update_fields=["status", "body"])
            return response
    first = IdempotencyKey.objects.get(api_key=api_key, key=key)
    if first.request_hash != row.request_hash:
        raise KeyReusedError(_("This Idempotency-Key was used for another request."))
    return Response(json.loads(first.body), first.status, headers={"Idempotency-Replayed": "true"})


class IdempotentPosts(APIView):
    """A view whose POSTs honour the header Idempotency-Key."""

    post: Callable[..., Response]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if hasattr(self, "post") and "Idempotency-Key" in request.headers:
            self.post = partial(answer_once, self.post)


class Incidents(IdempotentPosts, IncidentViewSet):
    __doc__ = IncidentViewSet.__doc__


class Alerts(IdempotentPosts, AlertView):
    __doc__ = AlertView.__doc__


# --- The description ------------------------------------------------------------------------------------
class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "botconsole.authentication.ApiKeyAuthentication"
    name = "API key"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "`manage.py create_api_key NAME --scope incidents` makes one.",
        }


PROBLEM_SCHEMA = {
    "type": "object",
    "description": "RFC 9457. A 409 also holds `incident`, the state as it is now.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {"type": "object", "additionalProperties": True},
        "incident": {"type": "object", "additionalProperties": True},
    },
}


def describe_what_all_share(result: dict[str, Any], **_kwargs: Any) -> dict[str, Any]:
    """Every operation may end in a problem, every POST takes an Idempotency-Key."""
    result["components"]["schemas"]["Problem"] = PROBLEM_SCHEMA
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    header = {"in": "header", "name": "Idempotency-Key", "schema": {"type": "string", "maxLength": 200}}
    for methods in result["paths"].values():
        for method, operation in methods.items():
            operation["responses"]["default"] = {"description": "What went wrong", "content": content}
            if method == "post":
                operation.setdefault("parameters", []).append(header)
    return result


# --- The addresses --------------------------------------------------------------------------------------
class Root(APIView):
    """Where to go from here."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(exclude=True)
    def get(self, request: Request) -> Response:
        names = {"incidents": "incidents-list", "schema": "api-schema", "docs": "api-docs"}
        return Response({name: reverse(view, request=request) for name, view in names.items()})


class Nowhere(APIView):
    """Any other address: a problem, not Django's page."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise NotFound


router = SimpleRouter(trailing_slash=False)
router.register("incidents", Incidents, basename="incidents")

docs = SpectacularSwaggerSplitView.as_view(url_name="api-schema", template_name="api/docs.html")
urlpatterns = [
    path("v1", Root.as_view(), name="api-root"),
    path("v1/", include(router.urls)),
    path("v1/alerts/<str:source>", Alerts.as_view(), name="alerts"),
    path("schema", SpectacularJSONAPIView.as_view(), name="api-schema"),
    path("docs", docs, name="api-docs"),
    re_path(r"", Nowhere.as_view()),
]
