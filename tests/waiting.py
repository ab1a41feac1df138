"""How tests wait for what other threads and processes do, on a machine that has other work too."""

import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from django.db import connection

SECONDS = 90  # a process that starts while others do needs many


def wait_until(true: Callable[[], Any], seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


@contextmanager
def running(process: "subprocess.Popen[str]") -> Iterator["subprocess.Popen[str]"]:
    """The process, which ends with the block: Popen's own `with` would wait for one that nobody told to end."""
    with process:
        try:
            yield process
        finally:
            process.kill()


def until_someone_waits(job: Future[Any]) -> None:
    """Until PostgreSQL has made a connection wait for a lock; the job must not end before."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"

    def waits() -> bool:
        assert not job.done(), job.result()
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(waiting)
            return bool(cursor.fetchone()[0])

    wait_until(waits)
