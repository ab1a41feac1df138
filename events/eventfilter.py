"""Which events are meant: what a person chose on the page, read once and used by list, live tail, export and replay.

Every filter that can be chosen has an index, or is looked for in a bounded stretch of the log (events.eventlist).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from functools import cached_property
from unicodedata import category
from urllib.parse import urlencode

from django.db.models import F, Q, QuerySet, Value
from django.db.models.functions import Concat
from django.db.models.lookups import Exact
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext

from .age import newest_before
from .envelope import ID_LENGTH
from .eventwords import asked_tokens, is_id
from .models import BIGGEST_KEY, Bot, Chat, Event, EventText, Person
from .words import EVENT_TYPES, TRANSPORTS

PHRASE_LENGTH = 200
ROWS_KNOWN = 1_000
NAMES_TRIED = 100  # people and chats whose names contain the phrase, whom the bots met last
CLOCKS_APART = timedelta(minutes=1)  # the clocks of two machines that receive events


class FilterError(ValueError):
    """What was chosen cannot be understood; the text says why, in the reader's language."""


@dataclass(frozen=True)
class EventFilter:
    """A choice of events. All fields are texts as they stand in the page's address; "" means any.

    `since` and `until` are ISO times of receipt (`until` is not included), `delivery` is "late" or "again",
    `type` an event type or "other", `q` an event id, message id, oc_ or ou_ id, a name, or text of the payload.
    """

    bot: str = ""
    type: str = ""
    status: str = ""
    chat: str = ""
    person: str = ""
    transport: str = ""
    delivery: str = ""
    since: str = ""
    until: str = ""
    q: str = ""

    @classmethod
    def from_query(cls, params: Mapping[str, str]) -> "EventFilter":
        """From `request.GET`, or from what `as_json` gave; other parameters are left alone. Raises FilterError."""
        chosen = {field.name: " ".join(str(params.get(field.name) or "").split()) for field in fields(cls)}
        for name, value in chosen.items():
            if problem := _problem(name, value):
                raise FilterError(problem)
        for name in ("since", "until"):
            if chosen[name]:
                chosen[name] = read_time(chosen[name]).isoformat()
        return cls(**chosen)

    def as_json(self) -> dict[str, str]:
        """What was chosen and nothing else, for a JSON column: `EventFilter.from_query` reads it back."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name))}

    def as_query(self) -> str:
        """The same for an address, without the question mark."""
        return urlencode(self.as_json())

    def queryset(
        self, *, above: int | None = None, below: int | None = None, among: QuerySet[Event] | None = None
    ) -> QuerySet[Event]:
        """The events that match (`among` those), in no order; with bounds (excluded) on their primary key.

        To work through many, go by the primary key in bounded steps, and note the newest key first: events keep
        coming. A search reads what is searchable: `reading.catch_up()` takes in the newest.
        """
        every = Event.objects.all() if among is None else among
        rows = every.filter(self.conditions, **_between("pk", above, below))
        if self.person:
            texts = EventText.objects.with_id(self.person, above=above, below=below)
            rows = rows.filter(pk__in=texts.values("pk"))
        if self.q:
            rows = rows.filter(self._found(above, below))
        return rows

    @cached_property
    def conditions(self) -> Q:
        """What is asked of the events' own columns."""
        found = Q()
        table = CONDITIONS
        if self.status == Event.Status.FAILED or self.delivery:
            table = {**CONDITIONS, **BESIDE_RARE_ROWS}
        for name, condition in table.items():
            if value := getattr(self, name):
                found &= condition(value)
        return found & Q(**_between("pk", *self.stretch))

    @cached_property
    def stretch(self) -> tuple[int | None, int | None]:
        """The primary keys between which the times lie: they grow with the time of receipt, which has no index."""
        above = below = None
        if self.since:
            first = first_pk_at(read_time(self.since) - CLOCKS_APART)
            above = first - 1 if first else BIGGEST_KEY
        if self.until:
            below = first_pk_at(read_time(self.until) + CLOCKS_APART)
        return above, below

    @property
    def is_empty(self) -> bool:
        return not self.as_json()

    @property
    def reads_texts(self) -> bool:
        """Whether the index of texts is asked, which may be a moment behind."""
        return bool(self.q or self.person)

    @cached_property
    def known_ids(self) -> list[int]:
        """Where an event's own id or a message's id was searched for: those events, and what else speaks of it."""
        if not self.q or len(self.q) > ID_LENGTH:
            return []
        bots = list(Bot.objects.values_list("pk", flat=True))  # the unique key begins with the bot
        events = Event.objects.values_list("pk", flat=True)
        found = {*events.filter(event_id=self.q), *events.filter(bot__in=bots, dedup_key=self.q)}
        if not found:
            return []
        return sorted(
            found.union(EventText.objects.with_id(self.q).values_list("pk", flat=True)[:ROWS_KNOWN])
        )

    @cached_property
    def named_ids(self) -> set[str]:
        """The ids of people and chats whose names contain what was searched for."""
        if is_id(self.q) or self.q.isdigit():
            return set()
        people = Person.objects.filter(name__icontains=self.q).values_list("open_id", flat=True)
        chats = Chat.objects.filter(name__icontains=self.q).values_list("chat_id", flat=True)
        return {*people.order_by("-pk")[:NAMES_TRIED], *chats.order_by("-pk")[:NAMES_TRIED]}

    @property
    def is_indexed(self) -> bool:
        """Whether the phrase is long enough for the index of texts."""
        return is_id(self.q) or bool(asked_tokens(self.q))

    def _found(self, above: int | None, below: int | None) -> Q:
        if self.known_ids:
            return Q(pk__in=self.known_ids)
        texts = EventText.objects.containing(self.q, self.named_ids, above=above, below=below)
        return Q(pk__in=texts.values("pk"))


