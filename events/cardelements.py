"""Checks what stands in a card: elements, columns, forms, texts. The card around them is events.cardcheck's."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from django.utils.translation import gettext as _

from events import cardrules as rules

JSON: TypeAlias = Any  # parsed JSON: the shapes are checked at run time, below

_ELEMENT_ID = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,19}", re.ASCII)


@dataclass(frozen=True)
class Problem:
    """What is wrong and where: `path` like `body.elements[2].text.content`, empty for the card as a whole."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def join(path: str, key: str | int) -> str:
    """`body` and `elements` -> `body.elements`; `elements` and 2 -> `elements[2]`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


@dataclass(frozen=True)
class Where:
    """What stands around an element."""

    root: bool = True
    columns: int = 0
    form: bool = False


@dataclass
class Elements:
    """One walk over one card; `version` is 1 or 2."""

    version: int
    problems: list[Problem] = field(default_factory=list)
    element_ids: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)

    def say(self, path: str, message: str, **values: object) -> None:
        self.problems.append(Problem(path, message % values if values else message))

    def _elements(self, elements: JSON, path: str, where: Where) -> None:
        for index, element in enumerate(self._list(elements, path)):
            self._element(element, join(path, index), where)

    def _element(self, element: JSON, path: str, where: Where) -> None:
        element = self._object(element, path)
        tag = element.get("tag")
        if self._tag_is_wrong(tag, path):
            return
        if self.version == 2:
            self._known(element, rules.ATTRIBUTES[tag], path)
        for key in rules.REQUIRED.get(tag, ()):
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
        elif tag in rules.ONLY_IN_1 and self.version == 2:
            message = _('"%(tag)s" was removed in card JSON 2.0: %(instead)s.')
            self.say(join(path, "tag"), message, tag=tag, instead=rules.REPLACEMENTS[tag])
        elif tag in rules.REPLACEMENTS and tag not in rules.ONLY_IN_1:
            message = _('There is no element "%(tag)s": %(instead)s.')
            self.say(join(path, "tag"), message, tag=tag, instead=rules.REPLACEMENTS[tag])
        elif (tag not in rules.ATTRIBUTES and tag not in rules.ONLY_IN_1) or (
            self.version == 2 and tag in rules.NOT_ELEMENTS
        ):
            self.say(join(path, "tag"), _('There is no element "%(tag)s".'), tag=tag)
        else:
            return False
        return True

    def _place(self, tag: str, path: str, where: Where) -> None:
        if tag in {"form", "table"} and not where.root:
            self.say(path, _('"%(tag)s" may stand only directly in the body.'), tag=tag)
        if tag == "chart" and where.form:
            self.say(path, _("A form cannot hold a chart."))
        if tag == "column_set" and where.columns >= rules.MAX_COLUMN_DEPTH:
            self.say(path, _("Column sets may be nested %(limit)d deep."), limit=rules.MAX_COLUMN_DEPTH)

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

    def _particulars(self, tag: str, element: Mapping[str, JSON], path: str, where: Where) -> None:
        if tag == "button":
            self._button(element, path, where)
        elif tag == "div" and "text" not in element and "fields" not in element:
            self.say(join(path, "text"), _("This is missing."))
        elif where.form and tag in rules.NAMED_IN_FORMS:
            self._name(element, path)
        for index, behavior in enumerate(self._list(element.get("behaviors", []), join(path, "behaviors"))):
            self._behavior(behavior, join(join(path, "behaviors"), index))

    def _button(self, button: Mapping[str, JSON], path: str, where: Where) -> None:
        if "text" not in button and "icon" not in button:
            self.say(join(path, "text"), _("A button needs a text or an icon."))
        if "type" in button and not among(button["type"], rules.BUTTON_TYPES):
            message = _("%(value)r is not a button type. Use one of: %(known)s.")
            known = ", ".join(sorted(rules.BUTTON_TYPES))
            self.say(join(path, "type"), message, value=button["type"], known=known)
        if not isinstance(button.get("value", {}), Mapping):
            self.say(join(path, "value"), _("A button's value must be an object."))
        if where.form:
            self._name(button, path)

    def _name(self, element: Mapping[str, JSON], path: str) -> None:
        name = element.get("name")
        if not filled(name):
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
        if not among(kind, rules.BEHAVIOR_KEYS):
            self.say(join(path, "type"), _('Use "callback" or "open_url".'))
            return
        self._known(behavior, rules.BEHAVIOR_KEYS[kind], path)
        if kind == "callback" and not isinstance(behavior.get("value", {}), Mapping):
            self.say(join(path, "value"), _("A button's value must be an object."))
        if kind == "open_url" and not any(filled(behavior.get(key)) for key in rules.URL_KEYS):
            self.say(join(path, "default_url"), _("This is missing."))

    # what stands inside an element

    def _inside(self, tag: str, element: Mapping[str, JSON], path: str, where: Where) -> None:
        if tag == "form":
            self._form(element, path, where)
            return
        inner = Where(root=False, columns=where.columns + (tag == "column_set"), form=where.form)
        self._elements(element.get("elements", []), join(path, "elements"), inner)
        self._elements(element.get("actions", []), join(path, "actions"), inner)
        if tag == "column_set":
            self._columns(element.get("columns", []), join(path, "columns"), inner)
        if "extra" in element:
            self._element(element["extra"], join(path, "extra"), inner)
        for index, option in enumerate(self._list(element.get("options", []), join(path, "options"))):
            option_path = join(join(path, "options"), index)
            self._texts(self._object(option, option_path), option_path)

    def _form(self, form: Mapping[str, JSON], path: str, where: Where) -> None:
        self.names = set()
        if not filled(form.get("name")):
            self.say(join(path, "name"), _("A form needs a name."))
        self._elements(form.get("elements", []), join(path, "elements"), Where(False, where.columns, True))
        if not any(_submits(node) for _path, node in objects(form, path)):
            message = _('A form needs a button with "form_action_type": "submit".')
            self.say(join(path, "elements"), message)

    def _columns(self, columns: JSON, path: str, where: Where) -> None:
        for index, column in enumerate(self._list(columns, path)):
            column_path = join(path, index)
            column = self._object(column, column_path)
            if column.get("tag") != "column":
                self.say(join(column_path, "tag"), _('This must be "column".'))
                continue
            if self.version == 2:
                self._known(column, rules.ATTRIBUTES["column"], column_path)
                self._column_width(column, column_path)
            self._element_id(column, column_path)
            self._elements(column.get("elements", []), join(column_path, "elements"), where)

    def _texts(self, node: Mapping[str, JSON], path: str) -> None:
        for key in rules.TEXT_KEYS:
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
        if text and not among(tag, rules.TEXT_TAGS):
            self.say(join(path, "tag"), _('Use "plain_text" or "lark_md".'))
        elif self.version == 2 and isinstance(tag, str):
            self._known(text, rules.ATTRIBUTES[tag], path)
        if text and not isinstance(text.get("content", ""), str):
            self.say(join(path, "content"), _("This must be a text."))

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


def among(value: object, known: Collection[str]) -> bool:
    return isinstance(value, str) and value in known


def filled(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


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


def objects(node: JSON, path: str) -> Iterator[tuple[str, Mapping[str, JSON]]]:
    """Every object with its path, but not what the app itself owns (a button's value, a chart's spec)."""
    if isinstance(node, Mapping):
        yield path, node
        for key, child in node.items():
            if not isinstance(child, str) and key not in {"value", "chart_spec", "rows"}:
                yield from objects(child, join(path, str(key)))
    elif isinstance(node, list):
        for index, child in enumerate(node):
            if not isinstance(child, str):
                yield from objects(child, join(path, index))
