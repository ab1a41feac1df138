"""Prometheus Alertmanager's webhook, version 4: a notification for a group of alerts.

{"groupKey", "groupLabels": {}, "alerts": [{"status", "labels": {}, "annotations": {}, "startsAt", "generatorURL",
"fingerprint"}]}; `status` is firing or resolved, for each alert by itself. https://prometheus.io/docs/alerting/latest/configuration/
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from django.utils.translation import gettext as _

from events.envelope import dig, text_at

from .alert import (
    DESCRIPTION_LENGTH,
    FINGERPRINT_LENGTH,
    NAME_LENGTH,
    Alert,
    AlertError,
    Batch,
    Json,
    as_object,
    digest,
    each,
    is_firing,
    kept,
    line,
    moment,
    picture,
    severity_of,
    text,
    web_address,
)

# Where labels and annotations say what we look for; the first that is there counts.
SEVERITY_LABELS = ("severity", "priority", "level")
SERVICE_LABELS = ("service", "app", "application", "job")
TITLES = ("annotations.summary", "annotations.title", "labels.alertname")
DESCRIPTIONS = ("annotations.description", "annotations.message")
ADDRESSES = ("generatorURL",)


def parse(body: Any, *, addresses: Sequence[str] = ADDRESSES, image: str = "") -> Batch:
    """`addresses` are the fields that may hold the source's page, `image` the one that may hold a picture."""
    alerts = dig(body, "alerts")
    if not isinstance(alerts, list) or not alerts:
        raise AlertError("alerts", _("A list with at least one alert is needed."))
    entries = ((f"alerts[{number}]", one) for number, one in enumerate(alerts))
    return each(entries, partial(_alert, body=body, addresses=addresses, image=image))


def _alert(value: Any, *, body: Json, addresses: Sequence[str], image: str) -> Alert:
    alert = as_object(value)
    labels = as_object(alert.get("labels"), "labels")
    pairs = [f"{text(name, NAME_LENGTH)}: {line(label)}" for name, label in sorted(labels.items())]
    fingerprint = text(alert.get("fingerprint"), FINGERPRINT_LENGTH) or digest(*pairs)
    data, warning = picture(dig(alert, image)) if _is_inline(dig(alert, image)) else (b"", "")
    return Alert(
        key=_key(body, text_at(labels, "alertname"), fingerprint),
        fingerprint=fingerprint,
        firing=is_firing(alert.get("status")),
        title=line(text_at(alert, *TITLES)) or fingerprint,
        severity=severity_of(text_at(labels, *SEVERITY_LABELS).strip()),
        services=tuple(filter(None, (line(labels.get(name), NAME_LENGTH) for name in SERVICE_LABELS))),
        description=text(text_at(alert, *DESCRIPTIONS) or "\n".join(pairs), DESCRIPTION_LENGTH),
        url=next(filter(None, (web_address(alert.get(name)) for name in addresses)), ""),
        starts_at=moment(alert.get("startsAt")),
        image=data,
        payload=kept(alert),
        warning=warning,
    )


def _key(body: Json, name: str, fingerprint: str) -> str:
    """What the operator groups by (`group_by`) meets in one incident; ungrouped, what has the same name does."""
    if body.get("groupLabels") and isinstance(group := body.get("groupKey"), str) and group:
        return digest("group", group)
    return digest("name", name) if name else digest("fingerprint", fingerprint)


def _is_inline(value: Any) -> bool:
    """An address would have to be fetched, which the web process never does."""
    return isinstance(value, str) and value.startswith("data:")
