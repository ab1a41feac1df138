"""The fixture `feishu_sandbox` for any bot's tests: `pytest_plugins = ["botconsole.sandbox.pytest_plugin"]`."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from botconsole.sandbox.config import SandboxConfig
from botconsole.sandbox.server import SandboxServer

STEP_SECONDS, ANSWER_SECONDS = 0.02, 30


class FeishuSandbox:
    """A running sandbox: `url` is what the bot takes for Feishu, `post`, `get` and `delete` act as people."""

    def __init__(self, server: SandboxServer) -> None:
        self.server, self.config, self.url = server, server.config, server.url

    def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """One of the calls in docs/sandbox.md (`/groups`); a refusal is an AssertionError that says why."""
        text = None if body is None else json.dumps(body)
        line = HTTPConnection(urlsplit(self.url).netloc, timeout=ANSWER_SECONDS)
        with contextlib.closing(line):
            line.request(method, quote(f"/_sandbox{path}", safe="/?&=%"), text)
            answer = line.getresponse()
            told: dict[str, Any] = json.loads(answer.read())
        if answer.status >= 400:
            raise AssertionError(f"{method} {path}: {told.get('error')}")
        return told

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        return self.call("POST", path, body)

    def get(self, path: str) -> dict[str, Any]:
        return self.call("GET", path)

    def delete(self, path: str) -> dict[str, Any]:
        return self.call("DELETE", path)

    def set_webhook(self, url: str) -> None:
        """Points the pushes at the bot, without the challenge that `post("/webhook", url=...)` sends."""
        self.server.set_webhook(url)

    def until(self, condition: Callable[[], Any], seconds: float = 10) -> Any:
        """Waits until the condition holds, and returns what it said."""
        end = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > end:
                raise AssertionError(f"it did not happen within {seconds:g} s")
            time.sleep(STEP_SECONDS)
        return found


@pytest.fixture
def feishu_sandbox_config() -> SandboxConfig:
    """How the sandbox of a test is set up; a test suite that wants another one overrides this fixture."""
    return SandboxConfig(
        app_id="cli_sandbox",
        app_secret="sandbox-secret",  # noqa: S106 (of an app that exists in no other place)
        verification_token="sandbox-token",  # noqa: S106
        encrypt_key="sandbox-encrypt-key",
        port=0,
    )


@pytest.fixture
def feishu_sandbox(feishu_sandbox_config: SandboxConfig) -> Iterator[FeishuSandbox]:
    """A Feishu of its own for each test, on a free port, with nothing of another test in it."""
    with SandboxServer(feishu_sandbox_config) as server:
        yield FeishuSandbox(server)
