"""Judges a card as the platform's card service does; shares nothing with the product."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from botconsole.sandbox import cardtags, cardvalues
from botconsole.sandbox.errors import PlatformError, card_error

Json = dict[str, Any]
LARGEST_BYTES, MOST_ELEMENTS, DEEPEST_COLUMNS, DEEPEST_JSON = 30 * 1024, 200, 5, 100
ELEMENT_ID = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,19}")
AT = re.compile(r"<(?:at|person)\s+(?:id|ids|user_id|open_id)\s*=\s*[\"']?([^\"'>\s/]*)", re.IGNORECASE)
AT_EMAIL = re.compile(r"<at\s+email\s*=\s*[\"']?([^\"'>\s/]*)", re.IGNORECASE)
IMAGE = re.compile(r"!\[[^\]]{0,500}\]\(([^)\s]+)\)")


def parse_card(content: str) -> Json:
    """The card in `content`: a JSON object of at most 30 KB, or the card service's refusal."""
    if len(content.encode()) > LARGEST_BYTES:
        raise PlatformError(230025, "ext=a card may have 30 KB")
    try:
        card = json.loads(content)
    except ValueError as error:
        raise card_error(
            200621, "parse card json err, please check whether the card json is correct", str(error)
        ) from None
    if not isinstance(card, dict):
        raise card_error(
            200621, "parse card json err, please check whether the card json is correct", "not an object"
        )
    return card


def is_second_schema(card: Json) -> bool:
    return str(card.get("schema", "")) == "2.0"


def is_shared(card: Json) -> bool:
    """Whether everyone sees the same card: `update_multi`, whose default differs between 1.0 and 2.0."""
    config = card.get("config")
    told = config.get("update_multi") if isinstance(config, dict) else None
    return is_second_schema(card) if told is None else told is True


def mentions_all(card: Json) -> bool:
    """Whether a text of the card is for everybody in the chat."""
    texts = (node["content"] for _, node in walk(card) if isinstance(node.get("content"), str))
    return any("all" in ids.split(",") for text in texts for ids in AT.findall(text))


def walk(node: Any, path: str = "ROOT") -> Iterator[tuple[str, Json]]:
    """Every object of a card with the path the card service would print."""
    if isinstance(node, dict):
        yield path, node
        for key, value in node.items():
            if key not in ("value", "chart_spec", "rows", "form_value"):
                yield from walk(value, f"{path} -> {key}")
    elif isinstance(node, list):
        for index, item in enumerate(node):
            yield from walk(
                item, f"{path} -> [{index}]({item.get('tag', '')})" if isinstance(item, dict) else path
            )


