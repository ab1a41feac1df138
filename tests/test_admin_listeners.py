"""The fleet page and the transport of a bot: who listens, who is silent, and what does not fit together."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from django.utils.translation import override

from events.connectionadmin import fleets
from events.models import Bot, Connection

pytest_plugins = ["tests.admin_fixtures"]

PAGE = "/admin/events/connection/"
ROUTES = ["a: one", "b: two"]


@pytest.fixture
def watcher(client_of: Any) -> Any:
    return client_of("watcher", ["view_connection"])


@pytest.fixture
def connect(bot: Bot) -> Any:
    """One connection of the bot as a listener tells of it; any column may be given."""
    Bot.objects.update(transport=Bot.Transport.LONG_CONNECTION)

    def connect(**columns: Any) -> Connection:
        now = timezone.now()
        row = {
            "bot": bot, "host": "host-1", "pid": 1, "version": "1", "routes": ROUTES, "started_at": now,
            "seen_at": now, "connected_since": now, "last_frame_at": now,
        }  # fmt: skip
        return Connection.objects.create(**{**row, **columns})

    return connect


def only_fleet() -> Any:
    with override("en"):
        (fleet,) = fleets(timezone.now())
    return fleet


def ago(seconds: float) -> Any:
    return timezone.now() - timedelta(seconds=seconds)


def test_the_page_shows_every_listener_and_how_many_of_50(watcher, connect):
    connect()
    connect(host="host-2", events=7)
    html = watcher.get(PAGE).content.decode()
    assert "2 of 50 connections" in html
    assert "host-1" in html
    assert "host-2" in html
    assert "note" not in html


@pytest.mark.parametrize(
    ("columns", "state"),
    [
        ({}, "live"),
        ({"connected_since": None}, "connecting"),
        ({"connected_since": 600, "last_frame_at": 200}, "silent"),
        ({"connected_since": 600, "last_frame_at": None}, "silent"),
        ({"connected_since": 600, "last_frame_at": 30}, "live"),
        ({"seen_at": 60}, "gone"),
    ],
)
def test_a_listener_is_live_silent_or_gone(connect, columns, state):
    row = connect(**{name: seconds and ago(seconds) for name, seconds in columns.items()})
    assert row.state() == state
    assert Connection.objects.live(timezone.now()).exists() == (state == "live")


def test_listeners_with_different_routes_are_warned_of_and_the_difference_shown(watcher, connect):
    connect()
    connect(pid=2, routes=["a: one", "b: three"])
    fleet = only_fleet()
    assert "react to different events" in fleet.warnings[0]
    assert [listener.routes for listener in fleet.listeners] == [["b: two"], ["b: three"]]
    assert "b: three" in watcher.get(PAGE).content.decode()


def test_a_listener_that_is_gone_is_not_compared(connect):
    connect()
    connect(pid=2, routes=[], seen_at=ago(60))
    assert only_fleet().warnings == []


def test_different_versions_are_warned_of(connect):
    connect()
    connect(pid=2, version="2")
    assert "different versions" in only_fleet().warnings[0]


def test_the_fiftieth_connection_is_warned_of(connect):
    for pid in range(50):
        connect(pid=pid)
    assert "no more connections" in only_fleet().warnings[0]


def test_a_bot_nobody_listens_for_is_warned_of(bot):
    Bot.objects.update(transport=Bot.Transport.LONG_CONNECTION)
    assert "Nobody is listening" in only_fleet().warnings[0]


def test_a_listener_for_a_bot_on_the_webhook_is_warned_of(connect):
    connect()
    Bot.objects.update(transport=Bot.Transport.WEBHOOK)
    assert "come by webhook" in only_fleet().warnings[0]


def test_without_a_bot_on_the_long_connection_the_page_says_so(watcher, bot):
    assert "No bot uses the long connection" in watcher.get(PAGE).content.decode()


def test_the_page_takes_the_same_queries_for_any_number_of_listeners(watcher, connect, queries_of):
    connect()
    few = queries_of(watcher, PAGE)
    for pid in range(2, 9):
        connect(pid=pid)
    assert queries_of(watcher, PAGE) == few


def test_the_page_is_for_those_who_may_see_it(client_of, nobody, connect):
    connect()
    assert client_of("guest", ["view_event"]).get(PAGE).status_code == 403
    assert nobody.get(PAGE).url.startswith("/admin/login/")


# --- The transport of a bot -------------------------------------------------------------------------------
def test_events_that_came_another_way_are_warned_of_everywhere_the_bot_is_shown(operator, bot, make_event):
    make_event(transport="long_connection")
    for url in ("/admin/", "/admin/events/bot/", f"/admin/events/bot/{bot.pk}/change/"):
        assert "the newest event came by long connection" in operator.get(url).content.decode()


@pytest.mark.parametrize("transport", ["webhook", "replayed"])
def test_events_that_came_as_said_or_not_from_feishu_are_not(operator, bot, make_event, transport):
    make_event(transport=transport)
    for url in ("/admin/", "/admin/events/bot/", f"/admin/events/bot/{bot.pk}/change/"):
        assert "the newest event came by" not in operator.get(url).content.decode()


def form_of(bot: Bot, **changes: Any) -> dict[str, Any]:
    fields = {"name": bot.name, "slug": bot.slug, "app_id": bot.app_id, "domain": bot.domain, "enabled": "on"}
    return {**fields, **changes}


def test_the_transport_is_chosen_on_the_bots_page_and_stays_when_it_is_not_sent(operator, bot):
    page = f"/admin/events/bot/{bot.pk}/change/"
    for changes in ({"transport": "long_connection"}, {}):
        operator.post(page, form_of(bot, **changes))
        bot.refresh_from_db()
        assert bot.transport == "long_connection"


def test_the_long_connection_is_refused_for_a_store_app(operator, bot):
    page = f"/admin/events/bot/{bot.pk}/change/"
    answer = operator.post(page, form_of(bot, transport="long_connection", app_type="store"))
    assert "Feishu has no long connection for store apps" in answer.content.decode()
    bot.refresh_from_db()
    assert (bot.transport, bot.app_type) == ("webhook", "custom")
