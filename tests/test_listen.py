"""`manage.py listen` as a process: events over the long connection, through the same door as the webhook."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils.translation import override

from events.models import Bot
from tests.feishu_events import member_joined
from tests.longconnection_server import LongConnectionServer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def feishu() -> Iterator[LongConnectionServer]:
    server = LongConnectionServer()
    yield server
    server.close()


@pytest.fixture
def listener(
    bot: Bot, feishu: LongConnectionServer, process_env: dict[str, str]
) -> Iterator[subprocess.Popen[str]]:
    bot.domain, bot.transport = feishu.domain, "long_connection"
    bot.save()
    process = subprocess.Popen(
        [sys.executable, "manage.py", "listen"],
        env=process_env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def connected(listener: subprocess.Popen[str], feishu: LongConnectionServer) -> subprocess.Popen[str]:
    feishu.wait_for_client()
    return listener


def plain(**fields: Any) -> dict[str, Any]:
    return member_joined(token="", **fields)


def test_sigterm_ends_it_cleanly_and_no_secret_was_logged(
    feishu: LongConnectionServer, connected: Any
) -> None:
    feishu.push(plain())
    feishu.drop()
    feishu.wait_for_client()
    connected.send_signal(signal.SIGTERM)
    output, _ = connected.communicate(timeout=60)
    assert connected.returncode == 0, output
    assert "SECRET" not in output


def test_wrong_credentials_end_it_with_a_reason(
    bot: Bot, feishu: LongConnectionServer, listener: subprocess.Popen[str]
) -> None:
    feishu.endpoint_answer = {"code": 514, "msg": "auth failed"}
    output, _ = listener.communicate(timeout=60)
    assert listener.returncode == 1
    assert output.strip().endswith("Feishu refuses the app: 514 auth failed")


@pytest.mark.parametrize(
    ("columns", "arguments", "words"),
    [
        ({}, ["nobody"], "There is no bot nobody"),
        ({"enabled": False}, ["default"], "bot default is disabled"),
        ({"app_type": "store"}, ["default"], "no long connection for store apps"),
    ],
)
def test_a_bot_that_cannot_be_listened_for_is_refused_with_a_reason(
    bot: Bot, columns: dict[str, Any], arguments: list[str], words: str
) -> None:
    Bot.objects.update(**columns)
    with override("en"), pytest.raises(CommandError, match=words):
        call_command("listen", bot=arguments)
