"""Alerts that come in: what they open, what is counted, what the chat hears of it, and who may send them."""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.db import connections, transaction
from django.test import Client
from django.utils import timezone

from botconsole.models import ApiKey
from events.models import Bot, OutboxAttachment, OutboxItem
from incidents.alerts import PARSERS
from incidents.models import Actor, AlertGroup, Incident, Service, StoredAlert, Via
from tests.feishu_events import ADA as ADA_OF_FEISHU
from tests.incident_world import PNG, Feishu, lines, work
from tests.waiting import until_someone_waits

pytest_plugins = ["tests.incident_fixtures", "tests.admin_fixtures"]

SAMPLES = Path(__file__).parent / "samples" / "alerts"
ADA = Actor(Via.ADMIN, "Ada")
Send = Callable[..., Any]


def sample(source: str) -> Any:
    return json.loads((SAMPLES / f"{source}.json").read_text())


def client_with(*scopes: str) -> Client:
    _key, text = ApiKey.objects.issue("prometheus", scopes)
    return Client(headers={"authorization": f"Bearer {text}", "accept-language": "en"})


@pytest.fixture
def send(bot: Bot, english: None) -> Send:
    """Sends a body to /api/v1/alerts/{source}; the answer must be 200 unless said otherwise."""
    client = client_with("alerts")

    def send(
        body: Any, source: str = "generic", *, status: int = 200, query: str = "", **headers: str
    ) -> Any:
        url = f"/api/v1/alerts/{source}{query}"
        answer = client.post(url, body, content_type="application/json", headers=headers)
        assert answer.status_code == status, answer.content
        return answer.json()

    return send


@pytest.fixture
def clock() -> Iterator[Any]:
    with time_machine.travel(datetime.fromisoformat("2026-11-21T06:10:00+00:00"), tick=False) as traveller:
        yield traveller


def firing(title: str = "Disk full", **fields: Any) -> dict[str, Any]:
    return {"title": title, "dedup_key": "disk", **fields}


def recovered(**fields: Any) -> dict[str, Any]:
    return firing(status="resolved", **fields)


def in_a_chat() -> Incident:
    """The only incident, its chat made, what its opening queued gone."""
    incident = Incident.objects.get()
    Incident.objects.filter(pk=incident.pk).update(chat_id="oc_1", card_message_id="om_1")
    OutboxItem.objects.all().delete()
    return Incident.objects.get()


def said(incident: Incident) -> list[tuple[str, str]]:
    """(kind, text) of what its alerts have written into the timeline."""
    entries = incident.timeline.filter(kind__in=("alert", "recovered"), via="alert").order_by("pk")
    return list(entries.values_list("kind", "text"))


def one(incident: Incident) -> StoredAlert:
    return incident.alerts.get()


# --- Opening ----------------------------------------------------------------------------------------------
def test_a_notification_of_alertmanager_opens_one_incident_for_its_group(bot: Bot, send: Send) -> None:
    service = Service.objects.create(name="payments", first_on_call="ou_sun")
    told = send(sample("alertmanager"), "alertmanager")
    incident = Incident.objects.get()
    assert told == {
        "alerts": 2,
        "incidents": [
            {
                "number": incident.number,
                "status": "open",
                "opened": True,
                "url": f"http://127.0.0.1:8000/admin/incidents/incident/{incident.pk}/change/",
            }
        ],
        "refused": {},
    }
    assert (incident.title, incident.severity, incident.source, incident.opened_by) == (
        "Requests to pay-2:8080 fail", "P0", "alert", "prometheus"
    )  # fmt: skip
    assert (incident.service, incident.bot, incident.description) == (
        service, bot, "61% of the requests to pay-2:8080 fail."
    )  # fmt: skip
    assert [one.open_id for one in incident.responders.all()] == ["ou_sun"]
    rows = incident.alerts.order_by("fingerprint").values_list("fingerprint", "severity", "firing", "count")
    assert list(rows) == [("5a1e7c0c9f2b4d68", "P2", True, 1), ("c7d04b1f36e9a852", "P0", True, 1)]


