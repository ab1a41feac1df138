"""What a review found: calls that overtake each other, cards that are gone, people whom Feishu refuses."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from botconsole.worker import Worker
from events.models import Bot, Circuit, OutboxItem
from incidents import chat, steps
from incidents.models import Incident, Responder, Service
from tests.test_incidents_story import OPERATOR, Feishu, feishu, opened, work  # noqa: F401

pytestmark = pytest.mark.django_db(transaction=True)

Status = OutboxItem.Status


def cards(feishu: Feishu, incident: Incident) -> list[Any]:  # noqa: F811
    return [one for one in feishu.messages(incident.chat_id) if one["msg_type"] == "interactive"]


def again() -> None:
    """Everything that waits for its next try is tried now."""
    for _ in range(3):
        OutboxItem.objects.hurry(timezone.now())
        Circuit.objects.exclude(opened_at=None).update(next_probe_at=timezone.now())
        work()


def test_after_a_long_outage_card_and_name_show_the_last_state(bot: Bot, feishu: Feishu) -> None:  # noqa: F811
    incident = opened(bot, feishu)
    feishu.call("POST", "faults", {"down": True})
    incident.acknowledge(OPERATOR)
    Worker().run_once()
    # Longer than an earlier row may hold the later ones back.
    OutboxItem.objects.filter(status=Status.PENDING).update(
        first_attempt_at=timezone.now() - timedelta(minutes=5),
        next_attempt_at=timezone.now() + timedelta(hours=1),
    )
    incident.resolve(OPERATOR)
    feishu.call("DELETE", "faults")
    work()
    again()
    assert feishu.chat(incident.chat_id)["name"] == "[已解决] 支付失败率升高"
    assert feishu.card(incident.chat_id)["content"]["header"]["template"] == "green"


def test_an_old_rename_retried_by_hand_does_not_win(bot: Bot, feishu: Feishu) -> None:  # noqa: F811
    incident = opened(bot, feishu)
    incident.acknowledge(OPERATOR)
    old = OutboxItem.objects.filter(call="rename_chat")
    old.update(status=Status.FAILED, followed_up=True)
    incident.resolve(OPERATOR)
    work()
    old.filter(status=Status.FAILED).retry(timezone.now())
    work()
    assert feishu.chat(incident.chat_id)["name"] == "[已解决] 支付失败率升高"


def test_someone_whom_feishu_refuses_does_not_cost_the_card(bot: Bot, feishu: Feishu) -> None:  # noqa: F811
    service = Service.objects.create(name="pay", first_on_call="ou_resigned")
    incident = opened(bot, feishu, service=service)
    assert len(cards(feishu, incident)) == 1
    incident.assign_lead(OPERATOR, "ou_mistyped")
    incident.resolve(OPERATOR)
    work()
    assert feishu.card(incident.chat_id)["content"]["header"]["template"] == "green"


def test_a_recalled_card_is_replaced_once_whatever_happens_meanwhile(bot: Bot, feishu: Feishu) -> None:  # noqa: F811
    incident = opened(bot, feishu)
    OutboxItem.objects.filter(step="incident.card").update(status=Status.SENT)
    incident.acknowledge(OPERATOR)
    OutboxItem.objects.filter(call="patch_card").update(
        status=Status.FAILED, error_code=230011, next_attempt_at=timezone.now()
    )
    with transaction.atomic():
        steps.on_card_patched(OutboxItem.objects.get(call="patch_card", status=Status.FAILED))
    incident.refresh_from_db()
    incident.resolve(OPERATOR)
    work()
    assert len(cards(feishu, incident)) == 2
    assert feishu.card(incident.chat_id)["content"]["header"]["template"] == "green"


def test_another_bot_that_joins_brings_no_second_card(bot: Bot, feishu: Feishu) -> None:  # noqa: F811
    incident = opened(bot, feishu)
    chat.catch_up(incident)
    work()
    assert len(cards(feishu, incident)) == 1


@pytest.mark.parametrize("text", ["[" * 20000, "长" * 20000])
def test_texts_of_any_length_leave_the_card_small_enough(bot: Bot, feishu: Feishu, text: str) -> None:  # noqa: F811
    incident = opened(bot, feishu, description=text)
    incident.resolve(OPERATOR, text)
    work()
    assert feishu.card(incident.chat_id)["content"]["header"]["template"] == "green"
    incident.refresh_from_db()
    assert incident.resolution_note == text


def test_someone_who_was_refused_can_be_called_in_again(bot: Bot, feishu: Feishu) -> None:  # noqa: F811
    incident = opened(bot, feishu)
    incident.responders.create(open_id=feishu.person("Eve", "ou_eve"), status="failed", error="invisible")
    incident.add_responders(OPERATOR, [Responder(open_id="ou_eve")])
    work()
    assert incident.responders.get(open_id="ou_eve").status == "added"
    assert "Eve" in {member["name"] for member in feishu.chat(incident.chat_id)["members"]}


def test_raising_to_p0_rings_the_phones(bot: Bot, feishu: Feishu) -> None:  # noqa: F811
    incident = opened(bot, feishu, severity="P2")
    incident.change_severity(OPERATOR, "P0")
    work()
    assert len(feishu.card(incident.chat_id)["buzzed"]) == 2


def test_setting_the_same_severity_tells_nobody(bot: Bot, feishu: Feishu) -> None:  # noqa: F811
    incident = opened(bot, feishu)
    before = OutboxItem.objects.count()
    incident.change_severity(OPERATOR, "P0")
    assert OutboxItem.objects.count() == before


def test_a_row_that_vanishes_in_flight_does_not_wedge_the_worker(bot: Bot, feishu: Feishu) -> None:  # noqa: F811
    from events.delivery import Delivery
    from events.outbox import send_text

    incident = opened(bot, feishu)
    send_text(bot, chat_id=incident.chat_id, markup="x", key="vanishes")
    delivery = Delivery(4, lambda: None)
    delivery.step()
    delivery.close()
    OutboxItem.objects.filter(key="vanishes").delete()
    delivery.step(take_more=False)
    assert not delivery.busy
