"""The deaf-bot alarm: which bots hear nothing, since when and why; a card when it begins, a line when it is over."""

import logging
from collections.abc import Collection
from datetime import datetime, timedelta

from django.conf import settings
from django.core.cache import cache
from django.db import transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from .cards import JSON
from .models import Bot, Connection, Counted, Hearing, Refusal
from .outbox import alarm, plain, send_card
from .rhythm import count_new, rhythm_of

log = logging.getLogger(__name__)

KEPT_AS, KEPT_SECONDS = "deaf-bots", 10
SHORTEST_SILENCE = timedelta(minutes=15)
UNATTENDED_FOR = timedelta(minutes=2)  # a listener that is restarted needs less
REFUSALS_IN_A_ROW = 5
REFUSALS_WITHIN = timedelta(days=1)
# How the reasons of those refusals begin: Feishu speaks, and the bot's keys do not fit what it says.
KEYS_DO_NOT_FIT = ("the signature does not match", "the body does not decrypt", "the token does not match")


def watch(now: datetime) -> int:
    """Counts new events, judges every bot, queues alarms; one process at a time. Returns how many bots changed."""
    with transaction.atomic():
        counted = Counted.lock()
        if counted is None:
            return 0
        count_new(counted, now)
        attended = set(Connection.objects.live(now).values_list("bot", flat=True))
        bots = Bot.objects.select_related("hearing", "alarm_bot")
        return sum(_judge(bot, attended, now) for bot in bots)


def _judge(bot: Bot, attended: Collection[int], now: datetime) -> bool:
    hearing = bot.hearing if hasattr(bot, "hearing") else Hearing.objects.create(bot=bot)
    before = (hearing.reason, hearing.expected, hearing.unattended_since, hearing.told_at, hearing.deaf_since)
    reason = _reason(bot, hearing, attended, now) if bot.enabled else ""
    changed = reason != hearing.reason
    if changed:
        log.log(logging.WARNING if reason else logging.INFO, "bot %s: %s", bot.slug, reason or "hears again")
    if reason and not hearing.reason:
        hearing.deaf_since, hearing.told_at = now, None
    hearing.reason = reason
    if reason:
        _tell_once(bot, hearing, now)
    elif hearing.deaf_since is not None:
        _tell_it_is_over(bot, hearing, hearing.deaf_since)
        hearing.deaf_since = hearing.told_at = None
    after = (hearing.reason, hearing.expected, hearing.unattended_since, hearing.told_at, hearing.deaf_since)
    if before != after:
        hearing.save()
    return changed


def _reason(bot: Bot, hearing: Hearing, attended: Collection[int], now: datetime) -> str:
    hearing.expected = 0.0
    if _unattended(bot, hearing, attended, now):
        return Hearing.Reason.UNATTENDED
    if bot.transport == Bot.Transport.WEBHOOK and _all_refused(bot, hearing, now):
        return Hearing.Reason.REFUSED
    return Hearing.Reason.SILENT if _too_silent(hearing, now) else ""


def _unattended(bot: Bot, hearing: Hearing, attended: Collection[int], now: datetime) -> bool:
    if bot.transport != Bot.Transport.LONG_CONNECTION or bot.pk in attended:
        hearing.unattended_since = None
        return False
    hearing.unattended_since = hearing.unattended_since or now
    return now - hearing.unattended_since >= UNATTENDED_FOR


def _all_refused(bot: Bot, hearing: Hearing, now: datetime) -> bool:
    """Whether the newest refusals are all of one kind, lately, with no event heard since they began."""
    newest = list(Refusal.objects.filter(bot=bot).order_by("-pk")[:REFUSALS_IN_A_ROW])
    if len(newest) < REFUSALS_IN_A_ROW or newest[0].refused_at < now - REFUSALS_WITHIN:
        return False
    if hearing.heard_at is not None and hearing.heard_at >= newest[-1].refused_at:
        return False
    return all(refusal.reason.startswith(KEYS_DO_NOT_FIT) for refusal in newest)


def _too_silent(hearing: Hearing, now: datetime) -> bool:
    if hearing.heard_at is None or now - hearing.heard_at < SHORTEST_SILENCE:
        return False
    rhythm = rhythm_of(hearing)
    if rhythm is None:
        return False
    hearing.expected = round(rhythm.expected(hearing.heard_at, now), 1)
    return hearing.expected >= rhythm.threshold


# --- Telling the console ----------------------------------------------------------------------------------
def deaf_bots() -> list[Hearing]:
    """The hearings of the bots that are deaf now; asked for on every page, so kept for some seconds."""
    found: list[Hearing] | None = cache.get(KEPT_AS)
    if found is None:
        found = list(Hearing.objects.exclude(reason="").select_related("bot").order_by("bot__name"))
        cache.set(KEPT_AS, found, KEPT_SECONDS)
    return found


# --- Telling the chat -------------------------------------------------------------------------------------
def _tell_once(bot: Bot, hearing: Hearing, now: datetime) -> None:
    if not bot.alarm_chat_id or hearing.told_at is not None or hearing.deaf_since is None:
        return
    hearing.told_at = now
    key = f"deaf:{bot.pk}:{int(hearing.deaf_since.timestamp())}"
    send_card(bot.alarm_speaker, chat_id=bot.alarm_chat_id, card=alarm_card(bot, hearing), key=key)


def _tell_it_is_over(bot: Bot, hearing: Hearing, deaf_since: datetime) -> None:
    """Only where it is known to hear: refusals that merely grew old prove nothing."""
    heard = hearing.heard_at is not None and hearing.heard_at >= deaf_since
    connected = bot.transport == Bot.Transport.LONG_CONNECTION and hearing.unattended_since is None
    if hearing.told_at is None or not bot.alarm_chat_id or not bot.enabled or not (heard or connected):
        return
    key = f"hears:{bot.pk}:{int(deaf_since.timestamp())}"
    text = _("Bot “%(bot)s” hears again.") % {"bot": bot.name}
    alarm(bot, markup=plain(text), key=key)


def alarm_card(bot: Bot, hearing: Hearing) -> JSON:
    """What the chat is told; plain texts only, so that no name becomes markup."""
    lines = [str(Hearing.Reason(hearing.reason).label)]
    if hearing.heard_at is not None:
        lines.append(_("Last event: %(at)s") % {"at": _clock(hearing.heard_at)})
    if hearing.reason == Hearing.Reason.SILENT:
        lines.append(_("Usual in such a time: about %(count)d events") % {"count": round(hearing.expected)})
    url = settings.PUBLIC_URL + reverse("admin:events_bot_change", args=[bot.pk])
    button = {
        "tag": "button",
        "text": {"tag": "plain_text", "content": _("Open the bot")},
        "behaviors": [{"type": "open_url", "default_url": url}],
    }
    title = _("Bot “%(bot)s” hears nothing") % {"bot": bot.name}
    texts = [{"tag": "div", "text": {"tag": "plain_text", "content": line}} for line in lines]
    return {
        "schema": "2.0",
        "config": {"update_multi": True},
        "header": {"template": "red", "title": {"tag": "plain_text", "content": title}},
        "body": {"elements": [*texts, button]},
    }


def _clock(at: datetime) -> str:
    return timezone.localtime(at).strftime("%Y-%m-%d %H:%M")
