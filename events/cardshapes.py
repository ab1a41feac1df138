"""Reads card JSON of any shape without ever raising: what is missing or malformed reads as empty.

For drawing only (events.cardview); what a card must look like is events.cardcheck's business.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

Node: TypeAlias = Mapping[str, Any]

MAX_TEXT = 32 * 1024  # a whole card has 30 KB: longer texts are somebody's attack on the drawing

_UNDRAWABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_WEB_URL = re.compile(r"https?://[^\s/]", re.IGNORECASE)


def node(value: object) -> Node:
    return value if isinstance(value, Mapping) else {}


def nodes(value: object) -> list[Node]:
    return [item for item in items(value) if isinstance(item, Mapping)]


def items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def string(value: object) -> str:
    """A text or number as text that can be encoded and shown; anything else is empty."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    text = value if isinstance(value, str) else json.dumps(value)
    return _UNDRAWABLE.sub("\ufffd", text[:MAX_TEXT])


def text_of(value: object, locale: str) -> str:
    """The words of a text object (`plain_text`, `lark_md`, `markdown`) in this language, or a bare string."""
    if not isinstance(value, Mapping):
        return string(value)
    for key in ("i18n_content", "i18n"):
        if translated := string(node(value.get(key)).get(locale)):
            return translated
    return string(value.get("content"))


def elements_of(card: Node, locale: str) -> list[Any]:
    """The card's elements, wherever its version keeps them."""
    if "body" in card:
        return items(node(card["body"]).get("elements"))
    if "elements" in card:
        return items(card["elements"])
    translated = node(card.get("i18n_elements"))
    return items(translated.get(locale) or next(iter(translated.values()), []))


def header_of(card: Node, locale: str) -> Node:
    return node(card.get("header")) or node(node(card.get("i18n_header")).get(locale))


def web_url(value: object) -> str:
    """The address if it is http or https, else empty: no script and no app may hide behind a link."""
    url = string(value)
    return url if _WEB_URL.match(url) else ""


def url_of(value: object) -> str:
    """Where an element, a behavior, a card_link or a multi_url leads on a desktop."""
    one = node(value)
    return next((url for key in ("pc_url", "default_url", "url") if (url := web_url(one.get(key)))), "")


def person_ids(value: object) -> list[str]:
    """Ids from `"ou_a"`, `["ou_a"]` or `[{"id": "ou_a"}]`."""
    each = value if isinstance(value, list) else [value]
    ids = [string(one.get("id")) if isinstance(one, Mapping) else string(one) for one in each]
    return [person_id for person_id in ids if person_id]
