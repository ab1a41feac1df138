"""What goes on when a call of an incident's chain has ended (RESULT_ROUTES). What is then queued: chat.py."""

from __future__ import annotations

from collections.abc import Callable

from django.db.models import F
from django.utils.translation import gettext as _

from events import outbox
from events.models import OutboxItem
from events.words import call_words

from . import chat, early
from .models import Incident

# The card can no longer be changed in place: recalled, deleted, older than 14 days.
CARD_GONE_CODES = (230011, 230110, 230111, 230031)


def on_people_found(item: OutboxItem) -> None:
    incident = _incident(item)
    found = {}
    for person in (item.result or {}).get("user_list") or []:
        found[person.get("email") or person.get("mobile")] = person.get("user_id") or ""
    asked = [*item.arguments["emails"], *item.arguments["mobiles"]]
    for responder in incident.responders.filter(open_id="", status="waiting"):
        name = responder.email or responder.mobile
        if found.get(name):
            responder.open_id = found[name]
        elif name in asked:
            responder.status, responder.error = "failed", item.why or _("Feishu knows nobody by this")
        responder.save()
    if incident.chat_id:
        chat.add_responders(incident)
    else:
        chat.create_chat(incident)
    chat.call_for_help(incident, f":{item.pk}")


def on_chat_created(item: OutboxItem) -> None:
    incident = _incident(item)
    if item.status == OutboxItem.Status.FAILED:
        if item.arguments["open_ids"]:
            # Someone cannot be added: the chat first, then everyone whom Feishu lets in.
            item.change_and_retry(open_ids=[])
        else:
            chat.tell_of_no_chat(incident, item.why)
        return
    chat_id = (item.result or {})["chat_id"]
    if item.key != chat.key_of_the_chat(incident):
        _dissolve(incident, chat_id)
        return
    Incident.objects.filter(pk=incident.pk, chat_id="").update(chat_id=chat_id)
    incident.refresh_from_db()
    incident.responders.filter(open_id__in=item.arguments["open_ids"]).update(status="added")
    chat.add_responders(incident)
    chat.send_card(incident)
    if item.arguments["name"] != chat.chat_name(incident):
        chat.rename(incident)
    early.take_up(incident)


def _dissolve(incident: Incident, chat_id: str) -> None:
    """Somebody retried the making of a chat in whose place another one was begun: there must not be two."""
    key = f"inc:{incident.key}:superfluous:{chat_id}"
    outbox.dissolve_chat(incident.bot, chat_id=chat_id, key=key, subject=incident)
    chat.record(incident, _("A second chat was made and is dissolved: the incident has another one"))


def on_members_added(item: OutboxItem) -> None:
    incident, open_ids = _incident(item), item.arguments["open_ids"]
    people = incident.responders.filter(open_id__in=open_ids)
    if _chat_is_gone(incident, item):
        return
    failed = item.status == OutboxItem.Status.FAILED
    if failed and len(open_ids) > 1:
        for responder in people:  # one of them is the reason; the others must not suffer for it
            chat.add_members(incident, [responder])
        return
    refused = set(open_ids) if failed else _listed(item, "invalid_id_list", "not_existed_id_list")
    pending = _listed(item, "pending_approval_id_list") - refused
    people.exclude(open_id__in=refused | pending).update(status="added", error="")
    chat.patch(incident, after=item)  # who is in the chat now can be mentioned on the card
    if refused:
        why = item.why or _("Feishu does not let the bot add this person")
        people.filter(open_id__in=refused).update(status="failed", error=why)
        chat.record(incident, _("Could not be added: %s") % f"{' '.join(sorted(refused))} ({why})")
        chat.call_for_help(incident, f":{item.pk}")
    if pending:
        why = _("The group's owner or a manager must approve")
        people.filter(open_id__in=pending).exclude(status="added").update(status="approval", error=why)
        chat.record(incident, _("Waits for approval: %s") % f"{' '.join(sorted(pending))} ({why})")


def _listed(item: OutboxItem, *names: str) -> set[str]:
    return {str(one) for name in names for one in (item.result or {}).get(name) or []}


def on_image_uploaded(item: OutboxItem) -> None:
    incident = _incident(item)
    if item.status == OutboxItem.Status.FAILED:
        chat.record(incident, _("The image could not be uploaded: %s") % item.why)
        return
    item.attachment.delete()
    rows = Incident.objects.filter(pk=incident.pk)
    rows.update(image_key=(item.result or {})["image_key"], revision=F("revision") + 1)
    incident.refresh_from_db()
    chat.patch(incident)


