"""What stands above a chat: its tabs (at most 20 of its own) and the top notice."""

import json
from typing import Any
from urllib.parse import urlsplit

from botconsole.sandbox.call import Call
from botconsole.sandbox.chats import group
from botconsole.sandbox.errors import PlatformError
from botconsole.sandbox.store import Row
from botconsole.sandbox.world import World

Json = dict[str, Any]
MOST_TABS, LONGEST_TAB_NAME = 20, 60
KINDS = ("url", "doc")
NOTICE_MESSAGE, NOTICE_ANNOUNCEMENT = "1", "2"


def _chat(world: World, call: Call) -> Row:
    try:
        return group(world, call.params["chat_id"])
    except PlatformError as error:
        raise PlatformError(232050) if error.code == 232008 else error from None


def _told(world: World, chat: Row) -> Json:
    """All tabs: the chat itself first, which has no name and cannot be deleted."""
    own = [
        {
            "tab_id": str(row["number"] + 7_000_000_000_000_000_000),
            "tab_name": row["name"],
            "tab_type": row["kind"],
            "tab_content": json.loads(row["content"]),
        }
        for row in rows(world, chat["chat_id"])
    ]
    return {"chat_tabs": [{"tab_id": _message_tab(chat), "tab_type": "message"}, *own]}


def _message_tab(chat: Row) -> str:
    return str(chat["number"] + 6_000_000_000_000_000_000)


def rows(world: World, chat_id: str) -> list[Row]:
    return world.store.rows("SELECT * FROM tabs WHERE chat_id = ? ORDER BY number", chat_id)


def create(world: World, call: Call) -> Json:
    """Adds url (or doc) tabs; equal ones are not merged."""
    chat = _chat(world, call)
    wanted = call.body.get("chat_tabs")
    if not isinstance(wanted, list) or not wanted:
        raise PlatformError(232001, "ext=chat_tabs is required")
    new = [_checked(tab) for tab in wanted]
    if len(rows(world, chat["chat_id"])) + len(new) > MOST_TABS:
        raise PlatformError(232046)
    for name, kind, content in new:
        world.store.insert("tabs", chat_id=chat["chat_id"], name=name, kind=kind, content=content)
    world.changes.publish("state")
    return _told(world, chat)


def _checked(tab: Any) -> tuple[str, str, str]:
    """Name, type and content (as JSON) of a tab to be added."""
    kind = tab.get("tab_type") if isinstance(tab, dict) else None
    if kind not in KINDS:
        raise PlatformError(232001, "ext=tab_type must be url or doc")
    name, content = tab.get("tab_name"), tab.get("tab_content")
    if not isinstance(name, str) or not name:
        raise PlatformError(232001, "ext=tab_name is required")
    if len(name) > LONGEST_TAB_NAME:
        raise PlatformError(232047)
    address = content.get(kind) if isinstance(content, dict) else None
    if not isinstance(address, str) or not _is_web_address(address):
        raise PlatformError(232048)
    return name, kind, json.dumps({kind: address}, ensure_ascii=False)


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def listed(world: World, call: Call) -> Json:
    return _told(world, _chat(world, call))


def remove(world: World, call: Call) -> Json:
    chat = _chat(world, call)
    ids = call.texts("tab_ids", MOST_TABS, 232001)
    if not ids:
        raise PlatformError(232001, "ext=tab_ids is required")
    if _message_tab(chat) in ids:
        raise PlatformError(232049)
    known = {one["tab_id"] for one in _told(world, chat)["chat_tabs"]}
    if not set(ids) <= known:
        raise PlatformError(232001, "ext=invalid tab_ids")
    for tab_id in ids:
        world.store.run("DELETE FROM tabs WHERE number = ?", int(tab_id) - 7_000_000_000_000_000_000)
    world.changes.publish("state")
    return _told(world, chat)


def put_notice(world: World, call: Call) -> Json:
    """One message (or the announcement) at the top of the chat; the new one replaces the old one."""
    chat = group(world, call.params["chat_id"])
    wanted = call.body.get("chat_top_notice")
    notice = wanted[0] if isinstance(wanted, list) and len(wanted) == 1 else None
    action = notice.get("action_type") if isinstance(notice, dict) else None
    if not isinstance(notice, dict) or action not in (NOTICE_MESSAGE, NOTICE_ANNOUNCEMENT):
        raise PlatformError(232001, "ext=chat_top_notice needs one entry with action_type 1 or 2")
    message_id = notice.get("message_id") if action == NOTICE_MESSAGE else ""
    message = world.message(message_id) if isinstance(message_id, str) and message_id else None
    inside = message is not None and message["chat_id"] == chat["chat_id"] and not message["deleted"]
    if action == NOTICE_MESSAGE and not inside:
        raise PlatformError(232001, "ext=message_id is not a message of this chat")
    world.store.run(
        "INSERT OR REPLACE INTO notices VALUES (?, ?, ?)", chat["chat_id"], action, message_id or ""
    )
    world.changes.publish("state")
    return {}


def delete_notice(world: World, call: Call) -> Json:
    """Also where there is none."""
    chat = group(world, call.params["chat_id"])
    world.store.run("DELETE FROM notices WHERE chat_id = ?", chat["chat_id"])
    world.changes.publish("state")
    return {}
