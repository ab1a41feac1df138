"""The webhook over HTTP: what is answered, what is stored, what is refused."""

import json
import time
from typing import Any

import pytest
from django.test import Client

from events.models import Bot, Event, OutboxItem, Refusal
from templates.starters import make_starters
from tests.feishu_events import (
    ENCRYPT_KEY,
    bot_entered,
    challenge,
    member_joined,
    message_received,
    p2p_chat_create,
    sealed,
    v2,
)

pytestmark = pytest.mark.django_db


def test_an_event_is_answered_200_and_stored(bot: Bot, push: Any) -> None:
    assert push(bot, member_joined(event_id="ev_1")).status_code == 200
    event = Event.objects.get()
    assert (event.event_id, event.transport, event.deliveries, event.late) == ("ev_1", "webhook", 1, False)


def test_an_unknown_type_is_stored_and_answered_200(bot: Bot, push: Any) -> None:
    assert push(bot, v2("im.chat.disbanded_v1", {"chat_id": "oc_1"})).status_code == 200
    assert Event.objects.get().status == Event.Status.IGNORED


def test_a_duplicate_event_is_answered_but_not_handled_twice(bot: Bot, push: Any) -> None:
    make_starters(bot)
    for _ in range(3):
        assert push(bot, member_joined(event_id="ev_1")).status_code == 200
    event = Event.objects.get()
    assert (event.deliveries, len(event.delivery_times), event.tries) == (3, 3, 1)
    assert OutboxItem.objects.count() == 1


def test_the_list_of_delivery_times_stops_growing(bot: Bot, push: Any) -> None:
    for _ in range(53):
        push(bot, member_joined(event_id="ev_1"))
    event = Event.objects.get()
    assert (event.deliveries, len(event.delivery_times)) == (53, 50)


def test_one_message_under_two_event_ids_is_one_event(bot: Bot, push: Any) -> None:
    push(bot, message_received(event_id="ev_1", message_id="om_1"))
    push(bot, message_received(event_id="ev_2", message_id="om_1"))
    assert [event.deliveries for event in Event.objects.all()] == [2]


def test_one_event_id_under_two_message_ids_is_one_event(bot: Bot, push: Any) -> None:
    push(bot, message_received(event_id="ev_1", message_id="om_1"))
    assert push(bot, message_received(event_id="ev_1", message_id="om_2")).status_code == 200
    assert [event.deliveries for event in Event.objects.all()] == [2]


def test_two_bots_may_receive_the_same_event_id(bot: Bot, push: Any) -> None:
    other = Bot.objects.create(
        name="two",
        slug="two",
        app_id="cli_two",
        app_secret="s",
        verification_token="vt_test",
        encrypt_key="ek_2",
    )
    push(bot, member_joined(event_id="ev_1"))
    push(other, member_joined(event_id="ev_1", app_id="cli_two"))
    assert Event.objects.count() == 2


def test_the_token_is_nowhere_in_what_is_stored(bot: Bot, push: Any) -> None:
    push(bot, member_joined())
    push(bot, p2p_chat_create())
    assert "vt_test" not in json.dumps([event.body for event in Event.objects.all()])


def test_an_event_an_hour_old_is_marked_late(bot: Bot, push: Any) -> None:
    push(bot, member_joined(created_at=time.time() - 61 * 60))
    assert Event.objects.get().late


def test_the_challenge_is_answered(bot: Bot, push: Any) -> None:
    response = push(bot, challenge("c-1"), sign=False)
    assert (response.status_code, response.json()) == (200, {"challenge": "c-1"})
    assert not Event.objects.exists()


REFUSALS = {
    "unsigned": {"sign": False},
    "not encrypted": {"encrypt": False},
    "signed long ago": {"now": time.time() - 9 * 3600},
}


@pytest.mark.parametrize("how", REFUSALS.values(), ids=REFUSALS.keys())
def test_every_refusal_looks_the_same_from_outside(bot: Bot, push: Any, how: dict[str, Any]) -> None:
    response = push(bot, member_joined(), **how)
    assert (response.status_code, response.json()) == (403, {"msg": "rejected"})
    assert not Event.objects.exists()


