"""The WSGI application, for `manage.py serve` and any other WSGI server.

The webhook stands in front of Django: sessions, languages and the like are nothing to a push, and cost more than
storing it does.
"""

import json
import os
import re
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "botconsole.settings")
console = get_wsgi_application()

from django.db import connection  # noqa: E402 (settings first)
from django.utils import translation  # noqa: E402

from events.views import answer  # noqa: E402

WEBHOOK = re.compile(r"/webhook/event(?:/([-a-zA-Z0-9_]+))?")


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    found = WEBHOOK.fullmatch(environ["PATH_INFO"])
    return webhook(environ, start_response, found[1] or "") if found else console(environ, start_response)


def webhook(environ: dict[str, Any], start_response: Callable[..., Any], slug: str) -> Iterable[bytes]:
    """`events.views.answer` as a WSGI application."""
    # As Django begins a request, but without asking the database whether it is still there: `answer` finds out.
    connection.close_if_unusable_or_obsolete()
    connection.health_check_done = True  # type: ignore[attr-defined]
    translation.deactivate()  # the last request of this thread may have been an operator's, in another language
    length = environ.get("CONTENT_LENGTH") or "0"
    status, document = answer(slug, environ, lambda: environ["wsgi.input"].read(int(length)))
    body = json.dumps(document).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(
        f"{status} {HTTPStatus(status).phrase}", headers + ([("Allow", "POST")] if status == 405 else [])
    )
    return [body]
