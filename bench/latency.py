"""From the webhook's answer to the call at Feishu, nothing else queued: the time a newcomer waits for the card."""

import statistics
import tempfile
import time
from pathlib import Path

import requests

from bench.report import Row, Section, percentile
from bench.servers import console, durable_postgres
from botconsole.sandbox import SandboxConfig, SandboxServer
from tests import feishu_events

EVENTS = 60
PAUSE_SECONDS = 0.25  # Feishu takes 5 messages a second in a chat
GOALS_MS = {"PostgreSQL": 100, "SQLite": 300}


def run() -> Section:
    with tempfile.TemporaryDirectory(prefix="botconsole-bench-") as folder:
        addresses = {
            "PostgreSQL": durable_postgres(),
            "SQLite": f"sqlite:///{Path(folder) / 'bench.sqlite3'}",
        }
        found = [row for name, url in addresses.items() for row in rows(name, measure(url))]
    how = f"{EVENTS} events, one at a time: granian with one worker, `run_worker`, the sandbox as Feishu."
    return Section("From the webhook's answer to the call at Feishu", how, found)


def rows(database: str, latencies_ms: list[float]) -> list[Row]:
    median, p99 = statistics.median(latencies_ms), percentile(latencies_ms, 0.99)
    goal = GOALS_MS[database]
    return [
        Row(
            f"{database}, median",
            f"{median:.0f} ms",
            f"< {goal} ms",
            median < goal,
        ),
        Row(
            f"{database}, p99",
            f"{p99:.0f} ms",
            f"< {2 * goal} ms",
            p99 < 2 * goal,
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
    with (
        SandboxServer(config) as feishu,
        console(database_url, feishu=feishu.url, web=1, workers=1) as (webhook, _),
    ):
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
