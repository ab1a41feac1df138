"""Delivery at its edges: odd answers, slow and dead platforms, leases, many calls at once."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import requests
from django.db import OperationalError, connection
from django.utils import timezone

from botconsole.worker import Worker
from events.delivery import Delivery
from events.feishu import FeishuClient, FeishuError
from events.lanes import LEASE
from events.models import Attempt, Bot, OutboxItem
from events.outbox import send_card
from tests.fleet import wait_for
from tests.outbox_claims import claim
from tests.scripted_feishu import ALL, Answer, ScriptedFeishu

Status = OutboxItem.Status
CARD = {
    "schema": "2.0",
    "config": {"update_multi": True},
    "body": {"elements": [{"tag": "markdown", "content": "hi"}]},
}
ARGUMENTS = {"receive_id_type": "chat_id", "receive_id": "oc_1", "msg_type": "interactive", "content": "{}"}
BUSY = '{"code": 99991400, "msg": "request trigger frequency limit"}'


@pytest.fixture
def feishu() -> Iterator[ScriptedFeishu]:
    server = ScriptedFeishu()
    yield server
    server.close()


@pytest.fixture
def our_bot(bot: Bot, feishu: ScriptedFeishu) -> Bot:
    bot.domain = feishu.domain
    bot.save()
    return bot


@pytest.fixture
def delivery() -> Iterator[Delivery]:
    delivery = Delivery(16, lambda: None)
    delivery.load()
    yield delivery
    delivery.close()


def queue(bot: Bot, key: str = "k", chat_id: str = "oc_1") -> OutboxItem:
    item = send_card(bot, chat_id=chat_id, card=CARD, key=key)
    assert item is not None
    return item


def failure(feishu: ScriptedFeishu) -> FeishuError:
    """The error that one call to this Feishu ends with."""
    with pytest.raises(FeishuError) as error:
        FeishuClient("cli", "secret", feishu.domain).call("send_message", ARGUMENTS, "u")
    return error.value


def steps_until(delivery: Delivery, condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        delivery.step()
        time.sleep(0.02)


# --- What a rate limit asks for ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("header", "seconds"),
    [("52", 52), ("0.5", 0.5), ("1.7e12", 3600), ("inf", 0), ("nan", 0), ("-5", 0), ("abc", 0), ("", 0)],
)
def test_the_reset_header_is_read_in_seconds_up_to_an_hour(
    feishu: ScriptedFeishu, header: str, seconds: float
) -> None:
    feishu.answer = Answer(BUSY, 429, {"x-ogw-ratelimit-reset": header})
    assert failure(feishu).retry_after_seconds == seconds


def test_a_rate_limit_whose_answer_is_a_page_keeps_its_reset_header(feishu: ScriptedFeishu) -> None:
    feishu.answer = Answer("<html>429</html>", 429, {"x-ogw-ratelimit-reset": "52"})
    error = failure(feishu)
    assert (error.retry_after_seconds, error.permanent, error.unsure) == (52, False, False)


@pytest.mark.django_db(transaction=True)
def test_a_row_waits_as_long_as_the_rate_limit_asks(our_bot: Bot, feishu: ScriptedFeishu) -> None:
    feishu.answer = Answer(BUSY, 429, {"x-ogw-ratelimit-reset": "520"})
    queue(our_bot)
    before = timezone.now()
    Worker().run_once()
    item = OutboxItem.objects.get()
    assert item.status == Status.PENDING
    assert timedelta(seconds=520) <= item.next_attempt_at - before <= timedelta(seconds=520 * 1.25 + 10)


# --- Connections and calls at once ------------------------------------------------------------------------
def test_ten_calls_use_one_connection(feishu: ScriptedFeishu) -> None:
    client = FeishuClient("cli", "secret", feishu.domain)
    for number in range(10):
        client.call("send_message", ARGUMENTS, str(number))
    assert (len(feishu.uuids), feishu.connections) == (10, 1)


@pytest.mark.django_db(transaction=True)
def test_sixteen_calls_are_in_flight_on_sixteen_connections(our_bot: Bot, feishu: ScriptedFeishu) -> None:
    feishu.together = 16
    for number in range(24):
        queue(our_bot, key=f"k{number}", chat_id=f"oc_{number}")
    Worker().run_once()
    assert OutboxItem.objects.filter(status=Status.SENT).count() == 24
    assert (feishu.most[ALL], feishu.connections) == (16, 16)


@pytest.mark.django_db(transaction=True)
def test_a_bot_whose_feishu_hangs_does_not_hold_up_another(
    our_bot: Bot, feishu: ScriptedFeishu, delivery: Delivery
) -> None:
    silent = ScriptedFeishu()
    silent.hold()
    hung = Bot.objects.create(
        name="h", slug="h", app_id="h", app_secret="s", verification_token="v", domain=silent.domain
    )
    for number in range(20):
        queue(hung, key=f"h{number}", chat_id=f"oc_{number}")
    delivery.step()
    ours = queue(our_bot)
    steps_until(delivery, lambda: OutboxItem.objects.get(pk=ours.pk).status == Status.SENT)
    assert silent.uuids == []
    silent.close()


@pytest.mark.django_db(transaction=True)
def test_what_is_urgent_does_not_wait_until_all_answers_are_recorded(
    our_bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("events.delivery.COLLECT_SECONDS", 0.0)
    answers: list[bool] = []
    delivery = Delivery(16, lambda: answers.append(True))
    for number in range(4):
        queue(our_bot, key=f"welcome:{number}", chat_id=f"oc_{number}")
    assert delivery.step() == 4
    wait_for(lambda: len(answers) == 4, 60)
    incident = queue(our_bot, key="inc:1", chat_id="oc_incident")
    delivery.step()
    assert OutboxItem.objects.filter(status=Status.SENT).count() == 1
    assert OutboxItem.objects.get(pk=incident.pk).status == Status.SENDING
    steps_until(delivery, lambda: OutboxItem.objects.filter(status=Status.SENT).count() == 5)
    delivery.close()


# --- Leases -----------------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_a_call_longer_than_its_lease_is_not_claimed_by_another_worker(
    our_bot: Bot, feishu: ScriptedFeishu, delivery: Delivery
) -> None:
    feishu.hold()
    queue(our_bot)
    delivery.step()
    OutboxItem.objects.update(leased_until=timezone.now() + timedelta(seconds=1))
    delivery._next["renew"] = 0  # ten seconds later
    delivery.step()
    assert claim(10, timezone.now() + LEASE / 2) == []
    feishu.release()
    steps_until(delivery, lambda: OutboxItem.objects.get().status == Status.SENT)
    assert (feishu.uuids, Attempt.objects.count()) == (["k"], 1)


@pytest.mark.django_db(transaction=True)
def test_a_failure_that_comes_late_leaves_the_newer_claim_alone(
    our_bot: Bot, feishu: ScriptedFeishu, delivery: Delivery
) -> None:
    feishu.hold()
    feishu.answer = Answer('{"code": 230002, "msg": "bot is out of the chat"}', 400)
    queue(our_bot)
    delivery.step()
    later = timezone.now() + 2 * LEASE
    assert [item.attempt_count for item in claim(10, later)] == [2]
    feishu.release()
    delivery.close()
    delivery.step(take_more=False)
    item = OutboxItem.objects.get()
    assert (item.status, item.leased_until, item.error) == (Status.SENDING, later + LEASE, "")


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_an_answer_that_comes_while_the_database_is_away_is_recorded_when_it_is_back(
    our_bot: Bot, feishu: ScriptedFeishu, delivery: Delivery
) -> None:
    queue(our_bot)
    delivery.step()
    delivery.close()  # the answer is here
    for work in (cut_off, delivery.step):
        with pytest.raises(OperationalError):
            work()
    connection.close()
    delivery.step(take_more=False)
    assert OutboxItem.objects.get().status == Status.SENT
    assert [attempt.outcome for attempt in Attempt.objects.all()] == [Attempt.Outcome.SENT]


def cut_off() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


# --- Answers that no column can hold ----------------------------------------------------------------------
ODD_SUCCESSES = {
    "a NUL": r'{"code": 0, "data": {"message_id": "om_\u0000"}}',
    "half a surrogate pair": r'{"code": 0, "data": {"message_id": "om_\ud800"}}',
    "not a number": '{"code": 0, "data": {"message_id": "om_1", "x": NaN}}',
    "infinity": '{"code": 0, "data": {"message_id": "om_1", "x": Infinity}}',
    "a message id that is none": '{"code": 0, "data": {"message_id": [1]}}',
    "no data": '{"code": 0}',
}
ODD_FAILURES = {
    "a code over 64 bits": '{"code": 1180591620717411303424, "msg": "m"}',
    "a NUL in the message": r'{"code": 230001, "msg": "a\u0000b"}',
    "half a surrogate pair in the message": r'{"code": 230001, "msg": "a\udfffb"}',
    "a message that is none": '{"code": 230001, "msg": {"a": [1]}}',
    "an endless message": '{"code": 230001, "msg": "' + "m" * 9000 + '"}',
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("body", ODD_SUCCESSES.values(), ids=ODD_SUCCESSES.keys())
def test_a_success_with_odd_data_is_sent_and_the_next_row_too(
    our_bot: Bot, feishu: ScriptedFeishu, body: str
) -> None:
    feishu.answer = Answer(body)
    queue(our_bot, "a")
    queue(our_bot, "b")
    Worker().run_once()
    assert feishu.uuids == ["a", "b"]
    assert set(OutboxItem.objects.values_list("status", flat=True)) == {Status.SENT}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("body", ODD_FAILURES.values(), ids=ODD_FAILURES.keys())
def test_a_refusal_with_odd_data_fails_its_row_and_the_next_is_tried(
    our_bot: Bot, feishu: ScriptedFeishu, caplog: pytest.LogCaptureFixture, body: str
) -> None:
    feishu.answer = Answer(body, 400)
    queue(our_bot, "a")
    queue(our_bot, "b")
    Worker().run_once()
    assert feishu.uuids == ["a", "b"]
    assert set(OutboxItem.objects.values_list("status", flat=True)) == {Status.FAILED}
    assert caplog.text.encode()  # a log that cannot be written is none


ODD_ANSWERS = {
    "an endless code": '{"code": 1e400, "msg": "m"}',
    "a list": "[]",
    "nothing": "",
    "deep": "[" * 100_000,
    "half": '{"code": 0, "da',
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("body", ODD_ANSWERS.values(), ids=ODD_ANSWERS.keys())
def test_an_answer_that_is_not_feishus_leaves_no_call_in_flight(
    our_bot: Bot, feishu: ScriptedFeishu, body: str
) -> None:
    feishu.answer = Answer(body)
    queue(our_bot)
    Worker().run_once()
    item = OutboxItem.objects.get()
    assert item.status in (Status.PENDING, Status.FAILED)
    assert item.attempts.count() == 1


# --- Order, and equal messages ----------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_after_an_outage_of_minutes_order_is_kept_with_one_call_a_chat(
    our_bot: Bot, feishu: ScriptedFeishu
) -> None:
    chats = ("oc_1", "oc_2", "oc_3")
    for number in range(12):
        queue(our_bot, key=f"{number:02}", chat_id=chats[number % 3])
    OutboxItem.objects.update(attempt_count=5, first_attempt_at=timezone.now() - timedelta(minutes=5))
    feishu.together = 3
    Worker().run_once()
    sent = [[uuid for uuid in feishu.uuids if int(uuid) % 3 == chat] for chat in range(3)]
    assert sent == [sorted(uuids) for uuids in sent]
    assert {chat: feishu.most[chat] for chat in (ALL, *chats)} == {ALL: 3, "oc_1": 1, "oc_2": 1, "oc_3": 1}


@pytest.mark.django_db(transaction=True)
def test_of_two_equal_messages_the_one_that_never_went_out_goes_out_an_hour_later(
    bot: Bot, sandbox: Any
) -> None:
    group = requests.post(f"{sandbox.url}/_sandbox/groups", json={"name": "g"}, timeout=60).json()["chat_id"]
    queue(bot, "a", group)
    second = queue(bot, "b", group)
    worker = Delivery(1, lambda: None)
    worker.load()
    worker.step()
    worker.close()
    worker.step(take_more=False)  # the first is sent
    assert [item.key for item in claim(1, timezone.now())] == ["b"]  # and this worker dies
    hour_ago = timezone.now() - timedelta(minutes=56)
    OutboxItem.objects.filter(pk=second.pk).update(leased_until=hour_ago, first_attempt_at=hour_ago)
    Worker().run_once()
    items = requests.get(f"{sandbox.url}/_sandbox/groups/{group}/messages", timeout=60).json()["items"]
    assert (len(items), set(OutboxItem.objects.values_list("status", flat=True))) == (2, {Status.SENT})
