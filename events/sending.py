"""What the console says about an app's sending: paused or without answers, and how much of Feishu's limits it uses."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q
from django.urls import reverse
from django.utils.translation import gettext as _

from . import clock
from .adminrows import moment
from .busychats import busy_chats
from .codes import explain
from .confidential import Reader
from .models import Bot, Circuit, Quota
from .quota import CHINA, PER_MINUTE, PER_SECOND, Ledger
from .words import CALLS


@dataclass(frozen=True)
class Gauge:
    """One API: how many calls were granted in the last minute, are granted for this second, were made this month."""

    words: str
    minute: int
    minute_limit: int
    second: int
    second_limit: int
    month: int
    slowed: bool


def circuit_of(bot: Bot) -> Circuit | None:
    """The bot's circuit if it is open."""
    circuit: Circuit | None = getattr(bot, "circuit", None)
    return circuit if circuit is not None and circuit.opened_at is not None else None


def probe_at_once(bot: Bot) -> None:
    """Something about the app was changed: whether Feishu serves it now is tried at once."""
    Circuit.objects.filter(bot=bot).exclude(opened_at=None).update(next_probe_at=clock.now(), probes=0)


def notices() -> list[dict[str, str]]:
    """What every page must say: [{"words", "url"}]. One query."""
    silent = Q(circuit__opened_at__isnull=False)
    bots = Bot.objects.filter(Q(paused=True) | silent, enabled=True).select_related("circuit")
    return [
        {"words": words_of(bot), "url": reverse("admin:events_bot_change", args=[bot.pk])} for bot in bots
    ]


def words_of(bot: Bot) -> str:
    """Why nothing goes out, in one sentence; "" if it does."""
    if bot.paused:
        return _("Sending is paused for %(bot)s: nothing goes out, nothing is lost.") % {"bot": bot.name}
    if (circuit := circuit_of(bot)) is None:
        return ""
    values = {"bot": bot.name, "why": explain(circuit.error_code).meaning}
    return _("Feishu does not serve %(bot)s (%(why)s): only probes go out, the rest waits.") % values


def gauges(bot: Bot) -> list[Gauge]:
    """By call, the most used first; what has not been called this month is left out."""
    now = clock.now()
    quotas = Quota.objects.filter(bot=bot, month=this_month(now))
    return sorted((_gauge(quota, now) for quota in quotas), key=lambda gauge: -gauge.month)


def month_total(shown: Iterable[Gauge]) -> int:
    return sum(gauge.month for gauge in shown)


def this_month(now: datetime) -> str:
    return now.astimezone(CHINA).strftime("%Y-%m")


def _gauge(quota: Quota, now: datetime) -> Gauge:
    ledger, seconds = Ledger.of(quota.state), now.timestamp()
    ledger.expire(seconds)
    strength = ledger.strength(seconds)
    return Gauge(
        words=str(CALLS.get(quota.call, quota.call)),
        minute=ledger.used(),
        minute_limit=int(PER_MINUTE * strength),
        second=int(sum(share["calls"] for share in ledger.shares.values())),
        second_limit=int(PER_SECOND * strength),
        month=quota.month_count,
        slowed=strength < 1 or seconds < ledger.blocked_until,
    )


def page_of(bot: Bot, reader: Reader) -> dict[str, Any]:
    """What the template admin/includes/sending.html shows."""
    shown, circuit = gauges(bot), circuit_of(bot)
    return {
        "sending": {
            "url": reverse("admin:events_bot_sending", args=[bot.pk]),
            "paused": bot.paused,
            "words": words_of(bot),
            "gauges": shown,
            "month_total": month_total(shown),
            "chats": busy_chats(bot, reader),
            "circuit": circuit,
            "advice": explain(circuit.error_code).advice if circuit else "",
            "opened_at": moment(circuit.opened_at) if circuit else "",
            "next_probe_at": moment(circuit.next_probe_at) if circuit else "",
        }
    }
