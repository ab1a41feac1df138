"""What all tests share: the database they run on, a bot, a push from Feishu, a local Feishu, Chromium."""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import httpx
import pytest
from django.db import connections
from django.http import HttpResponse
from django.test import Client

from tests import feishu_events

NOWHERE = "http://127.0.0.1:9"  # no test may reach the real Feishu by accident
BROWSER_MS = 60_000  # for what takes a second while the machine has nothing else to do
CHROMIUM_FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class UnderWay:
    """A WSGI application that knows how many requests it is answering."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self.application = application
        self._change = threading.Condition()
        self._count = 0

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        self._add(1)
        try:
            answer = self.application(environ, start_response)
            try:
                yield from answer
            finally:
                if close := getattr(answer, "close", None):
                    close()
        finally:
            self._add(-1)

    def _add(self, number: int) -> None:
        with self._change:
            self._count += number
            self._change.notify_all()

    def ends(self, seconds: float = 20) -> bool:
        with self._change:
            return self._change.wait_for(lambda: not self._count, seconds)


# --- The run --------------------------------------------------------------------------------------------
def pytest_configure() -> None:
    """A run in the background of a shell ignores Ctrl-C, and so would the processes it starts and interrupts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    return f"database: {connections['default'].vendor}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked `postgres` are run by the PostgreSQL run; elsewhere they are counted as deselected."""
    if connections["default"].vendor == "postgresql":
        return
    elsewhere = [item for item in items if item.get_closest_marker("postgres")]
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if not item.get_closest_marker("postgres")]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A skipped test is one that nobody runs: it fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.write_line(
            f"\n{len(skipped)} skipped: a missing program is a failure here, not a skip", red=True
        )


@pytest.fixture(scope="session", autouse=True)
def _time_enough() -> Iterator[None]:
    """What a second decides, load decides: within this process, limits and pauses in real seconds are long.

    The sandbox waits for the app's answers, but for tests that take `a_punctual_feishu`; a call that failed is not
    tried again while the test looks at what became of it (`hurry()` makes it due); a commit waits for its turn; what
    does as much as fits into a moment does all of it.
    """
    from botconsole.sandbox import connections, posting, server, webhook
    from events import attempts, circuit, dispatch, eventlist, replay
    from events.groupcommit import GroupCommit

    with pytest.MonkeyPatch.context() as patch:
        for module in (connections, webhook):
            patch.setattr(module, "ANSWER_SECONDS", 60)
        patch.setattr(webhook, "CHALLENGE_SECONDS", 60)
        patch.setattr(posting, "CONNECT_SECONDS", 60)
        patch.setattr(server, "START_SECONDS", 60)
        patch.setattr(attempts, "RETRY_SECONDS", [60 + wait for wait in attempts.RETRY_SECONDS])
        patch.setattr(eventlist, "READ_SECONDS", 60)
        patch.setattr(replay, "SECONDS_AT_ONCE", 60)
        patch.setattr(circuit, "PROBE_SECONDS", [60 + wait for wait in circuit.PROBE_SECONDS])
        for commit in (one for one in vars(dispatch).values() if isinstance(one, GroupCommit)):
            patch.setattr(commit, "_wait_seconds", 60)
        yield


@pytest.fixture
def a_punctual_feishu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The platform's own limits: three seconds for an answer, one for a challenge."""
    from botconsole.sandbox import connections, webhook

    monkeypatch.setattr(webhook, "ANSWER_SECONDS", 3)
    monkeypatch.setattr(webhook, "CHALLENGE_SECONDS", 1)
    monkeypatch.setattr(connections, "ANSWER_SECONDS", 3)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    tmp_path_factory: pytest.TempPathFactory, django_db_modify_db_settings_parallel_suffix: None
) -> None:
    """SQLite as operators have it, in a file: threads and processes meet there as they do in production."""
    default = connections["default"]
    if default.vendor == "sqlite":
        default.settings_dict["TEST"]["NAME"] = str(tmp_path_factory.mktemp("database") / "test.sqlite3")


