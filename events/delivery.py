"""Takes due rows of the outbox to Feishu: claims, calls in threads, records every try.

Threads only talk to Feishu; all database work is done by the thread that calls `Delivery`, so that a slow
Feishu costs no connections and SQLite sees one writer.
"""

import json
import logging
import random
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import InterfaceError, OperationalError, transaction
from django.utils import timezone

from .codes import Reaction
from .feishu import Answer, FeishuClient, FeishuError, load_sdk
from .followup import follow_up
from .models import Attempt, Bot, OutboxItem, storable

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=30)
RENEW_AFTER = LEASE / 3
# How long Feishu knows a uuid (1 h for messages, 10 h for chats), less a margin. An unanswered call that is older
# must not simply be made again; calls that are not named here may be made twice.
UUID_WINDOWS = {
    "send_message": timedelta(minutes=55),
    "reply_message": timedelta(minutes=55),
    "create_chat": timedelta(hours=9, minutes=55),
}
# The wait after the 1st, 2nd, ... try: 17 tries over about 9 hours, so that an outage of a night is survived.
RETRY_SECONDS = (1, 2, 5, 10, 20, 40, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 7200, 10800)
JITTER = 0.25


@dataclass(frozen=True)
class Outcome:
    """What became of one try: an answer or an error, never both."""

    started_at: datetime
    duration_ms: int
    answer: Answer | None = None
    error: FeishuError | None = None


def next_attempt_at(now: datetime, tries: int, retry_after_seconds: float, jitter: float) -> datetime | None:
    """When to try again after `tries` tries, or None if they are used up. `jitter` is 0..1, for spreading."""
    if tries > len(RETRY_SECONDS):
        return None
    wait = max(RETRY_SECONDS[tries - 1], retry_after_seconds)
    return now + timedelta(seconds=wait * (1 + JITTER * jitter))


def claim(limit: int, now: datetime, bot_id: int | None = None) -> list[OutboxItem]:
    """Leases up to `limit` due rows (of one bot) to the caller; several workers never get the same one."""
    with transaction.atomic():
        due = OutboxItem.objects.due(now).select_for_update(skip_locked=True, of=("self",))
        items = list(
            (due if bot_id is None else due.filter(bot=bot_id)).select_related("bot", "attachment")[:limit]
        )
        for item in items:
            if item.status == OutboxItem.Status.SENDING:
                _record_lost_try(item)
            if item.unsure:
                item.messages_of_others = _messages_of_others(item)
            item.status, item.leased_until = OutboxItem.Status.SENDING, now + LEASE
            item.first_attempt_at = item.first_attempt_at or now
            item.attempt_count += 1
        OutboxItem.objects.bulk_update(
            items, ["status", "leased_until", "first_attempt_at", "attempt_count", "unsure"]
        )
    return items


def _record_lost_try(item: OutboxItem) -> None:
    """The worker that had the row is gone; nobody knows whether its call reached Feishu."""
    item.unsure = True
    Attempt.objects.create(
        item=item,
        started_at=item.leased_until - LEASE if item.leased_until else timezone.now(),
        outcome=Attempt.Outcome.UNKNOWN,
        message="the worker stopped during this try",
    )


def _messages_of_others(item: OutboxItem) -> frozenset[str]:
    """Messages in the same chat that other rows made: they are not this one's, however alike."""
    results = OutboxItem.objects.filter(
        bot=item.bot, target=item.target, status=OutboxItem.Status.SENT, sent_at__gte=item.created_at
    ).values_list("result", flat=True)
    return frozenset(str((result or {}).get("message_id", "")) for result in results)


def perform(client: FeishuClient, item: OutboxItem, now: datetime) -> Outcome:
    """Makes the call of one row; never raises. Touches no database."""
    started = time.monotonic()

    def outcome(answer: Answer | None = None, error: FeishuError | None = None) -> Outcome:
        return Outcome(now, round((time.monotonic() - started) * 1000), answer, error)

    try:
        found = find_tab(client, item) or find_sent(client, item, now)
        return outcome(answer=found or client.call(item.call, item.arguments, item.uuid, item.attached))
    except FeishuError as error:
        return outcome(error=error)
    except Exception as error:
        log.exception("outbox item %s cannot be sent", item.pk)
        return outcome(error=FeishuError(f"{type(error).__name__}: {error}"[:500], http_status=400))


