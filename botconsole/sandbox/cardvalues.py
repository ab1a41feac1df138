"""Which values the attributes of a card of JSON 2.0 may have, and what may stand inside them."""

import re
from collections.abc import Callable, Iterator
from typing import Any

Json = dict[str, Any]
Check = tuple[Callable[[Any], bool], str]  # whether a value is good, and what it should be
PIXELS = re.compile(r"(-?\d{1,3}px|0)( (-?\d{1,3}px|0)){0,3}")


def _words(text: str) -> Check:
    known = text.split()
    return lambda value: isinstance(value, str) and value in known, f"one of {', '.join(known)}"


def _between(least: int, most: int) -> Check:
    def good(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    return good, f"a whole number from {least} to {most}"


def _urls(link: Json) -> bool:
    """One address for all, or one for each of the three kinds of client."""
    return bool(link.get("url")) or all(link.get(f"{kind}_url") for kind in ("android", "ios", "pc"))


IN_PIXELS: Check = (
    lambda value: isinstance(value, str) and bool(PIXELS.fullmatch(value)),
    "pixels such as 12px",
)
COLOUR: Check = (
    lambda value: isinstance(value, str) and not value.startswith("#"),
    "the name of a colour, or rgba()",
)
OBJECT: Check = (lambda value: isinstance(value, dict), "an object")
TEXT: Check = (lambda value: isinstance(value, str), "a string")
LINK: Check = (
    lambda value: isinstance(value, dict) and _urls(value),
    "an object with url, or all of android_url, ios_url and pc_url",
)
# By attribute, or by tag and attribute.
VALUES: dict[str | tuple[str, str], Check] = {
    "padding": IN_PIXELS,
    "margin": IN_PIXELS,
    "background_style": COLOUR,
    "background_color": COLOUR,
    "border_color": COLOUR,
    "text_color": COLOUR,
    "color": COLOUR,
    "text": OBJECT,
    "alt": OBJECT,
    "title": OBJECT,
    "placeholder": OBJECT,
    "label": OBJECT,
    "icon": OBJECT,
    "confirm": OBJECT,
    "card_link": LINK,
    "width_mode": _words("default compact fill"),
    ("markdown", "content"): TEXT,
    ("column", "weight"): _between(1, 5),
    ("input", "max_length"): _between(1, 1000),
    ("input", "input_type"): _words("text password multiline_text"),
    ("button", "type"): _words(
        "default primary danger text primary_text danger_text primary_filled danger_filled laser"
    ),
}
URLS = frozenset(("url", "android_url", "ios_url", "pc_url"))
OPTION = frozenset(
    ("text", "value", "icon", "multi_url", "img_key", "disabled", "disabled_tips", "hover_tips")
)
# What the objects inside attributes may have.
INSIDE = {
    "confirm": frozenset(("title", "text")),
    "card_link": URLS,
    "options": URLS | OPTION,
}
BEHAVIORS = {
    "callback": frozenset(("type", "value")),
    "open_url": frozenset(("type", "default_url")) | URLS,
    "form_action": frozenset(("type", "behavior")),
}


def mistakes(node: Json) -> Iterator[tuple[str, str]]:
    """Attribute and what is wrong with it, of one object of a card."""
    for name, value in node.items():
        good, wanted = VALUES.get((str(node.get("tag")), name)) or VALUES.get(name) or (_anything, "")
        if not good(value):
            yield name, f"{name} must be {wanted}"
        elif name == "behaviors":
            yield from _behaviors(value)
        elif name in INSIDE:
            for one in value if isinstance(value, list) else [value]:
                yield from _unknown(name, one, INSIDE[name])


def _anything(value: Any) -> bool:
    return True


def _unknown(name: str, inner: Any, known: frozenset[str]) -> Iterator[tuple[str, str]]:
    if not isinstance(inner, dict):
        yield name, f"{name} must hold objects"
        return
    for key in inner:
        if key not in known:
            yield name, f"unknown property, property: {key}"


def _behaviors(value: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(value, list):
        yield "behaviors", "behaviors must be an array"
        return
    for one in value:
        kind = one.get("type") if isinstance(one, dict) else None
        if not isinstance(kind, str) or kind not in BEHAVIORS:
            yield "behaviors", f"a behavior must be one of {', '.join(BEHAVIORS)}"
            continue
        yield from _unknown("behaviors", one, BEHAVIORS[kind])
        if kind == "open_url" and not one.get("default_url") and not _urls(one):
            yield "behaviors", "open_url needs default_url"
