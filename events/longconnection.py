"""Feishu's long connection: frames in, acknowledgements out. Knows nothing of how an event is stored.

The SDK's own client has no stop, no time limits and runs handlers on its event loop, so only its frame class is
used (feishu-platform.md 2.2 to 2.4). The connection's URL carries secrets and is never logged.
"""

import asyncio
import base64
import json
import logging
import random
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException

from .feishu import FeishuError, frame_class, long_connection_endpoint

log = logging.getLogger(__name__)

Receive = Callable[[bytes], Mapping[str, Any]]

CONTROL, DATA = 0, 1
ACK_WITHIN_SECONDS = 2.5  # Feishu waits 3 s
FRAMES_IN_FLIGHT = 8
FRAGMENTS_KEPT_SECONDS = 5
SILENT_FOR_SECONDS = 90
FRAME_BYTES = 20 * 1024 * 1024
BACKOFF_SECONDS = (1, 2, 5, 10, 30, 60)
# Answers to the bootstrap that may pass; every other code needs a person.
PASSING_CODES = (1, 1000040343)
CONNECTION_LIMIT = "1000040350"


class RefusedConnectionError(Exception):
    """Feishu will not have this connection, and trying again does not help; says why."""


class LongConnection:
    """One connection of one app, opened again whenever it breaks.

    `receive(payload)` stores one event and returns the reply for Feishu; it runs in a thread. If it raises, the
    event is answered with 500 and comes again.
    """

    def __init__(self, app_id: str, app_secret: str, domain: str, receive: Receive) -> None:
        self._credentials = (app_id, app_secret, domain)
        self._receive = receive
        self._frame = frame_class()
        self._slots = asyncio.Semaphore(FRAMES_IN_FLIGHT)
        self._fragments: dict[str, tuple[float, dict[int, bytes]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._heard_at = time.monotonic()
        self._ping_seconds = 30.0
        self._failures = 0

    async def run(self) -> None:
        """Receives until cancelled; raises RefusedConnectionError if Feishu refuses for good."""
        while True:
            try:
                await self._connect_and_serve()
            except (FeishuError, OSError, ValueError, WebSocketException, TimeoutError) as error:
                _raise_if_final(error)
                log.warning("long connection of %s broke: %s", self._credentials[0], _why(error))
            wait = BACKOFF_SECONDS[min(self._failures, len(BACKOFF_SECONDS) - 1)]
            self._failures += 1
            await asyncio.sleep(wait * random.uniform(0.5, 1.5))  # noqa: S311

    async def _connect_and_serve(self) -> None:
        endpoint = await asyncio.to_thread(long_connection_endpoint, *self._credentials)
        self._configure(endpoint.get("ClientConfig"))
        url = str(endpoint["URL"])
        service = int(parse_qs(urlsplit(url).query).get("service_id", ["0"])[0])
        quiet = logging.getLogger("botconsole.websockets")
        quiet.setLevel(logging.CRITICAL)  # websockets' debug lines show the URL
        async with connect(
            url, max_size=FRAME_BYTES, open_timeout=10, close_timeout=3, proxy=None, logger=quiet
        ) as socket:
            log.info("long connection of %s is open", self._credentials[0])
            self._heard_at = time.monotonic()
            keepalive = asyncio.create_task(self._keep_alive(socket, service))
            try:
                async for message in socket:
                    if isinstance(message, bytes):
                        self._take(socket, message)
            finally:
                keepalive.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep_alive(self, socket: ClientConnection, service: int) -> None:
        """Pings, and closes a connection on which nothing was heard for SILENT_FOR_SECONDS."""
        while time.monotonic() - self._heard_at < SILENT_FOR_SECONDS:
            ping = self._frame(SeqID=0, LogID=0, service=service, method=CONTROL)
            ping.headers.add(key="type", value="ping")
            await socket.send(ping.SerializeToString())
            await asyncio.sleep(min(self._ping_seconds, SILENT_FOR_SECONDS / 3))
        log.warning("long connection of %s is silent: closing it", self._credentials[0])
        await socket.close()

    def _take(self, socket: ClientConnection, message: bytes) -> None:
        self._failures, self._heard_at = 0, time.monotonic()
        try:
            frame = self._frame.FromString(message)
        except Exception as error:  # noqa: BLE001 - protobuf's DecodeError, without importing protobuf
            log.warning("a frame that is no frame was dropped (%s)", type(error).__name__)
            return
        if frame.method == CONTROL:
            self._configure(_json_or_none(frame.payload))
            return
        payload = self._whole(frame)
        if payload is not None:
            task = asyncio.create_task(self._answer(socket, frame, payload))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _whole(self, frame: Any) -> bytes | None:
        """The payload, put together from its fragments; None while some are missing."""
        headers = _headers(frame)
        total, index = _number(headers.get("sum"), 1), _number(headers.get("seq"), 0)
        if total <= 1:
            return bytes(frame.payload)
        now, message_id = time.monotonic(), headers.get("message_id", "")
        self._fragments = {
            key: entry for key, entry in self._fragments.items() if now - entry[0] < FRAGMENTS_KEPT_SECONDS
        }
        _, parts = self._fragments.setdefault(message_id, (now, {}))
        parts[index] = bytes(frame.payload)
        if set(parts) != set(range(total)):
            return None
        del self._fragments[message_id]
        return b"".join(parts[number] for number in range(total))

    async def _answer(self, socket: ClientConnection, frame: Any, payload: bytes) -> None:
        """Has the event stored and acknowledges it; unanswered, Feishu pushes it again."""
        started = time.monotonic()
        async with self._slots:
            try:
                reply = await asyncio.wait_for(asyncio.to_thread(self._receive, payload), ACK_WITHIN_SECONDS)
            except TimeoutError:
                log.warning("an event took over %s s: not acknowledged, it comes again", ACK_WITHIN_SECONDS)
                return
            except Exception:
                log.exception("an event was not stored; it comes again")
                frame.payload = json.dumps({"code": 500}).encode()
            else:
                answer: dict[str, Any] = {"code": 200}
                if reply:
                    answer["data"] = base64.b64encode(json.dumps(dict(reply)).encode()).decode()
                frame.payload = json.dumps(answer).encode()
                frame.headers.add(key="biz_rt", value=str(round((time.monotonic() - started) * 1000)))
        try:
            await socket.send(frame.SerializeToString())
        except WebSocketException:
            log.warning("the connection broke before an event was acknowledged; it comes again")

    def _configure(self, config: Any) -> None:
        seconds = config.get("PingInterval") if isinstance(config, dict) else None
        if isinstance(seconds, int | float) and seconds > 0:
            self._ping_seconds = float(seconds)


def _raise_if_final(error: Exception) -> None:
    if isinstance(error, FeishuError) and error.code is not None and error.code not in PASSING_CODES:
        raise RefusedConnectionError(f"Feishu refuses the app: {error.code} {error.message}") from error
    if isinstance(error, InvalidStatus):
        headers = error.response.headers
        status, reason = headers.get("Handshake-Status"), headers.get("Handshake-Msg", "")
        limit = headers.get("Handshake-Autherrcode") == CONNECTION_LIMIT
        if status == "403" or limit:
            what = "50 connections of this app are open already" if limit else "the handshake was refused"
            raise RefusedConnectionError(f"{what}: {reason}") from error


def _why(error: Exception) -> str:
    """What went wrong, without the URL that some exceptions spell out."""
    if isinstance(error, FeishuError):
        return error.message
    if isinstance(error, InvalidHandshake):
        return f"handshake: {type(error).__name__}"
    return type(error).__name__


def _headers(frame: Any) -> dict[str, str]:
    return {header.key: header.value for header in frame.headers}


def _number(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isdigit() else default


def _json_or_none(data: bytes) -> Any:
    try:
        return json.loads(data) if data else None
    except ValueError:
        return None
