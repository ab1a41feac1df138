"""What people do in the sandbox and the app hears of: images, files, threads, reactions, recalls, group life."""

import base64
import json
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest

from botconsole.sandbox.store import LATER_COLUMNS, Store
from tests.sandbox_world import CARD, NEW_CARD, PNG, App, Person, until

pytest_plugins = ["tests.sandbox_fixtures"]

SEND = "/im/v1/messages?receive_id_type=chat_id"


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture
def chat_id(person: Person) -> str:
    """A group with Ada (its first member) and Bob."""
    chat_id = person.group()
    for name in ("Ada", "Bob"):
        person.post(f"/groups/{chat_id}/members", {"open_id": f"ou_{name}", "name": name})
    return chat_id


def say(person: Person, chat_id: str, **body: object) -> dict:
    return person.post(f"/groups/{chat_id}/messages", {"open_id": "ou_Ada", **body})


def said(person: Person, told: dict) -> dict:
    """The message as the push of it tells it."""
    return person.push(told["event_id"])["payload"]["event"]["message"]


def send(person: Person, chat_id: str, msg_type: str = "text", content: str = '{"text":"hi"}') -> str:
    body = {"receive_id": chat_id, "msg_type": msg_type, "content": content}
    return person.bot("POST", SEND, body).json()["data"]["message_id"]


def events(person: Person, event_type: str) -> list[dict]:
    return [push["payload"]["event"] for push in person.pushes() if push["type"] == event_type]


def resource(person: Person, message_id: str, key: str, kind: str) -> httpx.Response:
    return person.bot("GET", f"/im/v1/messages/{message_id}/resources/{key}?type={kind}", {})


# images, files, posts


def test_an_image_is_pushed_by_its_key_and_can_be_downloaded(person: Person, chat_id: str) -> None:
    message = said(person, say(person, chat_id, image=encoded(PNG)))
    key = json.loads(message["content"])["image_key"]
    answer = resource(person, message["message_id"], key, "image")
    assert message["message_type"] == "image"
    assert (answer.content, answer.headers["content-type"]) == (PNG, "image/png")


def test_a_file_is_pushed_with_its_name_and_can_be_downloaded(person: Person, chat_id: str) -> None:
    message = said(person, say(person, chat_id, file={"name": "日志.txt", "base64": encoded(b"boom")}))
    content = json.loads(message["content"])
    answer = resource(person, message["message_id"], content["file_key"], "file")
    assert (message["message_type"], content["file_name"]) == ("file", "日志.txt")
    assert answer.content == b"boom"
    assert "filename*=UTF-8''%E6%97%A5%E5%BF%97.txt" in answer.headers["content-disposition"]


def test_a_post_is_pushed_in_the_shape_of_received_posts(person: Person, chat_id: str) -> None:
    line = [{"tag": "at", "user_id": "ou_Bob"}, {"tag": "text", "text": "see"}]
    post = {"title": "T", "content": [line, [{"tag": "img", "image": encoded(PNG)}]]}
    message = said(person, say(person, chat_id, post=post, mention_bot=True))
    content = json.loads(message["content"])
    key = content["content"][1][0]["image_key"]
    assert content["content"][0] == [
        {"tag": "at", "user_id": "@_user_1", "user_name": "OpsBot"},
        {"tag": "at", "user_id": "@_user_2", "user_name": "Bob"},
        {"tag": "text", "text": "see", "style": []},
    ]
    assert [one["id"]["open_id"] for one in message["mentions"]] == [
        person.sandbox.config.bot_open_id,
        "ou_Bob",
    ]
    assert resource(person, message["message_id"], key, "image").content == PNG


def test_a_resource_is_only_found_through_its_message_and_by_its_type(person: Person, chat_id: str) -> None:
    first, second = (said(person, say(person, chat_id, image=encoded(PNG))) for _ in range(2))
    key = json.loads(first["content"])["image_key"]
    codes = [
        resource(person, second["message_id"], key, "image").json()["code"],
        resource(person, first["message_id"], key, "file").json()["code"],
        resource(person, first["message_id"], key, "").json()["code"],
        resource(person, person.card(chat_id), key, "image").json()["code"],
    ]
    assert codes == [234003, 234001, 234001, 234043]


