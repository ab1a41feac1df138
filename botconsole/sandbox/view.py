"""What the page and the control API show of the world: groups, people, messages with their cards drawn."""

import html
import json
import re
from dataclasses import dataclass
from typing import Any

from botconsole.sandbox import posts, tabs
from botconsole.sandbox.cardrules import is_shared
from botconsole.sandbox.faults import SWITCHES
from botconsole.sandbox.push import push_view
from botconsole.sandbox.store import Row
from botconsole.sandbox.world import World

Json = dict[str, Any]
LINK = re.compile(r"(https?://[^\s<>\"'，。；、！？）】]*[^\s<>\"'，。；、！？）】.,;:!?)])")
SHOWN_PEOPLE = 100  # of each group in what the page reads at every change; the rest it asks for


def draw_card(card: Json, names: dict[str, str], locale: str) -> str:
    """The card as safe HTML, drawn by the one module of the product the sandbox knows."""
    from events import cardview

    return cardview.draw(card, people=names, image_url=lambda key: f"/_sandbox/images/{key}", locale=locale)


def person_view(person: Row) -> Json:
    flags = {key: bool(person[key]) for key in ("visible", "resigned")}
    return {"open_id": person["open_id"], "name": person["name"], **flags}


def chat_view(world: World, chat: Row, names: dict[str, str], most: int = -1) -> Json:
    """A group or a conversation for the list at the left, with at most so many of its members."""
    last = world.store.row(
        "SELECT * FROM messages WHERE chat_id = ? ORDER BY create_ms DESC, number DESC LIMIT 1",
        chat["chat_id"],
    )
    person = world.person(chat["person"]) if chat["person"] else None
    members = [person] if person else world.members(chat["chat_id"], most)
    return {
        "chat_id": chat["chat_id"],
        "mode": chat["mode"],
        "name": person["name"] if person else chat["name"],
        "open_id": chat["person"] or "",
        "status": chat["status"],
        "bot_in": bool(chat["bot_in"]),
        "owner_id": chat["owner_id"],
        "members": [person_view(one) for one in members],
        "member_count": 1 if person else world.member_count(chat["chat_id"]),
        "last": summary(last, names) if last else "",
        "last_by": sender_name(world, last, names) if last else "",
        "last_at": last["create_ms"] if last else 0,
        "noted_at": world.store.number("SELECT max(create_ms) FROM notes WHERE chat_id = ?", chat["chat_id"]),
        "number": chat["number"],
        "managers": [one["open_id"] for one in world.managers(chat["chat_id"])],
        "tabs": [_tab(row) for row in tabs.rows(world, chat["chat_id"])],
        "pins": _pins(world, chat, names),
        "notice": _notice(world, chat, names),
    }


def _tab(row: Row) -> Json:
    return {"name": row["name"], "url": next(iter(json.loads(row["content"]).values()))}


def _pins(world: World, chat: Row, names: dict[str, str]) -> list[Json]:
    """What is pinned, the newest first."""
    rows = world.store.rows(
        "SELECT messages.* FROM pins JOIN messages USING (message_id) WHERE pins.chat_id = ? AND deleted = 0"
        " ORDER BY pins.create_ms DESC, pins.rowid DESC",
        chat["chat_id"],
    )
    return [{"message_id": row["message_id"], "text": summary(row, names)} for row in rows]


def _notice(world: World, chat: Row, names: dict[str, str]) -> Json | None:
    """The message at the top of the chat."""
    message = world.store.row(
        "SELECT messages.* FROM notices JOIN messages USING (message_id) WHERE notices.chat_id = ? AND deleted = 0",
        chat["chat_id"],
    )
    return {"message_id": message["message_id"], "text": summary(message, names)} if message else None


def sender_name(world: World, message: Row, names: dict[str, str]) -> str:
    """Who wrote a message, as people know them."""
    by_app = message["sender_type"] == "app"
    return world.config.app_name if by_app else names.get(message["sender_id"], message["sender_id"])


def summary(message: Row, names: dict[str, str]) -> str:
    """One line about a message."""
    if message["deleted"]:
        return "…"
    content = json.loads(message["content"])
    if message["msg_type"] == "text":
        return _with_names(message, str(content.get("text", "")))[:80]
    if message["msg_type"] == "interactive":
        return (_title(content) or "[card]")[:80]
    if message["msg_type"] == "post":
        return posts.plain_text(content)[:80]
    if message["msg_type"] == "file":
        return f"[{content.get('file_name')}]"[:80]
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
    if message["msg_type"] == "post":
        return _post(message, content)
    if message["msg_type"] == "file":
        key, name = html.escape(str(content.get("file_key"))), html.escape(str(content.get("file_name")))
        return f'<a class="file" href="/_sandbox/files/{key}" download>{name}</a>'
    if message["msg_type"] == "text":
        return f'<p class="said">{_linked(_with_names(message, str(content.get("text", ""))))}</p>'
    return f'<p class="said">[{html.escape(message["msg_type"])}]</p>'


