"""The event log's list among 10,000 and among 1,000,000 events, beside Django's stock list of the same table."""

import json
from collections.abc import Mapping

import psycopg

from bench.fill import copy_row
from bench.report import Row, Section
from bench.servers import durable_postgres, first_rows, probe, set_up

FEW, MANY = 10_000, 1_000_000
ROUNDS = 15
# What the worker would have made searchable by now: each row says in which stretch of the log it stands.
READ = r"""
INSERT INTO events_eventtext (event_id, text, tokens)
SELECT event.id, known.text,
    regexp_replace(known.tokens, ' f\d+ c\d+$', format(' f%%s c%%s', event.id / 8192, event.id / 65536))
FROM events_event event, events_eventtext known
WHERE known.event_id = %(first)s AND event.id > (SELECT max(event_id) FROM events_eventtext)
"""
DEEP_GOAL = 1.5


def run() -> Section:
    address = durable_postgres()
    env = set_up(address)
    first, _ = first_rows(env)
    few = _timed(address, env, first, FEW, 0)
    many = _timed(address, env, first, MANY - FEW, FEW)
    rows = [Row(name, f"{few[name]:.0f} ms / {many[name]:.0f} ms") for name in few]
    ratio = many["deep page"] / few["first page"]
    rows.append(
        Row(
            "deep page among 1,000,000 : first page among 10,000",
            f"{ratio:.2f}",
            f"<= {DEEP_GOAL}",
            ratio <= DEEP_GOAL,
        )
    )
    how = (
        f"The median time of a page of 50 among {FEW:,} / {MANY:,} events on PostgreSQL, in one process, through all of"
        " Django; “stock” is a plain ModelAdmin of the same table."
    )
    return Section("The event log", how, rows)


def _timed(address: str, env: Mapping[str, str], first: int, count: int, start: int) -> dict[str, float]:
    with psycopg.connect(address, autocommit=True) as connection:
        number = f"(number + {start})"
        changed = {
            "event_id": f"'ev_' || {number}",
            "dedup_key": f"'ev_' || {number}",
            "chat_id": f"'oc_' || {number} % 500",
            "actor_open_id": f"'ou_' || {number} % 5000",
            "status": f"CASE WHEN {number} % 1000 = 0 THEN 'failed' ELSE 'ignored' END",
            "received_at": f"now() - ({MANY} - {number}) * interval '1 second'",
            "created_at": f"now() - ({MANY} - {number}) * interval '1 second'",
        }
        copy_row(connection, "events_event", first, count, changed)
        connection.execute(READ, {"first": first})
        connection.execute("VACUUM ANALYZE events_event")
        connection.execute("VACUUM ANALYZE events_eventtext")
    measured: dict[str, float] = json.loads(probe(env, "lists", ROUNDS).splitlines()[-1])
    return measured
