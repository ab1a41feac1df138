"""How many events a second the webhook stores, beside the seeds' design and beside what the machine can do at all."""

import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg

from bench.report import Row, Section
from bench.servers import WEB_PROCESSES, console, durable_postgres, load, running
from tests import feishu_events, postgres

CONNECTIONS = 16
EVENTS = 12_000
FEW = 1_200  # for who answers some dozens a second
WARM_UP = 600
CHATS = [f"oc_{number}" for number in range(200)]
GRANIAN = (sys.executable, "-m", "granian", "--interface", "wsgi", "--workers", str(WEB_PROCESSES))
GUNICORN = (sys.executable, "-m", "gunicorn", "-k", "gthread", "--threads", "16", "-w", str(WEB_PROCESSES))

Measured = Mapping[str, float]


def run() -> Section:
    address = durable_postgres()
    flask = seed_design("stores_nothing", granian=True)
    flask_gunicorn = seed_design("stores_nothing", granian=False)
    with slow_api() as api:
        sending = seed_design("sends_inside", granian=True, events=FEW, env={"SEED_DESIGN_API": api})
    stored = ours(address, "ignored")
    greeted = ours(address, "greeted")
    with tempfile.TemporaryDirectory(prefix="botconsole-bench-") as folder:
        on_sqlite = ours(f"sqlite:///{Path(folder) / 'bench.sqlite3'}", "ignored")
    bare = seed_design("bare", granian=True)
    commits = single_row_commits(address)
    steady = ours(address, "greeted", events=4000, rate=200, workers=2)
    base = rate(flask)
    rows = [
        Row("bare WSGI “ok” on our server", figures(bare)),
        Row(f"single-row INSERT commits, {CONNECTIONS} connections, psycopg", f"{commits:.0f}/s"),
        Row("seeds' design, storing nothing, on our server", figures(flask)),
        Row("seeds' design, storing nothing, on gunicorn", figures(flask_gunicorn)),
        Row("seeds' design, sending inside the handler (50 ms API)", figures(sending)),
        Row("console, stored in PostgreSQL", figures(stored)),
        Row("console, stored in SQLite (WAL, FULL)", figures(on_sqlite)),
        Row("console, greeting (event and outbox row), PostgreSQL", figures(greeted)),
        ratio("stored : seeds' design on our server", rate(stored) / base, 1.0),
        ratio("stored : seeds' design on gunicorn", rate(stored) / rate(flask_gunicorn), 1.0),
        ratio("stored : sending inside the handler", rate(stored) / rate(sending), 20),
        ratio("greeting : seeds' design on our server", rate(greeted) / base, 0.7),
        ratio("greeting : seeds' design on gunicorn", rate(greeted) / rate(flask_gunicorn), 0.7),
        Row(
            "p99 of the answer at 200 events/s, 2 workers delivering",
            f"{steady['p99_ms']:.0f} ms",
            "< 1000 ms",
            steady["p99_ms"] < 1000,
        ),
    ]
    how = (
        f"{WEB_PROCESSES} web processes, {CONNECTIONS} kept connections, distinct events, signed and encrypted, from a"
        " load generator in a process of its own. PostgreSQL with fsync and synchronous_commit on; rows stored ="
        " events acknowledged, checked after each run. Events/s, with the median and p99 of the answer."
    )
    return Section("Webhook", how, rows)


def rate(measured: Measured) -> float:
    return measured["ok"] / measured["seconds"]


def figures(measured: Measured) -> str:
    return f"{rate(measured):.0f}/s ({measured['p50_ms']:.1f}, {measured['p99_ms']:.0f} ms)"


def ratio(what: str, value: float, goal: float) -> Row:
    return Row(what, f"{value:.2f}" if value < 10 else f"{value:.0f}", f">= {goal:g}", value >= goal)


def ours(
    database_url: str, kind: str, *, events: int = EVENTS, rate: float = 0, workers: int = 0
) -> Measured:
    """The console's webhook on that database; raises RuntimeError if one acknowledged event is not stored."""
    with console(database_url, workers=workers) as (webhook, count):
        load(webhook, events=WARM_UP, kind=kind, chats=CHATS)
        before = count()
        measured = load(webhook, events=events, kind=kind, chats=CHATS, connections=CONNECTIONS, rate=rate)
        if not measured["ok"] == measured["sent"] == count() - before:
            raise RuntimeError(f"{measured} but {count() - before} rows")
    return measured


def seed_design(
    name: str, *, granian: bool, events: int = EVENTS, env: Mapping[str, str] | None = None
) -> Measured:
    """One of bench.seed_design, on the console's server or on gunicorn."""
    port = postgres.free_port()
    factory = name != "bare"
    if granian:
        options = ("--blocking-threads", "16", "--port", str(port), "--log-level", "error")
        command = (*GRANIAN, *options, *(("--factory",) if factory else ()), f"bench.seed_design:{name}")
    else:
        command = (
            *GUNICORN,
            "-b",
            f"127.0.0.1:{port}",
            "--log-level",
            "error",
            f"bench.seed_design:{name}()",
        )
    address = f"http://127.0.0.1:{port}"
    with running(*command, env={**os.environ, **(env or {})}, ready=f"{address}/"):
        load(f"{address}/webhook/event", events=min(WARM_UP, events), kind="greeted")
        measured = load(f"{address}/webhook/event", events=events, kind="greeted", connections=CONNECTIONS)
    if measured["ok"] != measured["sent"]:
        raise RuntimeError(f"{name}: {measured}")
    return measured


@contextmanager
def slow_api() -> Iterator[str]:
    """A Feishu that takes 50 ms for a message."""
    port = postgres.free_port()
    command = (
        sys.executable,
        "-m",
        "uvicorn",
        "--port",
        str(port),
        "--log-level",
        "error",
        "bench.seed_design:slow_api",
    )
    with running(*command, ready=f"http://127.0.0.1:{port}/"):
        yield f"http://127.0.0.1:{port}"


def single_row_commits(address: str, seconds: float = 5) -> float:
    """Commits a second of one row of an event's size, from as many connections as the load has."""
    body = feishu_events.sealed(feishu_events.member_joined(), feishu_events.ENCRYPT_KEY)[0].decode()
    with psycopg.connect(address, autocommit=True) as admin:
        admin.execute("CREATE TABLE IF NOT EXISTS bench_row (id bigserial PRIMARY KEY, body text)")
    counts = [0] * CONNECTIONS
    until = time.monotonic() + seconds

    def insert(number: int) -> None:
        with psycopg.connect(address, autocommit=True) as connection:
            while time.monotonic() < until:
                connection.execute("INSERT INTO bench_row (body) VALUES (%s)", [body])
                counts[number] += 1

    threads = [threading.Thread(target=insert, args=(number,)) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds
