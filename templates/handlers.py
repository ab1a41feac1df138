"""The handlers that greet: each chooses a template, fills its card, and queues it. None touches the network."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.utils import timezone

from events.dispatch import Reaction, handled, ignored
from events.envelope import text_at
from events.models import Event, insert_once
from events.outbox import has_failed, send_card

from .models import Greeting, Trigger, WelcomeTemplate
from .variables import Person, welcome_variables


def greet_new_members(event: Event) -> Reaction:
    """im.chat.member.user.added_v1: one card for everyone in the event."""
    people = _members(event.payload.get("users"))
    if not people:
        return ignored("the event names nobody")
    key = f"welcome:{event.bot_id}:{event.event_id}"
    return _greet(event, Trigger.MEMBER_JOINED, people, key=key, first=not event.tries)


def greet_conversation(event: Event) -> Reaction:
    """p2p_chat_create (v1.0) and bot_p2p_chat_entered_v1: once per person and bot, whichever comes first."""
    open_id = text_at(event.payload, "user.open_id", "operator_id.open_id", "operator.open_id")
    if not open_id:
        return ignored("the event names nobody")
    greeting, key = Greeting(bot_id=event.bot_id, open_id=open_id), f"hello:{event.bot_id}:{open_id}"
    is_first = insert_once(greeting)
    if not is_first and not _is_greeted_again(event, key):
        return ignored("greeted before")
    person = Person(open_id, text_at(event.payload, "user.name"))
    reaction = _greet(event, Trigger.CONVERSATION_STARTED, [person], key=key)
    if is_first and reaction.status != Event.Status.HANDLED:
        greeting.delete()  # not greeted after all: a template made later still may
    return reaction


def _is_greeted_again(event: Event, key: str) -> bool:
    """A replay may be told to; and it takes up a greeting that could not be sent."""
    return event.sent_again or (event.replayed and has_failed(key))


def introduce_bot(event: Event) -> Reaction:
    """im.chat.member.bot.added_v1: the bot says what it is for."""
    return _greet(event, Trigger.BOT_JOINED, [], key=f"intro:{event.bot_id}:{event.event_id}")


def _greet(
    event: Event, trigger: Trigger, people: Sequence[Person], *, key: str, first: bool = False
) -> Reaction:
    if not event.chat_id:
        return ignored("the event names no chat")
    template = WelcomeTemplate.objects.best_for(event.bot, trigger, event.chat_id, event.tenant_key)
    if template is None:
        return ignored("no template for this chat")
    if event.late and not template.greets_after(_delay(event)):
        return ignored(
            f"too late to greet: {_delay(event).total_seconds() / 3600:.1f} hours after it happened"
        )
    chat_name = text_at(event.payload, "name")
    card = template.render(welcome_variables(event.bot.name, event.chat_id, chat_name, people))
    item = send_card(
        event.bot, chat_id=event.chat_id, card=card, key=key, cause=event, subject=template, first=first
    )
    return handled(f"“{template.name}” queued" if item else "was queued before")


def _delay(event: Event) -> timedelta:
    return timedelta(seconds=int((timezone.now() - event.created_at).total_seconds()))


def _members(users: Any) -> list[Person]:
    """The `users` of the event: [{"name", "user_id": {"open_id"}}]; entries without an open_id are left out."""
    entries = users if isinstance(users, list) else []
    found = (Person(text_at(entry, "user_id.open_id"), text_at(entry, "name")) for entry in entries)
    return [person for person in found if person.open_id]
