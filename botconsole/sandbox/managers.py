"""The managers of a chat: only its owner names and dismisses them."""

from typing import Any

from botconsole.sandbox.call import Call
from botconsole.sandbox.chats import group
from botconsole.sandbox.errors import PlatformError
from botconsole.sandbox.people import ID_KINDS, find
from botconsole.sandbox.scopes import is_owner
from botconsole.sandbox.store import Row
from botconsole.sandbox.world import World

Json = dict[str, Any]
MOST_MANAGERS, MOST_BOT_MANAGERS = 10, 5


def _change(world: World, call: Call, add: bool) -> Json:
    chat = group(world, call.params["chat_id"])
    kind = call.choice("member_id_type", (*ID_KINDS, "app_id"), "open_id")
    if not is_owner(world, chat):
        raise PlatformError(232002)
    most = MOST_BOT_MANAGERS if kind == "app_id" else MOST_MANAGERS
    wanted = list(dict.fromkeys(call.texts("manager_ids", 50, 232001)))
    if not wanted:
        raise PlatformError(232001, "ext=manager_ids is required")
    if kind == "app_id":
        _change_bot(world, chat, wanted, add)
    else:
        _change_people(world, chat, _members(world, chat, kind, wanted), add, most)
    world.changes.publish("state")
    chat = world.must_chat(chat["chat_id"])
    bots = [world.config.app_id] if chat["bot_manager"] else []
    shown = "open_id" if kind == "app_id" else kind
    people = [person[shown] for person in world.managers(chat["chat_id"])]
    return {"chat_managers": people, "chat_bot_managers": bots}


def _change_bot(world: World, chat: Row, wanted: list[str], add: bool) -> None:
    if wanted != [world.config.app_id]:
        raise PlatformError(232004)
    world.store.run("UPDATE chats SET bot_manager = ? WHERE chat_id = ?", int(add), chat["chat_id"])


def _members(world: World, chat: Row, kind: str, wanted: list[str]) -> list[str]:
    """The open_ids of people who are all in the chat."""
    people = [find(world, kind, value) for value in wanted]
    inside = [one["open_id"] for one in people if one and world.is_member(chat, one["open_id"])]
    if len(inside) < len(wanted):
        raise PlatformError(232043, "ext=manager_ids must be members of the chat")
    return inside


def _change_people(world: World, chat: Row, wanted: list[str], add: bool, most: int) -> None:
    known = {person["open_id"] for person in world.managers(chat["chat_id"])}
    if add and len(known | {*wanted}) > most:
        raise PlatformError(232044)
    sql = "INSERT OR IGNORE INTO managers VALUES (?, ?)"
    if not add:
        sql = "DELETE FROM managers WHERE chat_id = ? AND open_id = ?"
    for open_id in wanted:
        world.store.run(sql, chat["chat_id"], open_id)


def add_managers(world: World, call: Call) -> Json:
    return _change(world, call, add=True)


def delete_managers(world: World, call: Call) -> Json:
    return _change(world, call, add=False)
