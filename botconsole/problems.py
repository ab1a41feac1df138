"""Errors of the API as RFC 9457 problems, in the reader's language.

Named in REST_FRAMEWORK and in the URLs: importing it must import nothing of rest_framework.
"""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views import defaults

PROBLEM = "application/problem+json"
TITLES = {
    400: gettext_lazy("The request is not valid"),
    401: gettext_lazy("Not signed in"),
    403: gettext_lazy("Not allowed"),
    404: gettext_lazy("Not found"),
    405: gettext_lazy("Method not allowed"),
    406: gettext_lazy("Only JSON is served"),
    409: gettext_lazy("Not possible in the present state"),
    413: gettext_lazy("The request is too large"),
    415: gettext_lazy("Only JSON is understood"),
    422: gettext_lazy("The request cannot be carried out"),
    500: gettext_lazy("Something went wrong here"),
}


def problem(status: int, detail: str, **members: Any) -> dict[str, Any]:
    """The body: `type` is about:blank, so the status says what it is and `title` says it in words."""
    title = str(TITLES.get(status, status))
    return {"type": "about:blank", "title": title, "status": status, "detail": detail, **members}


def problem_response(error: Exception, context: dict[str, Any]) -> Any:
    """REST framework's EXCEPTION_HANDLER. What it does not know goes on to Django, which logs it."""
    from rest_framework.views import exception_handler

    response = exception_handler(error, context)
    if response is not None:
        told = response.data
        if isinstance(told, dict) and set(told) == {"detail"} and not isinstance(told["detail"], list):
            members = getattr(error, "members", {})
            response.data = problem(response.status_code, str(told["detail"]), **members)
        else:
            errors = told if isinstance(told, dict) else {"non_field_errors": told}
            response.data = problem(response.status_code, _("See errors for each field."), errors=errors)
        response.content_type = PROBLEM
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500, which speaks JSON to callers of the API."""
    if not request.path.startswith("/api/"):
        return defaults.server_error(request)
    detail = _("The error is in the server's log.")
    return JsonResponse(problem(500, detail), status=500, content_type=PROBLEM)
