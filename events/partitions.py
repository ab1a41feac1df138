"""The partitions of an event log that `manage.py partition_events` divided by month (docs/decisions/0016).

PostgreSQL only. `events_event_2026_12` holds what was received in that month (UTC), `events_event_before_2026_12`
what was there before, `events_event_rest` what fits no month: what was kept of those that are gone.
All SQL here is made of constants and of months.
"""

# ruff: noqa: S608

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

from django.db import OperationalError, connection, transaction

TABLE = "events_event"
REST = f"{TABLE}_rest"
RECEIVE = f"{TABLE}_receive"
# Who waits for a lock that shuts everyone out has everyone behind him: better to come again. Shorter than
# deadlock_timeout, so that where two wait for each other it is the one that can come again who gives up.
PATIENCE = "SET LOCAL lock_timeout = '500ms'"
LOCK_NOT_AVAILABLE = "55P03"
COLUMNS = "INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE"
_MONTH = re.compile(rf"{TABLE}_(before_)?(\d{{4}})_(\d{{2}})")


@dataclass(frozen=True)
class Partition:
    """One table of the log: what was received from `begin` (None: whenever before) until before `end`."""

    name: str
    begin: datetime | None
    end: datetime


@cache
def is_partitioned() -> bool:
    """Asked once a process: a conversion meanwhile shows in a statement that fails (EventQuerySet.receive_all)."""
    if connection.vendor != "postgresql":
        return False
    connection.ensure_connection()
    with connection.wrap_database_errors:
        found = connection.connection.execute(
            f"SELECT relkind = 'p' FROM pg_class WHERE oid = '{TABLE}'::regclass"
        )
        return bool(found.fetchone()[0])


def partitions() -> list[Partition]:
    """Those of months, the oldest first; tables that somebody attached under another name are his."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
            f" WHERE inhparent = '{TABLE}'::regclass"
        )
        names = [name for (name,) in cursor.fetchall()]
    months = [(match, name) for name in names if (match := _MONTH.fullmatch(name))]
    return sorted((_partition(name, match) for match, name in months), key=lambda one: one.end)


def _partition(name: str, match: re.Match[str]) -> Partition:
    month = datetime(int(match[2]), int(match[3]), 1, tzinfo=UTC)
    return Partition(name, None, month) if match[1] else Partition(name, month, month_after(month))


def month_after(at: datetime) -> datetime:
    """The moment (UTC) in which the next month begins."""
    at = at.astimezone(UTC)
    return datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)


def keep_ahead(now: datetime) -> bool:
    """Makes the partitions up to the end of the next month; False: somebody holds the table, come again."""
    until = month_after(month_after(now))
    return partitions()[-1].end >= until or patiently(lambda: _make_until(until))


def _make_until(until: datetime) -> None:
    with connection.cursor() as cursor:  # another worker may be about to
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [REST])
    end = partitions()[-1].end
    while end < until:
        make_month(end)
        end = month_after(end)


def make_month(month: datetime) -> None:
    """One partition, with what the rest holds of it; within the caller's transaction.

    The keys are each partition's own: a key of the whole table would have to contain the time of receipt.
    """
    name, end = f"{TABLE}_{month:%Y_%m}", month_after(month)
    within = f"received_at >= '{month.isoformat()}' AND received_at < '{end.isoformat()}'"
    statements = (
        f"LOCK TABLE {REST} IN ACCESS EXCLUSIVE MODE",
        *own_table(name),
        f"INSERT INTO {name} SELECT * FROM {REST} WHERE {within}",
        f"DELETE FROM {REST} WHERE {within}",
        f"ALTER TABLE {TABLE} ATTACH PARTITION {name}"
        f" FOR VALUES FROM ('{month.isoformat()}') TO ('{end.isoformat()}')",
    )
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def own_table(name: str) -> tuple[str, ...]:
    """The statements that make a table of the log's columns, with the two keys."""
    return (
        f"CREATE TABLE {name} (LIKE {TABLE} {COLUMNS})",
        f"ALTER TABLE {name} ADD PRIMARY KEY (id), ADD UNIQUE (bot_id, dedup_key)",
    )


def drop(partition: Partition, kept: Callable[[], Sequence[int]]) -> bool:
    """Drops it; the events whose keys `kept` gives (asked while nobody can write) move to the rest.

    False: somebody reads the log for long, come again.
    """
    return patiently(lambda: _drop(partition, kept))


def _drop(partition: Partition, kept: Callable[[], Sequence[int]]) -> None:
    name = partition.name
    with connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE")
        if partition not in partitions():
            return  # another worker was first
        keys = list(kept())
        cursor.execute(f"ALTER TABLE {TABLE} DETACH PARTITION {name}")
        cursor.execute(f"INSERT INTO {TABLE} SELECT * FROM {name} WHERE id = ANY(%s::bigint[])", [keys])
        cursor.execute(f"DROP TABLE {name}")


def patiently(work: Callable[[], None]) -> bool:
    """Works in a transaction; False, and nothing done, where a lock could not be had at once."""
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(PATIENCE)
            work()
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") != LOCK_NOT_AVAILABLE:
            raise
        return False
    return True
