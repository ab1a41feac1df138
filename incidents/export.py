"""An export as Markdown, JSON and one HTML page that needs nothing else; the three and the files as a zip.

What it gets is collected (incidents.history); it asks neither database nor network. Whatever people wrote is
escaped for each format.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import zipfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.translation import gettext as _

from .facts import is_key
from .phrases import duration
from .record import Attachment, Message, Record, image_type

# Images inside the HTML page; what is larger is linked.
EMBEDDED_IMAGE_BYTES = 2 * 1024 * 1024
EMBEDDED_ALL_BYTES = 20 * 1024 * 1024
MARKDOWN = re.compile(r"([\\`*_\[\]<>#|~!])")


# --- JSON ------------------------------------------------------------------------------------------------
def as_json(record: Record) -> str:
    """Everything, for programs: times in ISO 8601 with their offset, durations in seconds."""
    acknowledge, resolve = record.time_to_acknowledge, record.time_to_resolve
    document = {
        "version": 1,
        "number": record.number,
        "made_at": record.made_at,
        "complete": record.complete,
        "missing": record.missing,
        "incident": {
            **record.facts,
            "opened_at": record.opened_at,
            "acknowledged_at": record.acknowledged_at,
            "resolved_at": record.resolved_at,
        },
        "figures": {
            "seconds_to_acknowledge": acknowledge.total_seconds() if acknowledge else None,
            "seconds_to_resolve": resolve.total_seconds() if resolve else None,
            "messages": len(record.messages),
        },
        "people": record.people,
        "timeline": [dataclasses.asdict(entry) for entry in record.entries],
        "messages": [dataclasses.asdict(message) for message in record.messages],
        "gaps": {"not_in_history": record.not_in_history, "not_in_events": record.not_in_events},
        "post_mortem": record.post_mortem,
    }
    return json.dumps(document, ensure_ascii=False, indent=2, default=_json_value)


def _json_value(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


# --- Markdown --------------------------------------------------------------------------------------------
def as_markdown(record: Record) -> str:
    """For people and wikis."""
    return "\n".join(_markdown_lines(record)) + "\n"


def _markdown_lines(record: Record) -> Iterator[str]:
    yield f"# {record.number} {plain(record.title)}"
    yield ""
    yield from (f"- {words}: {plain(value)}" for words, value in summary(record))
    if record.missing:
        yield f"\n## {_('Missing')}\n"
        yield from (f"- {plain(text)}" for text in record.missing)
    yield f"\n## {_('Timeline')}\n"
    for entry in record.entries:
        if is_key(entry):
            text = f"*{_('recalled')}*" if entry.recalled else plain(entry.text)
            yield f"- {moment(entry.happened_at)} **{plain(entry.words)}** {plain(entry.person)} {text}".rstrip()
    yield f"\n## {_('Chat')}\n"
    for message in record.in_order():
        yield from _markdown_message(message)
    yield from _markdown_gaps(record)


def _markdown_message(message: Message) -> Iterator[str]:
    edge = "> > " if message.is_reply else "> "
    marks = "".join(f" *({mark})*" for mark in marks_of(message))
    yield f"{edge[:-2]}**{plain(message.sender)}** {moment(message.sent_at)}{marks}  "
    for line in message.text.splitlines():
        yield f"{edge}{plain(line)}  "
    for one in message.attachments:
        yield f"{edge}{_markdown_attachment(one)}  "
    yield edge[:-2].rstrip()


def _markdown_attachment(one: Attachment) -> str:
    if not one.path:
        return plain(f"[{one.name}: {one.error}]")
    return f"{'!' if one.kind == 'image' else ''}[{plain(one.name)}]({quote(one.path)})"


def _markdown_gaps(record: Record) -> Iterator[str]:
    for words, ids in gaps(record):
        yield f"\n## {words}\n"
        yield from (f"- `{message_id}`" for message_id in ids)


def plain(text: object) -> str:
    """What people wrote, so that Markdown shows it as it is, in one line."""
    one_line = " ".join(str(text).split())
    return MARKDOWN.sub(r"\\\1", one_line.replace("&", "&amp;"))


# --- HTML ------------------------------------------------------------------------------------------------
def as_html(record: Record) -> str:
    """One page with its style and its small images inside; no script, and a policy that allows none."""
    room = EMBEDDED_ALL_BYTES
    rows = []
    for message in record.in_order():
        shown = []
        for one in message.attachments:
            source = (
                data_uri(record.files.get(one.path)) if one.size <= min(room, EMBEDDED_IMAGE_BYTES) else ""
            )
            room -= one.size if source else 0
            shown.append({"it": one, "source": source, "href": quote(one.path)})
        rows.append(
            {"it": message, "at": moment(message.sent_at), "marks": marks_of(message), "attachments": shown}
        )
    key = [
        {"it": entry, "at": moment(entry.happened_at)} for entry in record.entries if is_key(entry)
    ]  # fmt: skip
    context = {
        "record": record, "summary": summary(record), "entries": key, "messages": rows, "gaps": gaps(record),
    }  # fmt: skip
    return render_to_string("incidents/export.html", context)


def data_uri(file: Path | None) -> str:
    """A picture as a data: URI; "" for what is no picture."""
    data = file.read_bytes() if file else b""
    media_type, _ending = image_type(data)
    if not media_type:
        return ""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


# --- What all formats say --------------------------------------------------------------------------------
def summary(record: Record) -> list[tuple[str, str]]:
    """(words, value) of the incident's head."""
    told = record.facts
    rows = [
        (_("Severity"), told.get("severity")),
        (_("Status"), told.get("status_words")),
        (_("Service"), told.get("service")),
        (_("Opened"), f"{moment(record.opened_at)} {told.get('opened_by') or ''}"),
        (_("Acknowledged"), f"{moment(record.acknowledged_at)} {told.get('acknowledged_by') or ''}"),
        (_("Resolved at"), f"{moment(record.resolved_at)} {told.get('resolved_by') or ''}"),
        (_("Resolution note"), told.get("resolution_note")),
        (_("Time to acknowledge"), duration(record.time_to_acknowledge)),
        (_("Time to resolve"), duration(record.time_to_resolve)),
        (_("Messages"), str(len(record.messages))),
        (_("Exported"), f"{moment(record.made_at)} ({timezone.get_current_timezone_name()})"),
    ]
    return [(words, str(value).strip()) for words, value in rows if value]


