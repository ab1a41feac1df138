"""What an export holds, as plain values: no database, no network, no markup."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

Json = dict[str, Any]
NAME_LENGTH = 80


@dataclass(frozen=True)
class Attachment:
    """An image or file of a message; `path` is where its bytes lie in the export, "" if they are not there."""

    key: str
    kind: str
    name: str
    path: str = ""
    size: int = 0
    error: str = ""


@dataclass(frozen=True)
class Message:
    """A message of the chat. `source` is "history", or "events" for one that only a push has told of."""

    message_id: str
    sent_at: datetime | None
    sender_id: str
    sender: str
    by_app: bool
    kind: str
    text: str
    content: str = ""
    thread_id: str = ""
    parent_id: str = ""
    is_reply: bool = False
    recalled: bool = False
    edited: bool = False
    attachments: tuple[Attachment, ...] = ()
    source: str = "history"


@dataclass(frozen=True)
class Entry:
    """A line of the timeline; `words` is its kind in words."""

    happened_at: datetime
    kind: str
    words: str
    via: str
    person: str
    text: str
    message_id: str = ""
    recalled: bool = False
    important: bool = False


@dataclass(frozen=True)
class Record:
    """Everything an export is made from."""

    number: str
    title: str
    made_at: datetime
    facts: Mapping[str, Any]  # of the incident, JSON-able, by name of field
    opened_at: datetime
    acknowledged_at: datetime | None = None
    resolved_at: datetime | None = None
    entries: tuple[Entry, ...] = ()
    messages: tuple[Message, ...] = ()
    people: Mapping[str, str] = field(default_factory=dict)  # open_id -> name
    missing: tuple[str, ...] = ()  # what could not be had, in words
    not_in_history: tuple[str, ...] = ()  # message ids
    not_in_events: tuple[str, ...] = ()
    files: Mapping[str, Path] = field(default_factory=dict)  # path in the export -> where its bytes lie
    post_mortem: str = ""

    @property
    def complete(self) -> bool:
        return not self.missing

    @property
    def time_to_acknowledge(self) -> timedelta | None:
        return self.acknowledged_at - self.opened_at if self.acknowledged_at else None

    @property
    def time_to_resolve(self) -> timedelta | None:
        return self.resolved_at - self.opened_at if self.resolved_at else None

    def in_order(self) -> Iterator[Message]:
        """Every message; the replies of a thread follow its root."""
        replies: dict[str, list[Message]] = {}
        for message in self.messages:
            if message.is_reply:
                replies.setdefault(message.thread_id, []).append(message)
        for message in self.messages:
            if not message.is_reply:
                yield message
                yield from replies.pop(message.thread_id, ())
        for rest in replies.values():
            yield from rest


def file_name(number: int, name: str) -> str:
    """A name that is safe in every file system and cannot leave its folder; `number` keeps it unique."""
    stem, dot, ending = name.replace("\\", "/").rpartition("/")[2].rpartition(".")
    if not dot:
        stem, ending = ending, ""
    stem = re.sub(r"[^\w-]+", "_", stem).strip("_")[: NAME_LENGTH - 20] or "file"
    ending = re.sub(r"\W+", "", ending)[:16]
    return f"{number:03d}-{stem}.{ending}" if ending else f"{number:03d}-{stem}"


IMAGE_TYPES = (
    (b"\x89PNG\r\n\x1a\n", "image/png", "png"),
    (b"\xff\xd8\xff", "image/jpeg", "jpg"),
    (b"GIF87a", "image/gif", "gif"),
    (b"GIF89a", "image/gif", "gif"),
)


def image_type(data: bytes) -> tuple[str, str]:
    """(media type, file ending) of what any browser shows as a picture, ("", "") for everything else."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp", "webp"
    return next(((kind, ending) for start, kind, ending in IMAGE_TYPES if data.startswith(start)), ("", ""))
