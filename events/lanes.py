"""Which row of the outbox is next: each target has a lane, and in a lane one call after the other, in order.

Whoever queues a row knows nothing of lanes; a worker lines new rows up. So queueing costs one insert, and claiming
costs the same with ten rows waiting or with a hundred thousand. All times are the database's (events.clock).
"""

import logging
import secrets
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Case, F, OuterRef, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce

from .calls import REPLACING_CALLS, limited_by
from .models import Attempt, Lane, OutboxItem

log = logging.getLogger(__name__)

Answered = Mapping[str, Sequence[float]]  # Lane.answered

LEASE = timedelta(seconds=30)
LINED_UP_AT_ONCE = 100  # so few that what is urgent does not wait long for them
TIDIED_AT_ONCE = 10_000
LOST = "the worker stopped during this try"
MOST_LOST_TRIES = 10  # a row that ends every worker that takes it must not do so for ever
# Feishu: 5 messages a second to a chat or person (all bots together), 5 changes a second of one message.
CALLS_PER_WINDOW = 5
# Two workers' ideas of the database's time differ: on a busy machine, by half of what its quickest answers took.
WINDOW_SECONDS = 1.03
# Feishu's clock and ours, at most: for looking a message up in a chat's history.
CLOCKS_DIFFER = timedelta(minutes=10)
KEPT_EMPTY = timedelta(seconds=2)  # for the window of the last calls

UPSERT = """
INSERT INTO events_lane (bot_id, target, call, priority, due_at, busy, lease, answered) VALUES {rows}
ON CONFLICT (bot_id, target) DO UPDATE SET
    priority = CASE WHEN events_lane.call = '' OR excluded.priority < events_lane.priority
        THEN excluded.priority ELSE events_lane.priority END,
    due_at = CASE WHEN NOT events_lane.busy AND (events_lane.call = '' OR excluded.due_at < events_lane.due_at)
        THEN excluded.due_at ELSE events_lane.due_at END,
    call = CASE WHEN events_lane.call = '' THEN excluded.call ELSE events_lane.call END
"""


@dataclass(frozen=True)
class Plan:
    """What a lane does next: which call, and when; `throttled` if only a limit of Feishu's makes it wait."""

    call: str
    due_at: datetime
    priority: int
    throttled: bool = False


# --- New rows and lost ones ---------------------------------------------------------------------------------
def new_rows() -> QuerySet[OutboxItem]:
    """What is to be lined up; what is urgent does not wait until ten thousand others are."""
    new = OutboxItem.objects.filter(status=OutboxItem.Status.PENDING, lined_up=False)
    return new.order_by("priority", "pk")


def line_up(now: datetime) -> int:
    """Puts rows that were queued (or queued once more) into their lanes; how many it found to do, 0 at the end.

    Rows whose lane somebody holds are left for the next time: what is urgent waits for nobody.
    """
    new = new_rows()
    found = list(new.values_list("pk", "bot", "target")[:LINED_UP_AT_ONCE])
    if not found:  # on SQLite, a transaction takes the one place of a writer
        return 0
    with transaction.atomic():
        held = _held_by_others({(bot_id, target) for _, bot_id, target in found})
        keys = [key for key, *target in found if tuple(target) not in held]
        needed = new.only("bot", "target", "call", "priority", "next_attempt_at", "first_attempt_at")
        items = list(needed.filter(pk__in=keys).select_for_update(skip_locked=True))
        lanes: dict[tuple[int, str], list[OutboxItem]] = defaultdict(list)
        for item in sorted(items, key=lambda item: item.pk):
            lanes[item.bot_id, item.target].append(item)
        if lanes:
            _upsert(lanes, now)
        # The clock of the process that queued a row may be off: what was never tried is due now.
        never_tried = When(first_attempt_at=None, next_attempt_at__gt=now, then=Value(now))
        OutboxItem.objects.filter(pk__in=[item.pk for item in items]).update(
            lined_up=True, next_attempt_at=Case(never_tried, default=F("next_attempt_at"))
        )
    return len(found)


def _held_by_others(targets: Collection[tuple[int, str]]) -> set[tuple[int, str]]:
    """Locks the lanes to these (bot, target) until the transaction ends; gives those that somebody else holds."""
    lanes = _lanes_to(targets).values_list("bot", "target")
    ours = set(lanes.select_for_update(skip_locked=True))
    return set(lanes) - ours


