"""Events in an incident's chat: they feed its timeline. Each handler returns None where the chat has no incident."""

import json
from collections.abc import Callable
from typing import Any

from events.dispatch import Reaction, handled, ignored
from events.envelope import dig, parse_time, text_at
from events.models import Event

from . import chat, commands
from .models import Actor, Incident, TimelineEntry, Via

Kind = TimelineEntry.Kind
PIN_EMOJI = "Pin"


def message(event: Event) -> Reaction | None:
    """im.message.receive_v1: a command is obeyed; in an incident's chat every message is an entry."""
    incident = Incident.objects.in_chat(event.bot, event.chat_id)
    sent = event.payload.get("message")
    command = commands.parse(
        event.bot, sent if isinstance(sent, dict) else {}, in_incident=incident is not None
    )
    if incident is not None:
        _write_message(incident, event)
    if command is not None:
        return handled(commands.obey(event, incident, command))
    return handled(f"in the timeline of {incident}") if incident else None


def recalled(event: Event) -> Reaction | None:
    """im.message.recalled_v1: the entry stays, struck out."""
    entries = TimelineEntry.objects.filter(
        message_id=text_at(event.payload, "message_id"), incident__bot=event.bot
    ).exclude(message_id="")
    return handled("struck out") if entries.update(recalled=True) else None


def reacted(event: Event) -> Reaction | None:
    """im.message.reaction.created_v1: the pin emoji marks a message as a key entry."""
    if text_at(event.payload, "reaction_type.emoji_type") != PIN_EMOJI:
        return None
    entries = TimelineEntry.objects.filter(
        message_id=text_at(event.payload, "message_id"), incident__bot=event.bot
    ).exclude(message_id="")
    return handled("marked as key") if entries.update(important=True) else None


def joined(event: Event) -> Reaction | None:
    """im.chat.member.user.added_v1 in an incident's chat: an entry, and no welcome card."""
    return _people(event, Kind.JOINED)


def left(event: Event) -> Reaction | None:
    return _people(event, Kind.LEFT)


def disbanded(event: Event) -> Reaction | None:
    """im.chat.disbanded_v1 and bot.deleted_v1: nothing more can be sent there."""
    incident = Incident.objects.in_chat(event.bot, event.chat_id)
    if incident is None:
        return None
    gone = (
        "the chat was dissolved"
        if event.event_type.endswith("disbanded_v1")
        else "the bot was removed from the chat"
    )
    with chat.language_of_the_chat():
        chat.chat_is_gone(incident, gone)
    return handled(gone)


def bot_added(event: Event) -> Reaction | None:
    """im.chat.member.bot.added_v1: back in the chat, so it can be told things again."""
    incident = Incident.objects.in_chat(event.bot, event.chat_id)
    if incident is None:
        return None
    Incident.objects.filter(pk=incident.pk).update(chat_gone=False)
    return handled(f"in the chat of {incident}")


def renamed(event: Event) -> Reaction | None:
    """im.chat.updated_v1: an entry for a person's change; our own renames coming back are not."""
    incident = Incident.objects.in_chat(event.bot, event.chat_id)
    name = text_at(event.payload, "after_change.name")
    if incident is None or not name:
        return None
    if name == chat.chat_name(incident) or not event.actor_open_id:
        return ignored("our own change")
    incident.write(Kind.CHAT, _actor(event), text=name)
    return handled("in the timeline")


def _people(event: Event, kind: str) -> Reaction | None:
    incident = Incident.objects.in_chat(event.bot, event.chat_id)
    if incident is None:
        return None
    users = event.payload.get("users")
    for user in users if isinstance(users, list) else []:
        person = Actor(Via.CHAT, text_at(user, "name")[:120], text_at(user, "user_id.open_id"))
        incident.write(kind, person, happened_at=event.created_at)
    return handled(f"in the timeline of {incident}")


def _write_message(incident: Incident, event: Event) -> None:
    sent = event.payload.get("message") or {}
    moment = parse_time(sent.get("create_time")) or event.created_at
    incident.write(
        Kind.MESSAGE,
        _actor(event),
        text=text_of(sent),
        message_id=text_at(sent, "message_id"),
        happened_at=moment,
    )
    Incident.objects.filter(pk=incident.pk).update(active_at=moment)


def _actor(event: Event) -> Actor:
    return Actor(Via.CHAT, open_id=event.actor_open_id)


def text_of(message: dict[str, Any]) -> str:
    """A message in words: text and posts as they read, everything else as its kind and name."""
    kind = str(message.get("message_type") or "")
    try:
        content = json.loads(message.get("content") or "{}")
    except (TypeError, ValueError):
        content = {}
    words = _WORDS[kind](content) if kind in _WORDS and isinstance(content, dict) else ""
    for mention in message.get("mentions") or []:
        words = words.replace(text_at(mention, "key") or "\0", f"@{text_at(mention, 'name')}")
    return words or f"[{kind or 'message'}]"


def _post(content: dict[str, Any]) -> str:
    lines = [text_at(content, "title")]
    for line in content.get("content") or []:
        parts = line if isinstance(line, list) else []
        lines.append("".join(_part(part) for part in parts))
    return "\n".join(line for line in lines if line)


def _part(part: Any) -> str:
    if dig(part, "tag") in ("img", "media"):
        return "[image]"
    if dig(part, "tag") == "at":
        return text_at(part, "user_id")
    return text_at(part, "text")


_WORDS: dict[str, Callable[[dict[str, Any]], str]] = {
    "text": lambda content: text_at(content, "text"),
    "post": _post,
    "image": lambda content: "[image]",
    "file": lambda content: f"[file] {text_at(content, 'file_name')}",
    "interactive": lambda content: f"[card] {text_at(content, 'title')}",
}
