"""The rows of the event log as the page shows them; the live tail sends the same rows."""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from .adminrows import moment, pill
from .models import Event
from .naming import Naming, naming
from .words import outcome_words, short_id, type_words

PEOPLE_SHOWN = 3


@dataclass(frozen=True)
class Link:
    """A name that leads to everything else under it; `title` is the whole id."""

    words: str
    url: str
    title: str
    is_named: bool = True


@dataclass(frozen=True)
class EventLine:
    """One event in a list."""

    pk: int
    url: str
    at: SafeString
    what: str
    type: Link
    bot: Link
    chat: Link | None
    chat_id: str
    people: list[Link]
    more_people: int
    marks: list[SafeString]
    outcome: str


def event_lines(events: Iterable[Event]) -> list[EventLine]:
    """The events with their names, in two queries more."""
    events = list(events)
    names = naming(events)
    return [event_line(event, names) for event in events]


def event_line(event: Event, names: Naming) -> EventLine:
    people = person_links(event, names)
    return EventLine(
        pk=event.pk,
        url=reverse("admin:events_event_change", args=[event.pk]),
        at=moment(event.received_at),
        what=type_words(event.event_type) or event.event_type,
        type=Link(event.event_type, same(type=event.event_type), event.event_type),
        bot=Link(event.bot.name, same(bot=str(event.bot_id)), event.bot.slug),
        chat=chat_link(event, names),
        chat_id=short_id(event.chat_id),
        people=people[:PEOPLE_SHOWN],
        more_people=max(0, len(people) - PEOPLE_SHOWN),
        marks=event_marks(event),
        outcome=outcome_words(event.summary),
    )


def chat_link(event: Event, names: Naming) -> Link | None:
    if not event.chat_id:
        return None
    named = bool(names.chats.get((event.bot_id, event.chat_id)))
    words = names.chat(event.bot_id, event.chat_id)
    return Link(words, same(chat=event.chat_id), event.chat_id, named)


def person_links(event: Event, names: Naming) -> list[Link]:
    return [person_link(one, name) for one, name in names.people_in(event).items()]


def person_link(open_id: str, name: str) -> Link:
    return Link(name, same(person=open_id), open_id, name != short_id(open_id))


def same(**chosen: str) -> str:
    """The list of events that have this in common."""
    return f"{reverse('admin:events_event_changelist')}?{urlencode(chosen)}"


def event_marks(event: Event) -> list[SafeString]:
    """The event's status, and what is out of the ordinary about its delivery."""
    marks = [pill(event.status, event.get_status_display())]
    if event.is_simulated:
        marks.append(pill("simulated", gettext("simulated")))
    if event.late:
        marks.append(pill("late", gettext("late")))
    if event.deliveries > 1:
        marks.append(pill("again", gettext("%(count)d deliveries") % {"count": event.deliveries}))
    return marks
