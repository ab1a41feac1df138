"""The control API as docs/sandbox.md promises it to tests in any language: each call, its answer, its refusals."""

import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from botconsole.sandbox import push
from botconsole.sandbox.server import create_world
from botconsole.sandbox.store import Store
from tests.sandbox_world import App, Person, settings, until

pytest_plugins = ["tests.sandbox_fixtures"]

JUNIPER = {"open_id": "ou_juniper", "name": "Juniper"}
FORM = {
    "schema": "2.0",
    "body": {
        "elements": [
            {
                "tag": "form",
                "name": "form",
                "elements": [
                    {"tag": "input", "name": "note", "required": True},
                    {
                        "tag": "button",
                        "name": "resolve",
                        "text": {"tag": "plain_text", "content": "Resolve"},
                        "form_action_type": "submit",
                        "behaviors": [{"type": "callback", "value": {"action": "resolve"}}],
                    },
                ],
            }
        ]
    },
}


@pytest.fixture
def chat_id(person: Person) -> str:
    chat_id = person.group()
    person.post(f"/groups/{chat_id}/members", JUNIPER)
    return chat_id


def test_a_group_is_made_with_the_bot_in_it(person: Person, app: App) -> None:
    made = person.post("/groups", {"name": "payments"})
    assert made["chat_id"].startswith("oc_")
    until(lambda: app.types == ["im.chat.member.bot.added_v1"])
    group = person.http.get("/groups").json()["items"][0]
    assert (group["chat_id"], group["name"], group["bot_in"]) == (made["chat_id"], "payments", True)


def test_a_member_comes_with_the_ids_one_chose_and_goes_again(person: Person, app: App) -> None:
    chat_id = person.group()
    came = person.post(f"/groups/{chat_id}/members", JUNIPER)
    went = person.http.delete(f"/groups/{chat_id}/members/ou_juniper").json()
    assert came == {"open_id": "ou_juniper", "event_id": came["event_id"]}
    until(lambda: {came["event_id"], went["event_id"]} <= {body["header"]["event_id"] for body in app.bodies})
    told = {
        body["header"]["event_id"]: body["event"]["users"] for body in app.bodies if "users" in body["event"]
    }
    assert told[came["event_id"]][0]["user_id"]["open_id"] == "ou_juniper"
    assert told[went["event_id"]][0]["name"] == "Juniper"


def test_a_message_is_said_pushed_and_read_back(person: Person, app: App, chat_id: str) -> None:
    said = person.post(f"/groups/{chat_id}/messages", {"open_id": "ou_juniper", "text": "hi"})
    until(lambda: "im.message.receive_v1" in app.types)
    message = person.messages(chat_id)[0]
    pushed = app.bodies[app.types.index("im.message.receive_v1")]
    assert said == {"message_id": message["message_id"], "event_id": pushed["header"]["event_id"]}
    assert (message["sender"]["id"], message["msg_type"], message["content"]) == (
        "ou_juniper",
        "text",
        {"text": "hi"},
    )


def test_who_is_new_and_named_joins_before_the_first_word(person: Person, chat_id: str) -> None:
    person.post(f"/groups/{chat_id}/messages", {"open_id": "ou_maple", "name": "Maple", "text": "hi"})
    pushed = [push["type"] for push in person.pushes()[:2]]
    assert pushed == ["im.message.receive_v1", "im.chat.member.user.added_v1"], "the newest first"
    assert person.messages(chat_id)[0]["sender"] == {"id": "ou_maple", "name": "Maple", "type": "user"}


def test_the_messages_are_read_page_by_page_and_by_what_changed(person: Person, chat_id: str) -> None:
    for number in range(5):
        person.post(f"/groups/{chat_id}/messages", {"open_id": "ou_juniper", "text": str(number)})
    newest = person.http.get(f"/groups/{chat_id}/messages?limit=2").json()
    before = newest["items"][0]["message_id"]
    older = person.http.get(f"/groups/{chat_id}/messages?limit=3&before={before}").json()
    later = person.http.get(f"/groups/{chat_id}/messages?since={newest['revision']}").json()
    texts = [[item["content"]["text"] for item in told["items"]] for told in (newest, older, later)]
    assert texts == [["3", "4"], ["0", "1", "2"], []]
    assert (newest["has_more"], older["has_more"]) == (True, False)


