"""Checks a card before Feishu does: the structure of JSON 1.0 and 2.0 and the platform's limits.

Feishu refuses a 2.0 card for one unknown attribute (230099), and a refused card is a greeting nobody gets.
Must not know variables, people or chats: it judges finished cards.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping

from django.utils.translation import gettext as _

from events import cardrules as rules
from events.cardelements import JSON, Elements, Problem, Where, among, filled, join, objects

__all__ = ["JSON", "Problem", "check", "dumps", "is_too_deep", "join"]

_VERSION = re.compile(r"\d+\.\d+\.\d+", re.ASCII)
_AT = re.compile(r"<at\b([^<>]*)>", re.IGNORECASE)
_AT_TARGET = re.compile(
    r"""\s+(?:(?:id|ids|user_id)=(["']?)[A-Za-z0-9_,-]+\1|email=(["']?)[^\s"'<>@]+@[^\s"'<>@]+\2)\s*/?"""
)
_LINK_SCHEME = re.compile(r"\]\(\s*([A-Za-z][A-Za-z0-9+.-]*):")
_SURROGATE = re.compile("[\ud800-\udfff]")


def dumps(card: JSON) -> str:
    """The exact string sent as a message's `content`: compact, Chinese unescaped."""
    return json.dumps(card, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def check(card: object) -> list[Problem]:
    """Everything wrong with a finished card (all variables filled); [] if it may be sent."""
    if not isinstance(card, Mapping):
        return [Problem("", _("A card is a JSON object."))]
    if is_too_deep(card):
        return [
            Problem("", _("The card is nested more than %(limit)d levels deep.") % {"limit": rules.MAX_DEPTH})
        ]
    if "type" in card and "data" in card:
        return _size(card) or list(_template_problems(card))
    return _size(card) + _Card(version=2 if "schema" in card else 1).run(card)


def is_too_deep(card: object) -> bool:
    """Whether recursion over it could end in a RecursionError; itself does not recurse."""
    level: list[object] = [card]
    for _depth in range(rules.MAX_DEPTH + 1):
        level = [child for node in level for child in _children(node)]
        if not level:
            return False
    return True


def _children(node: object) -> Collection[object]:
    if isinstance(node, str):  # most are, and to ask whether it is a Mapping takes long
        return ()
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
    if size <= rules.MAX_BYTES:
        return []
    return [
        Problem(
            "",
            _("The card has %(size)d bytes; %(limit)d are allowed.")
            % {"size": size, "limit": rules.MAX_BYTES},
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
    if not filled(data.get("template_id")):
        yield Problem("data.template_id", _("This is missing."))
    version = data.get("template_version_name")
    if not (isinstance(version, str) and _VERSION.fullmatch(version)):
        message = _('Name the version, like "1.0.0": otherwise publishing the template changes sent cards.')
        yield Problem("data.template_version_name", message)
    if not isinstance(data.get("template_variable", {}), Mapping):
        yield Problem("data.template_variable", _("This must be an object."))


class _Card(Elements):
    """The whole card: what is around the elements, and what holds in every corner."""

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

    # the card around its elements

    def _card_2(self, card: Mapping[str, JSON]) -> None:
        if card["schema"] != "2.0":
            self.say("schema", _('This must be "2.0".'))
        for key in ("elements", "i18n_elements"):
            if key in card:
                self.say(key, _("Card JSON 2.0 keeps its elements in body.elements."))
        self._known(card, rules.ROOT_KEYS | {"elements", "i18n_elements"}, "")
        self._config(card.get("config", {}))
        body = self._object(card.get("body", {}), "body")
        self._known(body, rules.BODY_KEYS, "body")
        self._elements(body.get("elements", []), "body.elements", Where())
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
        self._elements(card.get("elements", []), "elements", Where())
        translated = self._object(card.get("i18n_elements", {}), "i18n_elements")
        for locale, elements in translated.items():
            self.names.clear()
            self._elements(elements, f"i18n_elements.{locale}", Where())

    def _config(self, config: JSON) -> None:
        self._known(self._object(config, "config"), rules.CONFIG_KEYS, "config")
        if isinstance(config, Mapping) and config.get("update_multi", True) is not True:
            self.say("config.update_multi", _("Card JSON 2.0 allows only true here."))

    def _count(self, card: Mapping[str, JSON]) -> None:
        count = sum(1 for _path, node in objects(card, "") if "tag" in node)
        if count > rules.MAX_ELEMENTS:
            message = _("The card has %(count)d elements; %(limit)d are allowed.")
            self.say("body.elements", message, count=count, limit=rules.MAX_ELEMENTS)

    def _header(self, header: JSON, path: str) -> None:
        header = self._object(header, path)
        if self.version == 2:
            self._known(header, rules.HEADER_KEYS, path)
        if header and "title" not in header:
            self.say(join(path, "title"), _("This is missing."))
        if "template" in header and not among(header["template"], rules.HEADER_COLOURS):
            message = _("%(value)r is not a header colour. Use one of: %(known)s.")
            known = ", ".join(sorted(rules.HEADER_COLOURS))
            self.say(join(path, "template"), message, value=header["template"], known=known)
        self._texts(header, path)
        self._header_tags(header.get("text_tag_list", []), join(path, "text_tag_list"))

    def _header_tags(self, tags: JSON, path: str) -> None:
        if len(self._list(tags, path)) > rules.MAX_HEADER_TAGS:
            self.say(path, _("At most %(limit)d tags are allowed."), limit=rules.MAX_HEADER_TAGS)
        for index, tag in enumerate(self._list(tags, path)):
            tag = self._object(tag, join(path, index))
            if "color" in tag and not among(tag["color"], rules.TAG_COLOURS):
                message = _("%(value)r is not a tag colour.")
                self.say(join(path, index) + ".color", message, value=tag["color"])

    def _card_link(self, link: JSON, path: str) -> None:
        link = self._object(link, path)
        each = ("pc_url", "ios_url", "android_url")
        if link and not filled(link.get("url")) and not all(filled(link.get(key)) for key in each):
            self.say(path, _("Give url, or all of pc_url, ios_url and android_url."))

    # in every corner of the card

    def _everywhere(self, node: JSON, path: str) -> None:
        for object_path, item in objects(node, path):
            for key in rules.URL_KEYS & item.keys():
                self._url(item[key], join(object_path, key))
            for key in rules.COLOUR_KEYS:
                if "tag" in item and str(item.get(key, "")).startswith("#"):
                    self.say(join(object_path, key), _("Use a colour name or rgba(), not #hex."))
            if among(item.get("tag"), rules.MARKDOWN_TAGS):
                self._markdown(item.get("content", ""), join(object_path, "content"))

    def _url(self, url: JSON, path: str) -> None:
        if not isinstance(url, str):
            return  # 1.0's href is an object with urls in it
        if url and url != rules.BLOCKED_PLATFORM_URL and not re.match(r"https?://[^\s/]", url, re.IGNORECASE):
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
