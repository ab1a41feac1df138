"""A person presses something on a card: the app is called back, its answer judged as the client does."""

import json
import secrets
from typing import Any

from botconsole.sandbox import payloads
from botconsole.sandbox.cardrules import is_second_schema, walk
from botconsole.sandbox.content import rules
from botconsole.sandbox.errors import PlatformError
from botconsole.sandbox.oldcards import press_answered, remember_press
from botconsole.sandbox.store import Row, new_id
from botconsole.sandbox.webhook import Answer
from botconsole.sandbox.world import World

Json = dict[str, Any]
CLIENT_TEXTS = {
    200671: "the app's answer was not HTTP 200",
    200672: "the body of the app's answer could not be read",
    200673: "the card in the app's answer is wrong",
    200341: "the app did not answer within 3 s",
    200342: "no connection to the app",
    200343: "the app's host name is unknown",
    200340: "no request URL is configured",
    200345: "the request URL is wrong",
    200530: "a component of a form in the app's answer has no name",
    200830: "a card of 2.0 can not be replaced by one of 1.0",
    200080: "the request failed",
}
NO_ANSWER = {
    "timeout": 200341,
    "no connection": 200342,
    "connection lost": 200342,
    "unknown host": 200343,
    "no webhook": 200340,
    "the URL is wrong": 200345,
}
TOAST_KINDS = ("info", "success", "error", "warning")


class PressError(ValueError):
    """The client would not even have offered this press."""


def find_element(card: Json, element: str) -> Json | None:
    """The element with this element_id, name, text on it, or path of keys and numbers (`body.elements.0`)."""
    parts = [part for _, part in walk(card) if "tag" in part]
    for known_by in (_ids, _label):
        for part in parts:
            if element in known_by(part):
                return part
    node: Any = card
    for step in [part for part in element.replace("/", ".").split(".") if part not in ("", "$")]:
        if isinstance(node, list) and step.isascii() and step.isdigit() and int(step) < len(node):
            node = node[int(step)]
        elif isinstance(node, dict) and step in node:
            node = node[step]
        else:
            return None
    return node if isinstance(node, dict) and node is not card else None


def _ids(part: Json) -> list[Any]:
    return [part.get("element_id"), part.get("name")]


def _label(part: Json) -> list[Any]:
    text = part.get("text")
    return [text.get("content")] if part["tag"] == "button" and isinstance(text, dict) else []


def callback_value(element: Json) -> Any:
    """The value of its callback behaviour, or (1.0) its own; None if it calls nobody back."""
    behaviors = element.get("behaviors")
    for behavior in behaviors if isinstance(behaviors, list) else []:
        if isinstance(behavior, dict) and behavior.get("type") == "callback":
            return behavior.get("value", {})
    return element.get("value")


def _action(element: Json | None, wanted: Json) -> Json:
    """`event.action`: only keys that the component has."""
    tag = wanted.get("tag") or (element or {}).get("tag", "button")
    action: Json = {"tag": tag, "timezone": "Asia/Shanghai"}
    value = wanted["value"] if "value" in wanted else callback_value(element or {})
    if value is None and "form_value" not in wanted and "option" not in wanted:
        raise PressError("this element calls nobody back (no callback value)")
    action["value"] = {} if value is None else value
    if name := wanted.get("name") or (element or {}).get("name"):
        action["name"] = name
    for key in ("form_value", "option", "options", "input_value", "checked"):
        if key in wanted:
            action[key] = wanted[key]
    return action


def _pressed_element(card: Json, wanted: Json) -> Json | None:
    """The element that is named; without a name the one that calls back with this value."""
    if wanted.get("element"):
        return find_element(card, str(wanted["element"]))
    parts = (part for _, part in walk(card) if "tag" in part)
    value = wanted.get("value")
    return next((part for part in parts if value and callback_value(part) == value), None)


def _check_form(card: Json, element: Json | None, form_value: Any) -> None:
    """The client sends no form whose required fields are empty."""
    if element is None or not isinstance(form_value, dict):
        return
    for _, form in walk(card):
        if form.get("tag") == "form" and any(node is element for _, node in walk(form)):
            for _, node in walk(form):
                if (
                    node.get("required") is True
                    and node is not element
                    and not form_value.get(str(node.get("name")))
                ):
                    raise PressError(f"{node.get('name')} is required")


async def press(world: World, message: Row, person: Row, wanted: Json) -> Json:
    """Calls the app back and tells `{status, client_code, message, answer, http_status, ms, event_id}`."""
    if message["msg_type"] != "interactive" or message["deleted"]:
        raise PressError("this message has no card")
    if message["only_for"] not in ("", person["open_id"]):
        raise PressError("only the person it is for sees this card")
    card = json.loads(message["content"])
    element = _pressed_element(card, wanted)
    if wanted.get("element") and element is None and "value" not in wanted:
        raise PressError(f"the card has no element {wanted['element']}")
    if (element or {}).get("disabled") is True:
        raise PressError("this element is disabled")
    _check_form(card, element, wanted.get("form_value"))
    token, event_id = f"c-{secrets.token_hex(20)}", new_id("ev")
    event = world.told(payloads.press_event(world.config, message, person, token, _action(element, wanted)))
    remember_press(world, token, message["message_id"])
    answer = await world.pusher.call_back(event_id, "card.action.trigger", event)
    if answer.status == 200:
        press_answered(world, token)
    code, said = judge(world, card, answer)
    if not code and "card" in said:
        content = json.dumps(said["card"]["data"], ensure_ascii=False)
        world.change_message(world.must_message(message["message_id"]), content=content, updated=1)
    return {
        "status": "failed" if code else "ok",
        "client_code": code or None,
        "message": CLIENT_TEXTS.get(code, ""),
        "answer": said,
        "http_status": answer.status,
        "ms": answer.ms,
        "event_id": event_id,
    }


def judge(world: World, card: Json, answer: Answer) -> tuple[int, Json]:
    """The client's error code (0 if all is well) and the answer as JSON."""
    if answer.status is None:
        return NO_ANSWER.get(answer.error, 200080), {}
    try:
        said = json.loads(answer.body) if answer.body.strip() else {}
    except (ValueError, RecursionError):
        said = None
    if answer.status != 200:
        return 200671, said if isinstance(said, dict) else {}
    if not isinstance(said, dict) or not _toast_is_good(said.get("toast")):
        return 200672, said if isinstance(said, dict) else {}
    if said.get("card") is None:
        return 0, {key: value for key, value in said.items() if key != "card"}
    return _judge_card(world, card, said["card"]), said


def _toast_is_good(toast: Any) -> bool:
    if toast is None:
        return True
    return isinstance(toast, dict) and toast.get("type", "info") in TOAST_KINDS


def _judge_card(world: World, old: Json, told: Any) -> int:
    new = told.get("data") if isinstance(told, dict) and told.get("type") == "raw" else None
    if not isinstance(new, dict):
        return 200673
    if is_second_schema(old) and not is_second_schema(new):
        return 200830
    try:
        rules(world).check(new)
    except PlatformError as error:
        return 200530 if "ErrCode: 200530" in error.message else 200673
    return 0