@pytest.mark.parametrize(
    "pressed",
    [
        {"element": "resolve"},
        {"element": "Resolve"},
        {"element": "body.elements.0.elements.1"},
        {"value": {"action": "resolve"}},
    ],
    ids=["name", "text", "path", "value"],
)
def test_a_press_tells_what_the_bot_answered(person: Person, app: App, chat_id: str, pressed: dict) -> None:
    message_id = person.card(chat_id, FORM)
    app.answer = json.dumps({"toast": {"type": "success", "content": "done"}}).encode()
    body = {"open_id": "ou_juniper", **pressed, "form_value": {"note": "fixed"}}
    told = person.post(f"/messages/{message_id}/press", body)
    assert (told["status"], told["http_status"], told["client_code"]) == ("ok", 200, None)
    assert told["answer"] == {"toast": {"type": "success", "content": "done"}}
    until(lambda: "card.action.trigger" in app.types)
    action = app.bodies[app.types.index("card.action.trigger")]["event"]["action"]
    assert (action["value"], action["form_value"]) == ({"action": "resolve"}, {"note": "fixed"})


def test_a_conversation_is_opened_with_a_person_one_names(person: Person, app: App) -> None:
    told = person.post("/conversations", JUNIPER)
    said = person.post(f"/groups/{told['chat_id']}/messages", {"open_id": "ou_juniper", "text": "hi"})
    assert (told["open_id"], len(told["event_ids"])) == ("ou_juniper", 2)
    until(lambda: "im.message.receive_v1" in app.types)
    pushed = app.bodies[app.types.index("im.message.receive_v1")]
    assert pushed["header"]["event_id"] == said["event_id"]
    assert pushed["event"]["message"]["chat_type"] == "p2p"


@pytest.mark.parametrize(
    ("switch", "effect"),
    [
        ("down", {"down": True}),
        ("slow", {"slow_ms": 5000}),
        ("5xx", {"status": 502}),
        ("drop_answer", {"drop_answer": True}),
        ("token_expired", {"token_expired": True}),
        ("no_ack", {"no_ack": True}),
        ("half_open", {"half_open": True}),
        ("limit_hit", {"code": 99991400, "connection_limit": True}),
        ("duplicate", {"duplicate": 1}),
        ("reorder", {"reorder": True}),
    ],
)
def test_the_pages_switches_are_set_by_name_and_cleared(person: Person, switch: str, effect: dict) -> None:
    told = person.post("/faults", {"switch": switch, "times": 3, "path": "/im/"})
    assert {**told, **effect, "times": 3, "path": "/im/"} == told
    assert person.http.get("/faults").json()["items"] == [told]
    person.http.delete("/faults")
    assert person.http.get("/faults").json()["items"] == []


def test_the_calls_tell_what_the_bot_asked_and_what_it_was_told(person: Person, chat_id: str) -> None:
    message_id = person.card(chat_id)
    call = person.http.get("/calls").json()["items"][0]
    assert (call["method"], call["path"], call["status"], call["code"]) == (
        "POST",
        "/open-apis/im/v1/messages",
        200,
        0,
    )
    assert json.loads(call["request"])["receive_id"] == chat_id
    assert json.loads(call["answer"])["data"]["message_id"] == message_id


def test_the_pushes_tell_their_tries(person: Person, app: App) -> None:
    app.status, app.answer = 500, b"out of order"
    person.post("/clock", {"factor": 1000})
    event_id = person.post("/groups", {"name": "g"})["event_id"]
    told: list[dict] = []

    def again() -> bool:
        told.append(person.http.get(f"/pushes/{event_id}").json())
        return told[-1]["retries"] >= 1 and told[-1]["state"] == "retrying"

    until(again)
    push = told[-1]
    assert (push["status"], push["type"]) == (500, "im.chat.member.bot.added_v1")
    assert (push["tries"][0]["status"], push["tries"][0]["answer"]) == (500, "out of order")
    assert push["payload"]["header"]["event_id"] == event_id


