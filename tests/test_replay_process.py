"""Replays in processes of their own: the command, workers that are killed, several at once; nothing is sent twice."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from events import replay
from events.eventfilter import EventFilter
from events.models import Bot, Event, OutboxItem, Replay
from templates.starters import make_starters
from tests.feishu_events import member_joined

MANY = 1000
TYPE = "im.chat.member.user.added_v1"
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(process_env: dict[str, str]) -> Iterator[Start]:
    """Starts `manage.py` with these arguments; whatever still runs at the end is killed."""
    processes: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            env=process_env | {"CALLS_IN_FLIGHT": "1"}, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    if connection.vendor == "postgresql":  # it notices a moment later that they are gone
        until(lambda: not others())


def others() -> int:
    """Sessions of other processes on the test's database."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return int(cursor.fetchone()[0])


@pytest.fixture
def missed(bot: Bot) -> Callable[[int], None]:
    """So many people joined, each in a chat of their own, and nobody was greeted; the bot sends nothing."""

    def make(count: int) -> None:
        make_starters(bot)
        # Nowhere to send to: what is queued stays as it is, and can be counted.
        Bot.objects.filter(pk=bot.pk).update(domain="http://127.0.0.1:9")
        now = timezone.now()
        Event.objects.bulk_create(
            Event(
                bot=bot, event_id=f"ev_{n}", dedup_key=f"ev_{n}", event_type=TYPE, schema="2.0", chat_id=f"oc_{n}",
                body=member_joined(chat_id=f"oc_{n}", event_id=f"ev_{n}"), created_at=now, received_at=now,
                status=Event.Status.IGNORED, delivery_times=[now.isoformat()],
            )
            for n in range(count)
        )  # fmt: skip

    return make


def until(condition: Callable[[], Any], seconds: float = 150) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come to that in time")


def ready(**row: Any) -> Replay:
    """A replay of everything, its dry run done."""
    job = replay.ask(EventFilter(), calls_per_minute=60_000, **row)
    while replay.step(job.pk) and job.status == Replay.Status.TRYING:
        job.refresh_from_db()
    return job


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_workers_killed_in_the_middle_send_nothing_twice_and_leave_nothing_out(
    missed: Callable[[int], None], start: Start
) -> None:
    missed(MANY)
    job = ready()
    job.start("operator")
    workers = [start("run_worker"), start("run_worker")]
    until(lambda: OutboxItem.objects.count() > MANY * 0.2)
    for worker in workers:
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
    half = OutboxItem.objects.count()
    start("run_worker")
    until(lambda: Replay.objects.get().status == Replay.Status.DONE)
    job.refresh_from_db()
    assert half < MANY  # they were killed in the middle
    assert (job.done["events"], job.done["calls"]) == (MANY, {"send_message": {"new": MANY}})
    assert OutboxItem.objects.values("target").distinct().count() == OutboxItem.objects.count() == MANY
    assert {**job.done, "reasons": 0} == {**job.tried, "reasons": 0}


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_dry_run_wakes_no_worker(missed: Callable[[int], None]) -> None:
    missed(20)
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as listener:
        listener.execute("LISTEN outbox")
        job = ready()
        assert list(listener.notifies(timeout=0.5, stop_after=1)) == []
        job.start("operator")
        replay.step(job.pk)
        assert list(listener.notifies(timeout=60, stop_after=1)) != []


@pytest.mark.django_db(transaction=True)
def test_the_worker_does_what_the_console_asked_for(missed: Callable[[int], None], start: Start) -> None:
    missed(60)
    job = replay.ask(EventFilter(), calls_per_minute=60_000)
    worker = start("run_worker")
    until(lambda: Replay.objects.get().status == Replay.Status.TRIED)
    assert not OutboxItem.objects.exists()
    job.start("operator")
    until(lambda: Replay.objects.get().status == Replay.Status.DONE)
    assert OutboxItem.objects.count() == 60
    worker.terminate()
    assert worker.wait(60) == 0


@pytest.mark.django_db(transaction=True)
def test_the_command_lists_and_with_dry_run_sends_nothing(
    missed: Callable[[int], None], start: Start
) -> None:
    missed(30)
    process = start("replay", "--since", "1h", "--type", TYPE, "--dry-run")
    told = process.communicate(timeout=120)[0]
    assert process.returncode == 0, told
    assert "send_message: 30 new" in told
    assert "dry run: 30 events, 30 calls" in told  # in one language, whatever the console's is
    assert "send_message oc_0 (new)" in told
    assert told.count("(new)\n") == 30  # every one of them
    assert not OutboxItem.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_command_sends_for_real_and_is_recorded(missed: Callable[[int], None], start: Start) -> None:
    missed(30)
    process = start(
        "replay", "--since", "2000-01-01", "--bot", "default", "--why", "outage", "--calls-per-minute", "1000"
    )
    told = process.communicate(timeout=120)[0]
    job = Replay.objects.get()
    assert process.returncode == 0, told
    assert (job.status, job.why, job.asked_by.startswith("manage.py")) == ("done", "outage", True)
    assert OutboxItem.objects.filter(replay=job).count() == 30


@pytest.mark.django_db(transaction=True)
def test_the_command_interrupted_cancels(missed: Callable[[int], None], start: Start) -> None:
    missed(30)
    process = start("replay", "--since", "1h", "--calls-per-minute", "1")
    until(OutboxItem.objects.exists)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=120)[0]
    assert process.returncode == 130, told
    assert Replay.objects.get().status == "cancelled"
    assert OutboxItem.objects.count() < 30


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--since", "soon"], "is no time"),
        (["--since", "1h", "--bot", "nobody"], "no bot nobody"),
        (["--since", "1h", "--status", "x"], "does not know"),
        (["--since", "1h", "--calls-per-minute", "0"], "1 to 1000"),
    ],
)
def test_the_command_says_what_it_does_not_understand(arguments: list[str], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        call_command("replay", *arguments)
    assert not Replay.objects.exists()