def find_sent(client: FeishuClient, item: OutboxItem, now: datetime) -> Answer | None:
    """The message of an earlier, unanswered try, looked for in the chat once its uuid no longer protects it.

    Raises FeishuError: without an answer from history the row must not be sent.
    """
    window = UUID_WINDOWS.get(item.call)
    if (
        not item.unsure
        or item.first_attempt_at is None
        or window is None
        or now - item.first_attempt_at < window
    ):
        return None
    if item.call == "create_chat" or item.arguments.get("receive_id_type", "chat_id") != "chat_id":
        raise FeishuError(
            "it may have been done already, and there is no chat to look it up in", http_status=400
        )
    start = int(item.first_attempt_at.timestamp()) - 60
    for message in client.history(item.target, start, int(now.timestamp()) + 60):
        if _is_ours(message, item):
            return Answer({**message, "found_in_history": True}, 200, "")
    return None


def find_tab(client: FeishuClient, item: OutboxItem) -> Answer | None:
    """The chat tab of an earlier, unanswered try: Feishu has no uuid for tabs and would add a second one."""
    if not item.unsure or item.call != "add_chat_tab":
        return None
    tabs = client.tabs(str(item.arguments["chat_id"]))
    same = (tab for tab in tabs if (tab.get("tab_content") or {}).get("url") == item.arguments["url"])
    return next((Answer({"chat_tabs": [tab], "found_in_chat": True}, 200, "") for tab in same), None)


def _is_ours(message: dict[str, Any], item: OutboxItem) -> bool:
    sender, body = message.get("sender") or {}, message.get("body") or {}
    if sender.get("id") != item.bot.app_id or message.get("msg_type") != item.arguments["msg_type"]:
        return False
    if message.get("message_id") in item.messages_of_others:
        return False
    try:
        return bool(json.loads(body.get("content") or "null") == item.content)
    except ValueError:
        return False


def record(item: OutboxItem, outcome: Outcome, jitter: float) -> None:
    """Writes what became of a try. A success always counts; a failure only while the lease is still ours."""
    now = timezone.now()
    error = outcome.error
    with transaction.atomic():
        _create_attempt(item, outcome)
        if error is None:
            item.status, item.sent_at, item.error, item.error_code = OutboxItem.Status.SENT, now, "", None
            item.result = outcome.answer.data if outcome.answer else None
            changes = {
                "status": item.status,
                "sent_at": now,
                "result": item.result,
                "error": "",
                "error_code": None,
            }
            OutboxItem.objects.filter(pk=item.pk).exclude(status=OutboxItem.Status.SENT).update(**changes)
            return
        again_at = None
        if not error.permanent:
            again_at = next_attempt_at(now, item.attempt_count, error.retry_after_seconds, jitter)
        item.status = OutboxItem.Status.PENDING if again_at else OutboxItem.Status.FAILED
        OutboxItem.objects.filter(
            pk=item.pk, status=OutboxItem.Status.SENDING, attempt_count=item.attempt_count
        ).update(
            status=item.status,
            next_attempt_at=again_at or now,
            leased_until=None,
            unsure=item.unsure or error.unsure,
            error_code=error.code,
            error=error.message[:500],
        )


def _create_attempt(item: OutboxItem, outcome: Outcome) -> None:
    error, answer = outcome.error, outcome.answer
    kind = Attempt.Outcome.SENT
    if error is not None:
        unknown = error.unsure or (error.code is None and error.reaction is Reaction.RETRY)
        kind = Attempt.Outcome.UNKNOWN if unknown else Attempt.Outcome.REFUSED
    source = error or answer
    Attempt.objects.create(
        item=item,
        started_at=outcome.started_at,
        duration_ms=outcome.duration_ms,
        outcome=kind,
        http_status=source.http_status if source else None,
        code=error.code if error else 0,
        message=error.message[:500] if error else "",
        log_id=source.log_id if source else "",
    )


