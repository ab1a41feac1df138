"""The sandbox's long connection: the bootstrap, frames, acknowledgements, limits, and larksuite's own client on it."""

import base64
import contextlib
import itertools
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from botconsole.sandbox import SandboxServer, connections, frames
from botconsole.sandbox.connections import LARGEST_PAYLOAD, MOST_CONNECTIONS
from botconsole.sandbox.frames import Frame
from tests.sandbox_world import CARD, NEW_CARD, App, Person, acting, decrypted, settings, until

pytest_plugins = ["tests.sandbox_fixtures"]

APP = {"AppID": "cli_test", "AppSecret": "s3cret"}
OK = {"code": 200}


class Client:
    """A long connection's client as small as it can be; acknowledges what it gets unless told otherwise."""

    def __init__(self, sandbox: SandboxServer) -> None:
        url = bootstrap(sandbox)["data"]["URL"]
        self.socket: ClientConnection = connect(url, proxy=None, max_size=None)
        self.frames: queue.Queue[Frame] = queue.Queue()
        self.answer: Callable[[Frame], dict | None] = lambda frame: OK
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):  # the sandbox may end first
            for message in self.socket:
                assert isinstance(message, bytes)
                frame = frames.decode(message)
                self.frames.put(frame)
                if frame.method == frames.DATA and (told := self.answer(frame)) is not None:
                    self.send(replace(frame, payload=json.dumps(told).encode()))

    def send(self, frame: Frame) -> None:
        self.socket.send(frames.encode(frame))

    def frame(self, seconds: float = 60) -> Frame:
        return self.frames.get(timeout=seconds)

    def event(self) -> dict:
        return json.loads(self.frame().payload)

    def close(self) -> None:
        self.socket.close()


def bootstrap(sandbox: SandboxServer, body: Any = APP) -> dict:
    answer = httpx.post(f"{sandbox.url}/callback/ws/endpoint", json=body, trust_env=False, timeout=60)
    assert answer.status_code == 200
    return answer.json()


@pytest.fixture
def person() -> Iterator[Person]:
    with acting(settings(transport="long_connection")) as person:
        yield person


@pytest.fixture
def client(person: Person) -> Iterator[Client]:
    client = Client(person.sandbox)
    yield client
    client.close()


def join(person: Person) -> str:
    return person.post(f"/groups/{person.group(bot=False)}/bot")["event_id"]


def state(person: Person, event_id: str) -> str:
    return person.push(event_id)["state"]


def fault(person: Person, **wanted: object) -> None:
    assert "error" not in person.post("/faults", wanted)


# the bootstrap


def test_the_bootstrap_tells_an_address_and_the_clients_configuration(person: Person) -> None:
    answer = bootstrap(person.sandbox)
    query = parse_qs(urlsplit(answer["data"]["URL"]).query)
    assert (answer["code"], answer["msg"]) == (0, "")
    assert {"device_id", "service_id", "access_key", "ticket"} <= query.keys()
    assert answer["data"]["ClientConfig"] == {
        "ReconnectCount": -1, "ReconnectInterval": 120, "ReconnectNonce": 30, "PingInterval": 120,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"AppID": "cli_test", "AppSecret": "wrong"}, 514),
        ({"appid": "cli_test", "appsecret": "s3cret"}, 514),
        (["no object"], 514),
        ({"AppID": "", "AppSecret": ""}, 1000040344),
        ({"AppID": "cli_other", "AppSecret": "s3cret"}, 1000040346),
    ],
)
def test_a_bootstrap_without_good_credentials_has_its_code(person: Person, body: Any, code: int) -> None:
    assert bootstrap(person.sandbox, body)["code"] == code


def test_a_store_app_gets_no_long_connection() -> None:
    with SandboxServer(settings(store_app=True)) as sandbox:
        assert bootstrap(sandbox)["code"] == 403


def test_any_code_of_the_bootstrap_can_be_switched_on(person: Person) -> None:
    fault(person, code=1000040343, path="/callback/ws", times=1)
    assert [bootstrap(person.sandbox)["code"] for _ in range(2)] == [1000040343, 0]


def test_the_calls_list_keeps_no_ticket(person: Person) -> None:
    ticket = parse_qs(urlsplit(bootstrap(person.sandbox)["data"]["URL"]).query)["ticket"][0]
    told = person.http.get("/calls").text
    assert "/callback/ws/endpoint" in told
    assert ticket not in told
    assert "s3cret" not in told


