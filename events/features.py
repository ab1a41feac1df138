"""What each feature needs of Feishu: events and scopes, for setup guide, checklist and doctor."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Text = str | Promise

# What to add in Feishu's developer console, and any one scope that allows it ("": none is needed).
EVENTS_TO_ADD: tuple[tuple[str, str], ...] = (
    ("im.chat.member.user.added_v1", "im:chat:readonly"),
    ("im.chat.member.bot.added_v1", "im:chat:readonly"),
    ("im.chat.access_event.bot_p2p_chat_entered_v1", ""),
    ("p2p_chat_create", ""),
    ("im.message.receive_v1", "im:message.group_at_msg:readonly"),
    ("im.message.recalled_v1", "im:message:readonly"),
    ("im.message.reaction.created_v1", "im:message:readonly"),
    ("im.chat.member.user.deleted_v1", "im:chat:readonly"),
    ("im.chat.member.bot.deleted_v1", "im:chat:readonly"),
    ("im.chat.updated_v1", "im:chat:readonly"),
    ("im.chat.disbanded_v1", "im:chat:readonly"),
    ("card.action.trigger", ""),
)
SCOPES_TO_ADD: tuple[tuple[str, Text], ...] = (
    ("im:message:send_as_bot", _("send messages")),
    ("im:message.group_at_msg:readonly", _("hear who mentions the bot in a group")),
    ("im:message.p2p_msg:readonly", _("hear who writes to the bot alone")),
    ("im:message.group_msg", _("keep the whole timeline of incidents")),
    ("im:message:readonly", _("recalled messages, reactions, the history of a chat")),
    ("im:message.pins:write_only", _("pin the card of an incident")),
    ("im:message.urgent", _("buzz whom an incident needs")),
    ("im:chat:readonly", _("learn who joins a group")),
    ("im:chat", _("make the chats of incidents")),
    ("im:resource", _("images and files of incidents")),
    ("contact:contact.base:readonly", _("names of people")),
    ("contact:user.base:readonly", _("names of people")),
    ("contact:user.id:readonly", _("find people by e-mail address or number")),
)


@dataclass(frozen=True)
class Feature:
    """`events` are those it cannot do without, `scopes` those of its calls."""

    words: Text
    events: tuple[str, ...]
    scopes: tuple[str, ...]


FEATURES: Mapping[str, Feature] = {
    "greet_members": Feature(
        _("Greeting who joins a group"),
        ("im.chat.member.user.added_v1",),
        ("im:message:send_as_bot", "im:chat:readonly"),
    ),
    "introduce": Feature(
        _("Introducing the bot in a new group"),
        ("im.chat.member.bot.added_v1",),
        ("im:message:send_as_bot", "im:chat:readonly"),
    ),
    "greet_conversation": Feature(
        _("Greeting who opens a conversation"),
        ("im.chat.access_event.bot_p2p_chat_entered_v1",),
        ("im:message:send_as_bot",),
    ),
    "commands": Feature(
        _("Commands and the timeline of incidents"),
        ("im.message.receive_v1",),
        (
            "im:message.group_at_msg:readonly",
            "im:message.p2p_msg:readonly",
            "im:message.group_msg",
            "im:message:readonly",
        ),
    ),
    "presses": Feature(_("Buttons on cards"), ("card.action.trigger",), ()),
    "incident_chats": Feature(
        _("The chats of incidents"),
        ("im.chat.updated_v1",),
        (
            "im:chat",
            "im:message.pins:write_only",
            "im:message.urgent",
            "im:resource",
            "contact:contact.base:readonly",
            "contact:user.base:readonly",
            "contact:user.id:readonly",
        ),
    ),
}