def first_pk_at(at: datetime) -> int | None:
    """The first event received at that time or later; None if there is none."""
    later = Event.objects.filter(pk__gt=newest_before(Event, "received_at", at)).order_by("pk")
    return later.values_list("pk", flat=True).first()


def _between(name: str, above: int | None, below: int | None) -> dict[str, int]:
    bounds = {f"{name}__gt": above, f"{name}__lt": below}
    return {lookup: bound for lookup, bound in bounds.items() if bound is not None}


def _of_type(value: str) -> Q:
    return ~Q(event_type__in=list(EVENT_TYPES)) if value == "other" else Q(event_type=value)


def _plain(column: str) -> Concat:
    return Concat(F(column), Value(""))


DELIVERIES: Mapping[str, Q] = {"late": Q(late=True), "again": Q(deliveries__gt=1)}
CONDITIONS: Mapping[str, Callable[[str], Q]] = {
    "bot": lambda value: Q(bot=int(value)),
    "type": _of_type,
    "status": lambda value: Q(status=value),
    "chat": lambda value: Q(chat_id=value),
    "transport": lambda value: Q(transport=value),
    "delivery": lambda value: DELIVERIES[value],
    "since": lambda value: Q(received_at__gte=read_time(value)),
    "until": lambda value: Q(received_at__lt=read_time(value)),
}
# The index of rare rows is the one to read along. SQLite would take the one of the bot, and read all of its events:
# so these are written as it cannot look them up.
BESIDE_RARE_ROWS: Mapping[str, Callable[[str], Q]] = {
    "bot": lambda value: Q(Exact(F("bot_id") + 0, int(value))),
    "type": lambda value: _of_type(value) if value == "other" else Q(Exact(_plain("event_type"), value)),
    "chat": lambda value: Q(Exact(_plain("chat_id"), value)),
}
CHOICES: Mapping[str, tuple[str, ...]] = {
    "status": tuple(Event.Status.values),
    "delivery": tuple(DELIVERIES),
    "transport": tuple(TRANSPORTS),
}


def _problem(name: str, value: str) -> str:
    """What is wrong with a chosen value, in words; "" for nothing."""
    if not value:
        return ""
    if len(value) > (PHRASE_LENGTH if name == "q" else ID_LENGTH):
        return gettext("What you search for is too long: at most %(count)d characters.") % {
            "count": PHRASE_LENGTH if name == "q" else ID_LENGTH
        }
    if any(category(character) in ("Cc", "Cs") for character in value):
        return gettext("Control characters cannot be searched for.")
    if name in CHOICES and value not in CHOICES[name]:
        return gettext("The filter does not know “%(value)s”.") % {"value": value}
    if name == "bot" and not (value.isascii() and value.isdigit() and len(value) < 10):
        return gettext("The filter does not know “%(value)s”.") % {"value": value}
    if name in ("since", "until"):
        return _time_problem(value)
    return ""


def checked_time(value: str) -> datetime:
    """As read_time; raises FilterError."""
    if problem := _time_problem(value):
        raise FilterError(problem)
    return read_time(value)


def _time_problem(value: str) -> str:
    try:
        read_time(value)
    except ValueError:
        return gettext("“%(value)s” is no time: write 2026-11-21 or 2026-11-21 14:30.") % {"value": value}
    return ""


def read_time(value: str) -> datetime:
    """A day or a time, in the console's time zone unless it names one; raises ValueError."""
    at = parse_datetime(value)
    day = parse_date(value) if at is None else None
    if day is not None:
        at = datetime(day.year, day.month, day.day)  # noqa: DTZ001
    if at is None or not 1970 < at.year < 9999:
        raise ValueError(value)
    return timezone.make_aware(at) if timezone.is_naive(at) else at
