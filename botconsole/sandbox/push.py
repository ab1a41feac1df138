"""Signs, encrypts and delivers what the platform pushes, with its time limits and retries."""

import asyncio
import base64
import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from botconsole.sandbox import payloads
from botconsole.sandbox.changes import Changes
from botconsole.sandbox.clock import Clock, wall_ms
from botconsole.sandbox.config import SandboxConfig
from botconsole.sandbox.store import Row, Store

RETRY_SECONDS = (15, 300, 3600, 21600)
ANSWER_SECONDS, CONNECT_SECONDS, CHALLENGE_SECONDS = 3.0, 2.0, 1.0
AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request to the app: a status, or the reason there is none."""

    status: int | None
    ms: int
    body: bytes = b""
    error: str = ""


def encrypt(encrypt_key: str, text: bytes) -> str:
    """base64(iv + AES-256-CBC(PKCS#7)), key = SHA-256 of the Encrypt Key."""
    iv, padder = os.urandom(16), padding.PKCS7(128).padder()
    cipher = Cipher(algorithms.AES(hashlib.sha256(encrypt_key.encode()).digest()), modes.CBC(iv)).encryptor()
    padded = padder.update(text) + padder.finalize()
    return base64.b64encode(iv + cipher.update(padded) + cipher.finalize()).decode()


def seal(config: SandboxConfig, payload: dict[str, Any], sign: bool = True) -> tuple[bytes, dict[str, str]]:
    """The bytes and headers of a push; without an Encrypt Key it is plain and unsigned."""
    text = json.dumps(payload, ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json;charset=utf-8", "User-Agent": "feishu-sandbox"}
    if not config.encrypt_key:
        return text, headers
    body = json.dumps({"encrypt": encrypt(config.encrypt_key, text)}).encode()
    if sign:
        stamp, nonce = str(int(time.time())), secrets.token_hex(8)
        signed = hashlib.sha256(f"{stamp}{nonce}{config.encrypt_key}".encode() + body).hexdigest()
        headers |= {
            "X-Lark-Request-Timestamp": stamp,
            "X-Lark-Request-Nonce": nonce,
            "X-Lark-Signature": signed,
        }
    return body, headers


class Pusher:
    """Runs in the server's event loop; the state of every push is a row, so retries survive a restart."""

    def __init__(self, config: SandboxConfig, store: Store, clock: Clock, changes: Changes) -> None:
        self._config, self._store, self._clock, self._changes = config, store, clock, changes
        self.webhook_url = config.webhook_url
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._client: httpx.AsyncClient | None = None

    async def run(self) -> None:
        """Delivers what is due until cancelled."""
        self._store.run("UPDATE pushes SET state = 'retrying' WHERE state = 'sending'")
        limits = httpx.Limits(
            max_connections=AT_ONCE * 2, max_keepalive_connections=AT_ONCE, keepalive_expiry=3
        )
        async with httpx.AsyncClient(limits=limits, trust_env=False, follow_redirects=False) as self._client:
            try:
                while True:
                    self._wake.clear()
                    pause = self._start_due()
                    try:
                        await asyncio.wait_for(self._wake.wait(), pause)
                    except TimeoutError:
                        continue
            finally:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start_due(self) -> float | None:
        """Starts the due pushes there is room for; answers the seconds until the next one, None for ever."""
        free = AT_ONCE - len(self._tasks)
        due = self._store.rows(
            "SELECT * FROM pushes WHERE next_try_at <= ? ORDER BY next_try_at, number LIMIT ?",
            time.time(),
            free,
        )
        for push in due:
            self._store.run(
                "UPDATE pushes SET state = 'sending', next_try_at = NULL WHERE number = ?", push["number"]
            )
            task = asyncio.create_task(self._deliver(push))
            self._tasks.add(task)
            task.add_done_callback(self._done)
        if len(self._tasks) >= AT_ONCE:
            return None
        soonest = self._store.row("SELECT min(next_try_at) FROM pushes")
        return max(0.0, soonest[0] - time.time()) if soonest and soonest[0] is not None else None

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._wake.set()

    def add(self, event_id: str, event_type: str, payload: dict[str, Any]) -> str:
        """Stores a push and has it sent at once; without a webhook it is only listed."""
        body, headers = seal(self._config, payload)
        known = bool(self.webhook_url)
        self._insert(
            event_id,
            event_type,
            payload,
            body=body,
            headers=json.dumps(headers),
            state="waiting" if known else "no webhook",
            next_try_at=time.time() if known else None,
        )
        self._wake.set()
        return event_id

    def _insert(self, event_id: str, event_type: str, payload: dict[str, Any], **columns: Any) -> None:
        text = json.dumps(payload, ensure_ascii=False)
        self._store.insert(
            "pushes", event_id=event_id, type=event_type, payload=text, created_ms=wall_ms(), **columns
        )
        self._changes.publish("platform")

    def again(self, event_id: str) -> bool:
        """Delivers an event once more, freshly signed, whatever became of it before."""
        push = self._store.row("SELECT * FROM pushes WHERE event_id = ?", event_id)
        if push is None or not self.webhook_url:
            return False
        body, headers = seal(self._config, json.loads(push["payload"]))
        self._store.run(
            "UPDATE pushes SET body = ?, headers = ?, next_try_at = ?, state = 'waiting' WHERE event_id = ?",
            body,
            json.dumps(headers),
            time.time(),
            event_id,
        )
        self._wake.set()
        return True

    def move_retries(self, change: Callable[[float, float], float]) -> None:
        """Sets the waiting retries to other real times: `change(due, now) -> due`."""
        now = time.time()
        for push in self._store.rows("SELECT number, next_try_at FROM pushes WHERE next_try_at IS NOT NULL"):
            self._store.run(
                "UPDATE pushes SET next_try_at = ? WHERE number = ?",
                change(push["next_try_at"], now),
                push["number"],
            )
        self._wake.set()

    async def _deliver(self, push: Row) -> None:
        """One try; a re-push carries the first one's bytes and signature (open question 3)."""
        answer = await self.post(push["body"], json.loads(push["headers"]), ANSWER_SECONDS)
        self._note(push, answer)
        current = self._store.row("SELECT state, planned FROM pushes WHERE number = ?", push["number"])
        if current is None or current["state"] != "sending":
            return  # reset, or asked for again, in the meantime
        planned, next_try_at, state = current["planned"], None, "acked"
        if answer.status != 200:
            state = "gone"
            if planned < len(RETRY_SECONDS):
                next_try_at = time.time() + self._clock.real_delay(RETRY_SECONDS[planned])
                state, planned = "retrying", planned + 1
        self._store.run(
            "UPDATE pushes SET state = ?, planned = ?, next_try_at = ? WHERE number = ?",
            state,
            planned,
            next_try_at,
            push["number"],
        )
        self._changes.publish("platform")

    def _note(self, push: Row, answer: Answer) -> None:
        """Adds the try to the row and one line to the log."""
        tries = self._store.row("SELECT tries FROM pushes WHERE number = ?", push["number"])
        if tries is None:
            return
        told = [*json.loads(tries["tries"]), _try(answer)]
        self._store.run("UPDATE pushes SET tries = ? WHERE number = ?", json.dumps(told), push["number"])
        self._say(push["type"], push["event_id"], answer)

    def _say(self, event_type: str, event_id: str, answer: Answer) -> None:
        result = answer.error or answer.status
        self._config.echo(f"sandbox  push {event_type} {event_id} -> {result} in {answer.ms} ms")

    async def post(self, body: bytes, headers: dict[str, str], seconds: float, url: str = "") -> Answer:
        """One POST to the app; a redirect is not followed, and everything must be over within `seconds`."""
        began = time.monotonic()

        def spent() -> int:
            return round((time.monotonic() - began) * 1000)

        if self._client is None:
            return Answer(None, 0, error="the sandbox is not running")
        try:
            async with asyncio.timeout(seconds):
                timeout = httpx.Timeout(seconds, connect=CONNECT_SECONDS)
                answer = await self._client.post(
                    url or self.webhook_url, content=body, headers=headers, timeout=timeout
                )
            return Answer(answer.status_code, spent(), answer.content)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            unknown = (
                "getaddrinfo" in str(error)
                or "ame or service" in str(error)
                or "name resolution" in str(error)
            )
            return Answer(None, spent(), error="unknown host" if unknown else "no connection")
        except (TimeoutError, httpx.TimeoutException):
            return Answer(None, spent(), error="timeout")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return Answer(None, spent(), error=str(error) or type(error).__name__)

    async def call_back(self, event_id: str, event_type: str, event: dict[str, Any]) -> Answer:
        """A card callback: synchronous, within 3 s, never retried; its time is in microseconds."""
        stamp = {"create_time": str(wall_ms() * 1000)}
        payload = payloads.envelope(self._config, event_id, event_type, event, stamp)
        body, headers = seal(self._config, payload)
        answer = (
            await self.post(body, headers, ANSWER_SECONDS)
            if self.webhook_url
            else Answer(None, 0, error="no webhook")
        )
        self._insert(
            event_id,
            event_type,
            payload,
            body=body,
            headers=json.dumps(headers),
            state="acked" if answer.status == 200 else "gone",
            tries=json.dumps([_try(answer)]),
        )
        self._say(event_type, event_id, answer)
        return answer

    async def challenge(self, url: str) -> str:
        """Sends url_verification as Feishu does when a URL is saved; answers why it is refused, or ''."""
        word = secrets.token_hex(16)
        payload = {"challenge": word, "token": self._config.verification_token, "type": "url_verification"}
        body, headers = seal(self._config, payload, sign=False)
        answer = await self.post(body, headers, CHALLENGE_SECONDS, url)
        self._say("url_verification", url, answer)
        if answer.status is None:
            return f"no answer: {answer.error}"
        if answer.status != 200:
            return f"the answer has HTTP status {answer.status}, not 200"
        try:
            said = json.loads(answer.body)
        except ValueError:
            return "the answer is not JSON"
        good = isinstance(said, dict) and said.get("challenge") == word
        return "" if good else "the answer does not repeat the challenge"


def _try(answer: Answer) -> dict[str, Any]:
    return {"at": wall_ms(), "status": answer.status, "ms": answer.ms, "error": answer.error}


def push_view(push: Row) -> dict[str, Any]:
    """A push as the control API tells it."""
    due, tries = push["next_try_at"], json.loads(push["tries"])
    return {
        "event_id": push["event_id"],
        "type": push["type"],
        "state": push["state"],
        "created_at": push["created_ms"],
        "status": tries[-1]["status"] if tries else None,
        "tries": tries,
        "retries": max(0, len(tries) - 1),
        "next_try_at": round(due * 1000) if due else None,
        "payload": json.loads(push["payload"]),
    }