def _lanes_to(targets: Collection[tuple[int, str]]) -> QuerySet[Lane]:
    """The lanes of these (bot, target), and perhaps some more."""
    return Lane.objects.filter(bot__in={bot for bot, _ in targets}, target__in={to for _, to in targets})


def _hold(lanes: QuerySet[Lane]) -> None:
    """Locks lanes until the transaction ends. Whoever locks several does so before any row, and in this order:
    then nobody waits for one who waits for him."""
    list(lanes.order_by("bot_id", "target").select_for_update().values_list("pk"))


def _upsert(lanes: dict[tuple[int, str], list[OutboxItem]], now: datetime) -> None:
    values: list[Any] = []
    for (bot_id, target), items in sorted(lanes.items()):  # in one order for everyone: no deadlock
        priority = min(item.priority for item in items)
        due_at = min((now if item.first_attempt_at is None else item.next_attempt_at) for item in items)
        due_at = min(due_at, items[0].next_attempt_at)
        values += [bot_id, target, items[0].call, priority, connection.ops.adapt_datetimefield_value(due_at)]
        values += [False, "", "{}"]
    rows = ", ".join(["(%s, %s, %s, %s, %s, %s, %s, %s)"] * len(lanes))
    with connection.cursor() as cursor:
        cursor.execute(UPSERT.format(rows=rows), values)


def reclaim(now: datetime) -> int:
    """Rows whose worker is gone wait for their next try: nobody knows whether the call reached Feishu."""
    lost = OutboxItem.objects.filter(status=OutboxItem.Status.SENDING, leased_until__lt=now)
    found = list(lost.order_by("leased_until").values_list("bot", "target")[:100])
    if not found:
        return 0
    with transaction.atomic():
        # Lanes before rows, as everywhere: one that is held is being recorded at this moment.
        held = _held_by_others(found)
        items = [
            item
            for item in lost.order_by("leased_until").select_for_update(skip_locked=True)[:200]
            if (item.bot_id, item.target) not in held
        ]
        for item in items:
            _record_lost_try(item, now)
            Lane.objects.filter(bot=item.bot_id, target=item.target).update(busy=False, lease="", due_at=now)
    return len(items)


def _record_lost_try(item: OutboxItem, now: datetime) -> None:
    Attempt.objects.create(
        item=item,
        started_at=item.leased_until - LEASE if item.leased_until else now,
        outcome=Attempt.Outcome.UNKNOWN,
        message=LOST,
    )
    again = item.attempts.filter(message=LOST).count() < MOST_LOST_TRIES
    OutboxItem.objects.filter(pk=item.pk).update(
        status=OutboxItem.Status.PENDING if again else OutboxItem.Status.FAILED,
        error="" if again else LOST,
        unsure=True,
        leased_until=None,
        next_attempt_at=now,
        lined_up=False,
    )


def tidy(now: datetime) -> int:
    """Deletes lanes with nothing left to send, and frees those whose row was deleted while it was sent."""
    with transaction.atomic():  # what somebody holds is left for the next time
        lanes = Lane.objects.select_for_update(skip_locked=True).values_list("pk", flat=True)
        left = list(lanes.filter(busy=True, due_at__lt=now - 2 * LEASE))
        Lane.objects.filter(pk__in=left).update(busy=False, lease="", due_at=now)
        empty = list(lanes.filter(busy=False, call="", due_at__lt=now)[:TIDIED_AT_ONCE])
        return Lane.objects.filter(pk__in=empty).delete()[0]


def find_astray() -> int:
    """Lines rows up again that wait without a lane, as after a restored database; looks at all that wait."""
    lanes = Lane.objects.filter(bot=OuterRef("bot"), target=OuterRef("target")).values("pk")
    astray = OutboxItem.objects.unfinished().filter(status=OutboxItem.Status.PENDING, lined_up=True)
    found = list(astray.alias(lane=Subquery(lanes[:1])).filter(lane=None).values_list("pk", flat=True)[:1000])
    return OutboxItem.objects.filter(pk__in=found).update(lined_up=False) if found else 0


