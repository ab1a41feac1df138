"""Names for the operator's pages: whom the bots have met (events.people). Asks Feishu nothing."""

import re
from collections.abc import Iterable, Mapping

from events import people
from events.models import Bot, Person
from events.words import short_id

from .models import Incident, TimelineEntry

PEOPLE_OFFERED = 200
STEPS = ("opened", "acknowledged", "resolved")


def names_for(incident: Incident, entries: Iterable[TimelineEntry] = ()) -> dict[str, str]:
    """open_id -> name, of everyone an incident and these of its entries speak of; one query."""
    open_ids = {incident.lead_open_id, *(getattr(incident, f"{step}_by_open_id") for step in STEPS)}
    open_ids |= set(incident.service.everyone if incident.service else ())
    open_ids |= {one.open_id for one in incident.responders.all()}
    for entry in entries:
        open_ids |= {entry.open_id, *re.findall(r"\bou_[\w-]+", entry.text)}
    return people.names(incident.bot, open_ids)


def leads_of(incidents: Iterable[Incident]) -> dict[tuple[int, str], str]:
    """(bot, open_id) -> the name of a lead, for a page of incidents; one query."""
    leads = {(incident.bot_id, incident.lead_open_id) for incident in incidents if incident.lead_open_id}
    bots, open_ids = {bot for bot, _lead in leads}, {lead for _bot, lead in leads}
    rows = Person.objects.filter(bot__in=bots, open_id__in=open_ids).exclude(name="") if leads else ()
    return {(person.bot_id, person.open_id): person.name for person in rows}


def known_people(bot: Bot | None = None) -> dict[str, str]:
    """open_id -> name of those heard of last, in the order of their names; for whoever writes a list of people."""
    rows = Person.objects.exclude(name="").order_by("-seen_at", "-pk")
    rows = rows.filter(bot=bot) if bot else rows
    newest = dict(rows.values_list("open_id", "name")[:PEOPLE_OFFERED])
    return dict(sorted(newest.items(), key=lambda person: person[1].casefold()))


def name_of(open_id: str, name: str, names: Mapping[str, str]) -> str:
    """A person in few characters: by name where one is known, else by the end of the id."""
    return name or names.get(open_id, "") or short_id(open_id)
