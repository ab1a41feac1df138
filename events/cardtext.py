"""A card as plain text for a terminal: header, lines, buttons as `[ text ]`. Never an error."""

from collections.abc import Callable, Iterator, Mapping

from events.cardmarkdown import Reader, to_text
from events.cardshapes import Node, elements_of, header_of, items, node, nodes, person_ids, string, text_of

MAX_DEPTH = 20


def as_text(card: object, people: Mapping[str, str] | None = None, *, locale: str = "zh_cn") -> str:
    """The card as lines of text."""
    reader = Reader(people or {}, locale=locale)
    whole = node(card)
    lines = list(_header(header_of(whole, locale), locale))
    if "type" in whole and "data" in whole:
        lines.append(f"<{string(node(whole['data']).get('template_id'))}>")
    lines.extend(_lines(elements_of(whole, locale), reader, 0))
    return "\n".join(lines)


def _header(header: Node, locale: str) -> Iterator[str]:
    if title := text_of(header.get("title"), locale):
        tags = "".join(f" <{text_of(tag.get('text'), locale)}>" for tag in nodes(header.get("text_tag_list")))
        yield f"== {title}{tags} =="
    if subtitle := text_of(header.get("subtitle"), locale):
        yield subtitle


def _lines(elements: object, reader: Reader, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        yield "..."
        return
    for element in nodes(elements):
        yield from _element(element, reader, depth)


def _element(element: Node, reader: Reader, depth: int) -> Iterator[str]:
    tag = string(element.get("tag"))
    if tag in _LINES:
        yield from _LINES[tag](element, reader)
        yield from _lines([element.get("extra")], reader, depth + 1)
    elif placeholder := text_of(element.get("placeholder"), reader.locale):
        yield f"[ {placeholder} ]"
    elif tag in {"note", "action"}:
        children = items(element.get("elements")) + items(element.get("actions"))
        yield " ".join(_lines(children, reader, depth + 1))
    else:
        yield from _container(element, reader, depth)


def _container(element: Node, reader: Reader, depth: int) -> Iterator[str]:
    if title := text_of(node(element.get("header")).get("title"), reader.locale):
        yield f"> {title}"
    for column in nodes(element.get("columns")):
        yield from _lines(column.get("elements"), reader, depth + 1)
    yield from _lines(element.get("elements"), reader, depth + 1)


def words_of(text: object, reader: Reader) -> str:
    """A text object as plain text, its markdown read."""
    words = text_of(text, reader.locale)
    return to_text(words, reader, "lark_md") if node(text).get("tag") == "lark_md" else words


def _div(element: Node, reader: Reader) -> Iterator[str]:
    if text := words_of(element.get("text"), reader):
        yield text
    for item in nodes(element.get("fields")):
        yield words_of(item.get("text"), reader)


def _image(element: Node, reader: Reader) -> Iterator[str]:
    title, alt = (words_of(element.get(key), reader) for key in ("title", "alt"))
    yield f"[{title or alt or 'image'}]"


def _button(element: Node, reader: Reader) -> Iterator[str]:
    yield f"[ {text_of(element.get('text'), reader.locale)} ]"


def _checker(element: Node, reader: Reader) -> Iterator[str]:
    yield f"[{'x' if element.get('checked') is True else ' '}] {words_of(element.get('text'), reader)}"


def _table(element: Node, reader: Reader) -> Iterator[str]:
    columns = nodes(element.get("columns"))
    names = [string(column.get("name")) for column in columns]
    yield " | ".join(string(column.get("display_name")) or string(column.get("name")) for column in columns)
    for row in nodes(element.get("rows")):
        yield " | ".join(string(row.get(name)) for name in names)


def _people(element: Node, reader: Reader) -> Iterator[str]:
    ids = person_ids(element.get("user_id")) + person_ids(element.get("persons"))
    yield " ".join(reader.name(person_id) for person_id in ids)


_LINES: Mapping[str, Callable[[Node, Reader], Iterator[str]]] = {
    "markdown": lambda element, reader: iter([to_text(text_of(element, reader.locale), reader)]),
    "lark_md": lambda element, reader: iter([words_of(element, reader)]),
    "plain_text": lambda element, reader: iter([words_of(element, reader)]),
    "hr": lambda element, reader: iter(["---"]),
    "div": _div,
    "img": _image,
    "button": _button,
    "checker": _checker,
    "table": _table,
    "person": _people,
    "person_list": _people,
}
