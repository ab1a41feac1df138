"""The event log in partitions by month: nothing is lost or doubled, whole months go, the console notices nothing."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from io import StringIO
from random import Random
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, ProgrammingError, connection, connections, transaction
from django.test import Client
from django.utils import timezone

from events.dispatch import accept
from events.envelope import Envelope, open_envelope
from events.eventfilter import EventFilter
from events.models import Arrival, Bot, Event, EventText
from events.outbox import send_text
from events.partitions import is_partitioned, partitions
from events.reading import read_new
from events.retention import Pruning, prune
from incidents.models import Actor, Incident, Via
from tests import feishu_events

NOW = timezone.now()

pytestmark = pytest.mark.postgres


@pytest.fixture
def log(transactional_db: None) -> Iterator[None]:
    """A database of this test's own, a copy: it may be left partitioned."""
    settings = connection.settings_dict
    ours, copy = settings["NAME"], f"{settings['NAME']}_by_month"
    connections.close_all()
    where = {"host": settings["HOST"], "port": settings["PORT"], "user": settings["USER"]}
    with psycopg.connect(
        **where, password=settings["PASSWORD"], dbname="postgres", autocommit=True
    ) as server:
        server.execute(f'DROP DATABASE IF EXISTS "{copy}" WITH (FORCE)')
        # PostgreSQL copies no database that others use: threads of tests before may still be there.
        server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [ours])
        server.execute(f'CREATE DATABASE "{copy}" TEMPLATE "{ours}"')
        settings["NAME"] = copy
        is_partitioned.cache_clear()
        yield
        connections.close_all()
        is_partitioned.cache_clear()
        settings["NAME"] = ours
        server.execute(f'DROP DATABASE "{copy}" WITH (FORCE)')


@pytest.fixture
def by_month(bot: Bot) -> Iterator[Bot]:
    """Partitioned within the test's transaction, which takes it back."""
    is_partitioned.cache_clear()
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    call_command("partition_events", stdout=StringIO())
    yield bot
    is_partitioned.cache_clear()


@pytest.fixture
def shared(log: None, bot: Bot) -> Bot:
    """Partitioned for other connections, too."""
    call_command("partition_events", stdout=StringIO())
    return bot


def envelope(bot: Bot, event_id: str) -> Envelope:
    sealed = feishu_events.sealed(feishu_events.member_joined(event_id=event_id), bot.encrypt_key.reveal())
    opened = open_envelope(bot, sealed[1], sealed[0], now=timezone.now(), max_age=timedelta(hours=1))
    assert isinstance(opened, Envelope)
    return opened


def received(bot: Bot, event_id: str, *, at: datetime | None = None, chat_id: str = "oc_1") -> Event:
    arrival = Arrival(bot, envelope(bot, event_id), "webhook")
    arrival.columns |= {"chat_id": chat_id, **({"received_at": at} if at else {})}
    Event.objects.receive_all([arrival])
    assert arrival.event is not None
    return arrival.event


