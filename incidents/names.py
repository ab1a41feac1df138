"""Who did it, by name: known, or asked for and filled in when the answer comes. Nothing waits for a name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from events import people
from events.models import Bot, Event, OutboxItem, Person
from events.words import short_id

from .models import NAME_LENGTH, Actor, Incident, StepError, TimelineEntry
from .phrases import clock

Text = str | Promise

PEOPLE_OFFERED = 200
STEPS = ("opened", "acknowledged", "resolved")
# What stands against a step: the state an incident has come to, or what somebody else has just set.
WHO_WAS_FIRST: Mapping[str, Text] = {
    "open": _("%(incident)s is open"),
    "acknowledged": _("%(incident)s was taken by %(person)s at %(time)s"),
    "resolved": _("%(incident)s was resolved by %(person)s at %(time)s"),
    "severity": _("%(person)s has set the severity of %(incident)s to %(what)s, at %(time)s"),
    "lead": _("%(person)s has named the lead of %(incident)s, at %(time)s: %(what)s"),
}


def actor(event: Event, via: str) -> Actor:
    """The person behind an event; one whose name is unknown is asked for."""
    open_id = event.actor_open_id
    name = people.names(event.bot, [open_id]).get(open_id, "")
    if not name:
        people.ask(event.bot, open_id)
    return Actor(via, name=name, open_id=open_id)


def who_was_first(error: StepError, spelled: Callable[[str, str], str] | None = None) -> str:
    """Why a step is not possible: who was faster, with what, and when. `spelled` writes a person (open_id, name)."""
    incident, write = error.incident, spelled or (lambda open_id, name: name or short_id(open_id))
    open_id, name, moment, what = _faster(error)
    person = write(open_id, name or known_name(incident.bot, open_id)) or gettext("someone")
    if error.contested == "lead":
        what = write(what, known_name(incident.bot, what))
    words = WHO_WAS_FIRST[error.contested or incident.status]
    return str(words) % {"incident": incident, "person": person, "time": clock(moment), "what": what}


def _faster(error: StepError) -> tuple[str, str, datetime | None, str]:
    """(open_id, name, moment, what was set) of the step that was first."""
    incident = error.incident
    if error.contested:
        rows = incident.timeline.filter(kind=error.contested).order_by("-happened_at", "-pk")
        entry = rows.first() or TimelineEntry(happened_at=incident.active_at)
        return entry.open_id, entry.person, entry.happened_at, entry.text
    step = incident.status if incident.status in STEPS else "opened"
    by, open_id, moment = (getattr(incident, f"{step}_{part}") for part in ("by", "by_open_id", "at"))
    return open_id, by, moment, ""


def known_name(bot: Bot, open_id: str) -> str:
    return people.names(bot, [open_id]).get(open_id, "")


def fill(bot: Bot, names: Mapping[str, str]) -> None:
    """Writes names that became known where only the open_id stood; a few queries, however many people join at once."""
    for step in STEPS:
        _fill(Incident.objects.filter(bot=bot), f"{step}_by_open_id", f"{step}_by", names)
    _fill(TimelineEntry.objects.filter(incident__bot=bot), "open_id", "person", names)


def _fill(rows: QuerySet[Any], open_id: str, name: str, names: Mapping[str, str]) -> None:
    blank = rows.filter(**{f"{open_id}__in": list(names), name: ""})
    for one in list(blank.order_by().values_list(open_id, flat=True).distinct()):
        blank.filter(**{open_id: one}).update(**{name: names[one][:NAME_LENGTH]})


def on_person(item: OutboxItem) -> None:
    """The contact API has told a name, or not (RESULT_ROUTES)."""
    fill(item.bot, people.answered(item))


# --- For the operator's pages ---------------------------------------------------------------------------------
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
