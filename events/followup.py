"""What goes on after a call has ended: the next step of a chain. The row remembers that it must, so a crash at any
point goes on where it was."""

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache
from importlib import import_module

from django.conf import settings
from django.db import transaction

from . import clock
from .models import OutboxItem

log = logging.getLogger(__name__)

AGAIN_AFTER = timedelta(seconds=15)

Step = Callable[[OutboxItem], None]


@cache
def routes() -> Mapping[str, Step]:
    """`RESULT_ROUTES` of the composing package: {step: handler of a row that is SENT or FAILED}."""
    table: Mapping[str, Step] = import_module(settings.ROUTES_MODULE).RESULT_ROUTES
    return table


def follow_up(item_pk: int) -> bool:
    """Runs the next step of one ended row, once; False if it has not ended, or was followed up already.

    A step that raises is rolled back and tried again after AGAIN_AFTER, for ever: it is our code, and what waits
    for it (an incident's chat without its card) must not be given up.
    """
    try:
        with transaction.atomic():
            rows = OutboxItem.objects.to_follow_up(clock.now() + AGAIN_AFTER)
            item = (
                rows.select_for_update(skip_locked=True, of=("self",))
                .select_related("bot")
                .filter(pk=item_pk)
                .first()
            )
            if item is None:
                return False
            routes()[item.step](item)
            # A step may have queued the same row once more; then there is an end to wait for again.
            OutboxItem.objects.filter(pk=item.pk, status=item.status).exclude(
                status=OutboxItem.Status.PENDING
            ).update(followed_up=True)
    except Exception:
        log.exception(
            "step %s of outbox item %s failed; it is tried again",
            OutboxItem.objects.get(pk=item_pk).step,
            item_pk,
        )
        OutboxItem.objects.filter(pk=item_pk).update(next_attempt_at=clock.now() + AGAIN_AFTER)
        return False
    return True


def sweep_follow_ups(limit: int = 100) -> int:
    """Goes on with chains that a crash or an error interrupted; called by the worker."""
    due = OutboxItem.objects.to_follow_up(clock.now()).values_list("pk", flat=True)[:limit]
    return sum(follow_up(item_pk) for item_pk in list(due))
