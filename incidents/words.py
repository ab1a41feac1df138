"""What a message says, in words, whatever its kind; Feishu's placeholders for mentions become names."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from django.utils.translation import gettext as _

from events.envelope import dig, inner_object, text_at

Json = dict[str, Any]
TYPED = ("text", "post")


def typed(message: Json) -> str:
    """What a person typed, mentions as they travel (`@_user_1`); "" for what is not text."""
    kind = message.get("message_type")
    return _WORDS[str(kind)](_content(message)) if kind in TYPED else ""


def text_of(message: Json) -> str:
    """A message in words: text and posts as they read, everything else as its kind and name."""
    kind = str(message.get("message_type") or "")
    words = _WORDS[kind](_content(message)) if kind in _WORDS else ""
    named = {text_at(one, "key"): f"@{text_at(one, 'name')}" for one in mentions(message)}
    return replace_mentions(words, named) or f"[{kind or _('message')}]"


def mentions(message: Json) -> list[Json]:
    found = message.get("mentions")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def replace_mentions(words: str, by_key: Mapping[str, str]) -> str:
    """Every placeholder by what stands for it; `@_user_1` is no part of `@_user_10`."""
    keys = sorted(filter(None, by_key), key=len, reverse=True)
    if not keys:
        return words
    return re.sub("|".join(map(re.escape, keys)), lambda found: by_key[found[0]], words)


def _content(message: Json) -> Json:
    return inner_object(message.get("content"))


def _post(content: Json) -> str:
    lines = ["".join(map(_part, line)) for line in _lines(content.get("content"))]
    return "\n".join(line for line in (text_at(content, "title"), *lines) if line)


def _card(content: Json) -> str:
    """Somebody else's card as Feishu tells of it: its title and its texts, without the buttons."""
    head = f"[{_('card')}] {text_at(content, 'title')}".rstrip()
    lines = [
        " ".join(filter(None, (text_at(part, "text") for part in line if dig(part, "tag") != "button")))
        for line in _lines(content.get("elements"))
    ]
    return "\n".join([head, *(line for line in lines if line)])


def _lines(told: Any) -> list[list[Any]]:
    return [line for line in told if isinstance(line, list)] if isinstance(told, list) else []


def _part(part: Any) -> str:
    tag = dig(part, "tag")
    if tag in ("img", "media"):
        return "[" + _("image") + "]"
    if tag == "at":
        return text_at(part, "user_id")
    if tag == "emotion":
        return f"[{text_at(part, 'emoji_type')}]"
    return text_at(part, "text")


_WORDS: dict[str, Callable[[Json], str]] = {
    "text": lambda content: text_at(content, "text"),
    "post": _post,
    "image": lambda content: "[" + _("image") + "]",
    "file": lambda content: "[" + _("file") + "] " + text_at(content, "file_name"),
    "interactive": _card,
}
