"""`python -m bench.partitions [rows]`: what the event log's partitions cost and save (docs/scaling.md).

Not part of `make bench`: nothing here has a goal, and it fills a table of its own for minutes.
"""

import json
import sys

import psycopg

from bench.eventlog import READ
from bench.fill import copy_row
from bench.report import Row, Section
from bench.servers import durable_postgres, first_rows, probe, set_up

MANY = 1_000_000


def run(count: int = MANY) -> Section:
    address = durable_postgres()
    env = set_up(address)
    first, _ = first_rows(env)
    with psycopg.connect(address, autocommit=True) as connection:
        changed = {"event_id": "'ev_' || number", "dedup_key": "'ev_' || number"}
        changed |= {"chat_id": "'oc_' || number % 500", "actor_open_id": "'ou_' || number % 5000"}
        changed["received_at"] = f"now() - ({count} - number) * interval '1 second'"
        copy_row(connection, "events_event", first, count, changed)
        connection.execute(READ, {"first": first})
        connection.execute("VACUUM ANALYZE events_event")
        connection.execute("VACUUM ANALYZE events_eventtext")
    measured: dict[str, str] = json.loads(probe(env, "partitions").splitlines()[-1])
    how = f"{count:,} events on PostgreSQL with fsync, one process; before / after `manage.py partition_events`."
    return Section(
        "The event log in partitions", how, [Row(what, result) for what, result in measured.items()]
    )


if __name__ == "__main__":
    print(run(int(sys.argv[1]) if sys.argv[1:] else MANY).as_markdown())
