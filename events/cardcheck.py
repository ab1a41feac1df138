"""Checks a card before Feishu does: the structure of JSON 1.0 and 2.0 and the platform's limits.

Feishu refuses a 2.0 card for one unknown attribute (230099), and a refused card is a greeting nobody gets.
Must not know variables, people or chats: it judges finished cards.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from django.utils.translation import gettext as _

from events.cardrules import (
    ATTRIBUTES,
    BEHAVIOR_KEYS,
    BLOCKED_PLATFORM_URL,
    BODY_KEYS,
    BUTTON_TYPES,
    COLOUR_KEYS,
    CONFIG_KEYS,
    HEADER_COLOURS,
    HEADER_KEYS,
    MARKDOWN_TAGS,
    MAX_BYTES,
    MAX_COLUMN_DEPTH,
    MAX_DEPTH,
    MAX_ELEMENTS,
    MAX_HEADER_TAGS,
    NAMED_IN_FORMS,
    NOT_ELEMENTS,
    ONLY_IN_1,
    REPLACEMENTS,
    REQUIRED,
    ROOT_KEYS,
    TAG_COLOURS,
    TEXT_KEYS,
    TEXT_TAGS,
    URL_KEYS,
)

JSON: TypeAlias = Any  # parsed JSON: the shapes are checked at run time, below

_ELEMENT_ID = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,19}", re.ASCII)
_VERSION = re.compile(r"\d+\.\d+\.\d+", re.ASCII)
_AT = re.compile(r"<at\b([^<>]*)>", re.IGNORECASE)
_AT_TARGET = re.compile(
    r"""\s+(?:(?:id|ids|user_id)=(["']?)[A-Za-z0-9_,-]+\1|email=(["']?)[^\s"'<>@]+@[^\s"'<>@]+\2)\s*/?"""
)
_LINK_SCHEME = re.compile(r"\]\(\s*([A-Za-z][A-Za-z0-9+.-]*):")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Problem:
    """What is wrong and where: `path` like `body.elements[2].text.content`, empty for the card as a whole."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def dumps(card: JSON) -> str:
    """The exact string sent as a message's `content`: compact, Chinese unescaped."""
    return json.dumps(card, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def check(card: object) -> list[Problem]:
    """Everything wrong with a finished card (all variables filled); [] if it may be sent."""
    if not isinstance(card, Mapping):
        return [Problem("", _("A card is a JSON object."))]
    if is_too_deep(card):
        return [Problem("", _("The card is nested more than %(limit)d levels deep.") % {"limit": MAX_DEPTH})]
    if "type" in card and "data" in card:
        return _size(card) or list(_template_problems(card))
    return _size(card) + _Checker(version=2 if "schema" in card else 1).run(card)


def is_too_deep(card: object) -> bool:
    """Whether recursion over it could end in a RecursionError; itself does not recurse."""
    level: list[object] = [card]
    for _depth in range(MAX_DEPTH + 1):
        level = [child for node in level for child in _children(node)]
        if not level:
            return False
    return True


def join(path: str, key: str | int) -> str:
    """`body` and `elements` -> `body.elements`; `elements` and 2 -> `elements[2]`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def _children(node: object) -> Collection[object]:
    if isinstance(node, Mapping):
        return node.values()
    return node if isinstance(node, list | tuple) else ()


def _size(card: Mapping[str, JSON]) -> list[Problem]:
    try:
        content = dumps(card)
    except (TypeError, ValueError) as error:
        return [Problem("", _("This cannot be written as JSON: %(error)s.") % {"error": error})]
    if _SURROGATE.search(content):
        return [Problem("", _("The card holds half of a character (a lone surrogate)."))]
    size = len(content.encode())
    if size <= MAX_BYTES:
        return []
    return [
        Problem(
            "", _("The card has %(size)d bytes; %(limit)d are allowed.") % {"size": size, "limit": MAX_BYTES}
        )
    ]


def _template_problems(card: Mapping[str, JSON]) -> Iterator[Problem]:
    """`{"type":"template","data":{...}}`: a card kept in Feishu's card builder."""
    data = card["data"]
    if card["type"] != "template":
        yield Problem("type", _('Only "template" can be sent this way.'))
    elif not isinstance(data, Mapping):
        yield Problem("data", _("This must be an object."))
    else:
        yield from _template_data_problems(data)


def _template_data_problems(data: Mapping[str, JSON]) -> Iterator[Problem]:
    if not _filled(data.get("template_id")):
        yield Problem("data.template_id", _("This is missing."))
    version = data.get("template_version_name")
    if not (isinstance(version, str) and _VERSION.fullmatch(version)):
        message = _('Name the version, like "1.0.0": otherwise publishing the template changes sent cards.')
        yield Problem("data.template_version_name", message)
    if not isinstance(data.get("template_variable", {}), Mapping):
        yield Problem("data.template_variable", _("This must be an object."))


def _filled(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


@dataclass(frozen=True)
class _Where:
    """What stands around an element."""

    root: bool = True
    columns: int = 0
    form: bool = False


@dataclass
class _Checker:
    """One walk over one card; `version` is 1 or 2."""

    version: int
    problems: list[Problem] = field(default_factory=list)
    element_ids: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)

    def run(self, card: Mapping[str, JSON]) -> list[Problem]:
        if not card:
            return []  # Feishu accepts the empty card
        if self.version == 2:
            self._card_2(card)
        else:
            self._card_1(card)
        self._header(card.get("header", {}), "header")
        self._card_link(card.get("card_link", {}), "card_link")
        self._everywhere(card, "")
        return self.problems

    def say(self, path: str, message: str, **values: object) -> None:
        self.problems.append(Problem(path, message % values if values else message))

    # the card around its elements

    def _card_2(self, card: Mapping[str, JSON]) -> None:
        if card["schema"] != "2.0":
            self.say("schema", _('This must be "2.0".'))
        for key in ("elements", "i18n_elements"):
            if key in card:
                self.say(key, _("Card JSON 2.0 keeps its elements in body.elements."))
        self._known(card, ROOT_KEYS | {"elements", "i18n_elements"}, "")
        self._config(card.get("config", {}))
        body = self._object(card.get("body", {}), "body")
        self._known(body, BODY_KEYS, "body")
        self._elements(body.get("elements", []), "body.elements", _Where())
        self._count(card)

    def _card_1(self, card: Mapping[str, JSON]) -> None:
        config = self._object(card.get("config", {}), "config")
        if config.get("update_multi") is not True:
            message = _(
                'Add "update_multi": true to the config: without it the card cannot be updated later.'
            )
            self.say("config.update_multi", message)
        if "body" in card:
            self.say("body", _('A card with a body needs "schema": "2.0".'))
        elif "elements" not in card and "i18n_elements" not in card:
            self.say("elements", _("This is missing."))
        self._elements(card.get("elements", []), "elements", _Where())
        translated = self._object(card.get("i18n_elements", {}), "i18n_elements")
        for locale, elements in translated.items():
            self.names.clear()
            self._elements(elements, f"i18n_elements.{locale}", _Where())

    def _config(self, config: JSON) -> None:
        self._known(self._object(config, "config"), CONFIG_KEYS, "config")
        if isinstance(config, Mapping) and config.get("update_multi", True) is not True:
            self.say("config.update_multi", _("Card JSON 2.0 allows only true here."))

    def _count(self, card: Mapping[str, JSON]) -> None:
        count = sum(1 for _path, node in _objects(card, "") if "tag" in node)
        if count > MAX_ELEMENTS:
            message = _("The card has %(count)d elements; %(limit)d are allowed.")
            self.say("body.elements", message, count=count, limit=MAX_ELEMENTS)

    def _header(self, header: JSON, path: str) -> None:
        header = self._object(header, path)
        if self.version == 2:
            self._known(header, HEADER_KEYS, path)
        if header and "title" not in header:
            self.say(join(path, "title"), _("This is missing."))
        if "template" in header and not _among(header["template"], HEADER_COLOURS):
            message = _("%(value)r is not a header colour. Use one of: %(known)s.")
            known = ", ".join(sorted(HEADER_COLOURS))
            self.say(join(path, "template"), message, value=header["template"], known=known)
        self._texts(header, path)
        self._header_tags(header.get("text_tag_list", []), join(path, "text_tag_list"))

    def _header_tags(self, tags: JSON, path: str) -> None:
        if len(self._list(tags, path)) > MAX_HEADER_TAGS:
            self.say(path, _("At most %(limit)d tags are allowed."), limit=MAX_HEADER_TAGS)
        for index, tag in enumerate(self._list(tags, path)):
            tag = self._object(tag, join(path, index))
            if "color" in tag and not _among(tag["color"], TAG_COLOURS):
                message = _("%(value)r is not a tag colour.")
                self.say(join(path, index) + ".color", message, value=tag["color"])

    def _card_link(self, link: JSON, path: str) -> None:
        link = self._object(link, path)
        each = ("pc_url", "ios_url", "android_url")
        if link and not _filled(link.get("url")) and not all(_filled(link.get(key)) for key in each):
            self.say(path, _("Give url, or all of pc_url, ios_url and android_url."))

    # elements

    def _elements(self, elements: JSON, path: str, where: _Where) -> None:
        for index, element in enumerate(self._list(elements, path)):
            self._element(element, join(path, index), where)

    def _element(self, element: JSON, path: str, where: _Where) -> None:
        element = self._object(element, path)
        tag = element.get("tag")
        if self._tag_is_wrong(tag, path):
            return
        if self.version == 2:
            self._known(element, ATTRIBUTES[tag], path)
        for key in REQUIRED.get(tag, ()):
            if key not in element:
                self.say(join(path, key), _("This is missing."))
        self._place(tag, path, where)
        self._element_id(element, path)
        self._texts(element, path)
        self._particulars(tag, element, path, where)
        self._inside(tag, element, path, where)

    def _tag_is_wrong(self, tag: JSON, path: str) -> bool:
        if not isinstance(tag, str):
            self.say(join(path, "tag"), _("An element needs a tag."))
        elif tag in ONLY_IN_1 and self.version == 2:
            message = _('"%(tag)s" was removed in card JSON 2.0: %(instead)s.')
            self.say(join(path, "tag"), message, tag=tag, instead=REPLACEMENTS[tag])
        elif tag in REPLACEMENTS and tag not in ONLY_IN_1:
            message = _('There is no element "%(tag)s": %(instead)s.')
            self.say(join(path, "tag"), message, tag=tag, instead=REPLACEMENTS[tag])
        elif (tag not in ATTRIBUTES and tag not in ONLY_IN_1) or (self.version == 2 and tag in NOT_ELEMENTS):
            self.say(join(path, "tag"), _('There is no element "%(tag)s".'), tag=tag)
        else:
            return False
        return True

    def _place(self, tag: str, path: str, where: _Where) -> None:
        if tag in {"form", "table"} and not where.root:
            self.say(path, _('"%(tag)s" may stand only directly in the body.'), tag=tag)
        if tag == "chart" and where.form:
            self.say(path, _("A form cannot hold a chart."))
        if tag == "column_set" and where.columns >= MAX_COLUMN_DEPTH:
            self.say(path, _("Column sets may be nested %(limit)d deep."), limit=MAX_COLUMN_DEPTH)

    def _element_id(self, element: Mapping[str, JSON], path: str) -> None:
        element_id = element.get("element_id")
        if "element_id" not in element or self.version == 1:
            return
        if not (isinstance(element_id, str) and _ELEMENT_ID.fullmatch(element_id)):
            message = _("An element_id is a letter and then letters, digits and _, 20 in all.")
            self.say(join(path, "element_id"), message)
        elif element_id in self.element_ids:
            self.say(join(path, "element_id"), _('"%(id)s" is used twice.'), id=element_id)
        else:
            self.element_ids.add(element_id)

    def _particulars(self, tag: str, element: Mapping[str, JSON], path: str, where: _Where) -> None:
        if tag == "button":
            self._button(element, path, where)
        elif tag == "div" and "text" not in element and "fields" not in element:
            self.say(join(path, "text"), _("This is missing."))
        elif where.form and tag in NAMED_IN_FORMS:
            self._name(element, path)
        for index, behavior in enumerate(self._list(element.get("behaviors", []), join(path, "behaviors"))):
            self._behavior(behavior, join(join(path, "behaviors"), index))

    def _button(self, button: Mapping[str, JSON], path: str, where: _Where) -> None:
        if "text" not in button and "icon" not in button:
            self.say(join(path, "text"), _("A button needs a text or an icon."))
        if "type" in button and not _among(button["type"], BUTTON_TYPES):
            message = _("%(value)r is not a button type. Use one of: %(known)s.")
            known = ", ".join(sorted(BUTTON_TYPES))
            self.say(join(path, "type"), message, value=button["type"], known=known)
        if not isinstance(button.get("value", {}), Mapping):
            self.say(join(path, "value"), _("A button's value must be an object."))
        if where.form:
            self._name(button, path)

    def _name(self, element: Mapping[str, JSON], path: str) -> None:
        name = element.get("name")
        if not _filled(name):
            self.say(join(path, "name"), _("In a form this needs a name."))
        elif name in self.names:
            self.say(join(path, "name"), _('"%(name)s" is used twice in this form.'), name=name)
        else:
            self.names.add(str(name))

    def _column_width(self, column: Mapping[str, JSON], path: str) -> None:
        width = column.get("width", "auto")
        if not (isinstance(width, str) and not width.isdigit()):
            message = _('Card JSON 2.0 has no numbers here: use "weighted" and a weight from 1 to 5.')
            self.say(join(path, "width"), message)

    def _behavior(self, behavior: JSON, path: str) -> None:
        behavior = self._object(behavior, path)
        kind = behavior.get("type")
        if not _among(kind, BEHAVIOR_KEYS):
            self.say(join(path, "type"), _('Use "callback" or "open_url".'))
            return
        self._known(behavior, BEHAVIOR_KEYS[kind], path)
        if kind == "callback" and not isinstance(behavior.get("value", {}), Mapping):
            self.say(join(path, "value"), _("A button's value must be an object."))
        if kind == "open_url" and not any(_filled(behavior.get(key)) for key in URL_KEYS):
            self.say(join(path, "default_url"), _("This is missing."))

    # what stands inside an element

    def _inside(self, tag: str, element: Mapping[str, JSON], path: str, where: _Where) -> None:
        if tag == "form":
            self._form(element, path, where)
            return
        inner = _Where(root=False, columns=where.columns + (tag == "column_set"), form=where.form)
        self._elements(element.get("elements", []), join(path, "elements"), inner)
        self._elements(element.get("actions", []), join(path, "actions"), inner)
        if tag == "column_set":
            self._columns(element.get("columns", []), join(path, "columns"), inner)
        if "extra" in element:
            self._element(element["extra"], join(path, "extra"), inner)
        for index, option in enumerate(self._list(element.get("options", []), join(path, "options"))):
            option_path = join(join(path, "options"), index)
            self._texts(self._object(option, option_path), option_path)

    def _form(self, form: Mapping[str, JSON], path: str, where: _Where) -> None:
        self.names = set()
        if not _filled(form.get("name")):
            self.say(join(path, "name"), _("A form needs a name."))
        self._elements(form.get("elements", []), join(path, "elements"), _Where(False, where.columns, True))
        if not any(_submits(node) for _path, node in _objects(form, path)):
            message = _('A form needs a button with "form_action_type": "submit".')
            self.say(join(path, "elements"), message)

    def _columns(self, columns: JSON, path: str, where: _Where) -> None:
        for index, column in enumerate(self._list(columns, path)):
            column_path = join(path, index)
            column = self._object(column, column_path)
            if column.get("tag") != "column":
                self.say(join(column_path, "tag"), _('This must be "column".'))
                continue
            if self.version == 2:
                self._known(column, ATTRIBUTES["column"], column_path)
                self._column_width(column, column_path)
            self._element_id(column, column_path)
            self._elements(column.get("elements", []), join(column_path, "elements"), where)

    def _texts(self, node: Mapping[str, JSON], path: str) -> None:
        for key in TEXT_KEYS:
            if key in node:
                self._text(node[key], join(path, key))
        if "confirm" in node:
            self._texts(self._object(node["confirm"], join(path, "confirm")), join(path, "confirm"))
        if "header" in node:
            self._texts(self._object(node["header"], join(path, "header")), join(path, "header"))
        for index, item in enumerate(self._list(node.get("fields", []), join(path, "fields"))):
            item_path = join(join(path, "fields"), index)
            self._texts(self._object(item, item_path), item_path)

    def _text(self, text: JSON, path: str) -> None:
        text = self._object(text, path)
        tag = text.get("tag")
        if text and not _among(tag, TEXT_TAGS):
            self.say(join(path, "tag"), _('Use "plain_text" or "lark_md".'))
        elif self.version == 2 and isinstance(tag, str):
            self._known(text, ATTRIBUTES[tag], path)
        if text and not isinstance(text.get("content", ""), str):
            self.say(join(path, "content"), _("This must be a text."))

    # in every corner of the card

    def _everywhere(self, node: JSON, path: str) -> None:
        for object_path, item in _objects(node, path):
            for key in URL_KEYS & item.keys():
                self._url(item[key], join(object_path, key))
            for key in COLOUR_KEYS:
                if "tag" in item and str(item.get(key, "")).startswith("#"):
                    self.say(join(object_path, key), _("Use a colour name or rgba(), not #hex."))
            if _among(item.get("tag"), MARKDOWN_TAGS):
                self._markdown(item.get("content", ""), join(object_path, "content"))

    def _url(self, url: JSON, path: str) -> None:
        if not isinstance(url, str):
            return  # 1.0's href is an object with urls in it
        if url and url != BLOCKED_PLATFORM_URL and not re.match(r"https?://[^\s/]", url, re.IGNORECASE):
            self.say(path, _("A link starts with https:// or http://."))

    def _markdown(self, content: JSON, path: str) -> None:
        if not isinstance(content, str):
            self.say(path, _("This must be a text."))
            return
        for match in _AT.finditer(content):
            if not _AT_TARGET.fullmatch(match[1]):
                message = _("%(markup)s names nobody, and Feishu refuses the whole card for it.")
                self.say(path, message, markup=match[0][:80])
        for match in _LINK_SCHEME.finditer(content):
            if match[1].lower() not in {"http", "https", "tel", "mailto", "lark"}:
                self.say(path, _("A link starts with https:// or http://."))

    # shapes

    def _object(self, value: JSON, path: str) -> Mapping[str, JSON]:
        if isinstance(value, Mapping):
            return value
        self.say(path, _("This must be an object."))
        return {}

    def _list(self, value: JSON, path: str) -> list[JSON]:
        if isinstance(value, list):
            return value
        self.say(path, _("This must be a list."))
        return []

    def _known(self, node: Mapping[str, JSON], known: Collection[str], path: str) -> None:
        for key in node:
            if key not in known:
                self.say(join(path, str(key)), _("Card JSON 2.0 does not know this attribute here."))


def _among(value: object, known: Collection[str]) -> bool:
    return isinstance(value, str) and value in known


def _submits(node: Mapping[str, JSON]) -> bool:
    if node.get("tag") != "button":
        return False
    behaviors = node.get("behaviors")
    return (
        node.get("form_action_type") == "submit"
        or node.get("action_type") == "form_submit"
        or any(
            isinstance(item, Mapping) and item.get("behavior") == "submit"
            for item in (behaviors if isinstance(behaviors, list) else [])
        )
    )


def _objects(node: JSON, path: str) -> Iterator[tuple[str, Mapping[str, JSON]]]:
    """Every object with its path, but not what the app itself owns (a button's value, a chart's spec)."""
    if isinstance(node, Mapping):
        yield path, node
        for key, child in node.items():
            if key not in {"value", "chart_spec", "rows"}:
                yield from _objects(child, join(path, str(key)))
    elif isinstance(node, list):
        for index, child in enumerate(node):
            yield from _objects(child, join(path, index))
