"""Several real workers on PostgreSQL before one Feishu that keeps its limits: each message once, in order, in time."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection

from events.models import Bot, Checkup, OutboxItem
from tests import postgres
from tests.fleet import Chats, Fleet, HalvingProxy, unsent, wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]

# By hand, as in the issue: FLEET_DELIVERIES=2000 FLEET_KILLS=50 make test-postgresql ARGS=tests/test_fleet.py
DELIVERIES = int(os.environ.get("FLEET_DELIVERIES", "150"))
KILLS = int(os.environ.get("FLEET_KILLS", "4"))

Start = Callable[..., Fleet]


@pytest.fixture(scope="module")
def fleets() -> Iterator[dict[str, Fleet]]:
    """By clock offset: what costs time is made once."""
    made: dict[str, Fleet] = {}
    yield made
    for fleet in made.values():
        fleet.close()


@pytest.fixture
def fleet(process_env: dict[str, str], fleets: dict[str, Fleet]) -> Iterator[Start]:
    """`fleet(2)` starts two workers."""

    def start(workers: int, *, clock_offset: str = "") -> Fleet:
        if clock_offset not in fleets:
            fleets[clock_offset] = Fleet(process_env, clock_offset)
        fleets[clock_offset].start(workers)
        return fleets[clock_offset]

    yield start
    for fleet in fleets.values():
        fleet.kill_all()


def all_sent() -> bool:
    return unsent() == 0


# --- Limits -----------------------------------------------------------------------------------------------
def test_three_workers_send_a_burst_without_one_limit_answer(bot: Bot, sandbox: Any, fleet: Start) -> None:
    chats = Chats(sandbox, bot, 60)
    fleet(3)
    chats.queue(DELIVERIES)
    wait_for(all_sent, 60 + DELIVERIES)
    assert chats.refusals() == {}
    assert chats.arrived() == chats.expected()


def test_two_workers_keep_the_limit_of_one_chat(bot: Bot, sandbox: Any, fleet: Start) -> None:
    chats = Chats(sandbox, bot, 1)
    fleet(2)
    chats.queue(20)
    wait_for(all_sent, 60)
    assert chats.refusals() == {}
    assert chats.arrived() == chats.expected()


def test_an_incidents_text_overtakes_the_welcomes_of_other_chats(
    bot: Bot, sandbox: Any, fleet: Start
) -> None:
    chats, incident = Chats(sandbox, bot, 100), Chats(sandbox, bot, 1)
    chats.queue(400)
    fleet(1)
    wait_for(lambda: unsent() < 380, 60)
    incident.queue(1, word="inc")
    wait_for(lambda: incident.arrived() == [[0]], 60)
    assert unsent() > 100


# --- Crashes ----------------------------------------------------------------------------------------------
def test_workers_killed_at_any_moment_lose_nothing_and_double_nothing(
    bot: Bot, sandbox: Any, fleet: Start
) -> None:
    chats = Chats(sandbox, bot, 40)
    chats.fault(slow_ms=30, path="/messages")
    chats.queue(DELIVERIES)
    workers = fleet(3)
    seconds = DELIVERIES / 20 / KILLS  # spread over about as long as it takes
    for _ in range(KILLS):
        time.sleep(random.uniform(0, 2 * seconds))
        workers.kill(random.choice(workers.running))
        workers.start()
    wait_for(all_sent, 120 + DELIVERIES)
    assert chats.arrived() == chats.expected()


def test_postgresql_restarted_in_the_middle_costs_nothing(bot: Bot, sandbox: Any, fleet: Start) -> None:
    chats = Chats(sandbox, bot, 20)
    chats.queue(120)
    fleet(2)
    for left in (100, 50):
        wait_for(lambda left=left: unsent() < left, 60)
        postgres.restart()
        connection.close()
    wait_for(all_sent, 120)
    assert chats.arrived() == chats.expected()


def test_workers_whose_clocks_are_off_work_with_others(bot: Bot, sandbox: Any, fleet: Start) -> None:
    chats = Chats(sandbox, bot, 10)
    for offset in ("", "-5m", "+5m"):
        fleet(1, clock_offset=offset)
    chats.fault(status=502, times=2, path="/messages")  # so that something is tried again at some time
    chats.queue(60)
    wait_for(all_sent, 60)
    assert chats.refusals() == {}
    assert chats.arrived() == chats.expected()


# --- A Feishu at its worst ----------------------------------------------------------------------------------
FAULTS: dict[str, dict[str, Any]] = {
    "acts and never answers": {"drop_answer": True, "times": 6},
    "no connection": {"down": True, "times": 6},
    "a proxy's page": {"status": 502, "times": 6},
    "too often": {"code": 99991400, "times": 2},
    "token expired in flight": {"code": 99991663, "times": 3},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_each_message_exists_once_and_in_order_whatever_feishu_does(
    bot: Bot, sandbox: Any, fleet: Start, fault: dict[str, Any]
) -> None:
    chats = Chats(sandbox, bot, 8)
    fleet(2)
    chats.queue(16)
    wait_for(lambda: unsent() < 12, 60)
    chats.fault(**fault, path="/im/v1/messages")
    chats.queue(16)
    wait_for(all_sent, 90)
    assert chats.arrived() == chats.expected()


def test_messages_exist_once_and_in_order_though_feishu_is_slow_to_one_and_silent_to_another(
    bot: Bot, sandbox: Any, fleet: Start
) -> None:
    chats = Chats(sandbox, bot, 8)
    fleet(2)
    chats.fault(slow_ms=5000, path="/im/v1/messages", times=2)
    chats.fault(slow_ms=17_000, path="/im/v1/messages", times=1)
    chats.queue(32)
    wait_for(all_sent, 90)
    assert chats.arrived() == chats.expected()


def test_half_an_answer_is_no_answer(bot: Bot, sandbox: Any, fleet: Start) -> None:
    with HalvingProxy(sandbox.url, halved=5) as proxy:
        chats = Chats(sandbox, bot, 8)
        bot.domain = proxy.url
        bot.save()
        fleet(2)
        chats.queue(24)
        wait_for(all_sent, 60)
        assert chats.arrived() == chats.expected()
    assert proxy.halved == 0


def test_sigterm_ends_a_worker_within_ten_seconds_though_feishu_is_silent(
    bot: Bot, sandbox: Any, process_env: dict[str, str]
) -> None:
    chats = Chats(sandbox, bot, 4)
    chats.fault(slow_ms=60_000, path="/im/v1/messages", times=4)
    chats.fault(slow_ms=60_000, path="/bot/v3/info")
    chats.queue(4)
    checkup = Checkup.objects.ask("operator")
    worker = subprocess.Popen([sys.executable, "manage.py", "run_worker"], env=process_env)
    wait_for(lambda: OutboxItem.objects.filter(status=OutboxItem.Status.SENDING).count() == 4, 60)
    wait_for(lambda: Checkup.objects.get(pk=checkup.pk).status == Checkup.Status.RUNNING, 60)
    worker.send_signal(signal.SIGTERM)
    try:
        assert worker.wait(10) == 0
    finally:
        worker.kill()
        worker.wait()
    told = OutboxItem.objects.order_by().values_list("status", "unsure", "error").distinct()
    assert list(told) == [("pending", True, "the worker was stopped during this try")]
