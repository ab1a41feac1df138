"""When little or nothing goes out: a paused bot, a Feishu that does not serve an app, targets that are gone."""

from datetime import datetime, timedelta
from typing import Any

import pytest
import requests
from django.utils import timezone

from botconsole.worker import Worker
from events import outbox
from events.attempts import Outcome, record
from events.feishu import FeishuError
from events.models import Bot, Circuit, OutboxItem, Quota
from tests.outbox_claims import claim

Status = OutboxItem.Status


def statuses() -> dict[str, str]:
    return dict(OutboxItem.objects.values_list("key", "status"))


def group(sandbox: Any, **fields: Any) -> str:
    body = {"name": "g", **fields}
    answer = requests.post(f"{sandbox.url}/_sandbox/groups", json=body, timeout=60)
    return str(answer.json()["chat_id"])


def fault(sandbox: Any, **fields: Any) -> None:
    requests.post(f"{sandbox.url}/_sandbox/faults", json=fields, timeout=60).raise_for_status()


@pytest.mark.django_db(transaction=True)
def test_a_paused_bot_sends_nothing_and_everything_when_it_goes_on(bot: Bot, sandbox: Any) -> None:
    outbox.send_text(bot, chat_id=group(sandbox), markup="x", key="a")
    bot.pause_sending()
    Worker().run_once()
    assert statuses() == {"a": Status.PENDING}
    bot.resume_sending()
    Worker().run_once()
    assert statuses() == {"a": Status.SENT}


@pytest.mark.django_db(transaction=True)
def test_refused_credentials_cost_one_call_and_no_tries_and_drain_when_they_are_right(
    bot: Bot, sandbox: Any
) -> None:
    right = bot.app_secret.reveal()
    bot.app_secret = "wrong"
    bot.save()
    for number in range(20):
        outbox.send_text(bot, chat_id=group(sandbox), markup="x", key=f"k{number}")
    Worker().run_once()
    assert set(OutboxItem.objects.values_list("status", "attempt_count")) == {(Status.PENDING, 0)}
    assert Circuit.objects.get().error_code == 10014
    bot.app_secret = right
    bot.save()
    Circuit.objects.update(next_probe_at=timezone.now())
    Worker().run_once()
    Worker().run_once()
    assert set(OutboxItem.objects.values_list("status", flat=True)) == {Status.SENT}
    assert Circuit.objects.get().opened_at is None


@pytest.mark.django_db(transaction=True)
def test_a_feishu_that_is_down_is_probed_by_one_call_at_growing_intervals(bot: Bot) -> None:
    for number in range(20):  # to an address where nobody listens
        outbox.send_text(bot, chat_id=f"oc_{number}", markup="x", key=f"k{number}")
    Worker().run_once()
    OutboxItem.objects.hurry(timezone.now())
    before = tries()
    waits: list[timedelta] = []
    for _ in range(3):
        Circuit.objects.update(next_probe_at=timezone.now())
        asked = timezone.now()
        Worker().run_once()
        waits.append(next_probe() - asked)
    assert tries() == before + 3
    assert waits == sorted(waits)
    assert max(OutboxItem.objects.values_list("attempt_count", flat=True)) <= 1


def tries() -> int:
    return sum(item.attempts.count() for item in OutboxItem.objects.all())


def next_probe() -> datetime:
    at = Circuit.objects.get().next_probe_at
    assert at is not None
    return at


@pytest.mark.django_db(transaction=True)
def test_a_call_that_cannot_have_reached_feishu_is_the_apps_fault_and_not_the_rows(bot: Bot) -> None:
    outbox.send_text(bot, chat_id="oc_1", markup="x", key="a")  # to an address where nobody listens
    Worker().run_once()
    item = OutboxItem.objects.get()
    assert (item.status, item.attempt_count, item.unsure) == (Status.PENDING, 0, False)
    assert Circuit.objects.get().opened_at is not None


@pytest.mark.django_db(transaction=True)
def test_a_bot_ability_that_is_off_costs_no_message(bot: Bot, sandbox: Any) -> None:
    fault(sandbox, code=230006, times=1, path="/messages")
    outbox.send_text(bot, chat_id=group(sandbox), markup="x", key="a")
    Worker().run_once()
    assert statuses() == {"a": Status.PENDING}
    assert Circuit.objects.get().error_code == 230006
    Circuit.objects.update(next_probe_at=timezone.now())
    Worker().run_once()
    assert statuses() == {"a": Status.SENT}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("code", "status"), [(99991673, Status.FAILED), (232034, Status.FAILED), (10014, Status.PENDING)]
)
def test_a_store_apps_circuit_opens_for_its_credentials_and_not_for_one_of_its_tenants(
    bot: Bot, code: int, status: str
) -> None:
    bot.app_type = Bot.AppType.STORE
    bot.save()
    outbox.send_text(bot, chat_id="oc_1", markup="x", key="a")
    (item,) = claim(1, timezone.now())
    record(item, Outcome(timezone.now(), 1, error=FeishuError("no", code=code, http_status=400)), 0.0)
    assert statuses() == {"a": status}
    assert Circuit.objects.filter(opened_at__isnull=False).exists() == (status == Status.PENDING)


@pytest.mark.django_db(transaction=True)
def test_a_probe_that_finds_nothing_to_send_does_not_put_off_the_next(bot: Bot, sandbox: Any) -> None:
    chat_id, now = group(sandbox), timezone.now()
    for key in ("remind:1", "remind:2"):  # the first gives way, so that the first try claims nothing
        outbox.send_text(bot, chat_id=chat_id, markup=key, key=key, merge_key="reminder")
    Circuit.objects.create(bot=bot, opened_at=now, next_probe_at=now)
    Worker().run_once()
    assert statuses() == {"remind:1": Status.SUPERSEDED, "remind:2": Status.SENT}


@pytest.mark.django_db(transaction=True)
def test_a_chat_without_the_bot_fails_what_waits_for_it_at_once_with_the_reason(
    bot: Bot, sandbox: Any
) -> None:
    chat_id = group(sandbox, bot=False)
    for number in range(3):
        outbox.send_text(bot, chat_id=chat_id, markup="x", key=f"k{number}")
    Worker().run_once()
    found = OutboxItem.objects.order_by("pk").values_list("status", "error_code", "attempt_count")
    assert list(found) == [("failed", 230002, 1), ("failed", 230002, 0), ("failed", 230002, 0)]


@pytest.mark.django_db(transaction=True)
def test_too_often_makes_the_app_wait_and_slow_down(bot: Bot, sandbox: Any) -> None:
    fault(sandbox, code=99991400, times=1, path="/messages")
    outbox.send_text(bot, chat_id=group(sandbox), markup="x", key="a")
    Worker().run_once()
    state = Quota.objects.get(call="send_message").state
    assert state["strength_then"] == 0.5
    assert state["blocked_until"] > timezone.now().timestamp() - 10
