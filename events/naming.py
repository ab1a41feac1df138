"""What the people and chats on a page are called: two queries for all of them, and a note of whose name is wanted."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Q
from django.utils import timezone

from .models import Chat, Event, Person
from .people import ASK_AGAIN_AFTER, want
from .reading import chat_name
from .words import NAME_SHOWN, people_in, short_id

WANTED_AT_ONCE = 100  # of one page; an event may name hundreds of people
Names = Mapping[tuple[int, str], str]


@dataclass(frozen=True)
class Naming:
    """Names by (the bot's key, id); what has no name is called by its id, shortened."""

    people: Names
    chats: Names

    def person(self, bot_id: int, open_id: str) -> str:
        return self.people.get((bot_id, open_id)) or short_id(open_id)

    def chat(self, bot_id: int, chat_id: str) -> str:
        return self.chats.get((bot_id, chat_id)) or short_id(chat_id)

    def people_in(self, event: Event) -> dict[str, str]:
        """open_id -> name or short id of those the event is about."""
        told = people_in(event)
        return {one: name or self.person(event.bot_id, one) for one, name in told.items()}


def naming(events: Iterable[Event], *, wanted: bool = True) -> Naming:
    """The names of everyone and every chat in these events, as far as they are known.

    `wanted` notes the others for the worker to ask for.
    """
    people: dict[tuple[int, str], str] = {}
    chats: dict[tuple[int, str], str] = {}
    for event in events:
        told = people_in(event) | ({event.actor_open_id: ""} if event.actor_open_id else {})
        for one, name in told.items():
            people[event.bot_id, one] = people.get((event.bot_id, one)) or name
        if event.chat_id:
            key = (event.bot_id, event.chat_id)
            chats[key] = chats.get(key) or chat_name(event)[:NAME_SHOWN]
    return Naming(_known(Person, people, wanted), _known(Chat, chats, wanted))


def _known(model: type[Person] | type[Chat], told: Mapping[tuple[int, str], str], wanted: bool) -> Names:
    """What the events themselves tell, and for the others what is on record; notes whose name is wanted."""
    asked = {key for key, name in told.items() if not name}
    if not asked:
        return told
    lookup = {f"{model.ID_FIELD}__in": {one for _bot, one in asked}, "bot__in": {bot for bot, _one in asked}}
    rows: Any = model._default_manager.filter(Q(**lookup))
    found = {(row.bot_id, getattr(row, model.ID_FIELD)): row for row in rows}
    if wanted:
        fresh = {key for key, row in found.items() if _is_fresh(row)}
        want(model, sorted(asked - fresh)[:WANTED_AT_ONCE])
    return {**told, **{key: row.name for key, row in found.items() if row.name and key in asked}}


def _is_fresh(row: Person | Chat) -> bool:
    """Whether there is no need to ask: it is noted already, was asked for or was heard of within a day."""
    known_at = max(filter(None, [row.asked_at, row.seen_at if row.name else None]), default=None)
    return bool(row.wanted_at or (known_at and known_at > timezone.now() - ASK_AGAIN_AFTER))


def names_of_chats(chat_ids: Iterable[str]) -> dict[str, str]:
    """chat_id -> the name on record, whichever bot heard it; only those that have one."""
    named = Chat.objects.filter(chat_id__in=set(chat_ids) - {""}).exclude(name="")
    return dict(named.values_list("chat_id", "name"))
