"""What a call answers when the app lacks a scope: the codes, and the violations an operator reads."""

from typing import Any

from botconsole.sandbox.errors import PlatformError
from botconsole.sandbox.grants import GROUP_MESSAGES, TO_THE_BOT, WITH_A_MENTION, granted
from botconsole.sandbox.store import Row
from botconsole.sandbox.world import World

AS_OWNER = "im:chat:operate_as_owner"


def need(world: World, *scopes: str, code: int = 99991672) -> None:
    """One of `scopes` must be granted; which ones would do stands in `error.permission_violations`."""
    missing = world.missing_scopes
    if not granted(scopes, missing):
        violations = [{"type": "action_scope_required", "subject": scope} for scope in scopes]
        raise PlatformError(code, f"ext=scopes: {', '.join(scopes)}", permission_violations=violations)


def may_read(world: World, chat: Row) -> None:
    """What is said in groups needs a sensitive scope of its own: 230027 without it."""
    if chat["mode"] != "p2p":
        need(world, GROUP_MESSAGES, code=230027)


def hears(world: World, chat: Row, mentions: list[dict[str, Any]]) -> bool:
    """Whether a message is pushed: conversations, mentions and all the rest of a group have a scope each."""
    if not chat["bot_in"]:
        return False
    missing = world.missing_scopes
    if chat["mode"] == "p2p":
        return granted(TO_THE_BOT, missing)
    mentioned = any(one["id"] == world.config.bot_open_id for one in mentions)
    return GROUP_MESSAGES not in missing or (mentioned and granted(WITH_A_MENTION, missing))


def is_owner(world: World, chat: Row) -> bool:
    """Whether the bot owns the chat, or made it and may act as its owner."""
    return bool(not chat["owner_id"] or (chat["by_app"] and AS_OWNER not in world.missing_scopes))
