"""An alert as plain values, whatever sent it. How they are read from JSON: values.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

REFUSALS_TOLD = 20


@dataclass(frozen=True)
class Alert:
    """Alerts with one `key` meet in one incident; there the `fingerprint` tells them apart.

    `severity` is P0-P3, or "" where the sender's word says nothing to us; `services` are names to look for, in order;
    `url` is http(s) or ""; `starts_at` is when this firing began, where the sender says so; `warning` says what of it
    could not be taken.
    """

    key: str
    fingerprint: str
    firing: bool
    title: str
    severity: str = ""
    services: tuple[str, ...] = ()
    description: str = ""
    url: str = ""
    starts_at: datetime | None = None
    image: bytes = b""
    payload: Mapping[str, Any] = field(default_factory=dict)
    warning: str = ""


class AlertError(Exception):
    """What came in is no alert: `field` is where, the text says why."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(why)
        self.field = field


@dataclass(frozen=True)
class Batch:
    """What one request brought; `refused` is {where: why} of what was no alert, and of pictures that were none."""

    alerts: tuple[Alert, ...]
    refused: Mapping[str, str]


def each(entries: Iterable[tuple[str, Any]], parse: Callable[[Any], Alert]) -> Batch:
    """Reads every (where, entry) by itself: one that is broken costs none of the others."""
    alerts, refused = [], {}
    for where, entry in entries:
        try:
            alert = parse(entry)
        except AlertError as error:
            refused[".".join(filter(None, (where, error.field))) or "alert"] = str(error)
            continue
        alerts.append(alert)
        if alert.warning:
            refused[".".join(filter(None, (where, "image")))] = alert.warning
    return Batch(tuple(alerts), dict(list(refused.items())[:REFUSALS_TOLD]))
