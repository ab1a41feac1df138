"""Ten thousand welcomes over 500 chats, against a Feishu that enforces its limits, and an incident in the middle."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack

import requests

from bench.report import Row, Section
from bench.servers import ROOT, durable_postgres, running, set_up
from botconsole.sandbox import SandboxConfig, SandboxServer
from tests import feishu_events

WELCOMES, CHATS, WORKERS = int(os.environ.get("BENCH_WELCOMES", "10000")), 500, 2
PER_SECOND, PER_MINUTE = 50, 1000
INCIDENT_AFTER_SECONDS = 12
TOO_OFTEN = (99991400, 230020)


def run() -> Section:
    watch = Watch()
    config = SandboxConfig(
        app_id=feishu_events.APP_ID,
        app_secret=feishu_events.APP_SECRET,
        verification_token=feishu_events.VERIFICATION_TOKEN,
        encrypt_key=feishu_events.ENCRYPT_KEY,
        port=0,
        echo=watch.note,
    )
    with SandboxServer(config) as feishu:
        groups = [
            requests.post(f"{feishu.url}/_sandbox/groups", json={"name": f"g{number}"}, timeout=10).json()[
                "chat_id"
            ]
            for number in range(CHATS + 1)
        ]
        seconds, waited = _drain(feishu, watch, groups)
    least = least_seconds(WELCOMES + 1)
    rows = [
        Row("least time that the limits allow", f"{least:.1f} s"),
        Row("time taken", f"{seconds:.1f} s"),
        Row("ratio", f"{seconds / least:.3f}", "<= 1.10", seconds / least <= 1.10),
        Row("messages at Feishu, each once", f"{watch.sent}", f"{WELCOMES + 1}", watch.sent == WELCOMES + 1),
        Row("answers “too often” (429, 230020)", f"{watch.refused}", "0", watch.refused == 0),
        Row(
            "an incident's card entered in the middle, until it was sent",
            f"{waited:.2f} s",
            "< 1 s",
            waited < 1,
        ),
    ]
    how = (
        f"{WELCOMES} welcomes over {CHATS} chats, {WORKERS} workers, PostgreSQL, the sandbox with its limits on:"
        f" {PER_SECOND} calls a second and {PER_MINUTE} a minute, 5 messages a second a chat."
    )
    return Section("Draining a flood", how, rows)


def least_seconds(calls: int) -> float:
    """A full minute's calls at full speed, then the rest of the minute is waited for."""
    whole, rest = divmod(calls - 1, PER_MINUTE)
    return whole * 60 + rest / PER_SECOND


class Watch:
    """Counts what the sandbox answered, from the lines it prints."""

    def __init__(self) -> None:
        self.sent = self.refused = 0
        self.first_at = self.last_at = 0.0

    def note(self, line: str) -> None:
        if "POST /open-apis/im/v1/messages ->" not in line:
            return
        if "code 0 " in line:
            self.sent, self.last_at = self.sent + 1, time.time()
            self.first_at = self.first_at or self.last_at
        self.refused += any(f"code {code} " in line for code in TOO_OFTEN)

    def until(self, holds: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.sent} messages were sent")
            time.sleep(0.02)


def _drain(feishu: SandboxServer, watch: Watch, groups: list[str]) -> tuple[float, float]:
    """Seconds for all, and seconds until the incident's card was there."""
    env = set_up(durable_postgres(), feishu=feishu.url)
    command = [sys.executable, "-m", "bench.probes.flood", str(WELCOMES), *groups]
    work = (sys.executable, "manage.py", "run_worker")
    with subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as queue:
        assert queue.stdin is not None
        assert queue.stdout is not None
        queue.stdout.readline()
        with ExitStack() as processes:
            for _ in range(WORKERS):
                processes.enter_context(running(*work, env=env))
            watch.until(lambda: watch.sent > 0, 60)
            time.sleep(INCIDENT_AFTER_SECONDS)
            queue.stdin.write(b"\n")
            queue.stdin.flush()
            queue.stdout.readline()
            entered = time.time()
            watch.until(lambda: _has_incident(feishu.url, groups[-1]), 120)
            waited = time.time() - entered
            watch.until(lambda: watch.sent > WELCOMES, least_seconds(WELCOMES) * 2 + 120)
            time.sleep(2)  # a second copy would come now
    return watch.last_at - watch.first_at, waited


def _has_incident(feishu: str, chat_id: str) -> bool:
    return "INCIDENT" in requests.get(f"{feishu}/_sandbox/groups/{chat_id}/messages", timeout=10).text
