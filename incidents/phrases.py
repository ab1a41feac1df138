"""Phrases that chat, card, console and exports share: a duration, a moment, a text as one line."""

from __future__ import annotations

import unicodedata
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.translation import gettext as _

NOTHING = "–"  # not a hyphen: under a line of Markdown that would make a heading of it
JOINER = "\N{ZERO WIDTH JOINER}"


def duration(time: timedelta | None) -> str:
    """A duration in two units at most: "42 min", "3 h 5 min"."""
    if time is None:
        return NOTHING
    minutes, seconds = divmod(max(0, round(time.total_seconds())), 60)
    if minutes < 1:
        return _("%d s") % seconds
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return _("%d min") % minutes
    if not minutes:
        return _("%d h") % hours
    return _("%(hours)d h %(minutes)d min") % {"hours": hours, "minutes": minutes}


def clock(moment: datetime | None) -> str:
    """A moment of these days, in the console's time zone; "" for None."""
    return timezone.localtime(moment).strftime("%m-%d %H:%M") if moment else ""


def one_line(text: str) -> str:
    """The text in one line, without characters that nobody sees: those that turn the direction of writing would
    turn a chat's prefix, a title's quotes and whatever stands beside them. Emoji keep what joins them."""
    line = " ".join(text.split())
    return "".join(one for at, one in enumerate(line) if _shows(line, at)).strip()


def _shows(line: str, at: int) -> bool:
    if line[at] == JOINER:
        return 0 < at < len(line) - 1 and unicodedata.category(line[at + 1]) == "So"
    return unicodedata.category(line[at]) not in ("Cc", "Cf")
