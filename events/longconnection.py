"""Feishu's long connection: frames in, acknowledgements out. Knows nothing of how an event is stored.

The SDK's own client has no stop, no time limits and runs handlers on its event loop, so only its frame class is
used (feishu-platform.md 2.2 to 2.4). The connection's URL carries secrets and is never logged.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.utils import timezone
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException

from .feishu import FeishuError, long_connection_endpoint
from .frames import (
    CONTROL,
    EVENT_KINDS,
    BadFrameError,
    Fragments,
    answer,
    headers_of,
    json_or_none,
    ping,
    read_frame,
)

log = logging.getLogger(__name__)

Receive = Callable[[bytes], Mapping[str, Any]]

FRAMES_IN_FLIGHT = 8
# More would not get their turn in time, and fill the memory: unanswered, they come again.
FRAMES_WAITING = 1000
BYTES_WAITING = 64 * 1024 * 1024
FRAME_BYTES = 20 * 1024 * 1024
# Answers to the bootstrap that may pass; every other code needs a person.
PASSING_CODES = (1, 1000040343)
CONNECTION_LIMIT = 1000040350
REASON_LENGTH = 200
STEADY_SECONDS = 30  # a connection that held so long is opened again quickly


@dataclass(frozen=True)
class Limits:
    """How long anything may take, in seconds."""

    ack: float = 2.5  # Feishu waits 3 s
    endpoint: float = 30
    handshake: float = 10
    send: float = 10
    close: float = 3
    silence: float = 90  # a connection on which nothing was heard for so long is opened anew
    ping: float = 30  # at most; Feishu may ask for more often
    backoff: tuple[float, ...] = (0.5, 1, 2, 5, 10, 30, 60)  # the first: after one that held


class RefusedConnectionError(Exception):
    """Feishu will not have this connection, and trying again does not help; says why."""


class NotStoredError(Exception):
    """What `receive` raises for a payload that is no event of this bot; the reason has been kept already."""


@dataclass
class Pulse:
    """What a connection has seen so far; written here, read by whoever tells how it is."""

    heard: float  # time.monotonic() of the newest frame, or of the start
    connected_since: datetime | None = None
    last_frame_at: datetime | None = None
    last_event_at: datetime | None = None
    frames: int = 0
    events: int = 0
    errors: int = 0
    last_error: str = ""
    full_since: float | None = None  # time.monotonic() since when all threads of this connection are busy

    def note_frame(self) -> None:
        self.heard, self.last_frame_at = time.monotonic(), timezone.now()
        self.frames += 1

    def note_event(self) -> None:
        self.last_event_at = timezone.now()
        self.events += 1

    def note_error(self, reason: str) -> None:
        self.errors += 1
        self.last_error = reason[:REASON_LENGTH]


class LongConnection:
    """One connection of one app, opened again whenever it breaks.

    Time limits are asyncio.timeout, not wait_for, which in Python 3.11 may swallow a cancellation.

    `receive(payload)` stores one event and returns the reply for Feishu; it runs in a thread of `pool`, at most
    FRAMES_IN_FLIGHT at once. If it raises, the event is answered with 500 and comes again. `changed` is called
    when the connection opens or closes.
    """

    def __init__(
        self,
        app_id: str,
        app_secret: str,
        domain: str,
        receive: Receive,
        pool: Executor,
        *,
        changed: Callable[[], object] = bool,
        limits: Limits = Limits(),
    ) -> None:
        self.pulse = Pulse(time.monotonic())
        self._credentials = (app_id, app_secret, domain)
        self._receive = receive
        self._pool = pool
        self._changed = changed
        self._limits = limits
        self._slots = asyncio.Semaphore(FRAMES_IN_FLIGHT)
        self._fragments = Fragments()
        self._tasks: set[asyncio.Task[None]] = set()
        self._bytes_waiting = 0
        self._ping_seconds = limits.ping
        self._failures = 0

    async def run(self) -> None:
        """Receives until cancelled; raises RefusedConnectionError if Feishu refuses for good."""
        while True:
            began = time.monotonic()
            try:
                await self._connect_and_serve()
            except (FeishuError, OSError, ValueError, WebSocketException) as error:
                self.pulse.note_error(_why(error))
                _raise_if_final(error)
                log.warning("long connection of %s broke: %s", self._credentials[0], _why(error))
            steady = time.monotonic() - began > STEADY_SECONDS
            self._failures = 0 if steady else min(self._failures + 1, len(self._limits.backoff) - 1)
            wait = self._limits.backoff[self._failures]
            await asyncio.sleep(wait * random.uniform(0.5, 1.5))  # noqa: S311

    async def _connect_and_serve(self) -> None:
        async with asyncio.timeout(self._limits.endpoint):
            endpoint = await asyncio.to_thread(long_connection_endpoint, *self._credentials)
        self._configure(endpoint.get("ClientConfig"))
        url = str(endpoint["URL"])
        service = _service(url)
        quiet = logging.getLogger("botconsole.websockets")
        quiet.setLevel(logging.CRITICAL)  # websockets' debug lines show the URL
        async with connect(
            url,
            max_size=FRAME_BYTES,
            open_timeout=self._limits.handshake,
            close_timeout=self._limits.close,
            proxy=None,
            logger=quiet,
        ) as socket:
            log.info("long connection of %s is open", self._credentials[0])
            self._note_open(timezone.now())
            try:
                await self._serve(socket, service)
            finally:
                self._note_open(None)

    async def _serve(self, socket: ClientConnection, service: int) -> None:
        """Reads until the connection ends, or says nothing for too long; answers what is in flight."""
        silent_since = time.monotonic()
        jobs = {
            asyncio.create_task(self._read(socket)),
            asyncio.create_task(self._keep_alive(socket, service)),
            asyncio.create_task(self._watch(silent_since)),
        }
        try:
            done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
            for job in done:
                job.result()
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _read(self, socket: ClientConnection) -> None:
        async for message in socket:
            if isinstance(message, bytes):
                self._take(socket, message)

    async def _keep_alive(self, socket: ClientConnection, service: int) -> None:
        while True:
            async with asyncio.timeout(self._limits.send):
                await socket.send(ping(service))
            await asyncio.sleep(min(self._ping_seconds, self._limits.ping))

    async def _watch(self, opened: float) -> None:
        """Ends, and with it the connection, when nothing was heard for too long: no pong, no event."""
        while (rest := max(self.pulse.heard, opened) + self._limits.silence - time.monotonic()) > 0:
            await asyncio.sleep(rest)
        self.pulse.note_error("silent")
        log.warning("long connection of %s is silent: opening it anew", self._credentials[0])

    def _take(self, socket: ClientConnection, message: bytes) -> None:
        self.pulse.note_frame()
        try:
            frame = read_frame(message)
            if frame.method == CONTROL:
                self._configure(json_or_none(frame.payload))
                return
            kind = headers_of(frame).get("type", "")
            if kind not in EVENT_KINDS:
                raise BadFrameError(f"a frame of the kind “{kind[:40]}”")
            payload = self._fragments.whole(frame)
        except BadFrameError as error:
            self.pulse.note_error(str(error))
            log.warning("a frame of %s was dropped: %s", self._credentials[0], error)
            return
        if payload is None:
            return
        if len(self._tasks) >= FRAMES_WAITING or self._bytes_waiting >= BYTES_WAITING:
            self.pulse.note_error("too many events at once")
            return
        self.pulse.note_event()
        self._bytes_waiting += len(payload)
        task = asyncio.create_task(self._answer(socket, frame, payload))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._end(done, len(payload)))

    def _end(self, task: asyncio.Task[None], size: int) -> None:
        self._tasks.discard(task)
        self._bytes_waiting -= size

    async def _answer(self, socket: ClientConnection, frame: Any, payload: bytes) -> None:
        """Has the event stored and acknowledges it; unanswered, Feishu pushes it again."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._limits.ack):  # the wait for a thread counts
                reply = await self._store(payload)
        except TimeoutError:
            self.pulse.note_error("too slow")
            log.warning("an event took over %s s: not acknowledged, it comes again", self._limits.ack)
            return
        except NotStoredError as error:
            self.pulse.note_error(str(error))
            log.warning("a payload of %s was refused: %s", self._credentials[0], error)
            sent = answer(frame, 500)
        except Exception as error:
            self.pulse.note_error(type(error).__name__)
            log.exception("an event was not stored; it comes again")
            sent = answer(frame, 500)
        else:
            sent = answer(frame, 200, reply, took_ms=round((time.monotonic() - started) * 1000))
        try:
            async with asyncio.timeout(self._limits.send):
                await socket.send(sent)
        except (WebSocketException, TimeoutError):
            log.warning("the connection broke before an event was acknowledged; it comes again")

    async def _store(self, payload: bytes) -> Mapping[str, Any]:
        """Runs `receive` in a thread. One that is given up keeps its place until it really ends."""
        await self._slots.acquire()
        if self._slots.locked():
            self.pulse.full_since = time.monotonic()
        loop = asyncio.get_running_loop()
        try:
            work = self._pool.submit(self._receive, payload)
        except RuntimeError:  # the pool is closed
            self._release()
            raise
        work.add_done_callback(lambda _: self._free_slot(loop))
        return await asyncio.wrap_future(work)  # cancelled before a thread took it, it never runs

    def _free_slot(self, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(self._release)

    def _release(self) -> None:
        self._slots.release()
        self.pulse.full_since = None

    def _note_open(self, since: datetime | None) -> None:
        self.pulse.connected_since = since
        self._changed()

    def _configure(self, config: Any) -> None:
        seconds = config.get("PingInterval") if isinstance(config, dict) else None
        if isinstance(seconds, int | float) and seconds >= 1:
            self._ping_seconds = float(seconds)


def _service(url: str) -> int:
    text = parse_qs(urlsplit(url).query).get("service_id", ["0"])[0]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _raise_if_final(error: Exception) -> None:
    if isinstance(error, FeishuError) and error.code is not None and error.code not in PASSING_CODES:
        if error.code == CONNECTION_LIMIT:
            raise RefusedConnectionError(f"{_TOO_MANY}: {error.message}") from error
        raise RefusedConnectionError(f"Feishu refuses the app: {error.code} {error.message}") from error
    if isinstance(error, InvalidStatus):
        headers = error.response.headers
        status, reason = headers.get("Handshake-Status"), headers.get("Handshake-Msg", "")[:REASON_LENGTH]
        limit = headers.get("Handshake-Autherrcode") == str(CONNECTION_LIMIT)
        if status == "403" or limit:
            raise RefusedConnectionError(
                f"{_TOO_MANY if limit else 'the handshake was refused'}: {reason}"
            ) from error


_TOO_MANY = "50 connections of this app are open already"


def _why(error: Exception) -> str:
    """What went wrong, without the URL that some exceptions spell out."""
    if isinstance(error, FeishuError):
        return error.message
    if isinstance(error, InvalidStatus):
        headers = error.response.headers
        return f"handshake refused: {headers.get('Handshake-Status') or error.response.status_code}"
    if isinstance(error, InvalidHandshake):
        return f"handshake: {type(error).__name__}"
    return type(error).__name__
