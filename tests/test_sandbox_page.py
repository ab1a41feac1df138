"""The sandbox's page in a real browser: what a person does there, live, without a breach of the policy."""

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from botconsole.sandbox import SandboxServer
from tests.sandbox_world import NOTES_CARD, App, Person, until, visit

pytest_plugins = ["tests.sandbox_fixtures"]
pytestmark = pytest.mark.browser

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def test_one_click_adds_an_invented_member_and_tells_the_app(screen: Any, app: App) -> None:
    name = screen.input_value("#member-name")
    screen.click("#add-member button")
    screen.wait_for_selector(f"#member-list >> text={name}")
    until(lambda: app.types == ["im.chat.member.user.added_v1"])
    assert app.bodies[0]["event"]["users"][0]["name"] == name


def test_a_person_one_knows_is_added_by_name_and_stays_the_same_person(
    screen: Any, app: App, seeded: SandboxServer
) -> None:
    screen.click("#new-group")
    screen.fill("#group-name", "ops")
    screen.click("#group-dialog .primary")
    screen.wait_for_selector("#chat-name >> text=ops")
    screen.fill("#member-name", "Juniper")
    screen.click("#add-member button")
    screen.wait_for_selector("#member-list >> text=Juniper")
    assert screen.locator("#known-people option[value=Juniper]").count() == 0
    known = seeded.world.store.rows("SELECT open_id FROM people WHERE name = 'Juniper'")
    until(lambda: "im.chat.member.user.added_v1" in app.types)
    told = app.bodies[app.types.index("im.chat.member.user.added_v1")]["event"]["users"]
    assert [told[0]["user_id"]["open_id"]] == [row["open_id"] for row in known]


def test_a_card_appears_without_a_reload_and_its_form_reaches_the_app(
    screen: Any, app: App, seeded: SandboxServer
) -> None:
    person = Person(seeded)
    chat_id = person.http.get("/groups").json()["items"][0]["chat_id"]
    person.card(chat_id, NOTES_CARD)
    screen.fill("[name=notes]", "fixed")
    app.answer = json.dumps({"toast": {"type": "success", "content": "Resolved"}}).encode()
    screen.click("text=Resolve")
    screen.wait_for_selector(".toast.success >> text=Resolved")
    person.http.close()
    action = next(
        body["event"]["action"] for body in reversed(app.bodies) if "action" in body.get("event", {})
    )
    assert (action["value"], action["form_value"]) == ({"action": "resolve"}, {"notes": "fixed"})


def test_a_failed_press_shows_the_clients_code(screen: Any, app: App, seeded: SandboxServer) -> None:
    person = Person(seeded)
    person.card(person.http.get("/groups").json()["items"][0]["chat_id"], NOTES_CARD)
    person.http.close()
    screen.wait_for_selector("text=Resolve")
    app.status = 500
    screen.click("text=Resolve")
    screen.wait_for_selector(".toast.error >> text=200671")


def test_a_text_with_the_bot_mentioned_is_said_and_pushed(screen: Any, app: App) -> None:
    screen.click("#at-bot")
    screen.fill("#text", "who is on call?")
    screen.press("#text", "Enter")
    screen.wait_for_selector(".bubble >> text=@OpsBot who is on call?")
    until(lambda: "im.message.receive_v1" in app.types)


def test_a_name_is_shown_as_text_whatever_it_says(screen: Any, seeded: SandboxServer) -> None:
    httpx.post(
        f"{seeded.url}/_sandbox/groups",
        json={"name": "<img src=x onerror=alert(1)>"},
        trust_env=False,
        timeout=60,
    )
    screen.wait_for_selector("#chat-list >> text=<img src=x onerror=alert(1)>")


def test_a_conversation_is_opened_from_the_page(screen: Any, app: App) -> None:
    screen.click("#new-conversation")
    screen.click("#conversation-dialog .primary")
    until(lambda: "p2p_chat_create" in app.types)
    screen.wait_for_selector("#chat-note >> text=direct chat with the bot")


def test_pins_and_tabs_stand_above_the_chat_and_a_buzz_at_its_message(
    screen: Any, room: tuple[Person, str]
) -> None:
    person, chat_id = room
    message_id = person.card(chat_id, {"header": {"title": {"tag": "plain_text", "content": "P0 down"}}})
    tab = {"tab_name": "INC-1", "tab_type": "url", "tab_content": {"url": "https://console.example/1"}}
    person.bot("POST", "/im/v1/pins", {"message_id": message_id})
    person.bot("POST", f"/im/v1/chats/{chat_id}/chat_tabs", {"chat_tabs": [tab]})
    open_id = person.http.get("/state").json()["people"][0]["open_id"]
    path = f"/im/v1/messages/{message_id}/urgent_app?user_id_type=open_id"
    person.bot("PATCH", path, {"user_id_list": [open_id]})
    screen.wait_for_selector("#tops .pins >> text=P0 down")
    screen.wait_for_selector(".badge.buzz >> text=buzzed 1")
    assert screen.get_attribute("#tops .chat-tabs a", "href") == "https://console.example/1"


def act(screen: Any, text: str, name: str) -> None:
    """Presses one of the buttons of the message with this text."""
    line = screen.locator(".message", has_text=text)
    line.hover()
    line.locator(".acts button", has_text=name).click()


