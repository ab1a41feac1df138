"""Large tables in seconds: one row copied many times within PostgreSQL."""

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import sql


def copy_row(
    connection: psycopg.Connection[Any], table: str, key: int, count: int, changed: Mapping[str, str]
) -> None:
    """`count` copies of a row; `changed` gives columns an SQL expression, in which `number` counts from 1."""
    found = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = %s AND column_name <> 'id'",
        [table],
    )
    names = [name for (name,) in found]
    statement = sql.SQL(
        "INSERT INTO {table} ({names}) SELECT {values} FROM {table} AS original, generate_series(1, {count}) AS number"
        " WHERE original.id = {key} ORDER BY number"
    ).format(
        table=sql.Identifier(table),
        names=sql.SQL(", ").join(map(sql.Identifier, names)),
        values=sql.SQL(", ").join(sql.SQL(changed.get(name, f"original.{name}")) for name in names),
        count=sql.Literal(count),
        key=sql.Literal(key),
    )
    connection.execute(statement)
