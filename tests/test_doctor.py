"""The doctor: what it finds, that each red line says what to click, the page, and the worker that does the asking."""

import io
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone, translation

from events import doctor
from events.deaf import KEYS_DO_NOT_FIT
from events.doctorwords import CHECKS, SAYS, advice_of, lines, link_of
from events.features import EVENTS_TO_ADD, FEATURES, SCOPES_TO_ADD
from events.models import Attempt, Bot, Checkup, Event, Heartbeat, OutboxItem, Refusal
from events.tokens import NoTenantError, NotYetError
from tests.feishu_events import member_joined

pytest_plugins = ["tests.admin_fixtures"]

PAGE, NOW = "/admin/events/checkup/", "/admin/events/checkup/now/"
SCOPE_MISSING = (
    "Access denied. One of the following scopes is required: [im:chat, im:chat:readonly]. "
    "应用尚未开通所需的应用身份权限：[im:chat]，点击链接申请：https://open.feishu.cn/app/cli_test/auth?q=im:chat"
)


def found(bot: Bot, check: str) -> list[tuple[str, str]]:
    return [(one.level, one.says) for one in doctor.examine(bot) if one.check == check]


def says(bot: Bot, check: str) -> tuple[str, str]:
    return found(bot, check)[0]


@pytest.fixture
def at_feishu(bot: Bot) -> Bot:
    """A bot that is said to be Feishu's; nothing is asked of it here."""
    bot.domain = doctor.FEISHU
    return bot


def patient(bot: Bot) -> doctor.Patient:
    return doctor.Patient(bot, timezone.now())


def check(which: Any, bot: Bot) -> tuple[str, str]:
    finding = next(which(patient(bot)))
    return finding.level, finding.says


# --- What is asked of Feishu ----------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_a_bot_that_is_set_up_rightly_has_nothing_bad(
    bot: Bot, sandbox: Any, live_server: Any, settings: Any
) -> None:
    settings.PUBLIC_URL = live_server.url
    sandbox.set_webhook(f"{live_server.url}/webhook/event/default")
    assert [one for one in doctor.examine(bot) if one.level == doctor.FAIL] == []
    assert says(bot, "credentials") == ("ok", "credentials_right")
    assert says(bot, "enabled") == ("ok", "bot_enabled")
    assert says(bot, "challenge")[1] in ("challenge_right", "challenge_slow")


@pytest.mark.django_db(transaction=True)
def test_a_wrong_secret_is_told_from_a_feishu_that_does_not_answer(bot: Bot, sandbox: Any) -> None:
    bot.app_secret = "wrong"
    bot.save()
    bot = Bot.objects.get()
    assert says(bot, "credentials") == ("fail", "credentials_wrong")
    bot.domain = "http://127.0.0.1:9"
    assert says(bot, "credentials") == ("fail", "feishu_unreachable")


@pytest.mark.django_db
def test_a_store_app_without_a_ticket_or_a_tenant_is_told_so_and_not_that_feishu_is_away(bot: Bot) -> None:
    bot.app_type = Bot.AppType.STORE
    for error, said in (
        (NotYetError("no ticket"), ("fail", "no_ticket")),
        (NoTenantError("no tenant", http_status=400), ("warn", "no_tenant")),
    ):
        finding = next(doctor.credentials(doctor.Patient(bot, timezone.now(), error)))
        assert (finding.level, finding.says) == said


@pytest.mark.django_db
def test_a_secret_that_cannot_be_read_is_said_so(bot: Bot, settings: Any) -> None:
    settings.SEALING_KEYS = ["y" * 32]
    assert found(Bot.objects.get(), "credentials") == [("fail", "secret_unreadable")]


# --- What is judged by what came -------------------------------------------------------------------------------
@pytest.mark.django_db
def test_keys_are_judged_by_the_newest_that_came(bot: Bot, push: Any) -> None:
    assert check(doctor.keys, bot) == ("warn", "keys_unproven")
    for reason in KEYS_DO_NOT_FIT:
        Refusal.objects.create(bot=bot, reason=f"{reason}: x", remote_address="1.2.3.4")
        assert check(doctor.keys, bot) == ("fail", "keys_wrong")
        push(bot, member_joined())
        assert check(doctor.keys, bot) == ("ok", "keys_right")


@pytest.mark.django_db
def test_a_request_url_counts_as_reachable_once_an_event_came(
    at_feishu: Bot, push: Any, settings: Any
) -> None:
    assert check(doctor.reachable, at_feishu) == ("fail", "public_url_local")
    settings.PUBLIC_URL = "https://bots.example.com"
    assert check(doctor.reachable, at_feishu) == ("warn", "nothing_arrived")
    Refusal.objects.create(bot=at_feishu, reason="the body is not JSON", remote_address="1.2.3.4")
    assert check(doctor.reachable, at_feishu) == ("warn", "only_refusals")
    push(at_feishu, member_joined())
    assert check(doctor.reachable, at_feishu) == ("ok", "reachable")


