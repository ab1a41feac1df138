"""The home page and the menu: how the bots are, what to do next, for whoever looks."""

import pytest
from django.test import Client

from events.models import Bot, Heartbeat, Refusal
from events.reading import read_new
from templates.starters import make_starters

pytest_plugins = ["tests.admin_fixtures"]

HOME = "/admin/"


def text_of(client, url=HOME):
    answer = client.get(url)
    assert answer.status_code == 200
    return answer.content.decode()


def test_an_empty_console_says_how_to_make_the_first_bot(operator):
    html = text_of(operator)
    assert "create the first bot" in html
    assert "/admin/events/bot/add/" in html


def test_a_bot_without_an_event_shows_what_to_paste_into_feishu(operator, bot):
    html = text_of(operator)
    for words in (
        bot.webhook_url,
        "im.chat.access_event.bot_p2p_chat_entered_v1",
        "No event has come in yet",
    ):
        assert words in html


def test_a_bot_that_works_shows_its_figures_instead(operator, bot, make_event):
    make_event()
    html = text_of(operator)
    assert "No event has come in yet" not in html
    assert "Someone joined a group · Ada · Team" in html


def test_what_happened_is_told_with_names_not_ids(operator, bot, make_event):
    make_event()
    read_new()
    make_event(event_type="im.message.receive_v1", body={"event": {}}, actor_open_id="ou_ada")
    assert "A message came in · Ada · Team" in text_of(operator)


def test_the_worker_being_away_is_said_and_its_return_too(operator, bot):
    assert "No worker is running" in text_of(operator)
    Heartbeat.objects.beat("worker", "host", 1, bot.created_at)
    assert "A worker is running." in text_of(operator)


def test_failures_and_refusals_are_counted_per_bot(operator, bot, make_event, make_item):
    make_event(status="failed", summary="KeyError: 'x'")
    make_item(status="failed", error_code=230002)
    Refusal.objects.record(bot, "the body is not JSON", "203.0.113.9")
    response = operator.get(HOME)
    counts = response.context["bots"][0].counts
    assert counts == {
        "today": 1,
        "failed_events": 1,
        "unsent": 0,
        "failed_items": 1,
        "refused": 1,
        "templates": 0,
    }
    assert "the bot is not in the chat" in response.content.decode()


def test_a_bot_that_greets_nobody_is_told_so(operator, bot):
    assert "nobody is greeted" in text_of(operator)
    make_starters(bot)
    assert "nobody is greeted" not in text_of(operator)


def test_the_home_page_takes_the_same_queries_for_any_number_of_bots_and_one_more_for_twice_the_events(
    operator, bot, make_event, make_item, queries_of
):
    make_event(status="failed")
    make_item(status="failed")
    few = queries_of(operator, HOME)
    for number in range(5):
        Bot.objects.create(
            name=f"B{number}", slug=f"b{number}", app_id=f"cli_{number}", verification_token="t"
        )
        for _ in range(2):
            make_event(status="failed")
            make_item(status="failed")
    # From 1 event to 11: yesterday's last is found by halving, which takes at most four steps more.
    assert few == 23
    assert queries_of(operator, HOME) <= few + 4


@pytest.mark.parametrize("label", ["Event log", "Outbox", "Welcome templates", "Bots", "Refused requests"])
def test_the_menu_leads_everywhere_a_viewer_may_go(viewer, label):
    entry = next(entry for entry in viewer.get(HOME).context["menu"] if entry["words"] == label)
    assert viewer.get(entry["url"]).status_code == 200


def test_the_menu_hides_what_one_may_not_see(client_of):
    client = client_of("guest", ["view_event"])
    assert [entry["words"] for entry in client.get(HOME).context["menu"]] == [
        "Overview",
        "Event log",
        "Replays",
    ]
    assert text_of(client)


def test_staff_without_any_permission_is_told_so(client_of):
    assert "may not see anything yet" in text_of(client_of("new", []))


def test_nobody_is_sent_to_the_login(nobody):
    assert nobody.get(HOME).url.startswith("/admin/login/")
    assert "botconsole" in text_of(nobody, "/admin/login/")


def test_an_app_page_of_django_leads_home(operator):
    assert operator.get("/admin/events/").url == HOME


def test_the_superuser_manages_users_and_groups(admin_client):
    for url in (
        "/admin/auth/user/",
        "/admin/auth/user/add/",
        "/admin/auth/group/",
        "/admin/password_change/",
    ):
        assert text_of(admin_client, url)


def test_the_language_is_chosen_in_the_header(db):
    client = Client()
    assert 'lang="zh-hans"' in text_of(client, "/admin/login/")
    client.post("/language", {"language": "en", "next": "/admin/login/"})
    assert 'lang="en"' in text_of(client, "/admin/login/")


def test_no_page_needs_what_the_content_security_policy_forbids(operator, bot, make_event, make_item):
    template = make_starters(bot)[0]
    pages = [
        HOME, "/admin/events/event/", f"/admin/events/event/{make_event().pk}/change/", "/admin/events/outboxitem/",
        f"/admin/events/outboxitem/{make_item().pk}/change/", "/admin/events/bot/",
        f"/admin/events/bot/{bot.pk}/change/",
        f"/admin/templates/welcometemplate/{template.pk}/change/", "/admin/templates/welcometemplate/add/",
    ]  # fmt: skip
    for url in pages:
        html = text_of(operator, url)
        assert "<style" not in html
        assert " style=" not in html
        assert " onclick=" not in html
        assert html.count("<script") == html.count("<script src=") + html.count('id="django-admin-')
