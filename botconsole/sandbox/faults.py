"""The switches that make the sandbox fail as the platform fails, and the list of calls it was asked."""

import json
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

from botconsole.sandbox.clock import wall_ms
from botconsole.sandbox.errors import CODES

KINDS = ("down", "slow_ms", "status", "code", "drop_answer")


class FaultError(ValueError):
    """A fault that was described in a way nobody understands."""


@dataclass(slots=True)
class Fault:
    """One switch; `times` None is until it is taken away, `path` a part the call's path must contain."""

    number: int
    down: bool = False
    slow_ms: int = 0
    status: int = 0
    code: int = 0
    drop_answer: bool = False
    times: int | None = None
    path: str = ""


class Faults:
    """The switches in the order in which they were set; all that fit a call act together."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._number = 0

    def add(self, wanted: dict[str, Any]) -> Fault:
        """Sets a switch from the body of `POST /_sandbox/faults`."""
        if not isinstance(wanted, dict) or not any(wanted.get(kind) for kind in KINDS):
            raise FaultError(f"a fault needs one of {', '.join(KINDS)}")
        if unknown := set(wanted) - {*KINDS, "times", "path"}:
            raise FaultError(f"unknown: {', '.join(sorted(unknown))}")
        for name, kind in (("slow_ms", int), ("status", int), ("code", int), ("times", int), ("path", str)):
            value = wanted.get(name)
            if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
                raise FaultError(f"{name} must be {'a text' if kind is str else 'a whole number'}")
        self._number += 1
        fault = Fault(self._number, **wanted)
        self._faults.append(fault)
        return fault

    def take(self, path: str) -> Fault | None:
        """What acts on a call to `path`, counted down; None if nothing does."""
        acting = Fault(0)
        for fault in [fault for fault in self._faults if fault.path in path]:
            acting.down |= fault.down
            acting.drop_answer |= fault.drop_answer
            acting.slow_ms = max(acting.slow_ms, fault.slow_ms)
            acting.status = acting.status or fault.status
            acting.code = acting.code or fault.code
            acting.number = fault.number
            if fault.times is not None:
                fault.times -= 1
                if fault.times <= 0:
                    self._faults.remove(fault)
        return acting if acting.number else None

    def clear(self) -> None:
        self._faults.clear()

    def remove(self, number: int) -> None:
        self._faults = [fault for fault in self._faults if fault.number != number]

    def view(self) -> list[dict[str, Any]]:
        return [asdict(fault) for fault in self._faults]


def fault_answer(fault: Fault, log_id: str) -> tuple[int, str, bytes]:
    """Status, content type and body of an answer that a fault puts in place of the real one."""
    if fault.status:
        page = f"<html><head><title>{fault.status}</title></head><body>{fault.status} sandbox</body></html>"
        return fault.status, "text/html", page.encode()
    body = {
        "code": fault.code,
        "msg": CODES.get(fault.code, "an error the sandbox was told to give"),
        "error": {"log_id": log_id},
    }
    return (
        (429 if fault.code == 99991400 else 400),
        "application/json; charset=utf-8",
        json.dumps(body).encode(),
    )


@dataclass(slots=True)
class CallRecord:
    """One call the app made, as the platform tab shows it; bodies are cut, tokens never kept."""

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