# the handshake


def refusal(sandbox: SandboxServer, url: str = "") -> dict[str, str | None]:
    with pytest.raises(InvalidStatus) as refused:
        connect(url or bootstrap(sandbox)["data"]["URL"], proxy=None)
    headers = refused.value.response.headers
    return {name: headers.get(f"Handshake-{name}") for name in ("Status", "Autherrcode")}


def test_a_socket_without_a_ticket_is_refused_with_514(person: Person) -> None:
    url = person.sandbox.url.replace("http", "ws") + "/ws/v2?device_id=1&service_id=2&ticket=invented"
    assert refusal(person.sandbox, url) == {"Status": "514", "Autherrcode": "1000040344"}


def test_the_fifty_first_connection_is_refused_with_1000040350(person: Person) -> None:
    clients = [Client(person.sandbox) for _ in range(MOST_CONNECTIONS)]
    assert refusal(person.sandbox) == {"Status": "514", "Autherrcode": "1000040350"}
    clients.pop().close()
    until(lambda: len(person.sandbox.world.pusher.connections) == MOST_CONNECTIONS - 1)
    clients.append(Client(person.sandbox))
    for client in clients:
        client.close()


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"connection_limit": True}, {"Status": "514", "Autherrcode": "1000040350"}),
        ({"handshake": 403}, {"Status": "403", "Autherrcode": None}),
        ({"handshake": 514}, {"Status": "514", "Autherrcode": "1000040344"}),
    ],
)
def test_a_handshake_can_be_refused_by_a_switch(person: Person, wanted: dict, told: dict) -> None:
    fault(person, **wanted, times=1)
    assert refusal(person.sandbox) == told
    Client(person.sandbox).close()


@pytest.mark.parametrize(("path", "headers"), [("/ws/v3", {}), ("/ws/v2", {"Origin": "http://elsewhere"})])
def test_no_other_address_and_no_page_gets_a_socket(person: Person, path: str, headers: dict) -> None:
    url = bootstrap(person.sandbox)["data"]["URL"].replace("/ws/v2", path)
    with pytest.raises(InvalidStatus):
        connect(url, proxy=None, additional_headers=headers)


# frames


def test_a_ping_is_answered_with_a_pong_that_carries_the_configuration(client: Client) -> None:
    client.send(Frame(33554678, frames.PING_OR_PONG, {"type": "ping"}))
    pong = client.frame()
    assert (pong.method, pong.headers["type"], pong.service) == (0, "pong", 33554678)
    assert json.loads(pong.payload)["PingInterval"] == 120


def test_a_new_configuration_comes_with_the_next_pong(person: Person, client: Client) -> None:
    person.sandbox.world.pusher.connections.client_config["PingInterval"] = 90
    client.send(Frame(33554678, frames.PING_OR_PONG, {"type": "ping"}))
    assert json.loads(client.frame().payload)["PingInterval"] == 90


def test_an_event_is_a_plain_frame_and_its_acknowledgement_ends_it(person: Person, client: Client) -> None:
    event_id = join(person)
    frame = client.frame()
    payload = json.loads(frame.payload)
    assert frame.method == frames.DATA
    assert {**frame.headers, "message_id": "", "trace_id": ""} == {
        "type": "event", "message_id": "", "trace_id": "", "sum": "1", "seq": "0",
    }  # fmt: skip
    assert payload["header"]["event_id"] == event_id
    assert payload["header"]["event_type"] == "im.chat.member.bot.added_v1"
    until(lambda: state(person, event_id) == "acked")


def test_an_acknowledgement_of_failure_brings_the_event_again(person: Person, client: Client) -> None:
    person.post("/clock", {"factor": 100})
    answers = iter([{"code": 500}, OK])
    client.answer = lambda frame: next(answers)
    event_id = join(person)
    first, second = client.frame(), client.frame()
    assert first.payload == second.payload
    until(lambda: state(person, event_id) == "acked")
    assert [one["status"] for one in person.push(event_id)["tries"]] == [500, 200]


def test_an_event_that_is_not_acknowledged_in_three_seconds_is_retried(
    person: Person, client: Client, a_punctual_feishu: None
) -> None:
    client.answer = lambda frame: None
    event_id = join(person)
    until(lambda: state(person, event_id) == "retrying")
    first = person.push(event_id)["tries"][0]
    assert (first["status"], first["error"]) == (None, "timeout")
    assert first["ms"] >= 3000


