"""Which scopes an event needs to be pushed at all; data, and the question that is asked of it."""

USER_IDS = "contact:user.employee_id:readonly"  # without it no user_id is in any event
GROUP_MESSAGES = "im:message.group_msg"
_CHATS = ("im:chat", "im:chat:readonly")
_MEMBERS = (*_CHATS, "im:chat.members:read")
_MESSAGES = ("im:message", "im:message:readonly")
# An event is pushed only if one of its scopes is granted; those that are not here need none.
OF_EVENTS: dict[str, tuple[str, ...]] = {
    "im.chat.member.user.added_v1": _MEMBERS,
    "im.chat.member.user.deleted_v1": _MEMBERS,
    "im.chat.member.bot.added_v1": (*_CHATS, "im:chat.members:bot_access"),
    "im.chat.member.bot.deleted_v1": (*_CHATS, "im:chat.members:bot_access"),
    "im.chat.updated_v1": (*_CHATS, "im:chat:read"),
    "im.chat.disbanded_v1": (*_CHATS, "im:chat:read"),
    "im.message.message_read_v1": _MESSAGES,
    "im.message.recalled_v1": _MESSAGES,
    "im.message.reaction.created_v1": ("im:message.reactions:read", "im:message:readonly"),
    "im.message.reaction.deleted_v1": ("im:message.reactions:read", "im:message:readonly"),
}
TO_THE_BOT = ("im:message.p2p_msg", "im:message.p2p_msg:readonly")
WITH_A_MENTION = ("im:message.group_at_msg", "im:message.group_at_msg:readonly")


def granted(scopes: tuple[str, ...], missing: list[str]) -> bool:
    """Whether one of these is granted; none at all are always."""
    return not scopes or any(scope not in missing for scope in scopes)
