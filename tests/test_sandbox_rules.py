"""The platform's finer rules, call by call: scopes, ids, settings, sizes, windows, limits, and the app store's way."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from botconsole.sandbox import SandboxConfig, SandboxServer
from botconsole.sandbox.api import ROUTES, Api
from botconsole.sandbox.errors import PlatformError
from botconsole.sandbox.limits import Limits, TooOftenError
from botconsole.sandbox.world import World
from tests.sandbox_world import APP, BUTTON, CARD_2, PNG, Feishu, calling, second, until

pytest_plugins = ["tests.sandbox_fixtures"]

GROUP_OF = {"set_bot_manager": "true"}


@pytest.fixture(scope="module")
def feishu() -> Iterator[Feishu]:
    """A sandbox for all tests of this file, without rate limits."""
    with calling(limits=False) as feishu:
        yield feishu


@pytest.fixture
def instant(fresh: Feishu) -> Feishu:
    """All its calls come at the same moment, however slow the machine is."""
    fresh.sandbox.world.limits.now = lambda: 0.0
    return fresh


@pytest.fixture
def world(feishu: Feishu) -> World:
    return feishu.sandbox.world


@pytest.fixture
def person(world: World) -> str:
    return world.add_person("Juniper")["open_id"]


def created(feishu: Feishu, body: dict | None = None, **params: str) -> dict:
    return feishu.call("POST", "/im/v1/chats", {"name": "P0", **(body or {})}, **params)


def owned_by(feishu: Feishu, person: str, body: dict | None = None, **params: str) -> str:
    """A chat the bot made, but a person owns."""
    return created(feishu, {"owner_id": person, **(body or {})}, **params)["data"]["chat_id"]


def without(feishu: Feishu, *scopes: str) -> None:
    feishu.control("POST", "/scopes", {"missing": list(scopes)})


@pytest.fixture
def scopes(feishu: Feishu) -> Iterator[None]:
    """The app's scopes may be taken away; afterwards it has them all."""
    yield
    without(feishu)


# every call


def filled(api: Api) -> str:
    path = api.path
    for name in ("message_id", "chat_id", "user_id", "file_key"):
        path = path.replace(f"{{{name}}}", "x_1")
    return path


@pytest.mark.parametrize(
    "api", [api for api in ROUTES if not api.open], ids=lambda api: f"{api.method} {api.path}"
)
def test_no_call_is_answered_without_a_token(feishu: Feishu, api: Api) -> None:
    answer = feishu.http.request(api.method, f"/open-apis{filled(api)}")
    assert (answer.status_code, answer.json()["code"]) == (400, 99991661)


@pytest.mark.parametrize(
    "api", [api for api in ROUTES if api.scopes], ids=lambda api: f"{api.method} {api.path}"
)
def test_a_call_without_any_of_its_scopes_names_them(feishu: Feishu, scopes: None, api: Api) -> None:
    without(feishu, *api.scopes)
    answer = feishu.call(api.method, filled(api))
    assert answer["code"] == 99991672
    assert [one["subject"] for one in answer["error"]["permission_violations"]] == list(api.scopes)


@pytest.mark.parametrize(
    "api", [api for api in ROUTES if api.method != "GET"], ids=lambda api: f"{api.method} {api.path}"
)
@pytest.mark.parametrize(
    "body",
    ['["no object"]', "{oops", '{"content": 1, "receive_id": {}, "id_list": "x", "name": []}', "[" * 100_000],
    ids=["list", "broken", "types", "deep"],
)
def test_a_body_that_makes_no_sense_is_refused_in_json(feishu: Feishu, api: Api, body: str) -> None:
    answer = feishu.raw(api.method, filled(api), content=body)
    assert answer.status_code == 400
    assert answer.json()["code"] != 0


def test_what_no_store_can_keep_is_refused(feishu: Feishu) -> None:
    answer = feishu.raw("POST", "/im/v1/chats", content='{"name": "\\ud800"}')
    assert (answer.status_code, answer.json()["code"]) == (400, 99992402)


