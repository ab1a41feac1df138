"""What a call answers when the app lacks a scope: the codes, and the violations an operator reads."""

from typing import Any

from botconsole.sandbox.errors import PlatformError
from botconsole.sandbox.store import Row
from botconsole.sandbox.world import World

GROUP_MESSAGES, AS_OWNER = "im:message.group_msg", "im:chat:operate_as_owner"
USER_IDS = "contact:user.employee_id:readonly"


def need(world: World, *scopes: str, code: int = 99991672) -> None:
    """One of `scopes` must be granted; which ones would do stands in `error.permission_violations`."""
    missing = world.missing_scopes
    if scopes and all(scope in missing for scope in scopes):
        violations = [{"type": "action_scope_required", "subject": scope} for scope in scopes]
        raise PlatformError(code, f"ext=scopes: {', '.join(scopes)}", permission_violations=violations)


def may_read(world: World, chat: Row) -> None:
    """What is said in groups needs a sensitive scope of its own: 230027 without it."""
    if chat["mode"] != "p2p":
        need(world, GROUP_MESSAGES, code=230027)


def hears(world: World, chat: Row, mentions: list[dict[str, Any]]) -> bool:
    """Whether a message is pushed: without the scope, of a group only what mentions the bot."""
    if not chat["bot_in"]:
        return False
    mentioned = any(one["id"] == world.config.bot_open_id for one in mentions)
    return chat["mode"] == "p2p" or mentioned or GROUP_MESSAGES not in world.missing_scopes


def is_owner(world: World, chat: Row) -> bool:
    """Whether the bot owns the chat, or made it and may act as its owner."""
    return bool(not chat["owner_id"] or (chat["by_app"] and AS_OWNER not in world.missing_scopes))
