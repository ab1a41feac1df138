"""Which incidents an event belongs to, for its page in the event log (RELATED in the routes)."""

from django.db.models import Q, QuerySet

from events.confidential import Reader
from events.envelope import text_at
from events.models import Event

from .models import Incident

SHOWN = 5


def incidents_of(event: Event, reader: Reader) -> QuerySet[Incident]:
    """Those in whose chat it happened, or in whose timeline its message stands; the newest first."""
    belongs = Q(bot=event.bot_id, chat_id=event.chat_id) if event.chat_id else Q(pk__in=[])
    if message_id := text_at(event.payload, "message.message_id", "message_id"):
        belongs |= Q(timeline__message_id=message_id)
    return Incident.objects.visible_to(reader).filter(belongs).distinct().order_by("-pk")[:SHOWN]