@pytest.mark.parametrize("token", ["x", "pt_", "pt_²", "pt_99999999999999999999999"])
def test_a_page_token_of_ones_own_making_is_refused(feishu: Feishu, token: str) -> None:
    params = {"container_id_type": "chat", "container_id": feishu.group(), "page_token": token}
    assert feishu.call("GET", "/im/v1/messages", **params)["code"] == 99992402


def test_a_refusal_has_a_log_id_and_a_troubleshooter_that_names_it(feishu: Feishu) -> None:
    error = feishu.call("GET", "/im/v1/chats/oc_nobody")["error"]
    assert error["log_id"] in error["troubleshooter"]


# limits, exactly


class Time:
    """A clock for Limits."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_fifty_calls_a_second_are_allowed_and_the_next_one_when_the_first_is_a_second_old() -> None:
    time = Time()
    limits = Limits(True, time)
    for _ in range(50):
        limits.count_call("api")
    with pytest.raises(TooOftenError) as refused:
        limits.count_call("api")
    limits.count_call("another api")
    assert refused.value.headers == {"x-ogw-ratelimit-limit": "50", "x-ogw-ratelimit-reset": "2"}
    time.now = 1.0
    limits.count_call("api")


def test_a_limit_that_nobody_is_near_is_forgotten() -> None:
    time = Time()
    limits = Limits(True, time)
    for number in range(100):
        limits.count_message(f"patch om_{number}")
    time.now = 61.0
    limits.count_message("patch om_new")
    assert list(limits._messages) == list(limits._peaks) == ["patch om_new"]


def test_a_thousand_calls_a_minute_are_allowed_and_the_header_says_how_long_to_wait() -> None:
    time = Time()
    limits = Limits(True, time)
    for number in range(1000):
        time.now = number / 40
        limits.count_call("api")
    with pytest.raises(TooOftenError) as refused:
        limits.count_call("api")
    assert refused.value.headers["x-ogw-ratelimit-limit"] == "1000"
    assert 35 <= int(refused.value.headers["x-ogw-ratelimit-reset"]) <= 36
    time.now = 60.0
    limits.count_call("api")


def test_five_messages_a_second_into_a_chat_are_allowed() -> None:
    time = Time()
    limits = Limits(True, time)
    for _ in range(5):
        limits.count_message("oc_1")
    with pytest.raises(PlatformError) as refused:
        limits.count_message("oc_1")
    limits.count_message("oc_2")
    assert refused.value.code == 230020
    time.now = 1.0
    limits.count_message("oc_1")


def test_the_sixth_message_to_a_person_within_a_second_is_230020(instant: Feishu) -> None:
    person = instant.sandbox.world.add_person("Juniper")["open_id"]
    body = {"receive_id": person, "msg_type": "text", "content": '{"text": "hi"}'}
    codes = [
        instant.call("POST", "/im/v1/messages", body, receive_id_type="open_id")["code"] for _ in range(6)
    ]
    assert codes == [0, 0, 0, 0, 0, 230020]


def test_the_sixth_patch_of_a_message_within_a_second_is_230020(instant: Feishu) -> None:
    path = f"/im/v1/messages/{instant.card(instant.group(), CARD_2)['data']['message_id']}"
    codes = [instant.call("PATCH", path, {"content": json.dumps(CARD_2)})["code"] for _ in range(6)]
    assert codes == [0, 0, 0, 0, 0, 230020]


def test_a_refused_call_is_http_400_and_only_the_gateways_limit_429(instant: Feishu) -> None:
    chat_id = instant.group()
    body = {"receive_id": chat_id, "msg_type": "text", "content": '{"text": "hi"}'}
    answers = [
        instant.raw("POST", "/im/v1/messages", json=body, params={"receive_id_type": "chat_id"})
        for _ in range(6)
    ]
    assert (answers[-1].status_code, "x-ogw-ratelimit-limit" in answers[-1].headers) == (400, False)


def test_without_limits_nothing_is_too_often(feishu: Feishu) -> None:
    chat_id = feishu.group()
    assert {feishu.send(chat_id)["code"] for _ in range(60)} == {0}


# what is sent


@pytest.mark.parametrize(
    ("msg_type", "content", "code"),
    [
        ("text", {"text": "x" * 153_000}, 0),
        ("text", {"text": "x" * 154_000}, 230025),
        ("post", {"zh_cn": {"content": [[{"tag": "text", "text": "x" * 30_000}]]}}, 0),
        ("post", {"zh_cn": {"content": [[{"tag": "text", "text": "x" * 31_000}]]}}, 230025),
        ("nonsense", {}, 230001),
    ],
)
def test_a_text_may_have_150_kb_and_a_post_30(
    feishu: Feishu, msg_type: str, content: dict, code: int
) -> None:
    assert feishu.send(feishu.group(), content, msg_type)["code"] == code


def test_a_uuid_may_have_fifty_characters(feishu: Feishu) -> None:
    chat_id = feishu.group()
    assert [feishu.send(chat_id, uuid="u" * length)["code"] for length in (50, 51)] == [0, 99992402]


def test_a_reply_with_the_same_uuid_is_sent_once(feishu: Feishu) -> None:
    message_id = feishu.send(feishu.group())["data"]["message_id"]
    body = {"content": '{"text": "yes"}', "msg_type": "text", "uuid": "reply-1"}
    replies = [feishu.call("POST", f"/im/v1/messages/{message_id}/reply", body) for _ in range(2)]
    assert replies[0]["data"]["message_id"] == replies[1]["data"]["message_id"]


@pytest.mark.parametrize("kind", ["open_id", "union_id", "user_id", "email"])
def test_a_person_is_reached_by_each_kind_of_id(feishu: Feishu, world: World, person: str, kind: str) -> None:
    body = {"receive_id": world.must_person(person)[kind], "msg_type": "text", "content": '{"text": "hi"}'}
    sent = feishu.call("POST", "/im/v1/messages", body, receive_id_type=kind)["data"]
    chat = world.must_chat(sent["chat_id"])
    assert (chat["mode"], chat["person"]) == ("p2p", person)


def test_an_unknown_kind_of_id_is_refused(feishu: Feishu, person: str) -> None:
    body = {"receive_id": person, "msg_type": "text", "content": '{"text": "hi"}'}
    assert feishu.call("POST", "/im/v1/messages", body, receive_id_type="name")["code"] == 99992402
    assert feishu.call("POST", "/im/v1/messages", body)["code"] == 99992402


def test_a_divider_is_for_conversations_only(feishu: Feishu, person: str) -> None:
    content = json.dumps({"type": "divider", "params": {"divider_text": {"text": "new"}}})
    body = {"receive_id": person, "msg_type": "system", "content": content}
    assert feishu.call("POST", "/im/v1/messages", body, receive_id_type="open_id")["code"] == 0
    assert feishu.send(feishu.group(), content, "system")["code"] == 230001


def test_only_known_chats_and_people_can_be_shared(feishu: Feishu, person: str) -> None:
    chat_id = feishu.group()
    shared = [("share_chat", {"chat_id": chat_id}), ("share_user", {"user_id": person})]
    lost = [("share_chat", {"chat_id": "oc_lost"}), ("share_user", {"user_id": "ou_lost"})]
    assert [feishu.send(chat_id, content, kind)["code"] for kind, content in shared + lost] == [
        0,
        0,
        230001,
        230001,
    ]


def test_where_only_the_owner_speaks_the_bot_gets_230018(feishu: Feishu, person: str) -> None:
    silent = {"moderation_permission": "only_owner"}
    assert feishu.send(owned_by(feishu, person, silent))["code"] == 230018
    assert feishu.send(owned_by(feishu, person, silent, set_bot_manager="true"))["code"] == 0


def test_a_card_for_all_fails_where_only_the_owner_may_do_that(feishu: Feishu, person: str) -> None:
    chat_id = owned_by(feishu, person, {"at_all_permission": "only_owner"})
    answer = feishu.card(chat_id, second({"tag": "markdown", "content": "<at id=all></at>"}))
    assert (answer["code"], "ErrCode: 100290" in answer["msg"]) == (230099, True)
    assert feishu.card(chat_id, CARD_2)["code"] == 0


COLUMNS = {"tag": "column_set", "columns": [{"tag": "column", "elements": [{"tag": "hr"}]}]}


def nested(depth: int) -> dict:
    inner: dict[str, Any] = {"tag": "hr"}
    for _ in range(depth):
        inner = {"tag": "column_set", "columns": [{"tag": "column", "elements": [inner]}]}
    return inner


SUBMIT = {**BUTTON, "name": "submit", "form_action_type": "submit"}
FORM = {"tag": "form", "name": "f", "elements": [{"tag": "input", "name": "a"}, SUBMIT]}


@pytest.mark.parametrize(
    ("card", "sub_code"),
    [
        (second(nested(5)), 0),
        (second(nested(6)), 200621),
        (second(FORM), 0),
        (second({"tag": "column_set", "columns": [{"tag": "column", "elements": [FORM]}]}), 200621),
        (second({**FORM, "elements": [{"tag": "input", "name": "a"}, {"tag": "input", "name": "a"}, SUBMIT]}), 200530),
        (second({**FORM, "elements": [{"tag": "input", "name": "a"}]}), 200530),
        (second({**FORM, "elements": [{"tag": "chart", "chart_spec": {}}, SUBMIT]}), 200621),
        (second({"tag": "chart", "chart_spec": "x"}), 200550),
        (second(*[{"tag": "hr"}] * 200), 0),
        (second({"tag": "hr", "element_id": "a"}, {"tag": "hr", "element_id": "a"}), 200621),
        (second({"tag": "hr", "element_id": "a" * 21}), 200621),
        (second(header={"title": {"tag": "plain_text", "content": "x"}, "template": "pink"}), 200621),
        (second(header={"text_tag_list": [{"tag": "text_tag"}] * 4}), 200621),
        (second(i18n_elements={}), 200621),
        ({"elements": [{"tag": "markdown", "content": "x", "colour": "red"}]}, 0),
    ],
)  # fmt: skip
def test_a_card_is_judged_as_the_card_service_does(feishu: Feishu, card: dict, sub_code: int) -> None:
    answer = feishu.card(feishu.group(), card)
    assert (answer["code"], f"ErrCode: {sub_code};" in answer["msg"]) == (
        (230099, True) if sub_code else (0, False)
    )


# messages


def test_a_patch_answers_ok_and_nothing_else(feishu: Feishu) -> None:
    path = f"/im/v1/messages/{feishu.card(feishu.group(), CARD_2)['data']['message_id']}"
    assert feishu.call("PATCH", path, {"content": json.dumps(CARD_2)}) == {"code": 0, "msg": "ok", "data": {}}


def said_by(feishu: Feishu, chat_id: str) -> str:
    open_id = feishu.join(chat_id, name="Pixel")
    return feishu.control("POST", f"/groups/{chat_id}/messages", {"open_id": open_id, "text": "x"})[
        "message_id"
    ]


def test_others_messages_are_recalled_where_the_bot_manages_the_chat(feishu: Feishu) -> None:
    own, foreign = created(feishu)["data"]["chat_id"], feishu.group()
    feishu.sandbox.world.store.run("UPDATE chats SET owner_id = 'ou_x' WHERE chat_id = ?", foreign)
    codes = [
        feishu.call("DELETE", f"/im/v1/messages/{said_by(feishu, chat_id)}")["code"]
        for chat_id in (own, foreign)
    ]
    assert codes == [0, 230026]


def test_others_messages_are_recalled_for_a_year_and_own_ones_for_ever(fresh: Feishu) -> None:
    chat_id = created(fresh)["data"]["chat_id"]
    message_ids = [said_by(fresh, chat_id), fresh.send(chat_id)["data"]["message_id"]]
    fresh.sandbox.world.clock.advance(366 * 86400)
    fresh = Feishu(fresh.sandbox)
    codes = [fresh.call("DELETE", f"/im/v1/messages/{message_id}")["code"] for message_id in message_ids]
    fresh.http.close()
    assert codes == [230026, 0]


def test_history_in_milliseconds_is_refused(feishu: Feishu) -> None:
    params = {"container_id_type": "chat", "container_id": feishu.group(), "start_time": "1719800000123"}
    assert feishu.call("GET", "/im/v1/messages", **params)["code"] == 230001


def test_two_hundred_unread_buzzes_are_the_most(fresh: Feishu) -> None:
    chat_id = fresh.group()
    open_id = fresh.join(chat_id, name="Juniper")
    message_id, world = fresh.send(chat_id)["data"]["message_id"], fresh.sandbox.world
    for _ in range(200):
        other = world.add_message(chat_id, ("cli_test", "app"), "text", "{}", [], None)
        world.store.insert("buzzes", message_id=other["message_id"], open_id=open_id)
    answer = fresh.call(
        "PATCH",
        f"/im/v1/messages/{message_id}/urgent_app",
        {"user_id_list": [open_id]},
        user_id_type="open_id",
    )
    assert answer["code"] == 230023


@pytest.mark.parametrize(
    ("image_type", "width", "code"),
    [("message", 12000, 0), ("message", 12001, 234039), ("avatar", 4096, 0), ("avatar", 4097, 234039)],
)
def test_an_image_has_a_largest_width(feishu: Feishu, image_type: str, width: int, code: int) -> None:
    files = {"image": ("a.png", PNG.replace((8).to_bytes(4, "big") * 2, width.to_bytes(4, "big") * 2))}
    answer = feishu.raw("POST", "/im/v1/images", data={"image_type": image_type}, files=files).json()
    assert answer["code"] == code


def test_a_gif_may_be_2000_wide(feishu: Feishu) -> None:
    gifs = [b"GIF89a" + width.to_bytes(2, "little") * 2 for width in (2000, 2001)]
    assert [feishu.upload(gif)["code"] for gif in gifs] == [0, 234039]


# people


def test_another_apps_open_id_is_99992361(feishu: Feishu, world: World, person: str) -> None:
    foreign, chat_id = world.must_person(person)["other_open_id"], created(feishu)["data"]["chat_id"]
    text = {"receive_id": foreign, "msg_type": "text", "content": '{"text": "hi"}'}
    answers = [
        feishu.call("POST", "/im/v1/messages", text, receive_id_type="open_id"),
        feishu.call("POST", f"/im/v1/chats/{chat_id}/members", {"id_list": [foreign]}),
        created(feishu, {"user_id_list": [foreign]}),
        feishu.call("GET", f"/contact/v3/users/{foreign}"),
    ]
    assert [answer["code"] for answer in answers] == [99992361] * 4


def test_two_apps_know_a_seeded_person_by_different_open_ids() -> None:
    seeded = []
    for app_id in ("cli_a", "cli_b"):
        with SandboxServer(SandboxConfig(app_id, "s", port=0)) as sandbox:
            seeded.append(sandbox.world.store.rows("SELECT open_id, union_id, name FROM people"))
    ones, others = ({row["name"]: row for row in rows} for rows in seeded)
    assert ones.keys() == others.keys()
    assert all(ones[name]["open_id"] != others[name]["open_id"] for name in ones)
    assert all(ones[name]["union_id"] == others[name]["union_id"] for name in ones)


@pytest.fixture
def resigned(world: World) -> str:
    open_id = str(world.add_person("Sorrel")["open_id"])
    world.change_person(open_id, resigned=1, mobile=f"+86{open_id[-9:]}")
    return open_id


def test_who_resigned_gets_no_message_and_joins_no_chat(feishu: Feishu, resigned: str) -> None:
    text = {"receive_id": resigned, "msg_type": "text", "content": '{"text": "hi"}'}
    assert feishu.call("POST", "/im/v1/messages", text, receive_id_type="open_id")["code"] == 230029
    assert created(feishu, {"user_id_list": [resigned]})["code"] == 232022


@pytest.mark.parametrize(("succeed_type", "code"), [("0", 232022), ("1", 0), ("2", 232022)])
def test_who_resigned_is_left_out_only_by_succeed_type_1(
    feishu: Feishu, resigned: str, person: str, succeed_type: str, code: int
) -> None:
    chat_id = created(feishu)["data"]["chat_id"]
    body = {"id_list": [person, resigned]}
    answer = feishu.call("POST", f"/im/v1/chats/{chat_id}/members", body, succeed_type=succeed_type)
    assert answer["code"] == code
    if not code:
        assert answer["data"]["invalid_id_list"] == [resigned]
    members = feishu.call("GET", f"/im/v1/chats/{chat_id}/members")["data"]["items"]
    assert [one["member_id"] for one in members] == ([] if code else [person])


def test_who_resigned_is_found_by_mobile_only_if_asked_for(
    feishu: Feishu, world: World, resigned: str
) -> None:
    mobile = world.must_person(resigned)["mobile"]
    told = [
        feishu.call("POST", "/contact/v3/users/batch_get_id", {"mobiles": [mobile], "include_resigned": flag})
        for flag in (False, True)
    ]
    assert told[0]["data"]["user_list"] == [{"mobile": mobile}]
    found = told[1]["data"]["user_list"][0]
    assert (found["user_id"], found["status"]["is_resigned"]) == (
        feishu.call("GET", f"/contact/v3/users/{resigned}")["data"]["user"]["open_id"],
        True,
    )


def test_a_field_without_its_scope_is_not_there(feishu: Feishu, scopes: None, person: str) -> None:
    user = feishu.call("GET", f"/contact/v3/users/{person}")["data"]["user"]
    without(feishu, "contact:user.base:readonly", "contact:user.employee_id:readonly")
    less = feishu.call("GET", f"/contact/v3/users/{person}")["data"]["user"]
    assert user.keys() - less.keys() == {"name", "en_name", "avatar", "user_id"}


def test_fifty_addresses_are_looked_up_at_once_and_no_more(feishu: Feishu) -> None:
    codes = [
        feishu.call("POST", "/contact/v3/users/batch_get_id", {"emails": ["a@b.example"] * count})["code"]
        for count in (50, 51, 0)
    ]
    assert codes == [0, 40001, 40001]


# chats


@pytest.mark.parametrize(
    "body",
    [
        {"chat_type": "secret"},
        {"group_message_type": "letters"},
        {"chat_mode": "p2p"},
        {"membership_approval": True},
        {"join_message_visibility": "nobody"},
        {"add_member_permission": "all_members"},
        {"user_id_list": "ou_x"},
        {"user_id_list": ["ou_x"] * 51},
        {"bot_id_list": ["cli_x"] * 6},
    ],
)
def test_a_setting_that_does_not_exist_is_232001(feishu: Feishu, body: dict) -> None:
    assert created(feishu, body)["code"] == 232001


def test_permissions_may_be_spelt_with_a_space_as_in_the_docs(feishu: Feishu) -> None:
    assert created(feishu, {"edit_permission": "all members"})["code"] == 0


def test_an_avatar_is_an_uploaded_image(feishu: Feishu) -> None:
    key = feishu.upload(PNG)["data"]["image_key"]
    assert [created(feishu, {"avatar": avatar})["code"] for avatar in (key, "img_lost")] == [0, 232041]


def test_after_ten_hours_a_chats_uuid_makes_another_chat(fresh: Feishu) -> None:
    first = created(fresh, uuid="inc-1")["data"]["chat_id"]
    fresh.sandbox.world.clock.advance(10 * 3600 - 5)
    fresh = Feishu(fresh.sandbox)
    within = created(fresh, uuid="inc-1")["data"]["chat_id"]
    fresh.sandbox.world.clock.advance(10)
    later = created(fresh, uuid="inc-1")["data"]["chat_id"]
    fresh.http.close()
    assert (within == first, later == first) == (True, False)


def test_a_chats_uuid_belongs_to_its_owner(feishu: Feishu, person: str) -> None:
    one, other = created(feishu, uuid="inc-2"), created(feishu, {"owner_id": person}, uuid="inc-2")
    assert one["data"]["chat_id"] != other["data"]["chat_id"]
    assert created(feishu, uuid="u" * 51)["code"] == 232001


def test_the_new_owner_must_be_in_the_chat(feishu: Feishu, person: str) -> None:
    chat_id = created(feishu)["data"]["chat_id"]
    assert feishu.call("PUT", f"/im/v1/chats/{chat_id}", {"owner_id": person})["code"] == 232012


def test_a_bot_outside_sees_little_of_a_chat(feishu: Feishu) -> None:
    told = feishu.call("GET", f"/im/v1/chats/{feishu.group(bot=False)}")["data"]
    assert told.keys() == {"name", "avatar", "user_count", "bot_count", "chat_status"}


def test_a_dissolved_chat_still_says_so(feishu: Feishu) -> None:
    chat_id = created(feishu)["data"]["chat_id"]
    assert feishu.call("DELETE", f"/im/v1/chats/{chat_id}")["code"] == 0
    assert feishu.call("GET", f"/im/v1/chats/{chat_id}")["data"]["chat_status"] == "dissolved"
    assert feishu.call("DELETE", f"/im/v1/chats/{chat_id}")["code"] == 232009


def test_what_the_bot_made_but_does_not_own_it_changes_with_the_scope_for_it(
    feishu: Feishu, scopes: None, person: str
) -> None:
    chat_id = owned_by(feishu, person)
    path, change = f"/im/v1/chats/{chat_id}", {"membership_approval": "approval_required"}
    without(feishu, "im:chat:operate_as_owner")
    refused = [feishu.call("PUT", path, change)["code"], feishu.call("DELETE", path)["code"]]
    without(feishu)
    allowed = [feishu.call("PUT", path, change)["code"], feishu.call("DELETE", path)["code"]]
    assert (refused, allowed) == ([232016, 232002], [0, 0])


def test_where_only_the_owner_edits_a_bot_that_is_none_renames_nothing(
    feishu: Feishu, scopes: None, person: str
) -> None:
    chat_id = owned_by(feishu, person, {"edit_permission": "only_owner"})
    without(feishu, "im:chat:operate_as_owner")
    assert feishu.call("PUT", f"/im/v1/chats/{chat_id}", {"name": "x"})["code"] == 232002


def test_where_joining_needs_approval_a_bot_that_does_not_manage_only_asks(
    feishu: Feishu, scopes: None, world: World, person: str
) -> None:
    chat_id = owned_by(feishu, person, {"membership_approval": "approval_required"})
    without(feishu, "im:chat:operate_as_owner")
    other = str(world.add_person("Tansy")["open_id"])
    answer = feishu.call("POST", f"/im/v1/chats/{chat_id}/members", {"id_list": [other]})
    assert answer["data"]["pending_approval_id_list"] == [other]
    assert feishu.call("GET", f"/im/v1/chats/{chat_id}/members")["data"]["member_total"] == 1


def test_where_only_the_owner_adds_a_bot_that_is_none_gets_232017(
    feishu: Feishu, scopes: None, person: str
) -> None:
    settings = {"add_member_permission": "only_owner", "share_card_permission": "not_allowed"}
    chat_id = owned_by(feishu, person, settings)
    without(feishu, "im:chat:operate_as_owner")
    assert feishu.call("POST", f"/im/v1/chats/{chat_id}/members", {"id_list": [person]})["code"] == 232017


def test_a_group_has_room_for_5000(fresh: Feishu) -> None:
    world, chat_id = fresh.sandbox.world, created(fresh)["data"]["chat_id"]
    ids = [f"ou_{number}" for number in range(5000)]
    world.store.many(
        "INSERT INTO people (open_id, union_id, user_id, name) VALUES (?, ?, ?, 'x')",
        [(one, one, one) for one in ids],
    )
    world.store.many("INSERT INTO members VALUES (?, ?, 1)", [(chat_id, one) for one in ids])
    late = world.add_person("Juniper")["open_id"]
    assert fresh.call("POST", f"/im/v1/chats/{chat_id}/members", {"id_list": [late]})["code"] == 232013


def test_at_most_fifty_people_and_five_bots_are_added_at_once(feishu: Feishu) -> None:
    path = f"/im/v1/chats/{created(feishu)['data']['chat_id']}/members"
    assert feishu.call("POST", path, {"id_list": [f"ou_{number}" for number in range(51)]})["code"] == 232001
    bots = {"id_list": [f"cli_{number}" for number in range(6)]}
    assert feishu.call("POST", path, bots, member_id_type="app_id")["code"] == 232001


def test_the_bot_knows_whether_it_is_in_a_chat(feishu: Feishu) -> None:
    paths = [f"/im/v1/chats/{feishu.group(bot=inside)}/members/is_in_chat" for inside in (True, False)]
    assert [feishu.call("GET", path)["data"] for path in paths] == [
        {"is_in_chat": True},
        {"is_in_chat": False},
    ]


@pytest.mark.parametrize(("size", "code"), [("100", 0), ("101", 99992402)])
def test_members_come_in_pages_of_up_to_a_hundred(feishu: Feishu, size: str, code: int) -> None:
    path = f"/im/v1/chats/{feishu.group()}/members"
    assert feishu.call("GET", path, page_size=size)["code"] == code


# the way of an app of the app store


def ticket(feishu: Feishu) -> str:
    """The last app_ticket that was pushed."""
    pushes = feishu.http.get("/_sandbox/pushes").json()["items"]
    return next(push for push in pushes if push["type"] == "app_ticket")["payload"]["event"]["app_ticket"]


def auth(feishu: Feishu, path: str, body: dict) -> dict:
    return feishu.http.post(f"/open-apis/auth/v3/{path}", json=body).json()


def test_a_ticket_becomes_an_app_token_and_that_a_tenants_token(fresh: Feishu) -> None:
    assert auth(fresh, "app_ticket/resend", APP) == {"code": 0, "msg": "success"}
    app = auth(fresh, "app_access_token", {**APP, "app_ticket": ticket(fresh)})
    body = {"app_access_token": app["app_access_token"], "tenant_key": "tk_sandbox"}
    tenant = auth(fresh, "tenant_access_token", body)
    fresh.token = tenant["tenant_access_token"]
    assert (app["code"], tenant["code"], "data" in tenant) == (0, 0, False)
    assert fresh.call("GET", "/bot/v3/info")["code"] == 0


def test_an_old_ticket_is_10012(fresh: Feishu) -> None:
    auth(fresh, "app_ticket/resend", APP)
    old = ticket(fresh)
    auth(fresh, "app_ticket/resend", APP)
    assert auth(fresh, "app_access_token", {**APP, "app_ticket": old})["code"] == 10012
    assert auth(fresh, "app_access_token", APP)["code"] == 10012


def test_a_tenant_without_the_app_gets_no_token(fresh: Feishu) -> None:
    auth(fresh, "app_ticket/resend", APP)
    token = auth(fresh, "app_access_token", {**APP, "app_ticket": ticket(fresh)})["app_access_token"]
    told = [
        {"app_access_token": token, "tenant_key": "tk_other"},
        {"app_access_token": "a-x", "tenant_key": "tk_sandbox"},
    ]
    assert [auth(fresh, "tenant_access_token", body)["code"] for body in told] == [10003, 99991664]


def test_an_app_token_is_none_for_calls(fresh: Feishu) -> None:
    fresh.token = auth(fresh, "app_access_token/internal", APP)["app_access_token"]
    assert fresh.call("GET", "/bot/v3/info")["code"] == 99991664


def test_who_left_the_availability_is_not_written_to_by_the_chats_id_either(feishu: Feishu) -> None:
    told = feishu.control("POST", "/conversations", {"name": "Pixel"})
    assert feishu.send(told["chat_id"])["code"] == 0
    feishu.control("POST", "/people", {"open_id": told["open_id"], "visible": False})
    assert feishu.send(told["chat_id"])["code"] == 230013
    feishu.control("POST", "/people", {"open_id": told["open_id"], "visible": True, "resigned": True})
    assert feishu.send(told["chat_id"])["code"] == 230029


def test_an_app_may_name_itself_among_a_new_chats_bots(feishu: Feishu) -> None:
    assert created(feishu, {"bot_id_list": ["cli_test"]})["code"] == 0
    assert created(feishu, {"bot_id_list": ["cli_other"]})["code"] == 232004


def test_a_long_answer_is_listed_with_its_code(fresh: Feishu) -> None:
    chat_id = fresh.group()
    for number in range(4):
        fresh.send(chat_id, {"text": f"{number}" * 20_000})
    fresh.call("GET", "/im/v1/messages", container_id_type="chat", container_id=chat_id)
    calls = fresh.sandbox.world.calls
    until(lambda: [call["code"] for call in calls.view() if call["method"] == "GET"] == [0])
