"""How bodies of the API are read and long lists are cut. Named in REST_FRAMEWORK: nothing of rest_framework.views."""

from collections.abc import Mapping
from typing import IO, Any

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _
from rest_framework.exceptions import APIException, NotFound, ParseError
from rest_framework.pagination import CursorPagination
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.utils import json

MAX_BODY_BYTES = 15 * 1024 * 1024  # an image of 10 MB in base64, and some words


class TooLargeError(APIException):
    status_code = 413
    default_detail = _("The body is larger than 15 MB.")
    default_code = "too_large"


class CappedJSONParser(BaseParser):
    """JSON up to MAX_BODY_BYTES. No JSONParser: for that one REST framework takes Django's limit of 2.5 MB."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        length = (parser_context or {})["request"].META.get("CONTENT_LENGTH") or "0"
        if int(length) > MAX_BODY_BYTES:
            raise TooLargeError
        try:
            return json.loads(stream.read().decode())
        except (ValueError, RecursionError) as error:
            raise ParseError(_("This is not JSON: %s") % error) from error


class OrderedCursorPagination(CursorPagination):
    """Pages of `limit` rows in the queryset's own order; the cursor is opaque and survives new rows."""

    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 200

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: Any) -> tuple[str, ...]:
        return tuple(str(name) for name in queryset.query.order_by)

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> Any:
        try:
            return super().paginate_queryset(queryset, request, view)
        except (ValueError, ValidationError) as error:  # a position that nobody was given
            raise NotFound(self.invalid_cursor_message) from error
