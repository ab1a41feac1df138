"""The listener in this process: which bots it serves, what it stores, what it tells of itself, when it ends."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.db import transaction

from botconsole.listener import Listener, Timing, route_names
from events.longconnection import Limits
from events.models import Bot, Connection, Event, Heartbeat, OutboxItem, Refusal
from templates.starters import make_starters
from tests import feishu_events
from tests.feishu_events import member_joined
from tests.longconnection_server import LongConnectionServer
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

LIMITS = Limits(ack=20, backoff=(0.01, 0.05))
TIMING = Timing(beat=0.1)


class Running:
    """A listener in a thread of its own; `reasons` is why it ended by itself."""

    def __init__(self, limits: Limits = LIMITS, timing: Timing = TIMING, slugs: tuple[str, ...] = ()) -> None:
        self.reasons: list[str] | None = None
        self._limits, self._timing, self._slugs = limits, timing, slugs
        self._ready = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._main(),))
        self._thread.start()
        assert self._ready.wait(60)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = Listener(self._slugs, limits=self._limits, timing=self._timing)
        self._ready.set()
        self.reasons = await self._listener.run()

    def wait_end(self) -> list[str] | None:
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.reasons

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._listener.stop)
        self.wait_end()

    def close_what_hung(self) -> None:
        for pool in (self._listener._pool, self._listener._desk):
            pool.shutdown()
        for connection in self._listener._opened:
            connection.close()


@pytest.fixture
def feishu(bot: Bot) -> Iterator[LongConnectionServer]:
    server = LongConnectionServer()
    bot.domain, bot.transport = server.domain, Bot.Transport.LONG_CONNECTION
    bot.save()
    yield server
    server.close()


@pytest.fixture
def listen(feishu: LongConnectionServer) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def listen(**options: Any) -> Running:
        running.append(Running(**options))
        return running[-1]

    yield listen
    for listener in running:
        listener.stop()


@pytest.fixture
def connected(feishu: LongConnectionServer, listen: Callable[..., Running]) -> Running:
    listener = listen()
    feishu.wait_for_client()
    return listener


def plain(**fields: Any) -> dict[str, Any]:
    return member_joined(token="", **fields)


# --- What it stores --------------------------------------------------------------------------------------
def test_an_event_is_stored_handled_and_acknowledged(
    bot: Bot, feishu: LongConnectionServer, connected: Running
) -> None:
    make_starters(bot)
    assert feishu.push(plain(event_id="ev_1")) == {"code": 200}
    event = Event.objects.get()
    assert (event.event_id, event.transport, event.status) == ("ev_1", "long_connection", "handled")
    assert OutboxItem.objects.count() == 1


def test_a_duplicate_is_counted(feishu: LongConnectionServer, connected: Running) -> None:
    for _ in range(2):
        feishu.push(plain(event_id="ev_1"))
    assert Event.objects.get().deliveries == 2


def test_an_encrypted_payload_is_opened(feishu: LongConnectionServer, connected: Running) -> None:
    text = feishu_events.encrypt(json.dumps(plain(event_id="ev_9")), feishu_events.ENCRYPT_KEY)
    assert feishu.push({"encrypt": text}) == {"code": 200}
    assert Event.objects.get().event_id == "ev_9"


@pytest.mark.parametrize("payload", [b"{", b"[]", b"\xff", b"{}", b'{"encrypt": "x"}'])
def test_a_payload_that_is_no_event_is_refused_with_a_reason_for_the_operator(
    feishu: LongConnectionServer, connected: Running, payload: bytes
) -> None:
    assert feishu.push(payload) == {"code": 500}
    assert Refusal.objects.get().remote_address == "long connection"
    assert feishu.push(plain()) == {"code": 200}


# --- Whom it serves --------------------------------------------------------------------------------------
def test_a_bot_on_the_webhook_is_not_listened_for_unless_it_is_named(
    bot: Bot, feishu: LongConnectionServer, listen: Callable[..., Running]
) -> None:
    Bot.objects.update(transport=Bot.Transport.WEBHOOK)
    listen()
    wait_until(lambda: Heartbeat.objects.filter(kind="listener").exists())
    assert feishu.connections == 0
    listen(slugs=(bot.slug,))
    feishu.wait_for_client()


def test_a_bot_that_takes_up_the_long_connection_is_noticed(
    feishu: LongConnectionServer, listen: Callable[..., Running]
) -> None:
    Bot.objects.update(transport=Bot.Transport.WEBHOOK)
    listen()
    wait_until(lambda: Heartbeat.objects.filter(kind="listener").exists())
    Bot.objects.update(transport=Bot.Transport.LONG_CONNECTION)
    feishu.wait_for_client()


def test_a_bot_that_is_disabled_is_left(feishu: LongConnectionServer, connected: Running) -> None:
    wait_until(Connection.objects.exists)
    Bot.objects.update(enabled=False)
    wait_until(lambda: not Connection.objects.exists())
    assert connected.reasons is None


def test_a_changed_secret_opens_a_new_connection(
    bot: Bot, feishu: LongConnectionServer, connected: Running
) -> None:
    bot.app_secret = "another"
    bot.save()
    wait_until(lambda: feishu.secrets[-1] == "another")
    assert connected.reasons is None


def test_a_store_app_is_never_listened_for(
    bot: Bot, feishu: LongConnectionServer, listen: Callable[..., Running]
) -> None:
    Bot.objects.update(app_type=Bot.AppType.STORE)
    listen()
    wait_until(lambda: Heartbeat.objects.filter(kind="listener").exists())
    assert feishu.connections == 0


# --- What it tells of itself ------------------------------------------------------------------------------
def test_its_connection_is_told_of_while_it_lives_and_not_afterwards(
    bot: Bot, feishu: LongConnectionServer, connected: Running
) -> None:
    feishu.push(plain())
    wait_until(
        lambda: Connection.objects.filter(events=1, frames__gte=2, connected_since__isnull=False).exists()
    )
    row = Connection.objects.get()
    assert (row.bot, row.routes, row.errors, row.state()) == (bot, route_names(), 0, "live")
    assert row.last_event_at
    connected.stop()
    assert not Connection.objects.exists()
    assert not Heartbeat.objects.exists()


def test_a_connection_that_broke_is_told_as_such(feishu: LongConnectionServer, connected: Running) -> None:
    feishu.refusal = {}
    feishu.drop()
    rows = Connection.objects.filter(connected_since=None, last_error="handshake refused: 403")
    wait_until(rows.exists)


# --- When it ends ----------------------------------------------------------------------------------------
def test_it_ends_when_the_only_bot_is_refused(feishu: LongConnectionServer, listen: Any) -> None:
    feishu.endpoint_answer = {"code": 514, "msg": "auth failed"}
    assert listen().wait_end() == ["bot default: Feishu refuses the app: 514 auth failed"]


def test_it_ends_when_nothing_was_heard_for_too_long(feishu: LongConnectionServer, listen: Any) -> None:
    feishu.mute = True
    limits = replace(LIMITS, silence=0.3, ping=0.1)
    (reason,) = listen(limits=limits, timing=replace(TIMING, useless=1)).wait_end()
    assert reason.startswith("bot default: nothing was heard from Feishu for")


def test_it_ends_when_the_app_secret_cannot_be_opened(
    feishu: LongConnectionServer, listen: Any, settings: Any
) -> None:
    settings.SEALING_KEYS = ["another key that is long enough for all"]
    (reason,) = listen().wait_end()
    assert "SEALING_KEYS" in reason


def test_it_ends_when_the_database_does_not_answer(feishu: LongConnectionServer, listen: Any) -> None:
    (reason,) = listen(timing=replace(TIMING, database=0, useless=0.3)).wait_end()
    assert reason.startswith("the database has not answered for")


def test_it_ends_when_the_events_of_a_bot_hang(bot: Bot, feishu: LongConnectionServer, listen: Any) -> None:
    timing = replace(TIMING, stuck=0.3, threads=0.1, database=0.2)
    listener = listen(limits=replace(LIMITS, ack=0.1), timing=timing)
    feishu.wait_for_client()
    with transaction.atomic():
        Bot.objects.select_for_update().get(pk=bot.pk)  # no event of this bot can be stored meanwhile
        for number in range(8):
            payload = json.dumps(plain(event_id=f"ev_{number}")).encode()
            feishu.send_frame(payload, type="event", message_id=f"m{number}", sum="1", seq="0")
        wait_until(lambda: listener.reasons == ["bot default: its events hang in their handlers"])
    listener.close_what_hung()


def test_one_bot_that_is_refused_leaves_the_other_receiving_and_is_tried_again_when_it_changes(
    feishu: LongConnectionServer, listen: Any
) -> None:
    other = LongConnectionServer()
    other.endpoint_answer = {"code": 514, "msg": "auth failed"}
    two = Bot.objects.create(
        name="two", slug="two", app_id="cli_2", app_secret="s", verification_token="v", domain=other.domain,
        transport=Bot.Transport.LONG_CONNECTION,
    )  # fmt: skip
    try:
        listener = listen()
        wait_until(lambda: Connection.objects.filter(last_error__contains="514").exists())
        feishu.wait_for_client()
        assert feishu.push(plain()) == {"code": 200}
        other.endpoint_answer = None
        two.app_secret = "right"
        two.save()
        other.wait_for_client()
        assert listener.reasons is None
    finally:
        other.close()
