"""The lanes of the outbox: one row for each target that has something to be sent; what a worker claims."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.db import connection, models
from django.db.models import Q

from ..envelope import ID_LENGTH
from .bot import Bot
from .outbox import Priority

# All (bot, call, priority) that have a lane free, found by one probe of the index each, however many lanes there are.
GROUPS = """
WITH RECURSIVE step(id) AS (
    SELECT (SELECT id FROM events_lane WHERE NOT busy ORDER BY bot_id, call, priority LIMIT 1)
    UNION ALL
    SELECT (
        SELECT later.id FROM events_lane later
        WHERE NOT later.busy
          AND (later.bot_id, later.call, later.priority) > (lane.bot_id, lane.call, lane.priority)
        ORDER BY later.bot_id, later.call, later.priority LIMIT 1
    )
    FROM step JOIN events_lane lane ON lane.id = step.id
)
SELECT
    (SELECT priority FROM events_lane lane WHERE lane.id = step.id),
    (SELECT bot_id FROM events_lane lane WHERE lane.id = step.id),
    (SELECT call FROM events_lane lane WHERE lane.id = step.id)
FROM step WHERE id IS NOT NULL ORDER BY 1, 2, 3
"""


class LaneQuerySet(models.QuerySet["Lane"]):
    def groups(self) -> list[tuple[int, int, str]]:
        """`(priority, bot id, call)` of the lanes that are free, the most urgent first."""
        with connection.cursor() as cursor:
            cursor.execute(GROUPS)
            return [(int(priority), int(bot), str(call)) for priority, bot, call in cursor.fetchall()]

    def due(self, now: datetime, bot_id: int, call: str, priority: int) -> LaneQuerySet:
        """The free lanes of one group whose next call may be made now, the longest waiting first."""
        free = self.filter(busy=False, bot=bot_id, call=call, priority=priority, due_at__lte=now)
        return free.order_by("due_at")


class Lane(models.Model):
    """What is to be sent to one target by one bot, in order, one call at a time.

    The rows of the outbox say what; the lane says which call is next, how urgent the most urgent row is, and when.
    A lane whose `call` is empty has nothing more to send and is about to be deleted.
    """

    bot = models.ForeignKey(Bot, models.CASCADE, related_name="lanes", db_index=False)
    target = models.CharField(max_length=ID_LENGTH)
    call = models.CharField(max_length=40, blank=True)
    priority = models.PositiveSmallIntegerField(choices=Priority.choices)
    due_at = models.DateTimeField()  # of a busy lane: when the lease ends
    busy = models.BooleanField(default=False)
    lease = models.CharField(max_length=40, blank=True)  # by which claim it is busy
    # When the last calls were answered that count towards a limit of the chat or message: {what: [seconds]}.
    answered = models.JSONField(default=dict)

    objects: ClassVar[LaneQuerySet] = LaneQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = (models.UniqueConstraint(fields=("bot", "target"), name="one_lane_per_target"),)
        indexes = (
            models.Index(
                fields=("bot", "call", "priority", "due_at"), condition=Q(busy=False), name="lane_due"
            ),
            models.Index(fields=("target",), name="lane_of_target"),
        )

    def __str__(self) -> str:
        return self.target
