"""The worker: delivers the outbox, runs failed events again, says that it is alive."""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable

import psycopg
from django.conf import settings
from django.db import Error as AnyDatabaseError
from django.db import close_old_connections, connection
from django.utils import timezone

from events.delivery import Delivery
from events.dispatch import sweep
from events.models import Heartbeat

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 10
SWEEP_SECONDS = 2
# How long to sleep when nothing wakes the worker. PostgreSQL does (NOTIFY), SQLite cannot.
POLL_SECONDS = {"postgresql": 1.0, "sqlite": 0.05}


class Worker:
    """One worker process; any number may run, on any number of machines."""

    def __init__(self) -> None:
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._delivery = Delivery(settings.CALLS_IN_FLIGHT, self._wake.set)
        self._started_at = timezone.now()
        self._next: dict[str, float] = {}

    def run(self) -> None:
        """Works until `stop()`, then finishes the calls in flight."""
        if connection.vendor == "postgresql":
            threading.Thread(target=self._listen, name="listen", daemon=True).start()
        while not self._stopping.is_set():
            if not self._guarded(self._turn):
                self._wake.wait(POLL_SECONDS[connection.vendor])
                self._wake.clear()
        while self._delivery.busy:
            self._guarded(lambda: self._delivery.step(take_more=False))
            self._wake.wait(0.05)
            self._wake.clear()
        self._delivery.close()

    def run_once(self) -> None:
        """Does everything that is due now, then returns."""
        while sweep() + self._delivery.step() or self._delivery.busy:
            self._wake.wait(0.05)
            self._wake.clear()
        self._delivery.close()

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()

    def _turn(self) -> int:
        """One round of everything; how much moved."""
        if self._is_time_for("heartbeat", HEARTBEAT_SECONDS):
            Heartbeat.objects.beat("worker", socket.gethostname(), os.getpid(), self._started_at)
        if self._is_time_for("sweep", SWEEP_SECONDS):
            sweep()
        return self._delivery.step()

    def _is_time_for(self, job: str, every_seconds: float) -> bool:
        if time.monotonic() < self._next.get(job, 0):
            return False
        self._next[job] = time.monotonic() + every_seconds
        return True

    def _guarded(self, turn: Callable[[], int]) -> int:
        """A database that is away for a while must not end the worker."""
        try:
            return turn()
        except AnyDatabaseError:
            log.exception("the database is out of reach; trying again")
            close_old_connections()
            self._stopping.wait(2)
            return 0

    def _listen(self) -> None:
        """Wakes the worker when PostgreSQL says that a row came in; without it, the poll still finds it."""
        while not self._stopping.is_set():
            try:
                with psycopg.connect(**connection.get_connection_params(), autocommit=True) as listener:
                    listener.execute("LISTEN outbox")
                    while not self._stopping.is_set():
                        for _ in listener.notifies(timeout=5, stop_after=1):
                            self._wake.set()
            except psycopg.Error:
                log.warning("not listening to PostgreSQL for the moment; polling goes on")
                self._stopping.wait(5)
