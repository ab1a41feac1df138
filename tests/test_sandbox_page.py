"""The sandbox's page in a real browser: what a person does there, live, without a breach of the policy."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from botconsole.sandbox import SandboxConfig, SandboxServer
from tests.test_sandbox_pushes import App, Person, until

pytestmark = pytest.mark.browser

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
CARD = {
    "schema": "2.0",
    "body": {
        "elements": [
            {
                "tag": "form",
                "name": "form",
                "elements": [
                    {
                        "tag": "input",
                        "name": "notes",
                        "placeholder": {"tag": "plain_text", "content": "Notes"},
                    },
                    {
                        "tag": "button",
                        "name": "submit",
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
def app() -> Iterator[App]:
    app = App()
    yield app
    app.close()


@pytest.fixture
def sandbox(app: App) -> Iterator[SandboxServer]:
    config = SandboxConfig("cli_test", "s", encrypt_key="test key", webhook_url=app.url, port=0)
    with SandboxServer(config) as sandbox:
        yield sandbox


def visit(browser: Any, sandbox: SandboxServer, locale: str = "en-US", width: int = 1400) -> Any:
    """The page; its console errors and policy breaches are collected in `page.wrong`."""
    context = browser.new_context(locale=locale, viewport={"width": width, "height": 844})
    page = context.new_page()
    page.wrong = []
    page.on("console", lambda message: page.wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.goto(sandbox.url)
    page.wait_for_selector(".chat")
    return page


@pytest.fixture
def page(browser: Any, sandbox: SandboxServer) -> Iterator[Any]:
    page = visit(browser, sandbox)
    yield page
    assert page.wrong == []
    page.context.close()


def test_one_click_adds_an_invented_member_and_tells_the_app(page: Any, app: App) -> None:
    name = page.input_value("#member-name")
    page.click("#add-member button")
    page.wait_for_selector(f"#member-list >> text={name}")
    until(lambda: app.types == ["im.chat.member.user.added_v1"])
    assert app.bodies[0]["event"]["users"][0]["name"] == name


def test_a_person_one_knows_is_added_by_name_and_stays_the_same_person(
    page: Any, app: App, sandbox: SandboxServer
) -> None:
    page.click("#new-group")
    page.fill("#group-name", "ops")
    page.click("#group-dialog .primary")
    page.wait_for_selector("#chat-name >> text=ops")
    page.fill("#member-name", "Juniper")
    page.click("#add-member button")
    page.wait_for_selector("#member-list >> text=Juniper")
    assert page.locator("#known-people option[value=Juniper]").count() == 0
    known = sandbox.world.store.rows("SELECT open_id FROM people WHERE name = 'Juniper'")
    until(lambda: "im.chat.member.user.added_v1" in app.types)
    told = app.bodies[app.types.index("im.chat.member.user.added_v1")]["event"]["users"]
    assert [told[0]["user_id"]["open_id"]] == [row["open_id"] for row in known]


def test_a_card_appears_without_a_reload_and_its_form_reaches_the_app(
    page: Any, app: App, sandbox: SandboxServer
) -> None:
    person = Person(sandbox)
    chat_id = person.http.get("/groups").json()["items"][0]["chat_id"]
    person.card(chat_id, CARD)
    page.fill("[name=notes]", "fixed")
    app.answer = json.dumps({"toast": {"type": "success", "content": "Resolved"}}).encode()
    page.click("text=Resolve")
    page.wait_for_selector(".toast.success >> text=Resolved")
    person.http.close()
    action = next(
        body["event"]["action"] for body in reversed(app.bodies) if "action" in body.get("event", {})
    )
    assert (action["value"], action["form_value"]) == ({"action": "resolve"}, {"notes": "fixed"})


def test_a_failed_press_shows_the_clients_code(page: Any, app: App, sandbox: SandboxServer) -> None:
    person = Person(sandbox)
    person.card(person.http.get("/groups").json()["items"][0]["chat_id"], CARD)
    person.http.close()
    page.wait_for_selector("text=Resolve")
    app.status = 500
    page.click("text=Resolve")
    page.wait_for_selector(".toast.error >> text=200671")


def test_a_text_with_the_bot_mentioned_is_said_and_pushed(page: Any, app: App) -> None:
    page.click("#at-bot")
    page.fill("#text", "who is on call?")
    page.press("#text", "Enter")
    page.wait_for_selector(".bubble >> text=@OpsBot who is on call?")
    until(lambda: "im.message.receive_v1" in app.types)


def test_a_name_is_shown_as_text_whatever_it_says(page: Any, sandbox: SandboxServer) -> None:
    httpx.post(
        f"{sandbox.url}/_sandbox/groups", json={"name": "<img src=x onerror=alert(1)>"}, trust_env=False
    )
    page.wait_for_selector("#chat-list >> text=<img src=x onerror=alert(1)>")


def test_a_conversation_is_opened_from_the_page(page: Any, app: App) -> None:
    page.click("#new-conversation")
    page.click("#conversation-dialog .primary")
    until(lambda: "p2p_chat_create" in app.types)
    page.wait_for_selector("#chat-note >> text=direct chat with the bot")


@pytest.fixture
def room(sandbox: SandboxServer) -> Iterator[tuple[Person, str]]:
    """The first group of the page, and somebody who can do things to it by HTTP."""
    person = Person(sandbox)
    yield person, person.http.get("/groups").json()["items"][0]["chat_id"]
    person.http.close()


def test_pins_and_tabs_stand_above_the_chat_and_a_buzz_at_its_message(
    page: Any, room: tuple[Person, str]
) -> None:
    person, chat_id = room
    message_id = person.card(chat_id, {"header": {"title": {"tag": "plain_text", "content": "P0 down"}}})
    tab = {"tab_name": "INC-1", "tab_type": "url", "tab_content": {"url": "https://console.example/1"}}
    person.bot("POST", "/im/v1/pins", {"message_id": message_id})
    person.bot("POST", f"/im/v1/chats/{chat_id}/chat_tabs", {"chat_tabs": [tab]})
    open_id = person.http.get("/state").json()["people"][0]["open_id"]
    path = f"/im/v1/messages/{message_id}/urgent_app?user_id_type=open_id"
    person.bot("PATCH", path, {"user_id_list": [open_id]})
    page.wait_for_selector("#tops .pins >> text=P0 down")
    page.wait_for_selector(".badge.buzz >> text=buzzed 1")
    assert page.get_attribute("#tops .chat-tabs a", "href") == "https://console.example/1"


def act(page: Any, text: str, name: str) -> None:
    """Presses one of the buttons of the message with this text."""
    line = page.locator(".message", has_text=text)
    line.hover()
    line.locator(".acts button", has_text=name).click()


def test_a_message_is_answered_in_a_thread_from_the_page(page: Any, room: tuple[Person, str]) -> None:
    person, chat_id = room
    root = person.post(f"/groups/{chat_id}/messages", {"text": "what now?"})["message_id"]
    act(page, "what now?", "Reply")
    page.check("#in-thread")
    page.fill("#text", "roll back")
    page.press("#text", "Enter")
    page.wait_for_selector(".bubble >> text=roll back")
    answer = person.messages(chat_id)[1]
    assert (answer["parent_id"], answer["in_thread"]) == (root, True)
    assert page.is_hidden("#about")


def test_an_own_text_is_edited_and_recalled_and_those_of_others_are_not(
    page: Any, room: tuple[Person, str]
) -> None:
    person, chat_id = room
    members = person.http.get("/groups").json()["items"][0]["members"]
    for number, member in enumerate(members[1:3]):
        person.post(f"/groups/{chat_id}/messages", {"open_id": member["open_id"], "text": f"text {number}"})
    page.select_option("#act-as", members[1]["open_id"])
    act(page, "text 0", "Edit")
    page.fill("#text", "better")
    page.press("#text", "Enter")
    page.wait_for_selector(".bubble >> text=better")
    assert page.locator(".message", has_text="text 1").locator(".acts button >> visible=true").count() == 2
    act(page, "better", "Recall")
    page.wait_for_selector(".gone")


def test_a_reaction_is_given_and_taken_back(page: Any, room: tuple[Person, str]) -> None:
    person, chat_id = room
    person.post(f"/groups/{chat_id}/messages", {"text": "fixed"})
    act(page, "fixed", "React")
    page.click(".emojis [title=DONE]")
    page.click(".reaction")
    page.wait_for_selector(".reaction", state="detached")
    types = {push["type"] for push in person.pushes()}
    assert {"im.message.reaction.created_v1", "im.message.reaction.deleted_v1"} <= types


def test_an_image_and_a_file_are_sent_and_shown(page: Any, tmp_path: Path) -> None:
    image, log = tmp_path / "a.png", tmp_path / "a.log"
    image.write_bytes(base64.b64decode(PIXEL))
    log.write_text("boom")
    page.set_input_files("#file", image)
    page.wait_for_selector(".picture")
    page.set_input_files("#file", log)
    page.wait_for_selector(".file >> text=a.log")
    assert page.evaluate("document.querySelector('.picture').naturalWidth") == 1


def test_a_group_is_renamed_left_and_dissolved_from_the_page(page: Any, app: App) -> None:
    page.click("#rename")
    page.fill("#rename-name", "[已解决] P0")
    page.click("#rename-dialog .primary")
    page.wait_for_selector("#chat-name >> text=[已解决] P0")
    page.click("#leave")
    page.click("#dissolve")
    page.click("#confirm-dialog .primary")
    page.wait_for_selector("#chat-note >> text=dissolved")
    until(lambda: "im.chat.disbanded_v1" in app.types and "im.chat.member.user.deleted_v1" in app.types)


def test_the_scope_for_group_messages_is_one_click(page: Any, sandbox: SandboxServer) -> None:
    page.click(".tabs [data-tab=platform]")
    page.click("#scope")
    page.wait_for_selector("#scope[aria-pressed=false]")
    assert sandbox.world.missing_scopes == ["im:message.group_msg"]


def test_the_platform_tab_lists_pushes_and_a_fault_is_one_click(page: Any, sandbox: SandboxServer) -> None:
    page.click("#add-member button")
    page.click(".tabs [data-tab=platform]")
    page.wait_for_selector("#pushes >> text=im.chat.member.user.added_v1")
    page.click("#fault-kinds >> text=HTTP 502")
    page.wait_for_selector("#fault-list >> text=HTTP 502")
    assert [fault["status"] for fault in sandbox.world.faults.view()] == [502]


def test_a_long_chat_opens_at_its_end_on_a_phone(browser: Any, sandbox: SandboxServer) -> None:
    person = Person(sandbox)
    for number in range(60):
        chat_id = person.http.get("/groups").json()["items"][0]["chat_id"]
        person.post(f"/groups/{chat_id}/messages", {"text": f"message {number}\n" * (1 + number % 4)})
    person.http.close()
    page = visit(browser, sandbox, width=390)
    page.click("text=支付值班")
    left = (
        "messages.children.length >= 60 && messages.scrollHeight - messages.scrollTop - messages.clientHeight"
    )
    until(lambda: 0 <= page.evaluate(f"{left} || 0") < 2 and page.locator(".bubble").count() == 60)
    assert page.locator(".bubble").last.is_visible()
    page.context.close()


@pytest.mark.parametrize(
    ("locale", "word"), [("zh-CN", "添加成员"), ("en-US", "Add member"), ("fr-FR", "添加成员")]
)
def test_the_language_is_the_browsers_with_chinese_as_fallback(
    browser: Any, sandbox: SandboxServer, locale: str, word: str
) -> None:
    page = visit(browser, sandbox, locale)
    assert page.inner_text("#add-member button") == word
    page.context.close()


def test_on_a_phone_nothing_is_wider_than_the_screen(
    browser: Any, sandbox: SandboxServer, tmp_path: Path
) -> None:
    page = visit(browser, sandbox, width=390)
    page.click(".chat >> nth=0")
    page.click("#show-members")
    page.click("#add-member button")
    page.click(".tabs [data-tab=platform]")
    page.wait_for_selector("#pushes .row")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert "not Feishu" in page.inner_text(".bar")
    page.context.close()
