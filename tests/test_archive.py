"""Putting an incident away: the export always comes first, and only a whole one lets the chat go; its pages."""

from typing import Any

import pytest
from django.test import Client

from botconsole.worker import Worker
from events.models import Bot, OutboxItem
from incidents import history
from incidents.exporting import Exporting
from incidents.models import Actor, Export, Incident, StepError, Via
from tests.incident_world import kinds

pytest_plugins = ["tests.admin_fixtures", "tests.incident_fixtures"]
pytestmark = pytest.mark.django_db(transaction=True)

OPERATOR = Actor(Via.ADMIN, "operator")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "RETRY_SECONDS", (0, 0))
    monkeypatch.setattr(history, "SECONDS_BETWEEN_CALLS", 0)


@pytest.fixture
def operator(client_of: Any) -> Any:
    return client_of("operator", ["view_incident", "change_incident"])


@pytest.fixture
def viewer(client_of: Any) -> Any:
    return client_of("viewer", ["view_incident"])


@pytest.fixture
def resolved(bot: Bot, feishu: Any) -> Incident:
    """A resolved incident in a group that the bot made."""
    incident = Incident.objects.open(bot=bot, title="Payments fail", by=OPERATOR)
    Worker().run_once()
    feishu.call("POST", f"groups/{reread(incident).chat_id}/members", {"name": "Ada", "open_id": "ou_ada"})
    reread(incident).resolve(OPERATOR, "rolled back")
    Worker().run_once()
    return reread(incident)


def reread(incident: Incident) -> Incident:
    return Incident.objects.get(pk=incident.pk)


def archived(incident: Incident, **how: Any) -> Incident:
    incident.archive(OPERATOR, **how)
    Worker().run_once()
    return reread(incident)


def last_words(incident: Incident) -> str:
    return incident.timeline.order_by("pk").last().text


def pages(incident: Any) -> list[str]:
    return [f"/admin/incidents/incident/{incident.pk}/{name}/" for name in ("exports", "archive")]


# --- The chain ---------------------------------------------------------------------------------------------
def test_a_chat_is_dissolved_after_the_export(resolved: Incident, feishu: Any) -> None:
    incident = archived(resolved, disband=True)
    assert feishu.chat(incident.chat_id)["status"] == "dissolved"
    assert Export.objects.get().status == "done"
    assert incident.chat_gone
    assert "archived" in kinds(incident)


def test_a_chat_is_left_after_the_export(resolved: Incident, feishu: Any) -> None:
    incident = archived(resolved, disband=False)
    chat = feishu.chat(incident.chat_id)
    assert (chat["status"], chat["bot_in"]) == ("normal", False)
    assert "archived" in kinds(incident)


def test_the_export_holds_the_history_that_was_dissolved(resolved: Incident, feishu: Any) -> None:
    feishu.say(resolved.chat_id, "ou_ada", "remember this")
    archived(resolved, disband=True)
    from tests.test_export import unzipped

    assert "remember this" in unzipped(Export.objects.get())[f"{resolved.number}/export.md"].decode()


def test_an_unresolved_incident_is_not_archived(incident: Any) -> None:
    with pytest.raises(StepError):
        incident.archive(OPERATOR, disband=True)
    assert not Export.objects.exists()


def test_without_a_whole_export_the_chat_stays(resolved: Incident, feishu: Any) -> None:
    feishu.call("POST", "scopes", {"missing": ["im:message.group_msg"]})
    incident = archived(resolved, disband=True)
    assert feishu.chat(incident.chat_id)["status"] == "normal"
    assert last_words(incident).startswith("Not archived: the export is not complete")


def test_whoever_accepts_the_gaps_gets_rid_of_the_chat(resolved: Incident, feishu: Any) -> None:
    feishu.call("POST", "scopes", {"missing": ["im:message.group_msg"]})
    incident = archived(resolved, disband=True, accept_gaps=True)
    assert feishu.chat(incident.chat_id)["status"] == "dissolved"


def test_while_feishu_is_down_nothing_is_dissolved(resolved: Incident, feishu: Any) -> None:
    feishu.fault(status=502, path="/im/v1/messages")
    incident = archived(resolved, disband=True)
    assert feishu.chat(incident.chat_id)["status"] == "normal"
    assert not OutboxItem.objects.filter(call="dissolve_chat").exists()


def test_an_export_that_failed_for_good_leaves_the_chat_and_says_so(resolved: Incident, feishu: Any) -> None:
    feishu.fault(status=502, path="/im/v1/messages")
    export = resolved.archive(OPERATOR, disband=True)
    Export.objects.filter(pk=export.pk).update(tries=4)
    Worker().run_once()
    assert last_words(resolved).startswith("Not archived: the export failed")


