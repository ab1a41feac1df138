"""What every request passes: who may ask (Host, Origin), headers, fault switches, the list of calls."""

import asyncio
import ipaddress
import json
import re
import time
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from botconsole.sandbox.api import new_log_id
from botconsole.sandbox.calls import CallRecord
from botconsole.sandbox.config import SandboxConfig
from botconsole.sandbox.connections import PATH as SOCKET_PATH
from botconsole.sandbox.faults import Fault, fault_answer
from botconsole.sandbox.tokens import forget
from botconsole.sandbox.world import World

POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-sandbox", b"this is a local sandbox, not Feishu"),
]
SAFE = ("GET", "HEAD")
CODE = re.compile(rb'\{"code":\s*(-?\d{1,10}),')
KEPT_BYTES = 4000
SECRETS = ("app_secret", "tenant_access_token", "app_access_token", "app_ticket", "AppSecret", "URL")


def host_allowed(config: SandboxConfig, host: str) -> bool:
    """Names no web page elsewhere can point at us: our own, addresses, container names if bound to all."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    if name in ("localhost", config.host, *config.allowed_hosts) or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
        return True
    except ValueError:
        open_to_all = config.host in ("0.0.0.0", "::")  # noqa: S104 (compared, not bound)
        return open_to_all and bool(name) and ("." not in name or name == "host.docker.internal")


def origin_allowed(origin: str, host: str) -> bool:
    """A browser's page may only drive the sandbox if it came from it; programs send no Origin."""
    try:
        return not origin or urlsplit(origin).netloc == host
    except ValueError:
        return False


class Gate:
    """The outermost ASGI application; it sees the server's own `send`, which it needs to cut a connection."""

    def __init__(self, app: ASGIApp, world: World) -> None:
        self._app, self._world = app, world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host, path = headers.get("host", ""), str(scope["path"])
        if not host_allowed(self._world.config, host):
            await _answer(send, 421, "this sandbox does not answer to that host name; see --allow-host")
        elif path.startswith(("/open-apis/", "/callback/")):
            await self._api(scope, receive, send)
        elif scope["method"] not in SAFE and not origin_allowed(headers.get("origin", ""), host):
            await _answer(send, 403, "a page of another origin may not drive this sandbox")
        else:
            await self._app(scope, receive, _with_headers(send, HEADERS))

    async def _socket(self, scope: Scope, receive: Receive, send: Any) -> None:
        """The long connection's address, and no other; no page may open it."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        known = scope["path"] == SOCKET_PATH and "origin" not in headers
        if known and host_allowed(self._world.config, headers.get("host", "")):
            transport = send.__self__.transport
            await self._world.pusher.connections.serve(scope, receive, send, transport)
        else:
            await receive()
            await send({"type": "websocket.close"})

    async def _api(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One call of the app: recorded, and spoilt if a switch says so."""
        began = time.monotonic()
        record = CallRecord(
            scope["method"], scope["path"], scope["query_string"].decode("latin-1"), new_log_id()
        )
        scope["log_id"] = record.log_id
        tape = _Tape(record)
        fault = self._world.faults.take(record.path)
        try:
            if fault is None:
                await self._app(scope, tape.listen(receive), tape.speak(send))
            else:
                await self._spoil(fault, tape, scope, receive, send)
        finally:
            record.known = not scope.get("unknown_call", False)
            record.ms = round((time.monotonic() - began) * 1000)
            tape.close()
            self._world.calls.add(record)
            self._world.changes.publish("platform")
            what = record.fault or f"{record.status} code {record.code}"
            self._world.config.echo(
                f"sandbox  call {record.method} {record.path} -> {what} in {record.ms} ms"
            )

    async def _spoil(self, fault: Fault, tape: "_Tape", scope: Scope, receive: Receive, send: Send) -> None:
        record = tape.record
        if fault.down:
            record.fault = "down"
            await _cut(send)
            return
        answer = send
        if fault.slow_ms:
            record.fault = f"slow by {fault.slow_ms} ms"
            answer = _late(send, fault.slow_ms / 1000)
        if fault.token_expired:
            record.fault = "token expired"
            forget(self._world)
        if fault.drop_answer:
            record.fault = "answer dropped"
            await self._app(scope, tape.listen(receive), tape.speak(_nowhere))
            await _cut(send)
        elif fault.status or fault.code:
            status, content_type, body = fault_answer(fault, record.path, record.log_id)
            record.fault = f"{status}" + (f" code {fault.code}" if fault.code and not fault.status else "")
            extra = (
                [(b"x-ogw-ratelimit-limit", b"50"), (b"x-ogw-ratelimit-reset", b"1")] if status == 429 else []
            )
            await _answer(tape.speak(answer), status, body.decode(), content_type, extra)
        else:
            await self._app(scope, tape.listen(receive), tape.speak(answer))


