"""What a private incident says stays with those who may see it, on every page that shows events and calls."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from events.models import Chat, Event, Lane, OutboxItem, Replay
from incidents.models import Actor, FormerChat, Incident, Responder, Via
from tests.feishu_events import ADA, CHAT_ID, message_received
from tests.incident_world import pressed

pytest_plugins = ["tests.incident_fixtures", "tests.admin_fixtures"]
pytestmark = pytest.mark.django_db

EVENTS, OUTBOX, HOME = "/admin/events/event/", "/admin/events/outboxitem/", "/admin/"
STAFF = [
    "view_event", "change_event", "view_outboxitem", "change_outboxitem", "view_incident", "change_incident",
    "view_welcometemplate", "change_welcometemplate",
]  # fmt: skip
SECRET = "salaries leaked"


@pytest.fixture
def staff(client_of: Any) -> Client:
    return client_of("staff", STAFF)


@pytest.fixture
def insider(client_of: Any) -> Client:
    return client_of("insider", [*STAFF, "view_private_incident"])


@pytest.fixture
def private(incident: Incident, bot: Any, push: Any) -> Incident:
    """A private incident with a message, a press and calls that all speak of it."""
    Incident.objects.filter(pk=incident.pk).update(private=True, title=SECRET)
    incident.refresh_from_db()
    push(bot, message_received(f"{SECRET} indeed", sender=ADA))
    push(bot, pressed({"incident": str(incident.pk)}, form_value={"note": SECRET}))
    incident.acknowledge(Actor(Via.ADMIN, "Boss"))
    incident.add_responders(Actor(Via.ADMIN, "Boss"), [Responder(email="whistle@example.com")])
    OutboxItem.objects.filter(call="get_person").delete()  # who somebody is, is no secret
    OutboxItem.objects.update(status="failed")
    return incident


def pages() -> list[str]:
    rows = [f"{EVENTS}{pk}/change/" for pk in Event.objects.values_list("pk", flat=True)]
    return rows + [f"{OUTBOX}{pk}/change/" for pk in OutboxItem.objects.values_list("pk", flat=True)]


def test_no_list_and_no_search_shows_it_to_other_staff(private: Incident, staff: Client) -> None:
    searches = [f"?q={text}" for text in ("leaked", private.chat_id, "whistle", f"inc:{private.key}")]
    for page in (HOME, *(f"{base}{search}" for base in (EVENTS, OUTBOX) for search in ["", *searches])):
        html = staff.get(page).content.decode()
        assert "salaries" not in html
        assert "whistle@" not in html


def test_the_name_of_its_chat_is_not_told_to_who_filters_by_it(
    private: Incident, staff: Client, insider: Client, bot: Any
) -> None:
    Chat.objects.create(bot=bot, chat_id=private.chat_id, name=SECRET)
    page = f"{EVENTS}?chat={private.chat_id}"
    assert SECRET not in staff.get(page).content.decode()
    assert SECRET in insider.get(page).content.decode()


def test_no_page_of_a_row_shows_it_to_other_staff(private: Incident, staff: Client) -> None:
    assert len(pages()) > 5
    assert {staff.get(page).status_code for page in pages()} == {302}  # as for a row that does not exist


def test_other_staff_can_neither_run_nor_retry_it(private: Incident, staff: Client) -> None:
    event, item = Event.objects.first(), OutboxItem.objects.first()
    assert event is not None
    assert item is not None
    Event.objects.update(status="failed")
    assert staff.post(f"{EVENTS}{event.pk}/rerun/").status_code == 404
    assert staff.post(f"{OUTBOX}{item.pk}/retry/").status_code == 404
    staff.post(OUTBOX, {"action": "retry", "_selected_action": [item.pk]})
    assert OutboxItem.objects.get(pk=item.pk).status == "failed"


def test_who_may_see_private_incidents_sees_it_all(private: Incident, insider: Client) -> None:
    assert {insider.get(page).status_code for page in pages()} == {200}
    assert SECRET in "".join(insider.get(page).content.decode() for page in pages())


def test_other_rows_stay(private: Incident, staff: Client, bot: Any, push: Any) -> None:
    push(bot, message_received("hello there", sender=ADA, chat_id="oc_open", message_id="om_open"))
    html = staff.get(f"{EVENTS}?q=oc_open").content.decode()
    assert "oc_open"[-4:] in html
    assert Event.objects.readable_by(staff_user()).count() == 1


def staff_user() -> Any:
    from django.contrib.auth.models import User

    return User.objects.get(username="staff")


def test_a_chat_that_a_private_incident_has_left_stays_private(private: Incident, staff: Client) -> None:
    FormerChat.objects.create(incident=private, chat_id=private.chat_id)
    Incident.objects.update(chat_id="oc_new")
    assert {staff.get(page).status_code for page in pages()} == {302}


def test_its_chat_is_not_offered_for_a_welcome_template(
    private: Incident, staff: Client, insider: Client, bot: Any
) -> None:
    from templates.models import WelcomeTemplate
    from templates.starters import make_starters

    make_starters(bot)
    Chat.objects.create(bot=bot, chat_id=private.chat_id, name=SECRET)
    page = f"/admin/templates/welcometemplate/{WelcomeTemplate.objects.all()[0].pk}/change/"
    assert private.chat_id not in staff.get(page).content.decode()
    assert private.chat_id in insider.get(page).content.decode()


@pytest.mark.parametrize("has_left", [False, True])
def test_neither_its_chat_nor_the_one_it_has_left_is_offered_for_an_import(
    private: Incident, client_of: Any, bot: Any, has_left: bool
) -> None:
    Chat.objects.create(bot=bot, chat_id=private.chat_id, name=SECRET)
    if has_left:
        FormerChat.objects.create(incident=private, chat_id=private.chat_id)
        Incident.objects.update(chat_id="oc_new")
    importer = client_of("importer", [*STAFF, "add_incident"])
    assert CHAT_ID not in importer.get("/admin/incidents/incident/import/").content.decode()


def test_an_api_key_reads_it_only_with_the_scope(private: Incident) -> None:
    from botconsole.models import ApiKey

    plain, _text = ApiKey.objects.issue("plain", ["incidents"])
    trusted, _text = ApiKey.objects.issue("trusted", ["incidents", "incidents:private"])
    assert not Event.objects.readable_by(plain).exists()
    assert not OutboxItem.objects.readable_by(plain).exists()
    assert Event.objects.readable_by(trusted).count() == Event.objects.count()


def test_other_staff_can_neither_replay_it_nor_see_what_a_replay_would_make_of_it(
    private: Incident, client_of: Any
) -> None:
    operators = [*STAFF, "replay_event", "simulate_event"]
    asked = {"why": "curious", "calls_per_minute": "300"}
    events = ",".join(str(pk) for pk in Event.objects.values_list("pk", flat=True))
    for who, more, found in (("other", [], 0), ("boss", ["view_private_incident"], Event.objects.count())):
        client = client_of(who, [*operators, *more])
        for query in ("", f"?events={events}"):
            html = client.post(f"/admin/events/replay/new/{query}", asked, follow=True).content.decode()
            replay = Replay.objects.latest("pk")
            assert replay.tried.get("events", 0) == found
            assert ("salaries" in html) is False or bool(found)


def test_other_staff_does_not_read_which_calls_a_replay_would_make_for_it(
    private: Incident, client_of: Any
) -> None:
    replay = Replay.objects.create(selection={"filter": {}}, status="tried")
    event = Event.objects.filter(chat_id=private.chat_id)[0]
    told = {"state": "new", "call": "send_message", "target": private.chat_id}
    replay.planned.create(key="inc:secret", event=event.pk, **told)
    url = f"/admin/events/replay/{replay.pk}/calls.csv"
    for who, more, lines in (("other", [], 1), ("boss", ["view_private_incident"], 2)):
        answer = client_of(who, [*STAFF, *more]).get(url)
        assert len(b"".join(answer.streaming_content).splitlines()) == lines


def test_other_staff_cannot_simulate_a_command_in_its_chat(
    private: Incident, client_of: Any, bot: Any
) -> None:
    client = client_of("other", [*STAFF, "simulate_event"])
    told = {"bot": bot.pk, "type": "im.message.receive_v1", "chat_id": private.chat_id, "text": "/timeline"}
    for confirmed in ({}, {"confirmed": "1"}):
        html = client.post("/admin/events/replay/simulate/", {**told, **confirmed, "people": ADA[0]}).content
        assert "salaries" not in html.decode()
    assert not Event.objects.filter(transport="simulated").exists()


def test_a_busy_chat_is_named_to_those_who_may_know_it(private: Incident, bot: Any, client_of: Any) -> None:
    Chat.objects.create(bot=bot, chat_id=private.chat_id, name=SECRET)
    soon = timezone.now() + timedelta(minutes=1)  # however slow the machine
    Lane.objects.filter(target=private.chat_id).delete()
    Lane.objects.create(
        bot=bot, target=private.chat_id, call="send_message", priority=10, due_at=soon,
        answered={"messages": [soon.timestamp()]},
    )  # fmt: skip
    page = f"/admin/events/bot/{bot.pk}/change/"
    told = [
        client_of(name, ["view_bot", *more]).get(page).content.decode()
        for name, more in (("watcher", []), ("trusted", ["view_private_incident"]))
    ]
    assert ["1 / 5" in text for text in told] == [True, True]
    assert [SECRET in text for text in told] == [False, True]
