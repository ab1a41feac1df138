"""Listeners as processes against the local Feishu: they share the load, and none of it is lost with one of them."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from botconsole.sandbox import SandboxConfig, SandboxServer
from events.models import Bot, Connection, Event, OutboxItem
from templates.starters import make_starters
from tests.test_delivery import control
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

Listen = Callable[[], "subprocess.Popen[str]"]


@pytest.fixture
def feishu(bot: Bot) -> Iterator[SandboxServer]:
    config = SandboxConfig(
        app_id=bot.app_id, app_secret=bot.app_secret.reveal(), port=0, transport="long_connection",
        clock_factor=60, seed=False,
    )  # fmt: skip
    with SandboxServer(config) as server:
        bot.domain, bot.transport = server.url, Bot.Transport.LONG_CONNECTION
        bot.save()
        yield server


@pytest.fixture
def listen(process_env: dict[str, str]) -> Iterator[Listen]:
    started: list[subprocess.Popen[str]] = []

    def listen() -> "subprocess.Popen[str]":
        command = [sys.executable, "manage.py", "listen"]
        options: Any = {"text": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        started.append(subprocess.Popen(command, env=process_env, **options))
        return started[-1]

    yield listen
    for process in started:
        process.kill()
        process.wait()


def connected() -> dict[int, int]:
    """pid -> events of the listeners that are connected."""
    return dict(Connection.objects.exclude(connected_since=None).values_list("pid", "events"))


def test_two_listeners_share_the_load_and_one_that_is_killed_takes_no_event_with_it(
    bot: Bot, feishu: SandboxServer, listen: Listen
) -> None:
    make_starters(bot)
    first, second = listen(), listen()
    wait_until(lambda: connected().keys() == {first.pid, second.pid}, 90)
    group = control(feishu, "groups", name="Payments", bot=True)["chat_id"]

    def join(number: int) -> str:
        path, person = f"groups/{group}/members", {"name": f"P{number}"}
        if number == 15:
            first.kill()  # in the midst of the others
        return str(control(feishu, path, **person)["event_id"])

    with ThreadPoolExecutor(5) as pool:
        joined = set(pool.map(join, range(40)))
    stored = Event.objects.filter(event_id__in=joined)
    wait_until(
        lambda: stored.filter(status=Event.Status.HANDLED).count() == 40, 200
    )  # the third try comes an hour later
    assert OutboxItem.objects.filter(cause__in=stored).count() == 40
    assert first.wait(60) != 0
    assert second.poll() is None
