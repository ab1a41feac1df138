"""Who may do what from the chat and the card. One table; what is not in it, members of the chat may."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from django.conf import settings

from events.models import Event

from .models import Incident, Responder, TimelineEntry, Via

Rule = Callable[[Incident, str], bool]


def members(incident: Incident, open_id: str) -> bool:
    """Whoever joined, wrote or was added, and has not left since.

    Feishu says with every message and press in which chat it was, but not whether the person is still there.
    """
    traces = incident.timeline.filter(open_id=open_id, via=Via.CHAT, kind__in=TimelineEntry.TRACES)
    last = traces.order_by("-happened_at", "-pk").values_list("kind", flat=True).first()
    if last is not None:
        return last != TimelineEntry.Kind.LEFT
    return incident.responders.filter(open_id=open_id, status=Responder.Status.ADDED).exists()


# What is done (a command's or a control's name) -> who may; e.g. {"severity": lead} with a rule of its own.
WHO_MAY: Mapping[str, Rule] = {}


def may(action: str, incident: Incident, open_id: str) -> bool:
    return bool(open_id) and WHO_MAY.get(action, members)(incident, open_id)


def may_open(event: Event) -> bool:
    """Whether an incident may be opened from this chat: INCIDENT_OPENING_CHATS, or everywhere if it is empty."""
    return not settings.INCIDENT_OPENING_CHATS or event.chat_id in settings.INCIDENT_OPENING_CHATS
