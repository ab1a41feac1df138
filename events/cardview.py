"""A card drawn as HTML on the server, for the console's preview and the sandbox's chat page.

Imports nothing of the product but its own parts (cardcontrols, cardhtml, cardmarkdown, cardshapes, cardtext),
and nothing of Django. Any JSON is drawn: what is malformed is left out, what is unknown becomes a grey box.
All text is escaped; no styles, scripts or event handlers: the strictest content security policy holds.

What a press would send stands in `data-action` (JSON); the page's own script wires it, or nothing happens.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from html import escape
from typing import Any

from events.cardcontrols import Controls
from events.cardhtml import among, behavior, block, classes, html
from events.cardmarkdown import COLOURS, Reader, person_html, to_html
from events.cardshapes import (
    Node,
    elements_of,
    header_of,
    items,
    node,
    nodes,
    person_ids,
    string,
    text_of,
    url_of,
)
from events.cardtext import as_text

__all__ = ["as_text", "draw"]

MAX_DEPTH = 20
MAX_ROWS = 10  # what Feishu shows of a table's page at most

_HEADER_COLOURS = COLOURS - {"neutral", "lime"}


def draw(
    card: Mapping[str, Any],
    *,
    people: Mapping[str, str] | None = None,
    image_url: Callable[[str], str] | None = None,
    locale: str = "zh_cn",
) -> str:
    """The card as safe HTML, an `<article class="feishu-card">`; looks like Feishu with cardview.css.

    `people` gives names for open_ids; `image_url` turns an image key (letters, digits, - and _ only) into an
    address on this site, without it images are labelled boxes; `locale` chooses among a card's languages.
    """
    whole = node(card)
    view = _View(Reader(people or {}, image_url, locale), version="2.0" if "schema" in whole else "1.0")
    return view.card(whole)


class _View(Controls):
    """Draws one card: the card itself, what shows and what holds others."""

    # the card

    def card(self, card: Node) -> str:
        header = header_of(card, self.reader.locale)
        colour = among(header.get("template"), _HEADER_COLOURS) or "default"
        title = text_of(header.get("title"), self.reader.locale)
        inner = self.header(header) + self.body(card) + self.card_link(node(card.get("card_link")))
        width = among(node(card.get("config")).get("width_mode"), frozenset(["fill", "compact"]))
        css = f"feishu-card feishu-card--{colour}" + (f" feishu-card--{width}" if width else "")
        return html("article", inner, css, aria_label=title or None)

    def header(self, header: Node) -> str:
        title, subtitle = self.inline(header.get("title")), self.inline(header.get("subtitle"))
        if not title and not subtitle:
            return ""
        headline = block("headline", block("title", title) + block("subtitle", subtitle))
        tags = "".join(self.text_tag(tag) for tag in nodes(header.get("text_tag_list"))[:3])
        inner = self.icon(header) + headline + block("tags", tags)
        return html("header", inner, classes("header"))

    def body(self, card: Node) -> str:
        if "type" in card and "data" in card:
            return self.template(node(card["data"]))
        body = node(card.get("body"))
        return block("body", self.elements(elements_of(card, self.reader.locale)), *self.layout(body))

    def template(self, data: Node) -> str:
        name = f"{string(data.get('template_id'))} {string(data.get('template_version_name'))}".strip()
        variables = "".join(
            f"<tr><th>{escape(string(key))}</th><td>{self.variable(value)}</td></tr>"
            for key, value in node(data.get("template_variable")).items()
        )
        table = html("table", f"<tbody>{variables}</tbody>", classes("table")) if variables else ""
        label = f"{self.word('template')} {name}"
        return block("body", block("unknown", escape(label)) + block("scroll", table))

    def variable(self, value: object) -> str:
        return to_html(text_of(value, self.reader.locale), self.reader, "lark_md")

    def card_link(self, link: Node) -> str:
        url = url_of(link)
        return block("foot", self.anchor(url, escape(self.word("open")), classes("link"))) if url else ""

    # shared by elements

    def elements(self, elements: object) -> str:
        if self.depth > MAX_DEPTH:
            return block("unknown", self.word("deep"))
        deeper = replace(self, depth=self.depth + 1)
        return "".join(deeper.element(element) for element in nodes(elements))

    def element(self, element: Node) -> str:
        tag = string(element.get("tag"))
        drawing = _DRAWINGS.get(tag)
        if drawing is None:
            return block("unknown", escape(f"{self.word('unknown')}: {tag[:40] or '?'}"))
        return drawing(self, element)

    # showing

    def markdown(self, element: Node) -> str:
        links = {name: url_of(target) for name, target in node(element.get("href")).items()}
        drawn = to_html(text_of(element, self.reader.locale), self.reader, self.version, links)
        return block("markdown", self.icon(element) + drawn, *self.type_of(element))

    def text(self, element: Node) -> str:
        return block("text", self.inline(element), *self.type_of(element))

    def div(self, element: Node) -> str:
        text = node(element.get("text"))
        fields = "".join(
            block("field", self.inline(field.get("text")), "short" if field.get("is_short") is True else "")
            for field in nodes(element.get("fields"))
        )
        words = block("text", self.icon(element) + self.inline(text), *self.type_of(text))
        extra = self.elements([element.get("extra")])
        return block("div", block("main", words + block("fields", fields)) + block("extra", extra))

    def image(self, element: Node) -> str:
        key = string(node(element.get("i18n_img_key")).get(self.reader.locale)) or string(
            element.get("img_key")
        )
        title = self.inline(element.get("title"))
        alt = self.words(element.get("alt"))
        return block("figure", block("caption", title) + self.reader.image(key, alt))

    def images(self, element: Node) -> str:
        keys = [string(image.get("img_key")) for image in nodes(element.get("img_list"))]
        return block("mosaic", "".join(self.reader.image(key, "") for key in keys))

    def rule(self, _element: Node) -> str:
        return '<hr class="feishu-card__hr">'

    def note(self, element: Node) -> str:
        return block("note", self.elements(element.get("elements")))

    def chart(self, element: Node) -> str:
        spec = node(element.get("chart_spec"))
        title = string(node(spec.get("title")).get("text"))
        label = " · ".join(filter(None, [self.word("chart"), string(spec.get("type")), title]))
        return block("chart", escape(label))

    def people(self, element: Node) -> str:
        ids = person_ids(element.get("user_id")) + person_ids(element.get("persons"))
        return block("people", "".join(person_html(person_id, self.reader) for person_id in ids))

    def table(self, element: Node) -> str:
        columns = nodes(element.get("columns"))
        rows = nodes(element.get("rows"))
        size = element.get("page_size")
        shown = rows[: min(size, MAX_ROWS) if isinstance(size, int) and size > 0 else 5]
        head = "".join(f"<th>{escape(_title(column))}</th>" for column in columns)
        body = "".join(
            f"<tr>{''.join(f'<td>{self.cell(row, column)}</td>' for column in columns)}</tr>" for row in shown
        )
        table = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
        rest = self.word("rows").format(len(rows)) if len(rows) > len(shown) else ""
        return block("scroll", html("table", table, classes("table"))) + block("caption", rest)

    def cell(self, row: Node, column: Node) -> str:
        value, kind = row.get(string(column.get("name"))), string(column.get("data_type"))
        if kind in {"markdown", "lark_md"}:
            return to_html(string(value), self.reader, "lark_md" if kind == "lark_md" else "2.0")
        if kind == "persons":
            return "".join(person_html(person_id, self.reader) for person_id in person_ids(value))
        if kind == "date":
            return self.reader.moment(value)[1]
        if kind == "options" and isinstance(value, list):
            return "".join(self.text_tag(option) for option in nodes(value))
        return escape(string(value))

    # holding others

    def columns(self, element: Node) -> str:
        columns = "".join(self.column(column) for column in nodes(element.get("columns")))
        mode = among(element.get("flex_mode"), frozenset(["stretch", "flow", "bisect", "trisect"]))
        background = among(element.get("background_style"), COLOURS)
        return block("columns", columns, mode, f"on-{background}" if background else "")

    def column(self, column: Node) -> str:
        weight = among(column.get("weight", 1), frozenset("12345"))
        weighted = f"weight-{weight}" if weight and string(column.get("width")) == "weighted" else ""
        inner = self.elements(column.get("elements"))
        return html("div", inner, classes("column", weighted, *self.layout(column)))

    def box(self, element: Node) -> str:
        inner = self.elements(items(element.get("elements")) + items(element.get("actions")))
        return block("actions" if element.get("tag") == "action" else "box", inner, *self.layout(element))

    def container(self, element: Node) -> str:
        border = "border" if element.get("has_border") is True else ""
        inner = self.elements(element.get("elements"))
        css = classes("container", border, *self.layout(element))
        if not behavior(element, "callback"):
            url = url_of(behavior(element, "open_url"))
            return html("div", inner + (self.anchor(url, "↗", classes("link")) if url else ""), css)
        return html("div", inner, css, role="button", tabindex="0", data_action=self.action(element))

    def panel(self, element: Node) -> str:
        title = self.inline(node(element.get("header")).get("title"))
        summary = html("summary", title or "…", classes("summary"))
        inner = block("box", self.elements(element.get("elements")), *self.layout(element))
        return html("details", summary + inner, classes("panel"), open=element.get("expanded") is True)

    def form_box(self, element: Node) -> str:
        inner = self.elements(element.get("elements"))
        css = classes("form", *self.layout(element))
        # method=dialog: Enter in the only text field would otherwise load the page again
        return html("form", inner, css, method="dialog", data_name=string(element.get("name")))


def _title(column: Node) -> str:
    return string(column.get("display_name")) or string(column.get("name"))


_DRAWINGS: Mapping[str, Callable[[_View, Node], str]] = {
    "markdown": _View.markdown,
    "plain_text": _View.text,
    "lark_md": _View.text,
    "div": _View.div,
    "img": _View.image,
    "img_combination": _View.images,
    "hr": _View.rule,
    "note": _View.note,
    "chart": _View.chart,
    "person": _View.people,
    "person_list": _View.people,
    "table": _View.table,
    "column_set": _View.columns,
    "column": _View.column,
    "action": _View.box,
    "form": _View.form_box,
    "interactive_container": _View.container,
    "collapsible_panel": _View.panel,
    "text_tag": _View.text_tag,
    "button": _View.button,
    "overflow": _View.overflow,
    "input": _View.input,
    "date_picker": _View.picker,
    "picker_time": _View.picker,
    "picker_datetime": _View.picker,
    "select_static": _View.select,
    "multi_select_static": _View.select,
    "select_person": _View.select,
    "multi_select_person": _View.select,
    "select_img": _View.select_image,
    "checker": _View.checker,
}
