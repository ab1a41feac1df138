"""What people write and do in a chat, as entries of a timeline: each once, in whatever order its events come."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from events.envelope import parse_time, text_at
from events.models import Bot, Event

from . import chat, names, words
from .models import Actor, Incident, TimelineEntry, Via

Kind = TimelineEntry.Kind
RECEIVED, RECALLED, REACTED = (
    "im.message.receive_v1",
    "im.message.recalled_v1",
    "im.message.reaction.created_v1",
)
CAME_AND_WENT = {
    "im.chat.member.user.added_v1": Kind.JOINED,
    "im.chat.member.user.deleted_v1": Kind.LEFT,
}
PIN_EMOJI = "Pin"
OVERTAKEN_AT_MOST = 200  # so many events of the chat may come between the news of a message and the message


def sent_in(event: Event) -> dict[str, Any]:
    """The message of im.message.receive_v1."""
    sent = event.payload.get("message")
    return sent if isinstance(sent, dict) else {}


def is_edited(sent: dict[str, Any]) -> bool:
    return text_at(sent, "update_time") not in ("", text_at(sent, "create_time"))


def is_pin(emoji: str | None) -> bool:
    return (emoji or "").lower() == PIN_EMOJI.lower()


def write_message(incident: Incident, event: Event) -> None:
    """One entry for each message; one that comes again, edited, has its words changed."""
    sent = sent_in(event)
    written = incident.timeline.filter(message_id=text_at(sent, "message_id")).exclude(message_id="")
    if not written.exists():
        write_messages(incident, [event], reach=OVERTAKEN_AT_MOST)
    elif is_edited(sent) and not event.replayed:
        written.update(text=_text(max(_versions(event), key=_edited_at)))


def write_messages(incident: Incident, events: Sequence[Event], *, reach: int) -> list[Event]:
    """An entry for each message of these events that has none; what came before it counts: edited, recalled, pinned.

    `reach`: so many events, the newest, are looked through for that. Returns the events that made an entry, in order.
    """
    newest: dict[str, Event] = {}
    for event in sorted(events, key=lambda one: _edited_at(sent_in(one))):
        newest[text_at(sent_in(event), "message_id") or event.dedup_key] = event
    known = incident.timeline.filter(message_id__in=newest).values_list("message_id", flat=True)
    for message_id in set(known):
        del newest[message_id]
    recalled, pinned = _recalled(incident, newest, reach), _pinned(incident.bot, newest, reach)
    speakers = {event.actor_open_id: event for event in newest.values()}
    by = {open_id: names.actor(event, Via.CHAT) for open_id, event in speakers.items()}
    entries = [
        TimelineEntry(
            incident=incident,
            kind=Kind.MESSAGE,
            via=Via.CHAT,
            person=by[event.actor_open_id].name,
            open_id=event.actor_open_id,
            text=_text(sent_in(event)),
            message_id=text_at(sent_in(event), "message_id"),
            happened_at=parse_time(sent_in(event).get("create_time")) or event.created_at,
            recalled=message_id in recalled,
            important=message_id in pinned,
        )
        for message_id, event in newest.items()
    ]
    TimelineEntry.objects.bulk_create(entries)
    if entries:
        moment = max(entry.happened_at for entry in entries)
        Incident.objects.filter(pk=incident.pk, active_at__lt=moment).update(active_at=moment)
    return sorted(newest.values(), key=lambda event: event.pk)


def write_people(incident: Incident, event: Event) -> None:
    """An entry for everyone who joined or left, unless there is one; a responder who joins is in the chat."""
    kind = CAME_AND_WENT[event.event_type]
    users = event.payload.get("users")
    people = [
        Actor(Via.CHAT, text_at(user, "name")[:120], text_at(user, "user_id.open_id"))
        for user in (users if isinstance(users, list) else [])
    ]
    same = incident.timeline.filter(kind=kind, happened_at=event.created_at)
    written = set(same.values_list("open_id", flat=True))
    for person in people:
        if person.open_id not in written:
            incident.write(kind, person, happened_at=event.created_at)
    if kind == Kind.JOINED and incident.chat_id:  # else the end of its making says who is in
        _let_in(incident, [one.open_id for one in people if one.open_id])


def _let_in(incident: Incident, open_ids: Sequence[str]) -> None:
    """Responders who are in the chat now, whatever was answered about them."""
    outside = incident.responders.filter(open_id__in=open_ids).exclude(status="added")
    if outside.exists():
        # The incident first, as the steps do: its entries lock it only at the commit, and then the two would wait
        # for each other.
        Incident.objects.select_for_update(no_key=True).get(pk=incident.pk)
        outside.update(status="added", error="")


def _text(sent: dict[str, Any]) -> str:
    with chat.language_of_the_chat():
        return words.text_of(sent)


def _edited_at(sent: dict[str, Any]) -> float:
    moment = parse_time(sent.get("update_time")) or parse_time(sent.get("create_time"))
    return moment.timestamp() if moment else 0.0


def _versions(event: Event) -> Iterable[dict[str, Any]]:
    """What the log has of a message, with this event's: its edits may have overtaken each other."""
    sent = sent_in(event)
    same = {"event_type": RECEIVED, "body__event__message__message_id": text_at(sent, "message_id")}
    rows = _newest(event.bot, OVERTAKEN_AT_MOST, chat_id=event.chat_id).filter(**same)
    return [sent, *(sent_in(row) for row in rows.only("body"))]


def _newest(bot: Bot, reach: int, **which: str) -> Any:
    """The bot's among the newest events of a chat or a type: read along one index, whoever else is busy."""
    newest = Event.objects.filter(**which).order_by("-pk")[:reach]
    return Event.objects.filter(pk__in=newest.values("pk"), bot=bot)


def _recalled(incident: Incident, message_ids: Collection[str], reach: int) -> set[str]:
    """Those of the messages that were taken back."""
    news = _newest(incident.bot, reach, chat_id=incident.chat_id).filter(event_type=RECALLED)
    about = news.filter(body__event__message_id__in=list(message_ids))
    return set(about.values_list("body__event__message_id", flat=True)) if message_ids else set()


def _pinned(bot: Bot, message_ids: Collection[str], reach: int) -> set[str]:
    """Those of the messages that somebody pinned; Feishu does not say in which chat it happened."""
    news = _newest(bot, reach, event_type=REACTED)
    about = news.filter(body__event__message_id__in=list(message_ids))
    told = about.values_list("body__event__message_id", "body__event__reaction_type__emoji_type")
    return {message_id for message_id, emoji in told if is_pin(emoji)} if message_ids else set()
