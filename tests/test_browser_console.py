"""The console in a real browser: every page at two widths, the editor's live picture, without a console error."""

import pytest
from django.contrib.auth.models import User

from events.reading import read_new
from templates.models import WelcomeTemplate
from templates.starters import make_starters

pytest_plugins = ["tests.admin_fixtures"]
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PAGES = (
    "/admin/",
    "/admin/events/event/",
    "/admin/events/event/{event}/change/",
    "/admin/events/outboxitem/",
    "/admin/events/outboxitem/{item}/change/",
    "/admin/templates/welcometemplate/",
    "/admin/templates/welcometemplate/add/",
    "/admin/templates/welcometemplate/{template}/change/",
    "/admin/events/bot/",
    "/admin/events/bot/add/",
    "/admin/events/bot/{bot}/change/",
    "/admin/events/refusal/",
    "/admin/auth/user/",
    "/admin/auth/user/add/",
)


@pytest.fixture
def console(django_db_setup, live_server, transactional_db, page):
    """A page that is logged in; at the end, nothing may have gone to the browser's error console."""
    complaints = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    User.objects.create_superuser("root", password="secret")
    page.goto(f"{live_server.url}/admin/")
    page.fill("#id_username", "root")
    page.fill("#id_password", "secret")
    page.click("#login-form input[type=submit]")
    page.wait_for_selector("#menu")
    yield page
    assert complaints == []


@pytest.fixture
def template(transactional_db, bot):
    return make_starters(bot)[0]


@pytest.fixture
def editor(console, live_server, template):
    console.goto(f"{live_server.url}/admin/templates/welcometemplate/{template.pk}/change/")
    return console


def type_card(editor, old, new):
    card = editor.input_value("#id_card")
    assert old in card
    editor.fill("#id_card", card.replace(old, new))


def test_the_picture_changes_while_one_types_and_the_card_is_saved(editor, template):
    type_card(editor, "{{ users.mentions }}", "**Well met**, {{ users.mentions }}")
    editor.wait_for_selector("#picture strong:has-text('Well met')")
    assert "Well met" not in WelcomeTemplate.objects.get(pk=template.pk).card
    editor.click("input[name=_save]")
    editor.wait_for_selector("#result_list")
    assert "Well met" in WelcomeTemplate.objects.get(pk=template.pk).card


def test_a_mistake_is_named_while_one_types_and_the_last_picture_stays(editor):
    type_card(editor, '"schema": "2.0",', '"schema": "2.0"')
    editor.wait_for_selector("#problems li")
    editor.wait_for_selector("#picture.stale .feishu-card")
    type_card(editor, '"schema": "2.0"', '"schema": "2.0",')
    editor.wait_for_selector("#problems .fine")


def test_a_variable_is_inserted_where_the_cursor_stands(editor):
    editor.fill(
        "#id_card", '{"schema": "2.0", "body": {"elements": [{"tag": "markdown", "content": "by "}]}}'
    )
    editor.evaluate(
        "(c => c.setSelectionRange(c.value.indexOf('by ') + 3, c.value.indexOf('by ') + 3))(id_card)"
    )
    editor.click("[data-trigger=member_joined] button:has-text('bot.name')")
    assert '"by {{ bot.name }}"' in editor.input_value("#id_card")
    editor.wait_for_selector("#picture :text('by OpsBot')")


def test_another_situation_draws_other_people(editor):
    editor.select_option("#situation", "three")
    editor.wait_for_selector("#picture :text('Ada Lovelace')")


def test_another_trigger_offers_its_own_variables(editor):
    assert editor.is_visible("[data-trigger=member_joined]")
    editor.select_option("#id_trigger", "bot_joined")
    assert not editor.is_visible("[data-trigger=member_joined]")
    assert editor.is_visible("[data-trigger=bot_joined]")


