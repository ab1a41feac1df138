"""The worker as a process: how it ends, what wakes it, what it survives."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from django.db import connection
from django.utils import timezone

from botconsole.worker import Worker
from events.models import Bot, Event, Heartbeat, OutboxItem
from events.outbox import send_card
from templates.starters import make_starters
from tests.feishu_events import member_joined
from tests.scripted_feishu import ScriptedFeishu
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

Status = OutboxItem.Status
CARD = {
    "schema": "2.0",
    "config": {"update_multi": True},
    "body": {"elements": [{"tag": "markdown", "content": "hi"}]},
}
StartWorker = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start_worker(process_env: dict[str, str]) -> Iterator[StartWorker]:
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [sys.executable, "manage.py", "run_worker", *arguments],
                env=process_env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )
        )  # fmt: skip
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def feishu(bot: Bot) -> Iterator[ScriptedFeishu]:
    server = ScriptedFeishu()
    bot.domain = server.domain
    bot.save()
    yield server
    server.close()


def sent() -> int:
    return OutboxItem.objects.filter(status=Status.SENT).count()


def count(sql: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return int(cursor.fetchone()[0])


def listening() -> int:
    return count(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query = 'LISTEN outbox'"
    )


def pending(pid: int, number: int) -> bool:
    """Whether the signal has not reached the process yet, as Linux tells it."""
    told = Path(f"/proc/{pid}/status").read_text()
    masks = [int(line.split()[1], 16) for line in told.splitlines() if line.startswith(("SigPnd", "ShdPnd"))]
    return any(mask & 1 << number - 1 for mask in masks)


# --- How it ends ------------------------------------------------------------------------------------------
def test_sigterm_ends_a_worker_that_runs_once_after_the_call_in_flight(
    bot: Bot, feishu: ScriptedFeishu, start_worker: StartWorker
) -> None:
    feishu.hold()
    for key in "abc":
        send_card(bot, chat_id="oc_1", card=CARD, key=key)
    worker = start_worker("--once")
    wait_until(lambda: OutboxItem.objects.filter(status=Status.SENDING).exists())
    worker.send_signal(signal.SIGTERM)
    wait_until(lambda: not pending(worker.pid, signal.SIGTERM))
    time.sleep(1)  # Python runs its handler as soon as its main thread has the next turn
    feishu.release()
    output, _ = worker.communicate(timeout=60)
    assert worker.returncode == 0, output
    assert feishu.uuids == ["a"]
    assert list(OutboxItem.objects.order_by("pk").values_list("status", flat=True)) == [
        Status.SENT,
        Status.PENDING,
        Status.PENDING,
    ]


# --- What it does besides delivering ------------------------------------------------------------------------
def test_a_running_worker_runs_a_failed_event_again_and_sends_its_card(
    bot: Bot, push: Any, feishu: ScriptedFeishu, start_worker: StartWorker
) -> None:
    push(bot, member_joined())  # no template yet: ignored
    make_starters(bot)
    start_worker()
    wait_until(lambda: Heartbeat.objects.alive("worker", timedelta(seconds=10)))
    Event.objects.update(status=Event.Status.FAILED, next_try_at=timezone.now() - timedelta(seconds=1))
    wait_until(sent)
    event = Event.objects.get()
    assert (event.status, event.tries, len(feishu.uuids)) == (Event.Status.HANDLED, 2, 1)


# --- What wakes it ----------------------------------------------------------------------------------------
@pytest.fixture
def listening_worker(bot: Bot) -> Iterator[Worker]:
    worker = Worker()
    thread = threading.Thread(target=worker._listen, daemon=True)
    thread.start()
    wait_until(listening)
    yield worker
    worker.stop()
    send_card(bot, chat_id="oc_1", card=CARD, key="ends its wait at once")
    thread.join(60)
    assert not thread.is_alive()


@pytest.mark.postgres
def test_a_notification_wakes_the_worker_before_its_poll(bot: Bot, listening_worker: Worker) -> None:
    assert not listening_worker._wake.is_set()
    send_card(bot, chat_id="oc_1", card=CARD, key="a")
    assert listening_worker._wake.wait(60)


# --- What it survives -------------------------------------------------------------------------------------
@pytest.mark.postgres
def test_a_database_that_goes_away_again_and_again_costs_no_message_and_doubles_none(
    bot: Bot, sandbox: Any, start_worker: StartWorker
) -> None:
    address = f"{sandbox.url}/_sandbox/groups"
    chats = [requests.post(address, json={"name": "g"}, timeout=60).json()["chat_id"] for _ in range(4)]
    requests.post(
        f"{sandbox.url}/_sandbox/faults", json={"slow_ms": 250, "path": "/messages"}, timeout=60
    ).raise_for_status()
    for number in range(48):
        send_card(bot, chat_id=chats[number % 4], card=CARD, key=f"k{number}")
    worker = start_worker()
    for outage in range(1, 5):
        wait_until(lambda outage=outage: sent() >= 4 * outage)
        wait_until(cut_off_everyone_else)  # whom the outage before has cut off comes back first
    wait_until(lambda: sent() == 48)
    wait_until(listening)
    messages = [requests.get(f"{address}/{chat}/messages", timeout=60).json()["items"] for chat in chats]
    assert [len(items) for items in messages] == [12, 12, 12, 12]
    assert worker.poll() is None


def cut_off_everyone_else() -> int:
    return count(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
