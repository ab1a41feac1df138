"""Messages as Feishu tells them, from history or from a push, read into one shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from events.cardview import as_text
from events.envelope import dig, inner_object, parse_time, text_at

from . import words
from .record import Attachment, Json, Message


def from_history(item: Json, names: Mapping[str, str], *, is_reply: bool = False) -> Message:
    """An item of GET /im/v1/messages; its times are milliseconds, its mentions' ids plain texts."""
    kind, content = text_at(item, "msg_type"), text_at(item, "body.content")
    recalled = item.get("deleted") is True
    by_app = text_at(item, "sender.sender_type") == "app"
    return _message(
        item, kind, content, names, sender_id=text_at(item, "sender.id"), by_app=by_app, recalled=recalled,
        edited=item.get("updated") is True and kind != "interactive", is_reply=is_reply, source="history",
    )  # fmt: skip


def from_event(payload: Json, names: Mapping[str, str], *, recalled: bool) -> Message:
    """The payload of im.message.receive_v1."""
    sent = payload.get("message")
    sent = sent if isinstance(sent, dict) else {}
    sender_id = text_at(payload, "sender.sender_id.open_id")
    by_app = text_at(payload, "sender.sender_type") not in ("", "user")
    reply = bool(text_at(sent, "thread_id") and text_at(sent, "parent_id"))
    kind, content = text_at(sent, "message_type"), text_at(sent, "content")
    return _message(
        sent, kind, content, names, sender_id=sender_id, by_app=by_app, recalled=recalled, edited=False,
        is_reply=reply, source="events",
    )  # fmt: skip


def _message(item: Json, kind: str, content: str, names: Mapping[str, str], **more: Any) -> Message:
    recalled, sender_id = more["recalled"], more["sender_id"]
    held = () if recalled else tuple(attachments(kind, inner_object(content)))
    silent = recalled or (held and kind != "post")  # the attachment of an image or a file says it all
    text = "" if silent else text_of(kind, content, item.get("mentions"), names)
    return Message(
        message_id=text_at(item, "message_id"),
        sent_at=parse_time(item.get("create_time")),
        sender=names.get(sender_id) or sender_id,
        kind=kind,
        text=text,
        content="" if recalled else content,
        thread_id=text_at(item, "thread_id"),
        parent_id=text_at(item, "parent_id"),
        attachments=held,
        **more,
    )


def text_of(kind: str, content: str, mentions: Any, names: Mapping[str, str]) -> str:
    """The message in words; a card as lines of text."""
    if kind == "interactive":
        return _card(inner_object(content), names)
    return words.text_of({"message_type": kind, "content": content, "mentions": mentions})


def _card(card: Json, names: Mapping[str, str]) -> str:
    if isinstance(inner := card.get("user_dsl"), str):
        card = inner_object(inner)
    rows = card.get("elements")
    if isinstance(rows, list) and any(isinstance(row, list) for row in rows):
        # What Feishu makes of cards where it does not tell them as they were sent.
        lines = [" ".join(filter(None, (text_at(part, "text") for part in _list(row)))) for row in rows]
        return "\n".join(line for line in [text_at(card, "title"), *lines] if line)
    return as_text(card, names)


def attachments(kind: str, content: Json) -> Iterator[Attachment]:
    """What can be downloaded of a message; stickers and cards cannot."""
    if kind == "image":
        yield from _one(content, "image_key", "image", "image")
    elif kind in ("file", "audio", "media"):
        yield from _one(content, "file_key", "file", text_at(content, "file_name") or kind)
    elif kind == "post":
        for line in _list(content.get("content")):
            for part in _list(line):
                if dig(part, "tag") == "img":
                    yield from _one(part, "image_key", "image", "image")
                elif dig(part, "tag") == "media":
                    yield from _one(part, "file_key", "file", "media")


def _one(holder: Any, key: str, kind: str, name: str) -> Iterator[Attachment]:
    if found := text_at(holder, key):
        yield Attachment(found, kind, name)


def mentioned(item: Json) -> dict[str, str]:
    """`{open_id: name}` of a message's mentions."""
    found = {}
    for one in _list(item.get("mentions")):
        open_id = text_at(one, "id") or text_at(one, "id.open_id")
        if open_id and text_at(one, "name"):
            found[open_id] = text_at(one, "name")
    return found


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
