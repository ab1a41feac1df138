"""From the webhook's answer to the call at Feishu, nothing else queued: the time a newcomer waits for the card."""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from botconsole.sandbox import SandboxConfig, SandboxServer
from tests import feishu_events, postgres

EVENTS = 60
PAUSE_SECONDS = 0.25  # Feishu takes 5 messages a second in a chat
GOALS_MS = {"PostgreSQL": 100, "SQLite": 300}


@dataclass(frozen=True)
class Row:
    """One line of the report."""

    what: str
    result: str
    goal: str
    met: bool


def run() -> list[Row]:
    folder = Path(tempfile.mkdtemp(prefix="botconsole-bench-"))
    try:
        addresses = {"PostgreSQL": postgres.start(), "SQLite": f"sqlite:///{folder / 'bench.sqlite3'}"}
        return [row for name, url in addresses.items() for row in rows(name, sorted(measure(url)))]
    finally:
        shutil.rmtree(folder)


def rows(database: str, latencies_ms: list[float]) -> list[Row]:
    median, p95 = statistics.median(latencies_ms), latencies_ms[int(len(latencies_ms) * 0.95)]
    goal = GOALS_MS[database]
    return [
        Row(
            f"webhook answer to Feishu call, median, {database}",
            f"{median:.0f} ms",
            f"< {goal} ms",
            median < goal,
        ),
        Row(
            f"webhook answer to Feishu call, p95, {database}",
            f"{p95:.0f} ms",
            f"< {2 * goal} ms",
            p95 < 2 * goal,
        ),
    ]


def measure(database_url: str) -> list[float]:
    """Milliseconds for each of EVENTS events."""
    config = SandboxConfig(
        app_id=feishu_events.APP_ID,
        app_secret=feishu_events.APP_SECRET,
        verification_token=feishu_events.VERIFICATION_TOKEN,
        encrypt_key=feishu_events.ENCRYPT_KEY,
        port=0,
    )
    with SandboxServer(config) as feishu, console(database_url, feishu.url) as webhook:
        group = requests.post(f"{feishu.url}/_sandbox/groups", json={"name": "bench"}, timeout=5).json()[
            "chat_id"
        ]
        with requests.Session() as session:
            return [greet(session, feishu.url, webhook, group) for _ in range(EVENTS)]


def greet(session: requests.Session, feishu: str, webhook: str, group: str) -> float:
    """Pushes one event; the time from its answer to the card's arrival at Feishu."""
    known = len(cards(session, feishu))
    body, headers = feishu_events.sealed(
        feishu_events.member_joined(chat_id=group), feishu_events.ENCRYPT_KEY
    )
    session.post(webhook, data=body, headers=headers, timeout=5).raise_for_status()
    answered_at = time.time() * 1000
    deadline = time.monotonic() + 10
    while len(arrived := cards(session, feishu)) == known:
        if time.monotonic() > deadline:
            raise TimeoutError("the card did not arrive")
        time.sleep(PAUSE_SECONDS)
    return max(arrived) - answered_at


def cards(session: requests.Session, feishu: str) -> list[float]:
    """When each card arrived (ms), by the sandbox's list of calls."""
    calls = session.get(f"{feishu}/_sandbox/calls", timeout=5).json()["items"]
    return [
        call["at"] for call in calls if call["method"] == "POST" and call["path"].endswith("/im/v1/messages")
    ]


@contextmanager
def console(database_url: str, feishu: str) -> Iterator[str]:
    """Web and worker as processes on an empty database; gives the request URL."""
    port = postgres.free_port()
    env = {
        **os.environ,
        "ENV_FILE": os.devnull,
        "SECRET_KEY": "only-for-benchmarks",
        "DATABASE_URL": database_url,
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "FEISHU_DOMAIN": feishu,
        "FEISHU_APP_ID": feishu_events.APP_ID,
        "FEISHU_APP_SECRET": feishu_events.APP_SECRET,
        "FEISHU_VERIFICATION_TOKEN": feishu_events.VERIFICATION_TOKEN,
        "FEISHU_ENCRYPT_KEY": feishu_events.ENCRYPT_KEY,
        "LOG_LEVEL": "ERROR",
    }
    for command in ("migrate", "setup_bot"):
        subprocess.run([sys.executable, "manage.py", command], env=env, check=True, stdout=subprocess.DEVNULL)
    commands = [["serve", "--port", str(port), "--workers", "1"], ["run_worker"]]
    processes = [subprocess.Popen([sys.executable, "manage.py", *command], env=env) for command in commands]
    try:
        wait_until_ready(f"http://127.0.0.1:{port}/readyz")
        yield f"http://127.0.0.1:{port}/webhook/event/default"
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(15)


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if requests.get(url, timeout=2).ok:
                return
        except requests.RequestException:
            pass
        time.sleep(0.2)
    raise TimeoutError(f"{url} is not ready")
