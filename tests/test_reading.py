"""The index that a search reads, filled beside the webhook: by the worker, by whoever searches first."""

from collections.abc import Callable

import psycopg
import pytest
from django.db import connection
from django.utils import timezone

from botconsole.worker import Worker
from events import reading
from events.eventfilter import EventFilter
from events.models import Bot, Event, EventText

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def unread(bot: Bot) -> Callable[[int], None]:
    """So many messages that nobody has read yet."""

    def make(count: int) -> None:
        now = timezone.now()
        Event.objects.bulk_create(
            Event(
                bot=bot, event_id=f"ev_{n}", dedup_key=f"ev_{n}", event_type="im.message.receive_v1", schema="2.0",
                body={"event": {"message": {"content": f'{{"text": "payment number{n}"}}'}}}, status="ignored",
                created_at=now, received_at=now, delivery_times=[now.isoformat()],
            )
            for n in range(count)
        )  # fmt: skip

    return make


def test_a_backlog_is_read_batch_after_batch(unread):
    unread(2 * reading.BATCH + 1)
    assert reading.is_due()
    assert reading.run_due(lambda: False) == 2 * reading.BATCH + 1
    assert not reading.is_due()
    assert EventFilter(q=f"number{2 * reading.BATCH}").queryset().count() == 1


def test_a_worker_that_ends_reads_no_further_batch(unread):
    unread(reading.BATCH + 1)
    told = iter((False, True))
    assert reading.run_due(lambda: next(told)) == reading.BATCH


def test_the_worker_reads_what_came(unread):
    unread(3)
    Worker().run_once()
    assert EventText.objects.count() == 3


@pytest.mark.postgres
def test_one_worker_reads_at_a_time_and_nobody_waits_for_it(unread):
    unread(3)
    with psycopg.connect(**connection.get_connection_params()) as other:
        other.execute("SELECT pg_advisory_xact_lock(hashtextextended('events.reading', 0))")
        assert reading.read_new() == 0
        reading.catch_up()  # whoever searches does not wait for the worker's turn either
        assert EventText.objects.count() == 3
    unread_again = Event.objects.order_by("pk")[0]
    EventText.objects.filter(pk=unread_again.pk).delete()
    assert reading.read_new() == 1
