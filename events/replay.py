"""Running received events once more, by today's routes and templates: tried without a trace, then for real.

What was sent is found by its key and not sent again. Handlers write what is missing and act for nobody a second time
(`Event.replayed`); which of them a replay runs at all stands in `REPLAYS` beside EVENT_ROUTES. docs/decisions/0009.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import cache
from importlib import import_module
from typing import Any

from django.conf import settings
from django.db import DataError, IntegrityError, OperationalError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from . import clock, dispatch
from .confidential import Reader, hidden_from
from .dispatch import Handler, Reaction, ignored, routes
from .eventfilter import EventFilter
from .eventlist import ends_of
from .models import AGAIN, Bot, Event, OutboxItem, PlannedCall, Priority, Replay, insert_once, storable
from .outbox import uuid_of
from .reading import catch_up
from .running import Running, handling

log = logging.getLogger(__name__)

EVENTS_AT_ONCE = 50  # in one transaction, with the cursor
SECONDS_AT_ONCE = 0.2  # others wait for what the transaction holds
STRETCH = 20_000  # of the log is looked through at once: a filter that finds little must not take long
SAMPLE = 20
FAILURES_KEPT = 50
REASONS_KEPT = 30

# What becomes of an event.
CALLS, NOTHING, LEFT_OUT, FAILED = "calls", "nothing", "left_out", "failed"
# What becomes of a call: made for the first time; made though it was made before; made because it had failed;
# not made, because it was made, or waits to be made already.
NEW, SENT_AGAIN, TRIED_AGAIN, SENT_BEFORE, WAITING = "new", "again", "retried", "before", "waiting"
MADE = (NEW, SENT_AGAIN, TRIED_AGAIN)


@dataclass(frozen=True)
class Call:
    """A call that an event's handlers want; `item` is the row it was made by before."""

    state: str
    key: str
    call: str
    target: str
    arguments: dict[str, Any]
    item: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What a replay makes of one event, or would make."""

    event: int
    event_type: str
    kind: str
    summary: str
    calls: tuple[Call, ...] = ()

    @property
    def made(self) -> tuple[Call, ...]:
        return tuple(call for call in self.calls if call.state in MADE)


@dataclass
class Replaying(Running):
    """The handlers of an event at work once more: what they queue is looked up before it is stored."""

    replay: Replay
    calls: list[Call] = field(default_factory=list)

    def queue(self, item: OutboxItem, *, first: bool = False) -> OutboxItem | None:
        item.replay, item.priority = self.replay, Priority.BULK  # what happens now goes first
        known = None if insert_once(item) else OutboxItem.objects.filter(key=item.key).first()
        state = NEW if known is None else self._once_more(item, known)
        if state:
            told = {"key": item.key, "call": item.call, "target": item.target, "arguments": item.arguments}
            self.calls.append(Call(state, **told, item=known.pk if known else None))
        return item if state in (NEW, SENT_AGAIN) else None

    def _once_more(self, item: OutboxItem, known: OutboxItem) -> str:
        """A call with a row: taken up where it had failed, made again where that was asked for, or left alone.

        "" for what an earlier event of this replay has queued.
        """
        if known.replay_id == self.replay.pk:
            return ""
        if known.status in OutboxItem.UNFINISHED:
            return WAITING
        if known.status == OutboxItem.Status.FAILED and not known.unsure and not known.step:
            return TRIED_AGAIN if _take_up(known, item) else WAITING
        if not self.replay.send_again:
            return SENT_BEFORE
        item.key = f"{AGAIN}{self.replay.pk}:{known.key}"
        item.uuid = uuid_of(item.key)
        return SENT_AGAIN if insert_once(item) else ""


def _take_up(known: OutboxItem, item: OutboxItem) -> bool:
    """A call that was never made, with what today's handler makes of it; False if somebody retried it meanwhile."""
    rows = OutboxItem.objects.filter(pk=known.pk, status=OutboxItem.Status.FAILED)
    subject = {"subject_type": item.subject_type, "subject_id": item.subject_id}
    changed = rows.update(arguments=item.arguments, target=item.target, replay=item.replay, **subject)
    return bool(changed and rows.retry(clock.now()))


# --- One event ---------------------------------------------------------------------------------------------------
@cache
def rules() -> Mapping[Handler, str | None]:
    """`REPLAYS` of the composing package: {handler: why a replay does not run it, or None}."""
    table: Mapping[Handler, str | None] = getattr(import_module(settings.ROUTES_MODULE), "REPLAYS", {})
    return table


UNSAID = "nobody has said whether this handler may run twice"


