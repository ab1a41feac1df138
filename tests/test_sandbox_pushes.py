"""What the sandbox pushes: signed, encrypted, retried, as an independent receiver sees it; and the control API."""

import hashlib
import itertools
import json
import time
from pathlib import Path

import httpx
import pytest

from botconsole.sandbox import SandboxConfig, SandboxServer, server
from tests.sandbox_world import CARD, KEY, NEW_CARD, TOKEN, App, Person, settings, until

pytest_plugins = ["tests.sandbox_fixtures"]


# events


def test_a_join_is_one_signed_and_encrypted_event(person: Person, app: App) -> None:
    chat_id = person.group(bot=False)
    person.post(f"/groups/{chat_id}/bot")
    joined = person.post(f"/groups/{chat_id}/members", {"name": "Juniper", "open_id": "ou_j"})
    until(lambda: len(app.bodies) == 2)
    body = next(body for body in app.bodies if body["header"]["event_id"] == joined["event_id"])
    raw, headers = app.raw[app.bodies.index(body)]
    signed = (headers["X-Lark-Request-Timestamp"] + headers["X-Lark-Request-Nonce"] + KEY).encode() + raw
    header = body["header"]
    assert headers["X-Lark-Signature"] == hashlib.sha256(signed).hexdigest()
    assert list(json.loads(raw)) == ["encrypt"]
    assert (header["token"], header["app_id"], len(header["create_time"])) == (TOKEN, "cli_test", 13)
    assert header["event_type"] == "im.chat.member.user.added_v1"
    assert body["event"]["chat_id"] == chat_id
    assert body["event"]["users"] == [
        {
            "name": "Juniper",
            "tenant_key": "tk_sandbox",
            "user_id": {"union_id": "on_j", "user_id": "u_j", "open_id": "ou_j"},
        }
    ]


def test_without_an_encrypt_key_events_are_plain_and_carry_the_token(app: App) -> None:
    config = SandboxConfig("cli_test", "s", verification_token=TOKEN, webhook_url=app.url, port=0)
    with SandboxServer(config) as sandbox:
        httpx.post(f"{sandbox.url}/_sandbox/groups", json={"name": "g"}, trust_env=False, timeout=60)
        until(lambda: app.bodies)
    raw, headers = app.raw[0]
    assert json.loads(raw)["header"]["token"] == TOKEN
    assert "X-Lark-Signature" not in headers


def test_several_people_join_in_one_event(person: Person, app: App) -> None:
    users = [{"open_id": f"ou_{n}", "name": f"p{n}"} for n in range(30)]
    person.post(f"/groups/{person.group()}/members", {"users": users})
    until(lambda: len(app.bodies) == 2)
    joined = [body["event"]["users"] for body in app.bodies if "users" in body["event"]]
    assert [user["name"] for user in joined[0]] == [user["name"] for user in users]


def test_who_is_in_already_does_not_join_again(person: Person) -> None:
    chat_id = person.group()
    person.post(f"/groups/{chat_id}/members", {"open_id": "ou_1", "name": "x"})
    assert person.post(f"/groups/{chat_id}/members", {"open_id": "ou_1"})["event_id"] == ""


def test_leaving_is_an_event_too(person: Person, app: App) -> None:
    chat_id = person.group()
    person.post(f"/groups/{chat_id}/members", {"open_id": "ou_1", "name": "x"})
    person.http.delete(f"/groups/{chat_id}/members/ou_1")
    until(lambda: "im.chat.member.user.deleted_v1" in app.types)
    assert person.http.delete(f"/groups/{chat_id}/members/ou_1").status_code == 404


def test_nothing_is_pushed_from_a_group_without_the_bot(person: Person) -> None:
    chat_id = person.group(bot=False)
    person.post(f"/groups/{chat_id}/members", {"name": "x"})
    person.post(f"/groups/{chat_id}/messages", {"text": "psst"})
    assert person.pushes() == []


def test_the_first_conversation_pushes_two_events_and_a_later_one_only_the_second(
    person: Person, app: App
) -> None:
    first = person.post("/conversations", {"name": "Maple"})
    second = person.post("/conversations", {"open_id": first["open_id"]})
    until(lambda: len(app.bodies) == 3)
    entered = "im.chat.access_event.bot_p2p_chat_entered_v1"
    created = next(body for body in app.bodies if "uuid" in body)
    assert sorted(app.types) == [entered, entered, "p2p_chat_create"]
    assert (len(first["event_ids"]), len(second["event_ids"])) == (2, 1)
    assert created["uuid"] == first["event_ids"][0]
    assert created["event"]["user"]["name"] == "Maple"


