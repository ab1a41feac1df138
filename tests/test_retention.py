"""Old events and calls go, little by little; what belongs to incidents stays."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from events.age import newest_before
from events.models import Attempt, Bot, Event, OutboxItem
from events.outbox import send_text
from events.retention import IDLE, ROWS_AT_ONCE, Pruning, prune
from incidents.models import Actor, Incident, Via

pytestmark = pytest.mark.django_db
NOW = timezone.now()


def event(bot: Bot, number: int, *, days: float, chat_id: str = "oc_1") -> Event:
    at = NOW - timedelta(days=days)
    row = {
        "event_id": f"ev_{number}",
        "dedup_key": f"ev_{number}",
        "event_type": "t",
        "schema": "2.0",
        "body": {},
    }
    return Event.objects.create(bot=bot, chat_id=chat_id, created_at=at, received_at=at, **row)


def call(bot: Bot, key: str, *, days: float, status: str = "sent", **row: Any) -> OutboxItem:
    row = {"chat_id": "oc_1", **row}
    item = send_text(bot, markup="hi", key=key, **row)
    assert item is not None
    OutboxItem.objects.filter(pk=item.pk).update(created_at=NOW - timedelta(days=days), status=status)
    return item


def pruned() -> int:
    return sum(prune(NOW))


def left(model: Any, name: str) -> list[str]:
    return list(model.objects.order_by("pk").values_list(name, flat=True))


def test_events_older_than_the_setting_go(bot: Bot, settings: Any) -> None:
    settings.RETAIN_EVENTS_DAYS = 30
    for number, days in enumerate((31, 30.1, 29.9, 0)):
        event(bot, number, days=days)
    assert pruned() == 2
    assert left(Event, "event_id") == ["ev_2", "ev_3"]


def test_a_bot_may_keep_its_events_longer_or_shorter(bot: Bot) -> None:
    bot.retain_events_days = 7
    bot.save()
    other = Bot.objects.create(name="b", slug="b", app_id="cli_b", app_secret="s", verification_token="t")
    event(bot, 1, days=8)
    event(other, 2, days=8)
    pruned()
    assert left(Event, "event_id") == ["ev_2"]


def test_calls_go_with_their_tries_but_never_before_they_have_ended(bot: Bot) -> None:
    for key, status in (("sent", "sent"), ("failed", "failed"), ("waits", "pending"), ("goes", "sending")):
        item = call(bot, key, days=91, status=status)
        Attempt.objects.create(item=item, started_at=NOW, outcome="sent")
    call(bot, "young", days=89)
    pruned()
    assert left(OutboxItem, "key") == ["waits", "goes", "young"]
    assert Attempt.objects.count() == 2


def test_a_call_stays_as_long_as_the_event_that_caused_it(bot: Bot, settings: Any) -> None:
    settings.RETAIN_OUTBOX_DAYS = 10
    cause = event(bot, 1, days=20)
    call(bot, "caused", days=20, cause=cause)
    assert pruned() == 0
    settings.RETAIN_EVENTS_DAYS = 15
    assert pruned() == 2
    assert not OutboxItem.objects.exists()


def test_a_call_whose_chain_has_not_gone_on_stays(bot: Bot) -> None:
    call(bot, "chain", days=91, step="person")
    assert pruned() == 0


def test_incidents_keep_their_history(bot: Bot) -> None:
    incident = Incident.objects.open(bot=bot, title="down", by=Actor(Via.ADMIN, "Ada"))
    Incident.objects.filter(pk=incident.pk).update(chat_id="oc_incident")
    OutboxItem.objects.update(status="sent", followed_up=True, created_at=NOW - timedelta(days=400))
    kept = OutboxItem.objects.count()
    event(bot, 1, days=400, chat_id="oc_incident")
    call(bot, "in its chat", days=400, chat_id="oc_incident")
    call(bot, "elsewhere", days=400)
    assert pruned() == 1
    assert Event.objects.count() == 1
    assert OutboxItem.objects.count() == kept + 1


def test_many_rows_go_in_small_batches(bot: Bot) -> None:
    at = NOW - timedelta(days=100)
    row = {"event_type": "t", "schema": "2.0", "body": {}, "created_at": at, "received_at": at, "bot": bot}
    count = ROWS_AT_ONCE * 2 + 1
    Event.objects.bulk_create(Event(event_id=f"{n}", dedup_key=f"{n}", **row) for n in range(count))
    assert list(prune(NOW)) == [ROWS_AT_ONCE, ROWS_AT_ONCE, 1]


def test_the_worker_takes_one_batch_a_step_and_then_rests(bot: Bot) -> None:
    event(bot, 1, days=100)
    pruning = Pruning()
    assert [pruning.step(NOW), pruning.step(NOW)] == [1, 0]
    event(bot, 2, days=100)
    assert [pruning.step(NOW), pruning.step(NOW + IDLE)] == [0, 1]


@pytest.mark.parametrize("gone", [(), (1,), (3, 4), (6,)])
def test_the_last_row_before_a_time_is_found_by_halving(bot: Bot, gone: tuple[int, ...]) -> None:
    events = [event(bot, number, days=10 - number) for number in range(7)]
    for number in gone:
        Event.objects.filter(event_id=f"ev_{number}").delete()
    for days in (10.5, 7.5, 5.5, 3.9, 0):
        older = [row.pk for row in events if row.received_at < NOW - timedelta(days=days)]
        older = [pk for pk in older if Event.objects.filter(pk=pk).exists()]
        found = newest_before(Event, "received_at", NOW - timedelta(days=days))
        assert Event.objects.filter(pk__lte=found).count() == len(older)


def test_the_command_says_what_it_would_do_and_does_it(bot: Bot) -> None:
    event(bot, 1, days=100)
    out = StringIO()
    call_command("prune", "--dry-run", stdout=out)
    assert (out.getvalue(), Event.objects.count()) == ("1 rows are past their time\n", 1)
    call_command("prune", stdout=out)
    assert out.getvalue().endswith("1 rows deleted\n")
    assert not Event.objects.exists()
