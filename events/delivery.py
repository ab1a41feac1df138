"""One worker's calls in flight: takes due rows of the outbox to Feishu, within its limits, the urgent ones first.

Threads only talk to Feishu; all database work is done by the thread that calls `Delivery`, so that a slow
Feishu costs no connections and SQLite sees one writer.
"""

import heapq
import logging
import os
import random
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime

from django.db import InterfaceError, OperationalError

from . import circuit, clock, lanes
from .attempts import Outcome, let_go, perform, record
from .feishu import FeishuClient, FeishuError, load_sdk
from .followup import follow_up
from .models import AppTicket, Bot, Circuit, Lane, OutboxItem, storable
from .quota import Governor, is_urgent
from .sealed import Secret
from .tokens import StoreApp, store_app

log = logging.getLogger(__name__)

URGENT_CALLS = 4  # in flight beside all others, so that what is urgent never waits for a slow Feishu
RENEW_SECONDS = lanes.LEASE.total_seconds() / 3
RECLAIM_SECONDS = 1.0
TIDY_SECONDS = 30.0
ASTRAY_SECONDS = 600.0  # for lost rows while others wait; as soon as none does, they are looked for at once
COLLECT_SECONDS = 0.2  # answers are recorded for so long before what is urgent gets its turn again
THROTTLED_SECONDS = 0.03  # how soon to look again when a limit is all that something waits for
BOTS_SECONDS = 0.25  # how soon a bot that is paused, or resumed, is known to be


