"""What the console reads from events beside reacting to them: searchable texts, and names of people and chats.

It is read after the webhook has answered, by the worker or by whoever searches first.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from django.db import IntegrityError, transaction

from . import people
from .envelope import text_at
from .models import Bot, Event, EventText

BATCH = 500


def read_new(limit: int = BATCH) -> int:
    """Reads up to `limit` events that nobody has read yet; how many there were.

    What came since goes first. A log from before there was an index is read from its new end to its old one.
    """
    read = _read(EventText.objects.missing(limit))
    return read if read == limit else read + _read(EventText.objects.left_behind(limit - read), old=True)


def catch_up(batches: int = 4) -> None:
    """Reads what came since, before a search; a long backlog is the worker's."""
    while batches and _read(EventText.objects.missing(BATCH)) == BATCH:
        batches -= 1


def _read(events: Sequence[Event], *, old: bool = False) -> int:
    try:
        with transaction.atomic():
            EventText.objects.add(events)
    except IntegrityError:  # one of them was deleted meanwhile: the next round reads the others
        return 0
    _learn(events, old=old)
    return len(events)


def chat_name(event: Event) -> str:
    """The name of the event's group, where the event carries it."""
    if event.event_type in Event.TYPES_WITH_CHAT_NAME:
        return text_at(event.payload, "name")
    return text_at(event.payload, "after_change.name") if event.event_type == "im.chat.updated_v1" else ""


def _learn(events: Iterable[Event], *, old: bool) -> None:
    """Keeps the newest name of everyone and every group that these events name; of `old` ones what is unknown."""
    found: dict[int, tuple[dict[str, str], dict[str, str]]] = defaultdict(lambda: ({}, {}))
    for event in events:
        of_people, of_chats = found[event.bot_id]
        of_people.update(people.names_in(event))
        if name := chat_name(event):
            of_chats[event.chat_id] = name
    bots = Bot.objects.in_bulk(found)
    for bot_id, (of_people, of_chats) in found.items():
        if bot_id in bots:
            people.remember(bots[bot_id], of_people, old=old)
            people.remember_chats(bots[bot_id], of_chats, old=old)
