"""The card language: fills an operator's card with values, each escaped for the place it stands in.

A card is parsed JSON and variables are a flat mapping of dotted names: no JSON text is ever put together from
pieces, no attribute is ever looked up. What a finished card may look like stands in events.cardcheck.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import TypeAlias
from urllib.parse import quote

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from events.cardcheck import JSON, Problem, check, dumps, is_too_deep, join
from events.cardrules import MARKDOWN_TAGS, MAX_BYTES, MAX_DEPTH, URL_KEYS

__all__ = [
    "JSON",
    "MAX_BYTES",
    "CardError",
    "Markup",
    "Problem",
    "Url",
    "Value",
    "check",
    "dumps",
    "escape",
    "fill",
    "mention",
    "mentions",
    "parse",
    "render",
    "unknown_variables",
    "variables_in",
]


@dataclass(frozen=True)
class Markup:
    """A value that is markup made by us: `markdown` goes unescaped into markdown, `text` everywhere else."""

    markdown: str
    text: str


@dataclass(frozen=True)
class Url:
    """An address made by us: stays whole where a link begins with it; elsewhere it is ordinary text."""

    url: str


Value: TypeAlias = str | int | float | Markup | Url | None


class CardError(ValueError):
    """The card cannot be used; `problems` says why, with JSON paths."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(map(str, self.problems)))


