"""The time by the database's clock: what all machines agree on when one machine's own clock is off."""

import threading
import time
from datetime import UTC, datetime

from django.db import connection
from django.utils import timezone

MEASURE_AGAIN_SECONDS = 10
MEASURED_TIMES = 4  # the quickest answer tells best
GOOD_SECONDS, MEASURED_AT_MOST = 0.002, 16  # a busy machine is asked more often

_lock = threading.Lock()
_offset = 0.0  # what the database's clock shows more than our monotonic one
_measured_at = -MEASURE_AGAIN_SECONDS * 1.0


def now() -> datetime:
    """The database's time; asked for every few seconds, counted on by the monotonic clock in between."""
    global _offset, _measured_at
    if connection.vendor != "postgresql":
        return timezone.now()  # SQLite's clock is this machine's
    with _lock:
        if time.monotonic() - _measured_at >= MEASURE_AGAIN_SECONDS:
            _offset, _measured_at = _measure(), time.monotonic()
        return datetime.fromtimestamp(time.monotonic() + _offset, UTC)


def _measure() -> float:
    best = min(_ask() for _ in range(MEASURED_TIMES))
    for _ in range(MEASURED_AT_MOST - MEASURED_TIMES):
        if best[0] > GOOD_SECONDS:
            best = min(best, _ask())
    _took, offset = best
    return offset


def _ask() -> tuple[float, float]:
    """How long the database took to answer, and what its clock shows more than ours: off by half of that at most."""
    before = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
        (seconds,) = cursor.fetchone()
    after = time.monotonic()
    return after - before, float(seconds) - (before + after) / 2
