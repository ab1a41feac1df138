"""One try of one row: the call, what became of it, and when the next one is due."""

import json
import logging
import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from . import circuit, clock, lanes
from .calls import ENDING_CALLS
from .codes import Reaction, is_target_gone
from .feishu import Answer, FeishuClient, FeishuError
from .models import Attempt, Lane, OutboxItem, storable

log = logging.getLogger(__name__)

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
    """What became of one try: an answer or an error, never both. `ended` is by the monotonic clock."""

    started_at: datetime
    duration_ms: int
    answer: Answer | None = None
    error: FeishuError | None = None
    ended: float = field(default_factory=time.monotonic)

    def without_details(self) -> "Outcome":
        """The same outcome, of an answer that no database column can hold."""
        answer, error = self.answer, self.error
        if answer is not None:
            message_id = storable(str(answer.data.get("message_id", "")))
            answer = Answer({"message_id": message_id}, answer.http_status, "")
        if error is not None:
            error = FeishuError(storable(error.message), http_status=error.http_status, unsure=error.unsure)
        return replace(self, answer=answer, error=error)


def next_attempt_at(now: datetime, tries: int, retry_after_seconds: float, jitter: float) -> datetime | None:
    """When to try again after `tries` tries, or None if they are used up. `jitter` is 0..1, for spreading."""
    if tries > len(RETRY_SECONDS):
        return None
    wait = max(RETRY_SECONDS[tries - 1], retry_after_seconds)
    return now + timedelta(seconds=wait * (1 + JITTER * jitter))


def perform(client: FeishuClient, item: OutboxItem, now: datetime) -> Outcome:
    """Makes the call of one row; never raises. Touches no database."""
    started = time.monotonic()

    def outcome(answer: Answer | None = None, error: FeishuError | None = None) -> Outcome:
        ended = time.monotonic()
        return Outcome(now, round((ended - started) * 1000), answer, error, ended)

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
    start, end = item.first_attempt_at - lanes.CLOCKS_DIFFER, now + lanes.CLOCKS_DIFFER
    for message in client.history(item.target, int(start.timestamp()), int(end.timestamp())):
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


def record(item: OutboxItem, outcome: Outcome, jitter: float, *, is_ours: bool = False) -> lanes.Plan | None:
    """Writes what became of a try; what the lane does next, or None if the lease was lost.

    A success always counts; a failure only while the lease is still ours. `is_ours`: it was no fault of Feishu's.
    """
    now, error = clock.now(), outcome.error
    is_apps_fault = error is not None and not is_ours and _tell_the_circuit(item, error, now)
    with transaction.atomic():
        lane = lanes.lane_of(item)
        _create_attempt(item, outcome)
        if error is None:
            _succeed(item, outcome, now)
        elif lane is not None:
            _fail(item, error, now, jitter, is_apps_fault=is_apps_fault)
            _fail_the_others(item, error, outcome.started_at)
        return _release(lane, item, outcome, now) if lane is not None else None


def let_go(item: OutboxItem, outcome: Outcome) -> None:
    """Frees the lane of a row whose outcome cannot be written."""
    with transaction.atomic():
        if (lane := lanes.lane_of(item)) is not None:
            _release(lane, item, outcome, clock.now())


def _release(lane: Lane, item: OutboxItem, outcome: Outcome, now: datetime) -> lanes.Plan:
    answered_at = now - timedelta(seconds=max(0.0, time.monotonic() - outcome.ended))
    return lanes.release(lane, item, now, answered_at)


def _tell_the_circuit(item: OutboxItem, error: FeishuError, now: datetime) -> bool:
    """Whether the app gets no answers, so that the row is not to blame."""
    if circuit.is_silence(error) or circuit.is_refusal(item, error):
        return circuit.failed(item, error, now)
    return False


def _succeed(item: OutboxItem, outcome: Outcome, now: datetime) -> None:
    item.status, item.sent_at, item.error, item.error_code = OutboxItem.Status.SENT, now, "", None
    item.result = outcome.answer.data if outcome.answer else None
    changes = {"status": item.status, "sent_at": now, "result": item.result, "error": "", "error_code": None}
    OutboxItem.objects.filter(pk=item.pk).exclude(status=OutboxItem.Status.SENT).update(**changes)


def _fail(item: OutboxItem, error: FeishuError, now: datetime, jitter: float, *, is_apps_fault: bool) -> None:
    again_at = None
    if is_apps_fault:  # the circuit says when, and the try does not count
        again_at, item.attempt_count = now, max(0, item.attempt_count - 1)
    elif not error.permanent:
        again_at = next_attempt_at(now, item.attempt_count, error.retry_after_seconds, jitter)
    item.status = OutboxItem.Status.PENDING if again_at else OutboxItem.Status.FAILED
    OutboxItem.objects.filter(pk=item.pk, status=OutboxItem.Status.SENDING).update(
        status=item.status,
        next_attempt_at=again_at or now,
        attempt_count=item.attempt_count,
        leased_until=None,
        unsure=item.unsure or error.unsure,
        error_code=error.code,
        error=error.message[:500],
    )


def _fail_the_others(item: OutboxItem, error: FeishuError, started_at: datetime) -> None:
    """The chat or person is gone: what waited for it when this was found out fails with the same reason.

    Later rows may know better (the bot was added again), and leaving or dissolving the chat has its own answer.
    """
    if not is_target_gone(item.call, error.code):
        return
    waiting = (
        OutboxItem.objects.unfinished()
        .filter(
            bot=item.bot_id, target=item.target, status=OutboxItem.Status.PENDING, created_at__lt=started_at
        )
        .exclude(call__in=ENDING_CALLS)
    )
    waiting.update(
        status=OutboxItem.Status.FAILED,
        error_code=error.code,
        error=error.message[:500],
        next_attempt_at=started_at,
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
