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
LARGEST_ANSWER, READ_BYTES = 1024 * 1024, 64 * 1024


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
        self._idle: dict[tuple[str, int, bool], list[_Line]] = defaultdict(list)

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """Status and body of the answer, or PostError."""
        try:
            parts = urlsplit(url)
            where = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        except ValueError:
            raise PostError("the URL is wrong") from None
        if parts.scheme not in ("http", "https") or not where[0]:
            raise PostError("the URL is wrong")
        line = self._kept(*where, parts.scheme == "https") or await _connect(*where, parts.scheme == "https")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            request = h11.Request(
                method="POST",
                target=target.encode("ascii", "replace"),
                headers=[
                    ("Host", parts.netloc.rpartition("@")[2]),
                    ("Content-Length", str(len(body))),
                    *headers.items(),
                ],
            )
            answer = await _ask(line, request, body)
        except BaseException as error:
            line.writer.close()
            if isinstance(error, OSError | h11.ProtocolError):
                raise PostError(str(error) or type(error).__name__) from None
            raise
        self._keep(*where, parts.scheme == "https", line)
        return answer

    def _kept(self, host: str, port: int, secure: bool) -> _Line | None:
        """The connection that was used last, if it is still good."""
        idle = self._idle[host, port, secure]
        while idle:
            line = idle.pop()
            if line.usable():
                return line
            line.writer.close()
        return None

    def _keep(self, host: str, port: int, secure: bool, line: _Line) -> None:
        idle = self._idle[host, port, secure]
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
    line.writer.write(b"".join(part for part in sent if part))
    await line.writer.drain()
    status, told = 0, bytearray()
    while True:
        event = protocol.next_event()
        if event is h11.NEED_DATA:
            protocol.receive_data(await line.reader.read(READ_BYTES))
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
