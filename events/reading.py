"""What the console reads from events beside reacting to them: searchable texts, and names of people and chats.

It is read after the webhook has answered, by the worker or by whoever searches first.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from django.db import IntegrityError, connection, transaction

from . import people
from .envelope import text_at
from .models import Bot, Event, EventText

BATCH = 1000  # about a third of a second's work, and at most some 150 MB of the largest messages there are
REST_SECONDS = 0.1  # behind, it leaves the machine to webhook and deliveries between two batches
CAUGHT_UP = 2  # batches that whoever searches reads himself

Pick = Callable[[int], list[Event]]


def is_due() -> bool:
    return bool(EventText.objects.missing(1) or EventText.objects.left_behind(1))


def run_due(is_stopping: Callable[[], bool]) -> int:
    """Reads until nothing is left to read; how many events."""
    total = 0
    while not is_stopping():
        read = read_new()
        total += read
        if read < BATCH:
            break
        time.sleep(REST_SECONDS)
    return total


def read_new(limit: int = BATCH) -> int:
    """Reads up to `limit` events that nobody has read yet; how many there were, 0 while another worker reads.

    What came since goes first. A log from before there was an index is read from its new end to its old one.
    """
    read = _read(EventText.objects.missing, limit, _alone())
    if read == limit:
        return read
    return read + _read(EventText.objects.left_behind, limit - read, _alone(), old=True)


def catch_up() -> None:
    """Reads what came since, before a search; a long backlog is the worker's."""
    for _ in range(CAUGHT_UP):
        if _read(EventText.objects.missing, BATCH, nullcontext(True)) < BATCH:
            return


def _read(pick: Pick, limit: int, turn: AbstractContextManager[bool], *, old: bool = False) -> int:
    try:
        with turn as is_ours:
            events = pick(limit) if is_ours else []
            EventText.objects.add(events)
    except IntegrityError:  # one of them was deleted meanwhile: the next round reads the others
        return 0
    _learn(events, old=old)  # not while anything is locked: handlers keep names, too
    return len(events)


@contextmanager
def _alone() -> Iterator[bool]:
    """Whether no other worker reads: two would do the same work twice. SQLite's writers take turns anyway."""
    if connection.vendor != "postgresql":
        yield True
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended('events.reading', 0))")
            is_ours = bool(cursor.fetchone()[0])
        yield is_ours


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
