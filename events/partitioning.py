"""How an event log becomes one in partitions: the table that is there becomes the first of them, and is not copied.

Used by `manage.py partition_events` alone; docs/decisions/0016 says why things are as they are. All SQL here is made
of constants, of months and of what PostgreSQL says about its own tables.
"""

# ruff: noqa: S608

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import connection

from .partitions import (
    COLUMNS,
    RECEIVE,
    REST,
    TABLE,
    is_partitioned,
    make_month,
    month_after,
    own_table,
    patiently,
)

MARGIN = timedelta(days=2)  # so close to the end of a month the next one is taken
BOUND = f"{TABLE}_until"
NEW = f"{TABLE}_by_month"
PAUSE_SECONDS = 1
REFERRING = {"events_outboxitem": "cause_id", "events_eventtext": "event_id"}
Rows = list[tuple[Any, ...]]
NAME_LENGTH = 63

_REFERENCES = f"""SELECT conrelid::regclass::text, conname FROM pg_constraint
    WHERE confrelid = '{TABLE}'::regclass AND contype = 'f' ORDER BY 1, 2"""
_FOREIGN_KEYS = f"""SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid = '{TABLE}'::regclass AND contype = 'f'"""
_INDEXES = f"""SELECT relname, pg_get_indexdef(indexrelid), indisunique FROM pg_index
    JOIN pg_class ON pg_class.oid = indexrelid WHERE indrelid = '{TABLE}'::regclass"""
_SIZE = f"""SELECT sum(GREATEST(reltuples, 0))::bigint, sum(pg_total_relation_size(oid))::bigint FROM pg_class
    WHERE relkind = 'r' AND (oid = '{TABLE}'::regclass
        OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = '{TABLE}'::regclass))"""
# A unique key cannot span the partitions, so a lock on each event's key stands for it: whoever waited for another
# copy's transaction sees its row in the next statement of the function. The locks are taken in order, or two batches
# would wait for each other. In a function, because PostgreSQL keeps its plans: planning for all partitions costs
# more than the rest. It names no column that is only stored, so a migration may add some.
_RECEIVE = f"""CREATE FUNCTION {RECEIVE}(arrivals jsonb, times_kept integer) RETURNS SETOF {TABLE}
LANGUAGE plpgsql AS $$
DECLARE
    arrived {TABLE};
    stored {TABLE};
BEGIN
    PERFORM pg_advisory_xact_lock(number) FROM (
        SELECT DISTINCT hashtextextended(bot_id || ' ' || dedup_key, 0) AS number
        FROM jsonb_to_recordset(arrivals) AS keys (bot_id bigint, dedup_key text) ORDER BY number) AS sorted;
    FOR arrived IN SELECT * FROM jsonb_populate_recordset(NULL::{TABLE}, arrivals) LOOP
        UPDATE {TABLE} AS known SET deliveries = known.deliveries + 1,
            delivery_times = CASE WHEN known.deliveries < times_kept
                THEN known.delivery_times || arrived.delivery_times ELSE known.delivery_times END
        WHERE known.bot_id = arrived.bot_id AND known.dedup_key = arrived.dedup_key RETURNING known.* INTO stored;
        IF NOT FOUND THEN
            arrived.id := nextval(pg_get_serial_sequence('{TABLE}', 'id'));
            INSERT INTO {TABLE} SELECT arrived.* RETURNING * INTO stored;
        END IF;
        RETURN NEXT stored;
    END LOOP;
END $$"""


@dataclass(frozen=True)
class Plan:
    """What the conversion will do: nothing is changed by making one."""

    bound: datetime
    rows: int
    size: int
    references: Sequence[tuple[str, str]]

    @property
    def old(self) -> str:
        """What the table that is there will be called."""
        return f"{TABLE}_before_{self.bound:%Y_%m}"


def obstacle(*, undo: bool = False) -> str:
    """Why the log cannot be partitioned, or no longer be, in words; "" if it can."""
    if connection.vendor != "postgresql":
        return "Only PostgreSQL has partitions; on SQLite, old events are deleted in batches."
    is_partitioned.cache_clear()
    if undo:
        return "" if is_partitioned() else "The event log is not partitioned."
    return (
        "The event log is partitioned already; the worker makes the next months." if is_partitioned() else ""
    )


def plan(now: datetime) -> Plan:
    rows, size = _ask(_SIZE)[0]
    return Plan(month_after(now + MARGIN), rows, size, _ask(_REFERENCES))


def convert(planned: Plan) -> Iterator[str]:
    """Does it; says before each step what it is. Events are received all the while, but for the exchange."""
    yield "checking that every event is older than the first new month; events go on coming in"
    try:
        yield from _insist(partial(_run, _bound_of(planned.bound)))
        _run([f"ALTER TABLE {TABLE} VALIDATE CONSTRAINT {BOUND}"])
        yield "exchanging the tables; events that come in wait for a moment"
        yield from _insist(partial(_exchange, planned))
    except BaseException:
        # Left there, it would refuse the events of the next month.
        for _again in _insist(partial(_run, [f"ALTER TABLE {TABLE} DROP CONSTRAINT IF EXISTS {BOUND}"])):
            continue
        raise
    is_partitioned.cache_clear()
    yield "telling the planner about the new tables"
    _run([f"ANALYZE {TABLE}"])


