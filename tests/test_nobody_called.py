"""Incidents that nobody would see: the bot's default service, and what says loudly that nobody was called."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from events.models import Bot, OutboxItem
from incidents.models import Actor, Incident, Responder, Service, Via
from incidents.reminders import remind
from incidents.steps import on_chat_created, on_members_added
from tests.feishu_events import ADA, CHAT_ID, LIN, message_received

pytest_plugins = ["tests.incident_fixtures", "tests.admin_fixtures"]
pytestmark = pytest.mark.django_db

OPERATOR = Actor(Via.ADMIN, "operator")
ALERTMANAGER = Actor(Via.ALERT, "prometheus")
ALARM_CHAT = "oc_alarms"


@pytest.fixture
def on_call(bot: Bot) -> Service:
    return Service.objects.create(
        name="On call", first_on_call=ADA[0], second_on_call=LIN[0], severity="P1", default_for=bot
    )


@pytest.fixture
def alarmed(bot: Bot, english: None, settings: Any) -> Bot:
    """A bot with an alarm chat, in which another one speaks."""
    settings.PUBLIC_URL = "https://console.example"
    bot.alarm_chat_id = ALARM_CHAT
    bot.alarm_bot = Bot.objects.create(name="Speaker", slug="speaker", app_id="cli_speaker")
    bot.save()
    return bot


def opened(bot: Bot, **fields: Any) -> Incident:
    return Incident.objects.open(bot=bot, by=ALERTMANAGER, **{"title": "Disk full", **fields})


def called(incident: Incident) -> list[str]:
    return list(incident.responders.values_list("open_id", flat=True))


def alarms() -> list[tuple[str, str]]:
    rows = OutboxItem.objects.filter(target=ALARM_CHAT).select_related("bot").order_by("pk")
    return [(row.bot.slug, row.content["text"]) for row in rows]


# --- The default service ---------------------------------------------------------------------------------------
def test_an_incident_without_a_service_is_the_default_services(bot: Bot, on_call: Service) -> None:
    incident = opened(bot)
    assert (incident.service, incident.severity, called(incident)) == (on_call, "P1", [ADA[0], LIN[0]])


def test_a_service_that_is_named_goes_before_the_default(bot: Bot, on_call: Service) -> None:
    named = Service.objects.create(name="Payments", first_on_call="ou_sun")
    assert called(opened(bot, service=named)) == ["ou_sun"]


def test_nobody_is_called_about_a_drill_or_another_bots_incident(bot: Bot, on_call: Service) -> None:
    other = Bot.objects.create(name="Other", slug="other", app_id="cli_other")
    assert called(opened(bot, drill=True)) == called(opened(other)) == []


def test_an_incident_opened_in_a_chat_calls_the_default_service_too(
    bot: Bot, on_call: Service, push: Any
) -> None:
    push(bot, message_received("/incident payments fail", sender=("ou_sun", "Sun"), chat_type="p2p"))
    assert called(Incident.objects.get()) == [ADA[0], LIN[0], "ou_sun"]


# --- Nobody was called -----------------------------------------------------------------------------------------
def test_the_alarm_chat_is_told_that_nobody_was_called(alarmed: Bot) -> None:
    incident = opened(alarmed)
    url = f"https://console.example/admin/incidents/incident/{incident.pk}/change/"
    says = f"{incident} [P2] Disk full: nobody sees it, only the bot is in its chat. Call people: {url}"
    assert alarms() == [("speaker", says)]


def test_a_private_incidents_title_is_not_told(alarmed: Bot) -> None:
    incident = opened(alarmed, private=True)
    assert alarms()[0][1].startswith(f"{incident}: nobody sees it")


@pytest.mark.parametrize("fields", [{"drill": True}, {"responders": [Responder(open_id="ou_sun")]}])
def test_there_is_no_alarm_where_somebody_was_called_or_it_is_a_drill(
    alarmed: Bot, fields: dict[str, Any]
) -> None:
    assert (opened(alarmed, **fields).calls_nobody, alarms()) == (False, [])


def test_people_whom_feishu_refuses_are_nobody(alarmed: Bot) -> None:
    incident = opened(alarmed, responders=[Responder(open_id="ou_gone")])
    Incident.objects.update(chat_id=CHAT_ID)
    OutboxItem.objects.create(
        bot=alarmed,
        key="add",
        uuid="add",
        call="add_members",
        target=CHAT_ID,
        arguments={"open_ids": ["ou_gone"]},
        status=OutboxItem.Status.FAILED,
        subject=incident,
    )
    on_members_added(OutboxItem.objects.get(key="add"))
    assert len(alarms()) == 1


def test_a_reminder_that_nobody_in_the_chat_could_read_goes_to_the_alarm_chat(alarmed: Bot) -> None:
    incident = opened(alarmed)
    Incident.objects.update(chat_id=CHAT_ID)
    remind(incident.opened_at + timedelta(minutes=61))
    assert len(alarms()) == 2


def test_whoever_comes_by_themselves_ends_it(alarmed: Bot, push: Any) -> None:
    incident = opened(alarmed)
    Incident.objects.update(chat_id=CHAT_ID)
    push(alarmed, message_received("I see it"))
    assert not incident.calls_nobody


def test_the_alarm_chat_hears_of_an_incident_for_which_feishu_makes_no_chat(alarmed: Bot) -> None:
    incident = opened(alarmed, responders=[Responder(open_id="ou_sun")])
    for open_ids in (["ou_sun"], []):  # refused with the people, and without
        made = OutboxItem.objects.get(call="create_chat")
        assert made.arguments["open_ids"] == open_ids
        made.status, made.error_code, made.error = OutboxItem.Status.FAILED, 232025, "no bot ability"
        made.save()
        on_chat_created(made)
    assert len(alarms()) == 1
    assert alarms()[0][1].startswith(f"{incident} [P2] Disk full has no chat, Feishu refuses to make one: ")
    assert incident.timeline.filter(text__startswith="The chat could not be made: ").count() == 1


# --- In the console --------------------------------------------------------------------------------------------
def html(client: Client, name: str, *args: Any) -> str:
    return client.get(reverse(f"admin:{name}", args=args), headers={"accept-language": "en"}).content.decode()


def test_the_console_says_it_loudly_until_somebody_takes_it(bot: Bot, admin_client: Client) -> None:
    incident = opened(bot)
    pages = (
        ("incidents_incident_change", incident.pk),
        ("incidents_incident_changelist",),
        ("index",),
    )
    assert 'id="calls-nobody"' in html(admin_client, *pages[0])
    assert all("nobody called" in html(admin_client, *page) for page in pages[1:])
    incident.acknowledge(OPERATOR)
    assert 'id="calls-nobody"' not in html(admin_client, *pages[0])
    assert not any("nobody called" in html(admin_client, *page) for page in pages[1:])


def test_the_page_of_services_names_the_bots_without_a_default(bot: Bot, admin_client: Client) -> None:
    assert "No service is the default for" in html(admin_client, "incidents_service_changelist")
    Service.objects.create(name="On call", default_for=bot)
    assert "No service is the default for" not in html(admin_client, "incidents_service_changelist")


def test_a_bot_has_one_default_service(bot: Bot, on_call: Service, admin_client: Client) -> None:
    service = {"name": "Another", "severity": "P2", "member_ids": "", "default_for": bot.pk}
    answer = admin_client.post(
        reverse("admin:incidents_service_add"), service, headers={"accept-language": "en"}
    )
    assert "Another service is this bot&#x27;s default." in answer.content.decode()


def test_the_picture_of_a_new_incident_shows_the_default_service(
    bot: Bot, on_call: Service, admin_client: Client
) -> None:
    url = reverse("admin:incidents_incident_preview")
    assert "On call" in admin_client.post(url, {"title": "x", "bot": bot.pk}).json()["html"]
    drill = admin_client.post(url, {"title": "x", "bot": bot.pk, "drill": "1"}).json()["html"]
    assert ADA[0] not in drill
