"""The processes that are measured: PostgreSQL as it is run in production, the console, the seeds' Flask design."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psycopg
import requests

from tests import feishu_events, postgres

ROOT = Path(__file__).resolve().parent.parent
# What is committed is on the disk before it is acknowledged.
DURABLE = (
    "fsync=on",
    "synchronous_commit=on",
    "full_page_writes=on",
    "shared_buffers=256MB",
    "max_connections=200",
)
WEB_PROCESSES = 2


def console_env(database_url: str, *, feishu: str = "http://127.0.0.1:9", port: int = 0) -> dict[str, str]:
    """The environment of `manage.py` on that database, with the test bot's credentials."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "botconsole.settings",
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


def set_up(database_url: str, *, feishu: str = "http://127.0.0.1:9", port: int = 0) -> dict[str, str]:
    """Migrates a database and gives it one bot; the environment of `manage.py` on it."""
    env = console_env(database_url, feishu=feishu, port=port)
    manage(env, "migrate")
    manage(env, "setup_bot")
    return env


def manage(env: Mapping[str, str], *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, env=env, check=True, stdout=subprocess.DEVNULL
    )


def probe(env: Mapping[str, str], name: str, *arguments: object) -> str:
    """What one of bench.probes printed."""
    command = [sys.executable, "-m", f"bench.probes.{name}", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout


@contextmanager
def running(
    *command: str, env: Mapping[str, str] | None = None, ready: str = ""
) -> Iterator[subprocess.Popen[bytes]]:
    """A process, waited for until `ready` answers, ended afterwards."""
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
    try:
        if ready:
            _wait(ready, process)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def console(
    database_url: str, *, feishu: str = "http://127.0.0.1:9", web: int = WEB_PROCESSES, workers: int = 0
) -> Iterator[tuple[str, Callable[[], int]]]:
    """Web processes and workers on a migrated database with one bot.

    Gives the bot's request URL, and what counts the events that are stored.
    """
    port = postgres.free_port()
    env = set_up(database_url, feishu=feishu, port=port)
    serve = (sys.executable, "manage.py", "serve", "--port", str(port), "--workers", str(web))
    work = (sys.executable, "manage.py", "run_worker")
    address = f"http://127.0.0.1:{port}"
    with ExitStack() as processes:
        processes.enter_context(running(*serve, env=env))
        for _ in range(workers):
            processes.enter_context(running(*work, env=env))
        _wait(address + ("/readyz" if workers else "/healthz"))
        yield f"{address}/webhook/event/default", lambda: _count_events(database_url)


def _count_events(database_url: str) -> int:
    question = "SELECT count(*) FROM events_event"
    if database_url.startswith("sqlite"):
        with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as connection:
            return int(connection.execute(question).fetchone()[0])
    with psycopg.connect(database_url) as connection:
        return int(connection.execute(question).fetchone()[0])  # type: ignore[index]


def first_rows(env: Mapping[str, str]) -> tuple[int, int]:
    """The keys of an event and of an item of the outbox, for `copy_row`."""
    event, item = probe(env, "first_rows").split()
    return int(event), int(item)


def load(url: str, **options: object) -> dict[str, float]:
    """What `bench.load` measured; its process is not the one that measures."""
    words = [word for name, value in options.items() for word in (f"--{name}", *_words(value))]
    done = subprocess.run(
        [sys.executable, "-m", "bench.load", url, *words],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def _words(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def durable_postgres() -> str:
    """A server of its own that keeps what it acknowledges; the throw-away one of the tests keeps nothing."""
    return postgres.start_server(DURABLE)


def _wait(url: str, process: subprocess.Popen[bytes] | None = None) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        try:
            if requests.get(url, timeout=2).status_code < 500:
                return
        except requests.RequestException:
            pass
        time.sleep(0.2)
    raise TimeoutError(f"{url} is not ready")
