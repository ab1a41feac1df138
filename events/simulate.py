"""Events that an operator makes up: built as Feishu builds them, accepted as Feishu's are, marked as simulated.

Sources of the payloads: feishu-platform.md 1.3 and 3.1.
"""

import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from django.db import transaction
from django.utils import timezone

from .confidential import Reader
from .dispatch import HandlerError, accept, dispatch, routes
from .envelope import Envelope, Json, open_frame
from .models import SIMULATED, Bot, Event, OutboxItem, insert_once
from .replay import NEW, SENT_BEFORE, Call, without_a_trace
from .running import Running
from .words import EVENT_TYPES

Person = tuple[str, str]  # open_id and name


@dataclass(frozen=True)
class Told:
    """What the operator says of the event; `more` is laid over the payload that is made of the rest."""

    chat_id: str
    chat_name: str = ""
    people: tuple[Person, ...] = ()
    text: str = ""
    message_id: str = ""
    is_conversation: bool = False
    more: Json = field(default_factory=dict)

    @property
    def person(self) -> Json:
        """The first person's ids, as they stand in events."""
        return (
            {"open_id": self.people[0][0], "union_id": "", "user_id": ""} if self.people else {"open_id": ""}
        )


def _in_group(told: Told) -> Json:
    return {"chat_id": told.chat_id, "operator_id": told.person, "external": False, "name": told.chat_name}


def _members(told: Told) -> Json:
    users = [{"name": name, "user_id": {"open_id": open_id}} for open_id, name in told.people]
    return {**_in_group(told), "users": users}


def _renamed(told: Told) -> Json:
    return {**_in_group(told), "after_change": {"name": told.text}, "before_change": {"name": told.chat_name}}


def _entered(told: Told) -> Json:
    return {"chat_id": told.chat_id, "operator_id": told.person, "last_message_id": ""}


def _first_conversation(told: Told) -> Json:
    name = told.people[0][1] if told.people else ""
    return {"chat_id": told.chat_id, "operator": told.person, "user": {"name": name, **told.person}}


def _message(told: Told) -> Json:
    moment = _milliseconds()
    message = {
        "message_id": told.message_id or f"om_sim_{uuid.uuid4().hex}",
        "create_time": moment,
        "update_time": moment,
        "chat_id": told.chat_id,
        "chat_type": "p2p" if told.is_conversation else "group",
        "message_type": "text",
        "content": json.dumps({"text": told.text}, ensure_ascii=False),
    }
    return {"sender": {"sender_id": told.person, "sender_type": "user"}, "message": message}


def _recalled(told: Told) -> Json:
    recall = {"recall_time": _milliseconds(), "recall_type": "message_owner"}
    return {"message_id": told.message_id, "chat_id": told.chat_id, **recall}


def _reaction(told: Told) -> Json:
    reaction = {"reaction_type": {"emoji_type": told.text or "Pin"}, "operator_type": "user"}
    return {"message_id": told.message_id, "user_id": told.person, "action_time": _milliseconds(), **reaction}


def _press(told: Told) -> Json:
    context = {"open_message_id": told.message_id, "open_chat_id": told.chat_id}
    return {"operator": told.person, "token": "c-simulated", "action": {"tag": "button"}, "context": context}


def _menu(told: Told) -> Json:
    name = told.people[0][1] if told.people else ""
    operator = {"operator_name": name, "operator_id": told.person}
    return {"operator": operator, "event_key": told.text, "timestamp": int(time.time())}


def _other(told: Told) -> Json:
    return {"chat_id": told.chat_id, "operator_id": told.person}


