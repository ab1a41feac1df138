"""An incident that is opened again when its chat is gone: docs/decisions/0008."""

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from botconsole.worker import Worker
from events.models import Bot, OutboxItem
from incidents.models import Actor, Incident, Via
from tests.feishu_events import ADA, LIN, message_received
from tests.incident_world import Feishu, opened, running, work

pytest_plugins = ["tests.incident_fixtures", "tests.admin_fixtures"]
pytestmark = pytest.mark.django_db(transaction=True)

OPERATOR = Actor(Via.ADMIN, "operator")


def reread(incident: Incident) -> Incident:
    return Incident.objects.select_related("bot", "service").get(pk=incident.pk)


def reopened(incident: Incident, feishu: Feishu) -> Incident:
    reread(incident).reopen(OPERATOR, "again")
    work()
    feishu.quiet()
    return reread(incident)


def members(feishu: Feishu, chat_id: str) -> set[str]:
    return {one["name"] for one in feishu.chat(chat_id)["members"]}


@pytest.fixture
def resolved(bot: Bot, feishu: Feishu) -> Incident:
    incident = running(bot, feishu, severity="P0")
    incident.resolve(OPERATOR)
    work()
    return reread(incident)


# --- A new chat ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("disband", [True, False], ids=["dissolved", "left"])
def test_an_archived_incident_that_is_reopened_gets_a_new_chat_with_card_and_people(
    resolved: Incident, feishu: Feishu, disband: bool
) -> None:
    resolved.archive(OPERATOR, disband=disband, accept_gaps=True)
    Worker().run_once()
    again = reopened(resolved, feishu)
    assert (again.chat_id != resolved.chat_id, again.chat_gone, again.chat_generation) == (True, False, 2)
    chat, card = feishu.chat(again.chat_id), feishu.card(again.chat_id)
    assert (chat["name"], members(feishu, again.chat_id)) == ("[P0] Payments fail", {"Ada", "林小满"})
    assert (card["pinned"], len(chat["tabs"]), len(card["buzzed"])) == (True, 1, 2)
    assert [one.chat_id for one in again.former_chats.all()] == [resolved.chat_id]


def test_the_new_chats_card_works_and_the_old_ones_does_not(resolved: Incident, feishu: Feishu) -> None:
    old_card = feishu.card(resolved.chat_id)
    feishu.arrived(feishu.call("DELETE", f"groups/{resolved.chat_id}/bot")["event_id"])
    again = reopened(resolved, feishu)
    refused = feishu.press(old_card["message_id"], "ou_ada", "reopen_button")["answer"]["toast"]
    assert refused["type"] == "error"
    feishu.press(feishu.card(again.chat_id)["message_id"], "ou_ada", "ack_button")
    assert reread(again).status == "acknowledged"


def test_someone_who_only_wrote_in_the_old_chat_comes_along_and_someone_who_left_does_not(
    resolved: Incident, feishu: Feishu
) -> None:
    zoe = feishu.person("Zoe", "ou_zoe")
    feishu.call("POST", f"groups/{resolved.chat_id}/members", {"open_id": zoe, "name": "Zoe"})
    feishu.call("DELETE", f"groups/{resolved.chat_id}/members/{LIN[0]}")
    feishu.quiet()
    feishu.call("DELETE", f"groups/{resolved.chat_id}")
    feishu.quiet()
    again = reopened(resolved, feishu)
    assert members(feishu, again.chat_id) == {"Ada", "Zoe"}


def test_reopening_twice_with_a_crash_between_makes_one_chat(resolved: Incident, feishu: Feishu) -> None:
    Incident.objects.update(chat_gone=True)
    before = len(feishu.groups)
    reread(resolved).reopen(OPERATOR)
    row = OutboxItem.objects.get(key__endswith=":chat:2")
    Worker().run_once()
    # Killed after Feishu's answer, before it was written down: the row is sent once more.
    OutboxItem.objects.filter(pk=row.pk).update(status="pending", followed_up=False)
    work()
    assert (len(feishu.groups), row.uuid) == (before + 1, f"inc:{resolved.key}:chat:2")


def test_a_third_chat_has_a_key_of_its_own(resolved: Incident, feishu: Feishu) -> None:
    for _ in range(2):
        Incident.objects.update(chat_gone=True)
        again = reopened(resolved, feishu)
        again.resolve(OPERATOR)
    keys = OutboxItem.objects.filter(call="create_chat").order_by("pk").values_list("key", flat=True)
    assert [key.rpartition(str(resolved.key))[2] for key in keys] == [":chat", ":chat:2", ":chat:3"]


def test_a_chat_that_still_stands_is_kept(resolved: Incident, feishu: Feishu) -> None:
    again = reopened(resolved, feishu)
    assert (again.chat_id, again.chat_generation) == (resolved.chat_id, 1)
    assert feishu.chat(again.chat_id)["name"] == "[P0] Payments fail"