def test_an_alert_of_grafana_opens_an_incident(send: Send) -> None:
    send(sample("grafana"), "grafana")
    incident = Incident.objects.get()
    assert (incident.title, incident.severity) == ("db-3 的磁盘还剩 3%", "P1")
    assert one(incident).url == "https://grafana.example.com/d/disks?orgId=1&viewPanel=4"
    assert not OutboxAttachment.objects.exists()


def test_opening_queues_the_same_as_every_other_way_and_the_image_is_uploaded_once(send: Send) -> None:
    image = base64.b64encode(PNG).decode()
    for _ in range(3):
        send(firing(image=image))
    assert sorted(OutboxItem.objects.values_list("call", flat=True)) == ["create_chat", "upload_image"]
    assert bytes(OutboxAttachment.objects.get().data) == PNG


def test_a_wrong_image_is_told_and_the_incident_is_opened_without_it(send: Send) -> None:
    told = send(firing(image="***"))
    assert (told["refused"], told["incidents"][0]["opened"]) == ({"image": "This is not base64."}, True)
    assert not OutboxAttachment.objects.exists()


@pytest.mark.parametrize(("severity", "expected"), [("critical", "P0"), ("odd", "P3"), ("", "P3")])
def test_a_severity_that_says_nothing_is_the_services(send: Send, severity: str, expected: str) -> None:
    Service.objects.create(name="Backups", severity="P3")
    send(firing(severity=severity, service="backups"))
    assert Incident.objects.get().severity == expected


def test_an_unknown_service_does_not_keep_an_alarm_away(send: Send) -> None:
    send(firing(service="nobody knows"))
    assert (Incident.objects.get().service, Incident.objects.get().severity) == (None, "P2")


def test_the_address_says_who_is_called_about_what_names_no_service(send: Send) -> None:
    Service.objects.create(name="Backups")
    everything = Service.objects.create(name="Everything", severity="P3")
    send(firing(), query="?service=Everything")
    send(firing("CPU hot", dedup_key="cpu", service="Backups"), query="?service=Everything")
    first, second = Incident.objects.order_by("pk")
    assert (first.service, first.severity, str(second.service)) == (everything, "P3", "Backups")
    assert list(send(firing(), query="?service=None", status=400)["errors"]) == ["service"]


def test_alerts_without_a_common_key_open_an_incident_each(send: Send) -> None:
    send(firing())
    send(firing("CPU hot", dedup_key="cpu"))
    send({**sample("generic"), "dedup_key": "disk"})
    assert sorted(Incident.objects.values_list("title", flat=True)) == ["CPU hot", "Disk full"]


def test_the_same_key_from_another_source_is_another_thing(send: Send) -> None:
    for source in ("alertmanager", "grafana"):
        send(sample("alertmanager"), source)
    assert Incident.objects.count() == 2


# --- Which bot ---------------------------------------------------------------------------------------------
def test_with_two_bots_the_address_says_which(bot: Bot, send: Send) -> None:
    Bot.objects.create(name="B", slug="b", app_id="cli_b", verification_token="t")
    assert send(firing(), status=400)["errors"] == {"bot": ["There are several bots: say which."]}
    send(firing(), query="?bot=b")
    send(firing(), query="?bot=default")
    assert [one.bot.slug for one in Incident.objects.order_by("pk")] == ["b", "default"]


@pytest.mark.parametrize("query", ["?bot=none", "?bot=%00"])
def test_a_wrong_bot_is_named(send: Send, query: str) -> None:
    assert list(send(firing(), query=query, status=400)["errors"]) == ["bot"]


# --- Repeats -----------------------------------------------------------------------------------------------
def test_a_repeat_is_counted_and_says_what_it_says_now(send: Send, clock: Any) -> None:
    send(firing())
    begun = timezone.now()
    clock.shift(60)
    told = send(firing("Disk fuller", url="https://example.com/2"))
    alert = one(Incident.objects.get())
    assert told["incidents"][0]["opened"] is False
    assert (alert.count, alert.title, alert.url) == (2, "Disk fuller", "https://example.com/2")
    assert (alert.first_at, alert.last_at) == (begun, begun + timedelta(minutes=1))