@pytest.mark.django_db
def test_a_simulated_event_proves_nothing(bot: Bot, push: Any) -> None:
    push(bot, member_joined())
    Event.objects.update(transport="simulated")
    assert check(doctor.keys, bot) == ("warn", "keys_unproven")
    assert check(doctor.last_event, bot) == ("warn", "no_event_yet")


@pytest.mark.django_db
def test_what_came_by_long_connection_proves_no_keys_of_the_webhook(bot: Bot, push: Any) -> None:
    push(bot, member_joined())
    Event.objects.update(transport=Bot.Transport.LONG_CONNECTION)
    assert check(doctor.keys, bot) == ("warn", "keys_unproven")


@pytest.mark.django_db
def test_a_long_connection_without_a_listener_is_bad(bot: Bot) -> None:
    bot.transport = Bot.Transport.LONG_CONNECTION
    bot.save()
    assert check(doctor.transport, bot) == ("fail", "nobody_listens")
    assert next(doctor.listeners(timezone.now())).says == "no_listener"


def refused(bot: Bot, call: str, message: str) -> OutboxItem:
    item = OutboxItem.objects.create(
        bot=bot, key=f"k{OutboxItem.objects.count()}", uuid="u", call=call, arguments={}
    )
    told = {"outcome": Attempt.Outcome.REFUSED, "code": 99991672, "message": message}
    Attempt.objects.create(item=item, started_at=timezone.now(), **told)
    return item


@pytest.mark.django_db
def test_a_missing_scope_is_named_at_its_feature_until_the_call_works(bot: Bot) -> None:
    item = refused(bot, "create_chat", SCOPE_MISSING)
    assert doctor.missing_scopes(bot) == {"im:chat", "im:chat:readonly"}
    lacking = [one for one in doctor.features(patient(bot)) if one.level == doctor.FAIL]
    assert {one.told["feature"]: one.told["scopes"] for one in lacking}["incident_chats"] == ["im:chat"]
    Attempt.objects.create(item=item, started_at=timezone.now(), outcome=Attempt.Outcome.SENT, code=0)
    assert doctor.missing_scopes(bot) == set()


@pytest.mark.django_db
def test_of_several_scopes_that_would_do_the_one_of_the_checklist_is_named(bot: Bot) -> None:
    refused(bot, "send_message", "ext=scopes: im:message, im:message:send_as_bot")
    assert doctor.missing_scopes(bot) == {"im:message:send_as_bot"}


@pytest.mark.django_db
def test_a_scope_of_no_feature_is_named_too(bot: Bot) -> None:
    refused(bot, "add_chat_tab", "required: [im:chat.tabs:write_only]")
    assert list(doctor.features(patient(bot)))[-1].told == {"scopes": ["im:chat.tabs:write_only"]}


# --- The console itself ------------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_a_console_without_a_worker_and_with_a_queue_that_stands_is_bad(bot: Bot) -> None:
    OutboxItem.objects.create(
        bot=bot, key="k", uuid="u", call="send_message", arguments={},
        next_attempt_at=timezone.now() - timedelta(hours=1),
    )  # fmt: skip
    bad = {one.says for one in doctor.examine_console() if one.level == doctor.FAIL}
    assert bad == {"no_worker", "queue_stands"}
    Heartbeat.objects.beat("worker", "here", 1, timezone.now())
    OutboxItem.objects.update(status="sent")
    assert not [one for one in doctor.examine_console() if one.level == doctor.FAIL]


@pytest.mark.django_db(transaction=True)
def test_the_clock_is_compared_with_feishus(bot: Bot, sandbox: Any, time_machine: Any) -> None:
    assert next(doctor.clock(timezone.now())).says == "clock_right"
    time_machine.move_to(timezone.now() + timedelta(hours=1))
    finding = next(doctor.clock(timezone.now()))
    assert (finding.level, finding.says) == ("fail", "clock_wrong")


# --- Words -------------------------------------------------------------------------------------------------------
def test_every_bad_line_says_what_to_do() -> None:
    good = {"credentials_right", "bot_enabled", "domain_right", "keys_not_needed", "keys_right", "reachable"}
    good |= {"challenge_right", "transport_right", "feature_works", "event_came", "database_answers"}
    good |= {"clock_right", "worker_alive", "listeners_live", "queue_moves"}
    assert {name for name, sentence in SAYS.items() if not sentence.advice} == good


