"""What the event log and the outbox hold of private incidents, for CONFIDENTIAL in the routes."""

from django.contrib.contenttypes.models import ContentType
from django.db.models import Q

from events.confidential import Hidden, Reader

from .models import FormerChat, Incident


def private_incidents(reader: Reader) -> Hidden | None:
    """Everything in the chats of private incidents, those they have left too, their names, every call they caused."""
    if reader.has_perm(Incident.SEES_PRIVATE):
        return None
    private = Incident.objects.filter(private=True)
    chats = private.exclude(chat_id="").values("chat_id")
    former = FormerChat.objects.filter(incident__private=True).values("chat_id")
    caused = Q(subject_type=ContentType.objects.get_for_model(Incident), subject_id__in=private.values("pk"))
    in_chats = Q(chat_id__in=chats) | Q(chat_id__in=former)
    return Hidden(
        events=in_chats,
        outbox=Q(target__in=chats) | Q(target__in=former) | caused,
        chats=in_chats,
    )
