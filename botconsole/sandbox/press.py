"""A person presses something on a card: the app is called back, its answer judged as the client does."""

import json
import secrets
from dataclasses import dataclass
from typing import Any

from botconsole.sandbox import fields, payloads
from botconsole.sandbox.cardrules import is_second_schema, is_shared, walk
from botconsole.sandbox.content import rules
from botconsole.sandbox.errors import PlatformError
from botconsole.sandbox.fields import PressError
from botconsole.sandbox.oldcards import press_answered, remember_press
from botconsole.sandbox.push import OLD
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
PARTS_OF_A_CARD = {"schema", "config", "card_link", "header", "elements", "i18n_elements", "body"}


@dataclass(frozen=True, slots=True)
class Pressed:
    """Who pressed what: the card as that person sees it, the token and `event.action`."""

    message: Row
    person: Row
    card: Json
    token: str
    action: Json


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one callback: the client's code (0 is good), the answer, the card in it."""

    event_id: str
    answer: Answer
    code: int
    said: Json
    card: Json | None


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
    """The element that is named; without one the one that calls back with this value, or has this `name`."""
    if wanted.get("element"):
        return find_element(card, str(wanted["element"]))
    value, name = wanted.get("value"), wanted.get("name")
    parts = [part for _, part in walk(card) if "tag" in part and (not name or part.get("name") == name)]
    fitting = (part for part in parts if value and callback_value(part) == value)
    return next(fitting, parts[0] if name and parts else None)


async def press(world: World, message: Row, person: Row, wanted: Json) -> Json:
    """Calls the app back and tells `{status, client_code, message, answer, http_status, ms, event_id, event_ids}`."""
    card, action = _pressed(world, message, person, wanted)
    token = f"c-{secrets.token_hex(20)}"
    remember_press(world, token, message["message_id"])
    pressed = Pressed(message, person, card, token, action)
    told = [await _outcome(world, pressed, way) for way in world.pusher.callbacks]
    if any(one.answer.status == 200 for one in told):
        press_answered(world, token)
    good = [one for one in told if not one.code]  # one success of two is enough
    best = next((one for one in good if one.card is not None), good[0] if good else told[0])
    if not best.code and best.card is not None:
        _replace(world, pressed, json.dumps(best.card, ensure_ascii=False))
    return {
        "status": "failed" if best.code else "ok",
        "client_code": best.code or None,
        "message": CLIENT_TEXTS.get(best.code, ""),
        "answer": best.said,
        "http_status": best.answer.status,
        "ms": best.answer.ms,
        "event_id": best.event_id,
        "event_ids": [one.event_id for one in told],
    }


def _pressed(world: World, message: Row, person: Row, wanted: Json) -> tuple[Json, Json]:
    """The card as this person sees it and `event.action`, unless the client would not offer the press."""
    if message["msg_type"] != "interactive" or message["deleted"]:
        raise PressError("this message has no card")
    if message["only_for"] not in ("", person["open_id"]):
        raise PressError("only the person it is for sees this card")
    if world.must_chat(message["chat_id"])["status"] != "normal":
        raise PressError("the chat is dissolved")
    card = json.loads(world.seen_by(message, person["open_id"]))
    element = _pressed_element(card, wanted)
    if wanted.get("element") and element is None and "value" not in wanted:
        raise PressError(f"the card has no element {wanted['element']}")
    if element is None:
        return card, _action(None, wanted)
    if element.get("disabled") is True:
        raise PressError("this element is disabled")
    fields.check_choice(element, wanted)
    given = wanted.get("form_value")
    if given is not None and not isinstance(given, dict):
        raise PressError("form_value must be an object")
    filled = fields.form_value(card, element, given)
    return card, _action(element, wanted if filled is None else {**wanted, "form_value": filled})


def _replace(world: World, pressed: Pressed, content: str) -> None:
    """A shared card changes for all, one of 1.0 that is not shared only for who pressed it."""
    if is_shared(json.loads(pressed.message["content"])):
        message = world.must_message(pressed.message["message_id"])
        world.change_message(message, content=content, updated=1)
    else:
        world.show_to(pressed.message, content, [pressed.person["open_id"]])


async def _outcome(world: World, pressed: Pressed, way: str) -> Outcome:
    """One callback, the new or the old one, and what the client makes of the answer."""
    event_id, config = new_id("ev"), world.config
    message, person, token, action = pressed.message, pressed.person, pressed.token, pressed.action
    if way == OLD:
        old = payloads.old_press(config, message, person, token, action)
        answer = await world.pusher.call_back_old(event_id, world.told(old))
        code, said, card = judge_old(world, pressed.card, answer)
    else:
        event = world.told(payloads.press_event(config, message, person, token, action))
        answer = await world.pusher.call_back(event_id, "card.action.trigger", event)
        code, said = judge(world, pressed.card, answer)
        card = said["card"]["data"] if not code and "card" in said else None
    return Outcome(event_id, answer, code, said, card)


def _read(answer: Answer) -> tuple[int, Json]:
    """The answer as JSON, and the client's error code if it is none, or came with an error."""
    if answer.status is None:
        return NO_ANSWER.get(answer.error, 200080), {}
    try:
        said = json.loads(answer.body) if answer.body.strip() else {}
    except (ValueError, RecursionError):
        said = None
    told = said if isinstance(said, dict) else {}
    if answer.status != 200:
        return 200671, told
    return (0 if isinstance(said, dict) else 200672), told


def judge(world: World, card: Json, answer: Answer) -> tuple[int, Json]:
    """The client's error code (0 if all is well) and the answer as JSON."""
    code, said = _read(answer)
    if code or not _toast_is_good(said.get("toast")):
        return code or 200672, said
    if said.get("card") is None:
        return 0, {key: value for key, value in said.items() if key != "card"}
    return _judge_card(world, card, said["card"]), said


def judge_old(world: World, card: Json, answer: Answer) -> tuple[int, Json, Json | None]:
    """The same of an old callback, whose answer is the whole new card, or nothing of one."""
    code, said = _read(answer)
    if code or not PARTS_OF_A_CARD & said.keys():
        return code, said, None
    return _judge_card(world, card, {"type": "raw", "data": said}), said, said


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
