"""Putting an incident away: everything is exported, and only then the chat is dissolved or left.

ask -> export (a job of the worker) -> export_ended queues the call -> on_gone writes the end of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from events import outbox
from events.models import OutboxItem

from . import chat

if TYPE_CHECKING:
    from .models import Actor, Export, Incident

STEP = "incident.archive"


@transaction.atomic
def ask(incident: Incident, by: Actor, *, disband: bool, accept_gaps: bool = False) -> Export:
    """Begins it. Raises StepError while the incident is unresolved.

    With `accept_gaps` the chat goes even if the export could not get everything: that is lost with the chat.
    """
    from .models import Export, StepError, TimelineEntry

    now = type(incident).objects.select_for_update().get(pk=incident.pk)
    if now.status != now.Status.RESOLVED:
        raise StepError(now)
    under_way = Export.objects.filter(incident=now, status__in=Export.UNFINISHED).exclude(then="").first()
    if under_way is not None:
        return under_way
    then = Export.Then.DISBAND if disband else Export.Then.LEAVE
    with chat.language_of_the_chat():
        words = (
            _("Archive: export, then dissolve the chat")
            if disband
            else _("Archive: export, then leave the chat")
        )
        now.write(TimelineEntry.Kind.CHAT, by, text=words)
    return Export.objects.ask(now, by, then=then, accept_gaps=accept_gaps)


def export_ended(export: Export) -> None:
    """An export is done or has failed for good; called in the transaction that says so."""
    if not export.then:
        return
    # Locked before it is looked at: reopening at this moment must find the row, or be seen here.
    incident = type(export.incident).objects.select_for_update(of=("self",)).select_related("bot").get(
        pk=export.incident_id
    )  # fmt: skip
    with chat.language_of_the_chat():
        if reason := _obstacle(incident, export):
            chat.record(incident, _("Not archived: %s") % reason)
        elif not _chat_stands(incident):
            _archived(incident, export, _("exported; there is no chat any more"))
        else:
            _queue(incident, export)


def _obstacle(incident: Incident, export: Export) -> str:
    """Why the chat must stay; "" if it may go."""
    if export.status != export.Status.DONE:
        return _("the export failed: %s") % export.error
    if incident.status != incident.Status.RESOLVED:
        return _("the incident was opened again")
    if export.missing and _chat_stands(incident) and not export.accept_gaps:
        return _("the export is not complete: %s") % "; ".join(export.missing)[:300]
    return ""


def _chat_stands(incident: Incident) -> bool:
    return bool(incident.chat_id) and not incident.chat_gone


def _queue(incident: Incident, export: Export) -> None:
    call = outbox.dissolve_chat if export.then == export.Then.DISBAND else outbox.leave_chat
    key = f"inc:{incident.key}:archive:{export.pk}"
    call(incident.bot, chat_id=incident.chat_id, key=key, step=STEP, subject=export)


def call_off(incident: Incident) -> None:
    """The incident is opened again: a chat that still stands is kept."""
    from .models import Export

    exports = Export.objects.filter(incident=incident).exclude(then="")
    with chat.language_of_the_chat():
        waiting = OutboxItem.objects.filter(
            step=STEP, subject_id__in=exports.values("pk"), status=OutboxItem.Status.PENDING
        )
        reason = _("the incident was opened again")
        if waiting.update(status=OutboxItem.Status.FAILED, error=reason, followed_up=True):
            chat.record(incident, _("Not archived: %s") % reason)


def on_gone(item: OutboxItem) -> None:
    """The chat was dissolved or left, or Feishu refused it."""
    from .models import Export, Incident

    export = Export.objects.select_related("incident").get(pk=item.subject_id or 0)
    incident = (
        Incident.objects.select_for_update(of=("self",)).select_related("bot").get(pk=export.incident_id)
    )
    if item.target != incident.chat_id:
        return  # it goes on in another chat already
    with chat.language_of_the_chat():
        if item.status == OutboxItem.Status.FAILED and item.error_code not in chat.CHAT_GONE_CODES:
            chat.record(incident, _("Not archived: %s") % item.why)
            return
        disbanded = export.then == Export.Then.DISBAND
        _archived(
            incident, export, _("the chat was dissolved") if disbanded else _("the bot has left the chat")
        )


def _archived(incident: Incident, export: Export, text: str) -> None:
    from .models import TimelineEntry

    type(incident).objects.filter(pk=incident.pk, chat_id=incident.chat_id).update(chat_gone=True)
    waiting = OutboxItem.objects.filter(
        bot=incident.bot, target=incident.chat_id, status=OutboxItem.Status.PENDING
    ).exclude(target="")
    waiting.update(status=OutboxItem.Status.FAILED, error=text, followed_up=True)
    incident.write(TimelineEntry.Kind.ARCHIVED, export.by, text=text, happened_at=timezone.now())
    chat.go_on_elsewhere(incident)


STEPS: dict[str, Callable[[OutboxItem], None]] = {STEP: on_gone}
