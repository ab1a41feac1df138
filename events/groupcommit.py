"""Several threads' rows in one commit: whoever finds nobody at work commits for all who wait.

A commit costs the same for one row as for twenty, and while it runs the next rows gather by themselves. Nobody
waits for company: alone, a row is committed at once.
"""

import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

Row = TypeVar("Row")

ROWS_AT_ONCE = 64
# Whoever commits for others may hang, on a dead connection for instance: after so long, each commits for itself.
# A row that was committed twice is for `commit` to bear (an event is stored once).
WAIT_SECONDS = 2.0


class _Ticket(Generic[Row]):
    """One thread's row, and the lock it sleeps on until the row is committed or it is its turn to commit."""

    __slots__ = ("committed", "error", "is_next", "row", "turn")

    def __init__(self, row: Row) -> None:
        self.row = row
        self.committed = False
        self.is_next = False  # the turn to commit is its
        self.error: BaseException | None = None
        self.turn = threading.Lock()
        self.turn.acquire()


class GroupCommit(Generic[Row]):
    """`commit(rows)` writes rows and returns once they are durable; two rows with one `key` never go together."""

    def __init__(
        self,
        commit: Callable[[Sequence[Row]], None],
        key: Callable[[Row], Hashable],
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._commit = commit
        self._key = key
        self._wait_seconds = wait_seconds
        self._lock = threading.Lock()
        self._waiting: list[_Ticket[Row]] = []
        self._busy = False

    def __call__(self, row: Row) -> None:
        """Returns when the row is committed; raises what `commit` raised for it."""
        ticket = _Ticket(row)
        with self._lock:
            self._waiting.append(ticket)
            mine, self._busy = not self._busy, True
        if not mine and not ticket.turn.acquire(timeout=self._wait_seconds):
            if self._leave(ticket):
                self._commit([row])
                return
            ticket.turn.acquire()  # it is being given at this moment
        if not ticket.committed:
            self._commit_all_waiting()
        if ticket.error is not None:
            self._commit([row])  # one bad row of the others must not fail this one

    def _leave(self, ticket: _Ticket[Row]) -> bool:
        """Waits no longer; False if the ticket is committed, or has the turn, since a moment ago."""
        with self._lock:
            if ticket.committed or ticket.is_next:
                return False
            if ticket in self._waiting:  # else the one who hangs has it
                self._waiting.remove(ticket)
            return True

    def _commit_all_waiting(self) -> None:
        """Commits a batch that begins with the caller's row, then leaves the turn to the first of the rest."""
        with self._lock:
            batch = self._take()
        error: BaseException | None = None
        try:
            self._commit([ticket.row for ticket in batch])
        except BaseException as failure:
            error = failure
            if len(batch) == 1 or not isinstance(failure, Exception):
                raise
        finally:
            with self._lock:
                following = self._waiting[0] if self._waiting else None
                self._busy = following is not None
                if following is not None:
                    following.is_next = True
                for ticket in batch:
                    ticket.committed, ticket.error = True, error
            if following is not None:
                following.turn.release()
            for ticket in batch:
                ticket.turn.release()

    def _take(self) -> list[_Ticket[Row]]:
        batch: dict[Hashable, _Ticket[Row]] = {}
        left = []
        for ticket in self._waiting:
            key = self._key(ticket.row)
            if key in batch or len(batch) == ROWS_AT_ONCE:
                left.append(ticket)
            else:
                batch[key] = ticket
        self._waiting = left
        return list(batch.values())
