"""What the bot can do with chats besides talking: pins, tabs, the top notice, managers, buzzes; Feishu's codes."""

import json
from collections.abc import Iterator

import pytest

from tests.sandbox_world import CARD_2, Feishu, calling

pytest_plugins = ["tests.sandbox_fixtures"]

TAB = {"tab_name": "INC-1", "tab_type": "url", "tab_content": {"url": "https://console.example/incidents/1"}}


@pytest.fixture(scope="module")
def feishu() -> Iterator[Feishu]:
    """A sandbox for all tests of this file, without rate limits."""
    with calling(limits=False) as feishu:
        yield feishu


def own_chat(feishu: Feishu, **more: object) -> str:
    return feishu.call("POST", "/im/v1/chats", {"name": "P0", **more})["data"]["chat_id"]


def people(feishu: Feishu, count: int) -> list[str]:
    return [feishu.control("POST", "/people", {"name": f"p{n}"})["open_id"] for n in range(count)]


def shown(feishu: Feishu, chat_id: str) -> dict:
    return next(chat for chat in feishu.control("GET", "/groups")["items"] if chat["chat_id"] == chat_id)


# pins


def pin(feishu: Feishu, message_id: str) -> dict:
    return feishu.call("POST", "/im/v1/pins", {"message_id": message_id})


def test_a_pin_says_who_pinned_what_where(feishu: Feishu) -> None:
    chat_id = feishu.group()
    message_id = feishu.card(chat_id, CARD_2)["data"]["message_id"]
    told = pin(feishu, message_id)["data"]["pin"]
    assert len(told.pop("create_time")) == 13
    assert told == {
        "message_id": message_id,
        "chat_id": chat_id,
        "operator_id": "cli_test",
        "operator_id_type": "app_id",
    }


def test_pinning_what_is_pinned_answers_the_first_pin(feishu: Feishu) -> None:
    message_id = feishu.send(feishu.group())["data"]["message_id"]
    assert pin(feishu, message_id)["data"] == pin(feishu, message_id)["data"]


def test_pins_are_listed_and_unpinning_twice_is_no_error(feishu: Feishu) -> None:
    chat_id = feishu.group()
    sent = [feishu.send(chat_id)["data"]["message_id"] for _ in range(3)]
    for message_id in sent:
        pin(feishu, message_id)
    codes = [feishu.call("DELETE", f"/im/v1/pins/{sent[0]}")["code"] for _ in range(2)]
    first = feishu.call("GET", "/im/v1/pins", chat_id=chat_id, page_size="1")["data"]
    rest = feishu.call("GET", "/im/v1/pins", chat_id=chat_id, page_size="1", page_token=first["page_token"])[
        "data"
    ]
    assert codes == [0, 0]
    assert [item["message_id"] for item in first["items"] + rest["items"]] == [sent[2], sent[1]]
    assert (rest["has_more"], "page_token" in rest) == (False, False)


def test_only_a_message_the_bot_is_with_can_be_pinned(feishu: Feishu) -> None:
    chat_id = feishu.group()
    message_id = feishu.send(chat_id)["data"]["message_id"]
    recalled = feishu.send(chat_id)["data"]["message_id"]
    feishu.call("DELETE", f"/im/v1/messages/{recalled}")
    assert pin(feishu, recalled)["code"] == 230011
    assert pin(feishu, "om_nobody")["code"] == 230001
    feishu.control("DELETE", f"/groups/{chat_id}/bot")
    assert pin(feishu, message_id)["code"] == 230002
    assert feishu.call("GET", "/im/v1/pins", chat_id=chat_id)["code"] == 230002


def test_where_only_the_owner_pins_a_bot_that_is_none_gets_230046(feishu: Feishu) -> None:
    [owner] = people(feishu, 1)
    chat_id = own_chat(feishu, owner_id=owner, pin_manage_setting="only_owner")
    assert pin(feishu, feishu.send(chat_id)["data"]["message_id"])["code"] == 230046


def test_the_sixth_pin_of_a_message_within_a_second_is_230047(fresh: Feishu) -> None:
    fresh.sandbox.world.limits.now = lambda: 0.0
    message_id = fresh.send(fresh.group())["data"]["message_id"]
    assert [pin(fresh, message_id)["code"] for _ in range(6)] == [0] * 5 + [230047]


def test_the_page_is_told_what_is_pinned(feishu: Feishu) -> None:
    chat_id = feishu.group()
    message_id = feishu.send(chat_id, {"text": "runbook"})["data"]["message_id"]
    pin(feishu, message_id)
    assert shown(feishu, chat_id)["pins"] == [{"message_id": message_id, "text": "runbook"}]


