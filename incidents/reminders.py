"""Incidents that nobody takes, or nobody speaks of any more, say so in their chat. Called by the worker."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _

from events import outbox
from events.models import OutboxItem

from . import chat
from .models import Actor, Incident, IncidentQuerySet, ReminderRule, Responder, TimelineEntry, Via

log = logging.getLogger(__name__)

Status = Incident.Status


def remind(now: datetime) -> int:
    """Queues the reminders that are due at `now`; how many. Any number of workers may call it at once."""
    reminded = 0
    for rule in ReminderRule.objects.by_severity().values():
        for incident in due(rule, now) if rule.enabled else ():
            try:
                reminded += _remind(incident, now)
            except Exception:
                log.exception("no reminder of %s; it is tried again", incident)
    return reminded


def due(rule: ReminderRule, now: datetime) -> IncidentQuerySet:
    """The incidents of a severity that should be reminded of; none that is quiet, done, a drill or out of reach."""
    imported = TimelineEntry.objects.filter(incident=OuterRef("pk"), kind=TimelineEntry.Kind.IMPORTED)
    within_reach = Incident.objects.filter(
        severity=rule.severity, drill=False, bot__enabled=True, chat_gone=False
    )
    within_reach = within_reach.exclude(chat_id="").filter(~Exists(imported))
    loud = within_reach.filter(Q(muted_until=None) | Q(muted_until__lte=now), reminder_count__lt=rule.at_most)
    return (
        loud.alias(last=Coalesce("reminded_at", "opened_at"))
        .filter(_not_taken(rule, now) | _silent(rule, now))
        .select_related("bot", "service")
    )


def _not_taken(rule: ReminderRule, now: datetime) -> Q:
    first, second, later = (
        now - timedelta(minutes=minutes)
        for minutes in (rule.remind_after_minutes, rule.escalate_after_minutes, rule.repeat_every_minutes)
    )
    return Q(status=Status.OPEN) & (
        Q(reminder_count=0, last__lte=first)
        | Q(reminder_count=1, last__lte=second)
        | Q(reminder_count__gt=1, last__lte=later)
    )


def _silent(rule: ReminderRule, now: datetime) -> Q:
    since = now - timedelta(minutes=rule.ask_for_update_after_minutes)
    asked_before = Q(reminded_at=None) | Q(reminded_at__lte=since)
    return Q(status=Status.ACKNOWLEDGED, active_at__lte=since) & asked_before


def _remind(incident: Incident, now: datetime) -> bool:
    """One reminder, unless another worker was first, someone did something, or the last one still waits."""
    waiting = OutboxItem.objects.filter(bot=incident.bot, target=incident.chat_id, step=chat.REMINDER)
    if waiting.unfinished().exists():
        return False
    with transaction.atomic(), chat.language_of_the_chat():
        number = incident.reminder_count
        unchanged = Incident.objects.filter(pk=incident.pk, revision=incident.revision, reminder_count=number)
        if not unchanged.update(reminder_count=F("reminder_count") + 1, reminded_at=now):
            return False
        if incident.status == Status.OPEN:
            _call(incident, number, now)
        else:
            _ask(incident, number, now)
    return True


def _call(incident: Incident, number: int, now: datetime) -> None:
    """Nobody has taken it: a line, and the phones of whoever is to be called now."""
    people = whom(incident, number)
    minutes = max(1, int((now - incident.opened_at).total_seconds() // 60))
    said = _(
        "Nobody has taken %(incident)s for %(minutes)d minutes. Press the button on the card, or write /ack"
    )
    _say(incident, number, people, said % {"incident": incident, "minutes": minutes}, now)
    chat.call_for_help(incident, f":{incident.revision}:{number}")
    if people and incident.card_message_id:
        where: dict[str, Any] = {
            "chat_id": incident.chat_id,
            "message_id": incident.card_message_id,
            "open_ids": people,
        }
        outbox.buzz(incident.bot, **where, **_row(incident, f"buzz:{number}"))


def _ask(incident: Incident, number: int, now: datetime) -> None:
    """It was taken, and then silence: whoever leads it is asked how it goes."""
    person = incident.lead_open_id or incident.acknowledged_by_open_id
    said = _("How is %(incident)s going? Write a line here, or /note, or /solve") % {"incident": incident}
    _say(incident, number, [person] if person else [], said, now)


def _say(incident: Incident, number: int, people: list[str], said: str, now: datetime) -> None:
    markup = " ".join([*(outbox.at(one) for one in people), outbox.plain(said)])
    row = _row(incident, f"remind:{number}")
    outbox.send_text(incident.bot, chat_id=incident.chat_id, markup=markup, merge_key="reminder", **row)
    incident.write(TimelineEntry.Kind.REMINDED, Actor(Via.SYSTEM), text=said, happened_at=now)


def whom(incident: Incident, number: int) -> list[str]:
    """The first on call, then the second, then both; without a service, whoever was added first.

    Only people who are in the chat: Feishu buzzes nobody else.
    """
    added = incident.responders.filter(status=Responder.Status.ADDED).exclude(open_id="")
    inside = list(dict.fromkeys(added.values_list("open_id", flat=True)))
    on_call = incident.service.on_call if incident.service else []
    people = [one for one in on_call if one in inside] or inside[:2]
    return people if number > 1 else people[number : number + 1] or people[:1]


def _row(incident: Incident, suffix: str) -> dict[str, Any]:
    """The revision tells the reminders before a reopening from those after it."""
    key = f"inc:{incident.key}:{suffix}:{incident.revision}"
    return {"key": key, "step": chat.REMINDER, "subject": incident}
