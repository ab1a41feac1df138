"""The chat endpoints: create, get, update, dissolve, link."""

import json
import secrets
import time
from typing import Any

from botconsole.sandbox import payloads
from botconsole.sandbox.call import Call
from botconsole.sandbox.errors import PlatformError
from botconsole.sandbox.people import ID_KINDS, find, refuse_foreign
from botconsole.sandbox.scopes import is_owner
from botconsole.sandbox.store import Row
from botconsole.sandbox.world import World

CHAT_UUID_SECONDS = 10 * 3600
LONGEST_NAME, MOST_USERS, MOST_BOTS = 60, 50, 5
DEFAULTS: dict[str, Any] = {
    "avatar": "",
    "description": "",
    "i18n_names": {},
    "urgent_setting": "all_members",
    "pin_manage_setting": "all_members",
    "video_conference_setting": "all_members",
    "add_member_permission": "all_members",
    "share_card_permission": "allowed",
    "at_all_permission": "all_members",
    "edit_permission": "all_members",
    "group_message_type": "chat",
    "chat_type": "private",
    "join_message_visibility": "all_members",
    "leave_message_visibility": "all_members",
    "membership_approval": "no_approval_required",
    "moderation_permission": "all_members",
    "hide_member_count_setting": "all_members",
}
EVERYONE_OR_OWNER = ("all_members", "only_owner")
SEEN_BY = ("all_members", "only_owner", "not_anyone")
ALLOWED: dict[str, tuple[str, ...]] = {
    "urgent_setting": EVERYONE_OR_OWNER,
    "pin_manage_setting": EVERYONE_OR_OWNER,
    "video_conference_setting": EVERYONE_OR_OWNER,
    "add_member_permission": EVERYONE_OR_OWNER,
    "share_card_permission": ("allowed", "not_allowed"),
    "at_all_permission": EVERYONE_OR_OWNER,
    "edit_permission": EVERYONE_OR_OWNER,
    "group_message_type": ("chat", "thread"),
    "chat_mode": ("group", "topic"),
    "chat_type": ("private", "public"),
    "join_message_visibility": SEEN_BY,
    "leave_message_visibility": SEEN_BY,
    "membership_approval": ("no_approval_required", "approval_required"),
    "moderation_permission": (*EVERYONE_OR_OWNER, "moderator_list"),
    "hide_member_count_setting": EVERYONE_OR_OWNER,
}
FOR_ALL = {"avatar", "name", "description", "i18n_names"}
PERIOD_SECONDS = {"week": 7 * 86400, "year": 365 * 86400, "permanently": 0}


def open_chat(world: World, chat_id: str, bot_inside: bool = True) -> Row:
    """A chat the bot may work with: known, not dissolved and (unless told otherwise) with the bot in it."""
    chat = world.chat(chat_id)
    if chat is None:
        raise PlatformError(232006, f"ext=chat_id {chat_id} does not exist")
    if chat["status"] != "normal":
        raise PlatformError(232009)
    if bot_inside and not chat["bot_in"]:
        raise PlatformError(232011)
    return chat


def group(world: World, chat_id: str) -> Row:
    chat = open_chat(world, chat_id)
    if chat["mode"] == "p2p":
        raise PlatformError(232008)
    return chat


def is_manager(chat: Row) -> bool:
    """Whether the bot owns or manages the chat."""
    return bool(not chat["owner_id"] or chat["bot_manager"])


def may_operate(world: World, chat: Row) -> bool:
    """Whether the bot may change the chat and its members: also what it made, if it has the scope for that."""
    return is_manager(chat) or is_owner(world, chat)


def setting(chat: Row, name: str) -> str:
    """A setting of the chat, or what it is by default."""
    return str({**DEFAULTS, **json.loads(chat["fields"])}[name])


def view(world: World, chat: Row, kind: str = "open_id") -> dict[str, Any]:
    """A chat as answers show it; no owner keys while the bot owns it."""
    told = {**DEFAULTS, **json.loads(chat["fields"])}
    told |= {
        "chat_id": chat["chat_id"],
        "name": chat["name"],
        "chat_mode": chat["mode"],
        "chat_tag": "inner",
        "external": False,
        "tenant_key": world.config.tenant_key,
        "restricted_mode_setting": {"status": False},
    }
    if chat["owner_id"]:
        told |= {"owner_id": world.must_person(chat["owner_id"])[kind], "owner_id_type": kind}
    return told


