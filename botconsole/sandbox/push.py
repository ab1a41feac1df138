"""The queue of what the platform pushes: its time limits, retries, duplicates and order, on either transport."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from typing import Any

from botconsole.sandbox import payloads
from botconsole.sandbox.changes import Changes
from botconsole.sandbox.clock import Clock, wall_ms
from botconsole.sandbox.config import SandboxConfig
from botconsole.sandbox.connections import Connections
from botconsole.sandbox.faults import Fault, Faults
from botconsole.sandbox.store import Row, Store
from botconsole.sandbox.webhook import Answer, Webhook, encrypt, seal, seal_old

RETRY_SECONDS = (15, 300, 3600, 21600)
AT_ONCE = 32
KEPT_PUSHES, SWEEP_EVERY = 20_000, 1000  # of what is over the newest so many are kept
SHOWN_BYTES = 2000  # of each answer
HELD_SECONDS = 1.0  # how long an event waits for another one to overtake it
WEBHOOK, LONG_CONNECTION = "webhook", "long_connection"
TRANSPORTS = (WEBHOOK, LONG_CONNECTION)
NEW, OLD = "card.action.trigger", "card.action.trigger_v1"
ADDING = ("reorder", "microseconds", "two_message_ids")  # switches that act when an event is queued
SENDING = ("no_ack", "duplicate", "fragment_bytes", "encrypted_frames")  # ... and when it is delivered
PRESSING = ("card_frames", "fragment_bytes", "encrypted_frames")
Json = dict[str, Any]


class Pusher:
    """Runs in the server's event loop; the state of every push is a row, so retries survive a restart."""

    def __init__(
        self, config: SandboxConfig, store: Store, clock: Clock, changes: Changes, faults: Faults
    ) -> None:
        self._config, self._store, self._clock, self._changes = config, store, clock, changes
        self._faults = faults
        self.webhook = Webhook(config)
        self.connections = Connections(config, faults, changes)
        self._transports = {
            what: store.recall(f"transport {what}", config.transport) for what in ("events", "callbacks")
        }
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._held = ""
        self._added = 0

    # the app's settings

    @property
    def webhook_url(self) -> str:
        return self.webhook.url

    @webhook_url.setter
    def webhook_url(self, url: str) -> None:
        self.webhook.url = url

    async def challenge(self, url: str) -> str:
        """Why a request URL is refused, '' if it answered the challenge."""
        return await self.webhook.challenge(url)

    @property
    def transports(self) -> dict[str, str]:
        """How events and (a setting of its own) card callbacks reach the app."""
        return dict(self._transports)

    def switch_transport(self, to: str, *which: str, offline: bool = False) -> str:
        """Sets events, callbacks or (by default) both; answers why the platform refuses, or ''.

        `offline` passes over the rule that a client must be connected, for a test that starts its client later.
        """
        if to not in TRANSPORTS:
            return f"transport must be one of {', '.join(TRANSPORTS)}"
        if to == LONG_CONNECTION and not offline and not len(self.connections):
            return "no client is connected: start one, then save the long connection"
        for what in which or tuple(self._transports):
            self._transports[what] = to
            self._store.remember(f"transport {what}", to)
        self._changes.publish("state")
        return ""

    # the queue

    async def run(self) -> None:
        """Delivers what is due until cancelled."""
        self._loop = asyncio.get_running_loop()
        self._store.run("UPDATE pushes SET state = 'retrying' WHERE state = 'sending'")
        try:
            while True:
                self._wake.clear()
                pause = self._start_due()
                # not wait_for: up to Python 3.11 it loses a cancellation that comes together with the event
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self.webhook.close()
            self._loop = None

    def wake(self) -> None:
        """Has the queue looked through, from whatever thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)

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

    def add(self, event_id: str, event_type: str, payload: Json) -> str:
        """Stores a push and has it sent at once; without a webhook it is only listed."""
        fault = self._faults.take(event_type, ADDING)
        if fault and fault.microseconds and "header" in payload:
            payload["header"]["create_time"] = f"{int(time.time() * 1_000_000)}"
        self._queue(event_id, event_type, payload, fault)
        if fault and fault.two_message_ids and (twin := payloads.twin(payload)):
            self._queue(twin["header"]["event_id"], event_type, twin, None)
        return event_id

    def _queue(self, event_id: str, event_type: str, payload: Json, fault: Fault | None) -> None:
        known = bool(self.webhook_url) or self._transports["events"] == LONG_CONNECTION
        due, overtaken = time.time(), ""
        if fault and fault.reorder and not self._held:
            self._held, due = event_id, due + HELD_SECONDS
        elif self._held:
            overtaken, self._held = self._held, ""
        self._insert(
            event_id,
            event_type,
            payload,
            state="waiting" if known else "no webhook",
            next_try_at=due if known else None,
            before=overtaken,
        )
        self.wake()

    def _insert(self, event_id: str, event_type: str, payload: Json, **columns: Any) -> None:
        text = json.dumps(payload, ensure_ascii=False)
        empty = {"body": b"", "headers": ""}  # sealed at the first try by HTTP
        self._store.insert(
            "pushes",
            event_id=event_id,
            type=event_type,
            payload=text,
            created_ms=wall_ms(),
            **{**empty, **columns},
        )
        self._added += 1
        if self._added % SWEEP_EVERY == 0:
            self._sweep()
        self._changes.publish("platform")

    def _sweep(self) -> None:
        """Forgets the oldest pushes of which nothing more will come."""
        self._store.run(
            "DELETE FROM pushes WHERE next_try_at IS NULL AND state != 'sending'"
            " AND number <= (SELECT max(number) FROM pushes) - ?",
            KEPT_PUSHES,
        )

    def again(self, event_id: str) -> bool:
        """Delivers an event once more, freshly signed, whatever became of it before."""
        if not self.webhook_url and self._transports["events"] == WEBHOOK:
            return False
        found = self._store.run(
            "UPDATE pushes SET body = '', headers = '', next_try_at = ?, state = 'waiting' WHERE event_id = ?",
            time.time(),
            event_id,
        )
        self.wake()
        return bool(found)

    def move_retries(self, change: Callable[[float, float], float]) -> None:
        """Sets the waiting retries to other real times: `change(due, now) -> due`."""
        now = time.time()
        for push in self._store.rows("SELECT number, next_try_at FROM pushes WHERE next_try_at IS NOT NULL"):
            self._store.run(
                "UPDATE pushes SET next_try_at = ? WHERE number = ?",
                change(push["next_try_at"], now),
                push["number"],
            )
        self.wake()

    # one push

    async def _deliver(self, push: Row) -> None:
        """One try, and what follows from it; `duplicate` delivers again what was taken."""
        fault = self._faults.take(push["type"], SENDING)
        answer = await self._send(push, fault)
        acked = answer.status == 200 and not (fault and fault.no_ack)
        self._note(push, answer, disregarded=answer.status == 200 and not acked)
        self._plan(push, acked)
        if push["before"]:
            self._overtaken(push["before"])
        for _ in range(fault.duplicate if fault and acked else 0):
            sealed = self._store.row("SELECT * FROM pushes WHERE number = ?", push["number"])
            if sealed is not None:
                self._note(push, await self._send(sealed, fault))

    async def _send(self, push: Row, fault: Fault | None) -> Answer:
        """A re-push by HTTP carries the first one's bytes and signature (open question 3)."""
        if self._transports["events"] == LONG_CONNECTION:
            return await self._by_frame(push["payload"].encode(), fault)
        body, headers = push["body"], push["headers"]
        if not headers:
            body, sealed = seal(self._config, json.loads(push["payload"]))
            headers = json.dumps(sealed)
            self._store.run(
                "UPDATE pushes SET body = ?, headers = ? WHERE number = ?", body, headers, push["number"]
            )
        return await self.webhook.post(body, json.loads(headers))

    def _plan(self, push: Row, acked: bool) -> None:
        """Done, or the next of the four re-pushes, or given up."""
        current = self._store.row("SELECT state, planned FROM pushes WHERE number = ?", push["number"])
        if current is None or current["state"] != "sending":
            return  # reset, or asked for again, in the meantime
        planned, next_try_at, state = current["planned"], None, "acked"
        if not acked:
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

    def _overtaken(self, event_id: str) -> None:
        """The event that was held back may go now."""
        now = time.time()
        self._store.run(
            "UPDATE pushes SET next_try_at = ? WHERE event_id = ? AND next_try_at > ?", now, event_id, now
        )
        self.wake()

    def _note(self, push: Row, answer: Answer, disregarded: bool = False) -> None:
        """Adds the try to the row and one line to the log."""
        tries = self._store.row("SELECT tries FROM pushes WHERE number = ?", push["number"])
        if tries is None:
            return
        told = _try(answer) | ({"error": "the answer is disregarded (no_ack)"} if disregarded else {})
        self._store.run(
            "UPDATE pushes SET tries = ? WHERE number = ?",
            json.dumps([*json.loads(tries["tries"]), told]),
            push["number"],
        )
        self._say(push["type"], push["event_id"], answer)

    def _say(self, event_type: str, event_id: str, answer: Answer) -> None:
        result = answer.error or answer.status
        self._config.echo(f"sandbox  push {event_type} {event_id} -> {result} in {answer.ms} ms")

    @property
    def callbacks(self) -> list[str]:
        """Which card callbacks the app has configured; both are called then. Without any the new one fails."""
        old = [OLD] if self.webhook.old_callback_url else []
        new = (
            self._transports["callbacks"] == LONG_CONNECTION or self.webhook_url or self.webhook.callback_url
        )
        return [NEW, *old] if new else old or [NEW]

    async def call_back_old(self, event_id: str, payload: Json) -> Answer:
        """The old callback: by HTTP only, flat, never encrypted, signed another way."""
        body, headers = seal_old(self._config, payload)
        answer = await self.webhook.post(body, headers, url=self.webhook.old_callback_url)
        self._called(event_id, OLD, payload, answer, body=body, headers=json.dumps(headers))
        return answer

    async def call_back(self, event_id: str, event_type: str, event: Json) -> Answer:
        """A card callback: synchronous, within 3 s, never retried; its time is in microseconds."""
        stamp = {"create_time": str(wall_ms() * 1000)}
        payload = payloads.envelope(self._config, event_id, event_type, event, stamp)
        columns: Json = {}
        if self._transports["callbacks"] == LONG_CONNECTION:
            fault = self._faults.take(event_type, PRESSING)
            text = json.dumps(payload, ensure_ascii=False).encode()
            answer = await self._by_frame(text, fault, "card" if fault and fault.card_frames else "event")
        elif url := self.webhook.callback_url or self.webhook_url:
            body, headers = seal(self._config, payload)
            columns = {"body": body, "headers": json.dumps(headers)}
            answer = await self.webhook.post(body, headers, url=url)
        else:
            answer = Answer(None, 0, error="no webhook")
        self._called(event_id, event_type, payload, answer, **columns)
        return answer

    def _called(self, event_id: str, event_type: str, payload: Json, answer: Answer, **columns: Any) -> None:
        """Lists a callback and what became of it."""
        state = "acked" if answer.status == 200 else "gone"
        self._insert(event_id, event_type, payload, state=state, tries=json.dumps([_try(answer)]), **columns)
        self._say(event_type, event_id, answer)

    async def _by_frame(self, text: bytes, fault: Fault | None, kind: str = "event") -> Answer:
        """Over the long connection: plain, unless a switch says otherwise."""
        if fault and fault.encrypted_frames and self._config.encrypt_key:
            text = json.dumps({"encrypt": encrypt(self._config.encrypt_key, text)}).encode()
        return await self.connections.deliver(text, kind, fault.fragment_bytes if fault else 0)


def _try(answer: Answer) -> dict[str, Any]:
    said = answer.body[:SHOWN_BYTES].decode(errors="replace")
    return {"at": wall_ms(), "status": answer.status, "ms": answer.ms, "error": answer.error, "answer": said}


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
