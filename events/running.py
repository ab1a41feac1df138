"""Which event's handler is running, so that a call knows its cause; a replay queues calls in its own way."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from .models import Event, OutboxItem, insert_once


@dataclass
class Running:
    """The handlers of one event at work."""

    cause: Event

    def queue(self, item: OutboxItem) -> OutboxItem | None:
        """Stores a call; None if it was queued before."""
        return item if insert_once(item) else None


_running: ContextVar[Running | None] = ContextVar("running", default=None)


def running() -> Running | None:
    return _running.get()


@contextmanager
def handling(now: Running) -> Iterator[None]:
    token = _running.set(now)
    try:
        yield
    finally:
        _running.reset(token)
