"""A bot's rhythm: how many events its own past weeks let expect of a silence. Pure figures, and their counting."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median

from django.db.models import Count, Max
from django.db.models.functions import TruncHour

from .models import HOURS_KEPT, Bot, Counted, Event, Hearing, HourCount

HOUR = timedelta(hours=1)
WEEK_HOURS = 168
WEEKS = 4
# An hour with far more events than the bot's usual hour is counted as this many times the usual one: a flood of
# last week is not what is expected this week.
FLOOD = 10
ENOUGH = 20  # events that must be missing at least
LONGER = 2  # ... and how many times as many as in the longest silence but one that turned out well
WINDOW = 20_000  # events counted by one query
SETTLED = timedelta(
    seconds=10
)  # rows of transactions that are still open have smaller numbers than seen ones


@dataclass(frozen=True)
class Rhythm:
    """What is usual for each hour of the week, and the longest silences before now, in events missed."""

    usual: tuple[float, ...]
    threshold: float

    def expected(self, since: datetime, now: datetime) -> float:
        """How many events are usual between two times (of at most five weeks)."""
        now = min(now, since + HOURS_KEPT)
        first = since.replace(minute=0, second=0, microsecond=0)
        total, hour = 0.0, first
        while hour < now:
            part = (min(hour + HOUR, now) - max(hour, since)) / HOUR
            total += part * self.usual[hour_of_week(hour)]
            hour += HOUR
        return total


def hour_of_week(hour: datetime) -> int:
    return int(hour.timestamp() // 3600) % WEEK_HOURS


def rhythm(counts: Mapping[datetime, int], learned_since: datetime, heard_at: datetime) -> Rhythm | None:
    """The rhythm of the up to four whole weeks before `heard_at`; None while there is not one whole week."""
    end = heard_at.replace(minute=0, second=0, microsecond=0)
    weeks = min(WEEKS, int((end - learned_since) / timedelta(weeks=1)))
    if weeks < 1:
        return None
    hours = [end - HOUR * number for number in range(weeks * WEEK_HOURS, 0, -1)]
    most = FLOOD * median([count for count in counts.values() if count] or [0])
    capped = [min(counts.get(hour, 0), most) for hour in hours]
    usual = [0.0] * WEEK_HOURS
    for hour, count in zip(hours, capped, strict=True):
        usual[hour_of_week(hour)] += count / weeks
    return Rhythm(tuple(usual), max(ENOUGH, LONGER * _long_silence(hours, capped, usual)))


def _long_silence(hours: list[datetime], counts: list[float], usual: list[float]) -> float:
    """The longest silence but one of the past, in events missed: the longest may have been a real deafness."""
    silences, missed = [0.0], 0.0
    for hour, count in zip(hours, counts, strict=True):
        if count:
            silences.append(missed)
        missed = 0.0 if count else missed + usual[hour_of_week(hour)]
    return sorted([*silences, missed])[-2]


def count_new(counted: Counted, now: datetime, *, windows: int = 5, window: int = WINDOW) -> int:
    """Adds the events received since the last time to their hours; returns how many rows it looked at.

    For whoever holds the lock. Events that an operator made up are no hearing.
    """
    settled = Event.objects.filter(received_at__lte=now - SETTLED).order_by("-pk")
    newest = settled.values_list("pk", flat=True).first() or 0
    before = counted.events_to
    while windows and counted.events_to < newest:
        up_to = min(counted.events_to + window, newest)
        _count(counted.events_to, up_to, now)
        counted.events_to = up_to
        windows -= 1
    if counted.events_to != before:
        counted.save(update_fields=["events_to"])
    return counted.events_to - before


def _count(above: int, up_to: int, now: datetime) -> None:
    real = Event.objects.filter(pk__gt=above, pk__lte=up_to, transport__in=Bot.Transport.values)
    rows = (
        real.order_by()
        .annotate(hour=TruncHour("received_at", tzinfo=UTC))
        .values("bot", "hour")
        .annotate(count=Count("pk"), newest=Max("received_at"))
    )
    for row in rows:
        if row["hour"] > now - HOURS_KEPT:
            HourCount.objects.add(row["bot"], row["hour"], row["count"])
        hearing, _ = Hearing.objects.get_or_create(bot_id=row["bot"], defaults={"learned_since": row["hour"]})
        hearing.learned_since = min(hearing.learned_since or row["hour"], row["hour"])
        hearing.heard_at = max(hearing.heard_at or row["newest"], row["newest"])
        hearing.save(update_fields=["learned_since", "heard_at"])
        HourCount.objects.filter(bot=row["bot"], hour__lt=hearing.heard_at - HOURS_KEPT).delete()


def rhythm_of(hearing: Hearing) -> Rhythm | None:
    """The rhythm of a bot before its last event; one query."""
    if hearing.heard_at is None or hearing.learned_since is None:
        return None
    since = hearing.heard_at - HOURS_KEPT
    counts = dict(HourCount.objects.filter(bot=hearing.bot_id, hour__gte=since).values_list("hour", "events"))
    return rhythm(counts, hearing.learned_since, hearing.heard_at)
