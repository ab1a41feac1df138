"""What the event log and the outbox keep of incidents for good, for KEPT in the routes."""

from django.contrib.contenttypes.models import ContentType
from django.db.models import Q

from events.retention import Kept

from .models import FormerChat, Incident


def incidents_history() -> Kept:
    """Everything in the chats of incidents, those they have left too, and every call they caused."""
    chats = Incident.objects.exclude(chat_id="").values("chat_id")
    former = FormerChat.objects.values("chat_id")
    caused = Q(subject_type=ContentType.objects.get_for_model(Incident))
    return Kept(
        events=Q(chat_id__in=chats) | Q(chat_id__in=former),
        outbox=Q(target__in=chats) | Q(target__in=former) | caused,
    )
