"""Claiming as a worker does, without a worker and without limits: what the tests of order and leases look at."""

from datetime import datetime

from events import lanes
from events.models import Lane, OutboxItem


def claim(limit: int, now: datetime) -> list[OutboxItem]:
    """Leases up to `limit` rows that are due at `now`, the most urgent first."""
    lanes.reclaim(now)
    lanes.line_up(now)
    items: list[OutboxItem] = []
    for priority, bot_id, call in Lane.objects.groups():
        if call and limit > len(items):
            items += lanes.claim(now, bot_id, call, priority, limit - len(items))[0]
    return items