def _late(send: Send, seconds: float) -> Send:
    """Answers late: the platform has acted by then, which is the harder case for whoever waits."""
    waited = False

    async def late(message: Message) -> None:
        nonlocal waited
        if not waited:
            waited = True
            await asyncio.sleep(seconds)
        await send(message)

    return late


class _Tape:
    """Listens to a call and its answer, and keeps the beginning of both."""

    def __init__(self, record: CallRecord) -> None:
        self.record = record
        self._asked, self._told = bytearray(), bytearray()
        self._is_text = True

    def listen(self, receive: Receive) -> Receive:
        async def listening() -> Message:
            message = await receive()
            if len(self._asked) < KEPT_BYTES * 10:
                self._asked += message.get("body", b"")
            return message

        return listening

    def speak(self, send: Send) -> Send:
        async def speaking(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.record.status = message["status"]
                message = {**message, "headers": [_spelt(*header) for header in message.get("headers", [])]}
            elif len(self._told) < KEPT_BYTES * 10:
                self._told += message.get("body", b"")
            await send(message)

        return _with_headers(speaking, [(b"X-Tt-Logid", self.record.log_id.encode())])

    def close(self) -> None:
        """Writes both bodies into the record, without secrets and tokens."""
        self.record.request = _shown(bytes(self._asked))
        self.record.answer = _shown(bytes(self._told))
        try:
            self.record.code = json.loads(bytes(self._told))["code"]
        except (ValueError, KeyError, TypeError, RecursionError):
            found = CODE.match(self._told)  # of an answer that is longer than what is kept
            self.record.code = int(found[1]) if found else None


def _shown(body: bytes) -> str:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        text = body[:KEPT_BYTES].decode(errors="replace")
        return text if text.isprintable() or text.lstrip().startswith("<") else f"[{len(body)} bytes]"
    return json.dumps(_without_secrets(said), ensure_ascii=False)[:KEPT_BYTES]


def _without_secrets(said: Any, deeper: bool = True) -> Any:
    """Two levels deep: that is as far down as the platform puts any."""
    if not isinstance(said, dict):
        return said
    return {
        key: "…" if key in SECRETS else _without_secrets(value, False) if deeper else value
        for key, value in said.items()
    }


def _with_headers(send: Send, headers: list[tuple[bytes, bytes]]) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *headers]}
        await send(message)

    return sending


def _spelt(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """Content-Type as the platform spells it: the SDK looks headers up in a plain dict."""
    return (name.title() if name.startswith(b"content-") else name), value


async def _nowhere(message: Message) -> None:
    """Where an answer goes that the client never gets."""


async def _cut(send: Any) -> None:
    """Closes the connection without an answer; `send` is uvicorn's, and knows its transport."""
    send.__self__.transport.abort()
    while not send.__self__.disconnected:
        await asyncio.sleep(0.001)


async def _answer(
    send: Send,
    status: int,
    body: str,
    content_type: str = "text/plain",
    extra: list[tuple[bytes, bytes]] | None = None,
) -> None:
    kind = f"{content_type}; charset=utf-8" if "charset" not in content_type else content_type
    headers = [
        (b"content-type", kind.encode()),
        (b"content-length", str(len(body.encode())).encode()),
        *(extra or []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body.encode()})