def on_card_sent(item: OutboxItem) -> None:
    incident = _incident(item)
    if item.status == OutboxItem.Status.FAILED:
        _on_failure(incident, item, _("The card could not be sent: %s"))
        return
    first = not incident.card_message_id
    if first:
        early.take_up(incident)  # once more: what was being handled while the chat became known
        incident.refresh_from_db()
    incident.card_message_id = item.message_id
    incident.save(update_fields=["card_message_id"])
    chat_id, message_id = incident.chat_id, item.message_id
    outbox.pin_message(
        incident.bot,
        chat_id=chat_id,
        message_id=message_id,
        **chat.row(incident, f"pin:{message_id}", "incident.extra"),
    )
    if first:
        chat.decorate(incident)
    chat.converge(incident, item)


def on_card_patched(item: OutboxItem) -> None:
    incident = _incident(item)
    if item.status == OutboxItem.Status.SENT:
        chat.converge(incident, item)
    elif item.arguments["message_id"] != incident.card_message_id:
        chat.patch(incident, after=item)  # of a card that has been replaced meanwhile
    elif item.error_code in CARD_GONE_CODES:
        incident.card_message_id = ""
        incident.save(update_fields=["card_message_id"])
        chat.send_card(incident)
    else:
        _on_failure(incident, item, _("The card could not be changed: %s"))


def on_renamed(item: OutboxItem) -> None:
    """As with the card: the name that came last may be an older one."""
    incident = _incident(item)
    if item.status == OutboxItem.Status.FAILED:
        _on_failure(incident, item, _("The chat could not be told: %s"))
    elif item.arguments["name"] != chat.chat_name(incident) and not incident.chat_gone:
        chat.rename(incident, after=item)


def on_line_sent(item: OutboxItem) -> None:
    """A line: nothing follows, but a chat that is gone must be known."""
    if item.status == OutboxItem.Status.FAILED:
        _on_failure(_incident(item), item, _("The chat could not be told: %s"))


def on_extra(item: OutboxItem) -> None:
    """A pin, a tab, a buzz: nice to have, never in the way."""
    incident = _incident(item)
    if item.status == OutboxItem.Status.FAILED and not _chat_is_gone(incident, item):
        what = call_words(item.call, item.arguments)
        chat.record(incident, _("Not everything worked: %s") % f"{what}, {item.why}")


def on_reminder(item: OutboxItem) -> None:
    """A reminder or its buzz: the next one comes anyhow, so a failure is not written down."""
    _chat_is_gone(_incident(item), item)


def _on_failure(incident: Incident, item: OutboxItem, message: str) -> None:
    if not _chat_is_gone(incident, item):
        chat.record(incident, message % item.why)


def _chat_is_gone(incident: Incident, item: OutboxItem) -> bool:
    """Whether a row failed because there is no chat for us any more."""
    if item.status != OutboxItem.Status.FAILED or item.error_code not in chat.CHAT_GONE_CODES:
        return False
    chat.chat_is_gone(incident, item.why)
    return True


def _incident(item: OutboxItem) -> Incident:
    # Locked: a verb that changes the incident at this moment must see what the step writes, or the other way round.
    rows = Incident.objects.select_for_update(of=("self",)).select_related("bot", "service")
    return rows.get(pk=item.subject_id or 0)


Step = Callable[[OutboxItem], None]
IN_THE_CHAT: dict[str, Step] = {
    "incident.members": on_members_added,
    "incident.card": on_card_sent,
    "incident.patch": on_card_patched,
    "incident.name": on_renamed,
    "incident.line": on_line_sent,
    "incident.extra": on_extra,
    chat.REMINDER: on_reminder,
}


def _of_its_chat(step: Step) -> Step:
    """What is heard of a chat that the incident has left says nothing about the one it has now."""

    def only(item: OutboxItem) -> None:
        present = Incident.objects.select_for_update().filter(pk=item.subject_id or 0, chat_id=item.target)
        if present.first() is not None:
            step(item)

    return only


STEPS: dict[str, Step] = {
    "incident.people": on_people_found,
    chat.CREATION: on_chat_created,
    "incident.image": on_image_uploaded,
    **{name: _of_its_chat(step) for name, step in IN_THE_CHAT.items()},
}