def test_a_storm_of_repeats_makes_one_incident_and_a_line_every_ten_minutes(
    bot: Bot, send: Send, clock: Any
) -> None:
    send(firing())
    incident = in_a_chat()
    alerts = PARSERS["generic"](firing()).alerts
    for _ in range(100):
        clock.shift(60)
        AlertGroup.objects.receive(bot, "generic", alerts, Actor(Via.ALERT, "prometheus"))
    assert (Incident.objects.count(), one(incident).count) == (1, 101)
    assert OutboxItem.objects.count() == len(said(incident)) == 10
    assert lines()[-1] == "Still firing: Disk full; received 101 times"


def test_alerts_that_join_are_told_together(send: Send, clock: Any) -> None:
    send(firing())
    incident = in_a_chat()
    for number in range(50):
        send(firing(f"Disk {number} full", fingerprint=str(number)))
    assert lines() == []
    clock.shift(601)
    send(firing("Disk 7 full", fingerprint="7"))
    assert lines() == ["Still firing: Disk 7 full and 50 more; received 52 times"]
    assert (incident.alerts.count(), Incident.objects.count()) == (51, 1)


def test_a_name_in_a_title_becomes_no_mention(send: Send, clock: Any) -> None:
    send(firing())
    in_a_chat()
    clock.shift(601)
    send(firing('<at user_id="all"></at>'))
    assert lines() == ['Still firing: &lt;at user_id="all"&gt;&lt;/at&gt;; received 2 times']


def test_before_there_is_a_chat_repeats_queue_nothing(send: Send, clock: Any) -> None:
    send(firing())
    clock.shift(3600)
    send(firing())
    assert list(OutboxItem.objects.values_list("call", flat=True)) == ["create_chat"]


def test_a_muted_incident_only_counts_and_speaks_again_afterwards(send: Send, clock: Any) -> None:
    send(firing())
    incident = in_a_chat()
    incident.mute(ADA, timedelta(minutes=60))
    before = len(lines())
    for _ in range(5):
        clock.shift(11 * 60)
        send(firing())
    assert (len(lines()), said(incident), one(incident).count) == (before, [], 6)
    clock.shift(6 * 60)
    send(firing())
    assert lines()[before:] == ["Still firing: Disk full; received 7 times"]


def test_a_worse_alert_makes_its_incident_worse_once(send: Send) -> None:
    send(firing(severity="low"))
    incident = in_a_chat()
    send(firing(fingerprint="b", severity="critical"))
    incident.refresh_from_db()
    assert incident.severity == "P0"
    incident.change_severity(ADA, "P2")
    send(firing(fingerprint="b", severity="critical"))  # a repeat is no news
    send(firing(fingerprint="c", severity="info"))
    incident.refresh_from_db()
    assert incident.severity == "P2"
    entries = incident.timeline.filter(kind="severity").order_by("pk").values_list("via", "person", "text")
    assert list(entries) == [("alert", "prometheus", "P0"), ("admin", "Ada", "P2")]


def test_an_alert_finds_the_incident_that_someone_reopened(send: Send) -> None:
    send(firing())
    incident = in_a_chat()
    incident.resolve(ADA)
    incident.reopen(ADA, "not yet")
    assert send(firing())["incidents"][0]["number"] == incident.number
    assert one(incident).count == 2


# --- What ends -------------------------------------------------------------------------------------------
def test_when_all_alerts_have_recovered_the_chat_is_told_and_the_incident_stays(send: Send) -> None:
    send(firing())
    send(firing(fingerprint="b"))
    incident = in_a_chat()
    send(recovered())
    assert lines() == []
    send(recovered(fingerprint="b"))
    incident.refresh_from_db()
    assert (lines(), incident.status) == (["The alert has recovered: Disk full"], "open")
    assert (said(incident), incident.alerts.filter(firing=True).count()) == ([("recovered", "Disk full")], 0)


def test_a_recovery_is_told_even_if_muted(send: Send) -> None:
    send(firing())
    in_a_chat().mute(ADA, timedelta(hours=1))
    send(recovered())
    assert lines()[-1] == "The alert has recovered: Disk full"


