"""Commands in a chat: the first word of a message that mentions the bot, or of any message in an incident's chat."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _

from events.envelope import text_at
from events.models import Bot, Event
from events.outbox import at, plain, reply_text

from . import chat
from .models import Actor, Incident, Responder, Severity, StepError, TimelineEntry, Via

DURATION = re.compile(r"^(\d{1,4})\s*(m|min|分钟|h|小时|d|天)?$")
UNITS = {"h": 60, "小时": 60, "d": 1440, "天": 1440}
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


class UsageError(Exception):
    """The command cannot be obeyed as it was written; the text says what to write."""


@dataclass(frozen=True)
class Command:
    """A command as it was written. `people` are the open_ids it mentions, the bot left out."""

    name: str
    text: str
    people: tuple[str, ...]


def parse(bot: Bot, message: dict[str, Any], *, in_incident: bool) -> Command | None:
    """The command of a message, or None. `/solved` is no `/solve`, and `try /solve` is no command."""
    if message.get("message_type") != "text":
        return None
    try:
        text = str(json.loads(message.get("content") or "{}").get("text", ""))
    except (ValueError, AttributeError):
        return None
    mentions = [mention for mention in message.get("mentions") or [] if isinstance(mention, dict)]
    to_bot = message.get("chat_type") == "p2p"
    people = []
    for mention in mentions:
        if mention.get("mentioned_type") == "bot":
            to_bot = to_bot or text_at(mention, "name") == bot.name or not bot.name
            text = text.replace(text_at(mention, "key"), " ")
        elif open_id := text_at(mention, "id.open_id"):
            people.append(open_id)
            text = text.replace(text_at(mention, "key"), " ")
    word, _sep, rest = text.strip().partition(" ")
    if not word.startswith("/") or not (to_bot or in_incident):
        return None
    return Command(NAMES.get(word[1:].lower(), ""), " ".join(rest.split()), tuple(dict.fromkeys(people)))


def obey(event: Event, incident: Incident | None, command: Command) -> str:
    """Does what the command says and replies; returns a word for the event log."""
    with chat.language_of_the_chat():
        try:
            answer = _obey(event, incident, command)
        except UsageError as error:
            answer = str(error)
        except StepError as error:
            answer = refusal(error.incident)
    reply_text(
        event.bot,
        chat_id=event.chat_id,
        message_id=text_at(event.payload, "message.message_id"),
        markup=answer,
        key=f"answer:{event.bot_id}:{event.dedup_key}",
        cause=event,
    )
    return f"/{command.name or '?'}"


def refusal(incident: Incident) -> str:
    """Why a step was not possible: who was first."""
    if incident.status == Incident.Status.RESOLVED:
        who = (
            at(incident.resolved_by_open_id) if incident.resolved_by_open_id else plain(incident.resolved_by)
        )
        moment = (
            timezone.localtime(incident.resolved_at).strftime("%m-%d %H:%M") if incident.resolved_at else ""
        )
        return _("%(incident)s was resolved by %(person)s at %(time)s") % {
            "incident": incident, "person": who, "time": moment,
        }  # fmt: skip
    if incident.status == Incident.Status.ACKNOWLEDGED:
        who = (
            at(incident.acknowledged_by_open_id)
            if incident.acknowledged_by_open_id
            else plain(incident.acknowledged_by)
        )
        return _("%(incident)s was taken by %(person)s") % {"incident": incident, "person": who}
    return _("%s is open") % incident


def _obey(event: Event, incident: Incident | None, command: Command) -> str:
    if not command.name or command.name == "help":
        return _(
            "Commands: /ack, /solve note, /reopen reason, /severity P1, /lead @x, /invite @x, /mute 30m,"
            " /note text, /timeline, /incident title"
        )
    by = Actor(Via.COMMAND, open_id=event.actor_open_id)
    if command.name == "incident":
        return _open(event, command, by)
    if incident is None:
        return _("This chat has no incident. Open one with: /incident title")
    return COMMANDS[command.name](incident, command, by)


def _open(event: Event, command: Command, by: Actor) -> str:
    allowed = settings.INCIDENT_OPENING_CHATS
    if allowed and event.chat_id not in allowed:
        raise UsageError(_("Incidents cannot be opened from this chat."))
    if not command.text:
        raise UsageError(_("Write what is broken: /incident payments fail"))
    people = [Responder(open_id=one) for one in dict.fromkeys([event.actor_open_id, *command.people]) if one]
    incident = Incident.objects.open(bot=event.bot, title=command.text[:200], by=by, responders=people)
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
    match = DURATION.match(command.text.lower())
    minutes = int(match[1]) * UNITS.get(match[2] or "", 1) if match else 0
    if not 0 < minutes <= 7 * 1440:
        raise UsageError(_("Write for how long, up to 7 days: /mute 30m, /mute 2h"))
    incident.mute(by, timedelta(minutes=minutes))
    return _("Quiet for %d minutes.") % minutes


def _note(incident: Incident, command: Command, by: Actor) -> str:
    if not command.text:
        raise UsageError(_("Write the note: /note rolled back to 1.2"))
    incident.note(by, command.text)
    return _("Noted.")


def _timeline(incident: Incident, command: Command, by: Actor) -> str:
    entries = incident.timeline.exclude(kind=TimelineEntry.Kind.MESSAGE, important=False).order_by(
        "-happened_at"
    )
    lines = [
        f"{timezone.localtime(entry.happened_at):%H:%M} {entry.get_kind_display()} {plain(entry.text)}".rstrip()
        for entry in reversed(entries[:TIMELINE_LINES])
    ]
    return "\n".join(lines)


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
