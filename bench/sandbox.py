"""How many calls a second the sandbox sustains: its own process, its state in a file, an app that acknowledges."""

import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from bench.report import Row, Section
from botconsole.sandbox import SandboxConfig, SandboxServer

SECONDS, CLIENTS, GROUPS = 15, 4, 40
PER_SECOND, MEDIAN_MS, P95_MS = 200, 50, 100
APP = {"app_id": "cli_bench", "app_secret": "s3cret"}
IM = "/open-apis/im/v1"
CARD = json.dumps({"schema": "2.0", "body": {"elements": [{"tag": "markdown", "content": "**bench**"}]}})


def run() -> Section:
    """Sends, patches, reads and renames in turn; every rename and every person's message is pushed as well."""
    app = ThreadingHTTPServer(("127.0.0.1", 0), _App)
    app.daemon_threads = True
    threading.Thread(target=app.serve_forever, args=(0.05,), daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="sandbox-bench-") as folder:
        command = [sys.executable, "-m", "bench.sandbox", folder, str(app.server_port)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                port = int(process.stdout.readline())
                times = measure(port)
            finally:
                process.terminate()
    app.shutdown()
    app.server_close()
    rate, median, p95 = len(times) / SECONDS, statistics.median(times), sorted(times)[int(len(times) * 0.95)]
    rows = [
        Row("API calls a second", f"{rate:.0f}/s", f">= {PER_SECOND}/s", rate >= PER_SECOND),
        Row("time of a call, median", f"{median:.0f} ms", f"< {MEDIAN_MS} ms", median < MEDIAN_MS),
        Row("time of a call, p95", f"{p95:.0f} ms", f"< {P95_MS} ms", p95 < P95_MS),
    ]
    how = f"{CLIENTS} clients for {SECONDS} s: messages, patches, history, chats; its state in a file, its limits off."
    return Section("The sandbox", how, rows)


def measure(port: int) -> list[float]:
    """Milliseconds of every call that CLIENTS made in SECONDS, each over one connection."""
    times: list[float] = []
    until = time.monotonic() + SECONDS
    clients = [threading.Thread(target=_ask, args=(port, until, times)) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return times


def _ask(port: int, until: float, times: list[float]) -> None:
    client = _Client(port, times)
    client.token = client.call("POST", "/open-apis/auth/v3/tenant_access_token/internal", APP)[
        "tenant_access_token"
    ]
    chats = [
        client.call("POST", "/_sandbox/groups", {"name": "bench"})["chat_id"]
        for _ in range(GROUPS // CLIENTS)
    ]
    number = 0
    while time.monotonic() < until:
        number += 1
        chat_id = chats[number % len(chats)]
        message = {"receive_id": chat_id, "msg_type": "interactive", "content": CARD}
        sent = client.call("POST", f"{IM}/messages?receive_id_type=chat_id", message)
        client.call("PATCH", f"{IM}/messages/{sent['data']['message_id']}", {"content": CARD})
        client.call(
            "GET", f"{IM}/messages?container_id_type=chat&container_id={chat_id}&sort_type=ByCreateTimeDesc"
        )
        client.call("GET", f"{IM}/chats/{chat_id}")
        client.call("PUT", f"{IM}/chats/{chat_id}", {"name": f"bench {number}"})
    client.connection.close()


class _Client:
    """A bot on one connection, which notes how long each of its calls took."""

    def __init__(self, port: int, times: list[float]) -> None:
        self.connection, self.times, self.token = http.client.HTTPConnection("127.0.0.1", port), times, ""

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        began = time.perf_counter()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        self.connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer: dict[str, Any] = json.loads(self.connection.getresponse().read())
        self.times.append((time.perf_counter() - began) * 1000)
        if answer.get("code"):
            raise RuntimeError(f"{method} {path}: {answer}")
        return answer


class _App(BaseHTTPRequestHandler):
    """The app: acknowledges every push."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args: object) -> None:
        """Keeps quiet."""


def _serve(folder: str, app_port: str) -> None:
    config = SandboxConfig(
        APP["app_id"], APP["app_secret"], webhook_url=f"http://127.0.0.1:{app_port}/", encrypt_key="key",
        port=0, limits=False,
        state_file=str(Path(folder) / "state.sqlite3"),
    )  # fmt: skip
    server = SandboxServer(config)
    print(server.url.rpartition(":")[2], flush=True)
    server.run()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