def test_a_bot_outside_the_chat_downloads_nothing(person: Person, chat_id: str) -> None:
    message = said(person, say(person, chat_id, image=encoded(PNG)))
    person.http.delete(f"/groups/{chat_id}/bot")
    key = json.loads(message["content"])["image_key"]
    assert resource(person, message["message_id"], key, "image").json()["code"] == 234004


def test_a_persons_image_is_not_the_apps_to_send(person: Person, chat_id: str) -> None:
    message = said(person, say(person, chat_id, image=encoded(PNG)))
    body = {"receive_id": chat_id, "msg_type": "image", "content": message["content"]}
    assert person.bot("POST", SEND, body).json()["code"] == 230017


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"text": "x", "image": encoded(PNG)},
        {"image": "not base64!"},
        {"image": encoded(b"no image")},
        {"file": {"base64": encoded(b"x")}},
        {"post": {"content": [[{"tag": "blink"}]]}},
        {"post": {"content": 1}},
        {"text": "x", "in_thread": True},
        {"text": "x", "mentions": "ou_Bob"},
    ],
)
def test_a_message_nobody_understands_is_not_said(person: Person, chat_id: str, wrong: dict) -> None:
    assert say(person, chat_id, **wrong)["status_code"] == 400
    assert person.messages(chat_id) == []


def test_mentions_are_keyed_in_the_text_and_told_with_all_ids(person: Person, chat_id: str) -> None:
    bot = person.sandbox.config.bot_open_id
    message = said(person, say(person, chat_id, text="/lead now", mentions=[bot, "ou_Bob"]))
    assert json.loads(message["content"])["text"] == "@_user_1 @_user_2 /lead now"
    assert [(one["key"], one["id"]["open_id"], one["mentioned_type"]) for one in message["mentions"]] == [
        ("@_user_1", bot, "bot"),
        ("@_user_2", "ou_Bob", "user"),
    ]


# replies and threads


def history(person: Person, kind: str, container_id: str) -> list[str]:
    path = f"/im/v1/messages?container_id_type={kind}&container_id={container_id}"
    return [item["message_id"] for item in person.bot("GET", path, {}).json()["data"]["items"]]


def test_a_reply_by_a_person_names_its_root_and_parent(person: Person, chat_id: str) -> None:
    root = send(person, chat_id)
    first = say(person, chat_id, text="a", reply_to=root)
    second = said(person, say(person, chat_id, text="b", reply_to=first["message_id"]))
    assert (second["root_id"], second["parent_id"]) == (root, first["message_id"])
    assert "thread_id" not in second


def test_a_thread_is_listed_by_itself_and_the_chat_gives_its_root_only(person: Person, chat_id: str) -> None:
    root = send(person, chat_id)
    first = say(person, chat_id, text="a", reply_to=root, in_thread=True)
    second = say(person, chat_id, text="b", reply_to=first["message_id"])
    plain = say(person, chat_id, text="c", reply_to=root)
    assert said(person, first)["thread_id"] == first["thread_id"] == second["thread_id"]
    assert first["thread_id"].startswith("omt_")
    assert history(person, "chat", chat_id) == [root, plain["message_id"]]
    thread = history(person, "thread", first["thread_id"])
    assert thread == [root, first["message_id"], second["message_id"]]


def test_the_bot_replies_in_a_thread(person: Person, chat_id: str) -> None:
    root = say(person, chat_id, text="a")["message_id"]
    body = {"msg_type": "text", "content": '{"text":"re"}', "reply_in_thread": True}
    reply = person.bot("POST", f"/im/v1/messages/{root}/reply", body).json()["data"]
    got = person.bot("GET", f"/im/v1/messages/{root}", {}).json()["data"]["items"][0]
    assert reply["thread_id"] == got["thread_id"]
    assert history(person, "chat", chat_id) == [root]


def test_in_a_topic_group_every_message_begins_a_thread(person: Person) -> None:
    made = person.bot("POST", "/im/v1/chats", {"name": "t", "chat_mode": "topic"}).json()["data"]["chat_id"]
    root = send(person, made)
    body = {"msg_type": "text", "content": '{"text":"re"}'}
    reply = person.bot("POST", f"/im/v1/messages/{root}/reply", body).json()["data"]
    assert reply["thread_id"].startswith("omt_")
    assert history(person, "chat", made) == [root]


# recall, reactions, edits


