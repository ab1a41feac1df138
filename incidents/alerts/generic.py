"""One alert in our own words, for everything that can send JSON: a script, a cron job, another tool's template.

{"title", "status", "severity", "service", "description", "dedup_key", "fingerprint", "starts_at", "url", "image"}; only
the title is needed. Alerts with one `dedup_key` meet in one incident, there the `fingerprint` tells them apart.
"""

from typing import Any

from django.utils.translation import gettext as _

from . import values
from .alert import Alert, AlertError, Batch, each

TEXTS = ("title", "severity", "service", "description", "dedup_key", "fingerprint", "url", "starts_at")


def parse(body: Any) -> Batch:
    return each([("", body)], _alert)


def _alert(value: Any) -> Alert:
    body = values.as_object(value)
    words = {name: _text(body, name) for name in TEXTS}
    title = values.line(words["title"])
    if not title:
        raise AlertError("title", _("A title is needed."))
    given = words["fingerprint"] or words["dedup_key"] or values.digest(title, words["service"])
    image, warning = values.picture(body.get("image"))
    return Alert(
        key=values.digest("key", words["dedup_key"] or given),
        fingerprint=values.text(given, values.FINGERPRINT_LENGTH)
        if len(given) <= values.FINGERPRINT_LENGTH
        else values.digest(given),
        firing=values.is_firing(body.get("status", "firing")),
        title=title,
        severity=values.severity_of(words["severity"]),
        services=tuple(filter(None, (values.name(words["service"]),))),
        description=values.description(words["description"]),
        url=values.web_address(words["url"]),
        starts_at=values.moment(words["starts_at"]),
        image=image,
        payload=values.kept(body),
        warning=warning,
    )


def _text(body: values.Json, name: str) -> str:
    """ "" where it is missing or null; AlertError where it is something else than a text."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise AlertError(name, _("This must be a text."))
    return (value or "").strip()
