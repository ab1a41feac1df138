"""How messages are read: one message, a chat's history, a thread."""

import json
from typing import Any

from botconsole.sandbox.call import Call
from botconsole.sandbox.content import degraded
from botconsole.sandbox.errors import PlatformError
from botconsole.sandbox.scopes import may_read
from botconsole.sandbox.store import Row
from botconsole.sandbox.world import World

Json = dict[str, Any]
RECALLED = "This message was recalled"
IN_CHAT = "chat_id = ? AND in_thread = 0 AND only_for = '' AND create_ms >= ? AND create_ms < ?"
IN_THREAD = "thread_id = ? AND only_for = ''"


def view(world: World, message: Row, raw_cards: bool = False) -> Json:
    """A message as answers and history show it; times in milliseconds, mention ids are strings."""
    content = message["content"]
    if message["deleted"]:
        content = RECALLED
    elif message["msg_type"] == "interactive" and not raw_cards:
        content = degraded(content)
    by_app = message["sender_type"] == "app"
    told: Json = {
        "message_id": message["message_id"],
        "msg_type": message["msg_type"],
        "create_time": str(message["create_ms"]),
        "update_time": str(message["update_ms"]),
        "deleted": bool(message["deleted"]),
        "updated": bool(message["updated"]),
        "chat_id": message["chat_id"],
        "sender": {
            "id": message["sender_id"],
            "id_type": "app_id" if by_app else "open_id",
            "sender_type": message["sender_type"],
            "tenant_key": world.config.tenant_key,
        },
        "body": {"content": content},
    }
    if mentions := json.loads(message["mentions"]):
        told["mentions"] = [_mention(world, one) for one in mentions]
    if message["root_id"]:
        told |= {"root_id": message["root_id"], "parent_id": message["parent_id"]}
    if message["thread_id"]:
        told["thread_id"] = message["thread_id"]
    return told


def _mention(world: World, one: Json) -> Json:
    return {
        "key": one["key"],
        "id": one["id"],
        "id_type": "open_id",
        "name": one["name"],
        "tenant_key": world.config.tenant_key,
    }


def known(world: World, message_id: str) -> Row:
    """The message with this id; recalled ones are found too, those of a single person are not."""
    message = world.message(message_id)
    if message is None or message["only_for"]:
        raise PlatformError(230001, "ext=invalid message_id")
    return message


def get(world: World, call: Call) -> Json:
    message = known(world, call.params["message_id"])
    _readable(world, world.must_chat(message["chat_id"]))
    raw = call.query.get("card_msg_content_type") == "user_card_content"
    return {"items": [view(world, message, raw)]}


def _readable(world: World, chat: Row) -> None:
    """The bot must be in the chat and allowed to read there; what was said in a dissolved one is lost."""
    if chat["status"] != "normal":
        raise PlatformError(232009)
    if not chat["bot_in"]:
        raise PlatformError(230002)
    may_read(world, chat)


def history(world: World, call: Call) -> Json:
    """Pages of 1 to 50: of a chat what is not inside a thread, of a thread all of it, its root first."""
    kind = call.choice("container_id_type", ("chat", "thread"))
    size, start = call.page_size(50), call.page_token()
    order = call.choice("sort_type", ("ByCreateTimeAsc", "ByCreateTimeDesc"), "ByCreateTimeAsc")
    container = call.query.get("container_id", "")
    _readable(world, _chat_of(world, kind, container))
    begin, end = _seconds(call, "start_time", 0), _seconds(call, "end_time", 9_999_999_999)
    if begin > end:
        raise PlatformError(230001, "ext=start_time is after end_time")
    values = (container, begin * 1000, (end + 1) * 1000) if kind == "chat" else (container,)
    way = "ASC" if order.endswith("Asc") else "DESC"
    rows = world.store.rows(
        f"SELECT * FROM messages WHERE {IN_CHAT if kind == 'chat' else IN_THREAD}"  # noqa: S608 (our own words)
        f" ORDER BY create_ms {way}, number {way} LIMIT ? OFFSET ?",
        *values,
        size + 1,
        start,
    )
    raw = call.query.get("card_msg_content_type") == "user_card_content"
    told: Json = {"has_more": len(rows) > size}
    if told["has_more"]:
        told["page_token"] = f"pt_{start + size}"
    return {**told, "items": [view(world, row, raw) for row in rows[:size]]}


def _chat_of(world: World, kind: str, container: str) -> Row:
    chat = None
    if kind == "chat":
        chat = world.chat(container)
    elif container:
        found = world.store.row("SELECT chat_id FROM messages WHERE thread_id = ? LIMIT 1", container)
        chat = world.chat(found["chat_id"]) if found else None
    if chat is None:
        raise PlatformError(230001, "ext=invalid container_id")
    return chat


def _seconds(call: Call, name: str, default: int) -> int:
    text = call.query.get(name) or ""
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 10:
        raise PlatformError(230001, f"ext={name} must be a time in seconds")
    return int(text)
