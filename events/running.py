"""Which event's handler is running, so that a call knows its cause; a replay queues calls in its own way."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from .models import Event, OutboxItem, insert_once

Answer = TypeVar("Answer")
Question: TypeAlias = Callable[[Sequence[Event]], Answer]


class Batch:
    """Events that share a transaction, and what their handlers do for all of them at once."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = events
        self.calls: list[OutboxItem] = []  # written once all handlers have run
        self._answers: dict[Question[Any], Any] = {}

    def ask(self, question: Question[Answer]) -> Answer:
        """What `question(events)` answers; asked by the first handler that wants to know."""
        if question not in self._answers:
            self._answers[question] = question(self.events)
        answer: Answer = self._answers[question]
        return answer


@dataclass
class Running:
    """The handlers of one event at work."""

    cause: Event
    batch: Batch | None = field(default=None, kw_only=True)

    def queue(self, item: OutboxItem, *, first: bool = False) -> OutboxItem | None:
        """Stores a call; None if it was queued before. `first`: nothing can have been queued under its key."""
        if first and self.batch is not None:
            self.batch.calls.append(item)
            return item
        return item if insert_once(item) else None


_running: ContextVar[Running | None] = ContextVar("running", default=None)


def running() -> Running | None:
    return _running.get()


def ask_for_all(question: Question[Answer], event: Event) -> Answer:
    """What `question` answers about the event, or about all that share its transaction: one query for many."""
    now = running()
    return question([event]) if now is None or now.batch is None else now.batch.ask(question)


@contextmanager
def handling(now: Running) -> Iterator[None]:
    token = _running.set(now)
    try:
        yield
    finally:
        _running.reset(token)
