"""What every drawing of a card uses: safe elements, class names from our own lists, texts, `data-action`.

All escaping of drawn cards happens here and in events.cardmarkdown.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import TypeAlias

from events.cardmarkdown import COLOURS, Reader, to_html, to_text
from events.cardshapes import Node, node, nodes, string, text_of

Attributes: TypeAlias = dict[str, str | bool | None]

_SPACES = {
    "0px": "0", "4px": "4", "8px": "8", "12px": "12", "16px": "16", "20px": "20", "24px": "24",
    "small": "4", "medium": "8", "large": "12", "extra_large": "16",
}  # fmt: skip
_WORDS: Mapping[str, Mapping[str, str]] = {
    "zh_cn": {
        "unknown": "未绘制", "chart": "图表", "template": "飞书卡片模板", "choose": "请选择", "more": "更多",
        "open": "打开卡片链接", "rows": "共 {} 行", "deep": "嵌套过深",
    },
    "en_us": {
        "unknown": "not drawn", "chart": "chart", "template": "Feishu card template", "choose": "Choose",
        "more": "More", "open": "Open the card's link", "rows": "{} rows", "deep": "nested too deep",
    },
}  # fmt: skip


def html(
    tag: str, inner: str = "", css: str = "", common: Attributes | None = None, **more: str | bool | None
) -> str:
    """One element: `inner` is HTML, attributes are text and get escaped; None is left out."""
    parts = [tag]
    if css:
        parts.append(f'class="{css}"')
    for key, value in {**(common or {}), **more}.items():
        name = key.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(name)
        elif value is not None and value is not False:
            parts.append(f'{name}="{escape(value)}"')
    return f"<{' '.join(parts)}>" if tag == "input" else f"<{' '.join(parts)}>{inner}</{tag}>"


def classes(name: str, *modifiers: str) -> str:
    """`button`, `primary` -> `feishu-card__button feishu-card__button--primary`."""
    return " ".join(
        [f"feishu-card__{name}", *(f"feishu-card__{name}--{modifier}" for modifier in modifiers if modifier)]
    )


def block(name: str, inner: str, *modifiers: str) -> str:
    return html("div", inner, classes(name, *modifiers)) if inner else ""


def among(value: object, known: Mapping[str, str] | frozenset[str]) -> str:
    """The value if we have a class for it, else empty: nothing of the card becomes a class by itself."""
    text = string(value)
    if isinstance(known, Mapping):
        return known.get(text, "")
    return text if text in known else ""


@dataclass(frozen=True)
class Drawing:
    """Draws one card for one reader; `depth` says how far down we are."""

    reader: Reader
    version: str = "2.0"
    depth: int = 0

    def word(self, key: str) -> str:
        return _WORDS["zh_cn" if self.reader.locale.startswith("zh") else "en_us"][key]

    def inline(self, text: object) -> str:
        """A text object as HTML without paragraphs around it."""
        words = text_of(text, self.reader.locale)
        if string(node(text).get("tag")) not in {"lark_md", "markdown"}:
            return escape(words).replace("\n", "<br>")
        drawn = to_html(words, self.reader, "lark_md")
        return drawn.removeprefix("<p>").removesuffix("</p>").replace("</p><p>", "<br>")

    def words(self, text: object) -> str:
        """A text object as plain words, for an attribute."""
        words = text_of(text, self.reader.locale)
        is_markdown = string(node(text).get("tag")) in {"lark_md", "markdown"}
        return to_text(words, self.reader, "lark_md") if is_markdown else words

    def layout(self, box: Node) -> list[str]:
        gap = among(box.get("vertical_spacing"), _SPACES)
        padding = among(box.get("padding"), _SPACES)
        direction = among(box.get("direction"), frozenset(["horizontal"]))
        background = among(box.get("background_style"), COLOURS)
        return [
            direction,
            f"gap-{gap}" if gap else "",
            f"padding-{padding}" if padding else "",
            f"on-{background}" if background else "",
        ]

    def type_of(self, text: Node) -> list[str]:
        """Size, alignment and colour of a text as class names."""
        size = string(text.get("text_size"))
        align = among(text.get("text_align"), frozenset(["center", "right"]))
        heading = "heading" if size.startswith(("heading", "x")) else ""
        notation = "notation" if size == "notation" else ""
        return [heading or notation, align, among(text.get("text_color"), COLOURS)]

    def icon(self, owner: Node) -> str:
        icon = node(owner.get("icon"))
        if not icon:
            return ""
        if key := string(icon.get("img_key")):
            return html("span", self.reader.image(key, ""), classes("icon"))
        return html("span", "", classes("icon", among(icon.get("color"), COLOURS)), aria_hidden="true")

    def text_tag(self, tag: Node) -> str:
        colour = among(tag.get("color"), COLOURS)
        return html("span", self.inline(tag.get("text")), classes("tag", colour))

    def anchor(self, url: str, inner: str, css: str) -> str:
        return html("a", inner, css, href=url, target="_blank", rel="noopener noreferrer")

    def action(self, element: Node, **more: object) -> str:
        """What a press sends: tag, name, value (its own or the callback behavior's), what asks first."""
        callback = behavior(element, "callback")
        confirm = node(element.get("confirm"))
        action: dict[str, object] = {"tag": string(element.get("tag"))}
        action |= {key: element[key] for key in ("name", "value") if key in element}
        action |= {"value": callback["value"]} if "value" in callback else {}
        if confirm:
            action["confirm"] = {key: self.words(confirm.get(key)) for key in ("title", "text")}
        return _json(action | more)


def behavior(element: Node, kind: str) -> Node:
    """The element's first behavior of this type, or an empty one."""
    return next((item for item in nodes(element.get("behaviors")) if item.get("type") == kind), {})


def form_action(element: Node) -> str:
    kind = string(element.get("form_action_type")) or string(element.get("action_type")).removeprefix("form_")
    return kind or string(behavior(element, "form_action").get("behavior"))


def _json(value: object) -> str:
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        return "{}"