def _people(world: World, ids: list[str], kind: str) -> list[Row]:
    """The persons of `user_id_list`, all of them or none."""
    refuse_foreign(world, kind, ids)
    found = {value: find(world, kind, value) for value in dict.fromkeys(ids)}
    if bad := [value for value, person in found.items() if person is None]:
        raise PlatformError(232043, f"ext=invalid ids: {json.dumps(bad)}")
    people = [person for person in found.values() if person is not None]
    if gone := [person[kind] for person in people if person["resigned"]]:
        raise PlatformError(232022, f"ext=ids: {json.dumps(gone)}")
    if hidden := [person[kind] for person in people if not person["visible"]]:
        raise PlatformError(232024, f"ext=ids: {json.dumps(hidden)}")
    return people


def _settings(world: World, call: Call) -> dict[str, Any]:
    """The settings of a body that the sandbox keeps; the add and share permissions only change together."""
    if ("add_member_permission" in call.body) != ("share_card_permission" in call.body):
        raise PlatformError(
            232001, "ext=add_member_permission and share_card_permission must be set together"
        )
    call.text("description", code=232001)
    for name, allowed in ALLOWED.items():
        if call.text(name, code=232001) not in ("", *allowed, *(one.replace("_", " ") for one in allowed)):
            raise PlatformError(232001, f"ext={name} must be one of {', '.join(allowed)}")
    avatar = call.text("avatar", code=232001)
    if avatar and not world.store.row("SELECT 1 FROM images WHERE image_key = ?", avatar):
        raise PlatformError(232041)
    return {key: value for key, value in call.body.items() if key in DEFAULTS and value is not None}


def create(world: World, call: Call) -> dict[str, Any]:
    kind = call.choice("user_id_type", ID_KINDS, "open_id")
    uuid = call.query.get("uuid") or ""
    if len(uuid) > 50:
        raise PlatformError(232001, "ext=uuid is longer than 50")
    name = call.text("name", LONGEST_NAME, code=232001)
    if set(call.texts("bot_id_list", MOST_BOTS, 232001)) - {world.config.app_id}:
        raise PlatformError(232004, "ext=the sandbox has one bot only")
    owner_id = call.text("owner_id", code=232001)
    first = world.seen_uuid("chat", f"{uuid} {owner_id}" if uuid else "", CHAT_UUID_SECONDS)
    if first and (known := world.chat(first)):
        return view(world, known, kind)
    people = _people(world, call.texts("user_id_list", MOST_USERS, 232001), kind)
    owner = _people(world, [owner_id], kind) if owner_id else []
    chat = world.add_chat(
        name,
        "topic" if call.body.get("chat_mode") == "topic" else "group",
        owner_id=owner[0]["open_id"] if owner else "",
        by_app=1,
        bot_manager=int(call.query.get("set_bot_manager") == "true"),
        fields=json.dumps(_settings(world, call), ensure_ascii=False),
    )
    world.keep_uuid("chat", f"{uuid} {owner_id}" if uuid else "", chat["chat_id"])
    world.join(chat, [*owner, *people], world.bot, push=world.config.initial_members_pushed)
    return view(world, chat, kind)


def get(world: World, call: Call) -> dict[str, Any]:
    """Counts are strings; a bot outside sees only name, avatar, counts and status."""
    kind = call.choice("user_id_type", ID_KINDS, "open_id")
    chat = world.chat(call.params["chat_id"])
    if chat is None:
        raise PlatformError(232006, f"ext=chat_id {call.params['chat_id']} does not exist")
    told = view(world, chat, kind)
    del told["chat_id"]
    if not chat["bot_in"]:
        told = {key: told[key] for key in ("avatar", "name")}
    told |= {"user_count": str(world.member_count(chat["chat_id"])), "bot_count": str(chat["bot_in"])}
    told |= {"chat_status": chat["status"]}
    if chat["bot_in"]:
        people = [person[kind] for person in world.managers(chat["chat_id"])]
        told |= {"user_manager_id_list": people, "bot_manager_id_list": []}
        if chat["owner_id"] and chat["bot_manager"]:
            told["bot_manager_id_list"] = [world.config.app_id]
    if not told["name"]:
        del told["name"]
    return told