def test_a_recovery_before_there_is_a_chat_is_told_when_there_is_one(send: Send) -> None:
    send(firing())
    send(recovered())
    incident = Incident.objects.get()
    assert AlertGroup.objects.tell_turned(timezone.now()) == 0
    Incident.objects.filter(pk=incident.pk).update(chat_id="oc_1")
    assert AlertGroup.objects.tell_turned(timezone.now()) == 1
    assert (lines(), said(incident)) == (["The alert has recovered: Disk full"], [("recovered", "Disk full")])


def test_a_recovery_that_comes_again_says_nothing_new(send: Send, clock: Any) -> None:
    send(firing())
    incident = in_a_chat()
    for _ in range(3):
        clock.shift(3600)
        send(recovered())
    assert (lines(), one(incident).count) == (["The alert has recovered: Disk full"], 1)


def test_a_recovery_of_what_nobody_knows_goes_nowhere(send: Send) -> None:
    assert send(recovered()) == {"alerts": 1, "incidents": [], "refused": {}}
    assert (Incident.objects.count(), StoredAlert.objects.count()) == (0, 0)


def test_a_flickering_alert_is_told_twice_in_ten_minutes_and_its_last_state_is(
    send: Send, clock: Any
) -> None:
    send(firing())
    incident = in_a_chat()
    for _ in range(20):
        clock.shift(15)
        send(recovered())
        clock.shift(15)
        send(firing())
    assert lines() == ["The alert has recovered: Disk full"]
    assert AlertGroup.objects.tell_turned(timezone.now()) == 0
    clock.shift(600)
    assert AlertGroup.objects.tell_turned(timezone.now()) == 1
    assert AlertGroup.objects.tell_turned(timezone.now()) == 0
    assert lines()[1:] == ["Firing again: Disk full"]
    assert (incident.status, one(incident).count) == ("open", 21)


def test_what_was_held_back_is_not_told_of_an_incident_that_is_over_or_muted(send: Send, clock: Any) -> None:
    send(firing())
    incident = in_a_chat()
    for body in (recovered(), firing()):
        send(body)
    incident.mute(ADA, timedelta(hours=1))
    clock.shift(601)
    assert AlertGroup.objects.tell_turned(timezone.now()) == 0
    clock.shift(3600)
    incident.resolve(ADA)
    assert AlertGroup.objects.tell_turned(timezone.now()) == 0


def test_the_worker_tells_what_was_held_back(send: Send, clock: Any) -> None:
    from botconsole.worker import Worker

    send(firing())
    in_a_chat()
    for body in (recovered(), firing()):
        send(body)
    clock.shift(601)
    Bot.objects.update(enabled=False)  # nothing is delivered: only what is queued counts here
    Worker().run_once()
    assert lines()[-1] == "Firing again: Disk full"


def test_a_service_may_leave_the_end_to_its_alerts(send: Send) -> None:
    Service.objects.create(name="Backups", resolved_by_alerts=True)
    send(firing(service="Backups"))
    incident = in_a_chat()
    send(recovered())
    incident.refresh_from_db()
    assert (incident.status, incident.resolution_note, incident.resolved_by) == (
        "resolved", "All its alerts have recovered", "prometheus"
    )  # fmt: skip
    assert len(lines()) == 1
    assert said(incident) == [("recovered", "Disk full")]


def test_what_its_alerts_alone_had_ended_goes_on_when_they_fire_again_soon(send: Send, clock: Any) -> None:
    Service.objects.create(name="Backups", resolved_by_alerts=True)
    send(firing(service="Backups"))
    incident = in_a_chat()
    send(recovered())
    clock.shift(59 * 60)
    assert send(firing())["incidents"][0] | {"url": ""} == {
        "number": incident.number, "status": "open", "opened": False, "url": ""
    }  # fmt: skip
    send(recovered())
    clock.shift(61 * 60)
    assert send(firing())["incidents"][0]["opened"] is True


# --- After the end -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("false_alarm", "outcome"), [(False, "resolved"), (True, "false alarm")])
def test_a_new_firing_opens_a_new_incident_that_names_the_one_before(
    send: Send, false_alarm: bool, outcome: str
) -> None:
    send(firing())
    before = in_a_chat()
    before.resolve(ADA, "it was the probe", false_alarm=false_alarm)
    assert send(firing())["incidents"][0]["opened"] is True
    after = Incident.objects.latest("pk")
    assert said(after) == [("alert", f"This alert was {before} before: {outcome}")]
    assert (one(before).count, one(after).count) == (1, 1)


