"""The sandbox's REST API refuses what Feishu refuses, with Feishu's codes; real sockets, no code of the product."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.sandbox_world import APP, BUTTON, CARD_1, CARD_2, PNG, Feishu, calling, second

pytest_plugins = ["tests.sandbox_fixtures"]


@pytest.fixture(scope="module")
def feishu() -> Iterator[Feishu]:
    """A sandbox for all tests of this file, without rate limits."""
    with calling(limits=False) as feishu:
        yield feishu


# tokens


def test_a_wrong_secret_is_refused_with_10014(feishu: Feishu) -> None:
    answer = feishu.http.post(
        "/open-apis/auth/v3/tenant_access_token/internal", json={**APP, "app_secret": "wrong"}
    )
    assert (answer.status_code, answer.json()["code"]) == (400, 10014)


def test_the_same_token_is_returned_while_thirty_minutes_remain_and_then_a_new_one(fresh: Feishu) -> None:
    def ask() -> dict:
        return fresh.http.post("/open-apis/auth/v3/tenant_access_token/internal", json=APP).json()

    fresh.control("POST", "/clock", {"advance": 5300})
    again = ask()
    fresh.control("POST", "/clock", {"advance": 200})
    later = ask()
    assert again["tenant_access_token"] == fresh.token
    assert 1895 <= again["expire"] <= 1900
    assert later["tenant_access_token"] != fresh.token
    assert fresh.call("GET", "/bot/v3/info")["code"] == 0, "the old token is good until its end"


def test_an_expired_token_is_99991663(fresh: Feishu) -> None:
    fresh.control("POST", "/clock", {"advance": 7201})
    assert fresh.call("GET", "/bot/v3/info")["code"] == 99991663


@pytest.mark.parametrize(
    ("header", "code"),
    [("", 99991661), ("Bearer t-nobody", 99991663), ("Bearer u-x", 99991668), ("Bearer x", 99991671)],
)
def test_a_token_that_is_no_good_has_its_code(feishu: Feishu, header: str, code: int) -> None:
    answer = feishu.http.get("/open-apis/bot/v3/info", headers={"Authorization": header})
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_an_error_names_the_log_id_that_its_header_names(feishu: Feishu) -> None:
    answer = feishu.raw("GET", "/im/v1/chats/oc_nobody")
    assert answer.headers["X-Tt-Logid"] == answer.json()["error"]["log_id"]


def test_an_unknown_call_is_404_and_listed_as_a_gap(feishu: Feishu) -> None:
    answer = feishu.raw("POST", "/im/v1/batch_messages/x")
    newest = feishu.control("GET", "/calls")["items"][0]
    assert answer.status_code == 404
    assert (newest["path"], newest["known"]) == ("/open-apis/im/v1/batch_messages/x", False)


def test_the_calls_list_keeps_no_secret_and_no_token(feishu: Feishu) -> None:
    feishu.http.post("/open-apis/auth/v3/tenant_access_token/internal", json=APP)
    listed = json.dumps(feishu.control("GET", "/calls"))
    assert APP["app_secret"] not in listed
    assert feishu.token not in listed


# messages


def test_a_message_with_the_same_uuid_within_an_hour_is_returned_not_sent_twice(feishu: Feishu) -> None:
    chat_id = feishu.group()
    first, second = feishu.send(chat_id, uuid="u-1"), feishu.send(chat_id, uuid="u-1")
    assert second["data"]["message_id"] == first["data"]["message_id"]
    assert len(feishu.control("GET", f"/groups/{chat_id}/messages")["items"]) == 1


def test_the_uuid_is_free_again_after_an_hour_of_the_sandboxs_clock(fresh: Feishu) -> None:
    chat_id = fresh.group()
    first = fresh.send(chat_id, uuid="u-1")
    fresh.control("POST", "/clock", {"advance": 3601})
    assert fresh.send(chat_id, uuid="u-1")["data"]["message_id"] != first["data"]["message_id"]


@pytest.mark.parametrize(
    ("content", "code"), [("no json", 230001), ("[]", 230001), ({"text": ""}, 230001), ("", 99992402)]
)
def test_content_must_be_a_string_holding_json(feishu: Feishu, content: object, code: int) -> None:
    assert feishu.send(feishu.group(), content)["code"] == code


def test_content_as_an_object_is_refused(feishu: Feishu) -> None:
    body = {"receive_id": feishu.group(), "msg_type": "text", "content": {"text": "hi"}}
    assert feishu.call("POST", "/im/v1/messages", body, receive_id_type="chat_id")["code"] == 99992402


def test_a_text_mentions_people_by_key(feishu: Feishu) -> None:
    chat_id = feishu.group()
    open_id = feishu.join(chat_id, name="Juniper")
    sent = feishu.send(chat_id, {"text": f'<at user_id="{open_id}">x</at> hi <at user_id="all"></at>'})[
        "data"
    ]
    assert json.loads(sent["body"]["content"]) == {"text": "@_user_1 hi @_all"}
    assert [(one["key"], one["id"], one["name"]) for one in sent["mentions"]] == [
        ("@_user_1", open_id, "Juniper")
    ]


def test_a_message_to_a_person_opens_the_conversation_once(feishu: Feishu) -> None:
    open_id = feishu.join(feishu.group(), name="Maple")
    body = {"receive_id": open_id, "msg_type": "text", "content": '{"text":"hi"}'}
    first = feishu.call("POST", "/im/v1/messages", body, receive_id_type="open_id")["data"]["chat_id"]
    second = feishu.call("POST", "/im/v1/messages", body, receive_id_type="open_id")["data"]["chat_id"]
    pushed = [push["type"] for push in feishu.control("GET", "/pushes")["items"]]
    assert first == second
    assert "p2p_chat_create" in pushed


@pytest.mark.parametrize(
    ("kind", "value", "code"),
    [("open_id", "ou_nobody", 99992351), ("email", "a@b.c", 230034), ("chat_id", "oc_x", 230001)],
)
def test_an_unknown_receiver_is_refused(feishu: Feishu, kind: str, value: str, code: int) -> None:
    body = {"receive_id": value, "msg_type": "text", "content": '{"text":"hi"}'}
    assert feishu.call("POST", "/im/v1/messages", body, receive_id_type=kind)["code"] == code


def test_a_person_outside_the_availability_is_230013(feishu: Feishu) -> None:
    hidden = feishu.control("POST", "/people", {"name": "Tansy", "visible": False})["open_id"]
    body = {"receive_id": hidden, "msg_type": "text", "content": '{"text":"hi"}'}
    assert feishu.call("POST", "/im/v1/messages", body, receive_id_type="open_id")["code"] == 230013


def test_a_bot_outside_the_chat_cannot_send_230002_nor_look_in_232011(feishu: Feishu) -> None:
    chat_id = feishu.group(bot=False)
    assert feishu.send(chat_id)["code"] == 230002
    assert feishu.call("GET", f"/im/v1/chats/{chat_id}/members")["code"] == 232011


def test_a_dissolved_chat_is_232009(feishu: Feishu) -> None:
    chat_id = feishu.call("POST", "/im/v1/chats", {"name": "gone"})["data"]["chat_id"]
    assert feishu.call("DELETE", f"/im/v1/chats/{chat_id}")["code"] == 0
    assert feishu.send(chat_id)["code"] == 232009
    assert feishu.call("PUT", f"/im/v1/chats/{chat_id}", {"name": "x"})["code"] == 232009
    assert feishu.call("GET", f"/im/v1/chats/{chat_id}")["data"]["chat_status"] == "dissolved"


def test_a_reply_carries_its_root_and_parent(feishu: Feishu) -> None:
    first = feishu.send(feishu.group())["data"]["message_id"]
    body = {"msg_type": "text", "content": '{"text":"re"}'}
    second = feishu.call("POST", f"/im/v1/messages/{first}/reply", body)["data"]
    third = feishu.call("POST", f"/im/v1/messages/{second['message_id']}/reply", body)["data"]
    assert (third["root_id"], third["parent_id"]) == (first, second["message_id"])


def test_a_recalled_message_cannot_be_patched_and_history_says_so(feishu: Feishu) -> None:
    chat_id = feishu.group()
    message_id = feishu.card(chat_id, CARD_2)["data"]["message_id"]
    feishu.call("DELETE", f"/im/v1/messages/{message_id}")
    patched = feishu.call("PATCH", f"/im/v1/messages/{message_id}", {"content": json.dumps(CARD_2)})
    listed = feishu.call("GET", "/im/v1/messages", container_id_type="chat", container_id=chat_id)
    assert patched["code"] == 230011
    assert listed["data"]["items"][0]["body"]["content"] == "This message was recalled"


# cards


def patch(feishu: Feishu, old: dict, new: dict) -> int:
    message_id = feishu.card(feishu.group(), old)["data"]["message_id"]
    return feishu.call("PATCH", f"/im/v1/messages/{message_id}", {"content": json.dumps(new)})["code"]


def test_a_card_of_1_0_is_patched_only_if_it_was_and_stays_shared(feishu: Feishu) -> None:
    alone = {"elements": CARD_1["elements"]}
    assert patch(feishu, CARD_1, CARD_1) == 0
    assert patch(feishu, alone, CARD_1) != 0
    assert patch(feishu, CARD_1, alone) != 0


def test_a_card_of_2_0_may_be_patched_as_it_is_but_not_turned_into_1_0(feishu: Feishu) -> None:
    assert patch(feishu, CARD_2, CARD_2) == 0
    assert patch(feishu, CARD_2, CARD_1) == 230099


def test_a_card_older_than_fourteen_days_is_230031(fresh: Feishu) -> None:
    message_id = fresh.card(fresh.group(), CARD_2)["data"]["message_id"]
    fresh.control("POST", "/clock", {"advance": 14 * 86400 + 1})
    fresh = Feishu(fresh.sandbox)
    answer = fresh.call("PATCH", f"/im/v1/messages/{message_id}", {"content": json.dumps(CARD_2)})
    fresh.http.close()
    assert answer["code"] == 230031


REFUSED_CARDS = [
    (second({"tag": "note", "elements": []}), 200861),
    (second({"tag": "action", "actions": []}), 200861),
    (second({"tag": "markdown", "content": "x", "colour": "red"}), 200621),
    (second({**BUTTON, "value": {"a": 1}}), 200621),
    (second(config={"update_multi": False}), 200621),
    (second({"tag": "markdown", "content": "<at id=ou_nobody></at>"}), 100290),
    (second({"tag": "markdown", "content": "<at ids=all,ou_nobody></at>"}), 100290),
    (second({"tag": "img", "img_key": "img_foreign"}), 200570),
    (second(*[{"tag": "hr"}] * 201), 11310),
    (second({"tag": "form", "name": "f", "elements": [{"tag": "input"}, BUTTON]}), 200530),
    (second({"tag": "markdown", "content": "x", "element_id": "1x"}), 200621),
    (second(elements=[]), 200621),
    ({"elements": [{"tag": "markdown", "content": "<at id=ou_nobody></at>"}]}, 100290),
    ({"elements": [{"tag": "blink"}]}, 200621),
    ({"type": "template", "data": {"template_id": "AAq"}}, 200380),
]


@pytest.mark.parametrize(("card", "sub_code"), REFUSED_CARDS)
def test_a_wrong_card_is_230099_with_the_card_services_sub_code(
    feishu: Feishu, card: dict, sub_code: int
) -> None:
    answer = feishu.card(feishu.group(), card)
    assert answer["code"] == 230099
    assert f"ErrCode: {sub_code};" in answer["msg"]


def test_a_card_that_is_no_json_is_200621(feishu: Feishu) -> None:
    answer = feishu.send(feishu.group(), "{oops", "interactive")
    assert (answer["code"], "ErrCode: 200621" in answer["msg"]) == (230099, True)


def test_a_card_above_30_kb_is_230025(feishu: Feishu) -> None:
    assert feishu.card(feishu.group(), second({"tag": "markdown", "content": "x" * 31_000}))["code"] == 230025


def test_the_2_0_card_of_the_fact_sheet_is_accepted(feishu: Feishu) -> None:
    chat_id = feishu.group()
    open_id, image = feishu.join(chat_id, name="Pixel"), feishu.upload(PNG)["data"]["image_key"]
    text = {"tag": "plain_text", "content": "x"}
    column = {"tag": "column", "width": "weighted", "weight": 1, "elements": [{"tag": "hr"}]}
    field = {"tag": "input", "name": "n", "input_type": "multiline_text", "max_length": 9, "required": True}
    submit = {
        **BUTTON,
        "name": "s",
        "form_action_type": "submit",
        "behaviors": [{"type": "callback", "value": {}}],
    }
    card = second(
        {"tag": "markdown", "element_id": "a", "content": f"**x** <at id={open_id}></at> <at id=all></at>"},
        {"tag": "column_set", "flex_mode": "stretch", "columns": [column]},
        {"tag": "img", "img_key": image, "alt": text},
        {**BUTTON, "type": "primary", "confirm": {"title": text, "text": text}},
        {"tag": "form", "name": "f", "elements": [field, submit]},
        config={"update_multi": True, "width_mode": "fill", "summary": {"content": "x"}},
        header={"template": "red", "title": text, "text_tag_list": [{"tag": "text_tag", "text": text}]},
        card_link={"url": "https://example.com"},
    )
    assert feishu.card(chat_id, card)["code"] == 0


def test_the_empty_card_is_accepted(feishu: Feishu) -> None:
    assert feishu.card(feishu.group(), {})["code"] == 0


# history


def test_history_pages_until_has_more_is_false_and_the_last_page_has_no_token(feishu: Feishu) -> None:
    chat_id = feishu.group()
    sent = [feishu.send(chat_id)["data"]["message_id"] for _ in range(5)]
    got, token = [], ""
    for _ in range(3):
        query = {"container_id_type": "chat", "container_id": chat_id, "page_size": "2", "page_token": token}
        data = feishu.call("GET", "/im/v1/messages", **query)["data"]
        got += [item["message_id"] for item in data["items"]]
        token = data.get("page_token", "")
    assert got == sent
    assert (data["has_more"], "page_token" in data) == (False, False)


def test_history_takes_seconds_and_tells_milliseconds(feishu: Feishu) -> None:
    chat_id = feishu.group()
    feishu.send(chat_id)
    query = {"container_id_type": "chat", "container_id": chat_id}
    now = int(time.time())
    past = feishu.call("GET", "/im/v1/messages", **query, end_time=str(now - 60))["data"]["items"]
    near = feishu.call("GET", "/im/v1/messages", **query, start_time=str(now - 60))["data"]["items"]
    milliseconds = feishu.call("GET", "/im/v1/messages", **query, start_time=str(now * 1000))
    assert (past, len(near), len(near[0]["create_time"])) == ([], 1, 13)
    assert milliseconds["code"] == 230001


def test_history_degrades_cards_unless_the_users_content_is_asked_for(feishu: Feishu) -> None:
    chat_id = feishu.group()
    feishu.card(chat_id, CARD_2)
    query = {"container_id_type": "chat", "container_id": chat_id}
    [plain] = feishu.call("GET", "/im/v1/messages", **query)["data"]["items"]
    query["card_msg_content_type"] = "user_card_content"
    [full] = feishu.call("GET", "/im/v1/messages", **query)["data"]["items"]
    degraded = {"title": "", "elements": [[{"tag": "text", "text": "two"}]]}
    assert json.loads(plain["body"]["content"]) == degraded
    assert json.loads(full["body"]["content"]) == CARD_2


@pytest.mark.parametrize("size", ["0", "51", "x"])
def test_a_page_size_outside_1_to_50_is_refused(feishu: Feishu, size: str) -> None:
    query = {"container_id_type": "chat", "container_id": feishu.group(), "page_size": size}
    assert feishu.call("GET", "/im/v1/messages", **query)["code"] == 99992402


# images


def test_an_uploaded_image_is_really_stored(feishu: Feishu) -> None:
    key = feishu.upload(PNG)["data"]["image_key"]
    answer = feishu.http.get(f"/_sandbox/images/{key}")
    assert (answer.content, answer.headers["content-type"]) == (PNG, "image/png")


@pytest.mark.parametrize(
    ("data", "code"), [(b"", 234010), (b"no image", 234011), (PNG + b"x" * (10 << 20), 234006)]
)
def test_what_is_no_image_or_too_large_is_refused(feishu: Feishu, data: bytes, code: int) -> None:
    assert feishu.upload(data)["code"] == code


def test_an_image_without_its_type_is_234001(feishu: Feishu) -> None:
    answer = feishu.raw("POST", "/im/v1/images", files={"image": ("a.png", PNG)})
    assert answer.json()["code"] == 234001


# chats and people


def test_a_chat_with_the_same_uuid_within_ten_hours_is_returned(fresh: Feishu) -> None:
    first = fresh.call("POST", "/im/v1/chats", {"name": "a"}, uuid="c-1")["data"]["chat_id"]
    again = fresh.call("POST", "/im/v1/chats", {"name": "a"}, uuid="c-1")["data"]["chat_id"]
    fresh.control("POST", "/clock", {"advance": 10 * 3600 + 1})
    later = Feishu(fresh.sandbox)
    other = later.call("POST", "/im/v1/chats", {"name": "a"}, uuid="c-1")["data"]["chat_id"]
    later.http.close()
    assert again == first != other


def test_a_chat_of_the_bots_own_has_no_owner_and_its_counts_are_strings(feishu: Feishu) -> None:
    open_id = feishu.join(feishu.group(), name="Sorrel")
    made = feishu.call("POST", "/im/v1/chats", {"name": "a", "user_id_list": [open_id]})["data"]
    got = feishu.call("GET", f"/im/v1/chats/{made['chat_id']}")["data"]
    assert "owner_id" not in made
    assert (got["user_count"], got["bot_count"], got["chat_status"]) == ("1", "1", "normal")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"name": "x" * 61}, 232001),
        ({"user_id_list": ["ou_nobody"]}, 232043),
        ({"user_id_list": [f"ou_{n}" for n in range(51)]}, 232001),
        ({"add_member_permission": "only_owner"}, 232001),
    ],
)
def test_a_chat_that_breaks_a_rule_is_not_created(feishu: Feishu, body: dict, code: int) -> None:
    assert feishu.call("POST", "/im/v1/chats", body)["code"] == code


def test_an_own_rename_comes_back_as_an_event_with_only_the_changed_keys(feishu: Feishu) -> None:
    chat_id = feishu.call("POST", "/im/v1/chats", {"name": "P0"})["data"]["chat_id"]
    assert feishu.call("PUT", f"/im/v1/chats/{chat_id}", {"name": "[已解决] P0"})["data"] == {}
    event = feishu.control("GET", "/pushes")["items"][0]["payload"]["event"]
    assert event["after_change"] == {"name": "[已解决] P0"}
    assert event["before_change"] == {"name": "P0"}
    assert event["operator_id"]["open_id"] == feishu.sandbox.config.bot_open_id


def test_a_bot_that_does_not_manage_a_chat_may_only_rename_it(feishu: Feishu) -> None:
    chat_id = feishu.control("GET", "/groups")["items"][0]["chat_id"]
    assert feishu.call("PUT", f"/im/v1/chats/{chat_id}", {"name": "支付值班"})["code"] == 0
    body = {"membership_approval": "approval_required"}
    assert feishu.call("PUT", f"/im/v1/chats/{chat_id}", body)["code"] == 232016
    assert feishu.call("DELETE", f"/im/v1/chats/{chat_id}")["code"] == 232002


def test_succeed_type_1_adds_who_can_be_added_and_lists_the_rest(feishu: Feishu) -> None:
    chat_id = feishu.call("POST", "/im/v1/chats", {"name": "a"})["data"]["chat_id"]
    known = feishu.control("POST", "/people", {"name": "Bramble"})["open_id"]
    hidden = feishu.control("POST", "/people", {"name": "Tansy", "visible": False})["open_id"]
    body = {"id_list": [known, hidden, "ou_nobody"]}
    strict = feishu.call("POST", f"/im/v1/chats/{chat_id}/members", body)
    path = f"/im/v1/chats/{chat_id}/members"
    lenient = feishu.call("POST", path, body, member_id_type="open_id", succeed_type="1")["data"]
    listed = feishu.call("GET", path)["data"]
    assert strict["code"] == 232043
    assert (lenient["invalid_id_list"], lenient["not_existed_id_list"]) == ([hidden], ["ou_nobody"])
    assert [item["member_id"] for item in listed["items"]] == [known]


def test_members_are_paged_and_bots_are_not_among_them(feishu: Feishu) -> None:
    chat_id = feishu.group()
    ids = [feishu.join(chat_id, name=f"p{n}") for n in range(3)]
    path = f"/im/v1/chats/{chat_id}/members"
    first = feishu.call("GET", path, page_size="2")["data"]
    rest = feishu.call("GET", path, page_size="2", page_token=first["page_token"])["data"]
    assert [item["member_id"] for item in first["items"] + rest["items"]] == ids
    assert (first["member_total"], rest["has_more"]) == (3, False)


def test_a_link_lasts_a_week_unless_asked_otherwise(feishu: Feishu) -> None:
    path = f"/im/v1/chats/{feishu.group()}/link"
    week = feishu.call("POST", path, {})["data"]
    assert abs(int(week["expire_time"]) - time.time() - 7 * 86400) < 5
    assert feishu.call("POST", path, {"validity_period": "permanently"})["data"]["is_permanent"] is True


def test_bot_info_has_the_bot_at_the_top_level(feishu: Feishu) -> None:
    answer = feishu.call("GET", "/bot/v3/info")
    assert (answer["code"], answer["bot"]["activate_status"]) == (0, 2)
    assert answer["bot"]["open_id"] == feishu.sandbox.config.bot_open_id


def test_a_person_outside_the_contact_range_is_41050(feishu: Feishu) -> None:
    known = feishu.join(feishu.group(), name="Juniper")
    assert feishu.call("GET", f"/contact/v3/users/{known}")["data"]["user"]["name"] == "Juniper"
    assert feishu.call("GET", "/contact/v3/users/ou_nobody")["code"] == 41050


def test_batch_get_id_leaves_out_the_id_of_who_is_not_found(feishu: Feishu) -> None:
    known = feishu.join(feishu.group(), name="Juniper")
    mail = feishu.call("GET", f"/contact/v3/users/{known}")["data"]["user"]["email"]
    body = {"emails": [mail, "nobody@example.com"]}
    found = feishu.call("POST", "/contact/v3/users/batch_get_id", body, user_id_type="open_id")
    assert [one.get("user_id") for one in found["data"]["user_list"]] == [known, None]


# limits


def test_the_sixth_message_into_a_chat_within_a_second_is_230020(fresh: Feishu) -> None:
    fresh.sandbox.world.limits.now = lambda: 0.0
    chat_id = fresh.group()
    codes = [fresh.send(chat_id)["code"] for _ in range(6)]
    assert codes == [0] * 5 + [230020]


def test_above_fifty_calls_a_second_the_gateway_answers_429_with_its_headers(fresh: Feishu) -> None:
    fresh.sandbox.world.limits.now = lambda: 0.0
    answers = (fresh.raw("GET", "/bot/v3/info") for _ in range(1000))
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["code"] == 99991400
    assert refused.headers["x-ogw-ratelimit-limit"] == "50"
    assert int(refused.headers["x-ogw-ratelimit-reset"]) >= 1