def test_what_is_no_frame_and_an_unknown_acknowledgement_do_no_harm(person: Person, client: Client) -> None:
    client.socket.send(b"\xff\xff")
    client.socket.send("a text")
    client.send(Frame(1, frames.DATA, {"message_id": "msg_unknown"}, b"{}"))
    client.answer = lambda frame: {"no code": True}
    event_id = join(person)
    until(lambda: state(person, event_id) == "retrying")
    assert person.push(event_id)["tries"][0]["status"] == 500


def test_without_a_client_an_event_waits_for_its_retry(person: Person) -> None:
    event_id = join(person)
    until(lambda: state(person, event_id) == "retrying")
    assert person.push(event_id)["tries"][0]["error"] == "no connection"


def test_a_connection_lost_before_the_acknowledgement_is_a_failed_try(person: Person, client: Client) -> None:
    client.answer = lambda frame: None
    event_id = join(person)
    client.frame()
    client.close()
    until(lambda: state(person, event_id) == "retrying")
    assert person.push(event_id)["tries"][0]["error"] == "connection lost"


def joined(frames_: list[Frame]) -> bytes:
    return b"".join(frame.payload for frame in sorted(frames_, key=lambda frame: int(frame.headers["seq"])))


def test_a_large_event_comes_in_fragments(person: Person, client: Client) -> None:
    chat_id = person.group()
    client.event()
    client.answer = lambda frame: OK if frame.headers["seq"] == "1" else None
    users = [{"open_id": f"ou_{number}", "name": "x" * 100} for number in range(700)]
    event_id = person.post(f"/groups/{chat_id}/members", {"users": users})["event_id"]
    parts = [client.frame(), client.frame()]
    assert [(len(part.payload) <= LARGEST_PAYLOAD, part.headers["sum"]) for part in parts] == [
        (True, "2")
    ] * 2
    assert len(json.loads(joined(parts))["event"]["users"]) == 700
    until(lambda: state(person, event_id) == "acked")


def test_fragments_can_be_forced(person: Person, client: Client) -> None:
    fault(person, fragment_bytes=100)
    client.answer = lambda frame: OK if int(frame.headers["seq"]) == int(frame.headers["sum"]) - 1 else None
    event_id = join(person)
    first = client.frame()
    parts = [first, *(client.frame() for _ in range(int(first.headers["sum"]) - 1))]
    assert max(len(part.payload) for part in parts) == 100
    assert json.loads(joined(parts))["header"]["event_id"] == event_id


def test_each_event_goes_to_one_connection_chosen_at_random(person: Person) -> None:
    clients = [Client(person.sandbox) for _ in range(3)]
    pushed = {join(person) for _ in range(40)}
    until(lambda: {state(person, event_id) for event_id in pushed} == {"acked"})
    got = [
        [json.loads(frame.payload)["header"]["event_id"] for frame in client.frames.queue]
        for client in clients
    ]
    assert sorted(itertools.chain(*got)) == sorted(pushed)
    assert all(got)
    for client in clients:
        client.close()


# presses


def press(person: Person) -> dict:
    chat_id = person.group()
    open_id = person.post(f"/groups/{chat_id}/members", {"name": "Juniper"})["open_id"]
    message_id = person.card(chat_id, CARD)
    return person.post(f"/messages/{message_id}/press", {"open_id": open_id, "element": "ack"})


def reply(told: Any) -> Callable[[Frame], dict]:
    data = told if isinstance(told, str) else base64.b64encode(json.dumps(told).encode()).decode()
    return lambda frame: {"code": 200, "data": data}


def pressing(client: Client) -> Frame:
    return next(frame for frame in iter(client.frame, None) if b"card.action.trigger" in frame.payload)


def test_a_press_is_an_event_frame_and_its_reply_comes_in_the_acknowledgement(
    person: Person, client: Client
) -> None:
    client.answer = reply(
        {"toast": {"type": "info", "content": "ok"}, "card": {"type": "raw", "data": NEW_CARD}}
    )
    told = press(person)
    assert (told["status"], told["answer"]["toast"]["content"]) == ("ok", "ok")
    assert pressing(client).headers["type"] == "event"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"code": 500}, 200671),
        ({"code": 200, "data": "no base64!"}, 200672),
        (reply(["no object"])(Frame(1, 1)), 200672),
        (reply({"card": {"type": "raw", "data": {"schema": "2.0", "bad": 1}}})(Frame(1, 1)), 200673),
    ],
)
def test_a_bad_reply_by_frame_shows_the_clients_code(
    person: Person, client: Client, answer: dict, code: int
) -> None:
    client.answer = lambda frame: answer
    assert press(person)["client_code"] == code


