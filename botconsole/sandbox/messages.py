"""The message endpoints that write: send, reply, edit, patch a card, recall."""

import json
from typing import Any

from botconsole.sandbox.call import Call, invalid
from botconsole.sandbox.cardrules import is_second_schema, is_shared, mentions_all, parse_card
from botconsole.sandbox.chats import is_manager, setting
from botconsole.sandbox.content import checked, rules
from botconsole.sandbox.errors import PlatformError, card_error
from botconsole.sandbox.history import known, view
from botconsole.sandbox.people import ID_KINDS, find, refuse_foreign
from botconsole.sandbox.store import Row
from botconsole.sandbox.world import World

Json = dict[str, Any]
UUID_SECONDS, PATCH_SECONDS, RECALL_SECONDS, MOST_EDITS = 3600, 14 * 86400, 365 * 86400, 20


def _receiver(world: World, kind: str, value: str) -> Row:
    """The chat a message goes to; a person's p2p chat is opened when the first message needs it."""
    if kind == "chat_id":
        chat = world.chat(value)
        if chat is None:
            raise PlatformError(230001, "ext=invalid receive_id")
        return chat
    refuse_foreign(world, kind, [value])
    person = find(world, kind, value)
    if person is None:
        code = {"open_id": 99992351, "email": 230034}.get(kind, 99992360)
        raise PlatformError(code, f"Invalid ids: [{value}]")
    reachable(person)
    return world.conversation(person, by_bot=True)[0]


def reachable(person: Row) -> None:
    """Whether the app may write to a person at all."""
    if person["resigned"]:
        raise PlatformError(230029)
    if not person["visible"]:
        raise PlatformError(230013)


def sendable(chat: Row) -> Row:
    if chat["status"] != "normal":
        raise PlatformError(232009)
    if not chat["bot_in"]:
        raise PlatformError(230002)
    return chat


def is_own(world: World, message: Row) -> bool:
    return bool(message["sender_type"] == "app" and message["sender_id"] == world.config.app_id)


def _send(world: World, call: Call, chat_of: Row | None, parent: Row | None, kind: str = "") -> Json:
    uuid = call.text("uuid", 50)
    receive_id = "" if chat_of else call.text("receive_id", required=True)
    first = world.seen_uuid("message", uuid, UUID_SECONDS)
    if first and (sent := world.message(first)):
        return view(world, sent, raw_cards=True)
    msg_type, content, mentions = checked(world, call)
    chat = chat_of or _receiver(world, kind, receive_id)
    _check_settings(world, chat, msg_type, content)
    world.limits.count_message(chat["chat_id"])
    sender, in_thread = (world.config.app_id, "app"), call.body.get("reply_in_thread") is True
    message = world.add_message(chat["chat_id"], sender, msg_type, content, mentions, parent, in_thread)
    world.keep_uuid("message", uuid, message["message_id"])
    return view(world, message, raw_cards=True)


def _check_settings(world: World, chat: Row, msg_type: str, content: str) -> None:
    """What the kind of chat and the group's settings forbid a bot that does not manage it."""
    sendable(chat)
    if chat["mode"] == "p2p":
        reachable(world.must_person(chat["person"]))
    if msg_type == "system" and chat["mode"] != "p2p":
        raise PlatformError(230001, "ext=system messages are for conversations only")
    if chat["mode"] == "p2p" or is_manager(chat):
        return
    if setting(chat, "moderation_permission") == "only_owner":
        raise PlatformError(230018)
    everyone = msg_type == "interactive" and mentions_all(json.loads(content))
    if everyone and setting(chat, "at_all_permission") == "only_owner":
        raise card_error(100290, "invalid user resource(at/person)", "all is not allowed in this chat")


def create(world: World, call: Call) -> Json:
    kind = call.choice("receive_id_type", ("chat_id", *ID_KINDS, "email"))
    return _send(world, call, None, None, kind)


def reply(world: World, call: Call) -> Json:
    parent = known(world, call.params["message_id"])
    if parent["deleted"]:
        raise PlatformError(230011)
    if not isinstance(call.body.get("reply_in_thread", False), bool):
        raise invalid("reply_in_thread", "reply_in_thread must be a boolean")
    chat = world.must_chat(parent["chat_id"])
    return _send(world, call, chat, parent)


def _own(world: World, call: Call, msg_types: tuple[str, ...]) -> Row:
    """The own message of the path, of one of these types and not recalled."""
    message = known(world, call.params["message_id"])
    sendable(world.must_chat(message["chat_id"]))
    if not is_own(world, message):
        raise PlatformError(230071)
    if message["msg_type"] not in msg_types:
        raise PlatformError(230054)
    if message["deleted"]:
        raise PlatformError(230011)
    return message


def edit(world: World, call: Call) -> Json:
    """Replaces the text or post of an own message, up to 20 times."""
    message = _own(world, call, ("text", "post"))
    if call.text("msg_type", required=True) not in ("text", "post"):
        raise PlatformError(230001, "ext=msg_type must be text or post")
    msg_type, content, mentions = checked(world, call)
    if message["edits"] >= MOST_EDITS:
        raise PlatformError(230072)
    changed = world.change_message(
        message,
        msg_type=msg_type,
        content=content,
        mentions=json.dumps(mentions, ensure_ascii=False),
        updated=1,
        edits=message["edits"] + 1,
    )
    return view(world, changed)


def patch(world: World, call: Call) -> Json:
    """Replaces the card of an own message: shared before and after, at most 14 days old."""
    message = _own(world, call, ("interactive",))
    if world.clock.now() - message["sent_at"] > PATCH_SECONDS:
        raise PlatformError(230031)
    content = call.body.get("content")
    if not isinstance(content, str) or not content:
        raise invalid("content", "content must be a string (JSON, serialised)")
    card, old = parse_card(content), json.loads(message["content"])
    rules(world).check(card)
    if not (is_shared(old) and is_shared(card)):
        raise PlatformError(230001, "ext=update_multi must be true in the card before and after the update")
    check_schema(old, card)
    world.limits.count_message(f"patch {message['message_id']}")
    world.change_message(message, content=content, updated=1)
    return {}


def check_schema(old: Json, new: Json) -> None:
    """A 2.0 card does not become a 1.0 card."""
    if is_second_schema(old) and not is_second_schema(new):
        raise card_error(200830, "a card of schema 2.0 can not become one of 1.0")


def recall(world: World, call: Call) -> Json:
    """Own messages; others' only where the bot owns, manages or made the group, and for a year."""
    message = known(world, call.params["message_id"])
    chat = world.must_chat(message["chat_id"])
    sendable(chat)
    manages = chat["mode"] != "p2p" and (not chat["owner_id"] or chat["bot_manager"] or chat["by_app"])
    too_old = world.clock.now() - message["sent_at"] > RECALL_SECONDS
    if not is_own(world, message) and (not manages or too_old):
        raise PlatformError(230026)
    if message["deleted"]:
        raise PlatformError(230011)
    world.change_message(message, deleted=1)
    return {}