def test_a_message_that_mentions_the_bot_says_so_by_open_id(person: Person, app: App) -> None:
    chat_id = person.group()
    open_id = person.post(f"/groups/{chat_id}/members", {"name": "Juniper"})["open_id"]
    said = {"open_id": open_id, "text": "/solve fixed", "mention_bot": True}
    told = person.post(f"/groups/{chat_id}/messages", said)
    until(lambda: "im.message.receive_v1" in app.types)
    message = app.bodies[app.types.index("im.message.receive_v1")]["event"]["message"]
    assert message["message_id"] == told["message_id"]
    assert json.loads(message["content"]) == {"text": "@_user_1 /solve fixed"}
    assert message["mentions"][0]["id"]["open_id"] == person.sandbox.config.bot_open_id
    assert (message["chat_type"], "root_id" in message) == ("group", False)


def test_a_typed_name_is_a_mention_even_before_chinese_punctuation(person: Person) -> None:
    chat_id = person.group()
    person.post(f"/groups/{chat_id}/members", {"name": "青禾"})
    person.post(f"/groups/{chat_id}/messages", {"text": "@青禾，@OpsBot：@所有人 a@b"})
    [message] = person.messages(chat_id)
    assert message["content"] == {"text": "@_user_1，@_user_2：@_all a@b"}


def test_any_event_can_be_pushed_with_an_odd_header(person: Person, app: App) -> None:
    odd = {"event_type": "x.y_v1", "event": {"a": 1}, "header": {"create_time": "1719800005000000"}}
    event_id = person.post("/events", odd)["event_id"]
    until(lambda: app.bodies)
    assert app.bodies[0]["event"] == {"a": 1}
    assert (app.bodies[0]["header"]["event_id"], app.bodies[0]["header"]["create_time"]) == (
        event_id,
        "1719800005000000",
    )


# retries


def test_an_event_is_pushed_four_more_times_at_growing_distances_and_then_given_up(
    person: Person, app: App
) -> None:
    app.status = 500
    person.post("/clock", {"factor": 36_000})
    event_id = person.post("/events", {"event_type": "x", "event": {}})["event_id"]
    until(lambda: person.push(event_id)["state"] == "gone")
    tries = person.push(event_id)["tries"]
    gaps = [later["at"] - earlier["at"] for earlier, later in itertools.pairwise(tries)]
    assert [one["status"] for one in tries] == [500] * 5
    assert (gaps[1] >= 8, gaps[2] >= 100, gaps[3] >= 600) == (True, True, True)
    assert len({raw for raw, _ in app.raw}) == 1, "a re-push is the same bytes with the same signature"


def test_a_retry_that_is_answered_is_the_last(person: Person, app: App) -> None:
    app.status = 503
    event_id = person.post("/events", {"event_type": "x", "event": {}})["event_id"]
    until(lambda: person.push(event_id)["state"] == "retrying")
    push = person.push(event_id)
    waiting = push["next_try_at"] - push["tries"][0]["at"]
    app.status = 200
    person.post("/clock", {"advance": 15})
    until(lambda: person.push(event_id)["state"] == "acked")
    assert 15_000 <= waiting < 20_000
    assert [one["status"] for one in person.push(event_id)["tries"]] == [503, 200]


def test_an_answer_after_three_seconds_is_too_late(person: Person, app: App, a_punctual_feishu: None) -> None:
    app.delay = 30
    event_id = person.post("/events", {"event_type": "x", "event": {}})["event_id"]
    until(lambda: person.push(event_id)["tries"])
    [only] = person.push(event_id)["tries"]
    assert (only["error"], only["status"]) == ("timeout", None)
    assert only["ms"] >= 2900


def test_a_slow_app_does_not_hold_up_the_api(person: Person, app: App) -> None:
    app.delay = 30
    event_id = person.post("/events", {"event_type": "x", "event": {}})["event_id"]
    until(lambda: person.push(event_id)["state"] == "sending")
    assert person.http.get("/health").json()["status"] == "ok"
    assert person.push(event_id)["state"] == "sending", "the API answered while the app had not"


