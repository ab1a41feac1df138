"""The console about sending: the pause switch, what every page says, the gauges of Feishu's limits."""

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from events import lanes
from events.busychats import SHOWN, busy_chats
from events.models import Bot, Chat, Circuit, Lane, OutboxItem, Priority, Quota
from events.outbox import send_text
from events.sending import this_month
from tests.outbox_claims import claim

pytest_plugins = ["tests.admin_fixtures"]


def sending(bot):
    return f"/admin/events/bot/{bot.pk}/sending/"


def page(bot):
    return f"/admin/events/bot/{bot.pk}/change/"


def paused(bot):
    bot.refresh_from_db()
    return bot.paused


def test_an_operator_pauses_sending_and_every_page_says_so(operator, bot):
    operator.post(sending(bot), {"do": "pause"})
    assert paused(bot)
    for path in ("/admin/", "/admin/events/outboxitem/", page(bot)):
        assert "Sending is paused for OpsBot" in operator.get(path).content.decode()
    assert LogEntry.objects.get().change_message == "Sending is paused."


def test_an_operator_resumes_sending_and_no_page_says_anything(operator, bot):
    bot.pause_sending()
    operator.post(sending(bot), {"do": "resume"})
    assert not paused(bot)
    assert "Sending is paused" not in operator.get("/admin/events/outboxitem/").content.decode()


def test_a_viewer_sees_that_it_is_paused_and_cannot_change_it(viewer, bot):
    bot.pause_sending()
    assert viewer.post(sending(bot), {"do": "resume"}).status_code == 403
    text = viewer.get(page(bot)).content.decode()
    assert "Sending is paused" in text
    assert "Resume sending" not in text
    assert paused(bot)


def test_nobody_pauses_anything(nobody, bot):
    nobody.post(sending(bot), {"do": "pause"})
    assert not paused(bot)
    assert "paused" not in nobody.get("/admin/login/").content.decode()


def test_sending_is_not_changed_by_a_link_or_by_nonsense(operator, bot):
    assert operator.get(sending(bot)).status_code == 405
    assert operator.post(sending(bot), {"do": "x"}).status_code == 302
    assert operator.post("/admin/events/bot/999999/sending/", {"do": "pause"}).status_code == 404
    assert not paused(bot)


def test_an_app_whose_credentials_are_refused_is_told_on_every_page_and_tried_at_once_when_changed(
    operator, bot
):
    later = timezone.now() + timedelta(hours=1)
    Circuit.objects.create(bot=bot, opened_at=timezone.now(), next_probe_at=later, error_code=10014)
    assert "the App Secret is wrong" in operator.get("/admin/events/event/").content.decode()
    fields = {"name": "OpsBot", "slug": "default", "app_id": bot.app_id, "domain": "http://127.0.0.1:9"}
    more = {"enabled": "on", "app_type": bot.app_type, "transport": bot.transport, "app_secret": "right"}
    operator.post(page(bot), fields | more)
    assert Circuit.objects.get().next_probe_at <= timezone.now()


def test_the_gauges_show_the_use_of_the_limits_and_the_month(operator, bot):
    now = timezone.now()
    seconds = now.timestamp()
    state = {
        "grants": [[seconds - 90, 500], [seconds - 5, 300], [seconds, 12]],
        "shares": {"one": {"calls": 7, "until": seconds + 60, "hungry": False}},
    }
    Quota.objects.create(bot=bot, call="send_message", state=state, month=this_month(now), month_count=4321)
    text = operator.get(page(bot)).content.decode()
    assert "312 / 1000" in text
    assert "7 / 50" in text
    assert text.count("4321") == 2


def lane(bot, target, due_in=0.0, answered=(), what="messages", **columns):
    """A chat's lane; `answered` are the ages of its last calls as they will be in a minute, for a slow machine."""
    now = timezone.now()
    times = {what: [now.timestamp() + 60 - age for age in answered]} if answered else {}
    row = {
        "call": "send_message",
        "priority": Priority.WELCOME,
        "due_at": now + timedelta(seconds=60 + due_in),
    }
    return Lane.objects.create(bot=bot, target=target, answered=times, **row | columns)


def test_the_chats_that_use_most_of_their_own_limit_are_shown_with_what_waits_for_them(operator, bot):
    other = Bot.objects.create(name="other", slug="other", app_id="cli_2", app_secret="s")
    Chat.objects.create(bot=bot, chat_id="oc_busy", name="Payments")
    lane(bot, "oc_busy", answered=(0.1, 0.2, 0.3, 90))
    lane(other, "oc_busy", answered=(0.1, 0.2))
    lane(bot, "oc_patched", answered=(0.1, 0.2), what="patch_card om_1")
    lane(bot, "oc_quiet", due_in=-90)
    lane(bot, "oc_failing", due_in=40)
    for number in range(3):
        send_text(bot, chat_id="oc_busy", markup="x", key=f"welcome:{number}")
    send_text(bot, chat_id="oc_failing", markup="x", key="welcome:f")
    with translation.override("en"):
        first, second, third = busy_chats(bot, User.objects.get(username="operator"))
    assert (first.name, first.second, first.words, first.waiting) == ("Payments", 5, "messages", 3)
    assert (second.name, second.second, second.words) == ("oc_patched", 2, "Change a card in place")
    assert (third.name, third.second, third.waiting, bool(third.goes_on_at)) == ("oc_failing", 0, 1, True)
    text = operator.get(page(bot)).content.decode()
    assert "5 / 5" in text
    assert "oc_quiet" not in text
    assert "welcome:2" in operator.get(first.url).content.decode()


def test_a_chat_that_was_just_sent_to_is_busy(operator, bot):
    for number in range(3):
        send_text(bot, chat_id="oc_1", markup="x", key=f"welcome:{number}")
    soon = timezone.now() + timedelta(minutes=1)
    (item,) = claim(9, soon)
    OutboxItem.objects.filter(pk=item.pk).update(status="sent")
    lanes.release(lanes.lane_of(item), item, soon, soon)
    (shown,) = busy_chats(bot, User.objects.get(username="operator"))
    assert (shown.second, shown.waiting) == (1, 2)


def test_without_calls_no_chat_is_busy(operator, bot):
    Quota.objects.create(bot=bot, call="send_message", month=this_month(timezone.now()), month_count=1)
    assert "No chat is busy at this moment." in operator.get(page(bot)).content.decode()


def test_the_busiest_chats_cost_as_many_queries_however_many_there_are(operator, bot):
    reader, counts = User.objects.get(username="operator"), []
    busy_chats(bot, reader)  # what is asked once in a process
    for number in range(30):
        lane(bot, f"oc_{number}", answered=(0.1,))
        if number in (1, 29):
            with CaptureQueriesContext(connection) as made:
                assert len(busy_chats(bot, reader)) == min(number + 1, SHOWN)
            counts.append(len([query for query in made if "auth_" not in query["sql"]]))
    assert counts == [4, 4]


def test_the_command_pauses_and_resumes(bot, capsys):
    call_command("pause_sending", "default")
    assert paused(bot)
    call_command("pause_sending", "default", resume=True)
    assert not paused(bot)
    assert capsys.readouterr().out == "default: sending is paused\ndefault: sending is resumed\n"


def test_the_command_names_the_bots_it_knows(bot):
    with pytest.raises(CommandError, match="known: default"):
        call_command("pause_sending", "wrong")
