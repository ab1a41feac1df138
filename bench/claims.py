"""What it costs a worker to find its next calls, in an empty outbox and in a full one."""

import psycopg

from bench.fill import copy_row
from bench.report import Row, Section
from bench.servers import durable_postgres, first_rows, probe, set_up

# Rows that were sent, rows that wait (over 20,000 chats).
SIZES = ((0, 1_000), (100_000, 1_000), (1_000_000, 1_000), (1_000_000, 100_000))
ROUNDS = 60
FLAT = 1.5


def run() -> Section:
    address = durable_postgres()
    env = set_up(address)
    _, first = first_rows(env)
    took = [_claim(address, env, first, sent, waiting) for sent, waiting in SIZES]
    rows = [
        Row(f"{sent:,} sent, {waiting:,} waiting", f"{milliseconds:.1f} ms")
        for (sent, waiting), milliseconds in zip(SIZES, took, strict=True)
    ]
    ratio = took[-1] / took[0]
    rows.append(Row("the fullest : the emptiest", f"{ratio:.2f}", f"<= {FLAT}", ratio <= FLAT))
    how = f"The median of {ROUNDS} claims of 16 calls on PostgreSQL, each rolled back."
    return Section("Claiming", how, rows)


def _claim(address: str, env: dict[str, str], first: int, sent: int, waiting: int) -> float:
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("DELETE FROM events_lane")
        connection.execute("DELETE FROM events_outboxitem WHERE id <> %s", [first])
        for status, count in (("sent", sent), ("pending", waiting)):
            target = "'oc_' || number % 20000"
            changed = {
                "key": f"'{status}' || number",
                "target": target,
                "status": f"'{status}'",
                "lined_up": "false",
            }
            copy_row(connection, "events_outboxitem", first, count, changed)
        connection.execute("VACUUM ANALYZE events_outboxitem")
    return float(probe(env, "claim", ROUNDS))
