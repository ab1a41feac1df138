"""A small HTTP client for pushes: POST only, connections kept open, no redirects, no proxies, no retries."""

import asyncio
import socket
import ssl
import time
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

import h11

CONNECT_SECONDS, IDLE_SECONDS, IDLE_PER_HOST = 2.0, 3.0, 32
Where = tuple[str, int, bool]  # host, port, whether by TLS
LARGEST_ANSWER, READ_BYTES = 1024 * 1024, 64 * 1024


class _StaleError(Exception):
    """The connection ended before the first byte of an answer."""


class PostError(Exception):
    """There is no answer; the text is the reason in two or three words."""


@dataclass(slots=True)
class _Line:
    """One connection between two requests."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    protocol: h11.Connection
    since: float = 0.0

    def usable(self) -> bool:
        return time.monotonic() - self.since < IDLE_SECONDS and not self.reader.at_eof()


class Poster:
    """Belongs to one event loop; `close()` ends what it keeps open."""

    def __init__(self) -> None:
        self._idle: dict[Where, list[_Line]] = defaultdict(list)

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """Status and body of the answer, or PostError."""
        where, request = _addressed(url, len(body), headers)
        while line := self._kept(where):
            try:
                return await self._ask(line, where, request, body)
            except _StaleError:
                continue  # closed by the other side while it was idle: not a failure of the app
        try:
            return await self._ask(await _connect(*where), where, request, body)
        except _StaleError:
            raise PostError("no answer") from None

    async def _ask(self, line: _Line, where: Where, request: h11.Request, body: bytes) -> tuple[int, bytes]:
        try:
            answer = await _ask(line, request, body)
        except BaseException as error:
            line.writer.close()
            if isinstance(error, OSError | h11.ProtocolError):
                raise PostError(str(error) or type(error).__name__) from None
            raise
        self._keep(where, line)
        return answer

    def _kept(self, where: Where) -> _Line | None:
        """The connection that was used last, if it is still good."""
        idle = self._idle[where]
        while idle:
            line = idle.pop()
            if line.usable():
                return line
            line.writer.close()
        return None

    def _keep(self, where: Where, line: _Line) -> None:
        idle = self._idle[where]
        if line.protocol.our_state is line.protocol.their_state is h11.DONE and len(idle) < IDLE_PER_HOST:
            line.protocol.start_next_cycle()
            line.since = time.monotonic()
            idle.append(line)
        else:
            line.writer.close()

    def close(self) -> None:
        for idle in self._idle.values():
            for line in idle:
                line.writer.close()
        self._idle.clear()


def _addressed(url: str, size: int, headers: dict[str, str]) -> tuple[Where, h11.Request]:
    """Where a request goes, and its head."""
    try:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        where = (parts.hostname or "", parts.port or (443 if secure else 80), secure)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        told = {"Host": parts.netloc.rpartition("@")[2], "Content-Length": str(size), **headers}
        return where, h11.Request(method="POST", target=target, headers=list(told.items()))
    except (ValueError, h11.LocalProtocolError):
        raise PostError("the URL is wrong") from None


async def _connect(host: str, port: int, secure: bool) -> _Line:
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(host, port, ssl=_trust() if secure else None)
    except socket.gaierror:
        raise PostError("unknown host") from None
    except ssl.SSLError as error:
        raise PostError(f"TLS: {error.reason}") from None
    except (OSError, UnicodeError):
        raise PostError("no connection") from None
    return _Line(reader, writer, h11.Connection(h11.CLIENT))


@cache
def _trust() -> ssl.SSLContext:
    return ssl.create_default_context()


async def _ask(line: _Line, request: h11.Request, body: bytes) -> tuple[int, bytes]:
    """Writes the request and reads the whole answer."""
    protocol = line.protocol
    sent = [protocol.send(event) for event in (request, h11.Data(data=body), h11.EndOfMessage())]
    status, told, silent = 0, bytearray(), True
    try:
        line.writer.write(b"".join(part for part in sent if part))
        await line.writer.drain()
    except ConnectionError:
        raise _StaleError from None
    while True:
        event = protocol.next_event()
        if event is h11.NEED_DATA:
            data = await _read(line, silent)
            protocol.receive_data(data)
            silent = False
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            told += event.data
            if len(told) > LARGEST_ANSWER:
                raise PostError("the answer is too large")
        elif isinstance(event, h11.EndOfMessage):
            return status, bytes(told)
        elif isinstance(event, h11.ConnectionClosed):
            raise PostError("no answer")


async def _read(line: _Line, first: bool) -> bytes:
    """The next bytes, b"" at the end; an end before the first byte is told apart."""
    try:
        data = await line.reader.read(READ_BYTES)
    except ConnectionError:
        if first:
            raise _StaleError from None
        raise
    if first and not data:
        raise _StaleError
    return data
