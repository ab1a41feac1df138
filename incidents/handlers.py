"""Events in an incident's chat: they feed its timeline. Each handler returns None where the chat has no incident."""

from collections.abc import Sequence
from typing import Any

from django.utils.translation import gettext as _

from events.dispatch import Reaction, handled, ignored, left_out
from events.envelope import text_at
from events.models import Event
from events.people import learn, names_in
from events.running import ask_for_all

from . import chat, commands, entries, names
from .models import Incident, TimelineEntry, Via


def message(event: Event) -> Reaction | None:
    """im.message.receive_v1: a command is obeyed; in an incident's chat every message is an entry."""
    incident = Incident.objects.in_chat(event.bot, event.chat_id)
    sent = entries.sent_in(event)
    if incident is not None:
        if incident.chat_gone:
            chat.catch_up(incident)  # whoever is heard is there, whatever a late answer said
        entries.write_message(incident, event)
    command = commands.parse(event, sent, in_incident=incident is not None)
    if command is not None and event.replayed:
        return left_out("a command is obeyed once, when it is written")
    if command is not None and not entries.is_edited(sent):
        return handled(commands.obey(event, incident, command))
    return handled(f"in the timeline of {incident}") if incident else None


def recalled(event: Event) -> Reaction | None:
    """im.message.recalled_v1: the entry stays, struck out."""
    return handled("struck out") if _about(event).update(recalled=True) else None


def reacted(event: Event) -> Reaction | None:
    """im.message.reaction.created_v1: the pin emoji marks a message as a key entry."""
    if not entries.is_pin(text_at(event.payload, "reaction_type.emoji_type")):
        return None
    return handled("marked as key") if _about(event).update(important=True) else None


def joined(event: Event) -> Reaction | None:
    """im.chat.member.user.added_v1 in an incident's chat: an entry, and no welcome card."""
    return _came_or_went(event)


def left(event: Event) -> Reaction | None:
    return _came_or_went(event)


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
    incident.write(TimelineEntry.Kind.CHAT, names.actor(event, Via.CHAT), text=name)
    return handled("in the timeline")


def _present_or_future(event: Event) -> Incident | None:
    """The incident of the chat; also while Feishu has made the chat, and we have not heard of it: the first people
    join it in that moment."""
    name = text_at(event.payload, "name")
    if chat.may_be_ours(name):
        future = chat.being_made(event.bot, name)
        return Incident.objects.in_chat(event.bot, event.chat_id) or future
    newest = ask_for_all(_newest_incidents, event).get((event.bot_id, event.chat_id))
    return Incident.objects.filter(pk=newest).first() if newest else None


def _newest_incidents(events: Sequence[Event]) -> dict[tuple[int, str], int]:
    return Incident.objects.newest_in({event.bot_id for event in events}, {event.chat_id for event in events})


def _came_or_went(event: Event) -> Reaction | None:
    incident = _present_or_future(event)
    if incident is None:
        return None
    if not event.replayed:  # people may be called something else by now
        learn(event)
    entries.write_people(incident, event)
    names.fill(event.bot, names_in(event))
    return handled(f"in the timeline of {incident}")


def _about(event: Event) -> Any:
    """The timeline's entries about the message of an event."""
    about = TimelineEntry.objects.filter(
        incident__bot=event.bot, message_id=text_at(event.payload, "message_id")
    )
    return about.exclude(message_id="")
