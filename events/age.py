"""Finds rows by their time, which has no index in the big tables, but grows with the key."""

from datetime import datetime

from django.db.models import Model


def newest_before(model: type[Model], field: str, at: datetime) -> int:
    """The key of the last row older than `at`, or 0. Found by halving."""
    keys = model._default_manager.order_by("pk").values_list("pk", flat=True)
    low, high = (keys.first() or 1) - 1, keys.last() or 0
    while low < high:
        middle = (low + high + 1) // 2
        row = (
            model._default_manager.filter(pk__lte=middle, pk__gt=low)
            .order_by("-pk")
            .values_list("pk", field)
            .first()
        )
        if row is None or row[1] < at:  # None: a gap
            low = middle
        else:
            high = row[0] - 1
    return low