def test_the_clock_takes_another_speed(person: Person) -> None:
    assert person.post("/clock", {"factor": 60})["factor"] == 60


def test_a_reset_leaves_nothing_behind(person: Person, chat_id: str) -> None:
    assert person.post("/reset") == {}
    left = [person.http.get(path).json()["items"] for path in ("/groups", "/calls", "/pushes")]
    assert left == [[], [], []]
    assert person.http.get(f"/groups/{chat_id}/messages").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/groups", b"no json", 400),
        ("POST", "/groups", b"\xff\xfe", 400),
        ("POST", "/groups", b"[" * 100_000, 400),
        ("POST", "/groups", [1], 400),
        ("POST", "/groups", {"name": 1}, 400),
        ("POST", "/groups", {"name": "x" * 61}, 400),
        ("POST", "/groups", b'{"name": "\\ud800"}', 400),
        ("POST", "/groups/oc_nowhere/members", JUNIPER, 404),
        ("POST", "/groups/CHAT/members", {"users": []}, 400),
        ("POST", "/groups/CHAT/members", {"users": [1]}, 400),
        ("POST", "/groups/CHAT/members", {"open_id": "x" * 101}, 400),
        ("DELETE", "/groups/CHAT/members/ou_nobody", None, 404),
        ("POST", "/groups/CHAT/messages", {"open_id": "ou_nobody", "text": "hi"}, 404),
        ("POST", "/groups/CHAT/messages", {"open_id": "ou_juniper"}, 400),
        ("GET", "/groups/oc_nowhere/messages", None, 404),
        ("GET", "/groups/CHAT/messages?limit=-1", None, 400),
        ("GET", "/groups/CHAT/messages?limit=²", None, 400),
        ("GET", "/groups/CHAT/messages?limit=99999999999999999999", None, 400),
        ("GET", "/groups/CHAT/messages?before=om_nowhere", None, 404),
        ("POST", "/messages/om_nowhere/press", {"element": "ack"}, 404),
        ("POST", "/conversations", {"open_id": 1}, 400),
        ("POST", "/faults", {"switch": "oops"}, 400),
        ("POST", "/faults", {"switch": [1]}, 400),
        ("POST", "/webhook", {"url": "", "which": ["events", "old_callbacks"]}, 400),
        ("POST", "/webhook", {"url": "http://127.0.0.1:9/", "which": ["newer"]}, 400),
        ("POST", "/groups/oc_unknown/read", {}, 404),
        ("POST", "/faults", {"slow_ms": "5"}, 400),
        ("POST", "/faults", {"status": 99999}, 400),
        ("POST", "/faults", {"down": "yes"}, 400),
        ("DELETE", "/faults/x", None, 404),
        ("GET", "/pushes/ev_nowhere", None, 404),
        ("POST", "/clock", {}, 400),
        ("POST", "/clock", {"factor": 0}, 400),
        ("POST", "/clock", b'{"factor": NaN}', 400),
        ("POST", "/clock", b'{"advance": Infinity}', 400),
        ("POST", "/transport", {}, 400),
        ("POST", "/transport", {"transport": "pigeon"}, 400),
        ("POST", "/transport", {"transport": "webhook", "which": ["x"]}, 400),
        ("POST", "/nowhere", {}, 404),
        ("PUT", "/groups", {}, 405),
    ],
)
def test_what_makes_no_sense_is_refused_in_json(
    person: Person, chat_id: str, method: str, path: str, body: Any, status: int
) -> None:
    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    answer = person.http.request(method, path.replace("CHAT", chat_id), content=content)
    assert answer.status_code == status
    assert answer.json()["error"]


def test_the_bot_is_nobody_who_can_be_added(person: Person, chat_id: str) -> None:
    bot = {"open_id": person.sandbox.config.bot_open_id, "name": "x"}
    assert person.post(f"/groups/{chat_id}/members", bot)["status_code"] == 400


def test_the_page_answers_what_it_does_not_have_without_json(person: Person) -> None:
    answer = httpx.get(f"{person.sandbox.url}/nowhere", trust_env=False, timeout=60)
    assert (answer.status_code, answer.text) == (404, "Not Found")


