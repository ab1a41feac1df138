"""What happened in a chat before the console knew that it is an incident's: the event log has it, here it is taken up.

Feishu makes a chat, and people write in it, while its answer is still on the way; a chat that is imported has a past.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from events.models import Event

from . import commands, entries
from .models import Incident

log = logging.getLogger(__name__)

TAKEN_UP_AT_MOST = 2000  # events, the newest; of an older past the export tells
LOOKED_THROUGH = 20_000  # events of the chat, and reactions, for what was taken back or pinned
TYPES = (entries.RECEIVED, *entries.CAME_AND_WENT)


def take_up(incident: Incident) -> None:
    """Everything from the chat that came before its id was known, and the commands that nobody obeyed.

    Twice is as once. It must not be in the way of the chat's card, so what fails here is only logged.
    """
    try:
        with transaction.atomic():
            for event in _write(incident, _of_the_chat(incident)):
                _obey(incident, event)
    except Exception:
        log.exception("what came early in the chat of %s is missing from its timeline", incident)


def take_up_past(incident: Incident, since: datetime | None, until: datetime | None) -> None:
    """The past of a chat that is imported, or the part of it that the incident lasted; commands are over long ago."""
    within = {"created_at__gte": since, "created_at__lte": until}
    _write(incident, _of_the_chat(incident, **{name: at for name, at in within.items() if at}))


def _of_the_chat(incident: Incident, **within: datetime) -> list[Event]:
    """The events that make entries, oldest first; those whose handler is still to be run come by themselves."""
    told = Event.objects.filter(bot=incident.bot, chat_id=incident.chat_id, event_type__in=TYPES, **within)
    settled = told.exclude(status__in=Event.WAITING)
    return list(settled.select_related("bot").order_by("-pk")[:TAKEN_UP_AT_MOST])[::-1]


def _write(incident: Incident, events: Sequence[Event]) -> Sequence[Event]:
    """Entries of these events, and in the event log what became of them; the messages that had none before."""
    messages = [event for event in events if event.event_type == entries.RECEIVED]
    new = entries.write_messages(incident, messages, reach=LOOKED_THROUGH)
    for event in events:
        if event.event_type != entries.RECEIVED:
            entries.write_people(incident, event)
    ignored = [event.pk for event in events if event.status == Event.Status.IGNORED]
    Event.objects.filter(pk__in=ignored).update(
        status=Event.Status.HANDLED,
        handler=f"{__name__}.{take_up.__name__}",
        summary=f"in the timeline of {incident}",
    )
    return new


def _obey(incident: Incident, event: Event) -> None:
    """A command that was none when it came, or was answered that there is no incident."""
    sent = entries.sent_in(event)
    command = None if entries.is_edited(sent) else commands.parse(event, sent, in_incident=True)
    if command is None or (event.status == Event.Status.HANDLED and command.name not in commands.COMMANDS):
        return
    incident.refresh_from_db()
    commands.obey(event, incident, command, key=f"answer:{event.bot_id}:{event.dedup_key}:late")