# tabs


def add_tabs(feishu: Feishu, chat_id: str, *tabs: dict) -> dict:
    return feishu.call("POST", f"/im/v1/chats/{chat_id}/chat_tabs", {"chat_tabs": list(tabs)})


def test_a_tab_is_listed_behind_the_chats_own_and_can_be_deleted(feishu: Feishu) -> None:
    chat_id = own_chat(feishu)
    added = add_tabs(feishu, chat_id, TAB)["data"]["chat_tabs"]
    listed = feishu.call("GET", f"/im/v1/chats/{chat_id}/chat_tabs/list_tabs")["data"]["chat_tabs"]
    body = {"tab_ids": [added[1]["tab_id"]]}
    left = feishu.call("DELETE", f"/im/v1/chats/{chat_id}/chat_tabs/delete_tabs", body)["data"]["chat_tabs"]
    assert listed == added
    assert {key: value for key, value in added[1].items() if key != "tab_id"} == TAB
    assert [tab["tab_type"] for tab in left] == ["message"]


@pytest.mark.parametrize(
    ("tab", "code"),
    [
        ({**TAB, "tab_name": "x" * 61}, 232047),
        ({**TAB, "tab_name": ""}, 232001),
        ({**TAB, "tab_type": "message"}, 232001),
        ({**TAB, "tab_content": {"url": "javascript:alert(1)"}}, 232048),
        ({**TAB, "tab_content": {}}, 232048),
    ],
)
def test_a_wrong_tab_is_not_added(feishu: Feishu, tab: dict, code: int) -> None:
    assert add_tabs(feishu, own_chat(feishu), tab)["code"] == code


def test_the_twenty_first_tab_is_232046(feishu: Feishu) -> None:
    chat_id = own_chat(feishu)
    assert add_tabs(feishu, chat_id, *[TAB] * 20)["code"] == 0
    assert add_tabs(feishu, chat_id, TAB)["code"] == 232046


def test_the_tab_of_the_chat_itself_cannot_be_deleted(feishu: Feishu) -> None:
    chat_id = own_chat(feishu)
    own = feishu.call("GET", f"/im/v1/chats/{chat_id}/chat_tabs/list_tabs")["data"]["chat_tabs"][0]["tab_id"]
    path = f"/im/v1/chats/{chat_id}/chat_tabs/delete_tabs"
    assert feishu.call("DELETE", path, {"tab_ids": [own]})["code"] == 232049
    assert feishu.call("DELETE", path, {"tab_ids": ["1"]})["code"] == 232001


# the top notice


def notice(feishu: Feishu, chat_id: str, *entries: dict) -> dict:
    path = f"/im/v1/chats/{chat_id}/top_notice/put_top_notice"
    return feishu.call("POST", path, {"chat_top_notice": list(entries)})


def test_a_message_becomes_the_top_notice_until_it_is_taken_away(feishu: Feishu) -> None:
    chat_id = feishu.group()
    message_id = feishu.send(chat_id, {"text": "read me"})["data"]["message_id"]
    assert notice(feishu, chat_id, {"action_type": "1", "message_id": message_id})["data"] == {}
    assert shown(feishu, chat_id)["notice"] == {"message_id": message_id, "text": "read me"}
    assert feishu.call("POST", f"/im/v1/chats/{chat_id}/top_notice/delete_top_notice")["code"] == 0
    assert shown(feishu, chat_id)["notice"] is None


@pytest.mark.parametrize("entry", [{}, {"action_type": "1"}, {"action_type": "1", "message_id": "om_x"}])
def test_a_top_notice_without_a_message_of_the_chat_is_232001(feishu: Feishu, entry: dict) -> None:
    assert notice(feishu, feishu.group(), entry)["code"] == 232001


# managers


def manage(feishu: Feishu, chat_id: str, what: str, ids: list[str], kind: str = "open_id") -> dict:
    path = f"/im/v1/chats/{chat_id}/managers/{what}_managers"
    return feishu.call("POST", path, {"manager_ids": ids}, member_id_type=kind)


def test_the_owner_names_and_dismisses_managers(feishu: Feishu) -> None:
    ada, bob = people(feishu, 2)
    chat_id = own_chat(feishu, user_id_list=[ada, bob])
    added = manage(feishu, chat_id, "add", [ada, bob])["data"]
    manage(feishu, chat_id, "delete", [ada])
    assert added == {"chat_managers": [ada, bob], "chat_bot_managers": []}
    assert feishu.call("GET", f"/im/v1/chats/{chat_id}")["data"]["user_manager_id_list"] == [bob]


