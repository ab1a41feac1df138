"""`manage.py listen` as a process: events over the long connection, through the same door as the webhook."""

import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from events.models import Bot, Event, Heartbeat, OutboxItem
from templates.starters import make_starters
from tests import feishu_events
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
    bot.domain = feishu.domain
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


def test_an_event_is_stored_handled_and_acknowledged(
    bot: Bot, feishu: LongConnectionServer, connected: Any
) -> None:
    make_starters(bot)
    assert feishu.push(plain(event_id="ev_1")) == {"code": 200}
    event = Event.objects.get()
    assert (event.event_id, event.transport, event.status) == (
        "ev_1",
        "long_connection",
        Event.Status.HANDLED,
    )
    assert OutboxItem.objects.count() == 1


def test_a_duplicate_over_the_long_connection_is_counted(
    feishu: LongConnectionServer, connected: Any
) -> None:
    for _ in range(2):
        feishu.push(plain(event_id="ev_1"))
    assert Event.objects.get().deliveries == 2


def test_fragments_in_any_order_are_put_together(feishu: LongConnectionServer, connected: Any) -> None:
    assert feishu.push(plain(event_id="ev_1"), fragments=3) == {"code": 200}
    assert Event.objects.get().event_id == "ev_1"


def test_a_card_frame_is_acknowledged_too(feishu: LongConnectionServer, connected: Any) -> None:
    assert feishu.push(plain(), kind="card") == {"code": 200}


def test_an_encrypted_payload_is_opened(feishu: LongConnectionServer, connected: Any) -> None:
    text = feishu_events.encrypt(json.dumps(plain(event_id="ev_9")), feishu_events.ENCRYPT_KEY)
    assert feishu.push({"encrypt": text}) == {"code": 200}
    assert Event.objects.get().event_id == "ev_9"


@pytest.mark.parametrize("payload", [b"{", b"[]", b"\xff", b"{}"])
def test_a_payload_that_is_no_event_is_refused_and_the_listener_lives(
    feishu: LongConnectionServer, connected: Any, payload: bytes
) -> None:
    assert feishu.push(payload) == {"code": 500}
    assert feishu.push(plain()) == {"code": 200}


def test_a_frame_that_is_garbage_is_dropped_and_the_listener_lives(
    feishu: LongConnectionServer, connected: Any
) -> None:
    feishu.send_raw(b"\xff\xff\xff garbage")
    assert feishu.push(plain()) == {"code": 200}


def test_the_first_ping_comes_right_after_the_connection(
    feishu: LongConnectionServer, connected: Any
) -> None:
    feishu.push(plain())
    assert feishu.pings == 1


def test_a_broken_connection_is_opened_again(feishu: LongConnectionServer, connected: Any) -> None:
    feishu.drop()
    feishu.wait_for_client()
    assert feishu.push(plain()) == {"code": 200}


def test_sigterm_ends_it_cleanly_and_no_secret_was_logged(
    feishu: LongConnectionServer, connected: Any
) -> None:
    feishu.push(plain())
    feishu.drop()
    feishu.wait_for_client()
    connected.send_signal(signal.SIGTERM)
    output, _ = connected.communicate(timeout=10)
    assert connected.returncode == 0, output
    assert "SECRET" not in output


def test_it_is_seen_alive(feishu: LongConnectionServer, connected: Any) -> None:
    deadline = time.monotonic() + 5
    while not Heartbeat.objects.filter(kind="listener").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_wrong_credentials_end_it_with_a_reason(
    bot: Bot, feishu: LongConnectionServer, listener: subprocess.Popen[str]
) -> None:
    feishu.endpoint_answer = {"code": 514, "msg": "auth failed"}
    output, _ = listener.communicate(timeout=30)
    assert listener.returncode == 1
    assert output.strip().endswith("Feishu refuses the app: 514 auth failed")


def test_the_51st_connection_ends_with_a_reason(feishu: LongConnectionServer, listener: Any) -> None:
    feishu.refusal = {
        "Handshake-Status": "514",
        "Handshake-Msg": "too many",
        "Handshake-Autherrcode": "1000040350",
    }
    output, _ = listener.communicate(timeout=30)
    assert listener.returncode == 1
    assert "50 connections" in output


@pytest.fixture
def refused_bot(bot: Bot) -> Iterator[Bot]:
    """A second bot, whose app Feishu does not let in."""
    server = LongConnectionServer()
    server.endpoint_answer = {"code": 514, "msg": "auth failed"}
    yield Bot.objects.create(
        name="two", slug="two", app_id="cli_2", app_secret="s", verification_token="v", domain=server.domain
    )
    server.close()


def test_one_bot_that_is_refused_leaves_the_other_receiving(
    refused_bot: Bot, feishu: LongConnectionServer, connected: subprocess.Popen[str]
) -> None:
    said = ""
    while "bot two is deaf" not in said:
        said = (connected.stdout or io.StringIO()).readline()
        assert said, "the listener ended"
    assert feishu.push(plain(event_id="ev_1")) == {"code": 200}
    assert connected.poll() is None
    assert Event.objects.get().event_id == "ev_1"
