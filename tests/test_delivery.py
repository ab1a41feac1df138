"""From the outbox to Feishu: retries, permanent refusals, tokens, order, leases, and what became of lost answers."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from django.utils import timezone

from botconsole.worker import Worker
from events import attempts
from events.attempts import next_attempt_at
from events.delivery import Delivery
from events.lanes import LEASE
from events.models import Attempt, Bot, Circuit, OutboxItem, Quota
from events.outbox import send_card, uuid_of
from tests.outbox_claims import claim

Status = OutboxItem.Status
NOW = datetime(2026, 11, 21, tzinfo=UTC)
CARD = {
    "schema": "2.0",
    "config": {"update_multi": True},
    "body": {"elements": [{"tag": "markdown", "content": "hi"}]},
}


@pytest.fixture
def group(sandbox: Any) -> str:
    return str(control(sandbox, "groups", name="Payments", bot=True)["chat_id"])


def control(sandbox: Any, path: str, /, **body: Any) -> Any:
    response = requests.post(f"{sandbox.url}/_sandbox/{path}", json=body, timeout=60)
    response.raise_for_status()
    return response.json()


def messages(sandbox: Any, chat_id: str) -> list[Any]:
    answer = requests.get(f"{sandbox.url}/_sandbox/groups/{chat_id}/messages", timeout=60).json()
    return list(answer["items"])


def calls(sandbox: Any) -> list[Any]:
    answer = requests.get(f"{sandbox.url}/_sandbox/calls", timeout=60).json()
    return list(answer["items"])


def queue(bot: Bot, chat_id: str, key: str = "k", text: str = "hi") -> OutboxItem:
    card = {**CARD, "body": {"elements": [{"tag": "markdown", "content": text}]}}
    item = send_card(bot, chat_id=chat_id, card=card, key=key)
    assert item is not None
    return item


def deliver() -> None:
    Worker().run_once()


def deliver_retries(rounds: int = 1) -> None:
    for _ in range(rounds):
        Quota.objects.all().delete()  # however long Feishu asked to wait, it is over
        OutboxItem.objects.hurry(timezone.now())
        Circuit.objects.exclude(opened_at=None).update(next_probe_at=timezone.now())
        deliver()


# --- The schedule ---------------------------------------------------------------------------------------
def test_the_waits_grow_and_end() -> None:
    waits = [next_attempt_at(NOW, tries, 0, 0.0) for tries in range(1, len(attempts.RETRY_SECONDS) + 2)]
    assert waits == [*(NOW + timedelta(seconds=seconds) for seconds in attempts.RETRY_SECONDS), None]


def test_a_rate_limits_reset_is_honoured_when_it_is_longer() -> None:
    assert next_attempt_at(NOW, 1, 520, 0.0) == NOW + timedelta(seconds=520)


def test_jitter_spreads_the_wait_by_up_to_a_quarter() -> None:
    assert next_attempt_at(NOW, 4, 0, 1.0) == NOW + timedelta(seconds=1.25 * attempts.RETRY_SECONDS[3])


@pytest.mark.parametrize("key", ["k", "k" * 50, "k" * 51, "键" * 200])
def test_the_uuid_is_the_key_or_a_hash_of_it_in_50_characters(key: str) -> None:
    assert uuid_of(key) == key or len(key) > 50
    assert len(uuid_of(key)) <= 50


def test_long_keys_that_begin_alike_have_uuids_of_their_own() -> None:
    assert uuid_of("k" * 60 + "1") != uuid_of("k" * 60 + "2")


# --- What arrives ---------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_a_card_arrives_and_the_row_knows_its_message(bot: Bot, sandbox: Any, group: str) -> None:
    queue(bot, group)
    deliver()
    (message,) = messages(sandbox, group)
    item = OutboxItem.objects.get()
    assert (item.status, item.message_id) == (Status.SENT, message["message_id"])
    assert message["content"] == CARD


@pytest.mark.django_db(transaction=True)
def test_a_try_is_recorded_with_status_code_and_log_id(bot: Bot, sandbox: Any, group: str) -> None:
    queue(bot, group)
    deliver()
    attempt = Attempt.objects.get()
    assert (attempt.outcome, attempt.http_status, attempt.code) == (Attempt.Outcome.SENT, 200, 0)
    assert attempt.log_id


@pytest.mark.django_db
def test_the_same_key_makes_one_row(bot: Bot) -> None:
    queue(bot, "oc_1")
    assert send_card(bot, chat_id="oc_1", card=CARD, key="k") is None
    assert OutboxItem.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_order_within_a_chat_is_kept(bot: Bot, sandbox: Any, group: str) -> None:
    for number in range(4):
        queue(bot, group, key=f"k{number}", text=str(number))
    deliver()
    assert [m["content"]["body"]["elements"][0]["content"] for m in messages(sandbox, group)] == list("0123")


@pytest.mark.django_db(transaction=True)
def test_all_calls_share_one_token(bot: Bot, sandbox: Any) -> None:
    for number in range(8):
        queue(bot, control(sandbox, "groups", name=str(number))["chat_id"], key=f"k{number}")
    deliver()
    assert sum("tenant_access_token" in call["path"] for call in calls(sandbox)) == 1
    assert OutboxItem.objects.filter(status=Status.SENT).count() == 8


# --- What goes wrong ------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 502, "times": 1, "path": "/messages"},
        {"code": 230020, "times": 1, "path": "/messages"},
        {"code": 99991400, "times": 1, "path": "/messages"},
        {"drop_answer": True, "times": 1, "path": "/messages"},
    ],
    ids=lambda fault: "-".join(fault),
)
def test_a_passing_fault_delays_a_message_and_never_doubles_it(
    bot: Bot, sandbox: Any, group: str, fault: dict[str, Any]
) -> None:
    queue(bot, group)
    control(sandbox, "faults", **fault)
    deliver()
    assert OutboxItem.objects.get().status == Status.PENDING
    deliver_retries()
    assert OutboxItem.objects.get().status == Status.SENT
    assert len(messages(sandbox, group)) == 1


@pytest.mark.django_db(transaction=True)
def test_a_dead_token_is_fetched_anew_once_and_the_call_repeated(bot: Bot, sandbox: Any, group: str) -> None:
    queue(bot, group)
    control(sandbox, "faults", code=99991663, times=1, path="/messages")
    deliver()
    item = OutboxItem.objects.get()
    assert (item.status, item.attempts.count()) == (Status.SENT, 1)


@pytest.mark.django_db(transaction=True)
def test_a_token_that_stays_dead_costs_no_message(bot: Bot, sandbox: Any, group: str) -> None:
    queue(bot, group)
    control(sandbox, "faults", code=99991663, path="/messages", times=2)
    deliver()
    assert OutboxItem.objects.get().status == Status.PENDING
    OutboxItem.objects.hurry(timezone.now())
    deliver()
    assert OutboxItem.objects.get().status == Status.SENT


@pytest.mark.django_db(transaction=True)
def test_a_wrong_app_secret_costs_no_message_and_the_row_says_the_code(
    bot: Bot, sandbox: Any, group: str
) -> None:
    bot.app_secret = "wrong"
    bot.save()
    queue(bot, group)
    deliver()
    item = OutboxItem.objects.get()
    assert (item.status, item.error_code, item.attempt_count) == (Status.PENDING, 10014, 0)


@pytest.mark.django_db(transaction=True)
def test_a_chat_without_the_bot_fails_for_good_at_the_first_try(bot: Bot, sandbox: Any) -> None:
    queue(bot, control(sandbox, "groups", name="elsewhere", bot=False)["chat_id"])
    deliver()
    item = OutboxItem.objects.get()
    assert (item.status, item.error_code, item.attempt_count) == (Status.FAILED, 230002, 1)


@pytest.mark.django_db(transaction=True)
def test_a_failed_row_can_be_retried_by_hand(bot: Bot, sandbox: Any, group: str) -> None:
    queue(bot, group)
    control(sandbox, "faults", code=230022, times=1, path="/messages")
    deliver()
    assert OutboxItem.objects.retry(timezone.now()) == 1
    deliver()
    item = OutboxItem.objects.get()
    assert (item.status, item.attempts.count()) == (Status.SENT, 2)


@pytest.mark.django_db(transaction=True)
def test_after_the_last_try_the_row_is_failed(bot: Bot, sandbox: Any, group: str) -> None:
    queue(bot, group)
    control(sandbox, "faults", status=502, path="/messages")
    deliver()
    deliver_retries(len(attempts.RETRY_SECONDS))
    item = OutboxItem.objects.get()
    assert (item.status, item.attempts.count()) == (Status.FAILED, len(attempts.RETRY_SECONDS) + 1)


@pytest.mark.django_db(transaction=True)
def test_a_row_that_breaks_the_sender_fails_alone(bot: Bot, sandbox: Any, group: str) -> None:
    poisoned = queue(bot, "oc_1", key="poison")
    OutboxItem.objects.filter(pk=poisoned.pk).update(arguments={})
    queue(bot, group)
    deliver()
    assert list(OutboxItem.objects.order_by("pk").values_list("status", flat=True)) == [
        Status.FAILED,
        Status.SENT,
    ]


@pytest.mark.django_db(transaction=True)
def test_a_disabled_bot_sends_nothing_and_loses_nothing(bot: Bot, sandbox: Any, group: str) -> None:
    queue(bot, group)
    Bot.objects.update(enabled=False)
    deliver()
    assert OutboxItem.objects.get().status == Status.PENDING
    Bot.objects.update(enabled=True)
    deliver()
    assert OutboxItem.objects.get().status == Status.SENT


@pytest.mark.django_db(transaction=True)
def test_two_bots_never_use_each_others_token(bot: Bot, sandbox: Any, group: str) -> None:
    other = Bot.objects.create(
        name="two", slug="two", app_id="cli_two", app_secret="x", verification_token="v", domain=bot.domain
    )
    queue(bot, group, key="ours")
    queue(other, group, key="theirs")
    deliver()
    assert {item.key: item.status for item in OutboxItem.objects.all()} == {
        "ours": Status.SENT,
        "theirs": Status.PENDING,
    }
    assert OutboxItem.objects.get(key="theirs").error_code == 10003


# --- Order and leases -----------------------------------------------------------------------------------
@pytest.mark.django_db
def test_a_row_waits_for_the_earlier_one_to_its_chat_but_not_for_other_chats(bot: Bot) -> None:
    rows = [queue(bot, "oc_1", "a"), queue(bot, "oc_1", "b"), queue(bot, "oc_2", "c")]
    assert [item.key for item in claim(10, timezone.now())] == ["a", "c"]
    assert claim(10, timezone.now()) == []
    assert len(rows) == 3


@pytest.mark.django_db
def test_a_row_that_keeps_failing_holds_its_chat_for_two_minutes_only(bot: Bot) -> None:
    first, _ = queue(bot, "oc_1", "a"), queue(bot, "oc_1", "b")
    now = timezone.now()
    later = {"next_attempt_at": now + timedelta(hours=1)}
    OutboxItem.objects.filter(pk=first.pk).update(first_attempt_at=now - timedelta(seconds=110), **later)
    assert claim(10, now) == []
    assert claim(10, now + timedelta(seconds=9)) == []
    assert [item.key for item in claim(10, now + timedelta(seconds=11))] == ["b"]


@pytest.mark.django_db
def test_a_leased_row_is_not_claimed_again_before_its_lease_ends(bot: Bot) -> None:
    queue(bot, "oc_1")
    now = timezone.now()
    assert len(claim(10, now)) == 1
    assert claim(10, now + LEASE - timedelta(seconds=1)) == []


@pytest.mark.django_db
def test_a_row_whose_worker_died_is_claimed_after_the_lease_and_marked_unsure(bot: Bot) -> None:
    queue(bot, "oc_1")
    now = timezone.now()
    claim(10, now)
    (item,) = claim(10, now + LEASE + timedelta(seconds=1))
    assert (item.unsure, item.attempt_count) == (True, 2)
    assert [attempt.outcome for attempt in item.attempts.all()] == [Attempt.Outcome.UNKNOWN]


def lost_answer(sandbox: Any, bot: Bot, group: str, age: timedelta) -> None:
    """A message that Feishu has, whose answer never came, `age` ago."""
    queue(bot, group)
    control(sandbox, "faults", drop_answer=True, times=1, path="/messages")
    deliver()
    assert OutboxItem.objects.get().unsure
    OutboxItem.objects.update(first_attempt_at=timezone.now() - age)


@pytest.mark.django_db(transaction=True)
def test_after_an_hour_history_is_asked_before_a_message_is_sent_again(
    bot: Bot, sandbox: Any, group: str
) -> None:
    lost_answer(sandbox, bot, group, timedelta(minutes=56))
    deliver_retries()
    item = OutboxItem.objects.get()
    assert (item.status, item.message_id) == (Status.SENT, messages(sandbox, group)[0]["message_id"])
    assert (
        sum(call["method"] == "POST" and call["path"].endswith("/messages") for call in calls(sandbox)) == 1
    )


@pytest.mark.django_db(transaction=True)
def test_within_the_hour_the_uuid_protects_and_history_is_not_asked(
    bot: Bot, sandbox: Any, group: str
) -> None:
    lost_answer(sandbox, bot, group, timedelta(minutes=50))
    deliver_retries()
    assert len(messages(sandbox, group)) == 1
    assert not [call for call in calls(sandbox) if call["method"] == "GET" and "/messages" in call["path"]]


@pytest.mark.django_db(transaction=True)
def test_a_message_that_history_does_not_know_is_sent(bot: Bot, sandbox: Any, group: str) -> None:
    queue(bot, group)
    OutboxItem.objects.update(unsure=True, first_attempt_at=timezone.now() - timedelta(hours=2))
    deliver()
    assert len(messages(sandbox, group)) == 1


@pytest.mark.django_db(transaction=True)
def test_while_history_does_not_answer_nothing_is_sent(bot: Bot, sandbox: Any, group: str) -> None:
    lost_answer(sandbox, bot, group, timedelta(hours=2))
    control(sandbox, "faults", code=230027, path="/messages")
    deliver_retries()
    assert OutboxItem.objects.get().status == Status.FAILED


@pytest.mark.django_db(transaction=True)
def test_an_answer_that_comes_after_the_lease_ended_still_counts(bot: Bot, sandbox: Any, group: str) -> None:
    queue(bot, group)
    delivery = Delivery(4, lambda: None)
    delivery.step()
    delivery.close()  # the call has come back by now
    OutboxItem.objects.filter(status=Status.SENDING).update(leased_until=timezone.now() - LEASE)
    assert delivery.step(take_more=False) == 1
    assert OutboxItem.objects.get().status == Status.SENT