@pytest.mark.parametrize(
    ("false_alarm", "quiet"), [(False, timedelta(minutes=30)), (True, timedelta(days=1))]
)
def test_the_firing_that_people_called_over_is_left_alone_for_a_while(
    send: Send, clock: Any, false_alarm: bool, quiet: timedelta
) -> None:
    began = "2026-11-21T06:00:00Z"
    send(firing(starts_at=began))
    incident = in_a_chat()
    incident.resolve(ADA, "repaired", false_alarm=false_alarm)
    clock.shift(quiet - timedelta(seconds=1))
    told = send(firing(starts_at=began, severity="critical"))
    assert told["incidents"][0] | {"url": ""} == {
        "number": incident.number, "status": "resolved", "opened": False, "url": ""
    }  # fmt: skip
    assert one(incident).count == 2
    clock.shift(1)
    assert send(firing(starts_at=began))["incidents"][0]["opened"] is True


def test_a_firing_that_began_after_the_end_is_a_new_one(send: Send, clock: Any) -> None:
    send(firing(starts_at="2026-11-21T06:00:00Z"))
    in_a_chat().resolve(ADA)
    clock.shift(60)
    assert send(firing(starts_at="2026-11-21T06:10:30Z"))["incidents"][0]["opened"] is True


def test_a_recovery_after_the_end_is_noted_on_the_page_only(send: Send) -> None:
    send(firing())
    incident = in_a_chat()
    incident.resolve(ADA)
    before = len(lines())
    send(recovered())
    assert (one(incident).firing, len(lines()), said(incident)) == (False, before, [])


def test_an_alert_does_not_join_an_incident_whose_chat_is_gone(send: Send) -> None:
    send(firing())
    before = in_a_chat()
    Incident.objects.update(chat_gone=True)
    assert send(firing())["incidents"][0]["opened"] is True
    assert send(firing())["incidents"][0]["opened"] is False
    assert one(before).count == 1


# --- Several at once -----------------------------------------------------------------------------------------
def at_once(count: int, act: Callable[[], Any]) -> None:
    start = threading.Barrier(count)

    def run() -> None:
        try:
            start.wait()
            act()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        for done in [pool.submit(run) for _ in range(count)]:
            done.result()


@pytest.mark.django_db(transaction=True)
def test_the_same_alert_ten_times_at_once_makes_one_incident(send: Send) -> None:
    at_once(10, lambda: send(firing()))
    assert one(Incident.objects.get()).count == 10
    assert list(OutboxItem.objects.values_list("call", flat=True)) == ["create_chat"]


@pytest.mark.django_db(transaction=True)
def test_the_same_alert_ten_times_at_once_after_the_end_opens_one_more(send: Send) -> None:
    send(firing())
    Incident.objects.get().resolve(ADA)
    at_once(10, lambda: send(firing()))
    assert list(Incident.objects.order_by("pk").values_list("alerts__count", flat=True)) == [1, 10]


@pytest.mark.django_db(transaction=True)
def test_alerts_of_one_group_at_once_are_all_behind_one_incident(send: Send) -> None:
    numbers = iter(range(10))
    at_once(10, lambda: send(firing(fingerprint=str(next(numbers)))))
    assert sorted(Incident.objects.get().alerts.values_list("fingerprint", "count")) == [
        (str(number), 1) for number in range(10)
    ]


@pytest.mark.django_db(transaction=True)
def test_requests_with_the_same_groups_in_any_order_do_not_block_each_other(send: Send) -> None:
    labels = [{"alertname": name} for name in "abcdefgh"]
    alerts = [{"status": "firing", "labels": one} for one in labels]
    bodies = iter([{"alerts": alerts}, {"alerts": alerts[::-1]}] * 3)
    # The key makes one transaction of the whole request.
    keys = iter("123456")
    at_once(6, lambda: send(next(bodies), "alertmanager", **{"Idempotency-Key": next(keys)}))
    assert Incident.objects.count() == 8
    assert set(StoredAlert.objects.values_list("count", flat=True)) == {6}


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_an_alert_that_comes_while_someone_resolves_waits_and_opens_a_new_incident(send: Send) -> None:
    send(firing())
    incident = Incident.objects.get()

    def send_and_close() -> Any:
        try:
            return send(firing())
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            incident.resolve(ADA)
            sent = pool.submit(send_and_close)
            until_someone_waits(sent)
        assert sent.result()["incidents"][0]["opened"] is True


