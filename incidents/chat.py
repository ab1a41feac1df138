"""What Feishu sees of an incident: its chat, its card, its lines. Everything is outbox rows; each step queues the next.

begin -> (people found) -> chat created -> card sent -> pinned, tab, buzz; the image joins the card when it is up.
A chain that was interrupted goes on where it was: events.followup.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db.models import F
from django.utils import translation
from django.utils.translation import gettext as _

from events import outbox
from events.cards import dumps
from events.codes import explain
from events.models import OutboxItem
from events.words import call_words

from .cards import alert_card, shortened

if TYPE_CHECKING:
    from .models import Actor, Incident, Responder, TimelineEntry

REMINDER = "incident.reminder"
SETTLES = ("acknowledged", "resolved", "false_alarm", "muted")
CHAT_NAME_LENGTH = 60
LINE_LENGTH = 500
PEOPLE_PER_CALL = 50
# The card can no longer be changed in place: recalled, deleted, older than 14 days.
CARD_GONE_CODES = (230011, 230110, 230111, 230031)
CHAT_GONE_CODES = (232009, 230002, 232011)


@contextmanager
def language_of_the_chat() -> Iterator[None]:
    """A chat has one language, whoever's browser it was that changed something."""
    with translation.override(settings.LANGUAGE_CODE):
        yield


def chat_name(incident: Incident) -> str:
    """`[P0] title`, `[处理中] title` or `[已解决] title`, cut to what Feishu takes."""
    with language_of_the_chat():
        prefixes = {"open": incident.severity, "acknowledged": _("In progress"), "resolved": _("Solved")}
        title = " ".join(incident.title.split())
        return f"[{prefixes[incident.status]}] {title}"[:CHAT_NAME_LENGTH].rstrip()


# --- Out: each function queues rows ------------------------------------------------------------------------
def begin(incident: Incident, image: bytes) -> None:
    """Queues the first calls of a new incident."""
    if image:
        # On a target of its own: the chat must not wait for a picture.
        outbox.upload_image(
            incident.bot,
            target=f"{incident.key}:image",
            image=image,
            **_row(incident, "image", "incident.image"),
        )
    strangers = list(incident.responders.filter(open_id=""))
    if not strangers:
        _create_chat(incident)
    for number in range(0, len(strangers), PEOPLE_PER_CALL):
        part = strangers[number : number + PEOPLE_PER_CALL]
        _find_people(incident, part, f"people:{part[0].pk}")


def add_responders(incident: Incident) -> None:
    """Queues what is missing for everyone who waits; without a chat, its creation takes them along."""
    if not incident.chat_id or incident.chat_gone:
        return
    strangers = list(incident.responders.filter(open_id="", status="waiting"))
    if strangers:
        _find_people(incident, strangers[:PEOPLE_PER_CALL], f"people:{strangers[0].pk}:{incident.revision}")
    waiting = list(incident.responders.filter(status="waiting").exclude(open_id=""))
    for number in range(0, len(waiting), PEOPLE_PER_CALL):
        _add(incident, waiting[number : number + PEOPLE_PER_CALL])


def show(incident: Incident, entry: TimelineEntry, by: Actor) -> None:
    """Queues what everyone in the chat must see of a change; before there is a chat, its creation shows it."""
    if not incident.chat_id or incident.chat_gone:
        return
    if entry.kind in SETTLES:
        forget_reminders(incident)
    _patch(incident)
    if entry.kind in RENAMES:
        _rename(incident)
    if line := _line(incident, entry, by):
        row = _row(incident, f"line:{entry.pk}", "incident.line")
        outbox.send_text(incident.bot, chat_id=incident.chat_id, markup=line, **row)
    if entry.kind == "severity":
        _buzz(incident)


def catch_up(incident: Incident) -> None:
    """Back in the chat: it is told the present state, whatever was said while nobody could hear it."""
    rows = type(incident).objects.filter(pk=incident.pk, chat_gone=True)
    if not rows.update(chat_gone=False, revision=F("revision") + 1):
        return  # some other bot was added
    incident.refresh_from_db()
    ours = OutboxItem.objects.filter(key=f"inc:{incident.key}:chat")
    if incident.card_message_id:
        _patch(incident)
    elif ours.exists():
        _send_card(incident)
    else:
        return  # a chat that was imported: nothing is said there
    _rename(incident)
    add_responders(incident)


