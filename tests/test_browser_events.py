"""The event log in a real browser: new rows come in, pages turn, an export counts its rows."""

import pytest
from playwright.sync_api import expect

from tests.test_browser_console import console  # noqa: F401

pytest_plugins = ["tests.admin_fixtures"]
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

ROWS = "#result_list tbody tr"


@pytest.fixture
def log(console, live_server):  # noqa: F811
    def go(query=""):
        console.goto(f"{live_server.url}/admin/events/event/{query}")
        return console

    return go


def test_new_events_appear_by_themselves_and_in_order(log, make_event):
    make_event()
    page = log()
    expect(page.locator(ROWS)).to_have_count(1)
    events = [make_event(), make_event()]
    expect(page.locator(ROWS)).to_have_count(3)
    assert page.locator(ROWS).first.get_attribute("data-key") == str(events[-1].pk)


def test_new_events_keep_to_the_filter(log, make_event):
    make_event(chat_id="oc_wanted")
    page = log("?chat=oc_wanted")
    make_event(chat_id="oc_other")
    wanted = make_event(chat_id="oc_wanted")
    expect(page.locator(f"tr[data-key='{wanted.pk}']")).to_have_count(1)
    expect(page.locator(ROWS)).to_have_count(2)


def test_the_first_event_replaces_the_note_that_there_is_none(log, make_event, bot):
    page = log()
    expect(page.locator("#no-events")).to_have_count(1)
    make_event()
    expect(page.locator(ROWS)).to_have_count(1)
    expect(page.locator("#no-events")).to_have_count(0)


def test_paused_the_page_asks_nothing_and_catches_up_when_it_goes_on(log, console, make_event):  # noqa: F811
    make_event()
    console.clock.install()
    page = log()
    page.click("#live")
    expect(page.locator("#live")).to_have_attribute("aria-pressed", "false")
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "/new/" in request.url else None)
    make_event()
    for _ in range(3):
        page.clock.run_for(2000)  # the page's own interval
    assert asked == []
    page.click("#live")
    page.clock.run_for(2000)
    expect(page.locator(ROWS)).to_have_count(2)


def test_one_pages_back_and_forth(log, make_event):
    events = [make_event() for _ in range(60)]
    page = log()
    expect(page.locator(ROWS)).to_have_count(50)
    page.click("a[rel=next]")
    expect(page.locator(ROWS)).to_have_count(10)
    assert page.locator("#live").count() == 0
    page.click("a[rel=prev]")
    expect(page.locator(ROWS)).to_have_count(50)
    assert page.locator(ROWS).first.get_attribute("data-key") == str(events[-1].pk)


def test_an_export_counts_its_rows_and_saves_them(log, make_event):
    for number in range(3):
        make_event(summary=f"line\nend {number}")
    page = log()
    with page.expect_download() as download:
        page.click("[data-export=csv]")
    expect(page.locator(".log-exports [role=status]")).to_contain_text("3")
    assert download.value.suggested_filename.endswith(".csv")
    assert len(download.value.path().read_text().splitlines()) == 4


def test_a_search_is_typed_and_found(log, make_event):
    make_event(body={"event": {"text": "支付失败"}})
    make_event()
    page = log()
    page.fill("#filter-q", "支付")
    page.press("#filter-q", "Enter")
    expect(page.locator(ROWS)).to_have_count(1)