def test_a_press_while_no_client_is_connected_is_200342(person: Person) -> None:
    assert press(person)["client_code"] == 200342


def test_presses_can_come_as_card_frames(person: Person, client: Client) -> None:
    fault(person, card_frames=True)
    assert press(person)["status"] == "ok"
    assert pressing(client).headers["type"] == "card"


def test_payloads_can_come_encrypted_all_the_same(person: Person, client: Client) -> None:
    fault(person, encrypted_frames=True)
    event_id = join(person)
    assert decrypted(client.event()["encrypt"])["header"]["event_id"] == event_id


# the switch between webhook and long connection


def test_the_long_connection_is_only_chosen_while_a_client_is_online(app: App) -> None:
    with SandboxServer(settings(app.url)) as sandbox:
        pusher = sandbox.world.pusher
        assert pusher.switch_transport("long_connection").startswith("no client is connected")
        assert pusher.transports == {"events": "webhook", "callbacks": "webhook"}
        client = Client(sandbox)
        assert pusher.switch_transport("long_connection", "events") == ""
        assert pusher.transports == {"events": "long_connection", "callbacks": "webhook"}
        client.close()


def test_events_and_callbacks_go_their_own_ways(app: App) -> None:
    with SandboxServer(settings(app.url)) as sandbox:
        person, client = Person(sandbox), Client(sandbox)
        sandbox.world.pusher.switch_transport("long_connection", "callbacks")
        press(person)
        until(lambda: len(app.types) == 2)
        assert sorted(app.types) == ["im.chat.member.bot.added_v1", "im.chat.member.user.added_v1"]
        assert pressing(client).headers["type"] == "event"
        client.close()
        person.http.close()


def test_the_chosen_transport_survives_a_restart(app: App, tmp_path: Path) -> None:
    config = settings(app.url, state_file=str(tmp_path / "state"))
    with SandboxServer(config) as sandbox:
        client = Client(sandbox)
        sandbox.world.pusher.switch_transport("long_connection")
        client.close()
    with SandboxServer(config) as sandbox:
        assert sandbox.world.pusher.transports["events"] == "long_connection"


# faults


