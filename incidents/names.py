"""Who did it, by name: known, or asked for and filled in when the answer comes."""

from __future__ import annotations

from collections.abc import Mapping

from events import people
from events.models import Bot, Event, OutboxItem

from .models import Actor, Incident, TimelineEntry

STEPS = ("opened", "acknowledged", "resolved")


def actor(event: Event, via: str) -> Actor:
    """The person behind an event; one whose name is unknown is asked for."""
    open_id = event.actor_open_id
    name = people.names(event.bot, [open_id]).get(open_id, "")
    if not name:
        people.ask(event.bot, open_id)
    return Actor(via, name=name, open_id=open_id)


def who(incident: Incident, step: str) -> str:
    """The name of who opened, acknowledged or resolved an incident; "" where nobody knows it yet."""
    name, open_id = getattr(incident, f"{step}_by"), getattr(incident, f"{step}_by_open_id")
    return str(name or people.names(incident.bot, [open_id]).get(open_id, ""))


def fill(bot: Bot, names: Mapping[str, str]) -> None:
    """Writes names that became known where only the open_id stood."""
    for open_id, name in names.items():
        for step in STEPS:
            blank = {f"{step}_by_open_id": open_id, f"{step}_by": ""}
            Incident.objects.filter(bot=bot, **blank).update(**{f"{step}_by": name})
        TimelineEntry.objects.filter(incident__bot=bot, open_id=open_id, person="").update(person=name)


def on_person(item: OutboxItem) -> None:
    """The contact API has told a name, or not (RESULT_ROUTES)."""
    fill(item.bot, people.answered(item))