# --- What is no alert ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("source", ["alertmanager", "grafana", "generic"])
@pytest.mark.parametrize(
    "body", ["[]", "null", "7", '"x"', "{}", '{"alerts": []}', '{"alerts": [null]}', "[" * 200 + "]" * 200]
)
def test_a_body_that_is_no_alert_is_a_problem(send: Send, source: str, body: str) -> None:
    answer = send(body, source, status=400)
    assert (answer["title"], len(answer["errors"])) == ("The request is not valid", 1)
    assert not Incident.objects.exists()


@pytest.mark.parametrize("body", ["{", b"\xff", "[" * 200_000, '{"title": NaN}'])
def test_a_body_that_is_no_json_is_a_problem(send: Send, body: Any) -> None:
    assert send(body, status=400)["detail"].startswith("This is not JSON")


def test_a_huge_body_is_413(send: Send) -> None:
    send("x" * (15 * 1024 * 1024 + 1), status=413)


def test_a_broken_alert_costs_none_of_its_batch(send: Send) -> None:
    body = sample("alertmanager")
    body["alerts"].insert(1, {"status": "firing"})
    told = send(body, "alertmanager")
    assert (told["alerts"], told["refused"]) == (2, {"alerts[1].labels": "This must be an object."})


def test_what_no_database_holds_is_stored_without_it(send: Send) -> None:
    send('{"title": "a\\u0000b", "description": "\\ud800", "x\\u0000": [1e999, {"y": "\\u0000"}]}')
    incident = Incident.objects.get()
    assert (incident.title, incident.description) == ("a\ufffdb", "?")
    assert one(incident).payload["x\ufffd"] == ["inf", {"y": "\ufffd"}]


def test_thousands_of_alerts_of_one_group_take_one_incident(send: Send) -> None:
    alerts = [
        {"status": "firing", "labels": {"alertname": "Down", "pod": str(number)}} for number in range(2000)
    ]
    send({"alerts": alerts}, "alertmanager")
    send({"alerts": [one | {"status": "resolved"} for one in alerts]}, "alertmanager")
    incident = Incident.objects.get()
    assert (incident.alerts.count(), incident.alerts.filter(firing=True).count()) == (2000, 0)


@pytest.mark.parametrize("source", ["prometheus", "Generic", "generic%00", "../incidents"])
def test_an_unknown_source_is_404(send: Send, source: str) -> None:
    assert send(firing(), source, status=404)["status"] == 404


# --- Who may ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("scopes", [["incidents"], ["incidents:read", "incidents:private"]])
def test_a_key_for_incidents_may_not_send_alerts(bot: Bot, scopes: list[str]) -> None:
    answer = client_with(*scopes).post("/api/v1/alerts/generic", firing(), content_type="application/json")
    assert (answer.status_code, answer.json()["detail"]) == (403, "This API key lacks the scope alerts.")
    assert not Incident.objects.exists()


def test_a_key_for_alerts_may_do_nothing_else(bot: Bot) -> None:
    client = client_with("alerts")
    assert client.get("/api/v1/incidents").status_code == 403
    assert client.get("/api/v1/alerts/generic").status_code == 405


def test_nobody_sends_alerts_without_a_key(bot: Bot) -> None:
    client = Client(enforce_csrf_checks=True)
    assert client.post("/api/v1/alerts/generic", firing(), content_type="application/json").status_code == 401


def test_a_request_that_its_sender_repeats_under_one_key_is_counted_once(send: Send) -> None:
    first = send(firing(), **{"Idempotency-Key": "a"})
    assert send(firing(), **{"Idempotency-Key": "a"}) == first
    assert one(Incident.objects.get()).count == 1


