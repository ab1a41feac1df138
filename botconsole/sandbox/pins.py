"""Pins: pin, unpin and list; pinning what is pinned answers the first pin."""

from typing import Any

from botconsole.sandbox.call import Call
from botconsole.sandbox.chats import is_manager, setting
from botconsole.sandbox.clock import wall_ms
from botconsole.sandbox.errors import PlatformError
from botconsole.sandbox.store import Row
from botconsole.sandbox.world import World

Json = dict[str, Any]


def _chat(chat: Row | None) -> Row:
    if chat is None:
        raise PlatformError(230001, "ext=invalid chat_id")
    if chat["status"] != "normal":
        raise PlatformError(230045)
    if not chat["bot_in"]:
        raise PlatformError(230002)
    return chat


def _message(world: World, message_id: str) -> Row:
    """The message to pin or unpin, if the bot may: five times a second each."""
    message = world.message(message_id)
    if message is None:
        raise PlatformError(230001, "ext=invalid message_id")
    chat = _chat(world.chat(message["chat_id"]))
    if message["only_for"]:
        raise PlatformError(230050)
    if chat["mode"] != "p2p" and setting(chat, "pin_manage_setting") == "only_owner" and not is_manager(chat):
        raise PlatformError(230046)
    world.limits.count_message(f"pin {message_id}", code=230047)
    return message


def view(pin: Row) -> Json:
    return {
        "message_id": pin["message_id"],
        "chat_id": pin["chat_id"],
        "operator_id": pin["operator_id"],
        "operator_id_type": pin["operator_id_type"],
        "create_time": str(pin["create_ms"]),
    }


def create(world: World, call: Call) -> Json:
    message = _message(world, call.text("message_id", required=True))
    if message["deleted"]:
        raise PlatformError(230011)
    world.store.run(
        "INSERT OR IGNORE INTO pins VALUES (?, ?, ?, 'app_id', ?)",
        message["message_id"],
        message["chat_id"],
        world.config.app_id,
        wall_ms(),
    )
    world.touch(message["message_id"])
    pin = world.store.row("SELECT * FROM pins WHERE message_id = ?", message["message_id"])
    return {"pin": view(pin)} if pin else {}


def remove(world: World, call: Call) -> Json:
    """Also of what is not pinned."""
    message = _message(world, call.params["message_id"])
    world.store.run("DELETE FROM pins WHERE message_id = ?", message["message_id"])
    world.touch(message["message_id"])
    return {}


def listed(world: World, call: Call) -> Json:
    """The newest first; start_time and end_time in milliseconds."""
    chat = _chat(world.chat(call.query.get("chat_id", "")))
    size, start = call.page_size(50), call.page_token()
    times = [
        call.query.get(name) or default for name, default in (("start_time", "0"), ("end_time", "9" * 13))
    ]
    if not all(text.isascii() and text.isdigit() and len(text) <= 13 for text in times):
        raise PlatformError(230001, "ext=start_time and end_time are times in milliseconds")
    rows = world.store.rows(
        "SELECT * FROM pins WHERE chat_id = ? AND create_ms BETWEEN ? AND ?"
        " ORDER BY create_ms DESC, rowid DESC LIMIT ? OFFSET ?",
        chat["chat_id"],
        *map(int, times),
        size + 1,
        start,
    )
    told: Json = {"items": [view(row) for row in rows[:size]], "has_more": len(rows) > size}
    return {**told, "page_token": f"pt_{start + size}"} if told["has_more"] else told
