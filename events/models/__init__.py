"""What is stored of bots, of the events they receive and of the calls they make; the verbs live on the rows."""

from .bot import REFUSALS_KEPT, Bot, Refusal, default_domain
from .checkup import Checkup
from .connection import MOST_CONNECTIONS, Connection
from .event import (
    DELIVERY_TIMES_KEPT,
    EVENT_RETRY_SECONDS,
    HANDLER_LENGTH,
    SIMULATED,
    Arrival,
    Event,
    EventQuerySet,
)
from .eventtext import EventText, EventTextQuerySet
from .hearing import HOURS_KEPT, Counted, Hearing, HourCount
from .heartbeat import SEEN_LATELY, Heartbeat
from .lane import Lane
from .outbox import AGAIN, Attempt, OutboxAttachment, OutboxItem, OutboxQuerySet, Priority
from .person import Chat, Named, Person
from .quota import Circuit, Quota
from .replay import CALLS_PER_MINUTE, MOST_CALLS_PER_MINUTE, PlannedCall, Replay
from .rows import BIGGEST_KEY, insert_all, insert_new, insert_once, prepared_cursor, storable
from .ticket import AppTicket

__all__ = [
    "AGAIN",
    "BIGGEST_KEY",
    "CALLS_PER_MINUTE",
    "DELIVERY_TIMES_KEPT",
    "EVENT_RETRY_SECONDS",
    "HANDLER_LENGTH",
    "HOURS_KEPT",
    "MOST_CALLS_PER_MINUTE",
    "MOST_CONNECTIONS",
    "REFUSALS_KEPT",
    "SEEN_LATELY",
    "SIMULATED",
    "AppTicket",
    "Arrival",
    "Attempt",
    "Bot",
    "Chat",
    "Checkup",
    "Circuit",
    "Connection",
    "Counted",
    "Event",
    "EventQuerySet",
    "EventText",
    "EventTextQuerySet",
    "Hearing",
    "Heartbeat",
    "HourCount",
    "Lane",
    "Named",
    "OutboxAttachment",
    "OutboxItem",
    "OutboxQuerySet",
    "Person",
    "PlannedCall",
    "Priority",
    "Quota",
    "Refusal",
    "Replay",
    "default_domain",
    "insert_all",
    "insert_new",
    "insert_once",
    "prepared_cursor",
    "storable",
]