def test_who_recalls_a_message_is_told_as_a_kind(person: Person, chat_id: str) -> None:
    own = say(person, chat_id, text="a")["message_id"]
    answer = person.http.request("DELETE", f"/messages/{own}", json={"open_id": "ou_Ada"}).json()
    event = person.push(answer["event_id"])["payload"]["event"]
    assert (event["message_id"], event["chat_id"], event["recall_type"]) == (own, chat_id, "message_owner")


def test_a_manager_recalls_what_others_said_and_a_stranger_does_not(person: Person) -> None:
    chat_id = person.bot("POST", "/im/v1/chats", {"name": "P0"}).json()["data"]["chat_id"]
    for name in ("Ada", "Bob"):
        person.post(f"/groups/{chat_id}/members", {"open_id": f"ou_{name}", "name": name})
    message_id = say(person, chat_id, text="a")["message_id"]
    refused = person.http.request("DELETE", f"/messages/{message_id}", json={"open_id": "ou_Bob"})
    person.bot("POST", f"/im/v1/chats/{chat_id}/managers/add_managers", {"manager_ids": ["ou_Bob"]})
    person.http.request("DELETE", f"/messages/{message_id}", json={"open_id": "ou_Bob"})
    assert refused.status_code == 400
    assert [one["recall_type"] for one in events(person, "im.message.recalled_v1")] == ["group_manager"]


def test_a_reaction_is_pushed_once_and_taking_it_back_too(person: Person, chat_id: str) -> None:
    message_id = say(person, chat_id, text="a")["message_id"]
    reaction = {"open_id": "ou_Bob", "emoji_type": "Pin"}
    first, again = (person.post(f"/messages/{message_id}/reactions", reaction) for _ in range(2))
    event = person.push(first["event_id"])["payload"]["event"]
    [shown] = person.messages(chat_id)
    person.http.request("DELETE", f"/messages/{message_id}/reactions", json=reaction)
    assert len(event.pop("action_time")) == 13
    assert event == {
        "message_id": message_id,
        "reaction_type": {"emoji_type": "Pin"},
        "operator_type": "user",
        "user_id": {"union_id": "on_Bob", "user_id": "u_Bob", "open_id": "ou_Bob"},
    }
    assert again == {"event_id": ""}
    assert shown["reactions"] == [{"emoji_type": "Pin", "people": [{"open_id": "ou_Bob", "name": "Bob"}]}]
    assert len(events(person, "im.message.reaction.deleted_v1")) == 1


def test_a_person_edits_an_own_text_and_nothing_is_pushed(person: Person, chat_id: str) -> None:
    message_id = say(person, chat_id, text="a")["message_id"]
    before = len(person.pushes())
    refused = person.http.patch(f"/messages/{message_id}", json={"open_id": "ou_Bob", "text": "b"})
    person.http.patch(f"/messages/{message_id}", json={"open_id": "ou_Ada", "text": "@Bob b"})
    [message] = person.messages(chat_id)
    assert refused.status_code == 400
    assert (message["content"], message["updated"]) == ({"text": "@_user_1 b"}, True)
    assert len(person.pushes()) == before


# group life


def test_a_member_leaves_by_himself(person: Person, chat_id: str) -> None:
    left = person.post(f"/groups/{chat_id}/leave", {"open_id": "ou_Bob"})
    event = person.push(left["event_id"])["payload"]["event"]
    assert (event["operator_id"]["open_id"], event["users"][0]["name"]) == ("ou_Bob", "Bob")


def test_a_group_is_renamed_by_a_person(person: Person, chat_id: str) -> None:
    person.http.patch(f"/groups/{chat_id}", json={"name": "new", "open_id": "ou_Bob"})
    [event] = events(person, "im.chat.updated_v1")
    assert event["operator_id"]["open_id"] == "ou_Bob"
    assert (event["before_change"], event["after_change"]) == ({"name": "g"}, {"name": "new"})


def test_a_dissolved_group_is_pushed_and_its_history_is_lost(person: Person, chat_id: str) -> None:
    say(person, chat_id, text="a")
    person.http.request("DELETE", f"/groups/{chat_id}", json={"open_id": "ou_Ada"})
    path = f"/im/v1/messages?container_id_type=chat&container_id={chat_id}"
    assert [one["chat_id"] for one in events(person, "im.chat.disbanded_v1")] == [chat_id]
    assert person.bot("GET", path, {}).json()["code"] == 232009