def update(world: World, call: Call) -> dict[str, Any]:
    """Partial: what is missing stays; the change comes back as im.chat.updated_v1."""
    chat = group(world, call.params["chat_id"])
    kind = call.choice("user_id_type", ID_KINDS, "open_id")
    wanted = _settings(world, call)
    if "name" in call.body:
        wanted["name"] = call.text("name", LONGEST_NAME, code=232001)
    if owner_id := call.text("owner_id", code=232001):
        owner = find(world, kind, owner_id)
        if owner is None or not world.is_member(chat, owner["open_id"]):
            raise PlatformError(232012)
        wanted["owner_id"] = owner["open_id"]
    fields = {**DEFAULTS, **json.loads(chat["fields"])}
    if not may_operate(world, chat):
        if set(wanted) - FOR_ALL:
            raise PlatformError(232016)
        if fields["edit_permission"] != "all_members":
            raise PlatformError(232002)
    before = {**fields, "name": chat["name"], "owner_id": chat["owner_id"]}
    change(world, chat, {key: value for key, value in wanted.items() if before[key] != value}, world.bot)
    return {}


def change(world: World, chat: Row, changed: dict[str, Any], operator: dict[str, Any]) -> str:
    """Writes what changed and pushes it; answers the event's id, '' if nothing changed."""
    if not changed:
        return ""
    fields = json.loads(chat["fields"])
    before = {
        key: {**DEFAULTS, **fields, "name": chat["name"], "owner_id": chat["owner_id"]}[key]
        for key in changed
    }
    fields |= {key: value for key, value in changed.items() if key not in ("name", "owner_id")}
    world.store.run(
        "UPDATE chats SET name = ?, owner_id = ?, fields = ? WHERE chat_id = ?",
        changed.get("name", chat["name"]),
        changed.get("owner_id", chat["owner_id"]),
        json.dumps(fields, ensure_ascii=False),
        chat["chat_id"],
    )
    world.changes.publish("state", chat["chat_id"])
    if "name" in changed:
        world.note(chat, "renamed", operator, name=changed["name"])
    if not chat["bot_in"]:
        return ""
    for told in (before, changed):
        if "owner_id" in told:
            owner = world.person(told["owner_id"])
            told["owner_id"] = payloads.person_ids(owner) if owner else world.bot
    event = payloads.updated_event(world.config, chat, operator, before, changed)
    return world.push("im.chat.updated_v1", event)


def dissolve(world: World, call: Call) -> dict[str, Any]:
    """Only by its owner, or by the app that created it."""
    chat = group(world, call.params["chat_id"])
    if not is_owner(world, chat):
        raise PlatformError(232002)
    end(world, chat, world.bot)
    return {}


def end(world: World, chat: Row, operator: dict[str, Any], keep_history: bool = False) -> str:
    """Dissolves a chat and pushes im.chat.disbanded_v1; nothing is pushed if its history is kept."""
    status = "dissolved_save" if keep_history else "dissolved"
    world.store.run("UPDATE chats SET status = ? WHERE chat_id = ?", status, chat["chat_id"])
    world.changes.publish("state", chat["chat_id"])
    world.note(chat, "dissolved", operator)
    if keep_history or not chat["bot_in"]:
        return ""
    return world.push("im.chat.disbanded_v1", payloads.chat_event(world.config, chat, operator))


def link(world: World, call: Call) -> dict[str, Any]:
    group(world, call.params["chat_id"])
    period = call.text("validity_period", code=232001) or "week"
    if period not in PERIOD_SECONDS:
        raise PlatformError(232001, "ext=validity_period must be week, year or permanently")
    permanent = period == "permanently"
    return {
        "share_link": f"https://applink.feishu.cn/client/chat/chatter/add_by_link?link_token={secrets.token_hex(16)}",
        "expire_time": "" if permanent else str(int(time.time()) + PERIOD_SECONDS[period]),
        "is_permanent": permanent,
    }
