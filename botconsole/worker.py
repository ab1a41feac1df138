"""The worker: delivers the outbox, runs failed events again, reminds, says that it is alive."""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping

import psycopg
from django.conf import settings
from django.db import InterfaceError, OperationalError, close_old_connections, connection
from django.utils import timezone

from events import clock, doctor, reading, replay
from events.beside import Beside
from events.deaf import watch
from events.delivery import Delivery
from events.dispatch import sweep
from events.followup import sweep_follow_ups
from events.models import Heartbeat
from events.people import ask_wanted
from events.retention import Pruning
from incidents.exporting import Exporting
from incidents.models import AlertGroup, Export
from incidents.reminders import remind

log = logging.getLogger(__name__)

FINISH_SECONDS = 7  # of the ten that a supervisor leaves a process after SIGTERM: the end takes some, too
AWAY_SECONDS = 1
QUIET_SECONDS = 30  # one line about a database that is away is enough for so long
# How long to sleep when nothing wakes the worker. PostgreSQL does (NOTIFY), SQLite cannot.
POLL_SECONDS = {"postgresql": 1.0, "sqlite": 0.05}


class Worker:
    """One worker process; any number may run, on any number of machines."""

    def __init__(self) -> None:
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._delivery = Delivery(settings.CALLS_IN_FLIGHT, self._wake.set)
        self._exports = Exporting()
        self._pruning = Pruning()
        self._replays = Beside("replay", replay.is_due, replay.run_due)
        self._doctor = Beside("doctor", doctor.is_due, doctor.run_due)
        self._reading = Beside("reading", reading.is_due, reading.run_due)
        self._beside = (self._exports, self._replays, self._doctor, self._reading)
        self.left_behind = False  # whether threads still wait for Feishu although the worker has ended
        self._said_so = 0.0
        self._started_at = timezone.now()
        self._next: dict[str, float] = {}
        # What is done beside delivery, and every how many seconds.
        self._jobs: Mapping[str, tuple[float, Callable[[], int]]] = {
            "heartbeat": (10, self._beat),
            "sweep": (2, lambda: sweep() + sweep_follow_ups()),
            "remind": (15, self._remind),
            "watch": (15, lambda: watch(clock.now())),
            "exports": (1, self._exports.step),
            "expire": (600, lambda: Export.objects.expire(clock.now())),
            "replays": (1, self._replays.step),
            "doctor": (1, self._doctor.step),
            "reading": (1, self._reading.step),
            "names": (2, lambda: ask_wanted(timezone.now())),
            "prune": (1, lambda: self._pruning.step(clock.now())),
        }

    def run(self) -> None:
        """Works until `stop()`, then finishes the calls in flight."""
        self._delivery.load()
        if connection.vendor == "postgresql":
            threading.Thread(target=self._listen, name="listen", daemon=True).start()
        while not self._stopping.is_set():
            if not self._turn():
                self._wake.wait(self._delivery.sleep_seconds(POLL_SECONDS[connection.vendor]))
                self._wake.clear()
        self._finish()

    def run_once(self) -> None:
        """Does everything that is due now, then returns; `stop()` ends it after the calls in flight."""
        self._delivery.load()
        self._remind()
        while not self._stopping.is_set() and (
            sweep() + sweep_follow_ups() + self._delivery.step()
            or self._delivery.busy
            or self._delivery.throttled
            or self._exports.run_due()
            or self._replays.run_due()
            or self._doctor.run_due()
            or self._reading.run_due()
            or ask_wanted(timezone.now())
        ):
            self._wake.wait(self._delivery.sleep_seconds(0.05))
            self._wake.clear()
        self._finish()

    def stop(self) -> None:
        self._stopping.set()
        for job in self._beside:
            job.stop()
        self._wake.set()

    def _finish(self) -> None:
        """Records the calls in flight, for some seconds; what Feishu then still owes is left to another worker."""
        deadline = time.monotonic() + FINISH_SECONDS
        while self._delivery.busy and time.monotonic() < deadline:
            if not self._guarded(lambda: self._delivery.step(take_more=False)):
                self._wake.wait(0.1)
                self._wake.clear()
        self.left_behind = self._delivery.busy
        if self.left_behind:
            self._guarded(self._delivery.give_up)
        else:
            self._delivery.close()
        self._guarded(self._delivery.leave)
        for job in self._beside:
            self.left_behind |= not job.close(deadline - time.monotonic())

    def _turn(self) -> int:
        """One round of what is due, each guarded for itself, then of delivery; how much that moved."""
        for job, (every_seconds, work) in self._jobs.items():
            if time.monotonic() >= self._next.get(job, 0):
                self._next[job] = time.monotonic() + every_seconds
                self._guarded(work)
        return self._guarded(self._delivery.step)

    def _beat(self) -> int:
        host, pid = socket.gethostname(), os.getpid()
        Heartbeat.objects.beat("worker", host, pid, self._started_at, now=clock.now())
        return 0

    def _remind(self) -> int:
        now = clock.now()
        return remind(now) + AlertGroup.objects.tell_turned(now)

    def _guarded(self, turn: Callable[[], int]) -> int:
        """Neither a database that is away for a while nor one bad row may end the worker."""
        try:
            return turn()
        except (OperationalError, InterfaceError) as error:
            if time.monotonic() - self._said_so > QUIET_SECONDS:
                self._said_so = time.monotonic()
                log.error("the database is out of reach, trying again: %s", str(error).strip())
            close_old_connections()
        except Exception:
            log.exception("a round of the worker failed; the next one tries again")
        self._wake.wait(AWAY_SECONDS)
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
            except psycopg.Error as error:
                log.warning("not listening to PostgreSQL, polling goes on: %s", str(error).strip())
                self._stopping.wait(5)