def test_a_delivery_can_be_repeated(person: Person, app: App) -> None:
    event_id = person.post("/events", {"event_type": "x", "event": {}})["event_id"]
    until(lambda: person.push(event_id)["state"] == "acked")
    person.post(f"/pushes/{event_id}/again")
    until(lambda: len(app.bodies) == 2)
    assert app.bodies[0] == app.bodies[1]


def test_push_connections_are_reused(person: Person, app: App) -> None:
    for number in range(3):
        person.post("/events", {"event_type": f"x{number}", "event": {}})
        until(lambda: person.pushes()[0]["state"] == "acked")
    assert len(app.bodies) == 3
    assert len(app.ports) == 1


def test_retries_survive_a_restart(app: App, tmp_path: Path) -> None:
    config = settings("http://127.0.0.1:9/", state_file=str(tmp_path / "state.sqlite3"))
    with SandboxServer(config) as sandbox:
        person = Person(sandbox)
        chat_id = person.group()
        until(lambda: person.pushes()[0]["state"] == "retrying")
        person.http.close()
    with SandboxServer(config) as sandbox:
        sandbox.set_webhook(app.url)
        person = Person(sandbox)
        groups = person.http.get("/groups").json()["items"]
        person.post("/clock", {"advance": 15})
        until(lambda: app.types == ["im.chat.member.bot.added_v1"])
        person.http.close()
    assert [group["chat_id"] for group in groups] == [chat_id]


# the request URL


def test_a_url_that_answers_the_challenge_is_saved(person: Person, app: App) -> None:
    assert person.post("/webhook", {"url": f"{app.url}?two"}) == {"url": f"{app.url}?two"}
    assert app.bodies[-1]["type"] == "url_verification"
    assert person.sandbox.webhook_url == f"{app.url}?two"


@pytest.mark.parametrize(
    ("status", "answer", "reason"),
    [
        (500, b"{}", "HTTP status 500"),
        (200, b"hello", "not JSON"),
        (200, b'{"challenge":"c"}', "repeat"),
    ],
)
def test_a_url_that_fails_the_challenge_is_refused_with_the_reason(
    person: Person, app: App, status: int, answer: bytes, reason: str
) -> None:
    app.status, app.answer = status, answer
    told = person.post("/webhook", {"url": f"{app.url}?two"})
    assert told["status_code"] == 400
    assert reason in told["error"]
    assert person.sandbox.webhook_url == app.url


def test_a_url_that_answers_the_challenge_after_a_second_is_refused(
    person: Person, app: App, a_punctual_feishu: None
) -> None:
    app.delay = 30
    told = person.post("/webhook", {"url": f"{app.url}?two"})
    assert told["status_code"] == 400
    assert told["error"].endswith("no answer: timeout")
    assert person.sandbox.webhook_url == app.url


# presses


@pytest.fixture
def pressed(person: Person) -> tuple[str, str, str]:
    """A group, somebody in it, and a card there."""
    chat_id = person.group()
    open_id = person.post(f"/groups/{chat_id}/members", {"name": "Juniper"})["open_id"]
    return chat_id, open_id, person.card(chat_id)


def test_a_press_tells_the_app_who_pressed_what_and_where(
    person: Person, app: App, pressed: tuple[str, str, str]
) -> None:
    chat_id, open_id, message_id = pressed
    app.answer = b'{"toast":{"type":"success","content":"ok"}}'
    told = person.post(f"/messages/{message_id}/press", {"open_id": open_id, "element": "ack"})
    body = app.bodies[app.types.index("card.action.trigger")]
    assert told["answer"]["toast"]["content"] == "ok"
    assert (told["status"], told["client_code"]) == ("ok", None)
    assert body["event"]["operator"]["open_id"] == open_id
    assert body["event"]["action"]["value"] == {"action": "ack"}
    assert body["event"]["token"].startswith("c-")
    assert body["event"]["context"]["open_message_id"] == message_id
    assert body["event"]["context"]["open_chat_id"] == chat_id
    assert len(body["header"]["create_time"]) == 16