def is_our_name(incident: Incident, name: str) -> bool:
    """Whether we gave the chat this name: the news of it may come when the next name is on its way."""
    renames = OutboxItem.objects.filter(bot=incident.bot, target=incident.chat_id, call="rename_chat")
    return name == chat_name(incident) or renames.filter(arguments__name=name).exists()


RENAMES = ("acknowledged", "resolved", "false_alarm", "reopened", "severity")


def _line(incident: Incident, entry: TimelineEntry, by: Actor) -> str:
    """The line in the chat, in Feishu's text markup; "" for what the card alone shows."""
    text = outbox.plain(shortened(entry.text, LINE_LENGTH))
    with language_of_the_chat():
        took = _duration(incident.duration)
        lines: dict[str, Callable[[], str]] = {
            "acknowledged": lambda: _("%s has taken it"),
            "resolved": lambda: _("The problem is solved, well done! It took %(time)s") % {"time": took},
            "false_alarm": lambda: _("%s reports a false alarm"),
            "reopened": lambda: _("%s has opened it again"),
            "severity": lambda: _("%s has set the severity"),
            "lead": lambda: _("%s has named the lead"),
            "muted": lambda: _("%s has muted it until"),
        }
        if entry.kind not in lines:
            return ""
        said = lines[entry.kind]()
    said = said.replace("%s", by.markup)
    what = outbox.at(entry.text) if entry.kind == "lead" else text
    return f"{said}{'：' if what else ''}{what}"


