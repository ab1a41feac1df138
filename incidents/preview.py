"""An alert card as it would look, while the incident is being written; and the card of one that is there."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext

from events.cards import Problem, check
from events.cardview import draw

from . import chat
from .cards import alert_card
from .models import Incident, Service, Severity
from .names import known_people

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preview:
    """`html` is safe (events.cardview escapes) and empty where there is nothing to draw."""

    html: str = ""
    chat_name: str = ""
    problems: list[Problem] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def preview(typed: Mapping[str, Any]) -> Preview:
    """What is typed so far: title, severity, service (its key), description, drill, image. Never raises."""
    try:
        incident = unsaved(typed)
        with chat.language_of_the_chat():
            card = alert_card(incident, present=incident.service.everyone if incident.service else ())
        problems = check(card)
        return Preview(picture(card, known_people()), chat.chat_name(incident), problems)
    except (TypeError, ValueError, LookupError, AttributeError, RecursionError):
        # A fault of ours: the person typing must not lose the form over it.
        log.exception("an alert card could not be previewed")
        return Preview(problems=[Problem("", gettext("The card cannot be drawn."))])


def unsaved(typed: Mapping[str, Any]) -> Incident:
    """An incident that is not stored, of whatever was typed."""
    severity, service = str(typed.get("severity") or ""), str(typed.get("service") or "")
    is_key = service.isascii() and service.isdigit() and len(service) < 10
    newest = Incident.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    return Incident(
        pk=newest + 1,  # most likely the number it will get
        title=" ".join(str(typed.get("title") or "").split())[:200] or gettext("What is broken"),
        severity=severity if severity in Severity.values else Severity.P2,
        service=Service.objects.filter(pk=service).first() if is_key else _default(typed),
        description=str(typed.get("description") or ""),
        drill=bool(typed.get("drill")),
        image_key="img_preview" if typed.get("image") else "",
        opened_at=timezone.now(),
    )


def _default(typed: Mapping[str, Any]) -> Service | None:
    bot = str(typed.get("bot") or "")
    is_key = bot.isascii() and bot.isdigit() and len(bot) < 10
    return (
        Service.objects.filter(default_for_id=int(bot)).first() if is_key and not typed.get("drill") else None
    )


def picture(card: Mapping[str, Any], people: Mapping[str, str]) -> str:
    """The card drawn in the language of the chats, as everyone there sees it."""
    return draw(card, people=people, locale="zh_cn" if settings.LANGUAGE_CODE.startswith("zh") else "en_us")


def card_of(incident: Incident, people: Mapping[str, str]) -> str:
    """The incident's card as it is now."""
    with chat.language_of_the_chat():
        return picture(alert_card(incident), people)