def revert() -> Iterator[str]:
    """Back to one table: all events are copied, and nobody can read or write the log while that lasts."""
    yield "copying all events into one table; nothing is received before it is done"
    yield from _insist(_copy_back)
    is_partitioned.cache_clear()
    yield "telling the planner about the new table"
    _run([f"ANALYZE {TABLE}"])


def _insist(work: Callable[[], None]) -> Iterator[str]:
    """Tries until the locks could be had, a moment each time, and lets everyone else through between."""
    while not patiently(work):
        yield "somebody holds the event log for long; trying again"
        time.sleep(PAUSE_SECONDS)


def _bound_of(bound: datetime) -> Sequence[str]:
    """A constraint from which PostgreSQL will know the old table's bound: else it would look, while everybody waits."""
    return (
        f"ALTER TABLE {TABLE} DROP CONSTRAINT IF EXISTS {BOUND}",
        f"ALTER TABLE {TABLE} ADD CONSTRAINT {BOUND} CHECK (received_at < '{bound.isoformat()}') NOT VALID",
    )


def _exchange(planned: Plan) -> None:
    _lock(table for table, _name in planned.references)
    number, foreign_keys, indexes = _next_number(), _ask(_FOREIGN_KEYS), _ask(_INDEXES)
    _run(
        [
            *(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"' for table, name in planned.references),
            f"CREATE TABLE {NEW} (LIKE {TABLE} {COLUMNS}) PARTITION BY RANGE (received_at)",
            f"ALTER TABLE {NEW} DROP CONSTRAINT {BOUND}",
            f"ALTER TABLE {TABLE} ALTER COLUMN id DROP IDENTITY",
            *(f'ALTER INDEX "{name}" RENAME TO "{_renamed(name)}"' for name, _, _ in indexes),
            f"ALTER TABLE {TABLE} RENAME TO {planned.old}",
            f"ALTER TABLE {NEW} RENAME TO {TABLE}",
            *_completed(number, foreign_keys, indexes),
            f"ALTER TABLE {TABLE} ATTACH PARTITION {planned.old}"
            f" FOR VALUES FROM (MINVALUE) TO ('{planned.bound.isoformat()}')",
            f"ALTER TABLE {planned.old} DROP CONSTRAINT {BOUND}",
            *own_table(REST),
            f"ALTER TABLE {TABLE} ATTACH PARTITION {REST} DEFAULT",
        ]
    )
    make_month(planned.bound)
    _run([_RECEIVE])


def _copy_back() -> None:
    _lock(REFERRING)
    number, foreign_keys, indexes = _next_number(), _ask(_FOREIGN_KEYS), _ask(_INDEXES)
    nowhere = f"NOT EXISTS (SELECT FROM {TABLE} AS event WHERE event.id = "
    _run(
        [
            f"CREATE TABLE {NEW} (LIKE {TABLE} {COLUMNS})",
            f"INSERT INTO {NEW} SELECT * FROM {TABLE}",
            f"DROP FUNCTION {RECEIVE}(jsonb, integer)",
            f"DROP TABLE {TABLE}",
            f"ALTER TABLE {NEW} RENAME TO {TABLE}",
            f"ALTER TABLE {TABLE} ADD CONSTRAINT {TABLE}_pkey PRIMARY KEY (id),"
            " ADD CONSTRAINT event_handled_once UNIQUE (bot_id, dedup_key)",
            *_completed(number, foreign_keys, indexes),
            f"DELETE FROM events_eventtext WHERE {nowhere}events_eventtext.event_id)",
            f"UPDATE events_outboxitem SET cause_id = NULL WHERE {nowhere}events_outboxitem.cause_id)",
            *(
                f"ALTER TABLE {table} ADD FOREIGN KEY ({column}) REFERENCES {TABLE} (id) DEFERRABLE INITIALLY DEFERRED"
                for table, column in REFERRING.items()
            ),
        ]
    )


def _lock(referring: Iterable[str]) -> None:
    _run([f"LOCK TABLE {', '.join([TABLE, *sorted(set(referring))])} IN ACCESS EXCLUSIVE MODE"])


def _next_number() -> int:
    ((sequence,),) = _ask(f"SELECT pg_get_serial_sequence('{TABLE}', 'id')")
    ((last,),) = _ask(f"SELECT last_value FROM {sequence}")
    return int(last) + 1


def _completed(number: int, foreign_keys: Rows, indexes: Rows) -> Iterator[str]:
    """The statements that give the new table what the old one had, but for the keys."""
    yield (
        f"ALTER TABLE {TABLE} ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY"
        f" (SEQUENCE NAME {TABLE}_id_seq START WITH {number})"
    )
    yield from (f'ALTER TABLE {TABLE} ADD CONSTRAINT "{name}" {text}' for name, text in foreign_keys)
    yield from (text.replace(" ON ONLY ", " ON ") for _, text, unique in indexes if not unique)


def _renamed(index: str) -> str:
    ending = "_before"
    return index[: NAME_LENGTH - len(ending)] + ending


def _ask(question: str) -> Rows:
    with connection.cursor() as cursor:
        cursor.execute(question)
        rows: Rows = cursor.fetchall()
    return rows


def _run(statements: Sequence[str]) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