def test_the_card_in_the_answer_replaces_the_card(
    person: Person, app: App, pressed: tuple[str, str, str]
) -> None:
    chat_id, open_id, message_id = pressed
    app.answer = json.dumps({"card": {"type": "raw", "data": NEW_CARD}}).encode()
    person.post(f"/messages/{message_id}/press", {"open_id": open_id, "value": {"action": "ack"}})
    [message] = person.messages(chat_id)
    assert (message["content"], message["updated"]) == (NEW_CARD, True)


def test_a_form_is_sent_with_its_fields_and_not_while_a_required_one_is_empty(
    person: Person, app: App, pressed: tuple[str, str, str]
) -> None:
    _, open_id, message_id = pressed
    press = {"open_id": open_id, "element": "submit", "form_value": {"notes": "fixed"}}
    empty = person.post(f"/messages/{message_id}/press", {**press, "form_value": {"notes": ""}})
    person.post(f"/messages/{message_id}/press", press)
    action = next(
        body["event"]["action"] for body in reversed(app.bodies) if "action" in body.get("event", {})
    )
    assert (empty["status_code"], empty["error"]) == (400, "notes is required")
    assert (action["name"], action["value"]) == ("submit", {"action": "resolve"})
    assert action["form_value"] == {"notes": "fixed"}


@pytest.mark.parametrize(
    ("status", "answer", "code"),
    [
        (500, b"{}", 200671),
        (302, b"", 200671),
        (200, b"<html>", 200672),
        (200, b'{"toast":{"type":"loud"}}', 200672),
        (200, b'{"card":{"type":"raw","data":{"schema":"2.0","oops":1}}}', 200673),
        (200, b'{"card":{"type":"raw","data":{"elements":[]}}}', 200830),
    ],
)
def test_a_bad_answer_to_a_press_shows_the_clients_code(
    person: Person, app: App, pressed: tuple[str, str, str], status: int, answer: bytes, code: int
) -> None:
    chat_id, open_id, message_id = pressed
    app.status, app.answer = status, answer
    told = person.post(f"/messages/{message_id}/press", {"open_id": open_id, "element": "ack"})
    [message] = person.messages(chat_id)
    assert (told["status"], told["client_code"]) == ("failed", code)
    assert message["content"] == CARD
    assert person.push(told["event_id"])["next_try_at"] is None, "a callback is never retried"


def test_a_press_on_an_app_that_is_away_is_200342(person: Person, pressed: tuple[str, str, str]) -> None:
    _, open_id, message_id = pressed
    person.sandbox.set_webhook("http://127.0.0.1:9/")
    told = person.post(f"/messages/{message_id}/press", {"open_id": open_id, "element": "ack"})
    assert told["client_code"] == 200342


def test_only_members_press(person: Person, pressed: tuple[str, str, str]) -> None:
    stranger = person.post("/people", {"name": "Tansy"})["open_id"]
    told = person.post(f"/messages/{pressed[2]}/press", {"open_id": stranger, "element": "ack"})
    assert told["status_code"] == 400


# what is shown


def test_messages_are_told_with_content_parsed_and_drawn(person: Person) -> None:
    chat_id = person.group()
    open_id = person.post(f"/groups/{chat_id}/members", {"name": "Juniper"})["open_id"]
    person.post(f"/groups/{chat_id}/messages", {"open_id": open_id, "text": "<b>hi</b>"})
    person.card(chat_id)
    said, card = person.messages(chat_id)
    assert said["sender"] == {"id": open_id, "name": "Juniper", "type": "user"}
    assert said["html"] == '<p class="said">&lt;b&gt;hi&lt;/b&gt;</p>'
    assert card["content"] == CARD
    assert "Acknowledge" in card["html"]


