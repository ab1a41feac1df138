"""What the page and the control API show of the world: groups, people, messages with their cards drawn."""

import html
import json
import re
from typing import Any

from botconsole.sandbox.push import push_view
from botconsole.sandbox.store import Row
from botconsole.sandbox.world import World

Json = dict[str, Any]


def draw_card(card: Json, names: dict[str, str], locale: str) -> str:
    """The card as safe HTML, drawn by the one module of the product the sandbox knows."""
    from events import cardview

    return cardview.draw(card, people=names, image_url=lambda key: f"/_sandbox/images/{key}", locale=locale)


def person_view(person: Row) -> Json:
    return {"open_id": person["open_id"], "name": person["name"], "visible": bool(person["visible"])}


def chat_view(world: World, chat: Row) -> Json:
    """A group or a conversation for the list at the left."""
    last = world.store.row(
        "SELECT * FROM messages WHERE chat_id = ? ORDER BY create_ms DESC, number DESC LIMIT 1",
        chat["chat_id"],
    )
    names = world.names()
    person = world.person(chat["person"]) if chat["person"] else None
    return {
        "chat_id": chat["chat_id"],
        "mode": chat["mode"],
        "name": person["name"] if person else chat["name"],
        "open_id": chat["person"] or "",
        "status": chat["status"],
        "bot_in": bool(chat["bot_in"]),
        "owner_id": chat["owner_id"],
        "members": [person_view(one) for one in ([person] if person else world.members(chat["chat_id"]))],
        "last": summary(last, names) if last else "",
        "last_at": last["create_ms"] if last else 0,
        "number": chat["number"],
    }


def summary(message: Row, names: dict[str, str]) -> str:
    """One line about a message."""
    if message["deleted"]:
        return "…"
    content = json.loads(message["content"])
    if message["msg_type"] == "text":
        return _with_names(message, str(content.get("text", "")))[:80]
    if message["msg_type"] == "interactive":
        return f"[{_title(content) or 'card'}]"[:80]
    return f"[{message['msg_type']}]"


def _title(card: Json) -> str:
    header = card.get("header")
    title = header.get("title") if isinstance(header, dict) else None
    return str(title.get("content") or "") if isinstance(title, dict) else ""


def _with_names(message: Row, text: str) -> str:
    mentioned = {mention["key"]: mention["name"] for mention in json.loads(message["mentions"])}
    mentioned["@_all"] = "所有人"
    return re.sub(r"@_user_\d+|@_all\b", lambda key: f"@{mentioned.get(key[0], key[0])}", text)


def _html(message: Row, content: Json, names: dict[str, str], locale: str) -> str:
    if message["msg_type"] == "interactive":
        return draw_card(content, names, locale)
    if message["msg_type"] == "image":
        key = html.escape(str(content.get("image_key")))
        return f'<img class="picture" src="/_sandbox/images/{key}" alt="">'
    if message["msg_type"] == "text":
        text = html.escape(_with_names(message, str(content.get("text", ""))))
        return f'<p class="said">{text}</p>'
    return f'<p class="said">[{html.escape(message["msg_type"])}]</p>'


def message_view(world: World, message: Row, names: dict[str, str], locale: str = "zh_cn") -> Json:
    """A message with its content parsed, and drawn."""
    content = json.loads(message["content"])
    by_app = message["sender_type"] == "app"
    name = world.config.app_name if by_app else names.get(message["sender_id"], message["sender_id"])
    return {
        "message_id": message["message_id"],
        "sender": {"id": message["sender_id"], "name": name, "type": message["sender_type"]},
        "msg_type": message["msg_type"],
        "content": content,
        "html": "" if message["deleted"] else _html(message, content, names, locale),
        "create_time": message["create_ms"],
        "deleted": bool(message["deleted"]),
        "updated": bool(message["updated"]),
        "root_id": message["root_id"],
        "revision": message["revision"],
    }


def messages_view(world: World, chat_id: str, since: int, limit: int, locale: str) -> Json:
    """The last messages, oldest first; with `since` only those that changed after that revision."""
    rows = world.store.rows(
        "SELECT * FROM messages WHERE chat_id = ? AND revision > ?"
        " ORDER BY create_ms DESC, number DESC LIMIT ?",
        chat_id,
        since,
        limit,
    )
    names = world.names()
    return {
        "items": [message_view(world, row, names, locale) for row in reversed(rows)],
        "revision": max([since, *(row["revision"] for row in rows)]),
    }


def state_view(world: World) -> Json:
    """All the page needs besides the messages themselves."""
    config, store = world.config, world.store
    return {
        "app": {"app_id": config.app_id, "name": config.app_name, "open_id": config.bot_open_id},
        "webhook": world.pusher.webhook_url,
        "encrypted": bool(config.encrypt_key),
        "clock": {"factor": world.clock.factor, "now": round(world.clock.now() * 1000)},
        "chats": [chat_view(world, chat) for chat in store.rows("SELECT * FROM chats ORDER BY number")],
        "people": [person_view(person) for person in store.rows("SELECT * FROM people ORDER BY rowid")],
        "faults": world.faults.view(),
        "limits": world.limits.gauges(),
        "counts": {
            "calls": world.calls.count,
            "pushes": store.number("SELECT count(*) FROM pushes"),
            "unanswered": store.number("SELECT count(*) FROM pushes WHERE state IN ('retrying', 'gone')"),
        },
    }


def pushes_view(world: World, limit: int) -> Json:
    rows = world.store.rows("SELECT * FROM pushes ORDER BY number DESC LIMIT ?", limit)
    return {"items": [push_view(row) for row in rows]}
