"""The parsers of alerts, as pure functions: recorded requests in, Alerts out; and everything that is no alert."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from incidents.alerts import PARSERS, Alert, AlertError, Batch
from incidents.alerts.values import digest, kept, severity_of, web_address
from tests.incident_world import PNG

SAMPLES = Path(__file__).parent / "samples" / "alerts"
PICTURE = base64.b64encode(PNG).decode()


@pytest.fixture(autouse=True)
def english(settings: Any) -> None:
    settings.LANGUAGE_CODE = "en"


def sample(source: str) -> Any:
    return json.loads((SAMPLES / f"{source}.json").read_text())


def parsed(source: str, body: Any) -> Batch:
    return PARSERS[source](body)


def only(source: str, body: Any) -> Alert:
    (alert,) = parsed(source, body).alerts
    return alert


def alertmanager(*alerts: Any, **group: Any) -> dict[str, Any]:
    return {"version": "4", "alerts": list(alerts), **group}


def firing(**labels: Any) -> dict[str, Any]:
    return {"status": "firing", "labels": {"alertname": "Down", **labels}, "annotations": {}}


# --- What is recorded -----------------------------------------------------------------------------------
def test_a_notification_of_alertmanager_is_read() -> None:
    body = sample("alertmanager")
    batch = parsed("alertmanager", body)
    key = digest("group", body["groupKey"])
    url = "http://prometheus.example.com:9090/graph?g0.expr=error_rate+%3E+0.01&g0.tab=1"
    assert batch == Batch(
        (
            Alert(
                key=key, fingerprint="5a1e7c0c9f2b4d68", firing=True, title="Requests to pay-1:8080 fail",
                severity="P2", services=("Payments", "payments"), url=url, payload=body["alerts"][0],
                description="4.2% of the requests to pay-1:8080 fail.",
                starts_at=datetime(2026, 11, 21, 6, 2, 11, 512000, tzinfo=UTC),
            ),
            Alert(
                key=key, fingerprint="c7d04b1f36e9a852", firing=True, title="Requests to pay-2:8080 fail",
                severity="P0", services=("Payments", "payments"), url=url, payload=body["alerts"][1],
                description="61% of the requests to pay-2:8080 fail.",
                starts_at=datetime(2026, 11, 21, 6, 2, 41, 512000, tzinfo=UTC),
            ),
        ),
        {},
    )  # fmt: skip


def test_a_notification_of_grafana_is_read_and_its_image_is_not_fetched() -> None:
    body = sample("grafana")
    assert parsed("grafana", body) == Batch(
        (
            Alert(
                key=digest("group", body["groupKey"]), fingerprint="9b81f0d2ce6a4713", firing=True,
                title="db-3 的磁盘还剩 3%", severity="P1", payload=body["alerts"][0],
                description="alertname: 磁盘将满\ngrafana_folder: 基础设施\ninstance: db-3\nseverity: high",
                url="https://grafana.example.com/d/disks?orgId=1&viewPanel=4",
                starts_at=datetime(2026, 11, 21, 6, 5, 10, tzinfo=UTC),
            ),
        ),
        {},
    )  # fmt: skip


def test_an_alert_in_our_own_words_is_read() -> None:
    body = sample("generic")
    key = "backup/nightly"
    assert only("generic", body) == Alert(
        key=digest("key", key), fingerprint=key, firing=True, title="Nightly backup failed", severity="P1",
        services=("Backups",), description=body["description"], url=body["url"], payload=body,
    )  # fmt: skip


# --- What meets in one incident ---------------------------------------------------------------------------
def test_ungrouped_alerts_meet_by_their_name() -> None:
    body = alertmanager(firing(pod="a"), firing(pod="b"), groupKey="{}:{}", groupLabels={})
    first, second = parsed("alertmanager", body).alerts
    assert first.key == second.key
    assert first.fingerprint != second.fingerprint


def test_an_alert_without_group_and_name_is_alone() -> None:
    body = alertmanager(*({"status": "firing", "labels": {"pod": pod}} for pod in "ab"))
    first, second = parsed("alertmanager", body).alerts
    assert first.key != second.key


def test_old_alertmanagers_send_no_fingerprint_and_equal_labels_are_one_alert() -> None:
    one = only("alertmanager", alertmanager(firing(a="1", b="2")))
    same = only(
        "alertmanager",
        alertmanager({"status": "resolved", "labels": {"b": "2", "a": "1", "alertname": "Down"}}),
    )
    other = only("alertmanager", alertmanager(firing(a="12", b="")))
    assert one.fingerprint == same.fingerprint != other.fingerprint


def test_two_fingerprints_under_one_dedup_key_meet() -> None:
    first, second = (only("generic", {"title": "x", "dedup_key": "k", "fingerprint": one}) for one in "ab")
    assert (first.key, first.fingerprint, second.fingerprint) == (second.key, "a", "b")


def test_without_any_key_equal_titles_are_one_alert() -> None:
    first, second = (only("generic", {"title": "x", "description": one}) for one in "ab")
    assert (first.key, first.fingerprint) == (second.key, second.fingerprint)


# --- Words ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("word", "severity"),
    [
        ("critical", "P0"),
        ("ERROR", "P1"),
        ("Warning", "P2"),
        ("info", "P3"),
        ("p3", "P3"),
        ("", ""),
        ("odd", ""),
    ],
)
def test_a_severity_is_looked_up_whatever_its_case(word: str, severity: str) -> None:
    assert severity_of(word) == severity
    assert only("alertmanager", alertmanager(firing(severity=word))).severity == severity


def test_resolved_is_read_from_the_alert_not_from_its_group() -> None:
    body = alertmanager(firing(), firing(pod="b") | {"status": "resolved"}, status="firing")
    assert [alert.firing for alert in parsed("alertmanager", body).alerts] == [True, False]
    assert only("generic", {"title": "x", "status": "resolved"}).firing is False


def test_long_texts_are_cut_and_the_lines_of_a_title_joined() -> None:
    alert = only(
        "generic", {"title": "a\n b " + "x" * 300, "description": "y" * 9000, "dedup_key": "k" * 999}
    )
    assert alert.title == "a b " + "x" * 196
    assert (len(alert.description), len(alert.fingerprint)) == (5000, 32)


def test_what_no_database_holds_is_replaced() -> None:
    alert = only(
        "generic", {"title": "a\0b", "description": "\ud800", "dedup_key": "\0", "x": {"\0": [1e999]}}
    )
    assert (alert.title, alert.description, alert.fingerprint) == ("a\ufffdb", "?", "\ufffd")
    assert alert.payload["x"] == {"\ufffd": ["inf"]}


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "//example.com",
        "http://",
        "http://[",
        "http://a b/",
        "x",
        "https://a/" + "b" * 2000,
        "http://a/\u202e",
    ],
)
def test_an_address_that_is_not_of_the_web_is_left_out(address: str) -> None:
    assert web_address(address) == only("generic", {"title": "x", "url": address}).url == ""


@pytest.mark.parametrize(
    "time", ["", "yesterday", "2026-11-21T06:02:11", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00Z", 7, None]
)
def test_a_time_that_says_nothing_is_none(time: Any) -> None:
    assert only("alertmanager", alertmanager(firing() | {"startsAt": time})).starts_at is None


def test_a_time_with_nanoseconds_is_read() -> None:
    started = only("generic", {"title": "x", "starts_at": "2026-11-21T14:02:11.123456789+08:00"}).starts_at
    assert started == datetime(2026, 11, 21, 6, 2, 11, 123456, tzinfo=UTC)


def test_a_page_of_the_source_is_kept() -> None:
    assert web_address(" https://例子.com/路径?q=1 ") == "https://例子.com/路径?q=1"


# --- Pictures ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("image", [PICTURE, f"data:image/png;base64,{PICTURE}"])
def test_a_picture_comes_with_the_alert_and_is_not_kept_in_its_payload(image: str) -> None:
    alert = only("generic", {"title": "x", "image": image})
    assert (alert.image, alert.payload) == (PNG, {"title": "x"})


def test_grafana_may_put_the_picture_into_its_address() -> None:
    body = alertmanager(firing() | {"imageURL": f"data:image/png;base64,{PICTURE}"})
    assert only("grafana", body).image == PNG
    assert only("alertmanager", body).image == b""


@pytest.mark.parametrize(
    "image", ["***", 7, base64.b64encode(b"<svg/>").decode(), "data:,", PICTURE + "A" * 14_000_000]
)
def test_a_wrong_picture_costs_the_picture_and_not_the_alert(image: Any) -> None:
    batch = parsed("generic", {"title": "x", "image": image})
    assert (batch.alerts[0].title, batch.alerts[0].image, list(batch.refused)) == ("x", b"", ["image"])


# --- What is no alert -------------------------------------------------------------------------------------
@pytest.mark.parametrize("source", ["alertmanager", "grafana"])
@pytest.mark.parametrize(
    "body", [[], None, 7, "x", {}, {"alerts": {}}, {"alerts": []}, {"alerts": None}, [{"alerts": [1]}]]
)
def test_a_body_without_alerts_is_refused(source: str, body: Any) -> None:
    with pytest.raises(AlertError) as caught:
        parsed(source, body)
    assert (caught.value.field, str(caught.value)) == ("alerts", "A list with at least one alert is needed.")


@pytest.mark.parametrize(
    ("alert", "where"),
    [
        (None, ""), ([], ""), ("x", ""), ({}, ".labels"), ({"labels": []}, ".labels"),
        ({"labels": {}}, ".status"), ({"labels": {}, "status": "odd"}, ".status"),
        ({"labels": {}, "status": {}}, ".status"),
    ],
)  # fmt: skip
def test_a_broken_alert_costs_none_of_its_batch(alert: Any, where: str) -> None:
    batch = parsed("alertmanager", alertmanager(firing(pod="a"), alert, firing(pod="b")))
    assert (len(batch.alerts), list(batch.refused)) == (2, [f"alerts[1]{where}"])


def test_labels_and_annotations_of_any_type_do_no_harm() -> None:
    odd = {"a": 1, "b": None, "c": ["x"], "severity": {}, "service": 7, "alertname": []}
    alert = only(
        "alertmanager",
        alertmanager({"status": "firing", "labels": odd, "annotations": "x", "generatorURL": 7}),
    )
    assert (alert.title, alert.severity, alert.services, alert.url) == (alert.fingerprint, "", (), "")


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ([], "alert"), (None, "alert"), ("x", "alert"),
        ({}, "title"), ({"title": " \n"}, "title"), ({"title": 7}, "title"),
        ({"title": "x", "severity": 1}, "severity"), ({"title": "x", "service": {}}, "service"),
        ({"title": "x", "status": "open"}, "status"), ({"title": "x", "status": None}, "status"),
        ({"title": "x", "dedup_key": []}, "dedup_key"), ({"title": "x", "url": False}, "url"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(body: Any, where: str) -> None:
    batch = parsed("generic", body)
    assert (batch.alerts, list(batch.refused)) == ((), [where])


def test_deep_and_huge_payloads_are_cut() -> None:
    deep: Any = "bottom"
    for _ in range(500):
        deep = [deep]
    assert "bottom" not in json.dumps(kept({"deep": deep}))
    assert len(json.dumps(kept({"x": "y" * 1_000_000}))) < 25_000


def test_ten_thousand_broken_alerts_are_not_all_told() -> None:
    assert len(parsed("alertmanager", alertmanager(*[None] * 10_000)).refused) == 20
