"""The chats that use most of their own limits at this moment: what the console shows beside the limits of the app.

Feishu takes 5 messages a second to a chat or person, and 5 changes a second of one message (events.lanes keeps it).
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from . import clock
from .adminrows import moment
from .confidential import Reader
from .lanes import CALLS_PER_WINDOW, WINDOW_SECONDS
from .models import Bot, Chat, Lane, OutboxItem
from .words import CALLS, short_id

SHOWN, LOOKED_AT = 5, 200
Used = tuple[int, str]  # calls in the last second, and what of the chat is limited to how many
NOTHING: Used = (0, "messages")


@dataclass(frozen=True)
class ChatGauge:
    """One chat: the limit that it uses most, how many calls wait for it, and when the next may go if not now."""

    name: str
    url: str
    words: str
    second: int
    second_limit: int
    waiting: int
    goes_on_at: SafeString | str


def busy_chats(bot: Bot, reader: Reader) -> list[ChatGauge]:
    """Those with the most calls in the last second first, then those where most waits; four queries."""
    now = clock.now()
    # What was called within the last second, is being called, or waits for its time: all of it is due after that.
    recent = Lane.objects.filter(bot=bot, due_at__gte=now - timedelta(seconds=WINDOW_SECONDS))
    lanes = {lane.target: lane for lane in recent.order_by("due_at")[:LOOKED_AT]}
    used, waiting = _used(lanes, now), _waiting(bot, lanes)
    candidates = [to for to in lanes if to in used or waiting[to]]
    shown = sorted(candidates, key=lambda to: (used.get(to, NOTHING)[0], waiting[to]), reverse=True)[:SHOWN]
    chats = Chat.objects.filter(bot=bot, chat_id__in=shown).readable_by(reader)
    names = dict(chats.exclude(name="").values_list("chat_id", "name"))
    return [
        _gauge(bot, lanes[to], used.get(to, NOTHING), waiting[to], names.get(to, ""), now) for to in shown
    ]


def _used(targets: Iterable[str], now: datetime) -> dict[str, Used]:
    """By target; all bots of a chat share its limit."""
    counts: Counter[tuple[str, str]] = Counter()
    fresh = now.timestamp() - WINDOW_SECONDS
    for target, answered in Lane.objects.filter(target__in=targets).values_list("target", "answered"):
        for what, times in answered.items():
            counts[target, what] += sum(at > fresh for at in times)
    most: dict[str, Used] = {}
    for (target, what), calls in (+counts).items():
        most[target] = max(most.get(target, NOTHING), (calls, what))
    return most


def _waiting(bot: Bot, targets: Iterable[str]) -> Counter[str]:
    rows = OutboxItem.objects.unfinished().filter(
        bot=bot, status=OutboxItem.Status.PENDING, target__in=targets
    )
    return Counter(dict(rows.order_by().values("target").annotate(n=Count("pk")).values_list("target", "n")))


def _gauge(bot: Bot, lane: Lane, used: Used, waiting: int, name: str, now: datetime) -> ChatGauge:
    calls, what = used
    query = {"q": lane.target, "bot__id__exact": str(bot.pk), "status__exact": "pending"}
    held = waiting and not lane.busy and lane.due_at > now
    return ChatGauge(
        name=name or short_id(lane.target),
        url=f"{reverse('admin:events_outboxitem_changelist')}?{urlencode(query)}",
        words=_("messages") if what == "messages" else str(CALLS.get(what.partition(" ")[0], what)),
        second=calls,
        second_limit=CALLS_PER_WINDOW,
        waiting=waiting,
        goes_on_at=moment(lane.due_at) if held else "",
    )
