"""One event as its page shows it: in words, how it came, what reacted, what it caused, and how to push it once more."""

import json
import secrets
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from .adminrows import moment
from .eventlinks import related
from .eventrows import Link, chat_link, event_marks, person_link, person_links, same
from .jsontree import pretty, tree
from .models import Event, OutboxItem
from .naming import naming
from .outboxadmin import admin_url, outbox_line
from .sentences import sentence
from .words import TRANSPORTS, outcome_words

# Feishu delivers again where no answer came within 3 seconds. Source: feishu-platform.md 1.1.
FEISHU_WAITS = (timedelta(seconds=15), timedelta(minutes=5), timedelta(hours=1), timedelta(hours=6))
OUTBOX_SHOWN = 50


@dataclass(frozen=True)
class DeliveryLine:
    """One delivery: when, and how long after the one before."""

    at: SafeString
    after: str


def event_page(event: Event, reader: Any) -> dict[str, Any]:
    """What the template shows."""
    names = naming([event])
    times = [at for text in event.delivery_times if (at := _time(text))]
    caused = OutboxItem.objects.readable_by(reader).filter(cause=event).prefetch_related("subject")
    items = list(caused.order_by("pk")[:OUTBOX_SHOWN])
    return {
        "title": sentence(event, names),
        "subtitle": None,
        "event": event,
        "marks": event_marks(event),
        "type": Link(event.event_type, same(type=event.event_type), event.event_type),
        "chat": chat_link(event, names),
        "people": person_links(event, names),
        "actor": person_link(event.actor_open_id, names.person(event.bot_id, event.actor_open_id)),
        "transport": TRANSPORTS.get(event.transport, event.transport),
        "lag": lasted(event.received_at - event.created_at),
        "deliveries": delivery_lines(times),
        "unlisted": max(0, event.deliveries - len(times)),
        "next_delivery": moment(next_delivery(times, timezone.now())),
        "outcome": outcome_words(event.summary),
        "tree": tree(event.body),
        "raw": pretty(event.body),
        "curl": curl(event),
        "outbox": [outbox_line(item, names.chats.get((event.bot_id, item.target), "")) for item in items],
        "subjects": row_links([*related(event, reader), *(item.subject for item in items)]),
    }


def delivery_lines(times: Sequence[datetime]) -> list[DeliveryLine]:
    first = [DeliveryLine(moment(at), "") for at in times[:1]]
    return first + [DeliveryLine(moment(at), lasted(at - before)) for before, at in pairwise(times)]


def next_delivery(times: Sequence[datetime], now: datetime) -> datetime | None:
    """When Feishu's clock would push it once more, if it goes on; None where the first answer was enough.

    An event that came once was answered: only one that came again shows that answers do not get through.
    """
    if not 1 < len(times) <= len(FEISHU_WAITS):
        return None
    expected = times[-1] + FEISHU_WAITS[len(times) - 1]
    return expected if expected > now else None


def lasted(wait: timedelta) -> str:
    """A duration in its two largest units at most; a clock that is ahead shows as a minus."""
    seconds = wait.total_seconds()
    sign, seconds = ("−" if seconds < 0 else ""), abs(seconds)
    if seconds < 10:
        return sign + gettext("%(seconds).1f s") % {"seconds": seconds}
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = (
        (days, gettext("%(count)d d")),
        (hours, gettext("%(count)d h")),
        (minutes, gettext("%(count)d min")),
        (rest, gettext("%(count)d s")),
    )
    return sign + " ".join([words % {"count": count} for count, words in units if count][:2])


def row_links(rows: Iterable[Any]) -> list[Link]:
    """What the event belongs to and what its calls were made for: an incident, a template that greets."""
    found = {}
    for row in rows:
        if url := admin_url(row):
            kind = str(row._meta.verbose_name)
            found[url] = Link(f"{kind}: {row}", url, kind)
    return list(found.values())


CURL = """# {explanation}
: "${{VERIFICATION_TOKEN:?}}" "${{ENCRYPT_KEY=}}"
BODY={body}
if [ -n "$ENCRYPT_KEY" ]; then
  KEY=$(printf %s "$ENCRYPT_KEY" | openssl dgst -sha256 -r | cut -d' ' -f1); IV=$(openssl rand -hex 16)
  START=$(printf %s "$IV" | sed 's/../\\\\x&/g')
  SEALED() {{ printf "$START"; printf %s "$BODY" | openssl enc -aes-256-cbc -K "$KEY" -iv "$IV"; }}
  BODY=$(SEALED | base64 | tr -d '\\n')
  BODY="{{\\"encrypt\\":\\"$BODY\\"}}"
fi
TIME=$(date +%s); NONCE=$RANDOM$RANDOM
SIGNATURE=$(printf %s "$TIME$NONCE$ENCRYPT_KEY$BODY" | openssl dgst -sha256 -r | cut -d' ' -f1)
curl -sS {url} -H 'Content-Type: application/json' \\
  -H "X-Lark-Request-Timestamp: $TIME" -H "X-Lark-Request-Nonce: $NONCE" -H "X-Lark-Signature: $SIGNATURE" \\
  --data-binary "$BODY"
"""


def curl(event: Event) -> str:
    """The push as commands for bash, which take the bot's secrets from the environment: none is in the page."""
    if not isinstance(event.body, dict):
        return ""
    mark = secrets.token_hex(8)
    header = event.body.get("header")
    if "schema" in event.body:
        body = {**event.body, "header": {**(header if isinstance(header, dict) else {}), "token": mark}}
    else:
        body = {**event.body, "token": mark}
    text = shlex.quote(json.dumps(body, ensure_ascii=False)).replace(mark, "'\"$VERIFICATION_TOKEN\"'")
    explanation = gettext(
        "bash; first: export VERIFICATION_TOKEN=… ENCRYPT_KEY=… (the bot's, in Feishu's console)"
    )
    return CURL.format(explanation=explanation, body=text, url=shlex.quote(event.bot.webhook_url))


def _time(text: Any) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return timezone.make_aware(at) if timezone.is_naive(at) else at
