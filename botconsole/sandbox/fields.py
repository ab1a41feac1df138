"""What the fields of a card send with a press, and what the client would not let a person send."""

from typing import Any

from botconsole.sandbox.cardrules import walk
from botconsole.sandbox.cardtags import FIELDS

Json = dict[str, Any]
ZONE = " +0800"  # of the people in the sandbox: Asia/Shanghai
# What a field sends that nobody touched, by the attribute that says so.
DEFAULTS = {
    "input": "default_value",
    "select_static": "initial_option",
    "select_person": "initial_user",
    "multi_select_static": "selected_values",
    "multi_select_person": "selected_values",
    "date_picker": "initial_date",
    "picker_time": "initial_time",
    "picker_datetime": "initial_datetime",
    "checker": "checked",
}
TIMES = ("date_picker", "picker_time", "picker_datetime")
CHOICES = ("select_static", "multi_select_static", "overflow")


class PressError(ValueError):
    """The client would not even have offered this press."""


def form_action(element: Json) -> str:
    """`submit` or `reset` for a button of a form, by whichever of the three spellings."""
    told = element.get("form_action_type") or str(element.get("action_type") or "").removeprefix("form_")
    behaviors = element.get("behaviors")
    for behavior in behaviors if isinstance(behaviors, list) and not told else []:
        if isinstance(behavior, dict) and behavior.get("type") == "form_action":
            told = behavior.get("behavior")
    return str(told or "")


def form_of(card: Json, element: Json) -> Json | None:
    """The form this element stands in."""
    forms = (node for _, node in walk(card) if node.get("tag") == "form")
    return next((form for form in forms if any(node is element for _, node in walk(form))), None)


def form_value(card: Json, element: Json, given: Json | None) -> Json | None:
    """What a submit button sends: what was filled in, over what stood there; None for any other element."""
    form = form_of(card, element)
    if form is None or form_action(element) != "submit":
        if given is not None:
            raise PressError("only the submit button of a form sends form_value")
        return None
    fields = {str(node["name"]): node for _, node in walk(form) if _is_field(node)}
    if unknown := set(given or {}) - set(fields):
        raise PressError(f"the form has no field {', '.join(sorted(unknown))}; it has {', '.join(fields)}")
    told = {name: value for name, field in fields.items() if (value := _untouched(field)) is not None}
    told |= given or {}
    for name, field in fields.items():
        if field.get("required") is True and not told.get(name):
            raise PressError(f"{name} is required")
        _check(name, field, told.get(name))
    return told


def check_choice(element: Json, wanted: Json) -> None:
    """What a field outside a form sends at once: one of its options, a text that is not too long."""
    for key in ("option", "options", "input_value"):
        if key in wanted:
            _check(str(element.get("name") or element.get("tag")), element, wanted[key])


def _is_field(node: Json) -> bool:
    tag = node.get("tag")
    return isinstance(tag, str) and tag in FIELDS and bool(node.get("name"))


def _untouched(field: Json) -> Any:
    """What is sent of a field that nobody touched; None if nothing stood there."""
    value = field.get(DEFAULTS.get(field["tag"], ""))
    if isinstance(value, dict):  # a text in several languages
        value = value.get("content")
    return f"{value}{ZONE}" if value and field["tag"] in TIMES else value


def _check(name: str, field: Json, value: Any) -> None:
    if value in (None, "", []):
        return
    most = field.get("max_length")
    if field.get("tag") == "input" and isinstance(most, int) and isinstance(value, str) and len(value) > most:
        raise PressError(f"{name} takes at most {most} characters")
    options = field.get("options")
    if field.get("tag") not in CHOICES or not isinstance(options, list):
        return
    known = {str(option.get("value")) for option in options if isinstance(option, dict)}
    if strange := [one for one in (value if isinstance(value, list) else [value]) if str(one) not in known]:
        raise PressError(f"{name} has no option {strange[0]}")
