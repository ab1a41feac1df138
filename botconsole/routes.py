"""Who reacts to what. Read this first: an event type that is not here is stored and ignored."""

from collections.abc import Mapping

from events.dispatch import Handler
from templates.handlers import greet_conversation, greet_new_members, introduce_bot

EVENT_ROUTES: Mapping[str, Handler] = {
    "im.chat.member.user.added_v1": greet_new_members,
    "im.chat.member.bot.added_v1": introduce_bot,
    "p2p_chat_create": greet_conversation,
    "im.chat.access_event.bot_p2p_chat_entered_v1": greet_conversation,
}
