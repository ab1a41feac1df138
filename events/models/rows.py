"""How a row is written where Django's own ways cost more queries, or cannot tell what they did."""

from typing import Any

from django.db import connection, models


def insert(row: models.Model, *, on_conflict: str, returning: str) -> tuple[Any, ...] | None:
    """One `INSERT ... ON CONFLICT ... RETURNING` of a row; None where the conflict left nothing to return.

    `bulk_create(ignore_conflicts=True)` cannot tell whether it inserted, and `get_or_create` takes four queries.
    """
    fields = [field for field in row._meta.concrete_fields if not field.primary_key]
    quote = connection.ops.quote_name
    values = [field.get_db_prep_save(field.pre_save(row, add=True), connection) for field in fields]
    columns = ", ".join(quote(str(field.column)) for field in fields)
    holders = ", ".join(["%s"] * len(fields))
    sql = (
        f"INSERT INTO {quote(row._meta.db_table)} AS existing ({columns}) VALUES ({holders})"  # noqa: S608
        f" ON CONFLICT {on_conflict} RETURNING {returning}"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        found: tuple[Any, ...] | None = cursor.fetchone()
    return found


def insert_once(row: models.Model) -> bool:
    """Inserts the row unless a unique key forbids it; True and `row.pk` set if it was inserted."""
    found = insert(row, on_conflict="DO NOTHING", returning="id")
    if found is None:
        return False
    row.pk = found[0]
    return True


def storable(text: str) -> str:
    """The text without what PostgreSQL cannot hold: NUL, and halves of surrogate pairs."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