def _linked(text: str) -> str:
    """Escaped, and its addresses as links."""
    parts = [html.escape(part) for part in LINK.split(text)]
    parts[1::2] = [f'<a href="{part}" target="_blank" rel="noopener">{part}</a>' for part in parts[1::2]]
    return "".join(parts)


def _post(message: Row, content: Json) -> str:
    """A post: its title, and its lines one by one."""
    title = f"<b>{html.escape(str(content.get('title') or ''))}</b>" if content.get("title") else ""
    lines = ["".join(_part(message, one) for one in line) for line in content.get("content") or []]
    return "".join(f'<p class="said">{line}</p>' for line in (title, *lines) if line)


def _part(message: Row, one: Json) -> str:
    text = html.escape(str(one.get("text") or ""))
    if one["tag"] == "img":
        return f'<img class="picture" src="/_sandbox/images/{html.escape(str(one.get("image_key")))}" alt="">'
    if one["tag"] == "a":
        return f'<a href="{html.escape(str(one.get("href")))}" target="_blank" rel="noopener">{text}</a>'
    if one["tag"] == "at":
        return html.escape(_with_names(message, str(one.get("user_id"))))
    if one["tag"] == "emotion":
        return f"[{html.escape(str(one.get('emoji_type')))}]"
    if one["tag"] in ("code_block", "hr"):
        return f"<code>{text}</code>" if text else "<hr>"
    return f"<b>{text}</b>" if "bold" in (one.get("style") or []) else text


def message_view(
    world: World, message: Row, names: dict[str, str], locale: str = "zh_cn", open_id: str = ""
) -> Json:
    """A message with its content parsed, and drawn; a card that is not shared as this person sees it."""
    content, name = json.loads(world.seen_by(message, open_id)), sender_name(world, message, names)
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
        "parent_id": message["parent_id"],
        "thread_id": message["thread_id"],
        "in_thread": bool(message["in_thread"]),
        "parent": _parent(world, message, names),
        "only_for": names.get(message["only_for"], ""),
        "differs": message["msg_type"] == "interactive" and not is_shared(json.loads(message["content"])),
        "pinned": _pinned(world, message),
        "buzzed": _buzzed(world, message, names),
        "reactions": _reactions(world, message, names),
        "revision": message["revision"],
        "number": message["number"],
    }


def _parent(world: World, message: Row, names: dict[str, str]) -> Json | None:
    """The message this one answers, in one line."""
    parent = world.message(message["parent_id"]) if message["parent_id"] else None
    if parent is None:
        return None
    return {"name": sender_name(world, parent, names), "text": summary(parent, names)}


def _pinned(world: World, message: Row) -> bool:
    return world.store.row("SELECT 1 FROM pins WHERE message_id = ?", message["message_id"]) is not None


def _buzzed(world: World, message: Row, names: dict[str, str]) -> list[Json]:
    """Who was buzzed about the message, and how often."""
    rows = world.store.rows("SELECT * FROM buzzes WHERE message_id = ? ORDER BY rowid", message["message_id"])
    return [
        {"open_id": row["open_id"], "name": names.get(row["open_id"], row["open_id"]), "times": row["times"]}
        for row in rows
    ]


def _reactions(world: World, message: Row, names: dict[str, str]) -> list[Json]:
    """Every kind of reaction with the people who gave it."""
    found: dict[str, list[Json]] = {}
    for row in world.store.rows(
        "SELECT * FROM reactions WHERE message_id = ? ORDER BY rowid", message["message_id"]
    ):
        who = {"open_id": row["open_id"], "name": names.get(row["open_id"], row["open_id"])}
        found.setdefault(row["emoji_type"], []).append(who)
    return [{"emoji_type": kind, "people": people} for kind, people in found.items()]


@dataclass(frozen=True, slots=True)
class Asked:
    """Which messages of a chat: at most `limit`, changed after a revision, older than a message; as who sees them."""

    since: int = 0
    limit: int = 500
    before: Row | None = None
    locale: str = "zh_cn"
    open_id: str = ""


