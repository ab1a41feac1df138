"""The long connection by itself, against a Feishu that speaks nonsense, or not at all: no database, short limits."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from events.longconnection import Limits, LongConnection, RefusedConnectionError
from tests.longconnection_server import LongConnectionServer, reply_of
from tests.waiting import wait_until

QUICK = Limits(ack=1, endpoint=0.3, handshake=0.3, send=1, close=0.2, silence=0.6, ping=0.1, backoff=(0.01,))
PATIENT = Limits(ack=60, backoff=(0.01,))


class Client:
    """A LongConnection in a thread of its own; `got` holds the payloads it took."""

    def __init__(self, domain: str, limits: Limits, receive: Callable[[bytes], Any] | None = None) -> None:
        self.got: list[bytes] = []
        self.ended: BaseException | None = None
        self._take = receive or (lambda payload: {})
        self._pool = ThreadPoolExecutor(16)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(domain, limits))
        self._thread.start()
        assert self._ready.wait(60)

    def _run(self, domain: str, limits: Limits) -> None:
        async def main() -> None:
            self.connection = LongConnection("cli", "s", domain, self._receive, self._pool, limits=limits)
            self._task = asyncio.current_task()
            self._ready.set()
            await self.connection.run()

        try:
            self._loop.run_until_complete(main())
        except (RefusedConnectionError, asyncio.CancelledError) as error:
            self.ended = error
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def _receive(self, payload: bytes) -> Any:
        self.got.append(payload)
        return self._take(payload)

    def wait_end(self) -> BaseException | None:
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.ended

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)
        self.wait_end()
        self._pool.shutdown()


@pytest.fixture
def feishu() -> Iterator[LongConnectionServer]:
    server = LongConnectionServer()
    yield server
    server.close()


@pytest.fixture
def connect(feishu: LongConnectionServer) -> Iterator[Callable[..., Client]]:
    clients: list[Client] = []

    def connect(limits: Limits = PATIENT, receive: Any = None, domain: str = "") -> Client:
        clients.append(Client(domain or feishu.domain, limits, receive))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def client(feishu: LongConnectionServer, connect: Callable[..., Client]) -> Client:
    client = connect()
    feishu.wait_for_client()
    return client


# --- What Feishu may send --------------------------------------------------------------------------------
def test_a_payload_is_taken_and_acknowledged(feishu: LongConnectionServer, client: Client) -> None:
    assert feishu.push({"a": 1}) == {"code": 200}
    assert client.got == [b'{"a": 1}']


def test_a_callbacks_reply_goes_into_the_acknowledgement(feishu: LongConnectionServer, connect: Any) -> None:
    connect(receive=lambda payload: {"toast": {"content": "好"}})
    feishu.wait_for_client()
    ack = feishu.push({}, kind="card")
    assert (ack["code"], reply_of(ack)) == (200, {"toast": {"content": "好"}})


def test_fragments_in_any_order_are_put_together(feishu: LongConnectionServer, client: Client) -> None:
    assert feishu.push({"text": "好" * 50}, fragments=7) == {"code": 200}
    assert json.loads(client.got[0]) == {"text": "好" * 50}


def test_pieces_that_come_twice_are_taken_once(feishu: LongConnectionServer, client: Client) -> None:
    for seq, piece in ((0, b"{"), (0, b"{"), (1, b"}"), (0, b"{"), (1, b"}")):
        feishu.send_frame(piece, type="event", message_id="m", sum="2", seq=str(seq))
    feishu.push({"last": True})
    assert client.got[0] == b"{}"
    assert len(client.got) == 2


NONSENSE: dict[str, dict[str, str]] = {
    "no headers": {},
    "another kind": {"type": "surprise", "message_id": "m"},
    "a huge sum": {"type": "event", "message_id": "m", "sum": "999999999", "seq": "0"},
    "a sum of 5000 digits": {"type": "event", "message_id": "m", "sum": "9" * 5000, "seq": "0"},
    "a sum that is no number": {"type": "event", "message_id": "m", "sum": "²", "seq": "0"},
    "a negative seq": {"type": "event", "message_id": "m", "sum": "2", "seq": "-1"},
    "a seq beyond the sum": {"type": "event", "message_id": "m", "sum": "2", "seq": "2"},
    "a piece of nothing": {"type": "event", "sum": "2", "seq": "0"},
}


@pytest.mark.parametrize("headers", NONSENSE.values(), ids=NONSENSE)
def test_a_nonsensical_frame_is_dropped_and_the_next_event_taken(
    feishu: LongConnectionServer, client: Client, headers: dict[str, str]
) -> None:
    feishu.send_frame(b"{}", **headers)
    assert feishu.push({"last": True}) == {"code": 200}
    assert client.got == [b'{"last": true}']
    assert client.connection.pulse.errors == 1


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xff\xff garbage", b"\x00" * 1000], ids=["empty", "garbage", "zeros"]
)
def test_a_message_that_is_no_frame_is_dropped(
    feishu: LongConnectionServer, client: Client, data: bytes
) -> None:
    feishu.send_raw(data)
    assert feishu.push({}) == {"code": 200}


def test_a_payload_of_16_megabytes_is_dropped(feishu: LongConnectionServer, client: Client) -> None:
    feishu.send_frame(b" " * 16 * 1024 * 1024, type="event", message_id="m", sum="1", seq="0")
    assert feishu.push({}) == {"code": 200}
    assert client.got == [b"{}"]


def test_pieces_that_grow_too_large_are_dropped(feishu: LongConnectionServer, client: Client) -> None:
    for seq in range(4):
        feishu.send_frame(b" " * 400_000, type="event", message_id="m", sum="4", seq=str(seq))
    assert feishu.push({}) == {"code": 200}
    assert client.got == [b"{}"]


def test_pieces_that_never_become_whole_do_not_fill_the_memory(
    feishu: LongConnectionServer, client: Client
) -> None:
    for number in range(500):
        feishu.send_frame(b"x", type="event", message_id=f"m{number}", sum="2", seq="0")
    assert feishu.push({}) == {"code": 200}
    assert len(client.connection._fragments._unfinished) <= 65


def test_a_pong_with_a_nonsensical_configuration_changes_nothing(
    feishu: LongConnectionServer, client: Client
) -> None:
    for payload in (
        b"[",
        b"[]",
        b'{"PingInterval": -1}',
        b'{"PingInterval": null}',
        b'{"PingInterval": "x"}',
    ):
        frame = feishu.frame(SeqID=0, LogID=0, service=1, method=0, payload=payload)
        feishu.send_raw(frame.SerializeToString())
    assert feishu.push({}) == {"code": 200}


# --- Time ------------------------------------------------------------------------------------------------
def test_eight_slow_events_delay_neither_pings_nor_their_own_deadline(
    feishu: LongConnectionServer, connect: Any
) -> None:
    go = threading.Event()
    client = connect(
        Limits(ack=2, ping=0.05),
        lambda payload: go.wait(60) if b"slow" in payload else {},
    )
    feishu.wait_for_client()
    for number in range(7):
        feishu.send_frame(b'{"slow": 1}', type="event", message_id=f"s{number}", sum="1", seq="0")
    assert feishu.push({"quick": 1}) == {"code": 200}  # the eighth place
    pings = feishu.pings
    wait_until(lambda: feishu.pings > pings + 3)
    wait_until(lambda: client.connection.pulse.last_error == "too slow")
    go.set()


def test_an_event_that_found_no_place_in_time_is_never_run(
    feishu: LongConnectionServer, connect: Any
) -> None:
    go = threading.Event()
    client = connect(Limits(ack=0.3), lambda payload: go.wait(60) and {})
    feishu.wait_for_client()
    for number in range(8):
        feishu.send_frame(b"{}", type="event", message_id=f"s{number}", sum="1", seq="0")
    feishu.send_frame(b'"ninth"', type="event", message_id="ninth", sum="1", seq="0")
    wait_until(lambda: client.connection.pulse.errors == 9)
    assert client.connection.pulse.full_since is not None
    go.set()
    wait_until(lambda: client.connection.pulse.full_since is None)
    wait_until(lambda: feishu.push({}) == {"code": 200})
    assert b'"ninth"' not in client.got


def test_a_server_that_never_answers_pings_is_left_and_tried_again(
    feishu: LongConnectionServer, connect: Any
) -> None:
    feishu.mute = True
    connect(QUICK)
    wait_until(lambda: feishu.connections >= 2)


def test_a_server_that_takes_the_call_and_never_speaks_is_left(connect: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = connect(QUICK, domain=f"http://127.0.0.1:{silent.getsockname()[1]}")
        wait_until(lambda: client.connection.pulse.errors >= 2)
        assert client.connection.pulse.last_error == "TimeoutError"


def test_a_handshake_that_never_ends_is_left(feishu: LongConnectionServer, connect: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}/ws?service_id=1"
        feishu.endpoint_answer = {"code": 0, "data": {"URL": url}}
        client = connect(QUICK)
        wait_until(lambda: client.connection.pulse.errors >= 2)
        assert "Timeout" in client.connection.pulse.last_error


def test_an_endpoint_that_hangs_is_left_and_asked_again(feishu: LongConnectionServer, connect: Any) -> None:
    feishu.hold_endpoint()
    client = connect(QUICK)
    wait_until(lambda: client.connection.pulse.errors >= 2)
    feishu._endpoint_open.set()
    feishu.wait_for_client()


# --- Refusals --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("code", "words"),
    [(514, "514 no"), (403, "403 no"), (1000040344, "1000040344 no"), (1000040350, "50 connections")],
)
def test_a_refusal_at_the_endpoint_is_for_good_and_says_why(
    feishu: LongConnectionServer, connect: Any, code: int, words: str
) -> None:
    feishu.endpoint_answer = {"code": code, "msg": "no"}
    ended = connect().wait_end()
    assert isinstance(ended, RefusedConnectionError)
    assert words in str(ended)


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"Handshake-Status": "403", "Handshake-Msg": "not you"}, "not you"),
        ({"Handshake-Status": "514", "Handshake-Autherrcode": "1000040350"}, "50 connections"),
    ],
)
def test_a_refusal_at_the_handshake_is_for_good_and_says_why(
    feishu: LongConnectionServer, connect: Any, headers: dict[str, str], words: str
) -> None:
    feishu.refusal = headers
    ended = connect().wait_end()
    assert isinstance(ended, RefusedConnectionError)
    assert words in str(ended)


@pytest.mark.parametrize(
    "answer", [{"code": 1, "msg": "busy"}, {"code": 0, "data": {"URL": ""}}, {"code": 0}]
)
def test_a_busy_endpoint_is_asked_again(feishu: LongConnectionServer, connect: Any, answer: Any) -> None:
    feishu.endpoint_answer = answer
    client = connect()
    wait_until(lambda: client.connection.pulse.errors >= 2)
    feishu.endpoint_answer = None
    feishu.wait_for_client()


@pytest.mark.parametrize("headers", [{}, {"Handshake-Status": "514"}], ids=["bare", "514"])
def test_a_handshake_refused_for_now_is_tried_again(
    feishu: LongConnectionServer, connect: Any, headers: dict[str, str]
) -> None:
    feishu.refusal = headers
    client = connect()
    wait_until(lambda: client.connection.pulse.errors >= 2)
    feishu.refusal = None
    feishu.wait_for_client()
    assert feishu.push({}) == {"code": 200}
