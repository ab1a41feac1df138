"""What the database knows of an incident, as an export and a post-mortem tell it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from .models import Incident, PostMortem, TimelineEntry
from .record import Entry

FIELDS = (
    "title", "severity", "status", "description", "source", "private", "drill", "chat_id", "lead_open_id",
    "opened_by", "acknowledged_by", "resolved_by", "resolution_note", "false_alarm",
)  # fmt: skip


def facts(incident: Incident) -> dict[str, Any]:
    """The incident's own fields, JSON-able."""
    told = {name: getattr(incident, name) for name in FIELDS}
    people = incident.responders.values("open_id", "email", "mobile", "status", "error")
    told["status_words"] = str(incident.get_status_display())
    return told | {"service": str(incident.service or ""), "responders": list(people)}


def entries(incident: Incident, names: Mapping[str, str]) -> Iterator[Entry]:
    """The whole timeline, oldest first."""
    for entry in incident.timeline.order_by("happened_at", "pk").iterator(1000):
        yield Entry(
            happened_at=entry.happened_at,
            kind=entry.kind,
            words=entry.get_kind_display(),
            via=entry.via,
            person=entry.person or names.get(entry.open_id) or entry.open_id,
            text="" if entry.recalled else entry.text_with(names),
            message_id=entry.message_id,
            recalled=entry.recalled,
            important=entry.important,
        )


def is_key(entry: Entry) -> bool:
    """What a reader of the story needs: steps and notes, and of the messages those marked as key."""
    noise = (TimelineEntry.Kind.MESSAGE, TimelineEntry.Kind.JOINED, TimelineEntry.Kind.LEFT)
    return entry.important or entry.kind not in (*noise, TimelineEntry.Kind.REFUSED)


def first_acknowledged_at(incident: Incident) -> datetime | None:
    """When someone first was at it; reopening forgets who acknowledged, the timeline does not."""
    rows = incident.timeline.filter(kind=TimelineEntry.Kind.ACKNOWLEDGED).order_by("happened_at")
    return rows.values_list("happened_at", flat=True).first() or incident.acknowledged_at


def post_mortem(incident: Incident) -> str:
    """The post-mortem as Markdown with its follow-ups; "" if there is none."""
    page = PostMortem.objects.filter(incident=incident).first()
    return page.as_markdown() if page else ""
