"""Incidents that nobody takes, or nobody speaks of, say so; by the clock that the test gives."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from events.models import OutboxItem
from incidents.models import Actor, Incident, ReminderRule, Responder, Service, TimelineEntry, Via
from incidents.reminders import remind
from tests.feishu_events import ADA, LIN
from tests.incident_world import Feishu, lines, running, work

pytest_plugins = ["tests.incident_fixtures"]
pytestmark = pytest.mark.django_db

OPERATOR = Actor(Via.ADMIN, "operator")
FIRST, SECOND = ADA[0], LIN[0]


@pytest.fixture
def open_p1(incident: Incident) -> Incident:
    """A P1 with a service whose on call are in the chat: reminded after 15, 15, 30, 30 minutes."""
    incident.service = Service.objects.create(name="pay", first_on_call=FIRST, second_on_call=SECOND)
    incident.save()
    return incident


def after(incident: Incident, minutes: float) -> datetime:
    return incident.opened_at + timedelta(minutes=minutes)


def sent() -> None:
    """Feishu has taken everything."""
    OutboxItem.objects.update(status=OutboxItem.Status.SENT)


def remind_at(incident: Incident, *minutes: float) -> list[int]:
    counts = []
    for minute in minutes:
        counts.append(remind(after(incident, minute)))
        sent()
    return counts


def buzzed() -> list[Any]:
    return [row.arguments["open_ids"] for row in OutboxItem.objects.filter(call="buzz").order_by("pk")]


def test_an_incident_that_nobody_takes_is_called_out_in_its_chat(open_p1: Incident) -> None:
    assert remind_at(open_p1, 14.9, 15) == [0, 1]
    assert lines() == [
        f'<at user_id="{FIRST}"></at> Nobody has taken {open_p1} for 15 minutes.'
        " Press the button on the card, or write /ack"
    ]
    assert open_p1.timeline.filter(kind=TimelineEntry.Kind.REMINDED, via=Via.SYSTEM).count() == 1


def test_the_first_on_call_is_buzzed_then_the_second_then_both(open_p1: Incident) -> None:
    assert remind_at(open_p1, 15, 29, 30, 59, 60) == [1, 0, 1, 0, 1]
    assert buzzed() == [[FIRST], [SECOND], [FIRST, SECOND]]


def test_reminders_end_after_as_many_as_the_rule_says(open_p1: Incident) -> None:
    assert sum(remind_at(open_p1, *range(15, 600, 15))) == 4


def test_the_second_is_the_first_where_nobody_else_is_on_call(open_p1: Incident) -> None:
    Service.objects.update(second_on_call="")
    remind_at(open_p1, 15, 30)
    assert buzzed() == [[FIRST], [FIRST]]


def test_without_a_service_those_who_were_called_in_first_are_buzzed(incident: Incident) -> None:
    remind_at(incident, 15, 30)
    assert buzzed() == [[ADA[0]], [LIN[0]]]


def test_nobody_outside_the_chat_is_buzzed(open_p1: Incident) -> None:
    Responder.objects.filter(open_id=FIRST).update(status="failed")
    remind_at(open_p1, 15)
    assert buzzed() == [[SECOND]]


@pytest.mark.parametrize(
    "change",
    [
        {"muted_until": datetime(2999, 1, 1, tzinfo=timezone.get_default_timezone())},
        {"drill": True},
        {"chat_gone": True},
        {"chat_id": ""},
        {"status": "resolved"},
        {"severity": "P3"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_it_stays_quiet(open_p1: Incident, change: dict[str, Any]) -> None:
    Incident.objects.update(**change)
    assert remind(after(open_p1, 100_000)) == 0


def test_a_disabled_bot_reminds_of_nothing(open_p1: Incident) -> None:
    type(open_p1.bot).objects.update(enabled=False)
    assert remind(after(open_p1, 60)) == 0


def test_an_imported_chat_is_left_alone(bot: Any) -> None:
    imported = Incident.objects.import_chat(
        bot=bot, chat_id="oc_old", title="Old", by=OPERATOR, severity="P0"
    )
    assert remind(after(imported, 100)) == 0


def test_a_mute_that_has_ended_lets_the_reminder_through(open_p1: Incident) -> None:
    open_p1.mute(OPERATOR, timedelta(minutes=60))
    sent()
    assert remind(after(open_p1, 59)) == 0
    assert remind(after(open_p1, 61)) == 1


def test_a_rule_that_is_off_reminds_of_nothing(open_p1: Incident) -> None:
    ReminderRule.objects.by_severity()
    ReminderRule.objects.update(enabled=False)
    assert remind(after(open_p1, 60)) == 0


def test_a_higher_severity_is_reminded_of_sooner(open_p1: Incident) -> None:
    open_p1.change_severity(OPERATOR, "P0")
    sent()
    assert remind(after(open_p1, 5)) == 1


def test_while_one_reminder_waits_no_other_is_queued(open_p1: Incident) -> None:
    assert remind(after(open_p1, 15)) == 1
    assert remind(after(open_p1, 60)) == 0
    sent()
    assert remind(after(open_p1, 60)) == 1


def test_a_reminder_that_was_not_sent_yet_is_forgotten_when_someone_takes_it(open_p1: Incident) -> None:
    remind(after(open_p1, 15))
    open_p1.refresh_from_db()
    open_p1.acknowledge(OPERATOR)
    rows = OutboxItem.objects.filter(step="incident.reminder")
    assert set(rows.values_list("status", flat=True)) == {"superseded"}  # nothing failed, nothing to retry


def test_a_forgotten_reminder_that_may_have_arrived_is_not_called_superseded(open_p1: Incident) -> None:
    remind(after(open_p1, 15))
    OutboxItem.objects.filter(step="incident.reminder").update(unsure=True)
    open_p1.refresh_from_db()
    open_p1.acknowledge(OPERATOR)
    rows = OutboxItem.objects.filter(step="incident.reminder")
    assert set(rows.values_list("status", flat=True)) == {"failed"}


def test_after_a_reopening_everything_begins_anew(open_p1: Incident) -> None:
    assert remind_at(open_p1, 15) == [1]
    open_p1.resolve(OPERATOR)
    open_p1.reopen(OPERATOR, "again")
    sent()
    now = timezone.now()
    assert [remind(now + timedelta(minutes=minutes)) for minutes in (14, 15.1)] == [0, 1]


def test_whoever_took_it_and_fell_silent_is_asked_for_an_update(open_p1: Incident) -> None:
    open_p1.acknowledge(Actor(Via.BUTTON, "Lin", LIN[0]))
    sent()
    assert remind_at(open_p1, 59, 61, 90, 122) == [0, 1, 0, 1]
    assert lines()[-1].startswith(f'<at user_id="{LIN[0]}"></at> How is {open_p1} going?')
    assert buzzed() == []


def test_a_word_in_the_chat_is_update_enough(open_p1: Incident, say: Any) -> None:
    open_p1.acknowledge(OPERATOR)
    Incident.objects.update(active_at=after(open_p1, -600))
    say("rolling back")
    sent()
    assert remind(after(open_p1, 30)) == 0


def test_two_workers_with_the_same_incident_in_hand_remind_once(open_p1: Incident) -> None:
    from incidents.reminders import _remind

    first, second = Incident.objects.get(), Incident.objects.get()
    assert _remind(first, after(open_p1, 15))
    sent()
    assert not _remind(second, after(open_p1, 15))


def test_every_severity_has_a_rule_from_the_first_look_on(db: None) -> None:
    rules = ReminderRule.objects.by_severity()
    assert {one: (rule.enabled, rule.remind_after_minutes) for one, rule in rules.items()} == {
        "P0": (True, 5),
        "P1": (True, 15),
        "P2": (True, 60),
        "P3": (False, 240),
    }


def test_the_operator_changes_a_rule_and_adds_none(admin_client: Client) -> None:
    assert admin_client.get(reverse("admin:incidents_reminderrule_changelist")).status_code == 200
    rule = ReminderRule.objects.get(severity="P1")
    page = reverse("admin:incidents_reminderrule_change", args=[rule.pk])
    minutes = ("remind_after", "escalate_after", "repeat_every", "ask_for_update_after")
    form = {f"{name}_minutes": 7 for name in minutes} | {"at_most": 3, "enabled": "on"}
    assert admin_client.post(page, form).status_code == 302
    assert ReminderRule.objects.get(severity="P1").repeat_every_minutes == 7
    assert admin_client.get(reverse("admin:incidents_reminderrule_add")).status_code == 403


@pytest.mark.django_db(transaction=True)
def test_a_reminder_reaches_the_chat_and_the_phone(bot: Any, feishu: Feishu) -> None:
    incident = running(bot, feishu)
    assert remind(after(incident, 15)) == 1
    work()
    assert "Nobody has taken" in feishu.texts(incident.chat_id)[-1]
    assert [one["name"] for one in feishu.cards(incident.chat_id)[0]["buzzed"]] == ["Ada"]


@pytest.mark.django_db(transaction=True)
def test_a_reminder_to_a_chat_that_is_gone_is_the_last(bot: Any, feishu: Feishu) -> None:
    incident = running(bot, feishu)
    feishu.sandbox.set_webhook("")  # nobody tells the console
    feishu.call("DELETE", f"groups/{incident.chat_id}")
    assert [remind(after(incident, 15)), work(), remind(after(incident, 300))] == [1, None, 0]
    assert Incident.objects.get().chat_gone


@pytest.mark.parametrize(("via", "muted"), [(Via.COMMAND, False), (Via.ALERT, True)])
def test_whoever_opens_it_again_ends_the_mute_of_before_and_its_alerts_do_not(
    open_p1: Incident, via: Via, muted: bool
) -> None:
    open_p1.mute(OPERATOR, timedelta(hours=24))
    open_p1.resolve(OPERATOR)
    open_p1.reopen(Actor(via))
    assert open_p1.is_muted is muted
