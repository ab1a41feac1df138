"""How rows are written where Django's own ways cost more queries, or cannot tell what they did."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import psycopg
from django.db import connection, models

BIGGEST_KEY = 2**63 - 1


def insert_all(
    model: type[models.Model], rows: Sequence[Mapping[str, Any]], *, on_conflict: str, returning: str
) -> list[tuple[Any, ...]]:
    """One `INSERT ... ON CONFLICT ... RETURNING` for all rows, each {attname: JSON or datetime} without the key.

    The rows travel as one JSON array: one parameter and one statement, however many there are. Columns that a row
    leaves out take their field's default. `existing` names the row that is in the way.
    """
    with prepared_cursor() as cursor:
        cursor.execute(_statement(model, connection.vendor, on_conflict, returning), [as_json(model, rows)])
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def as_json(model: type[models.Model], rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as one JSON array, with their fields' defaults."""
    defaults = _defaults(model)
    return json.dumps([{**defaults, **row} for row in rows], default=_time_text)


def prepared_cursor() -> Any:
    """A cursor for the statements of every event: PostgreSQL parses and plans each once a connection.

    Django's own cursors write the values into the statement, which is then new to PostgreSQL every time; planning
    an insert of thirty columns costs more than making it.
    """
    if connection.vendor != "postgresql":
        return connection.cursor()
    connection.ensure_connection()
    cursor: Any = _PreparingCursor(connection.connection)
    return (
        connection.make_debug_cursor(cursor) if connection.queries_logged else connection.make_cursor(cursor)
    )


class _PreparingCursor(psycopg.Cursor[Any]):
    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        return super().execute(query, params, **{**options, "prepare": True})


@cache
def _statement(model: type[models.Model], vendor: str, on_conflict: str, returning: str) -> str:
    """PostgreSQL and SQLite differ in how a JSON array becomes rows."""
    quote = connection.ops.quote_name
    fields = _fields(model)
    columns = ", ".join(quote(str(field.column)) for field in fields)
    if vendor == "postgresql":
        types = ", ".join(f"{quote(field.attname)} {field.db_type(connection)}" for field in fields)
        source = f"SELECT {', '.join(quote(field.attname) for field in fields)} FROM jsonb_to_recordset(%s::jsonb) AS arrived ({types})"  # noqa: E501, S608
    else:
        values = ", ".join(_sqlite_value(field) for field in fields)
        source = f"SELECT {values} FROM json_each(%s) WHERE true"  # noqa: S608 (WHERE: or ON would mean a join)
    return (
        f"INSERT INTO {quote(model._meta.db_table)} AS existing ({columns}) {source}"
        f" ON CONFLICT {on_conflict} RETURNING {returning}"
    )


def _sqlite_value(field: Any) -> str:
    value = f"json_extract(value, '$.{field.attname}')"
    # A column that holds JSON keeps its text with the quotes; null is no value.
    return f"NULLIF(json_quote({value}), 'null')" if isinstance(field, models.JSONField) else value


@cache
def _fields(model: type[models.Model]) -> tuple[Any, ...]:
    return tuple(field for field in model._meta.concrete_fields if not field.primary_key)


@cache
def _defaults(model: type[models.Model]) -> Mapping[str, Any]:
    return {field.attname: field.get_default() for field in _fields(model)}


def _time_text(value: datetime) -> str:
    if connection.vendor == "postgresql":
        return value.isoformat()
    return str(connection.ops.adapt_datetimefield_value(value))


def insert_once(row: models.Model) -> bool:
    """Inserts the row unless a unique key forbids it; True and `row.pk` set if it was inserted.

    `bulk_create(ignore_conflicts=True)` cannot tell whether it inserted, and `get_or_create` takes four queries.
    """
    values = {
        field.attname: field.get_prep_value(field.pre_save(row, add=True)) for field in _fields(type(row))
    }
    found = insert_all(type(row), [values], on_conflict="DO NOTHING", returning="id")
    if found:
        row.pk = found[0][0]
    return bool(found)


def storable(text: str) -> str:
    """The text without what PostgreSQL cannot hold: NUL, and halves of surrogate pairs."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
