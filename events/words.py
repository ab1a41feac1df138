"""What operators read instead of identifiers: event types, calls, outcomes and refusals in words.

Outcomes and refusals are stored in English, as the program said them; they are translated when shown.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .envelope import dig, text_at
from .models import Event

Text = str | Promise
NAME_SHOWN = 60  # characters: an event may carry any

EVENT_TYPES: Mapping[str, Text] = {
    "im.chat.member.user.added_v1": _("Someone joined a group"),
    "im.chat.member.user.deleted_v1": _("Someone left a group"),
    "im.chat.member.user.withdrawn_v1": _("An invitation was withdrawn"),
    "im.chat.member.bot.added_v1": _("The bot was added to a group"),
    "im.chat.member.bot.deleted_v1": _("The bot was removed from a group"),
    "im.chat.updated_v1": _("A group was changed"),
    "im.chat.disbanded_v1": _("A group was dissolved"),
    "im.chat.access_event.bot_p2p_chat_entered_v1": _("Someone opened the conversation with the bot"),
    "p2p_chat_create": _("First conversation with the bot"),
    "im.message.receive_v1": _("A message came in"),
    "im.message.message_read_v1": _("A message was read"),
    "im.message.recalled_v1": _("A message was recalled"),
    "im.message.reaction.created_v1": _("Someone reacted to a message"),
    "im.message.reaction.deleted_v1": _("A reaction was taken back"),
    "card.action.trigger": _("A card's button was pressed"),
    "application.bot.menu_v6": _("The bot's menu was used"),
    "app_ticket": _("Feishu renewed the app ticket"),
}

TRANSPORTS: Mapping[str, Text] = {
    "webhook": _("webhook"),
    "long_connection": _("long connection"),
    "simulated": _("simulated"),
}

CALLS: Mapping[str, Text] = {
    "send_message": _("Send a message"),
    "reply_message": _("Answer a message"),
    "update_card": _("Change a card"),
    "patch_card": _("Change a card in place"),
    "upload_image": _("Upload an image"),
    "create_chat": _("Create a group"),
    "update_chat": _("Change a group"),
    "rename_chat": _("Rename a group"),
    "add_members": _("Add people to a group"),
    "pin_message": _("Pin a message"),
    "add_chat_tab": _("Add a tab to a group"),
    "buzz": _("Ring phones about a message"),
    "find_people": _("Look people up by e-mail or mobile"),
    "dissolve_chat": _("Dissolve a group"),
    "leave_chat": _("Leave a group"),
    "get_person": _("Ask for a person's name"),
    "get_chat": _("Ask for a group's name"),
    "get_bot": _("Ask for the bot's own profile"),
}
MESSAGES: Mapping[str, Text] = {
    "interactive": _("Send a card"),
    "text": _("Send a text"),
    "post": _("Send a formatted text"),
    "image": _("Send an image"),
}

# What handlers and the webhook say of themselves: a pattern and its translation, with the pattern's groups.
OUTCOMES: tuple[tuple[str, Text], ...] = (
    (r"“(?P<name>.+)” queued", _("“%(name)s” queued")),
    (r"was queued before", _("was queued before")),
    (r"greeted before", _("greeted before")),
    (r"the bot is disabled", _("the bot is disabled")),
    (r"no handler for this type", _("no handler for this type")),
    (r"nothing to do", _("nothing to do")),
    (r"in the timeline of (?P<incident>.+)", _("in the timeline of %(incident)s")),
    (r"in the timeline", _("in the timeline")),
    (r"in the chat of (?P<incident>.+)", _("in the chat of %(incident)s")),
    (r"struck out", _("struck out")),
    (r"marked as key", _("marked as key")),
    (r"our own change", _("our own change")),
    (r"the chat was dissolved", _("the chat was dissolved")),
    (r"the bot was removed from the chat", _("the bot was removed from the chat")),
    (r"refused press", _("refused press")),
    (r"refused: (?P<why>.+)", _("refused: %(why)s")),
    (r"(?P<action>\w+) on (?P<incident>INC-\d+)", _("%(action)s on %(incident)s")),
    (r"(?P<action>\w+): (?P<status>\w+) already", _("%(action)s: %(status)s already")),
    (r"app ticket kept", _("app ticket kept")),
    (r"only a store app has an app ticket", _("only a store app has an app ticket")),
    (r"there is no app ticket in it", _("there is no app ticket in it")),
    (r"a newer app ticket is known", _("a newer app ticket is known")),
    (r"no template for this chat", _("no template for this chat")),
    (r"the event names nobody", _("the event names nobody")),
    (r"the event names no chat", _("the event names no chat")),
    (
        r"too late to greet: (?P<delay>.+) hours after it happened",
        _("too late to greet: %(delay)s hours after it happened"),
    ),
    (
        r"a command is obeyed once, when it is written",
        _("a command is obeyed once, when it is written"),
    ),
    (
        r"a press acts once, for the person who made it",
        _("a press acts once, for the person who made it"),
    ),
    (
        r"it says how a chat was, which may be otherwise by now",
        _("it says how a chat was, which may be otherwise by now"),
    ),
    (
        r"nobody has said whether this handler may run twice",
        _("nobody has said whether this handler may run twice"),
    ),
    (r"the worker stopped during this try", _("the worker stopped during this try")),
)
_KEY = _("the signature does not match: is the Encrypt Key the one in Feishu's console?")
REFUSALS: tuple[tuple[str, Text], ...] = (
    (r"the signature headers are missing", _("the signature headers are missing")),
    (r"the signature does not match: .*", _KEY),
    (
        r"the signature's timestamp is too far from now: .*",
        _("the signature's timestamp is too far from now: replayed, or a clock is wrong"),
    ),
    (
        r"the body is not encrypted, but .*",
        _("the body is not encrypted, but this bot has an Encrypt Key"),
    ),
    (
        r"the body does not decrypt: .*",
        _("the body does not decrypt: is the Encrypt Key the one in Feishu's console?"),
    ),
    (r"the body is not JSON", _("the body is not JSON")),
    (r"the body is nested too deeply", _("the body is nested too deeply")),
    (r"the body is not a JSON object", _("the body is not a JSON object")),
    (
        r"this bot has no Verification Token yet: .*",
        _("this bot has no Verification Token yet: enter it in the admin"),
    ),
    (
        r"the token does not match: .*",
        _("the token does not match: is the Verification Token the one in Feishu's console?"),
    ),
    (r"the challenge is not text", _("the challenge is not text")),
    (r"neither a v1.0 event .*", _("neither a v1.0 event (uuid) nor a v2.0 event (schema)")),
    (r"the event has no id or no type", _("the event has no id or no type")),
    (
        r"an id of the event is longer than (?P<length>\d+) characters",
        _("an id of the event is longer than %(length)s characters"),
    ),
    (
        r"the event is for app (?P<app>.+), not for this bot's app",
        _("the event is for app %(app)s, not for this bot's app"),
    ),
    (
        r"A secret was sealed with another key.*",
        _("A secret was sealed with another key. Restore SEALING_KEYS, or enter the secret again."),
    ),
)


def type_words(event_type: str) -> str:
    """The event type as a sentence; empty for one we have no words for."""
    return str(EVENT_TYPES.get(event_type, ""))


def call_words(call: str, arguments: Mapping[str, Any]) -> str:
    """What the call does; a call we have no words for is shown as it is named."""
    kind = MESSAGES.get(str(arguments.get("msg_type"))) if call == "send_message" else None
    return str(kind or CALLS.get(call, call))


def outcome_words(summary: str) -> str:
    return _translated(summary, OUTCOMES)


def refusal_words(reason: str) -> str:
    return _translated(reason, REFUSALS)


def _translated(text: str, table: Iterable[tuple[str, Text]]) -> str:
    for pattern, words in table:
        if match := re.fullmatch(pattern, text, re.DOTALL):
            return str(words) % match.groupdict() if match.groupdict() else str(words)
    return text


def short_id(identifier: str) -> str:
    """An id that still can be told apart: its kind and its end."""
    return identifier if len(identifier) <= 14 else f"{identifier[:5]}…{identifier[-6:]}"


def people_in(event: Event) -> dict[str, str]:
    """open_id -> name (may be empty) of those the event is about: who joined, who wrote, who pressed."""
    users = event.payload.get("users")
    found = {
        text_at(user, "user_id.open_id"): text_at(user, "name")[:NAME_SHOWN]
        for user in (users if isinstance(users, list) else [])
    }
    if not found and isinstance(dig(event.payload, "user"), dict):
        found = {text_at(event.payload, "user.open_id"): text_at(event.payload, "user.name")[:NAME_SHOWN]}
    found.pop("", None)
    if not found and event.actor_open_id:
        found = {event.actor_open_id: ""}
    return found


def people_words(names: Sequence[str], limit: int = 3) -> str:
    """The first few people, and how many more there are."""
    more = len(names) - limit
    told = "、".join(names[:limit])
    return gettext("%(names)s and %(count)d more") % {"names": told, "count": more} if more > 0 else told
