"""Presses on the alert card: checked, done once, answered with a toast in the presser's language and the new card."""

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from events.dispatch import Reaction, handled
from events.envelope import text_at
from events.models import Event

from . import chat, names
from .cards import MUTE_MINUTES, NOTE_INPUT, alert_card, is_signed
from .models import Actor, Incident, StepError, TimelineEntry, Via
from .rights import may

INCIDENT_ID = re.compile(r"[0-9]{1,18}")
TWICE = timedelta(minutes=1)  # the same note again so soon is a second click
LANGUAGES = {"zh_cn": "zh-hans", "en_us": "en"}


class PressError(Exception):
    """The press lacks something; the text says what."""


def press(event: Event) -> Reaction | None:
    """card.action.trigger: None for a card that is not an incident's."""
    value = (
        event.payload.get("action", {}).get("value")
        if isinstance(event.payload.get("action"), dict)
        else None
    )
    if not isinstance(value, dict) or "incident" not in value:
        return None
    incident = _incident(event, str(value["incident"]))
    if incident is None or incident.chat_id != event.chat_id or not is_signed(value, event.chat_id):
        return _refuse(
            event, incident, lambda: _("This card cannot be used here. Go to the incident's chat.")
        )
    action = str(value["action"])
    if not may(action, incident, event.actor_open_id):
        return _refuse(
            event, incident, lambda: _("Only members of the chat can do that. Write a message here first.")
        )
    by = names.actor(event, Via.BUTTON)
    try:
        ACTIONS[action](incident, event, by)
    except PressError as error:
        text = str(error)
        return handled(f"refused: {text}", _reply("warning", lambda: _(text)))
    except StepError as error:
        now, refused = error.incident, error
        said = _reply("info", lambda: names.who_was_first(refused))
        return handled(f"{action}: {now.status} already", {**said, **_card(now)})
    return handled(
        f"{action} on {incident}", {**_reply("success", lambda: str(DONE[action]())), **_card(incident)}
    )


def _incident(event: Event, number: str) -> Incident | None:
    if not INCIDENT_ID.fullmatch(number):
        return None
    return Incident.objects.select_related("bot", "service").filter(bot=event.bot, pk=number).first()


def _refuse(event: Event, incident: Incident | None, why: Callable[[], str]) -> Reaction:
    """A forwarded card, a forged value, a stranger: refused, and written down where there is an incident."""
    if incident is not None:
        by = names.actor(event, Via.BUTTON)
        text = text_at(event.payload, "action.value.action")[:40]
        incident.write(TimelineEntry.Kind.REFUSED, by, text=f"{text} {event.chat_id}".strip())
    return handled("refused press", _reply("error", why))


def _ack(incident: Incident, event: Event, by: Actor) -> None:
    incident.acknowledge(by)


def _mute(incident: Incident, event: Event, by: Actor) -> None:
    option = text_at(event.payload, "action.option")
    if option not in [str(minutes) for minutes in MUTE_MINUTES]:
        raise PressError(gettext_noop("Choose for how long."))
    incident.mute(by, timedelta(minutes=int(option)))


def _resolve(incident: Incident, event: Event, by: Actor) -> None:
    incident.resolve(by, _typed(event))


def _false_alarm(incident: Incident, event: Event, by: Actor) -> None:
    if not _typed(event):
        raise PressError(gettext_noop("Write why it is a false alarm."))
    incident.resolve(by, _typed(event), false_alarm=True)


def _note(incident: Incident, event: Event, by: Actor) -> None:
    if not _typed(event):
        raise PressError(gettext_noop("Write the note first."))
    Incident.objects.select_for_update().get(pk=incident.pk)  # of two clicks at one moment, one waits here
    lately = {"happened_at__gt": timezone.now() - TWICE, "kind": TimelineEntry.Kind.NOTE}
    if not incident.timeline.filter(open_id=by.open_id, text=_typed(event), **lately).exists():
        incident.note(by, _typed(event))


def _reopen(incident: Incident, event: Event, by: Actor) -> None:
    incident.reopen(by)


def _typed(event: Event) -> str:
    return text_at(event.payload, f"action.form_value.{NOTE_INPUT}").strip()[:1000]


ACTIONS: Mapping[str, Callable[[Incident, Event, Actor], None]] = {
    "ack": _ack,
    "mute": _mute,
    "resolve": _resolve,
    "false_alarm": _false_alarm,
    "note": _note,
    "reopen": _reopen,
}
DONE: Mapping[str, Callable[[], str]] = {
    "ack": lambda: _("It is yours. Good luck!"),
    "mute": lambda: _("Muted"),
    "resolve": lambda: _("Resolved"),
    "false_alarm": lambda: _("Reported as a false alarm"),
    "note": lambda: _("Noted"),
    "reopen": lambda: _("Open again"),
}


def _reply(kind: str, text: Callable[[], str]) -> dict[str, Any]:
    """A toast; Feishu picks the presser's language."""
    texts = {}
    for locale, language in LANGUAGES.items():
        with translation.override(language):
            texts[locale] = text()
    default = "zh_cn" if settings.LANGUAGE_CODE.startswith("zh") else "en_us"
    return {"toast": {"type": kind, "content": texts[default], "i18n": texts}}


def _card(incident: Incident) -> dict[str, Any]:
    with chat.language_of_the_chat():
        return {"card": {"type": "raw", "data": alert_card(incident)}}
