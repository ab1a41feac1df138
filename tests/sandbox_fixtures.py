"""Fixtures of sandbox_world.py: the sandbox with an app and a person, with a client of its API, or in Chromium."""

from collections.abc import Iterator
from typing import Any

import pytest

from botconsole.sandbox import SandboxConfig, SandboxServer
from tests.sandbox_world import App, Feishu, Person, acting, calling, settings, visit


@pytest.fixture
def app() -> Iterator[App]:
    app = App()
    yield app
    app.close()


@pytest.fixture
def person(app: App) -> Iterator[Person]:
    """Somebody at the page of an empty sandbox that pushes to `app`, signed and encrypted."""
    with acting(settings(app.url)) as person:
        yield person


@pytest.fixture
def fresh() -> Iterator[Feishu]:
    """A sandbox of one's own, with its limits on."""
    with calling(seed=False) as feishu:
        yield feishu


# in the browser


@pytest.fixture
def seeded(app: App) -> Iterator[SandboxServer]:
    """A sandbox with its invented people and groups, as one who starts it finds it."""
    config = SandboxConfig("cli_test", "s", encrypt_key="test key", webhook_url=app.url, port=0)
    with SandboxServer(config) as sandbox:
        yield sandbox


@pytest.fixture
def screen(browser: Any, seeded: SandboxServer) -> Iterator[Any]:
    """The sandbox's page; the test fails if the browser had anything to complain about."""
    screen = visit(browser, seeded)
    yield screen
    assert screen.wrong == []
    screen.context.close()


@pytest.fixture
def room(seeded: SandboxServer) -> Iterator[tuple[Person, str]]:
    """The first group of the page, and somebody who can do things to it by HTTP."""
    person = Person(seeded)
    yield person, person.http.get("/groups").json()["items"][0]["chat_id"]
    person.http.close()
