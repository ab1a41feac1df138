"""The switches that make the sandbox fail as the platform fails: its API, its pushes, its long connections."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from botconsole.sandbox.errors import CODES

# What each switch acts on; `path` is then a part of the call's path, or of the event's type.
OF_CALLS = ("down", "slow_ms", "status", "code", "drop_answer", "token_expired")
OF_PUSHES = ("no_ack", "duplicate", "reorder", "microseconds", "two_message_ids")
OF_FRAMES = ("fragment_bytes", "card_frames", "encrypted_frames")
OF_CONNECTIONS = ("half_open", "no_pong", "connection_limit", "handshake")
KINDS = (*OF_CALLS, *OF_PUSHES, *OF_FRAMES, *OF_CONNECTIONS)
HANDSHAKES = (403, 514)
TOO_MANY_CALLS, TOO_MANY_CONNECTIONS = 99991400, 1000040350
# The switches of the page by name; `POST /_sandbox/faults` takes {"switch": name} as well as what it stands for.
SWITCHES: dict[str, dict[str, Any]] = {
    "down": {"down": True},
    "slow": {"slow_ms": 5000},
    "5xx": {"status": 502},
    "drop_answer": {"drop_answer": True},
    "token_expired": {"token_expired": True},
    "no_ack": {"no_ack": True},
    "half_open": {"half_open": True},
    "limit_hit": {"code": TOO_MANY_CALLS, "connection_limit": True},
    "duplicate": {"duplicate": 1},
    "reorder": {"reorder": True},
}


def _whole(least: int, most: int) -> tuple[Callable[[Any], bool], str]:
    def good(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    return good, f"a whole number from {least} to {most}"


_FLAG: tuple[Callable[[Any], bool], str] = (lambda value: isinstance(value, bool), "true or false")
SHAPES = dict.fromkeys(KINDS, _FLAG) | {
    "slow_ms": _whole(0, 600_000),
    "status": _whole(200, 599),
    "code": _whole(0, 2**53),
    "duplicate": _whole(0, 100),
    "fragment_bytes": _whole(0, 2**31 - 1),
    "handshake": (lambda value: value in HANDSHAKES, f"one of {', '.join(map(str, HANDSHAKES))}"),
    "times": _whole(1, 1_000_000),
    "path": (lambda value: isinstance(value, str), "a text"),
}


class FaultError(ValueError):
    """A fault that was described in a way nobody understands."""


@dataclass(slots=True)
class Fault:
    """One switch; `times` None is until it is taken away, `path` a part of the call's path or the event's type.

    Calls: `down` cuts the connection, `slow_ms` answers late, `status` and `code` answer something else,
    `drop_answer` acts but never answers, `token_expired` forgets the app's tokens.
    Pushes: `no_ack` disregards answers, `duplicate` delivers that often once more, `reorder` sends an event after
    the next one, `microseconds` stamps it in those, `two_message_ids` pushes a message twice under two ids.
    Long connections: `fragment_bytes` cuts payloads, `card_frames` sends presses with type=card, `encrypted_frames`
    sends what should be plain encrypted, `half_open` sockets stay open and dead, `no_pong` leaves pings unanswered,
    `connection_limit` and `handshake` (403 or 514) refuse new connections.
    """

    number: int
    down: bool = False
    slow_ms: int = 0
    status: int = 0
    code: int = 0
    drop_answer: bool = False
    token_expired: bool = False
    no_ack: bool = False
    duplicate: int = 0
    reorder: bool = False
    microseconds: bool = False
    two_message_ids: bool = False
    fragment_bytes: int = 0
    card_frames: bool = False
    encrypted_frames: bool = False
    half_open: bool = False
    no_pong: bool = False
    connection_limit: bool = False
    handshake: int = 0
    times: int | None = None
    path: str = ""


class Faults:
    """The switches in the order in which they were set; all that fit act together."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._number = 0
        self.on_change: Callable[[], None] = lambda: None

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
        self.on_change()
        return fault

    def take(self, where: str, kinds: tuple[str, ...] = OF_CALLS) -> Fault | None:
        """What acts there (a call's path, an event's type), counted down; None if nothing does."""
        fitting = self._fitting(where, kinds)
        if not fitting:
            return None
        acting = Fault(fitting[-1].number)
        for fault in fitting:
            for kind in kinds:
                setattr(acting, kind, max(getattr(acting, kind), getattr(fault, kind)))
            if fault.times is not None:
                fault.times -= 1
                if fault.times <= 0:
                    self._faults.remove(fault)
        return acting

    def holds(self, kind: str, where: str = "") -> bool:
        """Whether a switch is on; nothing is counted."""
        return bool(self._faults) and bool(self._fitting(where, (kind,)))

    def takes(self, kind: str, where: str = "") -> int:
        """The value of one switch (a number, or 1 for true), counted down; 0 if it is off."""
        acting = self.take(where, (kind,)) if self._faults else None
        return int(getattr(acting, kind)) if acting else 0

    def _fitting(self, where: str, kinds: tuple[str, ...]) -> list[Fault]:
        return [
            fault
            for fault in self._faults
            if fault.path in where and any(getattr(fault, kind) for kind in kinds)
        ]

    def clear(self) -> None:
        self._faults.clear()
        self.on_change()

    def remove(self, number: int) -> None:
        self._faults = [fault for fault in self._faults if fault.number != number]
        self.on_change()

    def view(self) -> list[dict[str, Any]]:
        return [asdict(fault) for fault in self._faults]


def _spelt_out(wanted: dict[str, Any]) -> dict[str, Any]:
    """What the switch named in the body stands for; other keys of the body add to it."""
    rest = {name: value for name, value in wanted.items() if value is not None}
    if (name := rest.pop("switch", None)) is None:
        return rest
    if not isinstance(name, str) or name not in SWITCHES:
        raise FaultError(f"switch must be one of {', '.join(SWITCHES)}")
    return {**SWITCHES[name], **rest}


def fault_answer(fault: Fault, path: str, log_id: str) -> tuple[int, str, bytes]:
    """Status, content type and body of an answer that a fault puts in place of the real one."""
    if fault.status:
        page = f"<html><head><title>{fault.status}</title></head><body>{fault.status} sandbox</body></html>"
        return fault.status, "text/html", b"" if fault.status in (204, 304) else page.encode()
    message = CODES.get(fault.code, "an error the sandbox was told to give")
    if path.startswith("/callback/"):
        # the bootstrap of the long connection answers its codes with HTTP 200, and its limit has a code of its own
        code = TOO_MANY_CONNECTIONS if fault.code == TOO_MANY_CALLS else fault.code
        body: dict[str, Any] = {"code": code, "msg": message}
        return 200, "application/json; charset=utf-8", json.dumps(body).encode()
    body = {"code": fault.code, "msg": message, "error": {"log_id": log_id}}
    status = 429 if fault.code == TOO_MANY_CALLS else 400
    return status, "application/json; charset=utf-8", json.dumps(body).encode()
