"""The sandbox's page as a chat client: long chats, large groups, mentions, the bot's profile, switches, scenarios."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from botconsole.sandbox import SandboxServer
from tests.sandbox_world import NOTES_CARD, App, Person, until, visit

pytest_plugins = ["tests.sandbox_fixtures"]
pytestmark = pytest.mark.browser

SEEN = """() => {
  const list = document.getElementById("messages"), top = list.getBoundingClientRect().top;
  const line = [...list.querySelectorAll(".message")].find((one) => one.getBoundingClientRect().top > top);
  return [line.id, Math.round(line.getBoundingClientRect().top - top)];
}"""

# What comes into view is drawn, and gets its true height, with the next frames.
DRAWN = """async () => {
  for (let frame = 0; frame < 5; frame++) await new Promise(requestAnimationFrame);
}"""

PLACE = """(line) => {
  const list = document.getElementById("messages"), top = list.getBoundingClientRect().top;
  return Math.round(document.getElementById(line).getBoundingClientRect().top - top);
}"""


@pytest.fixture
def long_chat(room: tuple[Person, str]) -> tuple[Person, str]:
    """A thousand messages, every twentieth a card with a form."""
    person, chat_id = room
    world = person.sandbox.world
    sender = world.members(chat_id)[0]["open_id"]
    for number in range(1000):
        kind = ("interactive", NOTES_CARD) if number % 20 == 0 else ("text", {"text": f"line {number}"})
        by = (world.config.bot_open_id, "app") if number % 20 == 0 else (sender, "user")
        world.add_message(chat_id, by, kind[0], json.dumps(kind[1]), [], None)
    return person, chat_id


def count(screen: Any) -> int:
    return int(screen.locator("#messages .message").count())


def settle(screen: Any) -> None:
    """The page is at the end of a long chat and looks for it no more."""
    until(lambda: screen.evaluate("document.getElementById('messages').scrollTop > 1000"))
    screen.wait_for_selector("#messages:not([aria-busy])")


def test_the_newest_messages_come_first_and_older_ones_while_one_scrolls(
    long_chat: tuple[Person, str],
    screen: Any,
) -> None:
    screen.wait_for_selector("text=line 999")
    settle(screen)
    assert count(screen) == 60

    def upwards() -> bool:
        screen.evaluate("document.getElementById('messages').scrollTop = 0")
        return count(screen) == 1000

    until(upwards)
    screen.wait_for_selector("text=line 1 >> visible=true")
    assert count(screen) == 1000


def test_what_one_reads_stays_where_it_is_when_older_messages_come(
    long_chat: tuple[Person, str],
    screen: Any,
) -> None:
    settle(screen)
    screen.evaluate("document.getElementById('messages').scrollTop = 640")
    screen.evaluate(DRAWN)
    line, before = screen.evaluate(SEEN)
    screen.evaluate("document.getElementById('messages').scrollTop -= 60")
    until(lambda: screen.evaluate("document.querySelectorAll('#messages .message').length >= 120"))
    until(lambda: abs(screen.evaluate(PLACE, line) - before - 60) <= 2)


def test_a_card_far_away_leaves_the_page_and_comes_back_with_what_was_typed(
    long_chat: tuple[Person, str],
    screen: Any,
) -> None:
    settle(screen)
    screen.locator("[name=notes]").last.fill("half a sentence")
    screen.locator("#text").focus()
    screen.evaluate("document.getElementById('messages').scrollTop = 0")
    until(lambda: screen.evaluate("document.querySelectorAll('#messages .message').length >= 120"))
    screen.evaluate("document.getElementById('messages').scrollTop = 0")
    until(lambda: screen.evaluate("![...document.querySelectorAll('[name=notes]')].some((one) => one.value)"))
    screen.evaluate("document.getElementById('messages').scrollTop = 1e9")
    until(lambda: screen.evaluate("[...document.querySelectorAll('[name=notes]')].some((one) => one.value)"))


def test_new_messages_are_counted_while_one_reads_older_ones(
    long_chat: tuple[Person, str],
    screen: Any,
) -> None:
    person, chat_id = long_chat
    settle(screen)
    screen.evaluate("document.getElementById('messages').scrollTop = 700")
    person.post(f"/groups/{chat_id}/messages", {"text": "the newest"})
    screen.wait_for_selector("#to-end:has-text('1 new')")
    screen.click("#to-end")
    screen.wait_for_selector("text=the newest >> visible=true")
    screen.wait_for_selector("#to-end", state="hidden")


def test_a_change_of_a_message_that_is_not_loaded_is_no_new_message(
    long_chat: tuple[Person, str],
    screen: Any,
) -> None:
    person, chat_id = long_chat
    screen.wait_for_selector("text=line 999")
    oldest = person.http.get(f"/groups/{chat_id}/messages?limit=1000").json()["items"][1]
    person.post(f"/messages/{oldest['message_id']}/reactions", {"emoji_type": "OK"})
    person.post(f"/groups/{chat_id}/messages", {"text": "and now"})
    screen.wait_for_selector("text=and now")
    assert screen.locator(f"#{oldest['message_id']}").count() == 0


def test_a_large_group_is_searched_and_anyone_found_may_act(
    room: tuple[Person, str],
    screen: Any,
) -> None:
    person, chat_id = room
    users = [{"name": f"Colleague {number}"} for number in range(500)]
    person.post(f"/groups/{chat_id}/members", {"users": users})
    screen.wait_for_selector("#member-count:has-text('504')")
    assert screen.locator("#member-list .person").count() == 101
    screen.fill("#member-search", "colleague 499")
    screen.click("#member-list .person:has-text('Colleague 499')")
    screen.fill("#text", "first word")
    screen.press("#text", "Enter")
    screen.wait_for_selector(".message:has-text('Colleague 499') >> text=first word")


def test_who_is_mentioned_is_chosen_from_a_list(
    screen: Any,
    room: tuple[Person, str],
) -> None:
    screen.click("#text")
    screen.keyboard.type("look @juni")
    screen.wait_for_selector("#mentions li:has-text('Juniper')")
    screen.keyboard.press("Enter")
    screen.keyboard.type("and @")
    screen.wait_for_selector("#mentions li >> nth=2")
    screen.keyboard.press("ArrowDown")
    screen.keyboard.press("ArrowUp")
    screen.keyboard.press("Tab")
    screen.keyboard.press("Enter")
    screen.wait_for_selector(".bubble >> text=look @Juniper and @OpsBot")
    person, _ = room
    pushed = next(push["payload"] for push in person.pushes() if push["type"] == "im.message.receive_v1")
    assert [one["name"] for one in pushed["event"]["message"]["mentions"]] == ["Juniper", "OpsBot"]


def test_shift_and_enter_begin_a_line(screen: Any) -> None:
    screen.click("#text")
    screen.keyboard.type("one")
    screen.keyboard.press("Shift+Enter")
    screen.keyboard.type("two")
    screen.keyboard.press("Enter")
    assert screen.locator(".said").last.inner_text() == "one\ntwo"


def test_the_bots_profile_leads_to_a_conversation_with_it(screen: Any, app: App) -> None:
    screen.click("#brand")
    screen.wait_for_selector("#bot-lines >> text=cli_test")
    screen.click("#bot-dialog .primary")
    screen.wait_for_selector("#chat-note >> text=direct chat with the bot")
    until(lambda: "p2p_chat_create" in app.types)


def test_each_switch_is_set_and_ended_from_the_page_and_is_the_one_of_the_http_calls(
    screen: Any,
    room: tuple[Person, str],
) -> None:
    person, _ = room
    screen.click(".tabs [data-tab=platform]")
    screen.wait_for_selector("#fault-kinds button")
    switches = person.http.get("/faults").json()["switches"]
    assert screen.locator("#fault-kinds button").count() == len(switches)
    for number, effect in enumerate(switches.values()):
        screen.locator("#fault-kinds button").nth(number).click()
        screen.wait_for_selector(f"#fault-kinds button:nth-child({number + 1})[aria-pressed=true]")
        items = person.http.get("/faults").json()["items"]
        assert [item | effect == item for item in items] == [True]
        screen.locator("#fault-kinds button").nth(number).click()
        screen.wait_for_selector("#fault-list >> text=No fault is on")
    person.post("/faults", {"switch": "down", "times": 3, "path": "/im/"})
    screen.wait_for_selector("#fault-list >> text=Down")
    screen.wait_for_selector("#fault-list >> text=3 left")


def test_the_long_connection_is_saved_only_with_a_client(screen: Any) -> None:
    screen.click(".tabs [data-tab=platform]")
    screen.click("#transport button:has-text('Long connection')")
    screen.wait_for_selector(".toast.error >> text=no client is connected")
    screen.context.pages[0].wrong.clear()  # the browser notes the refusal's 400 itself


def test_the_platform_tab_shows_calls_and_pushes_and_filters_them(
    screen: Any,
    room: tuple[Person, str],
) -> None:
    person, chat_id = room
    person.card(chat_id, NOTES_CARD)
    person.bot("POST", "/im/v9/nothing", {})
    person.post(f"/groups/{chat_id}/members", {"name": "Tansy"})
    screen.click(".tabs [data-tab=platform]")
    screen.wait_for_selector("#calls >> text=unknown to the sandbox")
    screen.wait_for_selector("#limits code:has-text('/im/v1/messages')")
    screen.wait_for_selector("#limits .gauge:has-text('支付值班') >> text=1/5")
    screen.click("#pushes summary:has-text('im.chat.member.user.added_v1')")
    screen.wait_for_selector("#pushes pre >> text=Tansy")
    screen.fill("#calls-filter", "v9")
    until(lambda: screen.evaluate("document.querySelectorAll('#calls .row').length === 1"))


def test_a_scenario_is_played_from_the_page_and_an_own_one_is_recorded(
    screen: Any,
    tmp_path: Path,
) -> None:
    screen.click(".tabs [data-tab=platform]")
    screen.click("#record")
    screen.wait_for_selector("#record[aria-pressed=true]")
    screen.click(".tabs [data-tab=chats]")
    screen.fill("#text", "recorded words")
    screen.press("#text", "Enter")
    screen.wait_for_selector(".bubble >> text=recorded words")
    screen.click(".tabs [data-tab=platform]")
    screen.click("#record")
    with screen.expect_download() as download:
        screen.click("#recorded")
    download.value.save_as(tmp_path / "own.yaml")
    assert "recorded words" in (tmp_path / "own.yaml").read_text()
    screen.set_input_files("#scenario-file", tmp_path / "own.yaml")
    screen.wait_for_selector(".toast.success >> text=played to its end")
    screen.click("#scenarios li:has-text('Payment outage drill') button")
    screen.click("#variables-dialog .primary")
    screen.click("#playing button:has-text('Stop')")
    screen.click(".tabs [data-tab=chats]")
    screen.wait_for_selector(".bubble >> nth=1 >> text=recorded words")


def test_a_scenario_with_a_mistake_says_where(screen: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("title: t\nsteps:\n  - sya: {in: a}")
    screen.click(".tabs [data-tab=platform]")
    screen.set_input_files("#scenario-file", tmp_path / "bad.yaml")
    screen.wait_for_selector(".toast.error >> text=line 3: a step has no sya; did you mean say?")
    screen.wrong.clear()  # the browser notes the refusal's 400 itself


@pytest.fixture(params=["en-US", "zh-CN"])
def phone(request: pytest.FixtureRequest, browser: Any, seeded: SandboxServer) -> Iterator[Any]:
    phone = visit(browser, seeded, request.param, 390)
    yield phone
    assert phone.wrong == []
    phone.context.close()


def test_every_view_says_that_it_is_not_feishu_and_fits_a_phone(phone: Any) -> None:
    for tab in ("chats", "platform"):
        phone.click(f".tabs [data-tab={tab}]")
        assert phone.is_visible(".bar b")
        assert "Feishu" in phone.inner_text(".bar b") or "飞书" in phone.inner_text(".bar b")
        assert phone.evaluate("document.documentElement.scrollWidth") <= 390


def test_what_was_begun_in_one_chat_is_not_carried_into_another(screen: Any) -> None:
    screen.fill("#text", "half a sentence")
    screen.click(".chat:has-text('新人欢迎群')")
    assert screen.input_value("#text") == ""
    screen.wait_for_selector(".chat:has-text('支付值班') .last:has-text('[Draft] half a sentence')")
    screen.click(".chat:has-text('支付值班')")
    assert screen.input_value("#text") == "half a sentence"


def test_escape_lets_go_of_a_reply(screen: Any, room: tuple[Person, str]) -> None:
    person, chat_id = room
    person.post(f"/groups/{chat_id}/messages", {"text": "what now?"})
    line = screen.locator(".message", has_text="what now?")
    line.hover()
    line.locator(".acts button", has_text="Reply").click()
    screen.wait_for_selector("#about >> text=Reply")
    screen.press("#text", "Escape")
    screen.wait_for_selector("#about", state="hidden")


def test_who_goes_on_talking_is_named_once(screen: Any, room: tuple[Person, str]) -> None:
    person, chat_id = room
    first, second = (
        member["open_id"] for member in person.http.get("/groups").json()["items"][0]["members"][:2]
    )
    for open_id, text in ((first, "one"), (first, "two"), (second, "three")):
        person.post(f"/groups/{chat_id}/messages", {"open_id": open_id, "text": text})
    screen.wait_for_selector(".message:has-text('three')")
    assert screen.locator(".message .who >> visible=true").count() == 2
    assert "goes-on" in screen.locator(".message", has_text="two").get_attribute("class")


def test_a_card_that_is_not_shared_is_drawn_as_the_acting_person_sees_it(
    screen: Any, app: App, room: tuple[Person, str]
) -> None:
    person, chat_id = room
    button = {"tag": "button", "text": {"tag": "plain_text", "content": "Mine"}, "value": {"a": 1}}
    done = {"elements": [{"tag": "markdown", "content": "done for me"}]}
    app.answer = json.dumps({"card": {"type": "raw", "data": done}}).encode()
    person.card(chat_id, {"elements": [{"tag": "action", "actions": [button]}]})
    screen.click(".card >> text=Mine")
    screen.wait_for_selector(".card >> text=done for me")
    screen.click("#member-list .person >> nth=2")
    screen.wait_for_selector(".card >> text=Mine")


def test_a_conversation_that_is_on_the_screen_is_read(screen: Any, seeded: SandboxServer) -> None:
    screen.click("#new-conversation")
    screen.click("#conversation-dialog .primary")
    screen.wait_for_selector("#chat-note >> text=direct chat with the bot")
    person = Person(seeded)
    chat_id = person.http.get("/state").json()["chats"][-1]["chat_id"]
    person.card(chat_id)
    until(lambda: any(push["type"] == "im.message.message_read_v1" for push in person.pushes()))
    person.http.close()


def test_who_comes_goes_and_renames_stands_between_the_messages(
    screen: Any, room: tuple[Person, str]
) -> None:
    person, chat_id = room
    person.post(f"/groups/{chat_id}/members", {"open_id": "ou_tansy", "name": "Tansy"})
    person.post(f"/groups/{chat_id}/messages", {"open_id": "ou_tansy", "text": "hello"})
    person.http.patch(f"/groups/{chat_id}", json={"name": "P0", "open_id": "ou_tansy"})
    person.post(f"/groups/{chat_id}/leave", {"open_id": "ou_tansy"})
    screen.wait_for_selector(".note >> text=Tansy left")
    lines = screen.locator("#messages .note, #messages .said").all_inner_texts()
    assert lines == [
        "青禾 brought Tansy in",
        "hello",
        "Tansy renamed the group to “P0”",
        "Tansy left",
    ]
    screen.reload()
    screen.wait_for_selector(".note >> text=Tansy left")
    assert screen.locator("#messages .note, #messages .said").all_inner_texts() == lines


def test_a_new_group_is_the_first_of_the_list(screen: Any, room: tuple[Person, str]) -> None:
    person, _ = room
    person.group(name="newest")
    screen.wait_for_selector("#chat-list li:first-child >> text=newest")


def test_the_keyboard_goes_through_the_list_and_is_not_thrown_out_by_news(
    screen: Any, room: tuple[Person, str]
) -> None:
    person, chat_id = room
    screen.focus(".chat[aria-current=true]")
    screen.keyboard.press("ArrowDown")
    focused = "document.activeElement.dataset.key"
    second = screen.evaluate(focused)
    assert second not in (None, chat_id)
    person.post(f"/groups/{chat_id}/messages", {"text": "news"})
    screen.wait_for_selector(".chat .last:has-text('news')")
    assert screen.evaluate(focused) == second
    screen.keyboard.press("Enter")
    screen.wait_for_selector(f".chat[data-key={second}][aria-current=true]")
    until(lambda: screen.evaluate("document.activeElement.id") == "text")


def test_who_pressed_a_button_by_keyboard_is_still_at_the_card(
    screen: Any, app: App, room: tuple[Person, str]
) -> None:
    person, chat_id = room
    app.answer = json.dumps({"card": {"type": "raw", "data": NOTES_CARD | {"config": {}}}}).encode()
    person.card(chat_id, NOTES_CARD)
    screen.wait_for_selector(".card button")
    screen.focus(".card button")
    screen.keyboard.press("Enter")
    screen.wait_for_selector(".edited")
    assert screen.evaluate("document.activeElement.textContent") == "Resolve"
