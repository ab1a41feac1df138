"""What is stored of bots, of the events they receive and of the calls they make; the verbs live on the rows."""

from .bot import REFUSALS_KEPT, Bot, Refusal, default_domain
from .event import DELIVERY_TIMES_KEPT, EVENT_RETRY_SECONDS, Event, EventQuerySet
from .eventtext import EventText, EventTextQuerySet
from .heartbeat import SEEN_LATELY, Heartbeat
from .outbox import Attempt, OutboxAttachment, OutboxItem, OutboxQuerySet
from .person import Chat, Named, Person
from .rows import insert, insert_once, storable

__all__ = [
    "DELIVERY_TIMES_KEPT",
    "EVENT_RETRY_SECONDS",
    "REFUSALS_KEPT",
    "SEEN_LATELY",
    "Attempt",
    "Bot",
    "Chat",
    "Event",
    "EventQuerySet",
    "EventText",
    "EventTextQuerySet",
    "Heartbeat",
    "Named",
    "OutboxAttachment",
    "OutboxItem",
    "OutboxQuerySet",
    "Person",
    "Refusal",
    "default_domain",
    "insert",
    "insert_once",
    "storable",
]
