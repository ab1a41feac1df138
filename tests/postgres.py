"""A throw-away PostgreSQL server: its own directory and port, durable nowhere, gone when this process ends."""

import atexit
import ctypes
import os
import pwd
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psycopg

START_SECONDS = 90
_restarts: dict[str, Callable[[], None]] = {}
ROLE = "botconsole"
# Nothing survives a test run, so nothing needs to reach the disk.
OPTIONS = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "shared_buffers=64MB",
    "max_connections=200",
)


def start() -> str:
    """Starts the server and returns the address of its database; `TEST_DATABASE_URL` names one that runs already.

    It is left there for the processes that this one starts. The server ends with this process, however that ends.
    Processes among which pytest divides the tests have one each, which a test may restart.
    """
    of_the_whole_run = (
        os.environ.get("TEST_DATABASE_URL_IS_OURS") == "yes" and "PYTEST_XDIST_WORKER" in os.environ
    )
    if "TEST_DATABASE_URL" not in os.environ or (of_the_whole_run and not _restarts):
        os.environ["TEST_DATABASE_URL"] = start_server(OPTIONS)
        os.environ["TEST_DATABASE_URL_IS_OURS"] = "yes"
    return os.environ["TEST_DATABASE_URL"]


def start_server(options: Sequence[str]) -> str:
    """A server with these settings, that ends with this process; the address of its database."""
    binaries = _binaries()
    directory = Path(tempfile.mkdtemp(prefix="botconsole-pg-", dir="/tmp"))  # short: it holds the socket
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    password = secrets.token_urlsafe(16)
    (directory / "password").write_text(password)
    account = _account()
    for path in (directory, directory / "password"):
        if account:
            os.chown(path, account["user"], account["group"])
    _initialise(binaries, directory, account)
    server, port = _serve(binaries, directory, options, account, free_port())
    url = f"postgresql://{ROLE}:{password}@127.0.0.1:{port}/postgres"
    _wait(server, url, directory / "log")

    def restart() -> None:
        nonlocal server
        server.send_signal(signal.SIGINT)
        server.wait(START_SECONDS)
        server, _ = _serve(binaries, directory, options, account, port)
        _wait(server, url, directory / "log")

    _restarts[url] = restart
    return url


def restart() -> None:
    """Stops the tests' server as an administrator in a hurry does (everyone's connection is cut), and starts it."""
    _restarts[os.environ["TEST_DATABASE_URL"]]()


def _binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if on_path := shutil.which("initdb"):
        found.append(Path(on_path).resolve())
    if not found:
        sys.exit("PostgreSQL's server is missing: run make test, or apt-get install postgresql")
    return found[-1].parent


def _account() -> dict[str, Any]:
    """Whom the server runs as: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = names.get("postgres") or names["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _initialise(binaries: Path, directory: Path, account: dict[str, Any]) -> None:
    command = [str(binaries / "initdb"), "-D", str(directory / "data"), "-U", ROLE]
    command += [f"--pwfile={directory / 'password'}"]
    command += ["--auth=password", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, **account)
    if done.returncode:
        sys.exit(f"initdb failed:\n{done.stdout}{done.stderr}")


def _serve(
    binaries: Path, directory: Path, options: Sequence[str], account: dict[str, Any], port: int
) -> tuple["subprocess.Popen[bytes]", int]:
    command = [str(binaries / "postgres"), "-D", str(directory / "data"), "-k", str(directory)]
    command += ["-h", "127.0.0.1", "-p", str(port)]
    command += [word for option in options for word in ("-c", option)]
    with (directory / "log").open("ab") as log:
        server = subprocess.Popen(  # a session of its own: Ctrl-C is for pytest, which then stops it
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=_end_with_parent(),
            **account,
        )
    atexit.register(_stop, server, os.getpid())
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # tidies up as Ctrl-C does
    return server, port


def _end_with_parent() -> Callable[[], object] | None:
    """Even a killed pytest leaves no server behind: Linux signals the child when its parent dies."""
    if sys.platform != "linux":
        return None
    prctl, set_parent_death_signal = ctypes.CDLL(None).prctl, 1
    return lambda: prctl(set_parent_death_signal, signal.SIGQUIT)


def _wait(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < until:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    sys.exit(f"PostgreSQL did not start:\n{log.read_text(errors='replace')[-2000:]}")


def _stop(server: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() != owner:
        return  # a fork of the process that started it
    server.send_signal(signal.SIGQUIT)  # at once: there is nothing to save
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on, and that nobody gets by chance before it is used.

    That is why it is below those from which the system deals: other tests ask it for hundreds of them meanwhile.
    """
    while True:
        port = random.SystemRandom().randrange(15_000, 32_000)  # a test's seed is the same in all processes
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
