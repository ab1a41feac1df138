"""A welcome card as it would look in a made-up situation: drawn, measured, with everything wrong about it."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _

from events.cards import CardError, Problem, check, dumps, fill, parse, unknown_variables
from events.cardview import draw

from .models import Trigger
from .variables import VARIABLES, Person, welcome_variables

log = logging.getLogger(__name__)

Text = str | Promise

SITUATIONS: Mapping[str, Text] = {
    "one": _("One newcomer"),
    "three": _("Three newcomers"),
    "nameless": _("The name is not known"),
    "hostile": _("A name that tries to break out"),
}
VARIABLE_WORDS: Mapping[str, Text] = {
    "user.mention": _("mentions the person (the first newcomer)"),
    "user.name": _("the person's name"),
    "user.open_id": _("the person's open_id"),
    "users.mentions": _("mentions all newcomers"),
    "users.names": _("all newcomers' names"),
    "users.count": _("how many newcomers"),
    "chat.name": _("the group's name"),
    "chat.id": _("the chat id"),
    "bot.name": _("the bot's name in this console"),
    "now": _("date and time of the greeting"),
}


@dataclass(frozen=True)
class Preview:
    """`html` is safe (events.cardview escapes) and empty where there is nothing to draw; `size` in bytes."""

    html: str
    problems: list[Problem]
    size: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def preview(text: str, trigger: str, bot_name: str, situation: str = "one") -> Preview:
    """Never raises, whatever the text is."""
    trigger = trigger if trigger in VARIABLES else Trigger.MEMBER_JOINED
    people = people_for(trigger, situation)
    try:
        card = parse(text)
        chat_name = "" if trigger == Trigger.CONVERSATION_STARTED else gettext("Newcomers")
        values = welcome_variables(bot_name or gettext("Console bot"), "oc_sample", chat_name, people)
        filled = fill(card, values)
        problems = unknown_variables(card, VARIABLES[trigger]) or check(filled)
        names = {person.open_id: person.name for person in people}
        return Preview(draw(filled, people=names, locale=locale()), problems, size_of(filled))
    except CardError as error:
        problems = error.problems
    except (TypeError, ValueError, LookupError, AttributeError, RecursionError):
        # A fault of ours, not of the card: the person typing must not lose the editor over it.
        log.exception("a card could not be previewed")
        problems = [Problem("", gettext("This card cannot be drawn. Is every element an object with a tag?"))]
    return Preview("", problems, len(text.encode(errors="replace")))


def people_for(trigger: str, situation: str) -> Sequence[Person]:
    """Who is greeted in a situation of SITUATIONS; an unknown one is "one"."""
    if trigger == Trigger.BOT_JOINED:
        return []
    names: Mapping[str, Sequence[str]] = {
        "three": (gettext("Lin Xia"), gettext("Zhang Wei"), "Ada Lovelace"),
        "nameless": ("",),
        "hostile": ("<at id=all></at> **x**](http://evil.example)",),
    }
    chosen = names.get(situation, (gettext("Lin Xia"),))
    return [Person(f"ou_sample{number}", name) for number, name in enumerate(chosen, 1)]


def size_of(card: Any) -> int:
    """Bytes of the message's content; a number JSON has no spelling for counts as nothing."""
    try:
        return len(dumps(card).encode(errors="replace"))
    except (ValueError, RecursionError):
        return 0


def locale() -> str:
    """The language in which the drawing itself speaks."""
    return "zh_cn" if (get_language() or "zh").startswith("zh") else "en_us"
