"""A job of the worker that goes on beside the deliveries, in a thread with a database connection of its own."""

import logging
import threading
from collections.abc import Callable

from django.db import InterfaceError, OperationalError, connections

log = logging.getLogger(__name__)

FINISH_SECONDS = 20
LINGER_SECONDS = (
    0.2  # a job in small steps is due again soon: for so long the thread waits before it looks again
)
LINGERS = 10

IsStopping = Callable[[], bool]


class Beside:
    """One thread at a time for one kind of job; `run_due` does what is due until it is told to stop."""

    def __init__(self, name: str, is_due: Callable[[], bool], run_due: Callable[[IsStopping], int]) -> None:
        self._name, self._is_due, self._run_due = name, is_due, run_due
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def step(self) -> int:
        """Starts what is due unless it is being done; returns at once."""
        running = self._thread is not None and self._thread.is_alive()
        if running or self._stopping.is_set() or not self._is_due():
            return 0
        self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        self._thread.start()
        return 1

    def run_due(self) -> int:
        """Does what is due here and now; how much it was."""
        return self._run_due(self._stopping.is_set)

    def stop(self) -> None:
        self._stopping.set()

    def close(self, seconds: float = FINISH_SECONDS) -> bool:
        """Has the job stop, and waits for so long; whether it has. What it leaves behind, its lease gives to others."""
        self.stop()
        if self._thread is None:
            return True
        self._thread.join(max(0.0, seconds))
        return not self._thread.is_alive()

    def _work(self) -> None:
        idle = 0
        try:
            while idle < LINGERS and not self._stopping.is_set():
                idle = 0 if self.run_due() else idle + 1
                self._stopping.wait(LINGER_SECONDS)
        except (OperationalError, InterfaceError) as error:
            log.error("the database is out of reach, %s goes on later: %s", self._name, str(error).strip())
        except Exception:
            log.exception("%s failed in a way that nobody foresaw; it is tried again", self._name)
        finally:
            connections.close_all()
