"""Lanes at their edges: what is lost, locked, left behind or shared with other bots."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import requests
from django.db import DatabaseError, connection, transaction
from django.db.models import Subquery
from django.utils import timezone

from botconsole.worker import Worker
from events import lanes, outbox
from events.attempts import Outcome, find_sent, let_go
from events.delivery import Delivery
from events.feishu import Answer
from events.models import Bot, Lane, OutboxItem, Priority
from events.models.lane import GROUPS
from tests.outbox_claims import claim

Status = OutboxItem.Status


def queue(bot: Bot, key: str, chat_id: str = "oc_1", **row: Any) -> OutboxItem:
    item = outbox.send_text(bot, chat_id=chat_id, markup=key, key=key, **row)
    assert item is not None
    return item


def group(sandbox: Any) -> str:
    answer = requests.post(f"{sandbox.url}/_sandbox/groups", json={"name": "g"}, timeout=60)
    return str(answer.json()["chat_id"])


def another_bot(name: str, **fields: Any) -> Bot:
    row = {"name": name, "slug": name, "app_id": f"cli_{name}", "app_secret": "s", "verification_token": "v"}
    return Bot.objects.create(**row, **fields)


# --- What is lost or left behind ----------------------------------------------------------------------------
@pytest.mark.django_db
def test_a_row_whose_worker_and_lane_are_gone_is_taken_over(bot: Bot) -> None:
    queue(bot, "a")
    now = timezone.now()
    assert claim(1, now)
    Lane.objects.all().delete()
    assert [item.key for item in claim(1, now + lanes.LEASE + timedelta(seconds=1))] == ["a"]


@pytest.mark.django_db(transaction=True)
def test_a_lost_row_is_found_though_a_paused_bot_has_rows_waiting(bot: Bot, sandbox: Any) -> None:
    chat_id = group(sandbox)
    queue(bot, "lost", chat_id)
    queue(another_bot("paused", paused=True), "waits")
    lanes.line_up(timezone.now())
    Lane.objects.filter(target=chat_id).delete()
    Worker().run_once()
    assert OutboxItem.objects.get(key="lost").status == Status.SENT


@pytest.mark.django_db(transaction=True)
def test_a_row_that_has_lost_its_lane_is_sent_all_the_same(bot: Bot, sandbox: Any) -> None:
    queue(bot, "a", group(sandbox))
    lanes.line_up(timezone.now())
    Lane.objects.all().delete()
    Worker().run_once()
    assert OutboxItem.objects.get().status == Status.SENT


@pytest.mark.django_db
def test_a_row_whose_outcome_cannot_be_written_keeps_its_lane_until_its_lease_ends(bot: Bot) -> None:
    queue(bot, "a")
    (item,) = claim(1, timezone.now())
    let_go(item, Outcome(timezone.now(), 1, answer=Answer({}, 200, "")))
    lane = Lane.objects.get()
    assert (lane.busy, lane.due_at) == (False, item.leased_until)


@pytest.mark.django_db
def test_a_lane_whose_first_row_gave_way_is_looked_at_again_at_once(bot: Bot) -> None:
    queue(bot, "remind:1", merge_key="reminder")
    queue(bot, "remind:2", merge_key="reminder")
    lanes.line_up(timezone.now())
    delivery = Delivery(1, lambda: None)
    assert delivery.step() == 0
    assert OutboxItem.objects.get(key="remind:1").status == Status.SUPERSEDED
    assert delivery.sleep_seconds(at_most=1.0) < 0.1


@pytest.mark.django_db
def test_a_row_that_ends_every_worker_that_takes_it_fails_in_the_end(bot: Bot) -> None:
    queue(bot, "a")
    now = timezone.now()
    for _ in range(lanes.MOST_LOST_TRIES):
        assert claim(1, now)
        now += lanes.LEASE + timedelta(seconds=1)
    assert claim(1, now) == []
    item = OutboxItem.objects.get()
    assert (item.status, item.error, item.unsure) == (Status.FAILED, lanes.LOST, True)


# --- Locks ----------------------------------------------------------------------------------------------------
def in_a_thread(work: Callable[[], object], failures: list[DatabaseError]) -> threading.Thread:
    def run() -> None:
        try:
            work()
        except DatabaseError as error:
            failures.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_lining_up_waits_for_no_lane_and_holds_no_row_of_one_that_is_held(bot: Bot) -> None:
    queue(bot, "a")
    (item,) = claim(1, timezone.now())
    queue(bot, "b")
    failures: list[DatabaseError] = []
    with transaction.atomic():
        assert lanes.lane_of(item) is not None  # its answer is being recorded: the chat is gone
        thread = in_a_thread(lambda: lanes.line_up(timezone.now()), failures)
        thread.join(60)  # waits for nobody
        assert not thread.is_alive()
        assert OutboxItem.objects.filter(target="oc_1", status=Status.PENDING).update(error="gone") == 1
    assert failures == []
    assert not OutboxItem.objects.get(key="b").lined_up


# --- One chat, several bots -----------------------------------------------------------------------------------
@pytest.mark.django_db
@pytest.mark.parametrize("others", [0, 1, 3])
def test_the_bots_of_a_chat_share_its_five_messages_a_second(bot: Bot, others: int) -> None:
    bots = [bot, *(another_bot(f"b{number}") for number in range(others))]
    for number in range(20):
        queue(bots[number % len(bots)], f"k{number}")
    sent: list[datetime] = []
    now = timezone.now()
    lanes.line_up(now)
    for _ in range(60):
        now += timedelta(seconds=0.05)
        items = claim(20, now)
        sent += [now] * len(items)
        for item in items:  # each answer comes at once
            lane = lanes.lane_of(item)
            assert lane is not None
            OutboxItem.objects.filter(pk=item.pk).update(status=Status.SENT)
            lanes.release(lane, item, now, now)
    assert len(sent) > 5
    assert all(later - first > timedelta(seconds=1) for first, later in zip(sent, sent[5:], strict=False))


# --- A message that may have arrived ----------------------------------------------------------------------------
class EmptyHistory:
    """A chat without messages, and between which times it was asked for some."""

    def history(self, chat_id: str, start: int, end: int) -> Any:
        self.start, self.end = start, end
        return iter(())


@pytest.mark.django_db
def test_a_message_is_looked_for_where_feishus_clock_may_have_put_it(bot: Bot) -> None:
    item, now = queue(bot, "a"), timezone.now()
    item.unsure, item.first_attempt_at = True, now - timedelta(hours=1)
    chat: Any = EmptyHistory()
    assert find_sent(chat, item, now) is None
    assert chat.start <= (item.first_attempt_at - timedelta(minutes=10)).timestamp()
    assert chat.end >= int((now + timedelta(minutes=10)).timestamp())


@pytest.mark.django_db
def test_an_equal_message_from_shortly_before_is_known_to_be_another_rows(bot: Bot) -> None:
    now = timezone.now()
    before = queue(bot, "before")
    OutboxItem.objects.filter(pk=before.pk).update(
        status=Status.SENT, sent_at=now - timedelta(minutes=9), result={"message_id": "om_1"}
    )
    queue(bot, "a")
    OutboxItem.objects.filter(key="a").update(unsure=True)
    (item,) = claim(1, now)
    assert "om_1" in item.messages_of_others


# --- The plan on SQLite -----------------------------------------------------------------------------------------
if connection.vendor == "sqlite":  # PostgreSQL knows how small its partial indexes are

    @pytest.mark.django_db
    def test_on_sqlite_too_claiming_looks_at_no_more_lanes_and_rows_than_it_takes(bot: Bot) -> None:
        due = Lane.objects.due(timezone.now(), bot.pk, "send_message", Priority.WELCOME)
        plan = due.annotate(item_id=Subquery(lanes._next_item(timezone.now())))[:16].explain()
        assert "USING INDEX lane_due" in plan
        assert "USING INDEX outbox_order" in plan or "USING INDEX outbox_urgency" in plan
        assert "SCAN" not in plan
        assert "TEMP B-TREE FOR ORDER BY" not in plan
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {GROUPS}")
            steps = [str(row[-1]) for row in cursor.fetchall()]
        looked_up = [step for step in steps if "lane" in step or "later" in step]
        assert looked_up
        assert all("INDEX lane_due" in step or "INTEGER PRIMARY KEY" in step for step in looked_up)

    @pytest.mark.django_db
    def test_on_sqlite_too_what_a_worker_asks_for_again_and_again_reads_no_ended_rows(bot: Bot) -> None:
        now, rows = timezone.now(), OutboxItem.objects
        lost = rows.filter(status=Status.SENDING, leased_until__lt=now).order_by("leased_until")
        waiting = rows.unfinished().filter(bot=bot, target="oc_1").order_by("pk")
        assert "USING INDEX outbox_leases" in lost[:100].explain()
        assert "USING INDEX outbox_order" in waiting[:5].explain()
        assert "USING INDEX outbox_to_follow_up" in rows.to_follow_up(now)[:100].explain()
        assert "USING INDEX outbox_to_line_up" in lanes.new_rows()[:500].explain()