def parse(text: str) -> JSON:
    """JSON text from an operator -> the card as an object; CardError says the line and column in words."""
    try:
        card = json.loads(text.removeprefix("\ufeff"), parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        values = {"line": error.lineno, "column": error.colno, "reason": _REASONS.get(error.msg, error.msg)}
        message = _("Line %(line)d, column %(column)d: %(reason)s") % values
        raise CardError([Problem("", message)]) from None
    except RecursionError:
        raise CardError([_too_deep()]) from None
    except ValueError as error:  # NaN, or a number of more than 4300 digits
        message = _("This is not a number in JSON: %(error)s") % {"error": error}
        raise CardError([Problem("", message)]) from None
    if not isinstance(card, dict):
        raise CardError([Problem("", _("A card is a JSON object."))])
    if is_too_deep(card):
        raise CardError([_too_deep()])
    return card


@lru_cache(maxsize=128)
def template(text: str, known: frozenset[str]) -> JSON:
    """The card in a text that uses only these variables, for `complete`; CardError if it is not so."""
    card = parse(text)
    if problems := unknown_variables(card, known):
        raise CardError(problems)
    return card


def render(card: JSON, variables: Mapping[str, Value]) -> JSON:
    """The card filled and checked, ready for `dumps`; CardError with every problem if it may not be sent."""
    if problems := unknown_variables(card, variables):
        raise CardError(problems)
    return complete(card, variables)


def complete(card: JSON, variables: Mapping[str, Value]) -> JSON:
    """`render` for a card whose variables are all known."""
    filled = fill(card, variables)
    if problems := check(filled):
        raise CardError(problems)
    return filled


def fill(card: JSON, variables: Mapping[str, Value]) -> JSON:
    """A new card with every placeholder replaced; one without a value becomes its default, or nothing."""
    line_break = "<br>" if isinstance(card, Mapping) and card.get("schema") == "2.0" else "\n"
    return _each_string(
        card, lambda text, place, _path: _fill_text(text, variables, _Writer(place, line_break))
    )


def variables_in(card: JSON) -> set[str]:
    """The names of all variables the card uses."""
    found: set[str] = set()

    def collect(text: str, _place: "_Place | _Rows", _path: str) -> str:
        found.update(match["name"] for match in _PLACEHOLDER.finditer(text) if match["name"])
        return text

    _each_string(card, collect)
    return found


def unknown_variables(card: JSON, known: Collection[str]) -> list[Problem]:
    """Placeholders nobody will fill: names that are not known, and `{{` that is never finished."""
    problems: list[Problem] = []

    def judge(text: str, _place: "_Place | _Rows", path: str) -> str:
        problems.extend(
            _placeholder_problem(match, path)
            for match in _PLACEHOLDER.finditer(text)
            if match["name"] not in known
        )
        return text

    try:
        _each_string(card, judge)
    except CardError as error:
        return error.problems
    return problems


def mention(open_id: str, name: str) -> Markup:
    """`<at>` for one person; an id that is not one (or is `all`) is shown as a name and mentions nobody."""
    text = "@" + (" ".join(_without_unseen(name).split()) or open_id)
    if not _OPEN_ID.fullmatch(open_id) or open_id == "all":
        return Markup(escape(text), text)
    return Markup(f"<at id={open_id}></at>", text)


def mentions(people: Mapping[str, str]) -> Markup:
    """`<at>` for several people, open_id -> name, in their order."""
    each = [mention(open_id, name) for open_id, name in people.items()]
    return Markup(" ".join(one.markdown for one in each), " ".join(one.text for one in each))


def escape(text: str, *, line_break: str = "\n") -> str:
    """Text as markdown that shows it literally: Feishu's entities, no leading spaces (a code block)."""
    lines = (line.strip() for line in _without_unseen(text).splitlines())
    return line_break.join(line.translate(_ENTITIES) for line in lines)


# Feishu's list (& first: a typed &#60; must not come alive), and | which would end a table's cell.
_ENTITIES = str.maketrans(
    {"~": "&sim;", "&": "&#38;", "|": "&#124;"}
    | {mark: f"&#{ord(mark)};" for mark in "<>-!*/\\[]()#:+\"'`$_"}
)
_PLACEHOLDER = re.compile(
    r"""\{\{ (?:
        \s* (?P<name> [a-z_]\w* (?: \.\w+ )* ) \s* (?: \|\s*default:\s*"(?P<default> [^"]* )"\s* )? \}\}
    )?""",
    re.ASCII | re.VERBOSE,
)
_ADDRESS_BEGINS = re.compile(
    r"""\A\Z | \]\(\Z | \s\w+=["']?\Z""", re.VERBOSE
)  # url, [t](url), <link url='url'>
_OPEN_ID = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
# Control characters, bidirectional overrides (they would turn round the text after a name), lone surrogates.
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_URL_MARKS = ":/?#@!$&+,=%"  # may stay in an address of ours: none of them ends a link or an attribute
_REASONS: Mapping[str, str | Promise] = {
    "Expecting value": gettext_lazy("a value is missing here (a text needs double quotes)."),
    "Expecting ',' delimiter": gettext_lazy("a comma is missing, or a bracket is not closed."),
    "Expecting ':' delimiter": gettext_lazy("a colon is missing after the name."),
    "Expecting property name enclosed in double quotes": gettext_lazy(
        "a name in double quotes must stand here (no comma after the last one)."
    ),
    "Illegal trailing comma before end of object": gettext_lazy("there must be no comma after the last one."),
    "Illegal trailing comma before end of array": gettext_lazy("there must be no comma after the last one."),
    "Unterminated string starting at": gettext_lazy("the text that starts here is never closed."),
    "Invalid control character at": gettext_lazy("a line break inside a text is written \\n."),
    "Invalid \\escape": gettext_lazy("a backslash inside a text is written \\\\."),
    "Extra data": gettext_lazy("the card ends before this."),
}


class _Place(Enum):
    """How the string is read by Feishu."""

    TEXT = auto()
    MARKDOWN = auto()
    URL = auto()
    ATTRIBUTE = auto()  # in a tag inside markdown: <at id={{ user.open_id }}></at>
    RAW = auto()  # a button's value: comes back to us as it was


@dataclass(frozen=True)
class _Rows:
    """The rows of a table: read as markdown in these columns."""

    markdown_columns: frozenset[str]


@dataclass(frozen=True)
class _Writer:
    """Writes a value into one string of the card."""

    place: _Place | _Rows
    line_break: str

    def write(self, value: Value, before: str) -> str:
        place = _place_after(before) if self.place is _Place.MARKDOWN else self.place
        if place is _Place.RAW:
            return _text_of(value)
        if place is _Place.MARKDOWN and isinstance(value, Markup):
            return value.markdown
        if place is _Place.MARKDOWN:
            return escape(_text_of(value), line_break=self.line_break)
        if place in {_Place.URL, _Place.ATTRIBUTE}:
            return _address(value, place, begins=_ADDRESS_BEGINS.search(before) is not None)
        return _without_unseen(_text_of(value))


def _fill_text(text: str, variables: Mapping[str, Value], writer: _Writer) -> str:
    def written(match: re.Match[str]) -> str:
        if match["name"] is None:
            return match[0]
        value = variables.get(match["name"])
        if value is None or _text_of(value) == "":
            value = match["default"] or ""
        return writer.write(value, text[: match.start()])

    return _PLACEHOLDER.sub(written, text)


def _text_of(value: Value) -> str:
    if isinstance(value, Markup):
        return value.text
    if isinstance(value, Url):
        return value.url
    return "" if value is None else str(value)


def _place_after(before: str) -> _Place:
    """Where in markdown the next character stands: in running text, in a link's target or in a tag."""
    if re.search(r"<[A-Za-z/][^>]*\Z", before[before.rfind("<") :] if "<" in before else ""):
        return _Place.ATTRIBUTE
    target = before.rfind("](")
    return _Place.URL if target >= 0 and ")" not in before[target:] else _Place.MARKDOWN


def _address(value: Value, place: _Place, *, begins: bool) -> str:
    """Percent-encoded: nothing a person is called can end the link or the attribute, nor mention everyone."""
    text = _without_unseen(_text_of(value))
    if begins and isinstance(value, Url) and re.match(r"https?://", text):
        return quote(text, safe=_URL_MARKS)
    if place is _Place.ATTRIBUTE and text.lower() == "all":
        return ""
    return quote(text, safe="")


def _without_unseen(text: str) -> str:
    return _UNSEEN.sub("", text)


def _each_string(
    node: JSON,
    visit: Callable[[str, _Place | _Rows, str], str],
    place: _Place | _Rows = _Place.TEXT,
    path: str = "",
    depth: int = 0,
) -> JSON:
    """A copy in which `visit(text, place, path)` has rewritten every string."""
    if depth > MAX_DEPTH:
        raise CardError([_too_deep()])
    if isinstance(node, str):
        return visit(node, place, path)
    if isinstance(node, Mapping):
        return {
            key: _each_string(child, visit, _place_of(node, key, place), join(path, str(key)), depth + 1)
            for key, child in node.items()
        }
    if isinstance(node, list | tuple):
        return [
            _each_string(child, visit, place, join(path, index), depth + 1)
            for index, child in enumerate(node)
        ]
    return node


def _place_of(parent: Mapping[str, JSON], key: str, place: _Place | _Rows) -> _Place | _Rows:
    """How the value under `key` is read; an unknown tag's content counts as markdown, the careful guess."""
    tag = parent.get("tag")
    if isinstance(place, _Rows):
        return _Place.MARKDOWN if key in place.markdown_columns else _Place.TEXT
    if place is _Place.RAW or key == "value":
        return _Place.RAW
    if key in URL_KEYS:
        return _Place.URL
    if key == "template_variable" or (
        key in {"content", "i18n_content", "i18n"} and tag not in (None, "plain_text")
    ):
        return _Place.MARKDOWN
    if tag == "table" and key == "rows":
        return _Rows(_markdown_columns(parent.get("columns")))
    return place


def _markdown_columns(columns: JSON) -> frozenset[str]:
    return frozenset(
        str(column.get("name"))
        for column in (columns if isinstance(columns, list) else [])
        if isinstance(column, Mapping) and column.get("data_type") in MARKDOWN_TAGS
    )


def _placeholder_problem(match: re.Match[str], path: str) -> Problem:
    if match["name"]:
        return Problem(path, _("There is no variable %(name)s.") % {"name": match["name"]})
    snippet = match.string[match.start() : match.start() + 40]
    message = _('"%(snippet)s" is not finished: write {{ name }} or {{ name|default:"..." }}.')
    return Problem(path, message % {"snippet": snippet})


def _too_deep() -> Problem:
    return Problem("", _("The card is nested more than %(limit)d levels deep.") % {"limit": MAX_DEPTH})


def _refuse_constant(name: str) -> None:
    raise ValueError(name)
