"""What a parser reads from a sender's JSON, cleaned, cut to length, harmless to store. It asks no database.

Everything that comes in is a stranger's: a wrong type is refused by name, a wrong picture costs the picture only.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _

from events.models import storable

from .. import images, phrases
from .alert import AlertError

Json = dict[str, Any]

TITLE_LENGTH, DESCRIPTION_LENGTH, NAME_LENGTH, URL_LENGTH = 200, 5000, 80, 2000
FINGERPRINT_LENGTH = 128
PAYLOAD_CHARACTERS, PAYLOAD_DEPTH = 20_000, 10

# What senders call a severity -> ours. A word that is not here leaves it to the service, else to P2.
SEVERITIES: Mapping[str, str] = {
    "p0": "P0", "critical": "P0", "crit": "P0", "fatal": "P0", "emergency": "P0", "disaster": "P0", "page": "P0",
    "p1": "P1", "high": "P1", "error": "P1", "major": "P1", "severe": "P1", "alert": "P1",
    "p2": "P2", "medium": "P2", "warning": "P2", "warn": "P2", "average": "P2", "moderate": "P2", "ticket": "P2",
    "p3": "P3", "low": "P3", "info": "P3", "information": "P3", "informational": "P3", "minor": "P3", "notice": "P3",
    "none": "P3",
}  # fmt: skip
FIRING: Mapping[str, bool] = {"firing": True, "resolved": False}


def as_object(value: Any, field: str = "") -> Json:
    if not isinstance(value, dict):
        raise AlertError(field, _("This must be an object."))
    return value


def text(value: Any, length: int) -> str:
    """A text that can be stored and shown, cut; "" for anything that is none."""
    return storable(value).strip()[:length] if isinstance(value, str) else ""


def line(value: Any, length: int = TITLE_LENGTH) -> str:
    """A text in one line, without characters that nobody sees."""
    return phrases.one_line(text(value, 10 * length))[:length].strip()


def name(value: Any) -> str:
    """What a service, or a label, is called."""
    return line(value, NAME_LENGTH)


def description(value: Any) -> str:
    return text(value, DESCRIPTION_LENGTH)


def is_firing(value: Any) -> bool:
    if not isinstance(value, str) or value not in FIRING:
        raise AlertError("status", _("This must be firing or resolved."))
    return FIRING[value]


def severity_of(word: str) -> str:
    return SEVERITIES.get(word.lower(), "")


def moment(value: Any) -> datetime | None:
    """RFC 3339 with its zone; None for anything else, and for year 1, which is how Go writes "never"."""
    try:
        at = parse_datetime(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return at if at and at.tzinfo and at.year > 1 else None


def web_address(value: Any) -> str:
    """The address if a page may link to it; "" for javascript:, data: and everything else that is not the web."""
    address = text(value, URL_LENGTH + 1)
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    fits = parts.scheme in ("http", "https") and bool(parts.netloc) and len(address) <= URL_LENGTH
    return address if fits and address.isprintable() and " " not in address else ""


def picture(value: Any) -> tuple[bytes, str]:
    """(image, "") from base64 or a data: address; (b"", why not) for one that Feishu would not take."""
    if value in (None, ""):
        return b"", ""
    try:
        return images.from_base64(value), ""
    except images.ImageError as error:
        return b"", str(images.WHY[error.code])


def digest(*parts: str) -> str:
    """An identity of fixed length; no two lists of parts share one."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def kept(payload: Json) -> Json:
    """What is stored of the sender's JSON: as it came, but without pictures and what a database cannot hold."""
    told = storable_json({name: value for name, value in payload.items() if not _is_picture(name, value)})
    written = json.dumps(told, ensure_ascii=False)
    return told if len(written) <= PAYLOAD_CHARACTERS else {"…": written[:PAYLOAD_CHARACTERS]}


def _is_picture(name: str, value: Any) -> bool:
    return name == "image" or (isinstance(value, str) and value.startswith("data:"))


def storable_json(value: Any, depth: int = 0) -> Any:
    """Without NUL, halves of surrogate pairs, infinite numbers, and whatever lies too deep."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if depth >= PAYLOAD_DEPTH and isinstance(value, dict | list):
        return "…"
    if isinstance(value, dict):
        return {storable(str(name)): storable_json(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list):
        return [storable_json(item, depth + 1) for item in value]
    return value
