"""Replays in words: what was chosen, what becomes of an event and of a call, and the figures side by side."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from . import replay as engine
from .adminrows import pill
from .eventfilter import read_time
from .jsontree import tree
from .models import Event, OutboxItem, Replay
from .naming import Naming
from .outboxadmin import outbox_line, picture
from .words import Text, call_words, outcome_words, type_words

# What becomes of a call: in the dry run's words, in the real run's, and the colour.
CALL_STATES: Mapping[str, tuple[Text, Text, str]] = {
    engine.NEW: (_("would be sent"), _("sent"), "sent"),
    engine.SENT_AGAIN: (_("would be sent again"), _("sent again"), "again"),
    engine.TRIED_AGAIN: (_("failed before, would be tried again"), _("tried again"), "pending"),
    engine.SENT_BEFORE: (_("sent before: not sent again"), _("sent before: not sent again"), "ignored"),
    engine.WAITING: (_("waits to be sent already"), _("waits to be sent already"), "ignored"),
}
OUTCOMES: Mapping[str, tuple[Text, str]] = {
    engine.CALLS: (_("something to send"), "sent"),
    engine.NOTHING: (_("nothing to send"), "ignored"),
    engine.LEFT_OUT: (_("left out"), "late"),
    engine.FAILED: (_("the handler fails"), "failed"),
}
STATUS_PILLS: Mapping[str, str] = {
    Replay.Status.TRYING: "sending",
    Replay.Status.TRIED: "again",
    Replay.Status.RUNNING: "sending",
    Replay.Status.DONE: "sent",
    Replay.Status.CANCELLED: "ignored",
}
FILTERS: Mapping[str, Text] = {
    "bot": _("bot"),
    "type": _("type"),
    "status": _("status"),
    "chat": _("chat"),
    "person": _("person"),
    "transport": _("came by"),
    "delivery": _("delivery"),
    "since": _("since"),
    "until": _("until"),
    "q": _("search"),
}
CHOSEN: Mapping[tuple[str, str], Text] = {
    **{("status", status): words for status, words in Event.Status.choices},
    ("delivery", "late"): _("Came late"),
    ("delivery", "again"): _("Delivered more than once"),
    ("transport", "webhook"): _("webhook"),
    ("transport", "long_connection"): _("long connection"),
    ("transport", "simulated"): _("simulated"),
}


@dataclass(frozen=True)
class Figure:
    """One line of the figures: what, in the dry run, in the real run."""

    words: Text
    mark: SafeString | str
    tried: int
    done: int


def selection_words(selection: engine.Selection) -> str:
    """What was chosen, as one line."""
    if "events" in selection:
        count = len(selection["events"])
        return ngettext("%(count)d selected event", "%(count)d selected events", count) % {"count": count}
    chosen = selection.get("filter") or {}
    known = {**chosen, "bot": selection.get("bot", "")} if "bot" in chosen else chosen
    parts = [f"{FILTERS[name]}: {_chosen(name, value)}" for name, value in known.items() if name in FILTERS]
    return " · ".join(parts) or gettext("the whole event log")


def _chosen(name: str, value: str) -> str:
    if name == "type":
        return type_words(value) or value
    if name in ("since", "until"):
        return timezone.localtime(read_time(value)).strftime("%Y-%m-%d %H:%M")
    return str(CHOSEN.get((name, value)) or value)


def status_pill(replay: Replay) -> SafeString:
    return pill(STATUS_PILLS[replay.status], replay.get_status_display())


def call_pill(state: str, *, real: bool) -> SafeString:
    would, did, colour = CALL_STATES[state]
    return pill(colour, str(did if real else would))


def outcome_pill(kind: str) -> SafeString:
    words, colour = OUTCOMES[kind]
    return pill(colour, str(words))


def result_words(replay: Replay) -> str:
    """How many events, and what was sent, in a few words."""
    figures = replay.figures
    states = figures.get("calls", {}).values()
    made = sum(one.get(state, 0) for one in states for state in engine.MADE)
    numbers = {
        "events": figures.get("events", 0),
        "calls": made,
        "failed": figures.get("outcomes", {}).get(engine.FAILED, 0),
    }
    said = gettext("%(events)d events, %(calls)d calls") % numbers
    return f"{said}, {gettext('%(failed)d failed') % numbers}" if numbers["failed"] else said


def outcome_figures(replay: Replay) -> list[Figure]:
    tried, done = replay.tried.get("outcomes", {}), replay.done.get("outcomes", {})
    return [
        Figure("", outcome_pill(kind), tried.get(kind, 0), done.get(kind, 0))
        for kind in OUTCOMES
        if kind in tried or kind in done
    ]


def call_figures(replay: Replay) -> list[Figure]:
    tried, done = replay.tried.get("calls", {}), replay.done.get("calls", {})
    return [
        Figure(
            call_words(call, {}),
            call_pill(state, real=bool(replay.started_at)),
            tried.get(call, {}).get(state, 0),
            done.get(call, {}).get(state, 0),
        )
        for call in dict.fromkeys([*tried, *done])
        for state in CALL_STATES
        if state in tried.get(call, {}) or state in done.get(call, {})
    ]


def type_figures(replay: Replay) -> list[dict[str, Any]]:
    types = replay.figures.get("types", {})
    return [{"words": type_words(name) or name, "type": name, **numbers} for name, numbers in types.items()]


def reasons(replay: Replay) -> list[tuple[str, int]]:
    """Why nothing was to be sent, the most frequent first."""
    found: dict[str, int] = replay.figures.get("reasons", {})
    return [(outcome_words(why), count) for why, count in sorted(found.items(), key=lambda one: -one[1])]


def call_lines(event: Event, calls: Iterable[engine.Call], names: Naming) -> list[dict[str, Any]]:
    """Calls that an event wants, with the message as people would see it."""
    rows = [
        (one, OutboxItem(bot=event.bot, call=one.call, arguments=one.arguments, cause=event)) for one in calls
    ]
    return [
        {
            "words": call_words(one.call, one.arguments),
            "mark": call_pill(one.state, real=False),
            "target": names.chat(event.bot_id, one.target),
            "picture": picture(row),
            "tree": tree(one.arguments),
        }
        for one, row in rows
    ]


def made_lines(items: Iterable[OutboxItem], names: Naming) -> list[dict[str, Any]]:
    """Calls that were made for an event, likewise."""
    return [
        {
            **outbox_line(item, names.chat(item.bot_id, item.target)),
            "picture": picture(item),
            "tree": tree(item.arguments),
        }
        for item in items
    ]
