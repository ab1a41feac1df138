"""The webhook: the one door through which Feishu pushes events and card callbacks."""

import logging
from datetime import timedelta

from django.conf import settings
from django.db import Error as AnyDatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from .dispatch import accept
from .envelope import Challenge, RefusedError, open_envelope
from .models import Bot, Refusal
from .sealed import UnsealError

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1024 * 1024


@csrf_exempt
def webhook(request: HttpRequest, slug: str = "") -> HttpResponse:
    """Answers 200 once the event is stored; 403 alike for every refusal; 503 if Feishu should try again."""
    if request.method != "POST":
        return JsonResponse({"msg": "method not allowed"}, status=405, headers={"Allow": "POST"})
    if request.META.get("HTTP_TRANSFER_ENCODING"):
        return JsonResponse({"msg": "length required: let the proxy in front buffer requests"}, status=411)
    if not _fits(request.META.get("CONTENT_LENGTH", "")):
        return JsonResponse({"msg": "too large"}, status=413)
    try:
        bot = find_bot(slug)
        if bot is None:
            return JsonResponse({"msg": "not found"}, status=404)
        return _receive(bot, request)
    except AnyDatabaseError:
        log.exception("the database did not take an event; Feishu will push it again")
        return JsonResponse({"msg": "try again later"}, status=503)


def find_bot(slug: str) -> Bot | None:
    """The bot of a request URL; without a slug, the only bot there is."""
    bots = list(Bot.objects.filter(slug=slug) if slug else Bot.objects.all()[:2])
    return bots[0] if len(bots) == 1 else None


def _fits(content_length: str) -> bool:
    return not content_length or (content_length.isdigit() and int(content_length) <= MAX_BODY_BYTES)


def _receive(bot: Bot, request: HttpRequest) -> HttpResponse:
    max_age = timedelta(seconds=settings.WEBHOOK_MAX_AGE_SECONDS)
    try:
        opened = open_envelope(bot, request.headers, request.body, now=timezone.now(), max_age=max_age)
    except RefusedError as refusal:
        _record(bot, refusal, request)
        return JsonResponse({"msg": "rejected"}, status=403)
    except UnsealError as error:  # ours to mend: Feishu should push it again
        _record(bot, error, request)
        return JsonResponse({"msg": "try again later"}, status=503)
    if isinstance(opened, Challenge):
        return JsonResponse({"challenge": opened.challenge})
    return JsonResponse(dict(accept(bot, opened, transport="webhook")))


def _record(bot: Bot, reason: Exception, request: HttpRequest) -> None:
    log.warning("refused a request to bot %s: %s", bot.slug, reason)
    try:
        Refusal.objects.record(bot, str(reason), request.META.get("REMOTE_ADDR", ""))
    except AnyDatabaseError:
        log.exception("the refusal could not be recorded")