PAYLOADS: Mapping[str, Callable[[Told], Json]] = {
    "im.chat.member.user.added_v1": _members,
    "im.chat.member.user.deleted_v1": _members,
    "im.chat.member.user.withdrawn_v1": _members,
    "im.chat.member.bot.added_v1": _in_group,
    "im.chat.member.bot.deleted_v1": _in_group,
    "im.chat.updated_v1": _renamed,
    "im.chat.disbanded_v1": _in_group,
    "im.message.receive_v1": _message,
    "im.message.recalled_v1": _recalled,
    "im.message.reaction.created_v1": _reaction,
    "im.chat.access_event.bot_p2p_chat_entered_v1": _entered,
    "p2p_chat_create": _first_conversation,
    "card.action.trigger": _press,
    "application.bot.menu_v6": _menu,
}
# Types that make no sense without: the names of Told's fields.
NEEDS: Mapping[str, tuple[str, ...]] = {
    "im.chat.member.user.added_v1": ("people",),
    "im.chat.member.user.deleted_v1": ("people",),
    "im.chat.member.user.withdrawn_v1": ("people",),
    "im.chat.updated_v1": ("text",),
    "im.message.receive_v1": ("people", "text"),
    "im.message.recalled_v1": ("message_id",),
    "im.message.reaction.created_v1": ("people", "message_id"),
    "im.chat.access_event.bot_p2p_chat_entered_v1": ("people",),
    "p2p_chat_create": ("people",),
    "card.action.trigger": ("people",),
    "application.bot.menu_v6": ("people",),
}
V1_TYPES = ("p2p_chat_create", "app_ticket")


def types() -> dict[str, str]:
    """{event type: words}: what somebody reacts to, then what else is known."""
    known = [*routes(), *(one for one in PAYLOADS if one not in routes())]
    return {one: str(EVENT_TYPES.get(one, one)) for one in known}


def envelope(bot: Bot, event_type: str, told: Told, by: str) -> Envelope:
    """The event as if Feishu had pushed it now; raises RefusedError where Feishu's would be refused."""
    payload = {**PAYLOADS.get(event_type, _other)(told), **told.more}
    event_id, tenant = (
        f"sim_{uuid.uuid4().hex}",
        {"app_id": bot.app_id, "tenant_key": Event.objects.tenant_of(bot, told.chat_id)},
    )
    if event_type in V1_TYPES:
        head = {"ts": f"{time.time():.6f}", "uuid": event_id, "type": "event_callback"}
        document = {**head, "event": {**tenant, **payload, "type": event_type}}
    else:
        header = {"event_id": event_id, "event_type": event_type, "create_time": _milliseconds(), **tenant}
        document = {"schema": "2.0", "header": header, "event": payload}
    return open_frame(bot, json.dumps({**document, "simulated_by": by}).encode())


@dataclass
class Watching(Running):
    """The handlers of an event at work, and every call that they queue."""

    calls: list[Call] = field(default_factory=list)

    def queue(self, item: OutboxItem, *, first: bool = False) -> OutboxItem | None:
        is_new = insert_once(item)
        state = NEW if is_new else SENT_BEFORE
        self.calls.append(Call(state, item.key, item.call, item.target, item.arguments))
        return item if is_new else None


@dataclass(frozen=True)
class Prospect:
    """What would come of a simulated event."""

    event: Event
    outcome: str
    error: str
    calls: tuple[Call, ...]


class HiddenError(Exception):
    """The event would be in a chat that is kept from who makes it up."""


def look_ahead(bot: Bot, made_up: Envelope, reader: Reader) -> Prospect:
    """What the event would cause, and nothing of it done; raises HiddenError."""
    outcome, error = "", ""
    with without_a_trace():
        event = Event.objects.receive(bot, made_up, transport=SIMULATED)
        if not Event.objects.readable_by(reader).filter(pk=event.pk).exists():
            raise HiddenError
        watching = Watching(event)
        try:
            with transaction.atomic():
                outcome = dispatch(event, watching).summary
        except HandlerError as failure:
            error = f"{type(failure.__cause__).__name__}: {failure.__cause__}"
    return Prospect(event, outcome, error, tuple(watching.calls))


def send(bot: Bot, made_up: Envelope) -> Event:
    """For real: stored, handled, and what it causes is sent."""
    accept(bot, made_up, transport=SIMULATED)
    return Event.objects.get(bot=bot, event_id=made_up.event_id)


def _milliseconds() -> str:
    return str(int(timezone.now().timestamp() * 1000))
