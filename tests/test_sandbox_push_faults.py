"""What goes wrong between the platform and an app: doubled, late, out of order, incomplete, unanswered pushes."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from botconsole.sandbox import SandboxServer
from botconsole.sandbox.server import create_world
from botconsole.sandbox.tokens import TICKET_SECONDS
from tests.sandbox_world import App, Person, settings, until

pytest_plugins = ["tests.sandbox_fixtures"]


def event(person: Person, event_type: str = "x") -> str:
    return person.post("/events", {"event_type": event_type, "event": {}})["event_id"]


def fault(person: Person, **wanted: object) -> None:
    assert "error" not in person.post("/faults", wanted)


def settled(person: Person, event_id: str, state: str = "acked") -> dict:
    until(lambda: person.push(event_id)["state"] == state)
    return person.push(event_id)


# at least once, in any order


def test_a_disregarded_answer_brings_the_event_again(person: Person, app: App) -> None:
    person.post("/clock", {"factor": 1000})
    fault(person, no_ack=True, times=1)
    event_id = event(person)
    until(lambda: len(app.bodies) == 2)
    tries = settled(person, event_id)["tries"]
    assert [(one["status"], one["error"]) for one in tries] == [
        (200, "the answer is disregarded (no_ack)"),
        (200, ""),
    ]
    assert app.bodies[0] == app.bodies[1]


def test_an_event_is_delivered_twice_although_it_was_answered(person: Person, app: App) -> None:
    fault(person, duplicate=1)
    event_id = event(person)
    until(lambda: len(app.bodies) == 2)
    assert app.raw[0][0] == app.raw[1][0], "the same bytes"
    until(lambda: len(person.push(event_id)["tries"]) == 2)


def test_a_switch_of_pushes_can_be_for_one_type_of_event(person: Person, app: App) -> None:
    fault(person, duplicate=2, path="im.message")
    event(person, "im.chat.updated_v1")
    event(person, "im.message.receive_v1")
    until(lambda: len(app.bodies) == 4)
    assert app.types.count("im.message.receive_v1") == 3


def test_an_event_is_overtaken_by_the_next_one(person: Person, app: App) -> None:
    fault(person, reorder=True, times=1)
    first, second = event(person, "first"), event(person, "second")
    until(lambda: len(app.bodies) == 2)
    assert app.types == ["second", "first"]
    assert settled(person, first)["created_at"] <= settled(person, second)["created_at"]


def test_an_event_that_nothing_overtakes_goes_out_all_the_same(person: Person, app: App) -> None:
    fault(person, reorder=True, times=1)
    event(person, "alone")
    until(lambda: app.types == ["alone"])


def test_one_message_is_pushed_under_two_message_ids(person: Person, app: App) -> None:
    chat_id = person.group()
    open_id = person.post(f"/groups/{chat_id}/members", {"name": "Juniper"})["open_id"]
    fault(person, two_message_ids=True)
    person.post(f"/groups/{chat_id}/messages", {"open_id": open_id, "text": "hi"})
    until(lambda: app.types.count("im.message.receive_v1") == 2)
    twins = [body for body in app.bodies if body["header"]["event_type"] == "im.message.receive_v1"]
    assert len({one["event"]["message"]["message_id"] for one in twins}) == 2
    assert len({one["header"]["event_id"] for one in twins}) == 2
    assert len({one["event"]["message"]["content"] for one in twins}) == 1


# odd envelopes


def test_an_events_time_may_be_in_microseconds(person: Person, app: App) -> None:
    event(person, "usual")
    until(lambda: len(app.bodies) == 1)
    fault(person, microseconds=True)
    event(person, "odd")
    until(lambda: len(app.bodies) == 2)
    assert [len(body["header"]["create_time"]) for body in app.bodies] == [13, 16]


def test_an_unknown_event_type_is_pushed_like_any_other(person: Person, app: App) -> None:
    event_id = event(person, "im.chat.never_heard_of_v9")
    settled(person, event_id)
    assert app.types == ["im.chat.never_heard_of_v9"]


def ids(told: object) -> Iterator[dict]:
    """Every set of ids of a person in a payload."""
    if isinstance(told, dict):
        if "open_id" in told:
            yield told
        for value in told.values():
            yield from ids(value)
    elif isinstance(told, list):
        for value in told:
            yield from ids(value)


@pytest.mark.parametrize("granted", [True, False])
def test_without_its_scope_no_user_id_is_pushed(person: Person, app: App, granted: bool) -> None:
    person.post("/scopes", {"missing": [] if granted else ["contact:user.employee_id:readonly"]})
    chat_id = person.group()
    users = [{"open_id": "ou_1", "name": "Ada"}, {"open_id": "ou_2", "name": "Bob"}]
    person.post(f"/groups/{chat_id}/members", {"users": users})
    said = {"open_id": "ou_1", "text": "hi", "mentions": ["ou_2"], "mention_bot": True}
    person.post(f"/groups/{chat_id}/messages", said)
    person.post("/conversations", {"open_id": "ou_1"})
    message_id = person.card(chat_id)
    person.post(f"/messages/{message_id}/press", {"open_id": "ou_1", "element": "ack"})
    until(lambda: len(app.bodies) == 6)
    told = [one for body in app.bodies for one in ids(body["event"])]
    assert len(told) >= 8
    assert all(
        ("user_id" in one) is granted for one in told if one["open_id"] != person.sandbox.config.bot_open_id
    )


def test_old_events_come_in_the_old_envelope(person: Person, app: App) -> None:
    person.post("/conversations", {"name": "Juniper"})
    until(lambda: "p2p_chat_create" in app.types)
    body = next(body for body in app.bodies if "uuid" in body)
    assert (body["type"], body["token"], "schema" in body) == ("event_callback", "vt_1", False)
    assert body["ts"].replace(".", "").isdigit()
    assert {"app_id", "tenant_key", "type", "user", "operator", "chat_id"} == body["event"].keys()


def test_an_app_of_the_store_gets_a_ticket_every_hour(app: App) -> None:
    with SandboxServer(settings(app.url, store_app=True)) as sandbox:
        until(lambda: app.types == ["app_ticket"])
        sandbox.world.clock.advance(TICKET_SECONDS)
        until(lambda: app.types == ["app_ticket"] * 2)
    assert app.bodies[0]["event"]["app_ticket"] != app.bodies[1]["event"]["app_ticket"]


# tokens


def test_an_expired_token_is_refused_once_and_a_new_one_taken(person: Person) -> None:
    chat_id = person.group()
    config = person.sandbox.config
    base, app = f"{person.sandbox.url}/open-apis", {"app_id": config.app_id, "app_secret": config.app_secret}

    def token() -> str:
        answer = person.http.post(f"{base}/auth/v3/tenant_access_token/internal", json=app).json()
        return answer["tenant_access_token"]

    def code(bearer: str) -> int:
        headers = {"Authorization": f"Bearer {bearer}"}
        return person.http.get(f"{base}/im/v1/chats/{chat_id}", headers=headers).json()["code"]

    old = token()
    fault(person, token_expired=True, times=1, path="/im/")
    assert [code(old), code(old)] == [99991663, 99991663]
    assert (token() != old, code(token())) == (True, 0)


# the ways to the app


def press(person: Person) -> dict:
    chat_id = person.group()
    open_id = person.post(f"/groups/{chat_id}/members", {"name": "Juniper"})["open_id"]
    return person.post(f"/messages/{person.card(chat_id)}/press", {"open_id": open_id, "element": "ack"})


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("", 200340),
        ("http://", 200345),
        ("ftp://127.0.0.1/", 200345),
        ("http://127.0.0.1/a b", 200345),
        ("http://127.0.0.1:port/", 200345),
        ("http://no-such-host.invalid/", 200343),
        ("http://127.0.0.1:9/", 200342),
    ],
)
def test_a_press_tells_what_is_wrong_with_the_request_url(person: Person, url: str, code: int) -> None:
    person.sandbox.set_webhook(url)
    assert press(person)["client_code"] == code


def test_a_form_without_names_in_the_answer_is_200530(person: Person, app: App) -> None:
    form = {"tag": "form", "name": "f", "elements": [{"tag": "input"}]}
    card = {"schema": "2.0", "body": {"elements": [form]}}
    app.answer = json.dumps({"card": {"type": "raw", "data": card}}).encode()
    assert press(person)["client_code"] == 200530


def test_a_press_that_is_answered_too_late_is_200341(
    person: Person, app: App, a_punctual_feishu: None
) -> None:
    chat_id = person.group()
    open_id = person.post(f"/groups/{chat_id}/members", {"name": "Juniper"})["open_id"]
    until(lambda: len(app.bodies) == 2)
    app.delay = 30
    told = person.post(f"/messages/{person.card(chat_id)}/press", {"open_id": open_id, "element": "ack"})
    assert (told["client_code"], told["http_status"]) == (200341, None)


@pytest.mark.parametrize("later", range(4))
def test_the_queue_ends_even_if_something_wakes_it_at_that_moment(later: int) -> None:
    async def ends() -> bool:
        world = create_world(settings())
        world.pusher._insert("ev_1", "x", {}, state="retrying", next_try_at=time.time() + 60)
        running = asyncio.create_task(world.pusher.run())
        for _ in range(5):
            await asyncio.sleep(0)
        world.pusher._wake.set()
        for _ in range(later):
            await asyncio.sleep(0)
        running.cancel()
        done, _ = await asyncio.wait([running], timeout=60)
        world.store.close()
        return running in done

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(asyncio.run, ends()).result()


@pytest.fixture
def raw_app() -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers every connection with the first of these bytes, as an app's broken proxy would."""
    answers: list[bytes] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(answers[0])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/", answers
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join()


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 200),
        (b"HTTP/1.0 200 OK\r\n\r\n{}", 200),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"no HTTP at all\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", None),
        (b"", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 2_000_000, None),
    ],
)
def test_only_a_whole_answer_of_200_counts(
    raw_app: tuple[str, list[bytes]], answer: bytes, status: int | None
) -> None:
    url, answers = raw_app
    answers.append(answer)
    with SandboxServer(settings(url)) as sandbox:
        person = Person(sandbox)
        event_id = event(person)
        until(lambda: person.push(event_id)["tries"])
        push = person.push(event_id)
        person.http.close()
    assert push["tries"][0]["status"] == status
    assert push["state"] == ("acked" if status == 200 else "retrying")


def test_a_connection_that_the_app_closed_while_it_was_idle_is_no_failed_try(
    raw_app: tuple[str, list[bytes]],
) -> None:
    url, answers = raw_app
    answers.append(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")  # says nothing of closing, and closes
    with SandboxServer(settings(url)) as sandbox:
        person = Person(sandbox)
        pushed = [event(person) for _ in range(8)]
        until(lambda: all(person.push(event_id)["state"] == "acked" for event_id in pushed))
        tries = [person.push(event_id)["tries"] for event_id in pushed]
        person.http.close()
    assert [[one["status"] for one in told] for told in tries] == [[200]] * 8
