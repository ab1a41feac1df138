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

from . import values
from .alert import Alert, AlertError, Batch, each

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


def _alert(value: Any, *, body: values.Json, addresses: Sequence[str], image: str) -> Alert:
    alert = values.as_object(value)
    labels = values.as_object(alert.get("labels"), "labels")
    pairs = [f"{values.name(name)}: {values.line(label)}" for name, label in sorted(labels.items())]
    fingerprint = values.text(alert.get("fingerprint"), values.FINGERPRINT_LENGTH) or values.digest(*pairs)
    data, warning = values.picture(dig(alert, image)) if _is_inline(dig(alert, image)) else (b"", "")
    return Alert(
        key=_key(body, text_at(labels, "alertname"), fingerprint),
        fingerprint=fingerprint,
        firing=values.is_firing(alert.get("status")),
        title=values.line(text_at(alert, *TITLES)) or fingerprint,
        severity=values.severity_of(text_at(labels, *SEVERITY_LABELS).strip()),
        services=tuple(filter(None, (values.name(labels.get(label)) for label in SERVICE_LABELS))),
        description=values.description(text_at(alert, *DESCRIPTIONS) or "\n".join(pairs)),
        url=next(filter(None, (values.web_address(alert.get(name)) for name in addresses)), ""),
        starts_at=values.moment(alert.get("startsAt")),
        image=data,
        payload=values.kept(alert),
        warning=warning,
    )


def _key(body: values.Json, name: str, fingerprint: str) -> str:
    """What the operator groups by (`group_by`) meets in one incident; ungrouped, what has the same name does."""
    if body.get("groupLabels") and isinstance(group := body.get("groupKey"), str) and group:
        return values.digest("group", group)
    return values.digest("name", name) if name else values.digest("fingerprint", fingerprint)


def _is_inline(value: Any) -> bool:
    """An address would have to be fetched, which the web process never does."""
    return isinstance(value, str) and value.startswith("data:")