class Delivery:
    """One worker's calls in flight."""

    def __init__(self, calls_in_flight: int, wake: Callable[[], object]) -> None:
        self._limit = calls_in_flight
        self._wake = wake
        self._pool = ThreadPoolExecutor(calls_in_flight + URGENT_CALLS, thread_name_prefix="delivery")
        self._in_flight: dict[Future[Outcome], OutboxItem] = {}
        self._clients: dict[tuple[str, str, str, str], FeishuClient] = {}
        self._circuits: Mapping[int, Circuit | None] = {}
        self._governor = Governor(f"{socket.gethostname()}:{os.getpid()}:{id(self):x}")
        self._next: dict[str, float] = {"renew": time.monotonic() + RENEW_SECONDS}
        self._throttled: list[float] = []  # when what waits for a limit can go on: a heap

    def load(self) -> None:
        """Imports what the first call needs, so that it does not wait for it."""
        load_sdk()

    @property
    def busy(self) -> bool:
        return bool(self._in_flight)

    @property
    def throttled(self) -> bool:
        """Whether something would go out now, were it not for a limit of Feishu's that soon lets it."""
        return bool(self._throttled)

    def sleep_seconds(self, at_most: float) -> float:
        """How long nothing can be done unless something happens."""
        if not self._throttled:
            return at_most
        until = max(self._throttled[0], self._next.get("take", 0))
        return min(at_most, max(0.001, until - time.monotonic()))

    def step(self, *, take_more: bool = True) -> int:
        """Records what has come back and starts what is due; returns how many rows moved."""
        moved = self._collect()
        if self._is_time_for("renew", RENEW_SECONDS) and self._in_flight:
            lanes.renew(self._in_flight.values(), clock.now())
        if self._is_time_for("quotas", 1.0):
            self._governor.keep()
        return moved + (self._take() if take_more else 0)

    def close(self) -> None:
        """Waits for the calls in flight."""
        self._pool.shutdown(wait=True)

    def give_up(self) -> int:
        """The worker must end: what is still in flight waits for another worker, which knows that it may exist."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for item in self._in_flight.values():
            error = FeishuError("the worker was stopped during this try", unsure=True)
            outcome = Outcome(clock.now(), 0, error=error)
            record(item, outcome, random.random(), is_ours=True)  # noqa: S311
        self._in_flight.clear()
        return 0

    def leave(self) -> int:
        """Gives back this worker's share of the limits."""
        self._governor.close()
        return 0

    def _is_time_for(self, job: str, every_seconds: float) -> bool:
        if time.monotonic() < self._next.get(job, 0):
            return False
        self._next[job] = time.monotonic() + every_seconds
        return True

    # --- Taking what is due -----------------------------------------------------------------------------------
    def _take(self) -> int:
        """Starts what may go now, the most urgent first."""
        if time.monotonic() < self._next.get("take", 0):
            return 0  # at a limit, some calls are started together rather than each by itself
        while self._throttled and self._throttled[0] <= time.monotonic():
            heapq.heappop(self._throttled)
        self._look_after_lanes(clock.now())
        groups = Lane.objects.groups()
        if not groups:
            return lanes.find_astray() if self._is_time_for("astray, idle", TIDY_SECONDS) else 0
        if self._is_time_for("bots", BOTS_SECONDS):
            bots = Bot.objects.filter(enabled=True, paused=False).select_related("circuit")
            self._circuits = {bot.pk: getattr(bot, "circuit", None) for bot in bots}
        taken, probed = 0, set[int]()
        for priority, bot_id, call in groups:
            if not call or bot_id not in self._circuits or bot_id in probed:
                continue
            started = self._take_group(priority, bot_id, call)
            taken += started
            state = self._circuits[bot_id]
            if started and state is not None and state.opened_at is not None:
                probed.add(bot_id)
        return taken

    def _look_after_lanes(self, now: datetime) -> None:
        if self._is_time_for("reclaim", RECLAIM_SECONDS):
            lanes.reclaim(now)
        if self._is_time_for("tidy", TIDY_SECONDS):
            lanes.tidy(now)
        if self._is_time_for("astray", ASTRAY_SECONDS):
            lanes.find_astray()
        if lanes.line_up(now):
            self._again_in(THROTTLED_SECONDS)  # there may be more

    def _take_group(self, priority: int, bot_id: int, call: str) -> int:
        now, urgent, state = clock.now(), is_urgent(priority), self._circuits[bot_id]
        is_open = state is not None and state.opened_at is not None
        room = self._room(bot_id, urgent=urgent)
        due = len(
            Lane.objects.due(now, bot_id, call, priority).values_list("pk")[
                : min(room, 1 if is_open else room)
            ]
        )
        if not due:
            return 0
        allowed = self._governor.take((bot_id, call), due, urgent=urgent, more=due == room and not is_open)
        if allowed < due and not self._governor.is_blocked((bot_id, call)):
            self._again_in(THROTTLED_SECONDS)
            self._next["take"] = time.monotonic() + THROTTLED_SECONDS
        if not allowed or (is_open and state is not None and not circuit.may_probe(state, now)):
            return 0
        items, plans = lanes.claim(now, bot_id, call, priority, allowed)
        if is_open and not items:
            circuit.probe_later(bot_id, now)
        for plan in plans:
            self._look_again(plan)
            if plan.call and plan.due_at <= now:
                self._again_in(0)  # its next row: nothing else would wake this worker for it
        for item in items:
            item.is_probe = is_open
            self._start(item)
        return len(items)

    def _room(self, bot_id: int, *, urgent: bool) -> int:
        """How many calls more of a bot; one whose Feishu hangs never takes the last quarter of the calls."""
        extra = URGENT_CALLS if urgent else 0
        room = self._limit + extra - len(self._in_flight)
        if len(self._circuits) > 1:
            busy = sum(item.bot_id == bot_id for item in self._in_flight.values())
            room = min(room, max(1, self._limit * 3 // 4) + extra // 2 - busy)
        return max(0, room)

    def _look_again(self, plan: lanes.Plan) -> None:
        if plan.throttled:
            self._again_in((plan.due_at - clock.now()).total_seconds())

    def _again_in(self, seconds: float) -> None:
        heapq.heappush(self._throttled, time.monotonic() + seconds)

    def _start(self, item: OutboxItem) -> None:
        ticket, now = AppTicket.objects.of(item.bot), clock.now()
        self._governor.started((item.bot_id, item.call))
        future = self._pool.submit(self._perform, item, ticket, now)
        self._in_flight[future] = item
        future.add_done_callback(lambda _: self._wake())

    def _perform(self, item: OutboxItem, ticket: Secret | None, started_at: datetime) -> Outcome:
        try:
            client = self._client(item.bot, store_app(item.bot, item.tenant_key, ticket))
        except Exception as error:
            log.exception("bot %s cannot send", item.bot.slug)
            return Outcome(started_at, 0, error=FeishuError(str(error)[:500], http_status=400))
        return perform(client, item, started_at)

    def _client(self, bot: Bot, store: StoreApp | None) -> FeishuClient:
        # A changed secret makes a new client, and with it a new token; so does each tenant of a store app.
        key = (bot.app_id, bot.domain, bot.app_secret.sealed, store.tenant_key if store else "")
        if key not in self._clients:
            calls = self._limit + URGENT_CALLS
            client = FeishuClient(bot.app_id, bot.app_secret.reveal(), bot.domain, calls, store)
            self._clients.setdefault(key, client)
        client = self._clients[key]
        if store and isinstance(client.grant, StoreApp):
            client.grant.app_ticket = store.app_ticket  # the newest
        return client

    # --- Recording what has come back ------------------------------------------------------------------------
    def _collect(self) -> int:
        done = [future for future in self._in_flight if future.done()]
        until = time.monotonic() + COLLECT_SECONDS
        for number, future in enumerate(done):
            if number and time.monotonic() > until:
                return number
            item, outcome = self._in_flight[future], future.result()
            try:
                plan = record(item, outcome, random.random())  # noqa: S311
            except (OperationalError, InterfaceError):
                raise  # the database is away: the outcome is kept, and recorded when it is back
            except Exception:
                log.exception("the answer to outbox item %s cannot be stored as it is", item.pk)
                plan = _record_bare(item, outcome)
            del self._in_flight[future]
            self._governor.answered((item.bot_id, item.call), outcome.ended)
            if plan is not None:
                self._look_again(plan)
            _log(item, outcome)
            self._learn(item, outcome)
            if not item.followed_up:
                follow_up(item.pk)
        return len(done)

    def _learn(self, item: OutboxItem, outcome: Outcome) -> None:
        """What an outcome says about the app, beyond its row."""
        error = outcome.error
        if error is not None:
            self._next["bots"] = 0  # the circuit may be open now
        if error is None or (error.code is not None and not circuit.is_refusal(item, error)):
            circuit.answered(self._circuits.get(item.bot_id))
        if error is not None and error.is_rate_limit:
            self._governor.too_often((item.bot_id, item.call), error.retry_after_seconds)


def _record_bare(item: OutboxItem, outcome: Outcome) -> lanes.Plan | None:
    """A second attempt to store an outcome; after it the row is let go of, whatever happens: its lease ends."""
    try:
        return record(item, outcome.without_details(), random.random())  # noqa: S311
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        log.exception("outbox item %s is gone, or cannot be written", item.pk)
        let_go(item, outcome)
    return None


def _log(item: OutboxItem, outcome: Outcome) -> None:
    error = outcome.error
    if error is None:
        log.info("delivery %s to %s: sent in %d ms", item.call, item.target, outcome.duration_ms)
    else:
        log.warning(
            "delivery %s to %s: %s after %d ms: %s %s",
            item.call, item.target, item.status, outcome.duration_ms, error.code or "", storable(error.message),
        )  # fmt: skip
