"""The long connection's frames, written and read byte by byte: an oracle that shares nothing with the SDK's class."""

from dataclasses import dataclass, field

PING_OR_PONG, DATA = 0, 1
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
# field numbers of package pbbp2, message Frame
SEQ_ID, LOG_ID, SERVICE, METHOD, HEADERS, PAYLOAD = 1, 2, 3, 4, 5, 8


class FrameError(ValueError):
    """Bytes that are no frame."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One binary message: `method` 0 is a ping or pong, 1 an event or its acknowledgement."""

    service: int
    method: int
    headers: dict[str, str] = field(default_factory=dict)
    payload: bytes = b""
    seq_id: int = 0
    log_id: int = 0


def encode(frame: Frame) -> bytes:
    """The four required numbers, the headers, the payload."""
    numbers = (
        (SEQ_ID, frame.seq_id),
        (LOG_ID, frame.log_id),
        (SERVICE, frame.service),
        (METHOD, frame.method),
    )
    parts = [_varint(number << 3 | VARINT) + _varint(value) for number, value in numbers]
    for key, value in frame.headers.items():
        parts.append(_block(HEADERS, _block(1, key.encode()) + _block(2, value.encode())))
    parts.append(_block(PAYLOAD, frame.payload))
    return b"".join(parts)


def decode(data: bytes) -> Frame:
    """The frame in these bytes; fields nobody knows are skipped, missing required ones refused."""
    numbers: dict[int, int] = {}
    headers: dict[str, str] = {}
    payload = b""
    for number, value in _fields(data):
        if number == HEADERS and isinstance(value, bytes):
            pair = {key: text.decode() for key, text in _fields(value) if isinstance(text, bytes)}
            headers[pair.get(1, "")] = pair.get(2, "")
        elif number == PAYLOAD and isinstance(value, bytes):
            payload = value
        elif isinstance(value, int):
            numbers[number] = value
    if missing := {SEQ_ID, LOG_ID, SERVICE, METHOD} - numbers.keys():
        raise FrameError(f"required fields are missing: {sorted(missing)}")
    return Frame(numbers[SERVICE], numbers[METHOD], headers, payload, numbers[SEQ_ID], numbers[LOG_ID])


def _fields(data: bytes) -> list[tuple[int, int | bytes]]:
    found: list[tuple[int, int | bytes]] = []
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        kind = tag & 7
        if kind == VARINT:
            value, at = _read_varint(data, at)
            found.append((tag >> 3, value))
            continue
        if kind not in (FIXED64, LENGTH, FIXED32):
            raise FrameError(f"unknown wire type {kind}")
        size, at = _read_varint(data, at) if kind == LENGTH else (8 if kind == FIXED64 else 4, at)
        if at + size > len(data):
            raise FrameError("the frame ends too early")
        found.append((tag >> 3, data[at : at + size]))
        at += size
    return found


def _block(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | LENGTH) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    told = bytearray()
    while value > 0x7F:
        told.append(value & 0x7F | 0x80)
        value >>= 7
    told.append(value)
    return bytes(told)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise FrameError("the frame ends too early")
        value |= (data[at] & 0x7F) << shift
        at += 1
        if not data[at - 1] & 0x80:
            return value, at
    raise FrameError("a number is too long")
