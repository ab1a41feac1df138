"""One alert in our own words, for everything that can send JSON: a script, a cron job, another tool's template.

{"title", "status", "severity", "service", "description", "dedup_key", "fingerprint", "starts_at", "url", "image"}; only
the title is needed. Alerts with one `dedup_key` meet in one incident, there the `fingerprint` tells them apart.
"""

from typing import Any

from django.utils.translation import gettext as _

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

TEXTS = ("title", "severity", "service", "description", "dedup_key", "fingerprint", "url", "starts_at")


def parse(body: Any) -> Batch:
    return each([("", body)], _alert)


def _alert(value: Any) -> Alert:
    body = as_object(value)
    words = {name: _text(body, name) for name in TEXTS}
    title = line(words["title"])
    if not title:
        raise AlertError("title", _("A title is needed."))
    given = words["fingerprint"] or words["dedup_key"] or digest(title, words["service"])
    image, warning = picture(body.get("image"))
    return Alert(
        key=digest("key", words["dedup_key"] or given),
        fingerprint=text(given, FINGERPRINT_LENGTH) if len(given) <= FINGERPRINT_LENGTH else digest(given),
        firing=is_firing(body.get("status", "firing")),
        title=title,
        severity=severity_of(words["severity"]),
        services=tuple(filter(None, (line(words["service"], NAME_LENGTH),))),
        description=text(words["description"], DESCRIPTION_LENGTH),
        url=web_address(words["url"]),
        starts_at=moment(words["starts_at"]),
        image=image,
        payload=kept(body),
        warning=warning,
    )


def _text(body: Json, name: str) -> str:
    """ "" where it is missing or null; AlertError where it is something else than a text."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise AlertError(name, _("This must be a text."))
    return (value or "").strip()
