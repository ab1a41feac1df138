"""Commands in a chat: the first word of a message that mentions the bot, or of any message in an incident's chat."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from events.envelope import text_at
from events.models import Bot, Event
from events.outbox import at, plain, reply_text
from events.people import ask_for_the_bot

from . import chat, names
from .models import Actor, Incident, Responder, Severity, StepError, TimelineEntry, Via
from .phrases import duration, one_line
from .rights import may, may_open
from .words import mentions, replace_mentions, typed

WORD = re.compile(r"[/／](\w+)(.*)", re.DOTALL)
SEPARATORS = "，,：:；;。、！!"
DURATION = re.compile(r"(\d{1,4})\s*(m|min|mins|minutes?|分|分钟|h|hours?|小时|d|days?|天)?", re.IGNORECASE)
HOUR, DAY = 60, 1440
UNITS = {"h": HOUR, "小": HOUR, "d": DAY, "天": DAY}
DRILL = re.compile(
    r"(?:drill|演练)\s*[:：]\s*", re.IGNORECASE
)  # with its colon: a "drill press down" is none
LONGEST_LINE = 200
TIMELINE_LINES = 10

# In Chinese and English; what follows is the rest of the message.
NAMES: Mapping[str, str] = {
    "help": "help", "帮助": "help",
    "ack": "ack", "跟进": "ack",
    "solve": "solve", "解决": "solve", "已解决": "solve",
    "reopen": "reopen", "重开": "reopen",
    "severity": "severity", "级别": "severity",
    "lead": "lead", "负责人": "lead",
    "invite": "invite", "邀请": "invite",
    "mute": "mute", "屏蔽": "mute",
    "note": "note", "记录": "note",
    "timeline": "timeline", "时间线": "timeline",
    "incident": "incident", "故障": "incident",
}  # fmt: skip


# Commands that take what follows as their text; and the beginnings of words that only look like it.
WRITTEN_ON = ("solve", "reopen", "severity", "mute", "note", "incident")
OTHER_WORDS = re.compile(
    r"(?:方案|办法|方法|思路|措施|不|没|中|者|时间|单|率|复盘|报告|等级)|.*(?:[吗么?？]|了没有?)$", re.DOTALL
)
PARTICLES = ("了", "啦")  # "/解决了" says no more than "/解决"


class UsageError(Exception):
    """The command cannot be obeyed as it was written; the text says what to write."""


@dataclass(frozen=True)
class Command:
    """A command as it was written. `people` are the open_ids it mentions, the bot left out."""

    name: str
    text: str
    people: tuple[str, ...]


def parse(event: Event, message: dict[str, Any], *, in_incident: bool) -> Command | None:
    """The command of a message, or None. `/solved` is no `/solve`, and `try /solve` is no command.

    Only people command: what another bot writes is an entry of the timeline, nothing more.
    """
    if text_at(event.payload, "sender.sender_type") not in ("", "user"):
        return None
    text, to_bot, people = typed(message), message.get("chat_type") == "p2p", []
    for mention in mentions(message):
        open_id, is_bot = text_at(mention, "id.open_id"), mention.get("mentioned_type") == "bot"
        if is_bot or open_id == event.bot.open_id:
            to_bot = to_bot or _is_us(event.bot, mention)
        elif open_id:
            people.append(open_id)
    text = replace_mentions(text, {text_at(one, "key"): " " for one in mentions(message)})
    name, rest = _first_word(text)
    if not name or not (to_bot or in_incident):
        return None
    return Command(NAMES.get(name, ""), rest, tuple(dict.fromkeys(people)))


def _first_word(text: str) -> tuple[str, str]:
    """The command's name without its slash ("" for what is none) and the rest; people type full-width, too.

    "/var/log is full" is no command, nor is "/solved"; "/solve, rolled back" is one.
    """
    first, rest = (*text.split(maxsplit=1), "", "")[:2]
    found = WORD.fullmatch(first)
    if found is None:
        return "", rest
    word, tail = found.groups()
    name, joined = _parted(word)
    if tail[:1] in SEPARATORS:  # nothing at all, too
        parts = (joined, tail.strip(SEPARATORS), rest.strip())
        return name.lower(), " ".join(part for part in parts if part)
    return (name.lower(), f"{joined}{tail} {rest}".strip()) if joined else ("", rest)


def _parted(word: str) -> tuple[str, str]:
    """A command and what is written on without a space, as Chinese is: `/解决已回滚`, `/solve已回滚`, `/级别P1`.

    Only where it can mean nothing else: `/解决方案` asks for a solution.
    """
    lower = word.lower()
    for name in sorted(NAMES, key=len, reverse=True):
        rest = word[len(name) :]
        if lower == name or (lower.startswith(name) and rest in PARTICLES):
            return name, ""
        ours = lower.startswith(name) and NAMES[name] in WRITTEN_ON and not OTHER_WORDS.match(rest)
        if ours and not (name.isascii() and rest[0].isascii()):
            return name, rest
    return word, ""


def _is_us(bot: Bot, mention: dict[str, Any]) -> bool:
    """Whether the bot that is mentioned is this one; taken for granted for the moment until Feishu has told."""
    if bot.open_id:
        return text_at(mention, "id.open_id") == bot.open_id
    ask_for_the_bot(bot)
    return True


def obey(event: Event, incident: Incident | None, command: Command, *, key: str = "") -> str:
    """Does what the command says and replies, once for each `key`; returns a word for the event log."""
    with chat.language_of_the_chat():
        try:
            answer = _obey(event, incident, command)
        except UsageError as error:
            answer = str(error)
        except StepError as error:
            answer = refusal(error)
    reply_text(
        event.bot,
        chat_id=event.chat_id,
        message_id=text_at(event.payload, "message.message_id"),
        markup=answer,
        key=key or f"answer:{event.bot_id}:{event.dedup_key}",
        cause=event,
    )
    return f"/{command.name or '?'}"


def refusal(error: StepError) -> str:
    """Why a step was not possible: who was first."""
    return names.who_was_first(error, lambda open_id, name: at(open_id) if open_id else plain(name))


def _obey(event: Event, incident: Incident | None, command: Command) -> str:
    if not command.name or command.name == "help":
        return _(
            "Commands: /ack, /solve note, /reopen reason, /severity P1, /lead @x, /invite @x, /mute 30m,"
            " /note text, /timeline, /incident title, /incident drill: title"
        )
    by = names.actor(event, Via.COMMAND)
    if command.name == "incident":
        return _open(event, command, by)
    if incident is None:
        return _("This chat has no incident. Open one with: /incident title")
    if not may(command.name, incident, by.open_id):
        raise UsageError(_("You may not do that here."))
    return COMMANDS[command.name](incident, command, by)


def _open(event: Event, command: Command, by: Actor) -> str:
    if not may_open(event):
        raise UsageError(_("Incidents cannot be opened from this chat."))
    words = " ".join(command.text.split())
    drill = DRILL.match(words)
    title = one_line(words[drill.end() if drill else 0 :])[:200]
    if not title:
        raise UsageError(_("Write what is broken: /incident payments fail"))
    people = [Responder(open_id=one) for one in dict.fromkeys([event.actor_open_id, *command.people]) if one]
    incident = Incident.objects.open(
        bot=event.bot, title=title, by=by, responders=people, drill=drill is not None
    )
    return _("%s is open; its chat is being made, and you are in it.") % incident


def _ack(incident: Incident, command: Command, by: Actor) -> str:
    incident.acknowledge(by)
    return _("%s is yours. Good luck!") % incident


def _solve(incident: Incident, command: Command, by: Actor) -> str:
    incident.resolve(by, command.text)
    return _("%s is resolved.") % incident


def _reopen(incident: Incident, command: Command, by: Actor) -> str:
    if not command.text:
        raise UsageError(_("Write why: /reopen it fails again"))
    incident.reopen(by, command.text)
    return _("%s is open again.") % incident


def _severity(incident: Incident, command: Command, by: Actor) -> str:
    severity = command.text.upper()
    if severity not in Severity.values:
        raise UsageError(_("Write one of P0, P1, P2, P3: /severity P1"))
    incident.change_severity(by, severity)
    return _("%(incident)s is %(severity)s now.") % {"incident": incident, "severity": severity}


def _lead(incident: Incident, command: Command, by: Actor) -> str:
    if len(command.people) != 1:
        raise UsageError(_("Mention one person: /lead @x"))
    incident.assign_lead(by, command.people[0])
    return _("%s leads.") % at(command.people[0])


def _invite(incident: Incident, command: Command, by: Actor) -> str:
    if not command.people:
        raise UsageError(_("Mention whom to add: /invite @x @y"))
    incident.add_responders(by, [Responder(open_id=one) for one in command.people])
    return _("They are being added.")


def _mute(incident: Incident, command: Command, by: Actor) -> str:
    match = DURATION.fullmatch(command.text)
    minutes = int(match[1]) * UNITS.get((match[2] or "m")[0].lower(), 1) if match else 0
    if not 0 < minutes <= 7 * 1440:
        raise UsageError(_("Write for how long, up to 7 days: /mute 30m, /mute 2h"))
    incident.mute(by, timedelta(minutes=minutes))
    return _("Quiet for %s.") % duration(timedelta(minutes=minutes))


def _note(incident: Incident, command: Command, by: Actor) -> str:
    if not command.text:
        raise UsageError(_("Write the note: /note rolled back to 1.2"))
    incident.note(by, command.text)
    return _("Noted.")


def _timeline(incident: Incident, command: Command, by: Actor) -> str:
    entries = incident.timeline.exclude(kind=TimelineEntry.Kind.MESSAGE, important=False)
    newest = entries.order_by("-happened_at", "-pk")[:TIMELINE_LINES]
    lines = list(reversed(newest))
    known = names.names_for(incident, lines)
    return "\n".join(_entry_line(entry, known) for entry in lines)


def _entry_line(entry: TimelineEntry, known: Mapping[str, str]) -> str:
    said = " ".join(entry.text_with(known).split())
    said = said if len(said) <= LONGEST_LINE else f"{said[:LONGEST_LINE]}…"
    person = f" {plain(entry.person)}" if entry.person else ""
    return f"{timezone.localtime(entry.happened_at):%H:%M} {entry.get_kind_display()}{person} {plain(said)}".rstrip()


COMMANDS: Mapping[str, Callable[[Incident, Command, Actor], str]] = {
    "ack": _ack,
    "solve": _solve,
    "reopen": _reopen,
    "severity": _severity,
    "lead": _lead,
    "invite": _invite,
    "mute": _mute,
    "note": _note,
    "timeline": _timeline,
}
