"""From a received event to the handler that reacts: `accept` is where every transport comes in."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache, partial
from importlib import import_module
from typing import Any

from django.conf import settings
from django.db import DataError, IntegrityError, OperationalError, connection, transaction
from django.utils import timezone

from .envelope import Envelope
from .groupcommit import GroupCommit
from .models import HANDLER_LENGTH, Arrival, Bot, Event, insert_new
from .partitions import PATIENCE
from .running import Batch, Running, handling

log = logging.getLogger(__name__)

NO_HANDLER, BOT_DISABLED = "no handler for this type", "the bot is disabled"
NOTHING_TO_DO = "nothing to do"  # there are handlers, but the event concerns none


@dataclass(frozen=True)
class Reaction:
    """What a handler made of an event: HANDLED or IGNORED, why in a few words, and what Feishu gets to read."""

    status: str
    summary: str
    reply: Mapping[str, Any] = field(default_factory=dict)


# None: not for this handler, the next one is asked.
Handler = Callable[[Event], Reaction | None]


def handled(summary: str, reply: Mapping[str, Any] | None = None) -> Reaction:
    return Reaction(Event.Status.HANDLED, summary, reply or {})


def ignored(summary: str) -> Reaction:
    return Reaction(Event.Status.IGNORED, summary)


LEFT_OUT = "left_out"


def left_out(summary: str) -> Reaction:
    """For a replayed event: what it would do must not be done twice. The event stays as it is."""
    return Reaction(LEFT_OUT, summary)


class HandlerError(Exception):
    """A handler raised; `__cause__` is what it raised. Its writes must be rolled back."""

    def __init__(self, duration_ms: int, handler: str) -> None:
        super().__init__(duration_ms)
        self.duration_ms, self.handler = duration_ms, handler


@cache
def routes() -> Mapping[str, Sequence[Handler]]:
    """`EVENT_ROUTES` of the composing package, loaded at first use: events imports nothing above itself."""
    table: Mapping[str, Sequence[Handler]] = import_module(settings.ROUTES_MODULE).EVENT_ROUTES
    return table


@dataclass(slots=True)
class _Taken:
    """An event that is being taken in; `event` and `reaction` are None where no handler had to see it."""

    arrival: Arrival
    event: Event | None = None
    reaction: Reaction | None = None


def accept(bot: Bot, envelope: Envelope, *, transport: str) -> Mapping[str, Any]:
    """Stores an event and runs its handler, in one transaction; returns the reply for Feishu.

    Once this returns, the event is stored and Feishu's retries are no longer needed. If the handler raises, the
    whole transaction is rolled back (cheaper than a savepoint for every event that works) and the event is
    stored again as FAILED. Raises only what the database raises when it cannot be reached.
    """
    taken = _Taken(Arrival(bot, envelope, transport))
    try:
        try:
            _take_in_with_others(taken) if _may_share(taken.arrival) else _take_in([taken])
        except (HandlerError, OperationalError) as failure:
            if not _may_pass(failure):
                raise
            _take_in([taken])
    except (HandlerError, IntegrityError, DataError) as failure:
        # The database's own refusals come at the commit: they are of what the handler wrote, too.
        with transaction.atomic():
            event = Event.objects.receive(bot, envelope, transport=transport)
            if event.is_waiting:
                event.fail(
                    _cause(failure), getattr(failure, "duration_ms", 0), getattr(failure, "handler", "")
                )
        taken.event, taken.reaction = event, None
    _log_taken(taken)
    reaction = taken.reaction  # who hangs with it in a transaction of others may still be at it
    return reaction.reply if reaction else {}


def _may_share(arrival: Arrival) -> bool:
    """Whether the event may share its transaction with others that arrive now.

    Without a handler always (it is stored as IGNORED at once), else if the type is in SHARED of the routes. Not if
    it may be a copy under another key, and not where the caller has a transaction already.
    """
    if arrival.may_be_a_copy or connection.in_atomic_block:
        return False
    event_type = arrival.envelope.event_type
    why = BOT_DISABLED if not arrival.bot.enabled else "" if routes().get(event_type) else NO_HANDLER
    if why:
        arrival.ignore(why)
    return bool(why) or event_type in getattr(import_module(settings.ROUTES_MODULE), "SHARED", ())


def _may_pass(failure: Exception) -> bool:
    """A deadlock, a lock held for long, a connection that died under a handler: neither the event's fault nor the
    handler's."""
    if connection.in_atomic_block or not isinstance(_cause(failure), OperationalError):
        return False
    return isinstance(failure, HandlerError) or connection.connection is not None


