"""The server's end of the long connection: tickets, sockets, frames out and acknowledgements in; no retries here."""

import asyncio
import base64
import binascii
import json
import random
import secrets
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlencode

from starlette.types import Message, Receive, Scope, Send

from botconsole.sandbox import frames
from botconsole.sandbox.changes import Changes
from botconsole.sandbox.clock import wall_ms
from botconsole.sandbox.config import SandboxConfig
from botconsole.sandbox.faults import TOO_MANY_CONNECTIONS, Faults
from botconsole.sandbox.frames import Frame
from botconsole.sandbox.store import new_id
from botconsole.sandbox.webhook import ANSWER_SECONDS, Answer

PATH = "/ws/v2"
MOST_CONNECTIONS, LARGEST_PAYLOAD, SERVICE_ID = 50, 128 * 1024, 33554678
AUTH_FAILED, FORBIDDEN = 514, 403
NO_CREDENTIAL, UNKNOWN_APP = 1000040344, 1000040346
KNOWN_TICKETS = 1000

Json = dict[str, Any]
Refusal = tuple[int, str, int]


class Connection:
    """One open socket; `frozen` is half-open: it takes nothing, tells nothing, and stays."""

    def __init__(self, send: Send, device_id: str) -> None:
        self.device_id, self.opened_ms = device_id, wall_ms()
        self.pings = self.sent = self.acked = 0
        self.frozen = False
        self._send = send
        self._waiting: dict[str, asyncio.Future[Frame]] = {}

    async def tell(self, frame: Frame) -> None:
        if not self.frozen:
            await self._send({"type": "websocket.send", "bytes": frames.encode(frame)})

    async def deliver(self, kind: str, payload: bytes, largest: int) -> Answer:
        """Sends one event and waits for its acknowledgement; an event above `largest` bytes goes in fragments."""
        began, message_id, trace_id = time.monotonic(), new_id("msg"), secrets.token_hex(16)
        parts = [payload[at : at + largest] for at in range(0, len(payload), largest)] or [b""]
        acked = self._waiting[message_id] = asyncio.get_running_loop().create_future()
        self.sent += 1
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                for number, part in enumerate(parts):
                    headers = {"type": kind, "message_id": message_id, "trace_id": trace_id}
                    headers |= {"sum": str(len(parts)), "seq": str(number)}
                    await self.tell(Frame(SERVICE_ID, frames.DATA, headers, part, self.sent, wall_ms()))
                frame = await acked
        except TimeoutError:
            return Answer(None, _ms_since(began), error="timeout")
        except OSError:  # the server's word for a client that is gone is one, too
            return Answer(None, _ms_since(began), error="connection lost")
        finally:
            self._waiting.pop(message_id, None)
        self.acked += 1
        return _acknowledged(frame, _ms_since(began))

    def hear(self, frame: Frame) -> None:
        """An acknowledgement: the event's own frame again; a late or unknown one is nothing."""
        waiting = self._waiting.get(frame.headers.get("message_id", ""))
        if waiting is not None and not waiting.done():
            waiting.set_result(frame)

    def lost(self) -> None:
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ConnectionResetError())

    async def close(self) -> None:
        await self._send({"type": "websocket.close", "code": 1001})

    def view(self) -> Json:
        return {
            "device_id": self.device_id,
            "opened_at": self.opened_ms,
            "pings": self.pings,
            "sent": self.sent,
            "acked": self.acked,
            "half_open": self.frozen,
        }