def test_reopening_before_the_export_is_done_keeps_the_chat(resolved: Incident, feishu: Any) -> None:
    resolved.archive(OPERATOR, disband=True)
    resolved.reopen(OPERATOR, "again")
    Worker().run_once()
    assert feishu.chat(resolved.chat_id)["status"] == "normal"
    assert resolved.timeline.filter(text="Not archived: the incident was opened again").exists()


def test_reopening_calls_off_what_is_still_queued(resolved: Incident, feishu: Any) -> None:
    resolved.archive(OPERATOR, disband=True)
    Exporting().run_due()
    assert OutboxItem.objects.get(call="dissolve_chat").status == "pending"
    reread(resolved).reopen(OPERATOR, "again")
    Worker().run_once()
    assert OutboxItem.objects.get(call="dissolve_chat").status == "failed"
    assert feishu.chat(resolved.chat_id)["status"] == "normal"


def test_a_refusal_to_dissolve_is_told(resolved: Incident, feishu: Any) -> None:
    feishu.fault(code=232002, path=f"/im/v1/chats/{resolved.chat_id}")
    resolved.archive(OPERATOR, disband=True, accept_gaps=True)
    Worker().run_once()
    assert last_words(resolved).startswith("Not archived: 232002")
    assert not reread(resolved).chat_gone


def test_asking_twice_archives_once(resolved: Incident) -> None:
    assert resolved.archive(OPERATOR, disband=True).pk == resolved.archive(OPERATOR, disband=False).pk


def test_an_incident_whose_chat_is_gone_is_exported_and_archived(resolved: Incident, feishu: Any) -> None:
    feishu.call("DELETE", f"groups/{resolved.chat_id}")
    feishu.quiet()
    incident = archived(reread(resolved), disband=True)
    assert "archived" in kinds(incident)
    assert not OutboxItem.objects.filter(call="dissolve_chat").exists()


# --- The pages ---------------------------------------------------------------------------------------------
def test_an_operator_exports_and_downloads(resolved: Incident, operator: Any) -> None:
    page, _archive = pages(resolved)
    assert operator.post(page).status_code == 302
    assert b'http-equiv="refresh"' in operator.get(page).content
    Worker().run_once()
    shown = operator.get(page).content
    assert b'http-equiv="refresh"' not in shown
    answer = operator.get(f"{page}{Export.objects.get().pk}/download/")
    assert answer["Content-Type"] == "application/zip"
    assert b"".join(answer.streaming_content).startswith(b"PK")


def test_an_operator_retries_a_failed_export(resolved: Incident, operator: Any) -> None:
    export = resolved.export(OPERATOR)
    Export.objects.update(status="failed", error="502")
    operator.post(f"{pages(resolved)[0]}{export.pk}/retry/")
    export.refresh_from_db()
    assert (export.status, export.error) == ("waiting", "")


def test_the_archive_asks_first(resolved: Incident, operator: Any) -> None:
    assert b"cannot be brought back" in operator.get(pages(resolved)[1]).content
    assert not Export.objects.exists()
    operator.post(pages(resolved)[1], {"then": "disband"})
    assert Export.objects.get().then == "disband"


def test_the_archive_of_an_open_incident_is_refused(incident: Any, operator: Any) -> None:
    answer = operator.post(pages(incident)[1], {"then": "leave"}, follow=True)
    assert b"Only a resolved incident can be archived." in answer.content


def test_a_viewer_sees_and_downloads_but_does_nothing(resolved: Incident, viewer: Any) -> None:
    export = resolved.export(OPERATOR)
    Worker().run_once()
    page, archive = pages(resolved)
    seen = [page, archive, f"{page}{export.pk}/download/"]
    assert [viewer.get(one).status_code for one in seen] == [200, 200, 200]
    assert [viewer.post(one).status_code for one in (page, archive, f"{page}{export.pk}/retry/")] == [403] * 3


def test_nobody_is_sent_to_the_login(incident: Any, nobody: Any) -> None:
    for one in pages(incident):
        assert nobody.get(one).url.startswith("/admin/login/")
        assert nobody.post(one).url.startswith("/admin/login/")


def test_another_incidents_export_is_not_handed_out(bot: Bot, resolved: Incident, operator: Any) -> None:
    other = Incident.objects.open(bot=bot, title="secret", by=OPERATOR, private=True)
    export = other.export(OPERATOR)
    Worker().run_once()
    assert operator.get(f"{pages(resolved)[0]}{export.pk}/download/").status_code == 404
    assert operator.get(f"{pages(other)[0]}{export.pk}/download/").status_code == 404


def test_the_verbs_need_the_csrf_token(resolved: Incident, operator: Any) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = operator.cookies
    assert [strict.post(one).status_code for one in pages(resolved)] == [403, 403]


def test_what_changes_something_is_post_only(resolved: Incident, operator: Any) -> None:
    export = resolved.export(OPERATOR)
    assert operator.get(f"{pages(resolved)[0]}{export.pk}/retry/").status_code == 405