@pytest.mark.parametrize("document", [member_joined(token="vt_wrong"), member_joined(app_id="cli_wrong"), {}])
def test_a_wrong_token_app_or_shape_looks_the_same_too(bot: Bot, push: Any, document: dict[str, Any]) -> None:
    response = push(bot, document)
    assert (response.status_code, response.json()) == (403, {"msg": "rejected"})


def test_the_operator_sees_why_a_request_was_refused(bot: Bot, push: Any) -> None:
    push(bot, member_joined(token="vt_wrong"))
    refusal = Refusal.objects.get()
    assert "token does not match" in refusal.reason
    assert "vt_wrong" not in refusal.reason


def test_only_the_last_200_refusals_of_a_bot_are_kept(bot: Bot) -> None:
    for number in range(203):
        Refusal.objects.record(bot, f"reason {number}", "127.0.0.1")
    assert Refusal.objects.count() == 200
    assert Refusal.objects.first().reason == "reason 202"  # type: ignore[union-attr]


def test_anything_but_post_is_answered_405(bot: Bot, client: Client) -> None:
    assert client.get("/webhook/event/default").status_code == 405


def test_an_unknown_slug_is_answered_404(bot: Bot, client: Client) -> None:
    assert client.post("/webhook/event/nobody", b"{}", content_type="application/json").status_code == 404


def test_a_body_over_one_mebibyte_is_answered_413(bot: Bot, client: Client) -> None:
    response = client.post(
        "/webhook/event/default", b" " * (1024 * 1024 + 1), content_type="application/json"
    )
    assert response.status_code == 413


@pytest.mark.parametrize(("size", "status"), [(1024 * 1024, 200), (1024 * 1024 + 1, 413)])
def test_an_event_of_exactly_one_mebibyte_is_the_largest_accepted(
    bot: Bot, client: Client, size: int, status: int
) -> None:
    Bot.objects.update(encrypt_key="")
    body = json.dumps(v2("im.chat.disbanded_v1", {"chat_id": "oc_1"})).encode().ljust(size)
    response = client.post("/webhook/event/default", body, content_type="application/json")
    assert response.status_code == status
    assert Event.objects.count() == (status == 200)


def test_a_body_without_a_length_is_answered_411(bot: Bot, client: Client) -> None:
    headers = {"Transfer-Encoding": "chunked"}
    response = client.post("/webhook/event/default", b"{}", content_type="application/json", headers=headers)
    assert response.status_code == 411


@pytest.mark.parametrize("place", [0, 31, -1])
def test_a_signature_that_differs_in_one_character_is_refused(bot: Bot, client: Client, place: int) -> None:
    body, headers = sealed(member_joined(), ENCRYPT_KEY)
    signature = list(headers["X-Lark-Signature"])
    signature[place] = "1" if signature[place] == "0" else "0"
    headers["X-Lark-Signature"] = "".join(signature)
    response = client.post("/webhook/event/default", body, content_type="application/json", headers=headers)
    assert (response.status_code, Event.objects.count()) == (403, 0)


def post_plain(client: Client, body: bytes) -> int:
    """A body as it is, to the bot without an Encrypt Key."""
    Bot.objects.update(encrypt_key="")
    return client.post("/webhook/event/default", body, content_type="application/json").status_code


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b", "\udfff", "\U0001f600"])
def test_text_that_a_database_cannot_store_is_stored_without_it(bot: Bot, client: Client, name: str) -> None:
    make_starters(bot)
    document = member_joined((f"ou_a{name}", name), chat_id=f"oc_{name}", chat_name=name)
    assert post_plain(client, json.dumps(document).encode()) == 200
    assert Event.objects.get().status == Event.Status.HANDLED
    assert OutboxItem.objects.count() == 1