# --- Claiming -----------------------------------------------------------------------------------------------
def claim(
    now: datetime, bot_id: int, call: str, priority: int, limit: int
) -> tuple[list[OutboxItem], list[Plan]]:
    """Leases up to `limit` rows of one group of lanes to the caller; several workers never get the same one.

    Also gives what the lanes do next that were due and have nothing to send now.
    """
    with transaction.atomic():
        due = Lane.objects.due(now, bot_id, call, priority).annotate(item_id=Subquery(_next_item(now)))
        lanes: list[Any] = list(due.select_for_update(skip_locked=True, of=("self",))[:limit])
        rows = OutboxItem.objects.filter(pk__in=[lane.item_id for lane in lanes])
        items = {item.pk: item for item in _locked(rows)}
        others = _others_in_these_chats(lanes)
        claimed, plans = {}, []
        for lane in lanes:
            item = _ready(lane, items.get(lane.item_id), now, others[lane.target])
            if item is None:
                plans.append(settle(lane, now, others[lane.target]))
            else:
                claimed[lane.pk] = item
        _lease(claimed, now)
    return list(claimed.values()), plans


def _next_item(now: datetime) -> QuerySet[OutboxItem, Any]:
    rows = OutboxItem.objects.unfinished().filter(bot=OuterRef("bot"), target=OuterRef("target"))
    return rows.exclude(OutboxItem.held_up_at(now)).order_by("pk").values("pk")[:1]


def _locked(rows: QuerySet[OutboxItem]) -> QuerySet[OutboxItem]:
    waiting = rows.filter(status=OutboxItem.Status.PENDING).select_related("bot", "attachment")
    return waiting.select_for_update(skip_locked=True, of=("self",))


def _ready(
    lane: Lane, item: OutboxItem | None, now: datetime, others: Sequence[Answered]
) -> OutboxItem | None:
    """The row to send now, or None: the lane was due for a reason that has passed."""
    if item is None or item.next_attempt_at > now or item.call != lane.call:
        return None
    if _free_at(lane, item, now, others) > now:
        return None
    return _newest(item) if item.merge_key else item


def _newest(item: OutboxItem) -> OutboxItem | None:
    """What is sent instead of a row when newer ones say the same thing anew; those that are not sent say so.

    A new state takes the place of the old one in the lane; a new message keeps its own place, so then it is None.
    A message that may have arrived already is never called superseded.
    """
    same = OutboxItem.objects.unfinished().filter(
        bot=item.bot_id, target=item.target, merge_key=item.merge_key, step=item.step
    )
    newest = _locked(same.filter(pk__gt=item.pk)).order_by("-pk").first()
    if newest is None or (item.unsure and item.call not in REPLACING_CALLS):
        return item
    older = same.filter(status=OutboxItem.Status.PENDING, pk__gte=item.pk, pk__lt=newest.pk)
    if item.call not in REPLACING_CALLS:
        older = older.filter(unsure=False)
    older.update(
        status=OutboxItem.Status.SUPERSEDED, followed_up=True, error="", result={"superseded_by": newest.pk}
    )
    return newest if item.call in REPLACING_CALLS else None


def _lease(claimed: dict[int, OutboxItem], now: datetime) -> None:
    if not claimed:
        return
    token = secrets.token_hex(8)
    until = now + LEASE
    Lane.objects.filter(pk__in=claimed).update(busy=True, lease=token, due_at=until)
    OutboxItem.objects.filter(pk__in=[item.pk for item in claimed.values()]).update(
        status=OutboxItem.Status.SENDING,
        leased_until=until,
        first_attempt_at=Coalesce("first_attempt_at", Value(now)),
        attempt_count=F("attempt_count") + 1,
    )
    for item in claimed.values():
        if item.unsure:
            item.messages_of_others = _messages_of_others(item)
        item.status, item.leased_until, item.lease = OutboxItem.Status.SENDING, until, token
        item.first_attempt_at = item.first_attempt_at or now
        item.attempt_count += 1


def _messages_of_others(item: OutboxItem) -> frozenset[str]:
    """Messages in the same chat that other rows made: they are not this one's, however alike."""
    since = min(item.created_at, item.first_attempt_at or item.created_at) - 2 * CLOCKS_DIFFER
    results = OutboxItem.objects.filter(
        bot=item.bot, target=item.target, status=OutboxItem.Status.SENT, sent_at__gte=since
    ).values_list("result", flat=True)
    return frozenset(str((result or {}).get("message_id", "")) for result in results)


def renew(items: Iterable[OutboxItem], now: datetime) -> None:
    """The calls of these rows are still in flight: nobody else may take them."""
    held = list(items)
    lanes = Lane.objects.filter(lease__in={item.lease for item in held}, busy=True)
    with transaction.atomic():
        _hold(lanes)
        lanes.update(due_at=now + LEASE)
        rows = OutboxItem.objects.filter(pk__in=[item.pk for item in held])
        rows.filter(status=OutboxItem.Status.SENDING).update(leased_until=now + LEASE)