def test_the_link_leads_into_the_apps_own_pages_at_feishu_or_lark() -> None:
    finding = {
        "check": "features",
        "level": "fail",
        "says": "scopes_missing",
        "told": {"scopes": ["im:chat"]},
    }
    for domain in (doctor.FEISHU, doctor.LARK):
        assert link_of(finding, Bot(domain=domain, app_id="cli_a1")) == f"{domain}/app/cli_a1/auth"
    assert link_of(finding, Bot(domain="http://127.0.0.1:9", app_id="cli_a1")) == ""


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_every_sentence_can_be_said(language: str) -> None:
    told = dict.fromkeys(("code", "ms", "status", "seconds", "count", "minutes"), 1)
    told |= dict.fromkeys(("name", "domain", "why", "url", "at", "set", "came", "vendor", "feature"), "x")
    findings = [
        {
            "check": check,
            "level": "fail",
            "says": name,
            "told": {**told, "events": ["p2p_chat_create"], "scopes": ["?"]},
        }
        for check, name in zip([*CHECKS] * 10, SAYS, strict=False)
    ]
    with translation.override(language):
        said = lines(findings, None)
    assert len(said) == len(SAYS)
    assert all("%(" not in one["text"] for one in said)


def test_a_finding_of_an_older_version_is_shown_all_the_same() -> None:
    finding = {"check": "gone", "level": "warn", "says": "gone", "told": {}}
    assert (lines([finding], None)[0]["text"], advice_of(finding)) == ("gone", "")


def test_what_a_feature_needs_stands_in_the_setup_guide() -> None:
    events, scopes = dict(EVENTS_TO_ADD), {*dict(SCOPES_TO_ADD), *dict(EVENTS_TO_ADD).values()}
    for feature in FEATURES.values():
        assert set(feature.events) <= set(events)
        assert set(feature.scopes) <= scopes


# --- The page and the worker ---------------------------------------------------------------------------------------
@pytest.fixture
def admin_of_bots(client_of: Any) -> Client:
    return client_of("bots", ["view_bot", "change_bot"])


@pytest.mark.django_db(transaction=True)
def test_check_now_is_done_by_the_worker_and_shown_on_the_page(
    bot: Bot, sandbox: Any, admin_of_bots: Client
) -> None:
    admin_of_bots.post(NOW)
    admin_of_bots.post(NOW)  # a second press asks for nothing more
    assert Checkup.objects.get().status == "waiting"
    assert doctor.run_due(lambda: False) == 1
    shown = admin_of_bots.get(PAGE).content.decode()
    assert "Feishu gives a token" in shown
    assert "PUBLIC_URL" in shown
    assert "asked for by bots" in shown


@pytest.mark.django_db
def test_one_worker_makes_a_checkup_and_another_takes_over_what_was_left(bot: Bot) -> None:
    Checkup.objects.ask("somebody")
    now = timezone.now()
    assert Checkup.objects.claim(now) is not None
    assert Checkup.objects.claim(now) is None
    assert Checkup.objects.claim(now + timedelta(minutes=11)) is not None


@pytest.mark.django_db
def test_old_rounds_are_dropped(bot: Bot) -> None:
    for _ in range(25):
        Checkup.objects.ask("somebody").finish([])
    assert Checkup.objects.count() == 20


@pytest.mark.django_db
def test_who_may_only_look_cannot_ask_and_nobody_sees_the_login(
    bot: Bot, viewer: Client, nobody: Client
) -> None:
    assert viewer.get(PAGE).status_code == 200
    assert "Check now" not in viewer.get(PAGE).content.decode()
    assert viewer.post(NOW).status_code == 403
    assert [nobody.get(PAGE).status_code, nobody.post(NOW).status_code] == [302, 302]
    assert not Checkup.objects.exists()


@pytest.mark.django_db
def test_check_now_is_a_post(bot: Bot, admin_of_bots: Client, client_of: Any) -> None:
    assert admin_of_bots.get(NOW).status_code == 405
    assert client_of("stranger", ["view_event"]).get(PAGE).status_code == 403


@pytest.mark.django_db
def test_the_checklist_has_url_events_and_scopes(bot: Bot, admin_of_bots: Client) -> None:
    shown = admin_of_bots.get(f"{PAGE}checklist/default/").content.decode()
    for text in (bot.webhook_url, *dict(EVENTS_TO_ADD), *dict(SCOPES_TO_ADD)):
        assert text in shown
    assert admin_of_bots.get(f"{PAGE}checklist/nothing/").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_the_command_makes_the_same_checks(bot: Bot, sandbox: Any) -> None:
    out = io.StringIO()
    with translation.override("en"):
        call_command("check_feishu", "--bot", "default", stdout=out)
    said = out.getvalue()
    for line in (
        "Credentials: Feishu gives a token",
        "Challenge: http",
        "Last event: No event",
        "PUBLIC_URL",
    ):
        assert line in said
    Bot.objects.update(app_secret=Bot(app_secret="wrong").app_secret)
    with pytest.raises(CommandError, match="not working: default"):
        call_command("check_feishu", "--bot", "default", stdout=out)
