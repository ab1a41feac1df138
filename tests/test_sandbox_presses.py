"""Presses beyond one button: what fields send, the old callback, cards of which everyone has an own version."""

import hashlib
import json
from collections.abc import Iterator

import pytest

from botconsole.sandbox.fields import PressError, check_choice, form_value
from tests.sandbox_world import CARD, NEW_CARD, TOKEN, App, Person, second, until

pytest_plugins = ["tests.sandbox_fixtures"]

SUBMIT = {"tag": "button", "name": "go", "form_action_type": "submit"}
OPTIONS = [{"text": {"tag": "plain_text", "content": one}, "value": one} for one in ("p0", "p1")]
FIELDS = [
    {"tag": "input", "name": "note", "max_length": 5},
    {"tag": "input", "name": "title", "default_value": "down", "required": True},
    {"tag": "select_static", "name": "severity", "options": OPTIONS, "initial_option": "p1"},
    {"tag": "multi_select_static", "name": "tags", "options": OPTIONS, "selected_values": ["p0"]},
    {"tag": "date_picker", "name": "day", "initial_date": "2024-04-01"},
    {"tag": "checker", "name": "drill", "checked": False},
]
FORM = {"schema": "2.0", "body": {"elements": [{"tag": "form", "name": "f", "elements": [*FIELDS, SUBMIT]}]}}
UNTOUCHED = {
    "title": "down",
    "severity": "p1",
    "tags": ["p0"],
    "day": "2024-04-01 +0800",
    "drill": False,
}
OWN = {"tag": "button", "name": "ack", "text": {"tag": "plain_text", "content": "Mine"}, "value": {"a": 1}}
MINE = {"elements": [{"tag": "action", "actions": [OWN]}]}
DONE = {"elements": [{"tag": "markdown", "content": "done"}]}


@pytest.fixture
def chat_id(person: Person) -> str:
    chat_id = person.group()
    for name in ("ada", "bob"):
        person.post(f"/groups/{chat_id}/members", {"open_id": f"ou_{name}", "name": name})
    return chat_id


def press(
    person: Person, message_id: str, element: str = "ack", open_id: str = "ou_ada", **more: object
) -> dict:
    return person.post(f"/messages/{message_id}/press", {"open_id": open_id, "element": element, **more})


def card_of(person: Person, chat_id: str, open_id: str = "") -> dict:
    """The newest message's card as somebody sees it."""
    return person.http.get(f"/groups/{chat_id}/messages?open_id={open_id}").json()["items"][-1]["content"]


# what fields send


def test_a_form_sends_what_stood_in_the_fields_nobody_touched() -> None:
    submit = FORM["body"]["elements"][0]["elements"][-1]  # type: ignore[index]
    assert form_value(FORM, submit, None) == UNTOUCHED
    assert form_value(FORM, submit, {"note": "fixed", "severity": "p0"}) == {
        **UNTOUCHED,
        "note": "fixed",
        "severity": "p0",
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"title": ""}, "title is required"),
        ({"oops": "x"}, "the form has no field oops"),
        ({"note": "too long"}, "note takes at most 5"),
        ({"severity": "p9"}, "severity has no option p9"),
        ({"tags": ["p0", "p9"]}, "tags has no option p9"),
    ],
)
def test_the_client_sends_no_form_that_is_not_filled_in_as_it_asks(given: dict, said: str) -> None:
    submit = FORM["body"]["elements"][0]["elements"][-1]  # type: ignore[index]
    with pytest.raises(PressError, match=said):
        form_value(FORM, submit, given)


def test_a_required_field_is_missed_without_form_value_too(person: Person, chat_id: str) -> None:
    assert press(person, person.card(chat_id), "submit")["error"] == "notes is required"
    assert "only the submit button" in press(person, person.card(chat_id), form_value={"notes": "x"})["error"]


def test_a_field_outside_a_form_offers_its_options_only() -> None:
    check_choice(FIELDS[2], {"option": "p0"})
    with pytest.raises(PressError, match="severity has no option p9"):
        check_choice(FIELDS[2], {"option": "p9"})


def test_a_field_is_found_by_its_name_and_a_number_is_an_option_as_a_text(
    person: Person, chat_id: str
) -> None:
    minutes = {**FIELDS[2], "name": "mute", "options": [{**OPTIONS[0], "value": 60}]}
    message_id = person.card(chat_id, second(minutes))
    asked = {"open_id": "ou_ada", "tag": "select_static", "name": "mute", "value": {}}
    assert person.post(f"/messages/{message_id}/press", {**asked, "option": "60"})["client_code"] is None
    refused = person.post(f"/messages/{message_id}/press", {**asked, "option": "61"})
    assert refused["error"] == "mute has no option 61"


def test_nothing_is_pressed_in_a_chat_that_is_dissolved(person: Person, chat_id: str) -> None:
    message_id = person.card(chat_id)
    person.http.delete(f"/groups/{chat_id}")
    assert press(person, message_id)["error"] == "the chat is dissolved"


# the old callback