def play(event: Event, replay: Replay) -> Outcome:
    """Runs the event's handlers in the caller's transaction; one that raises leaves nothing behind."""
    event.replayed, event.sent_again = True, replay.send_again
    running = Replaying(event, replay)
    started, told = time.monotonic(), (event.pk, event.event_type)
    try:
        with transaction.atomic(), handling(running):
            reaction = _reaction(event)
    except _PlayError as failure:
        error = failure.error
        if event.is_waiting:
            event.fail(error, _ms_since(started), event.handler)
        return Outcome(*told, FAILED, storable(f"{type(error).__name__}: {error}")[:300])
    if reaction.status == dispatch.LEFT_OUT:
        return Outcome(*told, LEFT_OUT, reaction.summary)
    # What was handled before stays as it was: a replay that finds nothing to do must not say so in its place.
    if event.status != Event.Status.HANDLED:
        event.finish(reaction.status, reaction.summary, _ms_since(started))
    kind = CALLS if any(call.state in MADE for call in running.calls) else NOTHING
    return Outcome(*told, kind, reaction.summary, tuple(running.calls))


class _PlayError(Exception):
    """A handler raised."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def _reaction(event: Event) -> Reaction:
    try:
        return _react(event) if event.bot.enabled else ignored(dispatch.BOT_DISABLED)
    except OperationalError:
        raise  # a database that is away, or a deadlock: not the event's fault, it is played again
    except Exception as error:
        raise _PlayError(error) from error


def _react(event: Event) -> Reaction:
    for handler in routes().get(event.event_type, ()):
        why, event.handler = rules().get(handler, UNSAID), dispatch.name_of(handler)
        if why is None:
            reaction = handler(event)
        elif _would_react(handler, event):
            return dispatch.left_out(why)
        else:
            reaction = None
        if reaction is not None:
            return reaction
    event.handler = ""
    return ignored(dispatch.NOTHING_TO_DO if routes().get(event.event_type) else dispatch.NO_HANDLER)


def _would_react(handler: Handler, event: Event) -> bool:
    """Asks a handler whether the event is for it, and takes back what it did to answer."""
    with without_a_trace(), handling(Running(event)):
        return handler(event) is not None


@contextmanager
def without_a_trace() -> Iterator[None]:
    """Whatever is written inside is rolled back, notifications too."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def try_out(event: Event, replay: Replay) -> Outcome:
    """What `play` would do, and nothing of it done."""
    with without_a_trace():
        return play(event, replay)


def _ms_since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)


# --- All of them -------------------------------------------------------------------------------------------------
Selection = Mapping[str, Any]


class Stranger:
    """A reader from whom everything private is kept."""

    def has_perm(self, perm: str, /) -> bool:
        return False


def matching(replay: Replay, *, above: int, below: int) -> QuerySet[Event]:
    """The events of a replay between two keys: those it names, or all that the event list's filter finds."""
    among = Event.objects.readable_by(Stranger()) if replay.only_public else Event.objects.all()
    if "events" in replay.selection:
        return among.filter(pk__in=replay.selection["events"], pk__gt=above, pk__lt=below)
    return EventFilter.from_query(replay.selection["filter"]).queryset(above=above, below=below, among=among)


def selection_of(chosen: EventFilter | Collection[int]) -> dict[str, Any]:
    """What is kept of a choice; a bot by its name, too, for those who read it."""
    if not isinstance(chosen, EventFilter):
        return {"events": sorted(set(chosen))}
    bot = Bot.objects.filter(pk=chosen.bot).values_list("name", flat=True).first() if chosen.bot else None
    return {"filter": chosen.as_json(), **({"bot": bot or chosen.bot} if chosen.bot else {})}


def ask(chosen: EventFilter | Collection[int], *, reader: Reader | None = None, **row: Any) -> Replay:
    """A replay of what is chosen, as the log is now: events that come in later are not its.

    What is kept from `reader` is left out; without one, nothing is.
    """
    row["only_public"] = reader is not None and bool(hidden_from(reader))
    selection = selection_of(chosen)
    if isinstance(chosen, EventFilter):
        if chosen.reads_texts:
            catch_up()
        oldest, last = ends_of(chosen)
        first = oldest - 1
    else:
        keys = selection["events"]
        first, last = (keys[0] - 1, keys[-1]) if keys else (0, 0)
    return Replay.objects.create(selection=selection, first=first, last=last, cursor=first, **row)


def step(replay_pk: int, now: datetime | None = None) -> int:
    """Runs the next few events of a replay, or tries them out; how many, 0 if it is not due or somebody has it.

    The row is locked for as long as it takes, so one worker at a time is at it; the events and the cursor are one
    transaction, so a worker that dies in the middle leaves nothing half done.
    """
    now = now or timezone.now()
    try:
        return _step(replay_pk, now, EVENTS_AT_ONCE)
    except (IntegrityError, DataError):
        pass  # the database's refusal came at the commit; one of the events is the reason, and shall fail alone
    try:
        return _step(replay_pk, now, 1)
    except (IntegrityError, DataError) as error:
        return _give_up_one(replay_pk, now, error)


