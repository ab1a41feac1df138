"""Names for open_ids: what an incident's timeline and the event log have heard. Asks Feishu nothing."""

from collections.abc import Iterable, Mapping

from events.envelope import text_at
from events.models import Event
from events.words import short_id

from .models import Incident, TimelineEntry

NEWEST_EVENTS = 300
NAMED_IN = "im.chat.member.user.added_v1"


def names_in(incidents: Iterable[Incident]) -> dict[str, str]:
    """open_id -> name, for everyone a timeline of these names; one query."""
    entries = TimelineEntry.objects.filter(incident__in=list(incidents)).exclude(person="").exclude(open_id="")
    return dict(entries.order_by().values_list("open_id", "person").distinct())


def known_people() -> dict[str, str]:
    """open_id -> name, of those who joined a group lately; for whoever writes a list of people."""
    events = Event.objects.filter(event_type=NAMED_IN).order_by("-pk")
    people: dict[str, str] = {}
    for users in events.values_list("body__event__users", flat=True)[:NEWEST_EVENTS]:
        for user in users if isinstance(users, list) else []:
            open_id, name = text_at(user, "user_id.open_id"), text_at(user, "name")
            if open_id and name:
                people.setdefault(open_id, name)
    return dict(sorted(people.items(), key=lambda person: person[1].casefold()))


def name_of(open_id: str, name: str, names: Mapping[str, str]) -> str:
    """A person in few characters: by name where one is known, else by the end of the id."""
    return name or names.get(open_id, "") or short_id(open_id)
