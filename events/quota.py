"""The quota governor: keeps Feishu's limits per app and API (50 calls a second, 1,000 a minute) over all workers.

The database holds one row for each app and API: which worker may have how many calls within any second (its share),
and how many calls were granted in the last minute. A worker asks for some dozens of calls at a time and counts by
itself in between. A share is counted from the start of a call until a second after its answer: wherever in between
Feishu counts the call, the limit holds, however late a thread runs. All times in the row are the database's.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta, timezone
from typing import Any

from django.db import transaction

from . import clock
from .models import OutboxItem, Priority, Quota

PER_SECOND, PER_MINUTE = 50, 1000
SECOND = 1.005
TOKENS_LIVE_SECONDS = 0.5  # a call that was granted starts within that, or is given back
MINUTE = 60 + TOKENS_LIVE_SECONDS + 0.5  # and may take half a second to be counted by Feishu
BUCKET_SECONDS = 0.25  # grants within that are written as one
SHARE_SECONDS = 4.0
GIVE_BACK_AFTER_SECONDS = 1.0
# Of a minute's calls, what is urgent finds so many at once and so many for every second until others come back. Those
# that come back so soon count as there: then the rest may have what was kept, and what is urgent the first of them.
KEPT_AT_ONCE, KEPT_PER_SECOND, SOON_SECONDS = 10, 1.0, 0.5
# Where what is kept would cost a burst another minute, and that more than this share of its time, it goes without after
# a while. A new burst begins when few calls were made in the last minute.
MAY_TAKE_LONGER, A_WHILE, FEW, MOST_MINUTES = 0.075, 0.05, PER_MINUTE // 10, 12
OWED_SECONDS = 1.0  # what is urgent and got too little goes first for so long, and asks again meanwhile
ASK_AGAIN_SECONDS = (0.05, 0.5)
# After "too often" (others use the app as well): half as much, which grows back in ten minutes.
SLOWER, SLOWEST, RECOVERY_SECONDS = 0.5, 0.1, 600
CHINA = timezone(timedelta(hours=8))

Key = tuple[int, str]  # bot, call


def is_urgent(priority: int) -> bool:
    """Whether calls, connections and a share of the limits are kept free for rows of this priority."""
    return priority < Priority.WELCOME


@dataclass(frozen=True)
class Wish:
    """What a worker asks for: `calls` to start soon, while `hot` of its calls still count towards the second."""

    worker: str
    calls: int
    hot: int = 0
    urgent: bool = False
    more: bool = False  # there is more waiting than is asked for


@dataclass(frozen=True)
class Grant:
    """So many calls may count at once (`cap`), so many may start (`tokens`), entered under `bucket`."""

    cap: int
    tokens: int
    bucket: float
    ask_again_in: float = 0.0
    blocked: bool = False


@dataclass
class Ledger:
    """The row's state and the arithmetic on it; touches no database and no clock."""

    grants: list[list[float]] = field(default_factory=list)  # [when, how many], oldest first
    shares: dict[str, dict[str, Any]] = field(default_factory=dict)  # worker: calls, until, hungry
    slowed_at: float = 0.0
    strength_then: float = 1.0
    blocked_until: float = 0.0
    owed: int = 0  # calls that what is urgent asked for in vain
    owed_until: float = 0.0
    began: float = 0.0  # when the present burst of calls did
    pressed: float = 0.0  # since when what is kept would make it take too long

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> "Ledger":
        """The ledger of a row, which another version of this program may have written."""
        return cls(**{known.name: state[known.name] for known in fields(cls) if known.name in state})

    def state(self) -> dict[str, Any]:
        return dict(vars(self))

    def expire(self, now: float) -> None:
        # What lies in the future was written before the clock was put back: it counts from now.
        newest = now + BUCKET_SECONDS
        self.slowed_at, self.owed_until = min(self.slowed_at, now), min(self.owed_until, now + OWED_SECONDS)
        self.began, self.pressed = min(self.began, newest), min(self.pressed, now)
        self.grants = [[min(at, newest), n] for at, n in self.grants if at > now - MINUTE and n > 0]
        for share in self.shares.values():
            share["until"] = min(share["until"], now + SHARE_SECONDS)
        self.shares = {worker: share for worker, share in self.shares.items() if share["until"] > now}

    def strength(self, now: float) -> float:
        """1, or less after a "too often"."""
        return min(1.0, self.strength_then + max(0.0, now - self.slowed_at) / RECOVERY_SECONDS)

    def used(self) -> int:
        return int(sum(n for _, n in self.grants))

    def slow_down(self, now: float, seconds: float) -> None:
        """Feishu said "too often": all wait as long as it asked, and then do less. Once for many such answers."""
        if now - self.slowed_at > 1:
            self.strength_then = max(SLOWEST, self.strength(now) * SLOWER)
            self.slowed_at = now
        self.blocked_until = max(self.blocked_until, now + max(seconds, 1.0))

    def give_back(self, bucket: float, tokens: int) -> None:
        """Calls that were granted and not made; of a bucket that is long gone there is nothing to correct."""
        for grant in self.grants:
            if grant[0] == bucket:
                grant[1] = max(0, grant[1] - tokens)

    def grant(self, now: float, wish: Wish, backlog: Callable[[int], int]) -> Grant:
        """Gives what the limits allow. `backlog(n)` counts the rows that wait, up to n."""
        if now < self.blocked_until:
            self.shares.pop(wish.worker, None)
            return Grant(0, 0, 0.0, min(ASK_AGAIN_SECONDS[1], self.blocked_until - now), blocked=True)
        cap = self._share(now, wish)
        wanted = wish.calls
        if wish.more and not wish.urgent:  # what is kept is not asked for in advance
            wanted = max(wanted, math.ceil(cap * TOKENS_LIVE_SECONDS))
        tokens = max(0, min(wanted, self._allowed(now, wish, wanted, backlog)))
        bucket = _bucket(now)
        if tokens:
            self._enter(bucket, tokens)
        soon, late = ASK_AGAIN_SECONDS
        short = tokens < wish.calls or cap - wish.hot < wish.calls
        wait = min(late, max(soon, self._dry_seconds(now))) if tokens < wish.calls else soon
        return Grant(cap, tokens, bucket, wait if short else 0.0)

    def _allowed(self, now: float, wish: Wish, wanted: int, backlog: Callable[[int], int]) -> int:
        """How many of this minute's calls a worker may have."""
        strength = self.strength(now)
        free = max(0, int(PER_MINUTE * strength) - self.used())
        if wish.urgent:
            self.owed, self.owed_until = max(0, wish.calls - free), now + OWED_SECONDS
            return free
        if now < self.owed_until:
            free -= self.owed
        kept = self._kept(now, KEPT_PER_SECOND) * strength
        if 0 < free < wanted + kept and self._takes_too_long(now, free, backlog):
            if self.pressed < self.began:
                self.pressed = now
            is_over = now - self.pressed >= (self.pressed - self.began) * A_WHILE
            kept = 0.0 if is_over else self._kept(now, 0) * strength
        return free - math.ceil(kept)

    def _takes_too_long(self, now: float, free: int, backlog: Callable[[int], int]) -> bool:
        """Whether the burst would need another minute just for the calls that are kept, and that would be long."""
        waiting = backlog(MOST_MINUTES * PER_MINUTE)
        if waiting <= free:
            return True
        minutes, last = divmod(waiting - free, PER_MINUTE)
        if not last:
            minutes, last = minutes - 1, PER_MINUTE
        whole = now - self.began + self._dry_seconds(now) + minutes * 60 + last / PER_SECOND
        another = 60 - last / PER_SECOND
        return PER_MINUTE - last < KEPT_AT_ONCE * (minutes + 5) and another > whole * MAY_TAKE_LONGER

    def _kept(self, now: float, per_second: float) -> float:
        """How many calls are kept for what is urgent."""
        kept, back = 0.0, 0.0
        for at, calls in (*self.grants, (now, 0)):
            if (seconds := at + MINUTE - now) > SOON_SECONDS:
                kept = max(kept, KEPT_AT_ONCE + per_second * seconds - back)
            back += calls
        return kept

    def enter_late(self, now: float, calls: int) -> None:
        """Calls that started later than their grant allowed for: they count once more, from now."""
        if calls:
            self._enter(_bucket(now), calls)

    def _enter(self, bucket: float, tokens: int) -> None:
        if self.used() < FEW:
            self.began = bucket - BUCKET_SECONDS
        if self.grants and self.grants[-1][0] == bucket:
            self.grants[-1][1] += tokens
        else:
            self.grants.append([bucket, tokens])

    def _dry_seconds(self, now: float) -> float:
        """How long until the oldest grant no longer counts."""
        return max(0.0, self.grants[0][0] + MINUTE - now) if self.grants else MINUTE

    def _share(self, now: float, wish: Wish) -> int:
        """The worker's share of a second's calls; workers that want more than there is get equal ones.

        One call a second is kept for what is urgent.
        """
        limit = max(2, int(PER_SECOND * self.strength(now)))
        others = [share for worker, share in self.shares.items() if worker != wish.worker]
        left = limit - int(sum(share["calls"] for share in others))
        fair = max(1, (limit - 1) // (len(others) + 1))
        wanted = limit if wish.more else wish.hot + wish.calls
        cap = max(0, min(wanted, left - 1))
        if any(share["hungry"] for share in others):
            cap = min(cap, fair)
        if wish.urgent and cap < wanted and left - max(cap, wish.hot) >= 1:
            cap = max(cap, wish.hot) + 1
        hungry = wish.calls > 0 and cap < min(wanted, fair)
        held = max(cap, wish.hot)
        self.shares[wish.worker] = {"calls": held, "until": now + SHARE_SECONDS, "hungry": hungry}
        return cap


def _bucket(now: float) -> float:
    return math.ceil(now / BUCKET_SECONDS) * BUCKET_SECONDS


@dataclass
class Share:
    """What one worker holds of one app's use of one API; times are of its own monotonic clock."""

    cap: int = 0
    tokens: int = 0
    bucket: float = 0.0
    asked_at: float = -math.inf
    ask_again_at: float = -math.inf
    used_at: float = -math.inf
    blocked: bool = False
    in_flight: int = 0
    late: int = 0  # calls that started after their tokens had expired
    cooling: deque[float] = field(default_factory=deque)

    def hot(self) -> int:
        """Calls that may still count within Feishu's present second."""
        while self.cooling and self.cooling[0] <= time.monotonic():
            self.cooling.popleft()
        return self.in_flight + len(self.cooling)

    def room(self) -> int:
        """How many calls may start now."""
        age = time.monotonic() - self.asked_at
        if age > SHARE_SECONDS - 1:
            return 0
        return max(0, min(self.cap - self.hot(), self.tokens if age < TOKENS_LIVE_SECONDS else 0))


class Governor:
    """One worker's dealings with the quotas. Not for several threads."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._shares: dict[Key, Share] = {}

    def take(self, key: Key, calls: int, *, urgent: bool, more: bool) -> int:
        """How many of `calls` may start now; asks the database when what is at hand does not do."""
        share = self._shares.setdefault(key, Share())
        if share.room() < calls and self._asking_helps(share, calls, urgent=urgent):
            self._ask(key, share, Wish(self._worker, calls, share.hot(), urgent, more))
        return min(calls, share.room())

    def started(self, key: Key) -> None:
        share = self._shares[key]
        share.tokens -= 1
        share.in_flight += 1
        share.used_at = time.monotonic()
        share.late += share.used_at - share.asked_at > TOKENS_LIVE_SECONDS

    def answered(self, key: Key, at: float) -> None:
        """A call came back at `at`, by the monotonic clock."""
        share = self._shares[key]
        share.in_flight -= 1
        share.cooling.append(at + SECOND)

    def is_blocked(self, key: Key) -> bool:
        """Whether Feishu asked to wait, which may be long."""
        return self._shares[key].blocked

    def too_often(self, key: Key, seconds: float) -> None:
        """Feishu refused a call for its rate and asked to wait so long."""
        bot_id, call = key
        with transaction.atomic():
            quota = _locked(bot_id, call)
            ledger, now = Ledger.of(quota.state), clock.now().timestamp()
            ledger.expire(now)
            ledger.slow_down(now, seconds)
            quota.state = ledger.state()
            quota.save(update_fields=["state"])
        self._shares.setdefault(key, Share()).asked_at = -math.inf

    def keep(self) -> None:
        """Renews the shares in use and gives back the others; every second or so."""
        now = time.monotonic()
        for key, share in list(self._shares.items()):
            if now - share.asked_at < GIVE_BACK_AFTER_SECONDS:
                continue
            if share.hot():
                self._ask(key, share, Wish(self._worker, 0, share.hot()))
            elif now - share.used_at > GIVE_BACK_AFTER_SECONDS:
                self._leave(key, share)

    def close(self) -> None:
        for key, share in list(self._shares.items()):
            self._leave(key, share)

    def _asking_helps(self, share: Share, calls: int, *, urgent: bool) -> bool:
        now = time.monotonic()
        if now < share.ask_again_at and not (urgent and now - share.asked_at > ASK_AGAIN_SECONDS[0]):
            return False
        tokens = share.tokens if now - share.asked_at < TOKENS_LIVE_SECONDS else 0
        cool = share.cap - share.hot()
        # With calls left, and the whole share merely hot, time helps and the database does not.
        return tokens < min(calls, max(cool, 1)) or (cool < calls and (urgent or share.cap < PER_SECOND // 2))

    def _ask(self, key: Key, share: Share, wish: Wish) -> None:
        bot_id, call = key
        asked_at = time.monotonic()
        with transaction.atomic():
            quota = _locked(bot_id, call)
            ledger, now = Ledger.of(quota.state), clock.now()
            ledger.expire(now.timestamp())
            ledger.give_back(share.bucket, share.tokens)
            ledger.enter_late(now.timestamp(), share.late)
            grant = ledger.grant(now.timestamp(), wish, lambda most: _waiting(bot_id, call, most))
            _count(quota, now.astimezone(CHINA).strftime("%Y-%m"), grant.tokens - share.tokens)
            quota.state = ledger.state()
            quota.save(update_fields=["state", "month", "month_count"])
        share.cap, share.tokens, share.bucket, share.asked_at = (
            grant.cap,
            grant.tokens,
            grant.bucket,
            asked_at,
        )
        share.late = 0
        share.ask_again_at = time.monotonic() + grant.ask_again_in
        share.blocked = grant.blocked

    def _leave(self, key: Key, share: Share) -> None:
        bot_id, call = key
        with transaction.atomic():
            quota = _locked(bot_id, call)
            ledger = Ledger.of(quota.state)
            ledger.give_back(share.bucket, share.tokens)
            ledger.enter_late(clock.now().timestamp(), share.late)
            ledger.shares.pop(self._worker, None)
            _count(quota, quota.month, -share.tokens)
            quota.state = ledger.state()
            quota.save(update_fields=["state", "month", "month_count"])
        del self._shares[key]


def _locked(bot_id: int, call: str) -> Quota:
    rows = Quota.objects.select_for_update().filter(bot=bot_id, call=call)
    quota = rows.first()
    if quota is None:
        Quota.objects.bulk_create([Quota(bot_id=bot_id, call=call)], ignore_conflicts=True)
        quota = rows.get()
    return quota


def _count(quota: Quota, month: str, calls: int) -> None:
    if quota.month != month:
        quota.month, quota.month_count = month, 0
    quota.month_count = max(0, quota.month_count + calls)


def _waiting(bot_id: int, call: str, most: int) -> int:
    """How many rows of a call wait, counted up to `most`."""
    rows = OutboxItem.objects.unfinished().filter(status=OutboxItem.Status.PENDING, bot=bot_id, call=call)
    return len(rows.order_by().values_list("pk")[:most])