@pytest.fixture
def old(person: Person) -> Iterator[App]:
    """The app's second web server: the URL of its old card callback."""
    old = App()
    saved = person.post("/webhook", {"url": old.url, "which": ["old_callbacks"]})
    assert saved["old_callback_url"] == old.url
    old.bodies.clear()
    old.raw.clear()
    yield old
    old.close()


def test_the_old_callback_is_flat_plain_and_signed_with_the_token(
    person: Person, app: App, old: App, chat_id: str
) -> None:
    message_id = person.card(chat_id)
    told = press(person, message_id)
    raw, headers = old.raw[0]
    signed = (headers["X-Lark-Request-Timestamp"] + headers["X-Lark-Request-Nonce"] + TOKEN).encode() + raw
    body = json.loads(raw)
    assert headers["X-Lark-Signature"] == hashlib.sha1(signed).hexdigest()
    assert body == {
        "open_id": "ou_ada",
        "user_id": "u_ada",
        "tenant_key": "tk_sandbox",
        "open_message_id": message_id,
        "open_chat_id": chat_id,
        "token": body["token"],
        "action": {"tag": "button", "timezone": "Asia/Shanghai", "value": {"action": "ack"}},
    }
    assert "card.action.trigger" in app.types, "an app with both is called twice"
    assert [person.push(one)["type"] for one in told["event_ids"]] == [
        "card.action.trigger",
        "card.action.trigger_v1",
    ]


def test_the_old_callbacks_whole_answer_is_the_new_card(person: Person, old: App, chat_id: str) -> None:
    old.answer = json.dumps(NEW_CARD).encode()
    assert press(person, person.card(chat_id))["client_code"] is None
    assert card_of(person, chat_id) == NEW_CARD


def test_one_of_two_callbacks_that_succeeds_is_enough(
    person: Person, app: App, old: App, chat_id: str
) -> None:
    message_id = person.card(chat_id)
    app.status = 500
    assert press(person, message_id)["client_code"] is None
    old.status = 500
    assert press(person, message_id)["client_code"] == 200671


def test_an_old_answer_that_is_no_good_card_is_200673_and_another_one_changes_nothing(
    person: Person, app: App, old: App, chat_id: str
) -> None:
    person.sandbox.set_webhook("")
    old.answer = b'{"msg":"success"}'
    assert press(person, person.card(chat_id))["client_code"] is None
    assert card_of(person, chat_id) == CARD
    old.answer = b'{"schema":"2.0","oops":1}'
    assert press(person, person.card(chat_id))["client_code"] == 200673


def test_larksuites_card_handler_takes_the_old_callback(person: Person, old: App, chat_id: str) -> None:
    import lark_oapi as lark
    from lark_oapi.core.model import RawRequest

    press(person, person.card(chat_id))
    request = RawRequest()
    request.uri, (request.body, request.headers) = "/card", old.raw[0]
    handler = lark.CardActionHandler.builder("", TOKEN).register(lambda card: card.action.value).build()
    answer = handler.do(request)
    assert (answer.status_code, json.loads(answer.content)) == (200, {"action": "ack"})


def test_the_old_callback_is_taken_away_again(person: Person, old: App, chat_id: str) -> None:
    assert person.post("/webhook", {"url": "", "which": ["old_callbacks"]}) == {
        "url": person.sandbox.webhook_url
    }
    press(person, person.card(chat_id))
    assert old.bodies == []


# cards that are not shared


def test_an_answer_to_a_press_on_a_card_that_is_not_shared_shows_to_who_pressed(
    person: Person, app: App, chat_id: str
) -> None:
    message_id = person.card(chat_id, MINE)
    app.answer = json.dumps({"card": {"type": "raw", "data": DONE}}).encode()
    press(person, message_id)
    assert card_of(person, chat_id, "ou_ada") == DONE
    assert card_of(person, chat_id, "ou_bob") == card_of(person, chat_id) == MINE
    assert press(person, message_id, open_id="ou_bob")["client_code"] is None
    assert "no element" in press(person, message_id, open_id="ou_ada")["error"], "the button is gone for her"


def test_a_delayed_update_shows_to_the_people_it_names(person: Person, app: App, chat_id: str) -> None:
    message_id = person.card(chat_id, MINE)
    press(person, message_id)
    until(lambda: "card.action.trigger" in app.types)
    token = app.bodies[app.types.index("card.action.trigger")]["event"]["token"]
    update = {"token": token, "card": {**DONE, "open_ids": ["ou_bob"]}}
    assert person.bot("POST", "/interactive/v1/card/update", update).json()["code"] == 0
    assert card_of(person, chat_id, "ou_bob") == DONE
    assert card_of(person, chat_id, "ou_ada") == MINE


def test_a_shared_card_is_updated_for_all_and_names_nobody(person: Person, app: App, chat_id: str) -> None:
    shared = {**MINE, "config": {"update_multi": True}}
    press(person, person.card(chat_id, shared))
    until(lambda: "card.action.trigger" in app.types)
    token = app.bodies[app.types.index("card.action.trigger")]["event"]["token"]
    named = {"token": token, "card": {**shared, "open_ids": ["ou_bob"]}}
    assert person.bot("POST", "/interactive/v1/card/update", named).json()["code"] == 200320
