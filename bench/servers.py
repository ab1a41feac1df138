"""The processes that are measured: PostgreSQL as it is run in production, the console, the seeds' Flask design."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

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


def manage(env: Mapping[str, str], *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, env=env, check=True, stdout=subprocess.DEVNULL
    )


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
) -> Iterator[str]:
    """Web processes and workers on a migrated database with one bot; gives the bot's request URL."""
    port = postgres.free_port()
    env = console_env(database_url, feishu=feishu, port=port)
    manage(env, "migrate")
    manage(env, "setup_bot")
    python = sys.executable
    serve = (python, "manage.py", "serve", "--port", str(port), "--workers", str(web))
    address = f"http://127.0.0.1:{port}"
    probe = "/readyz" if workers else "/healthz"
    with running(*serve, env=env):
        started = [
            subprocess.Popen((python, "manage.py", "run_worker"), cwd=ROOT, env=env) for _ in range(workers)
        ]
        try:
            _wait(address + probe)
            yield f"{address}/webhook/event/default"
        finally:
            for worker in started:
                worker.terminate()
            for worker in started:
                worker.wait(45)


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