def messages_view(world: World, chat_id: str, asked: Asked) -> Json:
    """The newest messages that fit, oldest first; `has_more` says that there are older ones."""
    older, values = "", [chat_id, asked.since]
    if asked.before is not None:
        older, values = " AND (create_ms, number) < (?, ?)", [
            *values, asked.before["create_ms"], asked.before["number"],
        ]  # fmt: skip
    rows = world.store.rows(
        f"SELECT * FROM messages WHERE chat_id = ? AND revision > ?{older}"  # noqa: S608 (our own words)
        " ORDER BY create_ms DESC, number DESC LIMIT ?",
        *values,
        asked.limit + 1,
    )
    told, names = rows[: asked.limit], world.names()
    has_more = len(rows) > asked.limit
    notes = _notes(world, chat_id, asked, told[-1]["create_ms"] if told and has_more else 0)
    return {
        "items": [message_view(world, row, names, asked.locale, asked.open_id) for row in reversed(told)],
        "notes": [
            {
                "number": row["number"],
                "kind": row["kind"],
                "create_time": row["create_ms"],
                **json.loads(row["about"]),
            }
            for row in notes
        ],
        "revision": max([asked.since, *(row["revision"] for row in (*told, *notes))]),
        "has_more": has_more,
    }


def _notes(world: World, chat_id: str, asked: Asked, begin_ms: int) -> list[Row]:
    """Who came, went or renamed the group in the time that is told: no messages, and not in the app's history."""
    end_ms = asked.before["create_ms"] if asked.before is not None else 2**62
    rows = world.store.rows(
        "SELECT * FROM notes WHERE chat_id = ? AND revision > ? AND create_ms >= ? AND create_ms < ?"
        " ORDER BY number DESC LIMIT ?",
        chat_id,
        asked.since,
        begin_ms,
        end_ms,
        asked.limit,
    )
    return rows[::-1]


def state_view(world: World) -> Json:
    """All the page needs besides the messages themselves."""
    config, store, names = world.config, world.store, world.names()
    chats = store.rows("SELECT * FROM chats ORDER BY number")
    people = store.rows("SELECT * FROM people ORDER BY rowid LIMIT ?", SHOWN_PEOPLE)
    return {
        "app": {"app_id": config.app_id, "name": config.app_name, "open_id": config.bot_open_id},
        "webhook": world.pusher.webhook_url,
        "transports": world.pusher.transports,
        "connections": world.pusher.connections.view(),
        "encrypted": bool(config.encrypt_key),
        "clock": {"factor": world.clock.factor, "now": round(world.clock.now() * 1000)},
        "chats": [chat_view(world, chat, names, SHOWN_PEOPLE) for chat in chats],
        "people": [person_view(person) for person in people],
        "faults": world.faults.view(),
        "switches": SWITCHES,
        "missing_scopes": world.missing_scopes,
        "limits": world.limits.gauges(),
        "peaks": [_with_chat_name(one, chats, names) for one in world.limits.peaks()],
        "counts": {
            "calls": world.calls.count,
            "pushes": store.number("SELECT count(*) FROM pushes"),
            "unanswered": store.number("SELECT count(*) FROM pushes WHERE state IN ('retrying', 'gone')"),
        },
    }


def _with_chat_name(peak: Json, chats: list[Row], people: dict[str, str]) -> Json:
    """A limit about a chat is told with the name of the group, or of the person, in place of its id."""
    names = {chat["chat_id"]: chat["name"] or people.get(chat["person"], "") for chat in chats}
    about = " ".join(names.get(word) or word for word in str(peak["about"]).split())
    return {**peak, "about": about}


def pushes_view(world: World, limit: int) -> Json:
    rows = world.store.rows("SELECT * FROM pushes ORDER BY number DESC LIMIT ?", limit)
    return {"items": [push_view(row) for row in rows]}


def one_push_view(world: World, event_id: str) -> Json:
    row = world.store.row("SELECT * FROM pushes WHERE event_id = ?", event_id)
    if row is None:
        raise LookupError(f"no push {event_id}")
    return push_view(row)


def members_view(world: World, chat_id: str, search: str, limit: int) -> Json:
    """Members whose name contains a text, those who came first before the others."""
    like = "%" + search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    rows = world.store.rows(
        "SELECT people.* FROM members JOIN people USING (open_id) WHERE chat_id = ? AND name LIKE ? ESCAPE '\\'"
        " ORDER BY members.number, members.rowid LIMIT ?",
        chat_id,
        like,
        limit,
    )
    return {"items": [person_view(row) for row in rows], "total": world.member_count(chat_id)}
