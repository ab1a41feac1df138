"""The message endpoints: send, reply, patch a card, get, recall."""

import json
from typing import Any

from botconsole.sandbox.call import Call, invalid
from botconsole.sandbox.cardrules import is_second_schema, is_shared, parse_card
from botconsole.sandbox.content import checked, degraded, rules
from botconsole.sandbox.errors import PlatformError
from botconsole.sandbox.people import ID_KINDS, find
from botconsole.sandbox.store import Row
from botconsole.sandbox.world import World

Json = dict[str, Any]
UUID_SECONDS, PATCH_SECONDS = 3600, 14 * 86400
RECALLED = "This message was recalled"
IN_CHAT = (
    "SELECT * FROM messages WHERE chat_id = ? AND create_ms >= ? AND create_ms < ?"
    " ORDER BY create_ms {0}, number {0} LIMIT ? OFFSET ?"
)


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
        tenant = world.config.tenant_key
        told["mentions"] = [
            {
                "key": one["key"],
                "id": one["id"],
                "id_type": "open_id",
                "name": one["name"],
                "tenant_key": tenant,
            }
            for one in mentions
        ]
    if message["root_id"]:
        told |= {"root_id": message["root_id"], "parent_id": message["parent_id"]}
    return told


def _receiver(world: World, kind: str, value: str) -> Row:
    """The chat a message goes to; a person's p2p chat is opened when the first message needs it."""
    if kind == "chat_id":
        chat = world.chat(value)
        if chat is None:
            raise PlatformError(230001, "ext=invalid receive_id")
        return sendable(chat)
    person = find(world, kind, value)
    if person is None:
        code = {"open_id": 99992351, "email": 230034}.get(kind, 99992360)
        raise PlatformError(code, f"Invalid ids: [{value}]")
    if not person["visible"]:
        raise PlatformError(230013)
    return world.conversation(person, by_bot=True)[0]


def sendable(chat: Row) -> Row:
    if chat["status"] != "normal":
        raise PlatformError(232009)
    if not chat["bot_in"]:
        raise PlatformError(230002)
    return chat


def _send(world: World, call: Call, chat_of: Row | None, parent: Row | None, kind: str = "") -> Json:
    uuid = call.text("uuid", 50)
    receive_id = "" if chat_of else call.text("receive_id", required=True)
    first = world.seen_uuid("message", uuid, UUID_SECONDS)
    if first and (known := world.message(first)):
        return view(world, known, raw_cards=True)
    msg_type, content, mentions = checked(world, call)
    chat = chat_of or _receiver(world, kind, receive_id)
    world.limits.count_message(chat["chat_id"])
    sender = (world.config.app_id, "app")
    message = world.add_message(chat["chat_id"], sender, msg_type, content, mentions, parent)
    world.keep_uuid("message", uuid, message["message_id"])
    return view(world, message, raw_cards=True)


def create(world: World, call: Call) -> Json:
    kind = call.choice("receive_id_type", ("chat_id", *ID_KINDS, "email"))
    return _send(world, call, None, None, kind)


def known(world: World, call: Call) -> Row:
    """The message of the path; recalled ones are found too."""
    message = world.message(call.params["message_id"])
    if message is None:
        raise PlatformError(230001, "ext=invalid message_id")
    return message


def reply(world: World, call: Call) -> Json:
    parent = known(world, call)
    if parent["deleted"]:
        raise PlatformError(230011)
    chat = world.must_chat(parent["chat_id"])
    return _send(world, call, sendable(chat), parent)


def patch(world: World, call: Call) -> Json:
    """Replaces the card of an own message: shared before and after, at most 14 days old."""
    message = known(world, call)
    sendable(world.must_chat(message["chat_id"]))
    if message["sender_type"] != "app" or message["sender_id"] != world.config.app_id:
        raise PlatformError(230071)
    if message["msg_type"] != "interactive":
        raise PlatformError(230054)
    if message["deleted"]:
        raise PlatformError(230011)
    if world.clock.now() - message["sent_at"] > PATCH_SECONDS:
        raise PlatformError(230031)
    content = call.body.get("content")
    if not isinstance(content, str) or not content:
        raise invalid("content", "content must be a string (JSON, serialised)")
    card = parse_card(content)
    rules(world).check(card)
    check_replacement(json.loads(message["content"]), card)
    world.limits.count_message(f"patch {message['message_id']}")
    world.change_message(message, content=content, updated=1)
    return {}


def check_replacement(old: Json, new: Json) -> None:
    """Both cards must be shared ones, and a 2.0 card does not become a 1.0 card."""
    if not (is_shared(old) and is_shared(new)):
        raise PlatformError(230001, "ext=update_multi must be true in the card before and after the update")
    if is_second_schema(old) and not is_second_schema(new):
        raise PlatformError(
            230099, "ext=ErrCode: 200830; ErrMsg: a card of schema 2.0 can not become one of 1.0; "
        )


def get(world: World, call: Call) -> Json:
    message = known(world, call)
    chat = world.must_chat(message["chat_id"])
    if not chat["bot_in"]:
        raise PlatformError(230002)
    raw = call.query.get("card_msg_content_type") == "user_card_content"
    return {"items": [view(world, message, raw)]}


def recall(world: World, call: Call) -> Json:
    """Own messages; others' only where the bot owns the chat."""
    message = known(world, call)
    chat = world.must_chat(message["chat_id"])
    sendable(chat)
    if message["sender_type"] != "app" and (chat["mode"] == "p2p" or chat["owner_id"]):
        raise PlatformError(230026)
    if message["deleted"]:
        raise PlatformError(230011)
    world.change_message(message, deleted=1)
    return {}


def history(world: World, call: Call) -> Json:
    """A chat's messages: start and end in seconds, item times in milliseconds, pages of 1 to 50."""
    kind = call.choice("container_id_type", ("chat", "thread"))
    size, start = call.page_size(50), call.page_token()
    order = call.choice("sort_type", ("ByCreateTimeAsc", "ByCreateTimeDesc"), "ByCreateTimeAsc")
    chat = world.chat(call.query.get("container_id", "")) if kind == "chat" else None
    if chat is None:
        raise PlatformError(230001, "ext=invalid container_id")
    if not chat["bot_in"]:
        raise PlatformError(230002)
    begin, end = _seconds(call, "start_time", 0), _seconds(call, "end_time", 9_999_999_999)
    if begin > end:
        raise PlatformError(230001, "ext=start_time is after end_time")
    way = "ASC" if order.endswith("Asc") else "DESC"
    rows = world.store.rows(
        IN_CHAT.format(way),
        chat["chat_id"],
        begin * 1000,
        (end + 1) * 1000,
        size + 1,
        start,
    )
    raw = call.query.get("card_msg_content_type") == "user_card_content"
    told: Json = {"has_more": len(rows) > size}
    if told["has_more"]:
        told["page_token"] = f"pt_{start + size}"
    return {**told, "items": [view(world, row, raw) for row in rows[:size]]}


def _seconds(call: Call, name: str, default: int) -> int:
    text = call.query.get(name) or ""
    if not text:
        return default
    if not text.isdigit() or len(text) > 10:
        raise PlatformError(230001, f"ext={name} must be a time in seconds")
    return int(text)