class Delivery:
    """One worker's calls in flight."""

    def __init__(self, calls_in_flight: int, wake: Callable[[], object]) -> None:
        self._limit = calls_in_flight
        self._wake = wake
        self._pool = ThreadPoolExecutor(calls_in_flight, thread_name_prefix="delivery")
        self._in_flight: dict[Future[Outcome], OutboxItem] = {}
        self._clients: dict[tuple[str, str, str], FeishuClient] = {}
        self._renew_at = time.monotonic() + RENEW_AFTER.total_seconds()

    def load(self) -> None:
        """Imports what the first call needs, so that it does not wait for it."""
        load_sdk()

    @property
    def busy(self) -> bool:
        return bool(self._in_flight)

    def step(self, *, take_more: bool = True) -> int:
        """Records what has come back and starts what is due; returns how many rows moved."""
        moved = self._collect()
        self._renew_leases()
        return moved + (self._take() if take_more else 0)

    def close(self) -> None:
        self._pool.shutdown(wait=True)

    def _take(self) -> int:
        """Claims what is due; one bot whose Feishu hangs never takes the last quarter of the calls."""
        free = self._limit - len(self._in_flight)
        if free <= 0:
            return 0
        now, taken = timezone.now(), 0
        bots = list(OutboxItem.objects.due(now).order_by("bot").values_list("bot", flat=True).distinct())
        share = self._limit if Bot.objects.filter(enabled=True).count() == 1 else max(1, self._limit * 3 // 4)
        for bot_id in bots:
            busy = sum(item.bot_id == bot_id for item in self._in_flight.values())
            room = min(free - taken, share - busy)
            for item in claim(room, now, bot_id) if room > 0 else ():
                self._start(item)
                taken += 1
        return taken

    def _collect(self) -> int:
        done = [future for future in self._in_flight if future.done()]
        for future in done:
            item, outcome = self._in_flight[future], future.result()
            try:
                record(item, outcome, random.random())  # noqa: S311
            except (OperationalError, InterfaceError):
                raise  # the database is away: the outcome is kept, and recorded when it is back
            except Exception:
                log.exception("the answer to outbox item %s cannot be stored as it is", item.pk)
                _record_bare(item, outcome)
            del self._in_flight[future]
            _log(item, outcome)
            if not item.followed_up:
                follow_up(item.pk)
        return len(done)

    def _start(self, item: OutboxItem) -> None:
        future = self._pool.submit(self._perform, item)
        self._in_flight[future] = item
        future.add_done_callback(lambda _: self._wake())

    def _perform(self, item: OutboxItem) -> Outcome:
        try:
            client = self._client(item.bot)
        except Exception as error:
            log.exception("bot %s cannot send", item.bot.slug)
            return Outcome(timezone.now(), 0, error=FeishuError(str(error)[:500], http_status=400))
        return perform(client, item, timezone.now())

    def _client(self, bot: Bot) -> FeishuClient:
        # A changed secret makes a new client, and with it a new token.
        key = (bot.app_id, bot.domain, bot.app_secret.sealed)
        if key not in self._clients:
            client = FeishuClient(bot.app_id, bot.app_secret.reveal(), bot.domain, self._limit)
            self._clients.setdefault(key, client)
        return self._clients[key]

    def _renew_leases(self) -> None:
        if time.monotonic() < self._renew_at:
            return
        self._renew_at = time.monotonic() + RENEW_AFTER.total_seconds()
        pks = [item.pk for item in self._in_flight.values()]
        if pks:
            rows = OutboxItem.objects.filter(pk__in=pks, status=OutboxItem.Status.SENDING)
            rows.update(leased_until=timezone.now() + LEASE)


def _record_bare(item: OutboxItem, outcome: Outcome) -> None:
    """A second attempt to store an outcome; after it the row is let go of, whatever happens: its lease ends."""
    try:
        record(item, _without_details(outcome), random.random())  # noqa: S311
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        log.exception("outbox item %s is gone, or cannot be written", item.pk)


def _without_details(outcome: Outcome) -> Outcome:
    """The same outcome, of an answer that no database column can hold."""
    answer, error = outcome.answer, outcome.error
    if answer is not None:
        message_id = storable(str(answer.data.get("message_id", "")))
        answer = Answer({"message_id": message_id}, answer.http_status, "")
    if error is not None:
        bare = FeishuError(storable(error.message), http_status=error.http_status, unsure=error.unsure)
        error = bare
    return Outcome(outcome.started_at, outcome.duration_ms, answer, error)


def _log(item: OutboxItem, outcome: Outcome) -> None:
    error = outcome.error
    if error is None:
        log.info("delivery %s to %s: sent in %d ms", item.call, item.target, outcome.duration_ms)
    else:
        log.warning(
            "delivery %s to %s: %s after %d ms: %s %s",
            item.call, item.target, item.status, outcome.duration_ms, error.code or "", error.message,
        )  # fmt: skip
