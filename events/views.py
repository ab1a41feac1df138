"""The webhook: the one door through which Feishu pushes events and card callbacks.

`answer` is the whole of it. The Django view `webhook` and the bare application of `botconsole.wsgi` both ask it.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import Error as AnyDatabaseError
from django.db import NotSupportedError, ProgrammingError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from .dispatch import accept
from .envelope import Challenge, Envelope, RefusedError, open_envelope
from .models import Bot, Refusal
from .remembered import Remembered
from .sealed import UnsealError

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1024 * 1024
SIGNATURE_HEADERS = {
    name: "HTTP_" + name.upper().replace("-", "_")
    for name in ("X-Lark-Signature", "X-Lark-Request-Timestamp", "X-Lark-Request-Nonce")
}

Environ = Mapping[str, Any]
Answer = tuple[int, Mapping[str, Any]]


@csrf_exempt
def webhook(request: HttpRequest, slug: str = "") -> HttpResponse:
    """The webhook as a Django view: for `runserver`, tests and other servers."""
    status, document = answer(slug, request.META, lambda: request.body)
    return JsonResponse(document, status=status, headers={"Allow": "POST"} if status == 405 else None)


def answer(slug: str, environ: Environ, read: Callable[[], bytes]) -> Answer:
    """200 once the event is stored; 403 alike for every refusal; 503 if Feishu should try again.

    `environ` is a WSGI environment; `read` gives the body and is called only if its size is allowed.
    """
    if environ.get("REQUEST_METHOD") != "POST":
        return 405, {"msg": "method not allowed"}
    if environ.get("HTTP_TRANSFER_ENCODING"):
        return 411, {"msg": "length required: let the proxy in front buffer requests"}
    if not _fits(environ.get("CONTENT_LENGTH", "")):
        return 413, {"msg": "too large"}
    body = read()
    try:
        try:
            return _receive(slug, environ, body)
        except AnyDatabaseError as error:
            if connection.in_atomic_block or connection.connection is None or not _is_out_of_date(error):
                raise
            connection.close()  # a new one may serve: nothing is stored twice
            return _receive(slug, environ, body)
    except AnyDatabaseError:
        log.exception("the database did not take an event; Feishu will push it again")
        return 503, {"msg": "try again later"}


def _is_out_of_date(error: AnyDatabaseError) -> bool:
    """Whether the server has closed the connection meanwhile, or the tables have been changed under it."""
    return isinstance(error, NotSupportedError | ProgrammingError) or not connection.is_usable()


def _fits(content_length: str) -> bool:
    return not content_length or (content_length.isdecimal() and int(content_length) <= MAX_BODY_BYTES)


def _receive(slug: str, environ: Environ, body: bytes) -> Answer:
    bot = find_bot(slug)
    if bot is None:
        return 404, {"msg": "not found"}
    try:
        opened = _open(bot, environ, body)
    except (RefusedError, UnsealError):
        bot = find_bot(slug, anew=True) or bot  # its secrets may have been changed a moment ago
        try:
            opened = _open(bot, environ, body)
        except RefusedError as refusal:
            _record(bot, refusal, environ)
            return 403, {"msg": "rejected"}
        except UnsealError as error:  # ours to mend: Feishu should push it again
            _record(bot, error, environ)
            return 503, {"msg": "try again later"}
    if isinstance(opened, Challenge):
        return 200, {"challenge": opened.challenge}
    return 200, dict(accept(bot, opened, transport="webhook"))


def _open(bot: Bot, environ: Environ, body: bytes) -> Envelope | Challenge:
    headers = {name: environ[key] for name, key in SIGNATURE_HEADERS.items() if key in environ}
    max_age = timedelta(seconds=settings.WEBHOOK_MAX_AGE_SECONDS)
    return open_envelope(bot, headers, body, now=timezone.now(), max_age=max_age)


def _ask_for_bot(slug: str) -> Bot | None:
    """The bot of a request URL; without a slug, the only bot there is."""
    bots = list(Bot.objects.filter(slug=slug) if slug else Bot.objects.all()[:2])
    return bots[0] if len(bots) == 1 else None


find_bot = Remembered(_ask_for_bot)


def _record(bot: Bot, reason: Exception, environ: Environ) -> None:
    log.warning("refused a request to bot %s: %s", bot.slug, reason)
    try:
        Refusal.objects.record(bot, str(reason), environ.get("REMOTE_ADDR", ""))
    except AnyDatabaseError:
        log.exception("the refusal could not be recorded")