def test_the_json_is_formatted_on_request(editor):
    editor.fill("#id_card", '{"schema":"2.0","body":{"elements":[]}}')
    editor.click("#format-card")
    assert editor.input_value("#id_card").startswith('{\n  "schema": "2.0",\n')


def test_a_known_chat_is_added_by_a_click(console, live_server, template, make_event):
    make_event()
    read_new()
    console.goto(f"{live_server.url}/admin/templates/welcometemplate/{template.pk}/change/")
    console.click("#known-chats summary")
    console.click("[data-chat=oc_team]")
    assert console.input_value("#id_chat_ids") == "oc_team"


def test_the_request_url_is_copied(console, live_server, bot, context):
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    console.goto(f"{live_server.url}/admin/events/bot/{bot.pk}/change/")
    console.click("button.copy")
    console.wait_for_function("navigator.clipboard.readText().then(text => text.length > 0)")
    assert console.evaluate("navigator.clipboard.readText()") == bot.webhook_url


def test_a_failed_event_is_run_again_by_a_click(console, live_server, make_event):
    event = make_event(status="failed", event_type="vendor.unknown_v1")
    console.goto(f"{live_server.url}/admin/events/event/{event.pk}/change/")
    console.click(".verb button")
    console.wait_for_selector(".messagelist .success")
    assert console.locator(".marks .pill--ignored").count() == 1


def test_the_language_is_switched_in_the_header(console):
    assert console.get_attribute("html", "lang") == "zh-hans"
    console.click(".languages button")
    console.wait_for_selector("html[lang=en]")


@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_the_screen(
    console, live_server, template, make_event, make_item, width, scheme
):
    long = "oc_" + "x" * 100
    event = make_event(
        chat_id=long, summary="E" * 300, status="failed", error="F" * 5000, late=True, deliveries=9
    )
    item = make_item(target=long, status="failed", error_code=230002, error="e" * 400, cause=event)
    console.emulate_media(color_scheme=scheme)
    console.set_viewport_size({"width": width, "height": 844})
    pks = {"event": event.pk, "item": item.pk, "template": template.pk, "bot": event.bot_id}
    wide = []
    for path in PAGES:
        assert console.goto(live_server.url + path.format(**pks)).status == 200
        wider = console.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        wide += [path] if wider > 0 else []
    assert wide == []


def test_without_javascript_everything_but_the_live_picture_works(browser, live_server, console, template):
    context = browser.new_context(java_script_enabled=False, storage_state=console.context.storage_state())
    plain = context.new_page()
    plain.goto(f"{live_server.url}/admin/templates/welcometemplate/{template.pk}/change/")
    assert plain.locator("#picture .feishu-card").count() == 1
    plain.fill("#id_name", "Renamed")
    with plain.expect_navigation():
        plain.click("input[name=_continue]")
    assert plain.title().startswith("Renamed")
    context.close()


CONTRAST = """() => {
  const parse = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let node = element; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor);
      if (colour[3] === 1) return colour;
    }
    return [255, 255, 255, 1];
  };
  const skipped = ".feishu-card, option, script, noscript, .visually-hidden, .skip-to-content-link";
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility() || element.closest(skipped)) continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(parse(style.color)), light(behind(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const words = element.textContent.trim().slice(0, 30);
    if (ratio < 4.5) poor.push(`${element.tagName}.${element.className} "${words}" ${ratio.toFixed(2)}`);
  }
  return poor;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_its_ground(console, live_server, template, make_event, make_item, scheme):
    event = make_event(status="failed", error="trace", late=True, deliveries=2)
    item = make_item(status="failed", error_code=230002, error="e", cause=event)
    console.emulate_media(color_scheme=scheme)
    pks = {"event": event.pk, "item": item.pk, "template": template.pk, "bot": event.bot_id}
    poor = {}
    for path in PAGES:
        console.goto(live_server.url + path.format(**pks))
        if found := console.evaluate(CONTRAST):
            poor[path] = found
    assert poor == {}