NOT_FOR_US = {
    "UTF-16": json.dumps(member_joined()).encode("utf-16"),
    "UTF-8 with a byte order mark": b"\xef\xbb\xbf" + json.dumps(member_joined()).encode(),
    "a surrogate in UTF-8": json.dumps(member_joined()).encode().replace(b"Ada", b"\xed\xa0\x80"),
    "300 levels": json.dumps(member_joined()).encode().replace(b'"Ada"', b"[" * 300 + b"]" * 300),
    "900 levels": json.dumps(member_joined()).encode().replace(b'"Ada"', b"[" * 900 + b"]" * 900),
}


@pytest.mark.parametrize("body", NOT_FOR_US.values(), ids=NOT_FOR_US.keys())
def test_a_body_that_nobody_could_read_later_is_refused(bot: Bot, client: Client, body: bytes) -> None:
    assert post_plain(client, body) == 403
    assert not Event.objects.exists()


def test_an_event_nested_a_hundred_levels_is_stored_and_can_be_read(bot: Bot, client: Client) -> None:
    body = json.dumps(member_joined()).encode().replace(b'"Ada"', b"[" * 100 + b"]" * 100)
    assert post_plain(client, body) == 200
    assert "[[[[" in json.dumps(Event.objects.get().body)


def test_a_v2_body_is_known_by_the_token_in_its_header_alone(bot: Bot, push: Any) -> None:
    elsewhere = {**member_joined(token="vt_wrong"), "token": "vt_test"}
    nowhere = {**member_joined(token=""), "token": "vt_test"}
    assert [push(bot, document).status_code for document in (elsewhere, nowhere)] == [403, 403]
    assert not Event.objects.exists()


def test_a_second_token_beside_the_header_is_not_stored(bot: Bot, push: Any) -> None:
    assert push(bot, {**member_joined(), "token": "vt_test"}).status_code == 200
    assert "vt_test" not in json.dumps(Event.objects.get().body)


def test_without_a_slug_the_only_bot_is_meant(bot: Bot, push: Any) -> None:
    assert push(bot, member_joined(), path="/webhook/event").status_code == 200


def test_without_a_slug_and_with_two_bots_nobody_is_meant(bot: Bot, push: Any) -> None:
    Bot.objects.create(name="two", slug="two", app_id="cli_two", app_secret="s", verification_token="v")
    assert push(bot, member_joined(), path="/webhook/event").status_code == 404


def test_a_bot_whose_secrets_cannot_be_opened_asks_for_the_event_again(
    bot: Bot, push: Any, settings: Any
) -> None:
    response_before = push(bot, member_joined())
    settings.SECRET_KEY = "another key than the one that sealed them"
    response = push(bot, member_joined(event_id="ev_2"), key=ENCRYPT_KEY)
    assert (response_before.status_code, response.status_code) == (200, 503)
    assert "SEALING_KEYS" in Refusal.objects.get().reason


def test_a_disabled_bot_stores_events_and_reacts_to_none(bot: Bot, push: Any) -> None:
    make_starters(bot)
    Bot.objects.update(enabled=False)
    assert push(bot, member_joined()).status_code == 200
    assert Event.objects.get().status == Event.Status.IGNORED
    assert not OutboxItem.objects.exists()


def test_a_duplicate_takes_at_most_four_queries(
    bot: Bot, push: Any, django_assert_max_num_queries: Any
) -> None:
    make_starters(bot)
    push(bot, member_joined(event_id="ev_1"))
    with django_assert_max_num_queries(4):
        push(bot, member_joined(event_id="ev_1"))


@pytest.mark.parametrize("build", [member_joined, p2p_chat_create, bot_entered])
def test_a_greeted_event_takes_at_most_eight_queries(
    bot: Bot, push: Any, django_assert_max_num_queries: Any, build: Any
) -> None:
    make_starters(bot)
    push(bot, member_joined(event_id="ev_0"))  # warms the content types
    with django_assert_max_num_queries(8):
        push(bot, build(event_id="ev_1"))
    assert OutboxItem.objects.count() == 2
