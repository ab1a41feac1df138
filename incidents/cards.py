"""The alert card of an incident, as a function of its state; and the signed values its controls carry."""

from __future__ import annotations

import hmac
from collections.abc import Collection
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from events import people
from events.cards import JSON, escape

from .phrases import NOTHING, duration, one_line

if TYPE_CHECKING:
    from .models import Incident

COLOURS = {"P0": "red", "P1": "orange", "P2": "yellow", "P3": "blue"}
MUTE_MINUTES = (10, 30, 60, 1440)
NOTE_INPUT = "note"
# A card holds 30 KB, and an escaped character takes up to five.
DESCRIPTION_LENGTH, NOTE_LENGTH = 1500, 1000
ACTIONS = ("ack", "mute", "resolve", "false_alarm", "note", "reopen")


def signed_value(incident: Incident, action: str) -> dict[str, str]:
    """What a control carries: bound to the incident, the action and the chat, so that no other can be made of it."""
    return {
        "incident": str(incident.pk),
        "action": action,
        "signature": _signature(incident.pk, action, incident.chat_id, settings.SECRET_KEY),
    }


def is_signed(value: Any, chat_id: str) -> bool:
    """Whether a pressed control's value is one that we made for this chat."""
    if not isinstance(value, dict) or value.get("action") not in ACTIONS:
        return False
    signature = str(value.get("signature", "")).encode("utf-8", "replace")
    keys = (
        settings.SECRET_KEY,
        *settings.SECRET_KEY_FALLBACKS,
    )  # cards that are in the chats outlive a new key
    expected = [_signature(value.get("incident"), str(value["action"]), chat_id, key) for key in keys]
    return any(hmac.compare_digest(one.encode(), signature) for one in expected)


def alert_card(incident: Incident, *, present: Collection[str] | None = None) -> JSON:
    """The card (JSON 2.0) of the incident as it is now; buttons only for what its state allows.

    `present` are those who can be mentioned, as a preview supposes them; else whom Feishu has let into the chat.
    """
    mentioned = _in_the_chat(incident) if present is None else present
    elements, title = [_fields(incident, mentioned)], one_line(incident.title)
    if incident.description:
        elements.append(_markdown(escape(shortened(incident.description, DESCRIPTION_LENGTH))))
    if incident.image_key:
        alt = {"tag": "plain_text", "content": title}
        elements.append({"tag": "img", "img_key": incident.image_key, "alt": alt})
    elements += _state(incident)
    elements += _controls(incident) if incident.status != "resolved" else [_reopen(incident)]
    return {
        "schema": "2.0",
        "config": {"update_multi": True, "enable_forward": True, "summary": {"content": title}},
        "header": {
            "template": "green" if incident.status == "resolved" else COLOURS[incident.severity],
            "title": {"tag": "plain_text", "content": title},
            "subtitle": {"tag": "plain_text", "content": incident.number},
            "text_tag_list": _tags(incident),
        },
        "body": {"elements": elements},
    }


def _in_the_chat(incident: Incident) -> set[str]:
    """Whom Feishu has let into the chat: an id that it refuses would fail the whole card (100290)."""
    if not incident.pk:
        return set()  # a preview
    return set(incident.responders.filter(status="added").values_list("open_id", flat=True))


def _named(incident: Incident, open_id: str, present: Collection[str]) -> str:
    """A mention; by name, where it is known, of whoever is not in the chat."""
    return _at(open_id) if open_id in present else escape(people.shown(incident.bot_id, open_id))


def shortened(text: str, length: int) -> str:
    """The text, cut where it is too long for its place; the console has all of it."""
    return text if len(text) <= length else text[: length - 1] + "…"


def _tags(incident: Incident) -> list[JSON]:
    colours = {"open": "red", "acknowledged": "orange", "resolved": "green"}
    tags: list[tuple[str, str]] = [(incident.severity, "neutral")]
    tags.append((str(incident.get_status_display()), colours[incident.status]))
    if incident.drill:
        tags.append((_("Drill"), "blue"))
    return [
        {"tag": "text_tag", "text": {"tag": "plain_text", "content": text}, "color": colour}
        for text, colour in tags
    ]


def _fields(incident: Incident, present: Collection[str]) -> JSON:
    on_call = incident.service.on_call if incident.service else []
    rows = [
        (_("Time"), _local_time(incident.opened_at)),
        (_("Incident"), escape(incident.number)),
        (_("Service"), escape(incident.service.name) if incident.service else NOTHING),
        (_("First on call"), _named(incident, on_call[0], present) if on_call else NOTHING),
        (_("Second on call"), _named(incident, on_call[1], present) if len(on_call) > 1 else NOTHING),
        (_("Lead"), _named(incident, incident.lead_open_id, present) if incident.lead_open_id else NOTHING),
    ]
    columns = [_column(f"**{name}**\n{value}") for name, value in rows]
    return {"tag": "column_set", "flex_mode": "bisect", "columns": columns}


