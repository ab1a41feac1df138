"""What a process of each kind holds for itself, after work."""

import subprocess
import sys
import time
from pathlib import Path

from bench.report import Row, Section
from bench.servers import console, console_env, durable_postgres, load, running

GOAL_MB = 70
SETTLE_SECONDS = 15


def run() -> Section:
    address = durable_postgres()
    with console(address, web=2, workers=0) as (webhook, _):
        load(webhook, events=2000, kind="greeted")
        web = max(unique_megabytes(pid) for pid in _children_of("manage.py serve"))
        with running(sys.executable, "manage.py", "run_worker", env=console_env(address)) as worker:
            time.sleep(SETTLE_SECONDS)
            working = unique_megabytes(worker.pid)
    rows = [
        Row("web process, after 2,000 events", f"{web:.0f} MB", f"<= {GOAL_MB} MB", web <= GOAL_MB),
        Row("worker (holds the SDK)", f"{working:.0f} MB"),
    ]
    return Section("Memory", "Unique set size (what ending the process would free), from smaps_rollup.", rows)


def unique_megabytes(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kilobytes = sum(
        int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty"))
    )
    return kilobytes / 1024


def _children_of(command: str) -> list[int]:
    """The web processes that the server has started."""
    found = subprocess.run(
        ["pgrep", "-f", command], capture_output=True, text=True, check=True
    ).stdout.split()
    children = [Path(f"/proc/{pid}/task/{pid}/children").read_text().split() for pid in found]
    return [int(child) for group in children for child in group if child not in found] or [
        int(pid) for pid in found
    ]