def marks_of(message: Message) -> list[str]:
    marks = [
        (message.recalled, _("recalled")),
        (message.edited, _("edited")),
        (message.source == "events", _("not in the history, from the received event")),
    ]
    return [words for applies, words in marks if applies]


def gaps(record: Record) -> list[tuple[str, tuple[str, ...]]]:
    """(words, message ids) of what only one of the two sources knows."""
    both = [
        (_("Received as events, but not in the history"), record.not_in_history),
        (_("In the history, but never received as events"), record.not_in_events),
    ]
    return [(words, ids) for words, ids in both if ids]


def moment(at: datetime | None) -> str:
    return timezone.localtime(at).strftime("%Y-%m-%d %H:%M:%S") if at else "–"


# --- The files -------------------------------------------------------------------------------------------
def write_texts(record: Record, folder: Path) -> None:
    """The record as texts, beside the attachments that `collect` has put into the folder."""
    (folder / "export.md").write_bytes(_encoded(as_markdown(record)))
    (folder / "export.json").write_bytes(_encoded(as_json(record)))
    (folder / "export.html").write_bytes(_encoded(as_html(record)))
    if record.post_mortem:
        (folder / "post-mortem.md").write_bytes(_encoded(record.post_mortem))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def write_zip(folder: Path, target: Path) -> None:
    """Everything in the folder, under the folder's name; never more than a piece of a file in memory."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            archive.write(file, f"{folder.name}/{file.relative_to(folder)}")