# --- What is next -------------------------------------------------------------------------------------------
def lane_of(item: OutboxItem) -> Lane | None:
    """The lane that is busy with this claim of the row, locked; None if the lease was lost."""
    lanes = Lane.objects.filter(bot=item.bot_id, target=item.target, busy=True, lease=item.lease)
    return lanes.select_for_update().first() if item.lease else None


def release(lane: Lane, item: OutboxItem, now: datetime, answered_at: datetime) -> Plan:
    """The call has come back: the lane goes on."""
    if what := limited_by(item.call, item.arguments):
        lane.answered = {**lane.answered, what: [*lane.answered.get(what, []), answered_at.timestamp()]}
    lane.busy, lane.lease = False, ""
    return settle(lane, now)


def settle(lane: Lane, now: datetime, others: Sequence[Answered] = ()) -> Plan:
    """Works out anew what the lane does next, and writes it down. The lane must be locked.

    `others` is known when it is claimed; a limit that other bots have used up is found out then.
    """
    fresh = now.timestamp() - WINDOW_SECONDS
    answered = {what: [at for at in times if at > fresh] for what, times in lane.answered.items()}
    lane.answered = {what: times for what, times in answered.items() if times}
    plan = _plan(lane, now, others)
    lane.call, lane.due_at, lane.priority = plan.call, plan.due_at, plan.priority
    lane.save(update_fields=["call", "due_at", "priority", "busy", "lease", "answered"])
    return plan


def _plan(lane: Lane, now: datetime, others: Sequence[Answered]) -> Plan:
    candidates: list[tuple[datetime, OutboxItem]] = []
    for item in _in_order(lane):
        if item.is_held_up(now):
            candidates.append((item.next_attempt_at, item))
            continue
        at = item.next_attempt_at
        if (
            item.status == OutboxItem.Status.SENDING
        ):  # its outcome could not be written: its lease must end first
            at = max(at, item.leased_until or now)
        elif item.first_attempt_at is not None and at > now:
            at = min(at, item.first_attempt_at + OutboxItem.HOLD)
        candidates.append((at, item))
        break
    if not candidates:
        return Plan("", now + KEPT_EMPTY, lane.priority)
    at, item = min(candidates, key=lambda pair: pair[0])
    free_at = _free_at(lane, item, now, others)
    # The most urgent row decides for the whole lane: what is before it must go first.
    priority = lane.priority if item.priority == lane.priority else _urgency(lane)
    return Plan(item.call, max(at, free_at), priority, throttled=free_at > now and at <= now)


def _in_order(lane: Lane) -> Iterator[OutboxItem]:
    """The unfinished rows of a lane, read a few at a time: nearly always the first one decides."""
    rows = OutboxItem.objects.unfinished().filter(bot=lane.bot_id, target=lane.target).order_by("pk")
    last = 0
    while chunk := list(rows.filter(pk__gt=last)[:5]):
        yield from chunk
        last = chunk[-1].pk


def _urgency(lane: Lane) -> int:
    rows = OutboxItem.objects.unfinished().filter(bot=lane.bot_id, target=lane.target)
    return rows.order_by("priority").values_list("priority", flat=True)[0]


def _others_in_these_chats(lanes: Sequence[Lane]) -> dict[str, list[Answered]]:
    """By target, what the lanes of other bots to it have to say about the limit that they share."""
    others: dict[str, list[Answered]] = defaultdict(list)
    rows = Lane.objects.filter(target__in={lane.target for lane in lanes})
    for target, answered in rows.exclude(pk__in=[lane.pk for lane in lanes]).values_list(
        "target", "answered"
    ):
        others[target].append(answered)
    return others


def _free_at(lane: Lane, item: OutboxItem, now: datetime, others: Sequence[Answered]) -> datetime:
    """When the limit of the chat or message allows the row's call; bots in one chat share it."""
    what = limited_by(item.call, item.arguments)
    if not what:
        return now
    times = sorted(at for answered in (lane.answered, *others) for at in answered.get(what, []))
    # Each of the others may have a call in flight, which nobody has counted yet.
    allowed = max(1, CALLS_PER_WINDOW - len(others))
    if len(times) < allowed:
        return now
    return datetime.fromtimestamp(times[-allowed] + WINDOW_SECONDS, UTC)