@pytest.fixture
def process_env(transactional_db: None) -> dict[str, str]:
    """The environment in which `manage.py` works on the test's database in a process of its own."""
    settings = connections["default"].settings_dict
    if connections["default"].vendor == "sqlite":
        url = f"sqlite:///{settings['NAME']}"
    else:
        url = "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**settings)
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "DJANGO_SETTINGS_MODULE": "botconsole.settings",
        "ENV_FILE": os.devnull,
        "SECRET_KEY": "only-for-tests",
        "DATABASE_URL": url,
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture(autouse=True)
def _answered(request: pytest.FixtureRequest) -> Iterator[None]:
    """A request that the test left under way ends before the database is emptied: the two would lock each other."""
    if "live_server" not in request.fixturenames:
        yield
        return
    request.getfixturevalue("transactional_db")
    httpd = request.getfixturevalue("live_server").thread.httpd
    under_way = UnderWay(httpd.get_app())
    httpd.set_app(under_way)
    yield
    # Connections are taken in turn: once this one is answered, all that came before it have been taken.
    httpx.get(f"http://127.0.0.1:{httpd.server_port}/healthz", trust_env=False, timeout=60)
    assert under_way.ends(), "a request to the console is still under way, 20 s after its test"
    httpd.set_app(under_way.application)


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    """What pages keep for some seconds is of the test before."""
    from django.core.cache import cache

    cache.clear()


# --- A bot, and Feishu pushing to it ---------------------------------------------------------------------
@pytest.fixture
def bot(db: None) -> Any:
    from events.models import Bot

    return Bot.objects.create(
        name="OpsBot",
        slug="default",
        app_id=feishu_events.APP_ID,
        domain=NOWHERE,
        app_secret=feishu_events.APP_SECRET,
        verification_token=feishu_events.VERIFICATION_TOKEN,
        encrypt_key=feishu_events.ENCRYPT_KEY,
    )


class Push(Protocol):
    def __call__(
        self,
        bot: Any,
        body: dict[str, Any],
        *,
        encrypt: bool = True,
        sign: bool = True,
        now: float | None = None,
        client: Client | None = None,
        key: str | None = None,
        path: str | None = None,
    ) -> HttpResponse: ...


@pytest.fixture
def push(client: Client) -> Push:
    """Feishu pushes: `push(bot, body)` seals the body with the bot's key (or `key`) and returns the answer.

    `now` is the Unix time in the signature; a bot without an Encrypt Key gets plain, unsigned bodies.
    """
    default_client = client

    def push(
        bot: Any,
        body: dict[str, Any],
        *,
        encrypt: bool = True,
        sign: bool = True,
        now: float | None = None,
        client: Client | None = None,
        key: str | None = None,
        path: str | None = None,
    ) -> HttpResponse:
        key = bot.encrypt_key.reveal() if key is None else key
        raw, headers = feishu_events.sealed(
            body, key, encrypted=encrypt and bool(key), signed=sign and bool(key), now=now
        )
        return (client or default_client).post(
            path or f"/webhook/event/{bot.slug}",
            raw,
            content_type="application/json;charset=utf-8",
            headers=headers,
        )

    return push


@pytest.fixture
def sandbox(bot: Any) -> Iterator[Any]:
    """A local Feishu that knows the bot's app, on a free port; the bot is pointed at it.

    It pushes nothing until the test says where to: `sandbox.set_webhook(live_server.url + "/webhook/event/default")`.
    """
    from botconsole.sandbox import SandboxConfig, SandboxServer

    config = SandboxConfig(
        app_id=bot.app_id,
        app_secret=bot.app_secret.reveal(),
        verification_token=bot.verification_token.reveal(),
        encrypt_key=bot.encrypt_key.reveal(),
        port=0,
    )
    with SandboxServer(config) as server:
        bot.domain = server.url
        bot.save(update_fields=["domain"])
        yield server


# --- Chromium (the `page` fixture of pytest-playwright uses these) -----------------------------------------
@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    """Debian's Chromium: no download, no sandbox as root, no talk with the outside."""
    from playwright.sync_api import expect

    # Playwright's event loop stays in this thread; Django's ORM would take every later test for async code.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    expect.set_options(timeout=BROWSER_MS)
    flags = [*CHROMIUM_FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    return {"executable_path": "/usr/bin/chromium", "headless": True, "args": flags}


@pytest.fixture
def context(context: Any) -> Any:
    context.set_default_timeout(BROWSER_MS)
    return context


@pytest.fixture(scope="session")
def browser_context_args() -> dict[str, Any]:
    return {"locale": "zh-CN", "timezone_id": "Asia/Shanghai", "viewport": {"width": 1280, "height": 900}}
