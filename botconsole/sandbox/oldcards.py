"""The card calls older than im/v1: the delayed update by a press's token, and cards for one person."""

import json
from typing import Any

from botconsole.sandbox.call import Call, invalid
from botconsole.sandbox.cardrules import is_second_schema, is_shared, parse_card
from botconsole.sandbox.content import rules
from botconsole.sandbox.errors import PlatformError
from botconsole.sandbox.messages import check_schema, sendable
from botconsole.sandbox.people import ID_KINDS, find
from botconsole.sandbox.store import Row
from botconsole.sandbox.world import World

Json = dict[str, Any]
TOKEN_SECONDS, MOST_USES, LARGEST_CARD_BYTES = 1800, 2, 100 * 1024
EPHEMERAL_PER_SECOND = 40


def remember_press(world: World, token: str, message_id: str) -> None:
    """A press's token; it is good once the app has answered the callback."""
    world.store.insert("presses", token=token, message_id=message_id, at=world.clock.now())


def press_answered(world: World, token: str) -> None:
    world.store.run("UPDATE presses SET answered = 1 WHERE token = ?", token)


def _press(world: World, token: str) -> Row:
    """The press of this token, which may still be used; both times it is counted by the caller."""
    press = world.store.row("SELECT * FROM presses WHERE token = ?", token)
    if press is None:
        raise PlatformError(300020)
    if world.clock.now() - press["at"] > TOKEN_SECONDS:
        raise PlatformError(300030)
    if not press["answered"]:
        raise PlatformError(300020, "ext=the callback was not answered yet, update the card after that")
    if press["uses"] >= MOST_USES:
        raise PlatformError(300040)
    return press


def update(world: World, call: Call) -> Json:
    """Replaces the card that was pressed; `card` is an object here, no string."""
    token, card = call.text("token", required=True, code=10002), call.body.get("card")
    if not isinstance(card, dict):
        raise PlatformError(100030, "ext=card must be an object")
    press = _press(world, token)
    message = world.message(press["message_id"])
    if message is None or message["deleted"]:
        raise PlatformError(200000)
    card = dict(card)
    open_ids = card.pop("open_ids", None)
    _check_open_ids(world, card, open_ids)
    content = json.dumps(card, ensure_ascii=False)
    if len(content.encode()) > LARGEST_CARD_BYTES:
        raise PlatformError(100000)
    _check_card(world, card, json.loads(message["content"]))
    world.store.run("UPDATE presses SET uses = uses + 1 WHERE token = ?", token)
    if open_ids:
        world.show_to(message, content, open_ids)
    else:
        world.change_message(message, content=content, updated=1)
    return {}


def _check_open_ids(world: World, card: Json, open_ids: Any) -> None:
    """Only a card of 1.0 that is not shared names the people who see the update, and it must."""
    if not is_second_schema(card) and not is_shared(card) and not open_ids:
        raise PlatformError(300090)
    if open_ids is None:
        return
    good = isinstance(open_ids, list) and all(
        isinstance(one, str) and world.person(one) is not None for one in open_ids
    )
    if is_second_schema(card) or is_shared(card) or not good:
        raise PlatformError(200320)


def _check_card(world: World, card: Json, old: Json) -> None:
    try:
        rules(world).check(card)
        check_schema(old, card)
    except PlatformError as error:
        raise PlatformError(100030, error.message) from None


def send(world: World, call: Call) -> Json:
    """A card that one member of an ordinary group sees, and history does not."""
    chat = world.chat(call.text("chat_id", required=True))
    if chat is None:
        raise PlatformError(230001, "ext=invalid chat_id")
    sendable(chat)
    if chat["mode"] != "group":
        raise PlatformError(230001, "ext=only ordinary groups take ephemeral messages")
    if call.text("msg_type", required=True) != "interactive":
        raise PlatformError(230001, "ext=msg_type must be interactive")
    card = call.body.get("card")
    if not isinstance(card, dict):
        raise invalid("card", "card must be an object, not a string")
    person = _reader(world, chat, call)
    content = json.dumps(card, ensure_ascii=False)
    rules(world).check(parse_card(content))
    world.limits.count_message(f"ephemeral {chat['chat_id']}", EPHEMERAL_PER_SECOND, 11232)
    sender = (world.config.app_id, "app")
    message = world.add_message(
        chat["chat_id"], sender, "interactive", content, [], None, only_for=person["open_id"]
    )
    return {"message_id": message["message_id"]}


def _reader(world: World, chat: Row, call: Call) -> Row:
    """The member named by open_id, user_id or email."""
    named = [(kind, call.text(kind)) for kind in (*ID_KINDS, "email") if call.text(kind)]
    if not named:
        raise invalid("open_id", "open_id, user_id or email is required")
    person = find(world, *named[0])
    if person is None or not world.is_member(chat, person["open_id"]):
        raise PlatformError(230001, f"ext={named[0][0]} is not in the chat")
    return person


def delete(world: World, call: Call) -> Json:
    message = world.message(call.text("message_id", required=True))
    if message is None or not message["only_for"] or message["deleted"]:
        raise PlatformError(18051)
    world.change_message(message, deleted=1)
    return {}