def test_who_is_not_in_the_chat_cannot_manage_it(feishu: Feishu) -> None:
    assert manage(feishu, own_chat(feishu), "add", people(feishu, 1))["code"] == 232043


def test_only_the_owner_names_managers(feishu: Feishu) -> None:
    [owner] = people(feishu, 1)
    chat_id = own_chat(feishu, owner_id=owner)
    feishu.control("POST", "/scopes", {"missing": ["im:chat:operate_as_owner"]})
    code = manage(feishu, chat_id, "add", [owner])["code"]
    feishu.control("POST", "/scopes", {"missing": []})
    assert code == 232002
    assert manage(feishu, chat_id, "add", ["cli_test"], "app_id")["data"]["chat_bot_managers"] == ["cli_test"]


# buzzes


def buzz(feishu: Feishu, message_id: str, ids: list[str]) -> dict:
    path = f"/im/v1/messages/{message_id}/urgent_app"
    return feishu.call("PATCH", path, {"user_id_list": ids}, user_id_type="open_id")


def test_a_buzz_is_remembered_and_lists_who_is_not_in_the_chat(feishu: Feishu) -> None:
    inside, outside = people(feishu, 2)
    chat_id = own_chat(feishu, user_id_list=[inside])
    message_id = feishu.send(chat_id)["data"]["message_id"]
    told = buzz(feishu, message_id, [inside, outside, "ou_nobody"])["data"]
    buzz(feishu, message_id, [inside])
    [message] = feishu.control("GET", f"/groups/{chat_id}/messages")["items"]
    assert told == {"invalid_user_id_list": [outside, "ou_nobody"]}
    assert message["buzzed"] == [{"open_id": inside, "name": "p0", "times": 2}]


def test_a_buzz_for_nobody_or_too_many_is_230001(feishu: Feishu) -> None:
    message_id = feishu.send(own_chat(feishu))["data"]["message_id"]
    lists = ([], people(feishu, 1), [f"ou_{n}" for n in range(201)])
    assert [buzz(feishu, message_id, ids)["code"] for ids in lists] == [230001] * 3


def test_only_an_own_message_that_stands_can_be_buzzed(feishu: Feishu) -> None:
    chat_id = feishu.group()
    open_id = feishu.join(chat_id, name="Juniper")
    said = feishu.control("POST", f"/groups/{chat_id}/messages", {"text": "hi"})["message_id"]
    own = feishu.send(chat_id)["data"]["message_id"]
    feishu.call("DELETE", f"/im/v1/messages/{own}")
    assert buzz(feishu, said, [open_id])["code"] == 230012
    assert buzz(feishu, own, [open_id])["code"] == 230011


def test_where_only_the_owner_buzzes_the_bot_must_manage_the_chat(feishu: Feishu) -> None:
    [owner] = people(feishu, 1)
    chat_id = own_chat(feishu, owner_id=owner, urgent_setting="only_owner")
    message_id = feishu.send(chat_id)["data"]["message_id"]
    assert buzz(feishu, message_id, [owner])["code"] == 230052
    manage(feishu, chat_id, "add", ["cli_test"], "app_id")
    assert buzz(feishu, message_id, [owner])["code"] == 0


# scopes


def test_without_its_scope_a_call_is_99991672_and_names_the_scope(fresh: Feishu) -> None:
    chat_id = fresh.group()
    open_id = fresh.join(chat_id, name="Juniper")
    message_id = fresh.send(chat_id)["data"]["message_id"]
    fresh.control("POST", "/scopes", {"missing": ["im:message.urgent"]})
    refused = buzz(fresh, message_id, [open_id])
    assert refused["code"] == 99991672
    assert refused["error"]["permission_violations"] == [
        {"type": "action_scope_required", "subject": "im:message.urgent"}
    ]


def test_the_platforms_own_addresses_are_told_page_by_page(fresh: Feishu) -> None:
    told = fresh.call("GET", "/event/v1/outbound_ip", page_size="50")
    assert told["data"] == {"ip_list": ["127.0.0.1"], "has_more": False, "page_token": ""}
    assert fresh.call("GET", "/event/v1/outbound_ip", page_size="51")["code"] == 99992402