def test_the_transport_is_switched_for_tests_at_once_and_strictly_only_with_a_client(person: Person) -> None:
    refused = person.post("/transport", {"transport": "long_connection", "strict": True})
    told = person.post("/transport", {"transport": "long_connection"})
    assert (refused["status_code"], told["transport"], told["connections"]) == (400, "long_connection", 0)
    half = person.post("/transport", {"transport": "webhook", "which": ["callbacks"]})
    assert half["transports"] == {"events": "long_connection", "callbacks": "webhook"}
    assert person.http.delete("/connections").json() == {"dropped": 0}


def test_an_event_for_a_client_that_comes_later_is_kept_and_tried_again(person: Person, app: App) -> None:
    person.post("/transport", {"transport": "long_connection"})
    event_id = person.post("/groups", {"name": "g"})["event_id"]
    until(lambda: person.push(event_id)["state"] == "retrying")
    person.post("/transport", {"transport": "webhook"})
    person.post("/clock", {"advance": 15})
    until(lambda: app.types == ["im.chat.member.bot.added_v1"])


def test_who_makes_a_group_owns_it_and_the_bot_does_not(person: Person) -> None:
    ada = person.post("/people", {"open_id": "ou_ada", "name": "Ada"})["open_id"]
    chat_id = person.group(open_id=ada)
    group = person.http.get("/groups").json()["items"][0]
    assert (group["owner_id"], [one["open_id"] for one in group["members"]]) == (ada, [ada])
    assert person.bot("DELETE", f"/im/v1/chats/{chat_id}", {}).json()["code"] == 232002


def test_a_known_person_is_changed(person: Person, chat_id: str) -> None:
    changed = {"visible": False, "resigned": True, "email": "juniper@sandbox.example"}
    told = person.post("/people", {"open_id": "ou_juniper", **changed})
    assert told == {**JUNIPER, "visible": False, "resigned": True}
    body = {"receive_id": changed["email"], "msg_type": "text", "content": '{"text": "hi"}'}
    assert person.bot("POST", "/im/v1/messages?receive_id_type=email", body).json()["code"] == 230029


def test_a_known_person_who_brings_a_name_joins_the_group_in_which_she_speaks(
    person: Person, app: App, chat_id: str
) -> None:
    other = person.group()
    assert person.post(f"/groups/{other}/messages", {**JUNIPER, "text": "hi"})["message_id"]
    assert [one["open_id"] for one in person.http.get(f"/groups/{other}/members").json()["items"]] == [
        "ou_juniper"
    ]
    until(lambda: app.types.count("im.chat.member.user.added_v1") == 2)


def test_the_name_in_a_press_is_the_components_and_makes_nobody(person: Person, chat_id: str) -> None:
    press = {"open_id": "ou_new", "name": "ack", "element": "ack"}
    assert person.post(f"/messages/{person.card(chat_id)}/press", press)["status_code"] == 404
    assert person.http.get(f"/groups/{chat_id}/members").json()["total"] == 1


def test_addresses_in_a_text_are_links_and_nothing_else_is_markup(person: Person, chat_id: str) -> None:
    text = 'see https://a.example/x?b=1&c=2, <b>"https://b.example/"</b>'
    person.post(f"/groups/{chat_id}/messages", {**JUNIPER, "text": text})
    link = '<a href="{0}" target="_blank" rel="noopener">{0}</a>'
    first, second = link.format("https://a.example/x?b=1&amp;c=2"), link.format("https://b.example/")
    assert person.messages(chat_id)[-1]["html"] == (
        f'<p class="said">see {first}, &lt;b&gt;&quot;{second}&quot;&lt;/b&gt;</p>'
    )


def test_the_gauge_of_a_conversation_bears_the_persons_name(person: Person, chat_id: str) -> None:
    body = {"receive_id": "ou_juniper", "msg_type": "text", "content": '{"text": "hi"}'}
    person.bot("POST", "/im/v1/messages?receive_id_type=open_id", body)
    assert person.http.get("/state").json()["peaks"] == [{"about": "Juniper", "second": 1, "most": 5}]


