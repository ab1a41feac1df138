"""The circuit of an app: whose Feishu does not answer, or refuses its credentials, is probed at growing intervals.

While it is open one call at a time goes out, and no row's tries are used up. The first answer closes it.
"""

import logging
from datetime import datetime, timedelta

from django.db import transaction

from .codes import is_about_the_app
from .feishu import FeishuError
from .models import Bot, Circuit, OutboxItem, storable

log = logging.getLogger(__name__)

PROBE_SECONDS = (1, 2, 5, 10, 20, 40, 60)
PROBE_LEASE = timedelta(seconds=40)  # a worker that dies while it probes delays the next probe by that
# So many different rows without an answer in between: one alone that Feishu has seen may be at fault itself.
SUSPECTS = 3


def may_probe(circuit: Circuit, now: datetime) -> bool:
    """Whether the caller, and nobody else, may make one call now."""
    due = Circuit.objects.filter(pk=circuit.pk, next_probe_at__lte=now).exclude(opened_at=None)
    return bool(due.update(next_probe_at=now + PROBE_LEASE))


def probe_later(bot_id: int, now: datetime) -> None:
    """The call that was to be the probe could not be made after all: the next one may."""
    Circuit.objects.filter(pk=bot_id).exclude(opened_at=None).update(next_probe_at=now)


def answered(circuit: Circuit | None) -> None:
    """An app that had been silent has answered, be it with a refusal."""
    if circuit is None or not (circuit.suspects or circuit.opened_at):
        return
    closed = Circuit.objects.filter(pk=circuit.pk).exclude(opened_at=None).values_list("opened_at", flat=True)
    for opened_at in closed:
        log.warning("bot %s gets answers again; it got none since %s", circuit.pk, opened_at)
    Circuit.objects.filter(pk=circuit.pk).update(
        suspects=[], opened_at=None, probes=0, next_probe_at=None, error="", error_code=None
    )


def failed(item: OutboxItem, error: FeishuError, now: datetime) -> bool:
    """A call got no answer, or a refusal of the whole app; whether that is the app's fault, not the row's."""
    # What never went out cannot be the row's fault.
    refused = is_refusal(item, error) or (is_silence(error) and not error.unsure)
    Circuit.objects.bulk_create([Circuit(bot_id=item.bot_id)], ignore_conflicts=True)
    with transaction.atomic():
        circuit = Circuit.objects.select_for_update().get(pk=item.bot_id)
        if item.pk not in circuit.suspects:
            circuit.suspects = [*circuit.suspects, item.pk][-SUSPECTS:]
        if circuit.opened_at is None and (refused or len(circuit.suspects) >= SUSPECTS):
            log.error(
                "bot %s gets no usable answers, only probes go out: %s", item.bot_id, storable(error.message)
            )
            circuit.opened_at, circuit.probes = now, 0
            circuit.next_probe_at = now + timedelta(seconds=PROBE_SECONDS[0])
        elif circuit.opened_at is not None and item.is_probe:
            circuit.probes += 1
            wait = PROBE_SECONDS[min(circuit.probes, len(PROBE_SECONDS) - 1)]
            circuit.next_probe_at = now + timedelta(seconds=wait)
        circuit.error_code, circuit.error = error.code, error.message[:500]
        circuit.save()
    return circuit.opened_at is not None


def is_refusal(item: OutboxItem, error: FeishuError) -> bool:
    """Whether Feishu refuses the whole app, whatever it asks."""
    return is_about_the_app(error.code, has_many_tenants=item.bot.app_type == Bot.AppType.STORE)


def is_silence(error: FeishuError) -> bool:
    """Whether nothing that Feishu says came back: no connection, no answer in time, a proxy's page."""
    return error.code is None and not error.permanent and error.http_status != 429