def test_the_stream_says_at_once_that_a_chat_changed(person: Person) -> None:
    chat_id = person.group()
    open_id = person.post(f"/groups/{chat_id}/members", {"name": "x"})["open_id"]
    with httpx.stream("GET", f"{person.sandbox.url}/_sandbox/stream", trust_env=False, timeout=12) as stream:
        lines = (json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: "))
        assert next(lines) == []
        person.post(f"/groups/{chat_id}/messages", {"open_id": open_id, "text": "hi"})
        assert next(topics for topics in lines if chat_id in topics)  # long before the 15 s of a quiet spell


def test_an_open_stream_does_not_hold_up_the_end(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "END_SECONDS", 60)
    sandbox = SandboxServer(settings(app.url)).start()
    with httpx.stream("GET", f"{sandbox.url}/_sandbox/stream", trust_env=False, timeout=60) as stream:
        next(stream.iter_lines())
        began = time.monotonic()
        sandbox.close()
        assert time.monotonic() - began < 30


def test_a_reset_empties_the_world_and_seeds_it_again(app: App) -> None:
    with SandboxServer(settings(app.url, seed=True)) as sandbox:
        person = Person(sandbox)
        person.group()
        person.post("/faults", {"down": True})
        person.post("/reset")
        names = [group["name"] for group in person.http.get("/groups").json()["items"]]
        faults = person.http.get("/faults").json()["items"]
        person.http.close()
    assert (names, faults) == (["支付值班", "新人欢迎群"], [])


# faults


def send(person: Person, chat_id: str) -> httpx.Response:
    body = {"receive_id": chat_id, "msg_type": "text", "content": '{"text":"hi"}'}
    return person.bot("POST", "/im/v1/messages?receive_id_type=chat_id", body)


def test_down_cuts_the_connection_and_nothing_is_done(person: Person) -> None:
    chat_id = person.group()
    person.post("/faults", {"down": True, "path": "/im/v1/messages", "times": 1})
    with pytest.raises(httpx.RemoteProtocolError):
        send(person, chat_id)
    assert person.messages(chat_id) == []
    assert send(person, chat_id).status_code == 200


def test_a_dropped_answer_leaves_the_deed_done(person: Person) -> None:
    chat_id = person.group()
    person.post("/faults", {"drop_answer": True, "path": "/im/v1/messages", "times": 1})
    with pytest.raises(httpx.TransportError):
        send(person, chat_id)
    assert len(person.messages(chat_id)) == 1


def test_a_status_and_a_code_are_answered_as_often_as_told(person: Person) -> None:
    chat_id = person.group()
    person.post("/faults", {"status": 502, "times": 2, "path": "/im/"})
    person.post("/faults", {"code": 99991663, "times": 3, "path": "/im/"})
    answers = [send(person, chat_id) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [502, 502, 400, 200]
    assert answers[0].text.startswith("<html>")
    assert answers[2].json()["code"] == 99991663


def test_slow_is_slow_and_ends_with_the_switch(person: Person) -> None:
    chat_id = person.group()
    person.post("/faults", {"slow_ms": 300, "path": "/im/"})
    began = time.monotonic()
    assert send(person, chat_id).status_code == 200
    assert time.monotonic() - began >= 0.3
    person.http.delete("/faults")
    assert person.http.get("/faults").json()["items"] == []


@pytest.mark.parametrize("wanted", [{}, {"times": 1}, {"down": True, "oops": 1}, {"status": "502"}])
def test_a_fault_nobody_understands_is_refused(person: Person, wanted: dict) -> None:
    assert person.post("/faults", wanted)["status_code"] == 400


# who may ask


def test_a_page_of_another_origin_cannot_drive_the_sandbox(person: Person) -> None:
    answer = person.http.post("/reset", json={}, headers={"Origin": "https://evil.example"})
    own = person.http.post("/groups", json={"name": "g"}, headers={"Origin": person.sandbox.url})
    assert (answer.status_code, own.status_code) == (403, 200)


@pytest.mark.parametrize(
    ("host", "status"), [("evil.example", 421), ("localhost", 200), ("127.0.0.1:80", 200), ("sandbox", 421)]
)
def test_only_own_host_names_are_answered(person: Person, host: str, status: int) -> None:
    assert person.http.get("/health", headers={"Host": host}).status_code == status


def test_bound_to_all_addresses_a_containers_name_is_answered_but_no_domain(app: App) -> None:
    with SandboxServer(settings(app.url, host="0.0.0.0", allowed_hosts=("feishu.test",))) as sandbox:
        hosts = ("sandbox", "feishu.test", "evil.example")
        url = f"{sandbox.url}/_sandbox/health"
        answers = [
            httpx.get(url, headers={"Host": host}, trust_env=False, timeout=60).status_code for host in hosts
        ]
    assert answers == [200, 200, 421]


def test_the_page_carries_a_strict_policy(person: Person) -> None:
    answer = httpx.get(f"{person.sandbox.url}/", trust_env=False, timeout=60)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "style=" not in answer.text
    assert "://" not in answer.text
