"""The list of calls the app made, as the platform tab shows them."""

from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

from botconsole.sandbox.clock import wall_ms


@dataclass(slots=True)
class CallRecord:
    """One call the app made; bodies are cut, tokens never kept."""

    method: str
    path: str
    query: str
    log_id: str
    at: int = field(default_factory=wall_ms)
    status: int | None = None
    code: int | None = None
    ms: int = 0
    known: bool = True
    fault: str = ""
    request: str = ""
    answer: str = ""


class Calls:
    """The last calls, newest first when read."""

    def __init__(self, keep: int = 1000) -> None:
        self._records: deque[CallRecord] = deque(maxlen=keep)
        self.count = 0

    def add(self, record: CallRecord) -> None:
        self._records.append(record)
        self.count += 1

    def view(self, limit: int = 1000) -> list[dict[str, Any]]:
        newest = list(reversed(self._records))[:limit]
        return [asdict(record) for record in newest]

    def clear(self) -> None:
        self._records.clear()
        self.count = 0