def _take_in(several: Sequence[_Taken], *, patiently: bool = True) -> None:
    """Stores events and runs the handlers of those that wait for one; raises HandlerError, and all is undone."""
    for one in several:  # it may have been taken in with others in vain
        one.event = one.reaction = None
    # What nobody waits for is one statement, which is a transaction by itself.
    with transaction.atomic() if any(not one.arrival.is_ignored for one in several) else nullcontext():
        if not patiently and connection.in_atomic_block and connection.vendor == "postgresql":
            _be_impatient()
        Event.objects.receive_all([one.arrival for one in several])
        waiting = [one for one in several if not one.arrival.is_settled]
        batch = Batch([one.arrival.event for one in waiting])
        for one, event in zip(waiting, batch.events, strict=True):
            # Alone, what a handler queues is written at once: an error then says which handler it was.
            running = Running(event, batch=batch if len(several) > 1 else None)
            one.event, one.reaction = event, react(event, running)
        insert_new(batch.calls)
        Event.objects.save_outcomes(batch.events)


def _be_impatient() -> None:
    """What one event would wait for, those with it and behind it must not: it fails, and each is tried by itself."""
    with connection.cursor() as cursor:
        cursor.execute(PATIENCE)


_take_in_with_others = GroupCommit(partial(_take_in, patiently=False), key=lambda one: one.arrival.key)


def dispatch(event: Event, running: Running | None = None) -> Reaction:
    """Runs the handler of an event inside the caller's transaction, and writes what came of it; raises HandlerError."""
    reaction = react(event, running or Running(event))
    Event.objects.save_outcomes([event])
    return reaction


def react(event: Event, running: Running) -> Reaction:
    """`dispatch` without writing the event's own row."""
    started = time.monotonic()
    try:
        with handling(running):
            reaction = _react(event) if event.bot.enabled else ignored(BOT_DISABLED)
    except Exception as error:
        raise HandlerError(_ms_since(started), event.handler) from error
    event.conclude(reaction.status, reaction.summary, _ms_since(started))
    return reaction


def _react(event: Event) -> Reaction:
    for handler in routes().get(event.event_type, ()):
        event.handler = name_of(handler)
        if (reaction := handler(event)) is not None:
            return reaction
    event.handler = ""
    return ignored(NOTHING_TO_DO if routes().get(event.event_type) else NO_HANDLER)


def name_of(handler: Handler) -> str:
    """Where to find it: "incidents.handlers.joined"."""
    name = getattr(handler, "__qualname__", type(handler).__qualname__)
    return f"{handler.__module__}.{name}"[:HANDLER_LENGTH]


def sweep(limit: int = 100) -> int:
    """Runs failed events whose next try has come; called by the worker. Returns how many it ran."""
    due = Event.objects.due(timezone.now()).order_by("next_try_at").values_list("pk", flat=True)[:limit]
    return sum(rerun(event_pk) is not None for event_pk in list(due))


def rerun(event_pk: int) -> Event | None:
    """Runs one failed event again; None if another process has it, or it no longer waits."""
    try:
        with transaction.atomic():
            event = (
                Event.objects.select_for_update(skip_locked=True, of=("self",))
                .select_related("bot")
                .filter(pk=event_pk, status=Event.Status.FAILED)
                .first()
            )
            if event is None:
                return None
            reaction = dispatch(event)
    except (HandlerError, IntegrityError, DataError) as failure:
        # Rolled back, so the lock is gone too: only an event that nobody finished meanwhile is marked.
        with transaction.atomic():
            locked = Event.objects.select_for_update(of=("self",)).select_related("bot")
            event = locked.filter(pk=event_pk).first()
            if event is None:
                return None
            if event.is_waiting:
                event.fail(
                    _cause(failure), getattr(failure, "duration_ms", 0), getattr(failure, "handler", "")
                )
        reaction = None
    _log(event, reaction)
    return event


def _cause(failure: Exception) -> BaseException:
    return failure.__cause__ or failure if isinstance(failure, HandlerError) else failure


def _ms_since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)


def _log_taken(taken: _Taken) -> None:
    if taken.event is not None:
        _log(taken.event, taken.reaction)
    elif log.isEnabledFor(logging.INFO):  # to make an Event of what is settled is not for nothing
        event = taken.arrival.event
        is_new = taken.arrival.is_ignored and event.deliveries == 1
        _log(event, ignored(event.summary) if is_new else None)


def _log(event: Event, reaction: Reaction | None) -> None:
    where = f" in {event.chat_id}" if event.chat_id else ""
    if reaction is not None:
        log.info(
            "event %s %s%s: %s, %s", event.event_type, event.event_id, where, event.status, event.summary
        )
    elif event.deliveries > 1 and not event.is_waiting:
        log.info(
            "event %s %s%s: delivery %d, not run again",
            event.event_type,
            event.event_id,
            where,
            event.deliveries,
        )
    else:
        log.warning("event %s %s%s: failed, see the event log", event.event_type, event.event_id, where)
