"""The chat member endpoints: add with its three kinds of success, list, remove, is the bot in it."""

from typing import Any

from botconsole.sandbox.call import Call, page
from botconsole.sandbox.chats import MOST_BOTS, MOST_USERS, group, may_operate, setting
from botconsole.sandbox.doings import move_bot
from botconsole.sandbox.errors import PlatformError
from botconsole.sandbox.people import ID_KINDS, find, refuse_foreign
from botconsole.sandbox.world import World

FAIL_ON_UNKNOWN, WHAT_IS_POSSIBLE, ALL_OR_NOTHING = "0", "1", "2"
LARGEST_GROUP = 5000


def add(world: World, call: Call) -> dict[str, Any]:
    """succeed_type 0 and 2 fail on ids that are unknown or hidden, 1 adds the rest."""
    chat = group(world, call.params["chat_id"])
    kind = call.choice("member_id_type", (*ID_KINDS, "app_id"), "open_id")
    mode = call.choice("succeed_type", (FAIL_ON_UNKNOWN, WHAT_IS_POSSIBLE, ALL_OR_NOTHING), FAIL_ON_UNKNOWN)
    ids = list(dict.fromkeys(call.texts("id_list", MOST_BOTS if kind == "app_id" else MOST_USERS, 232001)))
    if not ids:
        raise PlatformError(232001, "ext=id_list is required")
    refuse_foreign(world, kind, ids)
    if not may_operate(world, chat) and setting(chat, "add_member_permission") == "only_owner":
        raise PlatformError(232017)
    found = {value: find(world, kind, value) for value in ids}
    missing = [value for value, person in found.items() if person is None]
    people = [person for person in found.values() if person is not None]
    gone = [person[kind] for person in people if person["resigned"]]
    hidden = [person[kind] for person in people if not person["visible"] and not person["resigned"]]
    if mode != WHAT_IS_POSSIBLE:
        for code, bad in ((232043, missing), (232022, gone), (232024, hidden)):
            if bad:
                raise PlatformError(code, f"ext=ids: {', '.join(bad)}")
    if world.member_count(chat["chat_id"]) + len(people) > LARGEST_GROUP:
        raise PlatformError(232013)
    good = [person for person in people if person["visible"] and not person["resigned"]]
    pending: list[str] = []
    if setting(chat, "membership_approval") == "approval_required" and not may_operate(world, chat):
        good, pending = [], [person[kind] for person in good]
    world.join(chat, good, world.bot)
    told = {"invalid_id_list": gone + hidden, "not_existed_id_list": missing}
    return {**told, "pending_approval_id_list": pending}


def members(world: World, call: Call) -> dict[str, Any]:
    """People only: bots are not listed, and the total counts people."""
    chat = group(world, call.params["chat_id"])
    kind = call.choice("member_id_type", ID_KINDS, "open_id")
    size, start = call.page_size(100), call.page_token()
    everyone = world.members(chat["chat_id"])
    told = [
        {
            "member_id_type": kind,
            "member_id": person[kind],
            "name": person["name"],
            "tenant_key": world.config.tenant_key,
        }
        for person in everyone[start : start + size + 1]
    ]
    return {**page(told, size, start, keep_empty_token=True), "member_total": len(everyone)}


def remove(world: World, call: Call) -> dict[str, Any]:
    """People by whoever manages the group; the bot itself, by its app_id, may always leave."""
    chat = group(world, call.params["chat_id"])
    kind = call.choice("member_id_type", (*ID_KINDS, "app_id"), "open_id")
    ids = list(dict.fromkeys(call.texts("id_list", MOST_USERS, 232001)))
    if kind == "app_id":
        if ids == [world.config.app_id]:
            move_bot(world, chat, inside=False)
            return {"invalid_id_list": []}
        return {"invalid_id_list": ids}
    if not may_operate(world, chat):
        raise PlatformError(232002)
    found = {value: find(world, kind, value) for value in ids}
    world.leave(chat, [person for person in found.values() if person is not None], world.bot)
    return {"invalid_id_list": [value for value, person in found.items() if person is None]}


def is_in_chat(world: World, call: Call) -> dict[str, Any]:
    chat = world.chat(call.params["chat_id"])
    if chat is None:
        raise PlatformError(232006)
    return {"is_in_chat": bool(chat["bot_in"] and chat["status"] == "normal")}