# --- Through the sandbox -------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_from_the_alert_with_its_picture_to_the_muted_repeats(feishu: Feishu, send: Send) -> None:
    Service.objects.create(name="Payments", first_on_call=feishu.person(ADA_OF_FEISHU[1], ADA_OF_FEISHU[0]))
    alert = firing(severity="critical", service="Payments", image=base64.b64encode(PNG).decode())
    send(alert)
    work()
    feishu.quiet()
    (group,) = feishu.groups
    chat_id = group["chat_id"]
    card = feishu.card(chat_id)
    incident = Incident.objects.get()
    assert group["name"] == "[P0] Disk full"
    assert incident.image_key in json.dumps(card["content"])
    AlertGroup.objects.update(told_at=None)
    send(alert)
    incident.mute(ADA, timedelta(hours=1))
    AlertGroup.objects.update(told_at=None)
    send(alert)
    send(alert | {"status": "resolved"})
    work()
    texts = feishu.texts(chat_id)
    assert texts[0] == "Still firing: Disk full; received 2 times"
    assert texts[-1] == "The alert has recovered: Disk full"
    assert (len(texts), one(incident).count) == (3, 3)


# --- The page ----------------------------------------------------------------------------------------------
@pytest.fixture
def page_of(client_of: Any) -> Callable[[Incident], str]:
    client = client_of("operator", ["view_incident", "change_incident"])
    return lambda incident: client.get(f"/admin/incidents/incident/{incident.pk}/change/").content.decode()


def test_the_page_shows_the_alerts_behind_an_incident(send: Send, page_of: Any, clock: Any) -> None:
    send(firing(url="https://jobs.example.com/1?a=b&c", severity="critical"))
    clock.shift(60)
    send(firing(url="https://jobs.example.com/1?a=b&c", severity="critical"))
    send(firing("<b>Second</b>", fingerprint="b"))
    send(recovered(fingerprint="b"))
    shown = page_of(Incident.objects.get()).split('id="alerts"')[1].split("</section>")[0]
    link = '<a href="https://jobs.example.com/1?a=b&amp;c" target="_blank" rel="noopener noreferrer">Disk full</a>'
    assert link in shown
    assert "&lt;b&gt;Second&lt;/b&gt; <span" in shown
    for words in (
        "received 2 times",
        "received 1 time ",
        ">firing<",
        ">recovered<",
        ">P0<",
        "<summary>disk</summary>",
    ):
        assert words in shown


def test_a_page_without_alerts_says_nothing_of_them(incident: Incident, page_of: Any) -> None:
    assert 'id="alerts"' not in page_of(incident)


def test_a_page_with_hundreds_of_alerts_folds_them_and_takes_few_queries(
    send: Send, client_of: Any, django_assert_max_num_queries: Any
) -> None:
    alerts = [
        {"status": "firing", "labels": {"alertname": "Down", "pod": str(number)}} for number in range(300)
    ]
    send({"alerts": alerts}, "alertmanager")
    client = client_of("operator", ["view_incident"])
    url = f"/admin/incidents/incident/{Incident.objects.get().pk}/change/"
    client.get(url)
    with django_assert_max_num_queries(20):
        shown = client.get(url).content.decode()
    assert "45 more" in shown
    assert "250 more are not shown." in shown


def test_the_page_names_the_incidents_that_the_same_alerts_were_before(send: Send, page_of: Any) -> None:
    send(firing())
    in_a_chat().resolve(ADA, "the probe", false_alarm=True)
    send(firing())
    Incident.objects.latest("pk").resolve(ADA)
    Incident.objects.filter(false_alarm=False).update(private=True)
    send(firing())
    first, second, third = Incident.objects.order_by("pk")
    shown = page_of(third).split("The same alerts before:")[1].split("</p>")[0]
    assert f">{first}</a> (false alarm)" in shown
    assert second.number not in shown  # private, and not for this reader


def test_the_timeline_can_be_reduced_to_what_alerts_did(send: Send, client_of: Any) -> None:
    send(firing())
    incident = in_a_chat()
    incident.note(ADA, "a remark")
    url = f"/admin/incidents/incident/{incident.pk}/change/?part=alerts"
    shown = client_of("operator", ["view_incident"]).get(url).content.decode().split('class="entries"')[1]
    assert "prometheus" in shown
    assert "a remark" not in shown
