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
        prepared = {**options, "prepare": True}
        try:
            return super().execute(query, params, **prepared)
        except psycopg.errors.FeatureNotSupported:  # a migration has changed the type of what it returns
            if self.connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                raise  # the rollback forgets all that was prepared
            self.connection.execute("DEALLOCATE ALL")
            return super().execute(query, params, **prepared)


@cache
def _statement(model: type[models.Model], vendor: str, on_conflict: str, returning: str) -> str:
    quote = connection.ops.quote_name
    fields = _fields(model)
    columns = ", ".join(quote(str(field.column)) for field in fields)
    return (
        f"INSERT INTO {quote(model._meta.db_table)} AS existing ({columns}) {_arrived(fields, vendor)}"
        f" ON CONFLICT {on_conflict} RETURNING {returning}"
    )


def _arrived(fields: Sequence[Any], vendor: str) -> str:
    """The SELECT of a JSON array's rows; PostgreSQL and SQLite differ in how one becomes the other."""
    quote = connection.ops.quote_name
    names = [quote(field.attname) for field in fields]
    if vendor == "postgresql":
        types = [f"{name} {field.db_type(connection)}" for name, field in zip(names, fields, strict=True)]
        return f"SELECT {', '.join(names)} FROM jsonb_to_recordset(%s::jsonb) AS arrived ({', '.join(types)})"  # noqa: S608
    values = [f"{_sqlite_value(field)} AS {name}" for name, field in zip(names, fields, strict=True)]
    return f"SELECT {', '.join(values)} FROM json_each(%s) WHERE true"  # noqa: S608 (WHERE: or ON would mean a join)


def update_all(rows: Sequence[models.Model], fields: Sequence[str], key: Sequence[str] = ("id",)) -> None:
    """One `UPDATE` that writes these columns of rows of one model, each found by the columns of `key`."""
    if not rows:
        return
    model = type(rows[0])
    values = [{name: getattr(row, name) for name in (*key, *fields)} for row in rows]
    with prepared_cursor() as cursor:
        statement = _update_statement(model, connection.vendor, tuple(fields), tuple(key))
        cursor.execute(statement, [json.dumps(values, default=_time_text)])


@cache
def _update_statement(
    model: type[models.Model], vendor: str, fields: tuple[str, ...], key: tuple[str, ...]
) -> str:
    quote = connection.ops.quote_name
    changes = ", ".join(f"{quote(name)} = changed.{quote(name)}" for name in fields)
    same = " AND ".join(f"existing.{quote(name)} = changed.{quote(name)}" for name in key)
    if vendor == "postgresql":
        # It takes any JSON for 100 rows, would read a small table as a whole for them, and keep to that while the table
        # grows. A condition of which it knows nothing makes it expect one row, and look each up by its key.
        same += f" AND changed.{quote(key[0])} %% 1 = 0"
    arrived = _arrived([model._meta.get_field(name) for name in (*key, *fields)], vendor)
    return f"UPDATE {quote(model._meta.db_table)} AS existing SET {changes} FROM ({arrived}) AS changed WHERE {same}"  # noqa: S608


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
    found = _insert([row])
    if found:
        row.pk = found[0][0]
    return bool(found)


def insert_new(rows: Sequence[models.Model]) -> None:
    """Inserts rows of one model in one statement, without those that a unique key forbids; sets no `pk`."""
    if rows:
        _insert(rows)


def _insert(rows: Sequence[models.Model]) -> list[tuple[Any, ...]]:
    model = type(rows[0])
    values = [
        {field.attname: field.get_prep_value(field.pre_save(row, add=True)) for field in _fields(model)}
        for row in rows
    ]
    return insert_all(model, values, on_conflict="DO NOTHING", returning="id")


def storable(text: str) -> str:
    """The text without what PostgreSQL cannot hold: NUL, and halves of surrogate pairs."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
