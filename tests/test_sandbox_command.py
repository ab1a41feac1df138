"""`manage.py sandbox` as a process: it starts, says so, ends cleanly, and names a taken port in one line."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.postgres import free_port
from tests.waiting import running

ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def start(*options: str) -> Iterator[subprocess.Popen[str]]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "DJANGO_SETTINGS_MODULE": "botconsole.settings",
        "ENV_FILE": os.devnull,
        "SECRET_KEY": "only-for-tests",
        "FEISHU_APP_ID": "cli_test",
        "FEISHU_APP_SECRET": "s3cret",
        "PUBLIC_URL": "http://127.0.0.1:9",
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, "-m", "django", "sandbox", *options]
    streams: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with running(subprocess.Popen(command, cwd=ROOT, env=environment, **streams)) as process:
        yield process


def test_it_says_where_it_is_logs_every_call_and_ends_on_sigterm_with_0() -> None:
    port = free_port()
    with start("--port", str(port)) as process:
        assert process.stdout is not None
        assert f"http://127.0.0.1:{port}/" in process.stdout.readline()
        assert "http://127.0.0.1:9/webhook/event/default" in process.stdout.readline()
        transport = httpx.HTTPTransport(retries=5)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", transport=transport, timeout=60) as client:
            client.get("/open-apis/bot/v3/info")
            client.post("/_sandbox/groups", json={"name": "g"})
            assert process.stdout.readline().startswith(
                "sandbox  call GET /open-apis/bot/v3/info -> 400 code 99991661"
            )
            assert process.stdout.readline().startswith("sandbox  push im.chat.member.bot.added_v1 ev_")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


def test_a_state_file_that_is_none_is_one_clear_line(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.write_text("this is no database, however long one looks at it" * 20)
    with start("--port", "0", "--state", str(state)) as process:
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.count("\n")) == (1, 1)
    assert "not a database" in errors


def test_a_taken_port_is_one_clear_line_and_exit_code_1() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with start("--port", str(port)) as process:
            _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.count("\n") == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in errors
