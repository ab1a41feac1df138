"""The frames of the long connection: what one carries, and fragments put together within bounds. No network here.

Source: feishu-platform.md 2.3. Whatever comes over the wire may be nonsense: it costs a line in the log, no more.
"""

import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .feishu import frame_class

CONTROL, DATA = 0, 1
EVENT_KINDS = ("event", "card")
PAYLOAD_BYTES = 1024 * 1024  # as for the webhook; Feishu's events are far smaller
MOST_FRAGMENTS = 1000  # of one payload
FRAGMENTS_KEPT_SECONDS = 5
UNFINISHED_PAYLOADS = 64


class BadFrameError(Exception):
    """A frame that cannot be used; says why."""


def load() -> None:
    """Imports the SDK now (1 to 4 s): on the event loop it would stop everything."""
    frame_class()


def read_frame(message: bytes) -> Any:
    """The SDK's Frame; raises BadFrameError."""
    try:
        return frame_class().FromString(message)
    except Exception as error:  # protobuf's DecodeError, without importing protobuf
        raise BadFrameError(f"a message that is no frame ({type(error).__name__})") from error


def ping(service: int) -> bytes:
    frame = frame_class()(SeqID=0, LogID=0, service=service, method=CONTROL)
    frame.headers.add(key="type", value="ping")
    return bytes(frame.SerializeToString())


def answer(
    frame: Any, code: int, reply: Mapping[str, Any] | None = None, *, took_ms: int | None = None
) -> bytes:
    """The frame sent back: Feishu's acknowledgement, with a callback's reply inside it."""
    document: dict[str, Any] = {"code": code}
    if reply:
        document["data"] = base64.b64encode(json.dumps(dict(reply)).encode()).decode()
    frame.payload = json.dumps(document).encode()
    if took_ms is not None:
        frame.headers.add(key="biz_rt", value=str(took_ms))
    return bytes(frame.SerializeToString())


def headers_of(frame: Any) -> dict[str, str]:
    return {header.key: header.value for header in frame.headers}


def json_or_none(data: bytes) -> Any:
    try:
        return json.loads(data) if data else None
    except (ValueError, RecursionError):
        return None


@dataclass
class _Parts:
    """A payload that is still incomplete."""

    began_at: float
    total: int
    parts: dict[int, bytes] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return sum(map(len, self.parts.values()))


class Fragments:
    """Payloads that come in pieces, in any order; what stays incomplete is forgotten after some seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._unfinished: dict[str, _Parts] = {}
        self._done: dict[str, float] = {}

    def whole(self, frame: Any) -> bytes | None:
        """The whole payload; None while pieces are missing, or for one that came again. Raises BadFrameError."""
        headers = headers_of(frame)
        total, index = _count(headers, "sum", 1), _count(headers, "seq", 0)
        if total > MOST_FRAGMENTS or (total > 1 and index >= total):
            raise BadFrameError(f"piece {index} of {total}")
        if total > 1:
            return self._join(headers.get("message_id", ""), total, index, bytes(frame.payload))
        if len(frame.payload) > PAYLOAD_BYTES:
            raise BadFrameError(f"a payload of {len(frame.payload)} bytes")
        return bytes(frame.payload)

    def _join(self, message_id: str, total: int, index: int, piece: bytes) -> bytes | None:
        self._forget_old()
        if not message_id:
            raise BadFrameError("a piece without a message_id")
        if message_id in self._done:
            return None
        entry = self._unfinished.setdefault(message_id, _Parts(self._clock(), total))
        if entry.total != total or entry.size + len(piece) > PAYLOAD_BYTES:
            del self._unfinished[message_id]
            raise BadFrameError(f"pieces that do not fit together, or more than {PAYLOAD_BYTES} bytes")
        entry.parts.setdefault(index, piece)
        if len(entry.parts) < total:
            return None
        del self._unfinished[message_id]
        self._done[message_id] = self._clock()
        return b"".join(entry.parts[number] for number in range(total))

    def _forget_old(self) -> None:
        oldest = self._clock() - FRAGMENTS_KEPT_SECONDS
        self._done = {key: at for key, at in self._done.items() if at > oldest}
        fresh = {key: entry for key, entry in self._unfinished.items() if entry.began_at > oldest}
        # Feishu has few in flight at once; of a flood the newest are kept.
        self._unfinished = dict(list(fresh.items())[-UNFINISHED_PAYLOADS:])


def _count(headers: Mapping[str, str], name: str, default: int) -> int:
    """A header that is a small number; raises BadFrameError for anything else."""
    text = headers.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadFrameError(f"the header {name} is no number")
    return int(text)
