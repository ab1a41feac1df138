"""What a person presses and fills in on a card: buttons, menus, inputs, choices."""

from html import escape

from events.cardhtml import Attributes, Drawing, among, behavior, block, classes, form_action, html
from events.cardshapes import Node, items, nodes, string, text_of, url_of

_BUTTON_TYPES = {
    "primary": "primary", "danger": "danger", "text": "text", "primary_text": "primary-text",
    "danger_text": "danger-text", "primary_filled": "primary-filled", "danger_filled": "danger-filled",
    "laser": "primary-filled",
}  # fmt: skip
_INPUT_TYPES = {"date_picker": "date", "picker_time": "time", "picker_datetime": "datetime-local"}
_INITIALS = ("initial_date", "initial_time", "initial_datetime")


class Controls(Drawing):
    """The interactive elements, each a method: element -> HTML."""

    # pressing

    def button(self, element: Node) -> str:
        kind = among(element.get("type"), _BUTTON_TYPES)
        size = among(element.get("size"), frozenset(["tiny", "small", "large"]))
        fill = "fill" if string(element.get("width")) == "fill" else ""
        css = classes("button", kind, size, fill)
        label = self.icon(element) + (self.inline(element.get("text")) or "…")
        url = url_of(behavior(element, "open_url")) or url_of(element) or url_of(element.get("multi_url"))
        disabled = element.get("disabled") is True
        if url and not disabled and not behavior(element, "callback") and "value" not in element:
            return self.anchor(url, label, css)
        return html(
            "button",
            label,
            css,
            type="button",
            disabled=disabled,
            title=self.words(element.get("hover_tips")) or None,
            data_action=self.action(element, **({"url": url} if url else {})),
            data_submit=form_action(element) == "submit",
            data_reset=form_action(element) == "reset",
        )

    def overflow(self, element: Node) -> str:
        options = "".join(self.overflow_option(element, option) for option in nodes(element.get("options")))
        summary = html("summary", "•••", classes("button", "small"), aria_label=self.word("more"))
        return html("details", summary + block("menu", options), classes("overflow"))

    def overflow_option(self, element: Node, option: Node) -> str:
        label = self.inline(option.get("text"))
        if url := url_of(option) or url_of(option.get("multi_url")):
            return self.anchor(url, label, classes("button", "text"))
        action = self.action(element, option=string(option.get("value")))
        return html("button", label, classes("button", "text"), type="button", data_action=action)

    # filling in

    def field(self, element: Node, control: str) -> str:
        """A control with its label above it."""
        label = self.inline(element.get("label"))
        return (
            html("label", html("span", label, classes("label")) + control, classes("labelled"))
            if label
            else control
        )

    def common(self, element: Node) -> Attributes:
        """The attributes every control carries."""
        name, placeholder = string(element.get("name")), self.words(element.get("placeholder"))
        labelled = bool(self.inline(element.get("label")))
        return {
            "name": name or None,
            "aria_label": None if labelled else placeholder or name or self.word("choose"),
            "required": element.get("required") is True,
            "disabled": element.get("disabled") is True,
            "data_action": self.action(element),
        }

    def input(self, element: Node) -> str:
        kind, default = (
            string(element.get("input_type")),
            text_of(element.get("default_value"), self.reader.locale),
        )
        common = self.common(element) | {"placeholder": self.words(element.get("placeholder")) or None}
        common["maxlength"] = _count(element.get("max_length"), 1000)
        if kind == "multiline_text":
            rows = _count(element.get("rows"), 20) or "3"
            return self.field(
                element, html("textarea", escape(default), classes("input"), rows=rows, common=common)
            )
        shown = "password" if kind == "password" else "text"
        return self.field(
            element, html("input", css=classes("input"), type=shown, value=default or None, common=common)
        )

    def picker(self, element: Node) -> str:
        kind = _INPUT_TYPES[string(element.get("tag"))]
        initial = next((string(element[key]) for key in _INITIALS if key in element), "")
        value = initial.replace(" ", "T") if kind == "datetime-local" else initial
        control = html(
            "input", css=classes("input"), type=kind, value=value or None, common=self.common(element)
        )
        return self.field(element, control)

    def select(self, element: Node) -> str:
        several = string(element.get("tag")).startswith("multi_")
        chosen = set(map(string, items(element.get("selected_values"))))
        chosen |= {string(element.get(key)) for key in ("initial_option", "initial_user")} - {""}
        options = "".join(
            html("option", escape(words), value=value, selected=value in chosen)
            for value, words in self.options(element)
        )
        if not several:
            placeholder = self.words(element.get("placeholder")) or self.word("choose")
            options = html("option", escape(placeholder), value="") + options
        control = html("select", options, classes("select"), multiple=several, common=self.common(element))
        return self.field(element, control)

    def options(self, element: Node) -> list[tuple[str, str]]:
        """(value, words): the card's own, or everyone we know for a choice of people."""
        people = "person" in string(element.get("tag"))
        if people and not nodes(element.get("options")):
            return [(string(key), string(name)) for key, name in self.reader.people.items()]
        values = [(string(option.get("value")), option) for option in nodes(element.get("options"))]
        return [
            (value, self.words(option.get("text")) or (self.reader.name(value) if people else value))
            for value, option in values
        ]

    def checker(self, element: Node) -> str:
        attributes = self.common(element) | {"aria_label": None, "checked": element.get("checked") is True}
        box = html("input", type="checkbox", common=attributes)
        return html("label", box + html("span", self.inline(element.get("text"))), classes("checker"))

    def select_image(self, element: Node) -> str:
        several = element.get("multi_select") is True
        attributes = self.common(element) | {"aria_label": None, "required": False}
        choices = ""
        for option in nodes(element.get("options")):
            value = string(option.get("value"))
            box = html("input", type="checkbox" if several else "radio", value=value, common=attributes)
            choices += html(
                "label", box + self.reader.image(string(option.get("img_key")), value), classes("choice")
            )
        return block("mosaic", choices)


def _count(value: object, limit: int) -> str | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if whole and 0 < int(str(value)) <= limit else None
