"""The variables that a welcome card may use, for each trigger, and made-up values for the preview."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.utils import timezone
from django.utils.translation import gettext as _

from events.cards import Value, mention, mentions

PERSON = frozenset({"user.name", "user.open_id", "user.mention"})
PEOPLE = frozenset({"users.mentions", "users.names", "users.count"})
PLACE = frozenset({"chat.name", "chat.id"})
ALWAYS = frozenset({"bot.name", "now"})

VARIABLES: Mapping[str, frozenset[str]] = {
    "member_joined": PERSON | PEOPLE | PLACE | ALWAYS,
    "conversation_started": PERSON | PEOPLE | frozenset({"chat.id"}) | ALWAYS,
    "bot_joined": PLACE | ALWAYS,
}


@dataclass(frozen=True)
class Person:
    """Someone to be greeted; the name is empty where the event does not tell it."""

    open_id: str
    name: str = ""


def welcome_variables(
    bot_name: str, chat_id: str, chat_name: str, people: Sequence[Person]
) -> dict[str, Value]:
    """The values for one greeting; names stay as people typed them, the card language escapes them by place."""
    values: dict[str, Value] = {
        "chat.id": chat_id,
        "chat.name": chat_name,
        "bot.name": bot_name,
        "now": timezone.localtime().strftime("%Y-%m-%d %H:%M"),
    }
    if people:
        values |= {
            "user.name": people[0].name,
            "user.open_id": people[0].open_id,
            "user.mention": mention(people[0].open_id, people[0].name),
            "users.mentions": mentions({person.open_id: person.name for person in people}),
            "users.names": "、".join(person.name for person in people if person.name),
            "users.count": str(len(people)),
        }
    return values


def sample_variables(trigger: str, bot_name: str) -> dict[str, Value]:
    """Values for a preview of a template with this trigger."""
    people = [] if trigger == "bot_joined" else [Person(open_id="ou_sample", name=_("Lin Xia"))]
    name = "" if trigger == "conversation_started" else _("Newcomers")
    return welcome_variables(bot_name or _("Console bot"), "oc_sample", name, people)