def test_dissolving_with_the_history_kept_pushes_nothing(person: Person, chat_id: str) -> None:
    person.http.request("DELETE", f"/groups/{chat_id}", json={"keep_history": True})
    got = person.bot("GET", f"/im/v1/chats/{chat_id}", {}).json()["data"]
    assert events(person, "im.chat.disbanded_v1") == []
    assert got["chat_status"] == "dissolved_save"


def test_the_bot_alone_is_told_that_it_was_removed(person: Person, chat_id: str) -> None:
    person.http.delete(f"/groups/{chat_id}/bot")
    say(person, chat_id, text="psst")
    assert person.pushes()[0]["type"] == "im.chat.member.bot.deleted_v1"


def test_a_reset_grants_all_scopes_again(person: Person) -> None:
    person.post("/scopes", {"missing": ["im:message.group_msg"]})
    person.post("/reset")
    assert person.http.get("/state").json()["missing_scopes"] == []


def test_the_state_file_of_an_earlier_release_still_opens(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite3"
    Store(str(path)).close()
    with sqlite3.connect(path) as database:
        for table, column, _ in LATER_COLUMNS:
            database.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    database.close()
    store = Store(str(path))
    tables = {table: store.rows(f"PRAGMA table_info({table})") for table, _, _ in LATER_COLUMNS}
    store.close()
    columns = {(table, row["name"]) for table, rows in tables.items() for row in rows}
    assert {(table, column) for table, column, _ in LATER_COLUMNS} <= columns


# cards: the delayed update and those for one person


@pytest.fixture
def token(person: Person, app: App, chat_id: str) -> str:
    """The token of a press on a card, which the app has answered."""
    pressed = {"open_id": "ou_Ada", "element": "ack"}
    person.post(f"/messages/{person.card(chat_id)}/press", pressed)
    return next(body for body in app.bodies if "token" in body.get("event", {}))["event"]["token"]


def update(person: Person, token: str, card: Any) -> int:
    return person.bot("POST", "/interactive/v1/card/update", {"token": token, "card": card}).json()["code"]


def test_a_press_token_updates_the_card_twice(person: Person, chat_id: str, token: str) -> None:
    assert [update(person, token, NEW_CARD) for _ in range(3)] == [0, 0, 300040]
    assert person.messages(chat_id)[0]["content"] == NEW_CARD


def test_a_press_token_takes_a_larger_card_than_a_message_does(person: Person, token: str) -> None:
    card = {"schema": "2.0", "body": {"elements": [{"tag": "markdown", "content": "x" * 50_000}]}}
    assert update(person, token, card) == 0


def test_a_press_token_is_good_for_thirty_minutes(person: Person, token: str) -> None:
    person.post("/clock", {"advance": 1801})
    assert update(person, token, NEW_CARD) == 300030


def test_a_press_token_is_good_only_after_the_answer(person: Person, app: App, chat_id: str) -> None:
    app.status = 500
    person.post(f"/messages/{person.card(chat_id)}/press", {"open_id": "ou_Ada", "element": "ack"})
    until(lambda: "card.action.trigger" in app.types)
    token = app.bodies[app.types.index("card.action.trigger")]["event"]["token"]
    assert update(person, token, NEW_CARD) == 300020


@pytest.mark.parametrize(
    ("card", "code"),
    [
        (json.dumps(NEW_CARD), 100030),
        ({"schema": "2.0", "oops": 1}, 100030),
        ({"elements": [], "config": {"update_multi": True}}, 100030),
        ({"elements": []}, 300090),
        ({**NEW_CARD, "open_ids": ["ou_Ada"]}, 200320),
    ],
)
def test_a_wrong_card_is_no_update_and_costs_no_use(
    person: Person, token: str, card: object, code: int
) -> None:
    assert update(person, token, card) == code
    assert [update(person, token, NEW_CARD) for _ in range(2)] == [0, 0]


def test_an_unknown_token_and_a_recalled_card_are_refused(person: Person, chat_id: str, token: str) -> None:
    person.http.delete(f"/messages/{person.messages(chat_id)[0]['message_id']}")
    assert update(person, "c-nobody", NEW_CARD) == 300020
    assert update(person, token, NEW_CARD) == 200000


def ephemeral(person: Person, chat_id: str, **more: object) -> dict:
    body = {"chat_id": chat_id, "open_id": "ou_Ada", "msg_type": "interactive", "card": CARD, **more}
    return person.bot("POST", "/ephemeral/v1/send", body).json()


def test_a_card_for_one_person_is_in_no_history_and_can_be_deleted_once(person: Person, chat_id: str) -> None:
    message_id = ephemeral(person, chat_id)["data"]["message_id"]
    assert person.messages(chat_id)[0]["only_for"] == "Ada"
    assert history(person, "chat", chat_id) == []
    patched = person.bot("PATCH", f"/im/v1/messages/{message_id}", {"content": json.dumps(CARD)})
    assert patched.json()["code"] == 230001
    codes = [
        person.bot("POST", "/ephemeral/v1/delete", {"message_id": message_id}).json()["code"]
        for _ in range(2)
    ]
    assert codes == [0, 18051]


def test_a_card_for_one_person_is_pressed_by_that_person_only(person: Person, chat_id: str) -> None:
    message_id = ephemeral(person, chat_id)["data"]["message_id"]
    presses = [{"open_id": f"ou_{name}", "element": "ack"} for name in ("Bob", "Ada")]
    told = [person.post(f"/messages/{message_id}/press", press) for press in presses]
    assert [one.get("status_code", one.get("status")) for one in told] == [400, "ok"]


def test_a_card_for_one_person_is_an_object_for_a_member_of_an_ordinary_group(
    person: Person, chat_id: str
) -> None:
    topics = person.bot("POST", "/im/v1/chats", {"name": "t", "chat_mode": "topic"}).json()["data"]["chat_id"]
    assert ephemeral(person, chat_id, card=json.dumps(CARD))["code"] == 99992402
    assert ephemeral(person, chat_id, open_id="ou_nobody")["code"] == 230001
    assert ephemeral(person, topics)["code"] == 230001


# what is read


def test_what_the_bot_wrote_is_read_when_its_conversation_is_opened(person: Person) -> None:
    told = person.post("/conversations", {"open_id": "ou_Ada", "name": "Ada"})
    sent = [send(person, told["chat_id"]) for _ in range(2)]
    read = person.push(person.post("/conversations", {"open_id": "ou_Ada"})["read_event_id"])
    event = read["payload"]["event"]
    assert read["type"] == "im.message.message_read_v1"
    assert (event["message_id_list"], event["reader"]["reader_id"]["open_id"]) == (sent, "ou_Ada")
    assert len(event["reader"]["read_time"]) == 13
    assert person.post(f"/groups/{told['chat_id']}/read") == {"event_id": ""}, "it is read once"
    last = send(person, told["chat_id"])
    again = person.push(person.post(f"/groups/{told['chat_id']}/read")["event_id"])
    assert again["payload"]["event"]["message_id_list"] == [last]


def test_what_is_read_in_a_group_is_not_told(person: Person, chat_id: str) -> None:
    send(person, chat_id)
    assert person.post(f"/groups/{chat_id}/read")["status_code"] == 400


# scopes


def test_an_event_is_pushed_only_with_one_of_its_scopes(person: Person, chat_id: str) -> None:
    members = ["im:chat", "im:chat:readonly", "im:chat.members:read"]
    person.post("/scopes", {"missing": members})
    assert person.post(f"/groups/{chat_id}/members", {"name": "Carol"})["event_id"] == ""
    person.post("/scopes", {"missing": members[:2]})
    assert person.post(f"/groups/{chat_id}/members", {"name": "Dave"})["event_id"]


def test_messages_to_the_bot_and_mentions_have_scopes_of_their_own(person: Person, chat_id: str) -> None:
    p2p = person.post("/conversations", {"open_id": "ou_Ada"})["chat_id"]
    person.post("/scopes", {"missing": ["im:message.p2p_msg", "im:message.p2p_msg:readonly"]})
    assert say(person, p2p, text="hi")["event_id"] == ""
    mentions = ["im:message.group_at_msg", "im:message.group_at_msg:readonly"]
    person.post("/scopes", {"missing": ["im:message.group_msg", *mentions]})
    assert say(person, p2p, text="hi")["event_id"]
    assert say(person, chat_id, text="hi", mention_bot=True)["event_id"] == ""