def _state(incident: Incident) -> list[JSON]:
    lines = []
    if incident.acknowledged_at:
        lines.append(_("Acknowledged by %(person)s, %(time)s") % _by(incident, "acknowledged"))
    if incident.resolved_at:
        said = (
            _("False alarm, said %(person)s, %(time)s")
            if incident.false_alarm
            else _("Resolved by %(person)s, %(time)s")
        )
        lines.append(said % _by(incident, "resolved"))
    if incident.resolution_note:
        lines.append(escape(shortened(incident.resolution_note, NOTE_LENGTH)))
    if incident.is_muted and incident.muted_until:
        lines.append(_("Muted until %(time)s") % {"time": _local_time(incident.muted_until)})
    return [{"tag": "markdown", "text_size": "notation", "content": "\n\n".join(lines)}] if lines else []


def _controls(incident: Incident) -> list[JSON]:
    controls: list[JSON] = []
    if incident.status == "open":
        controls.append(_button(incident, "ack", _("Take it"), "primary"))
    options = [
        {"text": {"tag": "plain_text", "content": duration(timedelta(minutes=one))}, "value": str(one)}
        for one in MUTE_MINUTES
    ]
    controls.append(
        {
            "tag": "select_static",
            "name": "mute_select",
            "placeholder": {"tag": "plain_text", "content": _("Mute for a while")},
            "options": options,
            "behaviors": [{"type": "callback", "value": signed_value(incident, "mute")}],
        }
    )
    columns = [{"tag": "column", "width": "auto", "elements": [control]} for control in controls]
    return [{"tag": "column_set", "flex_mode": "flow", "columns": columns}, _form(incident), *_link(incident)]


def _form(incident: Incident) -> JSON:
    """One text, three ways to send it: resolved, false alarm, a note."""
    hint = {"tag": "plain_text", "content": _("What was done, or what you see")}
    buttons = [
        _button(incident, "resolve", _("Resolved"), "primary", submit=True),
        _button(incident, "false_alarm", _("Report a false alarm"), "text", submit=True),
        _button(incident, "note", _("Add to the timeline"), "text", submit=True),
    ]
    columns = [{"tag": "column", "width": "auto", "elements": [button]} for button in buttons]
    return {
        "tag": "form",
        "name": "incident_form",
        "elements": [
            {"tag": "input", "name": NOTE_INPUT, "placeholder": hint, "max_length": 1000},
            {"tag": "column_set", "flex_mode": "flow", "columns": columns},
        ],
    }


def _reopen(incident: Incident) -> JSON:
    button = _button(incident, "reopen", _("Reopen"), "default")
    button["confirm"] = {
        "title": {"tag": "plain_text", "content": _("Reopen the incident?")},
        "text": {"tag": "plain_text", "content": _("Everyone in the chat is told.")},
    }
    return button


def _link(incident: Incident) -> list[JSON]:
    url = f"{settings.PUBLIC_URL}/admin/incidents/incident/{incident.pk}/change/"
    text = _("Open in the console")
    return [_markdown(f"[{text}]({url})")]


def _button(incident: Incident, action: str, text: str, kind: str, *, submit: bool = False) -> dict[str, Any]:
    button: dict[str, Any] = {
        "tag": "button",
        "name": f"{action}_button",
        "type": kind,
        "text": {"tag": "plain_text", "content": text},
        "behaviors": [{"type": "callback", "value": signed_value(incident, action)}],
    }
    if submit:
        button["form_action_type"] = "submit"
    return button


def _by(incident: Incident, step: str) -> dict[str, str]:
    open_id, name = getattr(incident, f"{step}_by_open_id"), getattr(incident, f"{step}_by")
    return {
        "person": _at(open_id) if open_id else escape(name or "botconsole"),
        "time": _local_time(getattr(incident, f"{step}_at")),
    }


def _markdown(content: str) -> JSON:
    return {"tag": "markdown", "content": content}


def _column(content: str) -> JSON:
    return {"tag": "column", "width": "weighted", "weight": 1, "elements": [_markdown(content)]}


def _local_time(moment: Any) -> str:
    """In the reader's time zone, as Feishu draws it."""
    milliseconds = int(moment.timestamp() * 1000)
    shapes = ("date_num", "time")
    return " ".join(
        f"<local_datetime millisecond='{milliseconds}' format_type='{one}'></local_datetime>"
        for one in shapes
    )


def _at(open_id: str) -> str:
    from events.cards import mention

    return mention(open_id, open_id).markdown


def _signature(incident_pk: Any, action: str, chat_id: str, key: str | bytes) -> str:
    told = f"{incident_pk}\n{action}\n{chat_id}"
    return salted_hmac("incidents.cards", told, secret=key, algorithm="sha256").hexdigest()