class Connections:
    """All open connections of the app; each event goes to one of them, chosen at random."""

    def __init__(self, config: SandboxConfig, faults: Faults, changes: Changes) -> None:
        self._config, self._faults, self._changes = config, faults, changes
        self.client_config = dict(config.client_config)
        self._tickets: dict[str, str] = {}
        self._online: dict[Connection, Any] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: list[asyncio.Future[None]] = []
        faults.on_change = lambda: self._soon(self._freeze_all)

    def __len__(self) -> int:
        return len(self._online)

    def view(self) -> list[Json]:
        return [connection.view() for connection in self._online]

    def endpoint(self, app_id: str, app_secret: str, socket_url: str) -> Json:
        """The bootstrap's answer: an address that carries all of the authentication, or a code."""
        if not app_id or not app_secret:
            return {"code": NO_CREDENTIAL, "msg": "no credential"}
        if app_id != self._config.app_id:
            return {"code": UNKNOWN_APP, "msg": "app_id is invalid"}
        if not secrets.compare_digest(app_secret.encode(), self._config.app_secret.encode()):
            return {"code": AUTH_FAILED, "msg": "auth failed"}
        if self._config.store_app:
            return {"code": FORBIDDEN, "msg": "forbidden: long connections are for self-built apps"}
        device_id, ticket = str(random.getrandbits(62)), secrets.token_hex(16)
        while len(self._tickets) >= KNOWN_TICKETS:
            del self._tickets[next(iter(self._tickets))]
        self._tickets[ticket] = device_id
        query = {"fpid": 493, "aid": 552564, "device_id": device_id, "access_key": secrets.token_hex(16)}
        query |= {"service_id": SERVICE_ID, "ticket": ticket}
        url = f"{socket_url}{PATH}?{urlencode(query)}"
        return {"code": 0, "msg": "", "data": {"URL": url, "ClientConfig": dict(self.client_config)}}

    async def serve(self, scope: Scope, receive: Receive, send: Send, transport: Any) -> None:
        """One WebSocket from its handshake to its end."""
        await receive()
        query = {key: value[0] for key, value in parse_qs(scope["query_string"].decode("latin-1")).items()}
        if refusal := self._refusal(query):
            await _refuse(send, refusal)
            return
        connection = Connection(send, query["device_id"])
        self._loop = asyncio.get_running_loop()
        self._online[connection] = transport  # before the client can know that it is connected
        self._changes.publish("state", "platform")
        try:
            await send({"type": "websocket.accept"})
            self._freeze(connection, transport)
            await self._listen(connection, receive)
        finally:
            del self._online[connection]
            connection.lost()
            self._changes.publish("state", "platform")

    def _refusal(self, query: dict[str, str]) -> Refusal | None:
        """Why a handshake is refused: status, message and, with 514, the code that says what it is about."""
        if status := self._faults.takes("handshake"):
            return status, "refused by a fault", 0
        if self._faults.takes("connection_limit") or len(self._online) >= MOST_CONNECTIONS:
            return AUTH_FAILED, "the number of connections exceeded the limit", TOO_MANY_CONNECTIONS
        if self._tickets.get(query.get("ticket", "")) != query.get("device_id"):
            return AUTH_FAILED, "the ticket is invalid", NO_CREDENTIAL
        return None

    async def _listen(self, connection: Connection, receive: Receive) -> None:
        while (message := await receive())["type"] == "websocket.receive":
            try:
                frame = frames.decode(message.get("bytes") or b"")
            except (frames.FrameError, UnicodeError):
                continue  # what is no frame is passed over, as a gateway must
            if frame.method == frames.DATA:
                connection.hear(frame)
            elif frame.headers.get("type") == "ping":
                connection.pings += 1
                if not self._faults.takes("no_pong"):
                    headers = {**frame.headers, "type": "pong"}
                    told = json.dumps(self.client_config).encode()
                    await connection.tell(Frame(frame.service, frames.PING_OR_PONG, headers, told))

    async def deliver(self, payload: bytes, kind: str = "event", fragment_bytes: int = 0) -> Answer:
        """Pushes to one connection; without any the event is simply not acknowledged."""
        if not self._online:
            return Answer(None, 0, error="no connection")
        connection = random.choice(list(self._online))  # noqa: S311 (not a secret)
        return await connection.deliver(kind, payload, fragment_bytes or LARGEST_PAYLOAD)

    def drop(self) -> int:
        """Closes all connections, as a restart of the platform's gateway does; answers how many."""
        count = len(self._online)
        self._soon(self._close_all)
        return count

    def _close_all(self) -> None:
        self._closing = [asyncio.ensure_future(connection.close()) for connection in self._online]

    def _freeze_all(self) -> None:
        for connection, transport in self._online.items():
            self._freeze(connection, transport)

    def _freeze(self, connection: Connection, transport: Any) -> None:
        """Half-open: nothing is read, so that not even the socket's own pings are answered."""
        frozen = self._faults.holds("half_open")
        if frozen != connection.frozen:
            connection.frozen = frozen
            (transport.pause_reading if frozen else transport.resume_reading)()

    def _soon(self, work: Callable[[], None]) -> None:
        """Runs something in the server's loop, from whatever thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(work)


def _ms_since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


def _acknowledged(frame: Frame, ms: int) -> Answer:
    """The acknowledgement as an answer: its code is the status, its decoded data the body."""
    try:
        said = json.loads(frame.payload)
        code, data = int(said["code"]), said.get("data") or ""
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Answer(500, ms, frame.payload, error="the acknowledgement cannot be read")
    try:
        return Answer(code, ms, base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError, TypeError):
        return Answer(code, ms, str(data).encode())


async def _refuse(send: Send, refusal: Refusal) -> None:
    """An upgrade refused by HTTP: what the client goes by stands in three headers."""
    status, message, code = refusal
    headers = [(b"Handshake-Status", str(status).encode()), (b"Handshake-Msg", message.encode())]
    if status == AUTH_FAILED:
        headers.append((b"Handshake-Autherrcode", str(code or NO_CREDENTIAL).encode()))
    start: Message = {"type": "websocket.http.response.start", "status": status, "headers": headers}
    await send(start)
    await send({"type": "websocket.http.response.body", "body": b""})
