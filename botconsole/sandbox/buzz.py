"""Buzzing: pointing people at an own message so that their telephone says so."""

from typing import Any

from botconsole.sandbox.call import Call
from botconsole.sandbox.chats import is_manager, setting
from botconsole.sandbox.errors import PlatformError
from botconsole.sandbox.history import known
from botconsole.sandbox.messages import is_own, sendable
from botconsole.sandbox.people import ID_KINDS, find
from botconsole.sandbox.world import World

MOST_PEOPLE, MOST_UNREAD = 200, 200


def urgent_app(world: World, call: Call) -> dict[str, Any]:
    """Who is not in the chat is listed; 230001 if that is everybody."""
    kind = call.choice("user_id_type", ID_KINDS, "")
    message = known(world, call.params["message_id"])
    chat = sendable(world.must_chat(message["chat_id"]))
    if not is_own(world, message):
        raise PlatformError(230012)
    if message["deleted"]:
        raise PlatformError(230011)
    wanted = list(dict.fromkeys(call.texts("user_id_list", MOST_PEOPLE, 230001)))
    if chat["mode"] != "p2p" and setting(chat, "urgent_setting") == "only_owner" and not is_manager(chat):
        raise PlatformError(230052)
    people = {value: find(world, kind, value) for value in wanted}
    inside = [one["open_id"] for one in people.values() if one and world.is_member(chat, one["open_id"])]
    if not inside:
        raise PlatformError(230001, "ext=user_id_list has nobody who is in the chat")
    if full := [one for one in inside if _unread(world, one, message["message_id"]) >= MOST_UNREAD]:
        raise PlatformError(230023, f"ext=ids: {', '.join(full)}")
    for open_id in inside:
        world.store.run(
            "INSERT INTO buzzes (message_id, open_id) VALUES (?, ?)"
            " ON CONFLICT (message_id, open_id) DO UPDATE SET times = times + 1",
            message["message_id"],
            open_id,
        )
    world.touch(message["message_id"])
    lost = [value for value, one in people.items() if one is None or one["open_id"] not in inside]
    return {"invalid_user_id_list": lost}


def _unread(world: World, open_id: str, message_id: str) -> int:
    """How many other messages a person was buzzed about; nobody reads them here, but a recall takes one away."""
    return world.store.number(
        "SELECT count(*) FROM buzzes JOIN messages USING (message_id)"
        " WHERE open_id = ? AND message_id != ? AND deleted = 0",
        open_id,
        message_id,
    )