def held_by() -> dict[str, list[str]]:
    """Partition -> the ids of its events."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tableoid::regclass::text, array_agg(event_id ORDER BY id) FROM events_event GROUP BY 1"
        )
        return dict(cursor.fetchall())


def shape() -> dict[str, Any]:
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, "events_event")
    return {name: one for name, one in found.items() if not one["check"]}


# --- Each event once ---------------------------------------------------------------------------------------
def in_threads(count: int, work: Callable[[int], None]) -> None:
    def and_hang_up(number: int) -> None:
        try:
            work(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(and_hang_up, range(count)))


def test_many_threads_store_each_event_once_and_count_every_delivery(shared: Bot) -> None:
    ids = [f"ev_{number}" for number in range(40)]
    envelopes = {event_id: envelope(shared, event_id) for event_id in ids}

    def deliver(seed: int) -> None:
        order = Random(seed).sample(ids, len(ids))
        for begin in range(0, len(order), 4):
            batch = [Arrival(shared, envelopes[one], "webhook") for one in order[begin : begin + 4]]
            Event.objects.receive_all(batch)

    in_threads(16, deliver)
    assert dict(Event.objects.values_list("event_id", "deliveries")) == dict.fromkeys(ids, 16)
    assert Event.objects.count() == len(ids)


def test_a_handler_runs_once_for_copies_that_arrive_together(shared: Bot) -> None:
    one = envelope(shared, "ev_1")
    in_threads(8, lambda _number: accept(shared, one, transport="webhook"))
    event = Event.objects.get()
    assert (event.deliveries, event.tries, len(event.delivery_times)) == (8, 1, 8)
    assert not event.is_waiting


def test_a_copy_is_known_in_whichever_month_the_first_one_came(by_month: Bot) -> None:
    first = received(by_month, "ev_1", at=NOW - timedelta(days=60))
    again = received(by_month, "ev_1", at=NOW + timedelta(days=40))
    assert (again.pk, again.deliveries, again.received_at) == (first.pk, 2, first.received_at)


def test_a_process_that_is_older_than_the_partitions_finds_out(
    log: None, bot: Bot, process_env: dict[str, str]
) -> None:
    def command(*words: str) -> None:
        subprocess.run(
            [sys.executable, "manage.py", "partition_events", *words],
            env=process_env,
            check=True,
            capture_output=True,
        )

    received(bot, "ev_1")
    command()
    assert received(bot, "ev_1").deliveries == 2
    command("--undo")
    with pytest.raises(ProgrammingError), transaction.atomic():
        received(bot, "ev_1")  # Feishu is told to push it again
    assert received(bot, "ev_1").deliveries == 3


# --- The conversion ----------------------------------------------------------------------------------------
def test_the_command_makes_the_table_a_partition_and_goes_on_counting(log: None, bot: Bot) -> None:
    first, before = received(bot, "ev_1", at=NOW), shape()
    out = StringIO()
    call_command("partition_events", "--dry-run", stdout=out)
    assert "their table becomes the partition events_event_before_" in out.getvalue()
    assert shape() == before
    call_command("partition_events", stdout=out)
    old, month = partitions()
    assert received(bot, "ev_2", at=month.begin).pk > first.pk
    assert held_by() == {old.name: ["ev_1"], month.name: ["ev_2"]}


def test_no_index_is_built_anew(by_month: Bot) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT inhparent::regclass::text, inhrelid::regclass::text FROM pg_inherits JOIN pg_index"
            " ON indexrelid = inhrelid WHERE indrelid = %s::regclass",
            [partitions()[0].name],
        )
        adopted = dict(cursor.fetchall())
    assert adopted == {index.name: f"{index.name}_before" for index in Event._meta.indexes}


def test_the_command_refuses_a_second_time(by_month: Bot) -> None:
    with pytest.raises(CommandError, match="partitioned already"):
        call_command("partition_events")


def test_undo_leaves_the_table_as_it_was(log: None, bot: Bot) -> None:
    before = shape()
    call_command("partition_events", stdout=StringIO())
    event = received(bot, "ev_1")
    EventText.objects.add([event])
    call_command("partition_events", "--undo", stdout=StringIO())
    assert shape() == before
    assert received(bot, "ev_1").pk == event.pk
    assert received(bot, "ev_2").pk > event.pk
    with pytest.raises(IntegrityError), transaction.atomic():
        EventText.objects.create(event_id=event.pk + 100, text="", tokens="")


def test_a_later_migration_may_add_a_column(by_month: Bot) -> None:
    received(by_month, "ev_1")
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE events_event ADD COLUMN mood text NULL")
    assert [received(by_month, "ev_1").deliveries, received(by_month, "ev_2").deliveries] == [2, 1]


# --- Months come and go ------------------------------------------------------------------------------------
def test_the_worker_makes_the_next_month_and_what_had_no_month_moves_there(by_month: Bot) -> None:
    far = datetime(NOW.year + 1, 6, 15, tzinfo=UTC)
    received(by_month, "ev_1", at=far)
    assert held_by() == {"events_event_rest": ["ev_1"]}
    Pruning().step(far - timedelta(days=30))
    assert held_by() == {f"events_event_{far:%Y_%m}": ["ev_1"]}
    assert partitions()[-1].begin == datetime(far.year, 6, 1, tzinfo=UTC)


def test_a_month_goes_as_a_whole_without_what_incidents_keep(by_month: Bot) -> None:
    incident = Incident.objects.open(bot=by_month, title="down", by=Actor(Via.ADMIN, "Ada"))
    Incident.objects.filter(pk=incident.pk).update(chat_id="oc_incident")
    gone = [received(by_month, f"ev_{number}") for number in range(3)]
    kept = received(by_month, "ev_kept", chat_id="oc_incident")
    EventText.objects.add([*gone, kept])
    item = send_text(by_month, chat_id="oc_1", markup="hi", key="k", cause=gone[0])
    later = received(by_month, "ev_later", at=NOW + timedelta(days=130))
    assert item is not None
    old = partitions()[0].name
    assert sum(prune(NOW + timedelta(days=140))) == 3
    assert old not in [partition.name for partition in partitions()]
    assert held_by() == {
        "events_event_rest": ["ev_kept"],
        f"events_event_{later.received_at:%Y_%m}": ["ev_later"],
    }
    assert set(EventText.objects.values_list("pk", flat=True)) == {kept.pk}
    item.refresh_from_db()
    assert item.cause_id is None


def test_a_month_stays_for_the_bot_that_keeps_its_events_longest(by_month: Bot) -> None:
    Bot.objects.create(
        name="b", slug="b", app_id="cli_b", app_secret="s", verification_token="t", retain_events_days=1000
    )
    received(by_month, "ev_1")
    old = partitions()[0].name
    assert sum(prune(NOW + timedelta(days=140))) == 1  # in a batch
    assert partitions()[0].name == old


def test_a_month_that_somebody_reads_is_left_for_the_next_time(shared: Bot) -> None:
    received(shared, "ev_1")
    old, later = partitions()[0].name, NOW + timedelta(days=140)
    with psycopg.connect(**connection.get_connection_params()) as reader:
        reader.execute("SELECT count(*) FROM events_event")
        assert sum(prune(later)) == 2  # let go of, and then deleted in a batch
        assert partitions()[0].name == old
    list(prune(later))
    assert partitions()[0].name != old


# --- The console -------------------------------------------------------------------------------------------
def test_a_time_in_the_filter_leaves_other_months_unread(by_month: Bot) -> None:
    old, month = partitions()
    received(by_month, "ev_1", at=NOW)
    received(by_month, "ev_2", at=month.begin)
    rows = EventFilter(since=month.begin.isoformat()).queryset()
    assert [event.event_id for event in rows] == ["ev_2"]
    assert old.name not in rows.explain()


def test_the_event_log_is_listed_and_searched(by_month: Bot, admin_client: Client) -> None:
    _old, month = partitions()
    events = [received(by_month, "ev_1", at=NOW), received(by_month, "ev_2", at=month.begin)]
    read_new()
    for query in ("", "?q=ev_2", f"?chat=oc_1&before={events[1].pk + 1}"):
        page = admin_client.get(f"/admin/events/event/{query}").content.decode()
        assert f"/admin/events/event/{events[1].pk}/" in page
