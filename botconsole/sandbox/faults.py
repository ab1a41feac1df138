"""The switches that make the sandbox fail as the platform fails, and the list of calls it was asked."""

import json
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from botconsole.sandbox.clock import wall_ms
from botconsole.sandbox.errors import CODES

KINDS = ("down", "slow_ms", "status", "code", "drop_answer")
# The switches of the page by name; `POST /_sandbox/faults` takes {"switch": name} as well as what it stands for.
SWITCHES: dict[str, dict[str, Any]] = {
    "down": {"down": True},
    "slow": {"slow_ms": 5000},
    "5xx": {"status": 502},
    "drop_answer": {"drop_answer": True},
    "token_expired": {"code": 99991663},
    "limit_hit": {"code": 99991400},
}


def _whole(least: int, most: int) -> tuple[Callable[[Any], bool], str]:
    def good(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    return good, f"a whole number from {least} to {most}"


_FLAG: tuple[Callable[[Any], bool], str] = (lambda value: isinstance(value, bool), "true or false")
SHAPES = {
    "down": _FLAG,
    "drop_answer": _FLAG,
    "slow_ms": _whole(0, 600_000),
    "status": _whole(200, 599),
    "code": _whole(0, 2**31 - 1),
    "times": _whole(1, 1_000_000),
    "path": (lambda value: isinstance(value, str), "a text"),
}


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
        wanted = _spelt_out(wanted)
        if not any(wanted.get(kind) for kind in KINDS):
            raise FaultError(f"a fault needs a switch, or one of {', '.join(KINDS)}")
        for name, value in wanted.items():
            if name not in SHAPES:
                raise FaultError(f"unknown: {name}")
            good, shape = SHAPES[name]
            if not good(value):
                raise FaultError(f"{name} must be {shape}")
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


def _spelt_out(wanted: dict[str, Any]) -> dict[str, Any]:
    """What the switch named in the body stands for; other keys of the body add to it."""
    rest = {name: value for name, value in wanted.items() if value is not None}
    if (name := rest.pop("switch", None)) is None:
        return rest
    if name not in SWITCHES:
        raise FaultError(f"switch must be one of {', '.join(SWITCHES)}")
    return {**SWITCHES[name], **rest}


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