# --- Nobody had told ---------------------------------------------------------------------------------------------
def test_a_chat_dissolved_without_a_word_is_replaced_when_the_reopening_finds_out(
    resolved: Incident, feishu: Feishu
) -> None:
    feishu.fault(code=232009, path=f"/im/v1/chats/{resolved.chat_id}")
    feishu.fault(code=232009, path="/im/v1/messages", times=1)
    again = reopened(resolved, feishu)
    assert again.chat_id not in ("", resolved.chat_id)
    assert feishu.chat(again.chat_id)["name"] == "[P0] Payments fail"


def test_a_feishu_that_refuses_everything_does_not_make_chats_for_ever(
    resolved: Incident, feishu: Feishu
) -> None:
    before = len(feishu.groups)
    feishu.fault(code=232009, path="/im/v1/messages")
    again = reopened(resolved, feishu)
    assert (len(feishu.groups), again.chat_gone, again.chat_generation) == (before + 1, True, 2)


def test_a_dissolving_that_was_in_flight_at_the_reopening_ends_in_a_new_chat(
    resolved: Incident, feishu: Feishu
) -> None:
    resolved.archive(OPERATOR, disband=True, accept_gaps=True)
    from incidents.exporting import Exporting

    Exporting().run_due()
    OutboxItem.objects.filter(call="dissolve_chat").update(status="sending", leased_until=timezone.now())
    again = reopened(resolved, feishu)
    assert feishu.chat(resolved.chat_id)["status"] == "dissolved"
    assert (again.chat_id != resolved.chat_id, again.status) == (True, "open")
    assert feishu.card(again.chat_id)["pinned"]


def test_a_late_answer_from_the_old_chat_does_not_touch_the_new_one(
    resolved: Incident, feishu: Feishu
) -> None:
    Incident.objects.update(chat_gone=True)
    again = reopened(resolved, feishu)
    late = OutboxItem.objects.filter(target=resolved.chat_id, call="patch_card").first()
    assert late is not None
    OutboxItem.objects.filter(pk=late.pk).update(status="failed", error_code=232009, followed_up=False)
    Worker().run_once()
    assert reread(again).chat_gone is False


def test_an_old_making_of_a_chat_that_is_retried_by_hand_ends_dissolved(bot: Bot, feishu: Feishu) -> None:
    incident = running(bot, feishu)
    Incident.objects.update(chat_gone=True)
    incident.resolve(OPERATOR)
    again = reopened(incident, feishu)
    first = OutboxItem.objects.get(key=f"inc:{incident.key}:chat")
    OutboxItem.objects.filter(pk=first.pk).update(
        status="sent", result={"chat_id": "oc_late"}, followed_up=False
    )
    Worker().run_once()
    assert reread(incident).chat_id == again.chat_id
    assert OutboxItem.objects.get(call="dissolve_chat").target == "oc_late"


def test_a_chat_that_was_never_made_is_tried_again_under_its_key(bot: Bot, feishu: Feishu) -> None:
    feishu.fault(code=232023, path="/im/v1/chats")
    incident = opened(bot, feishu)
    work()
    feishu.well()
    incident.resolve(OPERATOR)
    again = reopened(incident, feishu)
    assert (again.chat_generation, len(feishu.groups)) == (1, 1)
    assert feishu.chat(again.chat_id)["name"] == "[P1] Payments fail"


# --- Told loudly -----------------------------------------------------------------------------------------------
def test_the_page_says_what_reopening_does_and_then_what_it_did(
    resolved: Incident, feishu: Feishu, client_of: Any
) -> None:
    operator: Client = client_of("boss", ["view_incident", "change_incident"])
    page = f"/admin/incidents/incident/{resolved.pk}/change/"
    english = {"HTTP_ACCEPT_LANGUAGE": "en"}
    Incident.objects.update(chat_gone=True)
    assert (
        "If the incident is opened again, a new chat begins."
        in operator.get(page, **english).content.decode()
    )
    reread(resolved).reopen(OPERATOR)
    assert "a new one is being made for everyone" in operator.get(page, **english).content.decode()
    work()
    html = operator.get(page, **english).content.decode()
    assert "this incident goes on in a new one" in html
    assert resolved.chat_id in html


# --- Heard again ------------------------------------------------------------------------------------------------
def test_a_message_from_a_chat_that_was_given_up_takes_it_up_again(
    bot: Bot, incident: Incident, push: Any
) -> None:
    Incident.objects.update(chat_gone=True)
    incident.resolve(OPERATOR)
    push(bot, message_received("hello", sender=ADA))
    assert reread(incident).chat_gone is False
    assert set(OutboxItem.objects.values_list("call", flat=True)) >= {"rename_chat"}