def test_group_history_needs_its_own_scope_and_conversations_do_not(fresh: Feishu) -> None:
    chat_id = fresh.group()
    p2p = fresh.control("POST", "/conversations", {"name": "Maple"})["chat_id"]
    fresh.control("POST", "/scopes", {"missing": ["im:message.group_msg"]})

    def history(container_id: str) -> dict:
        return fresh.call("GET", "/im/v1/messages", container_id_type="chat", container_id=container_id)

    refused = history(chat_id)
    assert refused["code"] == 230027
    assert refused["error"]["permission_violations"][0]["subject"] == "im:message.group_msg"
    assert history(p2p)["code"] == 0
    fresh.control("POST", "/scopes", {"missing": []})
    assert history(chat_id)["code"] == 0


def test_without_the_scope_only_messages_that_mention_the_bot_are_pushed(fresh: Feishu) -> None:
    chat_id = fresh.group()
    fresh.join(chat_id, name="Juniper")
    fresh.control("POST", "/scopes", {"missing": ["im:message.group_msg"]})
    path = f"/groups/{chat_id}/messages"
    quiet = fresh.control("POST", path, {"text": "hi"})
    loud = fresh.control("POST", path, {"text": "hi", "mention_bot": True})
    assert (quiet["event_id"], bool(loud["event_id"])) == ("", True)


# edits


def edit(feishu: Feishu, message_id: str, content: dict, msg_type: str = "text") -> dict:
    body = {"msg_type": msg_type, "content": json.dumps(content)}
    return feishu.call("PUT", f"/im/v1/messages/{message_id}", body)


def test_an_own_text_is_edited_up_to_twenty_times(feishu: Feishu) -> None:
    message_id = feishu.send(feishu.group())["data"]["message_id"]
    told = [edit(feishu, message_id, {"text": f"v{n}"}) for n in range(21)]
    assert [one["code"] for one in told] == [0] * 20 + [230072]
    assert told[19]["data"]["body"]["content"] == '{"text": "v19"}'
    assert told[19]["data"]["updated"] is True


def test_what_is_not_own_or_no_text_or_recalled_cannot_be_edited(feishu: Feishu) -> None:
    chat_id = feishu.group()
    feishu.join(chat_id, name="Juniper")
    said = feishu.control("POST", f"/groups/{chat_id}/messages", {"text": "hi"})["message_id"]
    card = feishu.card(chat_id, CARD_2)["data"]["message_id"]
    gone = feishu.send(chat_id)["data"]["message_id"]
    feishu.call("DELETE", f"/im/v1/messages/{gone}")
    codes = [edit(feishu, message_id, {"text": "x"})["code"] for message_id in (said, card, gone)]
    assert codes == [230071, 230054, 230011]


# posts


def post(*line: dict) -> dict:
    return {"zh_cn": {"title": "T", "content": [list(line)]}}


def test_a_post_is_read_back_without_its_locale_and_with_its_mentions(feishu: Feishu) -> None:
    chat_id = feishu.group()
    open_id = feishu.join(chat_id, name="Juniper")
    sent = feishu.send(
        chat_id, post({"tag": "at", "user_id": open_id}, {"tag": "md", "text": "**b**"}), "post"
    )
    assert json.loads(sent["data"]["body"]["content"]) == {
        "title": "T",
        "content": [
            [
                {"tag": "at", "user_id": "@_user_1", "user_name": "Juniper"},
                {"tag": "text", "text": "**b**", "style": []},
            ]
        ],
    }
    assert sent["data"]["mentions"][0]["id"] == open_id


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ({"title": "T", "content": [[]]}, 230001),
        ({"post": {"zh_cn": {"content": [[]]}}}, 230001),
        ({"zh_cn": {"content": [{"tag": "text", "text": "x"}]}}, 230001),
        (post({"tag": "blink"}), 230001),
        (post({"tag": "text"}), 230001),
        (post({"tag": "a", "text": "x", "href": "javascript:alert(1)"}), 230001),
        (post({"tag": "at", "user_id": "ou_nobody"}), 230001),
        (post({"tag": "img", "image_key": "img_foreign"}), 230017),
    ],
)
def test_a_wrong_post_is_refused(feishu: Feishu, content: dict, code: int) -> None:
    assert feishu.send(feishu.group(), content, "post")["code"] == code


@pytest.mark.parametrize(
    ("msg_type", "content", "code"),
    [
        ("image", {}, 230001),
        ("image", {"image_key": "img_foreign"}, 230017),
        ("file", {"file_key": "file_foreign"}, 230017),
        ("text", {"text": 1}, 230001),
    ],
)
def test_what_is_sent_must_have_its_key_and_be_the_apps_own(
    feishu: Feishu, msg_type: str, content: dict, code: int
) -> None:
    assert feishu.send(feishu.group(), content, msg_type)["code"] == code