@dataclass(slots=True)
class CardRules:
    """The checks; `knows_person(id)`, `knows_email(address)` and `knows_image(key)` ask the sandbox."""

    knows_person: Callable[[str], bool]
    knows_email: Callable[[str], bool]
    knows_image: Callable[[str], bool]
    _ids: set[str] = field(default_factory=set)

    def check(self, card: Json) -> None:
        """Raises the PlatformError the send would answer."""
        self._ids.clear()
        if not card:
            return
        if _too_deep(card):
            raise card_error(200621, "parse card json err, nested too deep", "ROOT")
        if card.get("type") == "template" or (card.get("type") == "card" and "data" in card):
            raise card_error(
                200380, "template is not exist or unpublished, the sandbox has none", str(card.get("type"))
            )
        if is_second_schema(card):
            self._second_schema(card)
        else:
            self._first_schema(card)
        for path, node in walk(card):
            self._references(path, node)

    def _first_schema(self, card: Json) -> None:
        """1.0 ignores what it does not know, but not unknown tags or a wrong frame."""
        if "schema" in card and card["schema"] not in ("1.0", ""):
            raise card_error(200621, "parse card json err", f"unknown schema {card['schema']!r}")
        if not isinstance(card.get("elements", []), list) or not isinstance(
            card.get("i18n_elements", {}), dict
        ):
            raise card_error(200621, "parse card json err, elements must be an array", "ROOT -> elements")
        if "body" in card:
            raise card_error(200621, "parse card json err, body belongs to schema 2.0", "ROOT -> body")
        for path, node in walk({key: card[key] for key in ("elements", "i18n_elements") if key in card}):
            if "tag" in node and not _among(node["tag"], cardtags.FIRST_SCHEMA):
                raise card_error(200621, f"parse card json err, unsupported tag {node['tag']}", path)
            if node.get("tag") == "form":
                self._form(path, node)

    def _second_schema(self, card: Json) -> None:
        self._known("ROOT", card, cardtags.ROOT)
        config = _object(card, "config", "ROOT")
        self._known("ROOT -> config", config, cardtags.CONFIG)
        if config.get("update_multi", True) is not True:
            raise card_error(
                200621, "parse card json err, schema 2.0 only supports update_multi true", "ROOT -> config"
            )
        self._header(_object(card, "header", "ROOT"))
        body = _object(card, "body", "ROOT")
        self._known("ROOT -> body", body, cardtags.BODY)
        if sum("tag" in node for _, node in walk(card)) > MOST_ELEMENTS:
            raise card_error(11310, "card element exceeds the limit of 200", "ROOT -> body")
        self._elements("ROOT -> body", body, inside=())

    def _header(self, header: Json) -> None:
        self._known("ROOT -> header", header, cardtags.HEADER)
        if not _among(header.get("template", "default"), cardtags.TEMPLATES):
            raise card_error(200621, "parse card json err, unknown template", str(header["template"]))
        tags = header.get("text_tag_list", [])
        if not isinstance(tags, list) or len(tags) > 3:
            raise card_error(
                200621, "parse card json err, at most 3 text tags", "ROOT -> header -> text_tag_list"
            )
        for path, node in walk(header, "ROOT -> header"):
            if "tag" in node:
                self._part(path, node)

    def _elements(self, path: str, parent: Json, inside: tuple[str, ...]) -> None:
        elements = parent.get("elements", [])
        if not isinstance(elements, list):
            raise card_error(200621, "parse card json err, elements must be an array", path)
        for index, element in enumerate(elements):
            where = f"{path} -> elements -> [{index}]"
            if not isinstance(element, dict):
                raise card_error(200621, "parse card json err, an element must be an object", where)
            self._component(f"{where}(tag: {element.get('tag', '')})", element, inside)

    def _component(self, path: str, element: Json, inside: tuple[str, ...]) -> None:
        tag = element.get("tag")
        known = cardtags.COMPONENTS.get(tag) if isinstance(tag, str) else None
        if known is None or tag == "column":
            what = "cards of schema V2 no longer support this capability"
            raise card_error(200861, what, f"unsupported tag {tag}; path: {path}")
        self._known(path, element, known | cardtags.EVERYWHERE)
        self._element_id(path, element)
        self._nesting(path, str(tag), inside)
        for key in ("text", "alt", "title", "placeholder", "icon", "label", "hover_tips", "disabled_tips"):
            part = element.get(key)
            if isinstance(part, dict):
                self._part(f"{path} -> {key}", part)
        if tag == "form":
            self._form(path, element)
        if tag == "img" and element.get("size") == "stretch_without_padding":
            raise card_error(
                200861, "cards of schema V2 no longer support this capability", f"size; path: {path}"
            )
        if tag == "chart" and not isinstance(element.get("chart_spec"), dict):
            raise card_error(200550, "chart spec is invalid", path)
        if tag == "column_set":
            self._columns(path, element, (*inside, "column_set"))
        elif "elements" in known:
            self._elements(path, element, (*inside, str(tag)))

    def _columns(self, path: str, element: Json, inside: tuple[str, ...]) -> None:
        for index, column in enumerate(_list(element.get("columns"))):
            where = f"{path} -> columns -> [{index}]"
            if not isinstance(column, dict) or column.get("tag") != "column":
                raise card_error(200621, "parse card json err, a column_set holds columns", where)
            self._known(where, column, cardtags.COMPONENTS["column"] | cardtags.EVERYWHERE)
            self._element_id(where, column)
            if isinstance(column.get("width"), int):
                raise card_error(200621, "parse card json err, width must be a string", where)
            self._elements(where, column, inside)

    def _nesting(self, path: str, tag: str, inside: tuple[str, ...]) -> None:
        if tag in ("form", "table") and inside:
            raise card_error(
                200621, f"parse card json err, {tag} is only allowed at the root of the body", path
            )
        if tag == "chart" and "form" in inside:
            raise card_error(200621, "parse card json err, a form holds no chart", path)
        if tag == "column_set" and inside.count("column_set") >= DEEPEST_COLUMNS:
            raise card_error(200621, "parse card json err, column_set is nested too deep", path)

    def _part(self, path: str, part: Json) -> None:
        known = cardtags.PARTS.get(str(part.get("tag")))
        if known is None:
            what = "cards of schema V2 no longer support this capability"
            raise card_error(200861, what, f"unsupported tag {part.get('tag')}; path: {path}")
        self._known(path, part, known | cardtags.EVERYWHERE)
        if "content" in part and not isinstance(part["content"], str):
            raise card_error(200621, "parse card json err, content must be a string", path)

    def _element_id(self, path: str, element: Json) -> None:
        element_id = element.get("element_id")
        if element_id is None:
            return
        if not isinstance(element_id, str) or not ELEMENT_ID.fullmatch(element_id) or element_id in self._ids:
            raise card_error(
                200621, "parse card json err, element_id is invalid or not unique", f"{path}: {element_id}"
            )
        self._ids.add(element_id)

    def _form(self, path: str, form: Json) -> None:
        """Every field of a form has its own name, and one button sends it."""
        names = [
            node.get("name") for _, node in walk(form) if _among(node.get("tag"), cardtags.ALWAYS_FIELDS)
        ]
        good = all(isinstance(name, str) and name for name in (form.get("name"), *names))
        if not good or len(set(names)) != len(names):
            raise card_error(200530, "form component name is empty or not unique", path)
        kinds = [node.get("form_action_type") or node.get("action_type") for _, node in walk(form)]
        if not any(kind in ("submit", "form_submit") for kind in kinds):
            raise card_error(200530, "a form needs a button with form_action_type submit", path)

    def _references(self, path: str, node: Json) -> None:
        """Mentions and images must exist; a button's value must be an object or a text."""
        text = node.get("content")
        if isinstance(text, str) and node.get("tag") in ("markdown", "lark_md"):
            self._mentions(path, text)
            for key in IMAGE.findall(text):
                self._image(path, key)
        if isinstance(node.get("img_key"), str):
            self._image(path, node["img_key"])
        for behavior in [node, *_list(node.get("behaviors"))]:
            if isinstance(behavior, dict) and not isinstance(
                behavior.get("value", ""), str | dict | list | int
            ):
                raise card_error(200621, "parse card json err, value must be an object", path)

    def _mentions(self, path: str, text: str) -> None:
        people = [one for ids in AT.findall(text) for one in ids.split(",")]
        unknown = [one for one in people if one != "all" and not self.knows_person(one)]
        unknown += [address for address in AT_EMAIL.findall(text) if not self.knows_email(address)]
        if unknown:
            raise card_error(100290, "invalid user resource(at/person)", f"{unknown[0]}; path: {path}")

    def _image(self, path: str, key: str) -> None:
        if not self.knows_image(key):
            raise card_error(200570, "invalid image key", f"{key}; path: {path}")

    def _known(self, path: str, node: Json, known: frozenset[str]) -> None:
        """2.0 has no attribute it does not know, and none with a value it does not."""
        for key in node:
            if key not in known:
                raise card_error(
                    200621, "parse card json err", f"unknown property, property: {key}, path: {path}"
                )
        for attribute, what in cardvalues.mistakes(node):
            raise card_error(200621, "parse card json err", f"{what}, path: {path} -> {attribute}")


def _object(parent: Json, key: str, path: str) -> Json:
    found = parent.get(key, {})
    if not isinstance(found, dict):
        raise card_error(200621, "parse card json err, an object is expected", f"{path} -> {key}")
    return found


def _among(value: Any, known: frozenset[str]) -> bool:
    return isinstance(value, str) and value in known


def _too_deep(node: Any) -> bool:
    """Whether more than 100 lists and objects are inside each other: nobody could draw that."""
    level = [node]
    for _ in range(DEEPEST_JSON):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
    return bool(level)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