def test_pings_can_stay_unanswered(person: Person, client: Client) -> None:
    fault(person, no_pong=True, times=1)
    client.send(Frame(33554678, frames.PING_OR_PONG, {"type": "ping", "number": "1"}))
    client.send(Frame(33554678, frames.PING_OR_PONG, {"type": "ping", "number": "2"}))
    assert client.frame().headers["number"] == "2"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sandbox waits for an acknowledgement for half a second; that it is three is proven above."""
    monkeypatch.setattr(connections, "ANSWER_SECONDS", 0.5)


def test_a_half_open_socket_stays_open_and_dead_until_the_switch_is_off(
    person: Person, client: Client, impatient: None
) -> None:
    fault(person, half_open=True)
    until(lambda: person.sandbox.world.pusher.connections.view()[0]["half_open"])
    client.send(Frame(33554678, frames.PING_OR_PONG, {"type": "ping"}))
    assert not client.socket.ping().wait(0.3)
    event_id = join(person)
    until(lambda: state(person, event_id) == "retrying")
    assert client.frames.empty()
    person.http.delete("/faults")
    assert client.frame().headers["type"] == "pong"


def test_connections_can_be_dropped(person: Person, client: Client) -> None:
    assert person.sandbox.world.pusher.connections.drop() == 1
    until(lambda: len(person.sandbox.world.pusher.connections) == 0)


def test_a_hanging_bootstrap_answers_late(person: Person) -> None:
    fault(person, slow_ms=1000, path="/callback/ws")
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{person.sandbox.url}/callback/ws/endpoint",
            json=APP,
            trust_env=False,
            timeout=httpx.Timeout(60, read=0.3),
        )


# larksuite's client


class Lark:
    """The SDK's client in a process of its own, and the lines it tells."""

    def __init__(self, sandbox: SandboxServer) -> None:
        config = sandbox.config
        self.process = subprocess.Popen(
            [sys.executable, "tests/sandbox_sdk_client.py", sandbox.url, config.app_id, config.app_secret],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self.lines: queue.Queue[list] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        assert self.line()[0] == "ready"

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(json.loads(line))

    def line(self) -> list:
        return self.lines.get(timeout=60)

    def tells(self, *line: Any) -> bool:
        """Waits for this line; others may come before it."""
        return any(self.line() == list(line) for _ in itertools.count())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


QUICK = {"ReconnectCount": -1, "ReconnectInterval": 1, "ReconnectNonce": 0, "PingInterval": 1}


@pytest.fixture(scope="module")
def lark_person() -> Iterator[Person]:
    with SandboxServer(settings(transport="long_connection", client_config=QUICK)) as sandbox:
        person = Person(sandbox)
        yield person
        person.http.close()


@pytest.fixture(scope="module")
def lark(lark_person: Person) -> Iterator[Lark]:
    lark = Lark(lark_person.sandbox)
    until(lambda: len(lark_person.sandbox.world.pusher.connections) == 1, 60)
    yield lark
    lark.close()


@pytest.fixture(scope="module")
def room(lark_person: Person, lark: Lark) -> tuple[str, str]:
    """A group with the bot and Juniper; its events have no handler in the SDK's client, which says 500."""
    chat_id = lark_person.group()
    return chat_id, lark_person.post(f"/groups/{chat_id}/members", {"name": "Juniper"})["open_id"]


def say(person: Person, room: tuple[str, str], text: str) -> str:
    body = {"open_id": room[1], "text": text, "mention_bot": True}
    return person.post(f"/groups/{room[0]}/messages", body)["event_id"]


def test_larksuites_client_receives_an_event_and_acknowledges_it(
    lark_person: Person, lark: Lark, room: tuple[str, str]
) -> None:
    event_id = say(lark_person, room, "hello")
    assert lark.tells("message", "@_user_1 hello")
    until(lambda: state(lark_person, event_id) == "acked")


def test_larksuites_client_puts_fragments_together(
    lark_person: Person, lark: Lark, room: tuple[str, str]
) -> None:
    fault(lark_person, fragment_bytes=50, times=1, path="im.message")
    event_id = say(lark_person, room, "in parts")
    assert lark.tells("message", "@_user_1 in parts")
    until(lambda: state(lark_person, event_id) == "acked")


def test_larksuites_client_answers_a_press(lark_person: Person, lark: Lark, room: tuple[str, str]) -> None:
    message_id = lark_person.card(room[0], CARD)
    told = lark_person.post(f"/messages/{message_id}/press", {"open_id": room[1], "element": "ack"})
    assert lark.tells("press", {"action": "ack"})
    assert told["answer"] == {"toast": {"type": "success", "content": "已处理"}}


def test_larksuites_client_drops_card_frames_so_the_press_times_out(
    lark_person: Person, lark: Lark, room: tuple[str, str], impatient: None
) -> None:
    fault(lark_person, card_frames=True, times=1)
    message_id = lark_person.card(room[0], CARD)
    told = lark_person.post(f"/messages/{message_id}/press", {"open_id": room[1], "element": "ack"})
    assert told["client_code"] == 200341


def test_a_handler_that_raises_in_larksuites_client_is_a_failed_try(
    lark_person: Person, lark: Lark, room: tuple[str, str]
) -> None:
    event_id = say(lark_person, room, "please fail")
    assert lark.tells("message", "@_user_1 please fail")
    until(lambda: state(lark_person, event_id) == "retrying")
    assert lark_person.push(event_id)["tries"][0]["status"] == 500


def test_larksuites_client_pings_and_comes_back_after_a_drop(
    lark_person: Person, lark: Lark, room: tuple[str, str]
) -> None:
    connections = lark_person.sandbox.world.pusher.connections
    until(lambda: connections.view()[0]["pings"] >= 2)
    connections.drop()
    assert lark.tells("reconnected", None)
    event_id = say(lark_person, room, "again")
    assert lark.tells("message", "@_user_1 again")
    until(lambda: state(lark_person, event_id) == "acked")


def test_larksuites_client_gives_up_where_the_limit_is_hit(lark_person: Person) -> None:
    fault(lark_person, connection_limit=True, times=1)
    lark = Lark(lark_person.sandbox)
    assert lark.tells("refused", 514)
    lark.close()
