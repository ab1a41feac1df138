"""Events in an incident's chat: they feed its timeline. Each handler returns None where the chat has no incident."""

from typing import Any

from django.utils.translation import gettext as _

from events.dispatch import Reaction, handled, ignored, left_out
from events.envelope import parse_time, text_at
from events.models import Event
from events.people import learn, names_in

from . import chat, commands, names, words
from .models import Actor, Incident, TimelineEntry, Via

Kind = TimelineEntry.Kind
PIN_EMOJI = "Pin"
OVERTAKEN_AT_MOST = 200  # so many events of the chat may come between a recall and the message it overtook


def message(event: Event) -> Reaction | None:
    """im.message.receive_v1: a command is obeyed; in an incident's chat every message is an entry."""
    incident = Incident.objects.in_chat(event.bot, event.chat_id)
    sent = event.payload.get("message")
    sent = sent if isinstance(sent, dict) else {}
    if incident is not None:
        if incident.chat_gone:
            chat.catch_up(incident)  # whoever is heard is there, whatever a late answer said
        _write_message(incident, event, sent)
    command = commands.parse(event, sent, in_incident=incident is not None)
    if command is not None and event.replayed:
        return left_out("a command is obeyed once, when it is written")
    if command is not None and not _is_edited(sent):
        return handled(commands.obey(event, incident, command))
    return handled(f"in the timeline of {incident}") if incident else None


def recalled(event: Event) -> Reaction | None:
    """im.message.recalled_v1: the entry stays, struck out."""
    return handled("struck out") if _entries(event).update(recalled=True) else None


def reacted(event: Event) -> Reaction | None:
    """im.message.reaction.created_v1: the pin emoji marks a message as a key entry."""
    if text_at(event.payload, "reaction_type.emoji_type").lower() != PIN_EMOJI.lower():
        return None
    return handled("marked as key") if _entries(event).update(important=True) else None


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
    dissolved = event.event_type.endswith("disbanded_v1")
    with chat.language_of_the_chat():
        reason = _("The chat was dissolved") if dissolved else _("The bot was removed from the chat")
        chat.chat_is_gone(incident, reason)
    return handled("the chat was dissolved" if dissolved else "the bot was removed from the chat")


def bot_added(event: Event) -> Reaction | None:
    """im.chat.member.bot.added_v1: back in the chat, which is told what it missed."""
    incident = _present_or_future(event)
    if incident is None:
        return None
    chat.catch_up(incident)
    return handled(f"in the chat of {incident}")


def renamed(event: Event) -> Reaction | None:
    """im.chat.updated_v1: an entry for a person's change; our own renames coming back are not."""
    incident = Incident.objects.in_chat(event.bot, event.chat_id)
    name = text_at(event.payload, "after_change.name")
    if incident is None or not name:
        return None
    if event.actor_open_id in ("", event.bot.open_id) or chat.is_our_name(incident, name):
        return ignored("our own change")
    incident.write(Kind.CHAT, names.actor(event, Via.CHAT), text=name)
    return handled("in the timeline")


def _present_or_future(event: Event) -> Incident | None:
    """The incident of the chat; also while Feishu has made the chat, and we have not heard of it: the first people
    join it in that moment."""
    future = chat.being_made(event.bot, text_at(event.payload, "name"))
    return Incident.objects.in_chat(event.bot, event.chat_id) or future


def _people(event: Event, kind: str) -> Reaction | None:
    incident = _present_or_future(event)
    if incident is None:
        return None
    if not event.replayed:  # people may be called something else by now
        learn(event)
    users = event.payload.get("users")
    for user in users if isinstance(users, list) else []:
        person = Actor(Via.CHAT, text_at(user, "name")[:120], text_at(user, "user_id.open_id"))
        if event.replayed and _is_written(incident, event, kind, person):
            continue
        incident.write(kind, person, happened_at=event.created_at)
        if kind == Kind.JOINED and incident.chat_id:  # else the end of its making says who is in
            incident.responders.filter(open_id=person.open_id).update(status="added", error="")
    names.fill(event.bot, names_in(event))
    return handled(f"in the timeline of {incident}")


def _is_written(incident: Incident, event: Event, kind: str, person: Actor) -> bool:
    same = incident.timeline.filter(kind=kind, open_id=person.open_id, happened_at=event.created_at)
    return same.exists()


def _entries(event: Event) -> Any:
    """The timeline's entries about the message of an event."""
    about = TimelineEntry.objects.filter(
        incident__bot=event.bot, message_id=text_at(event.payload, "message_id")
    )
    return about.exclude(message_id="")


def _write_message(incident: Incident, event: Event, sent: dict[str, Any]) -> None:
    """One entry for each message; one that comes again, edited, has its words changed. Events come in any order."""
    message_id = text_at(sent, "message_id")
    with chat.language_of_the_chat():
        text = words.text_of(sent)
    written = incident.timeline.filter(message_id=message_id).exclude(message_id="")
    if _is_edited(sent) and not event.replayed and written.update(text=text):
        return
    if written.exists():
        return  # by a replay, or the edited words came first
    moment = parse_time(sent.get("create_time")) or event.created_at
    by = names.actor(event, Via.CHAT)
    what = {"text": text, "message_id": message_id, "recalled": _is_recalled(event, message_id)}
    incident.write(Kind.MESSAGE, by, happened_at=moment, **what)
    Incident.objects.filter(pk=incident.pk, active_at__lt=moment).update(active_at=moment)


def _is_recalled(event: Event, message_id: str) -> bool:
    """Whether the news that it was taken back overtook the message."""
    newest = Event.objects.filter(bot=event.bot, chat_id=event.chat_id).order_by("-pk")[:OVERTAKEN_AT_MOST]
    recalls = Event.objects.filter(pk__in=newest.values("pk"), event_type="im.message.recalled_v1")
    return recalls.filter(body__event__message_id=message_id).exists()


def _is_edited(sent: dict[str, Any]) -> bool:
    return text_at(sent, "update_time") not in ("", text_at(sent, "create_time"))