def test_a_message_is_answered_in_a_thread_from_the_page(screen: Any, room: tuple[Person, str]) -> None:
    person, chat_id = room
    root = person.post(f"/groups/{chat_id}/messages", {"text": "what now?"})["message_id"]
    act(screen, "what now?", "Reply")
    screen.check("#in-thread")
    screen.fill("#text", "roll back")
    screen.press("#text", "Enter")
    screen.wait_for_selector(".bubble >> text=roll back")
    answer = person.messages(chat_id)[1]
    assert (answer["parent_id"], answer["in_thread"]) == (root, True)
    screen.wait_for_selector("#about", state="hidden")


def test_an_own_text_is_edited_and_recalled_and_those_of_others_are_not(
    screen: Any, room: tuple[Person, str]
) -> None:
    person, chat_id = room
    members = person.http.get("/groups").json()["items"][0]["members"]
    for number, member in enumerate(members[1:3]):
        person.post(f"/groups/{chat_id}/messages", {"open_id": member["open_id"], "text": f"text {number}"})
    screen.select_option("#act-as", members[1]["open_id"])
    act(screen, "text 0", "Edit")
    screen.fill("#text", "better")
    screen.press("#text", "Enter")
    screen.wait_for_selector(".bubble >> text=better")
    assert screen.locator(".message", has_text="text 1").locator(".acts button >> visible=true").count() == 2
    act(screen, "better", "Recall")
    screen.wait_for_selector(".gone")


def test_a_reaction_is_given_and_taken_back(screen: Any, room: tuple[Person, str]) -> None:
    person, chat_id = room
    person.post(f"/groups/{chat_id}/messages", {"text": "fixed"})
    act(screen, "fixed", "React")
    screen.click(".emojis [title=DONE]")
    screen.click(".reaction")
    screen.wait_for_selector(".reaction", state="detached")
    types = {push["type"] for push in person.pushes()}
    assert {"im.message.reaction.created_v1", "im.message.reaction.deleted_v1"} <= types


def test_an_image_and_a_file_are_sent_and_shown(screen: Any, tmp_path: Path) -> None:
    image, log = tmp_path / "a.png", tmp_path / "a.log"
    image.write_bytes(base64.b64decode(PIXEL))
    log.write_text("boom")
    screen.set_input_files("#file", image)
    screen.wait_for_selector(".picture")
    screen.set_input_files("#file", log)
    screen.wait_for_selector(".file >> text=a.log")
    until(lambda: screen.evaluate("document.querySelector('.picture').naturalWidth") == 1)


def test_a_group_is_renamed_left_and_dissolved_from_the_page(screen: Any, app: App) -> None:
    screen.click("#rename")
    screen.fill("#rename-name", "[已解决] P0")
    screen.click("#rename-dialog .primary")
    screen.wait_for_selector("#chat-name >> text=[已解决] P0")
    screen.click("#leave")
    screen.click("#dissolve")
    screen.click("#confirm-dialog .primary")
    screen.wait_for_selector("#chat-note >> text=dissolved")
    until(lambda: "im.chat.disbanded_v1" in app.types and "im.chat.member.user.deleted_v1" in app.types)


def test_the_scope_for_group_messages_is_one_click(screen: Any, seeded: SandboxServer) -> None:
    screen.click(".tabs [data-tab=platform]")
    screen.click("#scope")
    screen.wait_for_selector("#scope[aria-pressed=false]")
    assert seeded.world.missing_scopes == ["im:message.group_msg"]


def test_the_platform_tab_lists_pushes_and_a_fault_is_one_click(screen: Any, seeded: SandboxServer) -> None:
    screen.click("#add-member button")
    screen.click(".tabs [data-tab=platform]")
    screen.wait_for_selector("#pushes >> text=im.chat.member.user.added_v1")
    screen.click("#fault-kinds >> text=HTTP 502")
    screen.wait_for_selector("#fault-list >> text=HTTP 502")
    assert [fault["status"] for fault in seeded.world.faults.view()] == [502]


def test_a_long_chat_opens_at_its_end_on_a_phone(browser: Any, seeded: SandboxServer) -> None:
    person = Person(seeded)
    for number in range(60):
        chat_id = person.http.get("/groups").json()["items"][0]["chat_id"]
        person.post(f"/groups/{chat_id}/messages", {"text": f"message {number}\n" * (1 + number % 4)})
    person.http.close()
    screen = visit(browser, seeded, width=390)
    screen.click("text=支付值班")
    left = (
        "messages.children.length >= 60 && messages.scrollHeight - messages.scrollTop - messages.clientHeight"
    )
    until(lambda: 0 <= screen.evaluate(f"{left} || 0") < 2 and screen.locator(".bubble").count() == 60)
    assert screen.locator(".bubble").last.is_visible()
    screen.context.close()


@pytest.mark.parametrize(
    ("locale", "word"), [("zh-CN", "添加成员"), ("en-US", "Add member"), ("fr-FR", "添加成员")]
)
def test_the_language_is_the_browsers_with_chinese_as_fallback(
    browser: Any, seeded: SandboxServer, locale: str, word: str
) -> None:
    screen = visit(browser, seeded, locale)
    assert screen.inner_text("#add-member button") == word
    screen.context.close()


def test_on_a_phone_nothing_is_wider_than_the_screen(
    browser: Any, seeded: SandboxServer, tmp_path: Path
) -> None:
    screen = visit(browser, seeded, width=390)
    screen.click(".chat >> nth=0")
    screen.click("#show-members")
    screen.click("#add-member button")
    screen.click(".tabs [data-tab=platform]")
    screen.wait_for_selector("#pushes .row")
    assert screen.evaluate("document.documentElement.scrollWidth") == 390
    assert "not Feishu" in screen.inner_text(".bar")
    screen.context.close()
