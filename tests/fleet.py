"""Several worker processes on one database before one Feishu: what they are given, and what came of it."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests
from django.db import connection

from events.models import OutboxItem
from events.outbox import send_text

FAKETIME = ("faketime", "-f")


class Fleet:
    """Worker processes of one host, started in no time and killed without a word."""

    def __init__(self, env: dict[str, str], clock_offset: str = "") -> None:
        command = [sys.executable, "-m", "tests.worker_forker"]
        if clock_offset:
            command = [*FAKETIME, clock_offset, *command]
        streams: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._forker = subprocess.Popen(command, env=env, start_new_session=True, text=True, **streams)
        self.running: list[int] = []

    def start(self, number: int = 1) -> None:
        for _ in range(number):
            print(file=self._forker.stdin, flush=True)
            assert self._forker.stdout is not None
            self.running.append(int(self._forker.stdout.readline()))

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        self.running.remove(pid)

    def kill_all(self) -> None:
        for pid in list(self.running):
            self.kill(pid)

    def close(self) -> None:
        os.killpg(self._forker.pid, signal.SIGKILL)
        self._forker.wait()
        for stream in (self._forker.stdin, self._forker.stdout):
            assert stream is not None
            stream.close()


class Chats:
    """Groups at the sandbox, and numbered texts that are queued for them."""

    def __init__(self, sandbox: Any, bot: Any, number: int) -> None:
        self._url, self._bot = f"{sandbox.url}/_sandbox", bot
        self.ids = [self._post("groups", name=f"g{n}")["chat_id"] for n in range(number)]
        self.queued = 0

    def queue(self, number: int, word: str = "welcome") -> None:
        """Queues texts, one chat after the other; their text is their number within all."""
        for _ in range(number):
            chat_id = self.ids[self.queued % len(self.ids)]
            send_text(self._bot, chat_id=chat_id, markup=f"{self.queued}", key=f"{word}:{self.queued}")
            self.queued += 1

    def fault(self, **fault: Any) -> None:
        self._post("faults", **fault)

    def arrived(self) -> list[list[int]]:
        """The numbers that arrived in each chat, in their order."""
        told = [self._get(f"groups/{chat_id}/messages?limit=1000") for chat_id in self.ids]
        return [[int(item["content"]["text"]) for item in answer["items"]] for answer in told]

    def expected(self) -> list[list[int]]:
        return [list(range(n, self.queued, len(self.ids))) for n in range(len(self.ids))]

    def refusals(self) -> Counter[int]:
        """How often Feishu answered with which error code, as far as the sandbox remembers."""
        return Counter(call["code"] for call in self._get("calls?limit=10000")["items"] if call["code"])

    def _get(self, path: str) -> Any:
        response = requests.get(f"{self._url}/{path}", timeout=30)
        response.raise_for_status()
        return response.json()

    def _post(self, path: str, /, **body: Any) -> Any:
        response = requests.post(f"{self._url}/{path}", json=body, timeout=30)
        response.raise_for_status()
        return response.json()


class HalvingProxy:
    """Stands before a sandbox and cuts the next `halved` answers to messages in half; Feishu has acted on them."""

    def __init__(self, url: str, halved: int) -> None:
        self.halved = halved
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(url))
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> "HalvingProxy":
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def _cut(self, path: str, body: bytes) -> bytes:
        with self._lock:
            if not self.halved or "/messages" not in path:
                return body
            self.halved -= 1
        return body[: len(body) // 2]

    def _handler(self, url: str) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                asked = self.rfile.read(int(self.headers["Content-Length"]))
                names = ("Authorization", "Content-Type")
                headers = {name: self.headers[name] for name in names if name in self.headers}
                told = requests.post(url + self.path, data=asked, headers=headers, timeout=30)
                body = proxy._cut(self.path, told.content)
                self.send_response(told.status_code)
                self.send_header("Content-Type", told.headers["Content-Type"])
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def unsent() -> int:
    return OutboxItem.objects.exclude(status=OutboxItem.Status.SENT).count()


def wait_for(condition: Callable[[], Any], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            rows = OutboxItem.objects.exclude(status=OutboxItem.Status.SENT)
            raise AssertionError(
                f"it did not happen: {list(rows.values_list('key', 'status', 'attempt_count', 'error')[:10])}"
            )
        time.sleep(0.05)
        connection.close_if_unusable_or_obsolete()
