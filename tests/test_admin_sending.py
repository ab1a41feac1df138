"""The console about sending: the pause switch, what every page says, the gauges of Feishu's limits."""

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command
from django.utils import timezone

from events.models import Circuit, Quota
from events.sending import this_month

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


def test_the_command_pauses_and_resumes(bot, capsys):
    call_command("pause_sending", "default")
    assert paused(bot)
    call_command("pause_sending", "default", resume=True)
    assert not paused(bot)
    assert capsys.readouterr().out == "default: sending is paused\ndefault: sending is resumed\n"


def test_the_command_names_the_bots_it_knows(bot):
    with pytest.raises(CommandError, match="known: default"):
        call_command("pause_sending", "wrong")