def _step(replay_pk: int, now: datetime, limit: int) -> int:
    with transaction.atomic():
        replay = _locked(replay_pk, now)
        if replay is None:
            return 0
        run = _try_one if replay.status == Replay.Status.TRYING else _play_one
        return _run_some(replay, run, now, limit)


def _locked(replay_pk: int, now: datetime) -> Replay | None:
    """The row, ours until the transaction ends; None if another worker has it, or it is not due."""
    due = Replay.objects.due(now).select_for_update(skip_locked=True).defer("sample")
    return due.filter(pk=replay_pk).first()


def _run_some(replay: Replay, run: Callable[[Replay, Event], Outcome], now: datetime, limit: int) -> int:
    """The events in the next stretch of the log, as many as time and pace allow; at least 1, for a step made."""
    end = replay.last if "events" in replay.selection else min(replay.cursor + STRETCH, replay.last)
    keys = matching(replay, above=replay.cursor, below=end + 1).order_by("pk")
    found = list(keys.values_list("pk", flat=True)[:limit])
    rows = Event.objects.select_related("bot").filter(pk__in=found).order_by("pk")
    if replay.status == Replay.Status.RUNNING:
        rows = rows.select_for_update(of=("self",))
    if len(found) == limit:
        end = found[-1]
    until, done, calls, figures = time.monotonic() + SECONDS_AT_ONCE, 0, 0, replay.figures
    for event in rows:
        outcome = run(replay, event)
        figures = counted(figures, outcome)
        done, calls = done + 1, calls + len(outcome.made)
        if time.monotonic() > until or replay.is_enough(calls):
            end = event.pk
            break
    replay.go_on(figures, end, calls, now)
    return max(1, done)


def _try_one(replay: Replay, event: Event) -> Outcome:
    outcome = _without_doubles(replay, try_out(event, replay))
    # The sample is not read with every step of a long dry run: only while it may be too short.
    if int(replay.tried.get("events", 0)) < SAMPLE and len(replay.sample) < SAMPLE:
        replay.sample.append(asdict(outcome))
    return outcome


def _play_one(replay: Replay, event: Event) -> Outcome:
    outcome = play(event, replay)
    if outcome.kind == FAILED and len(replay.failures) < FAILURES_KEPT:
        replay.failures.append({"event": event.pk, "error": outcome.summary})
    return outcome


def _without_doubles(replay: Replay, outcome: Outcome) -> Outcome:
    """The outcome without calls that an earlier event of the dry run wants, too: for real they are made once."""
    calls = tuple(
        call
        for call in outcome.calls
        if call.state not in MADE or insert_once(_planned(replay, outcome, call))
    )
    if outcome.kind == CALLS and not any(call.state in MADE for call in calls):
        return replace(outcome, kind=NOTHING, summary="was queued before", calls=calls)
    return replace(outcome, calls=calls)


def _planned(replay: Replay, outcome: Outcome, call: Call) -> PlannedCall:
    told = {"state": call.state, "call": call.call, "target": call.target}
    return PlannedCall(replay=replay, key=call.key, event=outcome.event, **told)


def _give_up_one(replay_pk: int, now: datetime, error: Exception) -> int:
    """Goes past an event whose writes the database does not take."""
    with transaction.atomic():
        replay = _locked(replay_pk, now)
        if replay is None:
            return 0
        told = storable(f"{type(error).__name__}: {error}")[:300]
        return _run_some(replay, lambda _, event: Outcome(event.pk, event.event_type, FAILED, told), now, 1)


def is_due() -> bool:
    return Replay.objects.due(timezone.now()).exists()


def run_due(is_stopping: Callable[[], bool]) -> int:
    """Goes on with every replay that is due, turn by turn, until none is; how many events were run."""
    total = 0
    while not is_stopping():
        keys = list(Replay.objects.due(timezone.now()).values_list("pk", flat=True))
        done = sum(step(key) for key in keys)
        total += done
        if not done:  # nothing is due, or other workers have it
            break
    return total


NO_FIGURES: dict[str, Any] = {"events": 0, "outcomes": {}, "calls": {}, "types": {}, "reasons": {}}


def counted(so_far: Mapping[str, Any], outcome: Outcome) -> dict[str, Any]:
    """The figures with one more event: how many came to what, which calls, of which types, and why nothing was done."""
    figures = {**deepcopy(NO_FIGURES), **so_far}
    figures["events"] += 1
    _count(figures["outcomes"], outcome.kind)
    for call in outcome.calls:
        _count(figures["calls"].setdefault(call.call, {}), call.state)
    by_type = figures["types"].setdefault(outcome.event_type, {})
    _count(by_type, "events")
    _count(by_type, "calls", len(outcome.made))
    if outcome.kind != CALLS:
        reasons = figures["reasons"]
        known = outcome.summary in reasons or len(reasons) < REASONS_KEPT
        _count(reasons, outcome.summary if known else "…")
    return figures


def _count(numbers: dict[str, int], name: str, more: int = 1) -> None:
    numbers[name] = numbers.get(name, 0) + more