def test_where_the_limit_is_hit_the_bootstrap_says_so_with_its_own_code(person: Person) -> None:
    person.post("/faults", {"switch": "limit_hit"})
    config = person.sandbox.config
    body = {"AppID": config.app_id, "AppSecret": config.app_secret}
    answer = person.http.post(f"{person.sandbox.url}/callback/ws/endpoint", json=body)
    assert (answer.status_code, answer.json()["code"]) == (200, 1000040350)


def test_of_the_pushes_that_are_over_the_newest_are_kept(
    person: Person, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push, "KEPT_PUSHES", 3)
    monkeypatch.setattr(push, "SWEEP_EVERY", 10)
    for number in range(9):
        person.post("/events", {"event_type": f"x{number}", "event": {}})
    until(lambda: [one["state"] for one in person.pushes()] == ["acked"] * 9)
    person.post("/events", {"event_type": "x9", "event": {}})
    assert [one["type"] for one in person.pushes()] == ["x9", "x8", "x7"]


@pytest.mark.parametrize("limit", ["9" * 5000, "-1", "x", "٣"])
def test_a_limit_that_is_no_number_is_refused(person: Person, limit: str) -> None:
    assert person.http.get("/calls", params={"limit": limit}).status_code == 400


def test_a_page_whose_origin_is_nonsense_may_not_drive_it(person: Person) -> None:
    assert person.http.post("/groups", json={"name": "x"}, headers={"Origin": "http://["}).status_code == 403


def test_many_rows_are_written_all_or_none() -> None:
    store, sql = Store(), "INSERT INTO uuids VALUES ('message', ?, 'om_1', 0)"
    with pytest.raises(sqlite3.IntegrityError):
        store.many(sql, [("one",), ("one",)])
    store.many(sql, [("two",)])
    assert [row["uuid"] for row in store.rows("SELECT uuid FROM uuids")] == ["two"]
    store.close()


def test_presses_may_go_to_a_url_of_their_own(person: Person, app: App, chat_id: str) -> None:
    presses = App()
    told = person.post("/webhook", {"url": presses.url, "which": ["callbacks"]})
    assert told == {"url": app.url, "callback_url": presses.url}
    body = {"open_id": "ou_juniper", "element": "ack"}
    assert person.post(f"/messages/{person.card(chat_id)}/press", body)["status"] == "ok"
    assert presses.bodies[-1]["event"]["action"]["value"] == {"action": "ack"}
    assert "card.action.trigger" not in app.types
    assert person.post("/webhook", {"url": presses.url, "which": ["events"]})["callback_url"] == presses.url
    assert person.post("/webhook", {"url": app.url}) == {"url": app.url}
    presses.close()


def test_feishus_clock_does_not_go_back_at_a_restart(tmp_path: Path) -> None:
    config = settings(state_file=str(tmp_path / "state.sqlite3"))
    world = create_world(config)
    world.clock.advance(86_400)
    world.keep_uuid("message", "once", "om_1")
    world.store.close()
    again = create_world(config)
    assert again.clock.now() - time.time() > 86_000
    assert again.seen_uuid("message", "once", 3600) == "om_1"
    again.clock.advance(3601)
    assert again.seen_uuid("message", "once", 3600) == ""
    again.store.close()


def test_who_came_and_went_is_told_beside_the_messages_and_not_in_the_apps_history(
    person: Person, chat_id: str
) -> None:
    users = [{"name": f"p{number}"} for number in range(8)]
    person.post(f"/groups/{chat_id}/members", {"users": users})
    told = person.http.get(f"/groups/{chat_id}/messages").json()
    assert [(note["kind"], note["count"], len(note["who"])) for note in told["notes"]] == [
        ("bot_joined", 0, 0),
        ("joined", 1, 1),
        ("joined", 8, 5),
    ]
    assert told["items"] == []
    later = person.http.get(f"/groups/{chat_id}/messages?since={told['revision']}").json()
    assert (later["notes"], later["revision"]) == ([], told["revision"])
    path = f"/im/v1/messages?container_id_type=chat&container_id={chat_id}"
    assert person.bot("GET", path, {}).json()["data"]["items"] == []