def _duration(duration: timedelta) -> str:
    minutes = max(1, round(duration.total_seconds() / 60))
    if minutes < 60:
        return _("%d min") % minutes
    return _("%(hours)d h %(minutes)d min") % {"hours": minutes // 60, "minutes": minutes % 60}


def _create_chat(incident: Incident) -> None:
    known = incident.responders.filter(status="waiting").exclude(open_id="")
    open_ids = list(known.values_list("open_id", flat=True)[:PEOPLE_PER_CALL])
    outbox.create_chat(
        incident.bot,
        name=chat_name(incident),
        description=incident.description[:100],
        open_ids=open_ids,
        **_row(incident, "chat", "incident.chat"),
    )


def _find_people(incident: Incident, people: Sequence[Responder], suffix: str) -> None:
    outbox.find_people(
        incident.bot,
        target=str(incident.key),
        emails=[one.email for one in people if one.email],
        mobiles=[one.mobile for one in people if one.mobile],
        **_row(incident, suffix, "incident.people"),
    )


def _add(incident: Incident, people: Sequence[Responder]) -> None:
    row = _row(incident, f"add:{people[0].pk}:{len(people)}:{incident.revision}", "incident.members")
    open_ids = [one.open_id for one in people]
    outbox.add_members(incident.bot, chat_id=incident.chat_id, open_ids=open_ids, **row)


def _send_card(incident: Incident) -> None:
    """A card, unless one is on its way already: then on_card_sent brings it up to date."""
    cards = OutboxItem.objects.filter(bot=incident.bot, target=incident.chat_id, step="incident.card")
    if cards.filter(status__in=OutboxItem.UNFINISHED).exists():
        return
    with language_of_the_chat():
        card = alert_card(incident)
    row = _row(incident, f"card:{incident.revision}:{cards.count()}", "incident.card")
    outbox.send_card(incident.bot, chat_id=incident.chat_id, card=card, **row)


def _patch(incident: Incident, after: OutboxItem | None = None) -> None:
    """Brings the card up to date; `after` is the call that left it behind."""
    if not incident.card_message_id:
        return
    with language_of_the_chat():
        card = alert_card(incident)
    row = _row(incident, f"patch:{incident.revision}:{after.pk if after else 0}", "incident.patch")
    outbox.patch_card(
        incident.bot, chat_id=incident.chat_id, message_id=incident.card_message_id, card=card, **row
    )


def _rename(incident: Incident, after: OutboxItem | None = None) -> None:
    row = _row(incident, f"rename:{incident.revision}:{after.pk if after else 0}", "incident.name")
    outbox.rename_chat(incident.bot, chat_id=incident.chat_id, name=chat_name(incident), **row)


def _row(incident: Incident, suffix: str, step: str) -> dict[str, Any]:
    return {"key": f"inc:{incident.key}:{suffix}", "step": step, "subject": incident}


# --- In: what goes on when a call has ended (RESULT_ROUTES) --------------------------------------------------
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
            responder.status, responder.error = "failed", _why(item) or _("Feishu knows nobody by this")
        responder.save()
    if incident.chat_id:
        add_responders(incident)
    else:
        _create_chat(incident)


def on_chat_created(item: OutboxItem) -> None:
    incident = _incident(item)
    if item.status == OutboxItem.Status.FAILED:
        if item.arguments["open_ids"]:
            # Someone cannot be added: the chat first, then everyone whom Feishu lets in.
            item.change_and_retry(open_ids=[])
        else:
            record(incident, _("The chat could not be made: %s") % _why(item))
        return
    type(incident).objects.filter(pk=incident.pk, chat_id="").update(chat_id=(item.result or {})["chat_id"])
    incident.refresh_from_db()
    incident.responders.filter(open_id__in=item.arguments["open_ids"]).update(status="added")
    add_responders(incident)
    _send_card(incident)
    if item.arguments["name"] != chat_name(incident):
        _rename(incident)


def on_members_added(item: OutboxItem) -> None:
    incident, open_ids = _incident(item), item.arguments["open_ids"]
    people = incident.responders.filter(open_id__in=open_ids)
    if _chat_is_gone(incident, item):
        return
    if item.status == OutboxItem.Status.FAILED and len(open_ids) > 1:
        for responder in people:  # one of them is the reason; the others must not suffer for it
            _add(incident, [responder])
        return
    result = item.result or {}
    refused = {
        one
        for name in ("invalid_id_list", "not_existed_id_list", "pending_approval_id_list")
        for one in result.get(name) or []
    }
    if item.status == OutboxItem.Status.FAILED:
        refused = set(open_ids)
    people.exclude(open_id__in=refused).update(status="added", error="")
    _patch(incident, after=item)  # who is in the chat now can be mentioned on the card
    if refused:
        why = _why(item) or _("Feishu does not let the bot add this person")
        people.filter(open_id__in=refused).update(status="failed", error=why)
        record(incident, _("Could not be added: %s") % f"{' '.join(sorted(refused))} ({why})")


def on_image_uploaded(item: OutboxItem) -> None:
    incident = _incident(item)
    if item.status == OutboxItem.Status.FAILED:
        record(incident, _("The image could not be uploaded: %s") % _why(item))
        return
    item.attachment.delete()
    rows = type(incident).objects.filter(pk=incident.pk)
    rows.update(image_key=(item.result or {})["image_key"], revision=F("revision") + 1)
    incident.refresh_from_db()
    _patch(incident)


def on_card_sent(item: OutboxItem) -> None:
    incident = _incident(item)
    if item.status == OutboxItem.Status.FAILED:
        _on_failure(incident, item, _("The card could not be sent: %s"))
        return
    first = not incident.card_message_id
    incident.card_message_id = item.message_id
    incident.save(update_fields=["card_message_id"])
    chat_id, message_id = incident.chat_id, item.message_id
    outbox.pin_message(
        incident.bot,
        chat_id=chat_id,
        message_id=message_id,
        **_row(incident, f"pin:{message_id}", "incident.extra"),
    )
    if first:
        _decorate(incident)
    _converge(incident, item)


def _decorate(incident: Incident) -> None:
    """Once a chat: the tab that opens the console, and for P0 the phones."""
    url = f"{settings.PUBLIC_URL}/admin/incidents/incident/{incident.pk}/change/"
    row = _row(incident, "tab", "incident.extra")
    outbox.add_chat_tab(incident.bot, chat_id=incident.chat_id, name=incident.number, url=url, **row)
    _buzz(incident)


def _buzz(incident: Incident) -> None:
    """Rings everyone's phone for a P0 that nobody has taken."""
    people = list(incident.responders.filter(status="added").values_list("open_id", flat=True)[:200])
    if incident.severity == "P0" and not incident.drill and people and incident.status == "open":
        row = _row(incident, f"buzz:{incident.revision}", "incident.extra")
        if message_id := incident.card_message_id:
            outbox.buzz(incident.bot, chat_id=incident.chat_id, message_id=message_id, open_ids=people, **row)


def on_card_patched(item: OutboxItem) -> None:
    incident = _incident(item)
    if item.status == OutboxItem.Status.SENT:
        _converge(incident, item)
    elif item.arguments["message_id"] != incident.card_message_id:
        _patch(incident, after=item)  # of a card that has been replaced meanwhile
    elif item.error_code in CARD_GONE_CODES:
        incident.card_message_id = ""
        incident.save(update_fields=["card_message_id"])
        _send_card(incident)
    else:
        _on_failure(incident, item, _("The card could not be changed: %s"))


def _converge(incident: Incident, item: OutboxItem) -> None:
    """A card that shows an older state, because calls overtook each other in an outage, is brought up to date."""
    with language_of_the_chat():
        present = dumps(alert_card(incident))
    if item.arguments["content"] != present:
        _patch(incident, after=item)


def on_renamed(item: OutboxItem) -> None:
    """As with the card: the name that came last may be an older one."""
    incident = _incident(item)
    if item.status == OutboxItem.Status.FAILED:
        _on_failure(incident, item, _("The chat could not be told: %s"))
    elif item.arguments["name"] != chat_name(incident) and not incident.chat_gone:
        _rename(incident, after=item)


def on_line_sent(item: OutboxItem) -> None:
    """A line: nothing follows, but a chat that is gone must be known."""
    if item.status == OutboxItem.Status.FAILED:
        _on_failure(_incident(item), item, _("The chat could not be told: %s"))


def on_extra(item: OutboxItem) -> None:
    """A pin, a tab, a buzz: nice to have, never in the way."""
    incident = _incident(item)
    if item.status == OutboxItem.Status.FAILED and not _chat_is_gone(incident, item):
        what = call_words(item.call, item.arguments)
        record(incident, _("Not everything worked: %s") % f"{what}, {_why(item)}")


def on_reminder(item: OutboxItem) -> None:
    """A reminder or its buzz: the next one comes anyhow, so a failure is not written down."""
    _chat_is_gone(_incident(item), item)


def forget_reminders(incident: Incident) -> None:
    """Reminders that Feishu has not taken yet; what they say is no longer true."""
    rows = OutboxItem.objects.filter(bot=incident.bot, target=incident.chat_id, step=REMINDER)
    with language_of_the_chat():
        why = _("no longer true")
    rows.filter(status=OutboxItem.Status.PENDING).update(
        status=OutboxItem.Status.FAILED, error=why, followed_up=True
    )


def chat_is_gone(incident: Incident, reason: str) -> None:
    """Nothing more is sent there; what was waiting fails at once, with the reason. Written down once."""
    news = type(incident).objects.filter(pk=incident.pk, chat_gone=False).update(chat_gone=True)
    waiting = OutboxItem.objects.filter(
        bot=incident.bot, target=incident.chat_id, status=OutboxItem.Status.PENDING
    ).exclude(step="incident.archive")  # which wants just that
    waiting.update(status=OutboxItem.Status.FAILED, error=reason[:500], followed_up=True)
    if news:
        record(incident, reason)


def _on_failure(incident: Incident, item: OutboxItem, message: str) -> None:
    if not _chat_is_gone(incident, item):
        record(incident, message % _why(item))


def _chat_is_gone(incident: Incident, item: OutboxItem) -> bool:
    """Whether a row failed because there is no chat for us any more."""
    if item.status != OutboxItem.Status.FAILED or item.error_code not in CHAT_GONE_CODES:
        return False
    chat_is_gone(incident, _why(item))
    return True


def _why(item: OutboxItem) -> str:
    """Why a row failed, in words; "" if it did not."""
    if item.status != OutboxItem.Status.FAILED:
        return ""
    code = "" if item.error_code is None else f"{item.error_code} "
    return f"{code}{explain(item.error_code).meaning}"


def _incident(item: OutboxItem) -> Incident:
    from .models import Incident

    # Locked: a verb that changes the incident at this moment must see what the step writes, or the other way round.
    rows = Incident.objects.select_for_update(of=("self",)).select_related("bot", "service")
    return rows.get(pk=item.subject_id or 0)


def record(incident: Incident, text: str) -> None:
    """A line of the timeline that nobody wrote."""
    from .models import Actor, TimelineEntry, Via

    incident.write(TimelineEntry.Kind.CHAT, Actor(Via.SYSTEM), text=text)


STEPS: dict[str, Callable[[OutboxItem], None]] = {
    "incident.people": on_people_found,
    "incident.chat": on_chat_created,
    "incident.members": on_members_added,
    "incident.image": on_image_uploaded,
    "incident.card": on_card_sent,
    "incident.patch": on_card_patched,
    "incident.name": on_renamed,
    "incident.line": on_line_sent,
    "incident.extra": on_extra,
    REMINDER: on_reminder,
}
