"""Cards, answers and numbers as no sane app sends them: refused or shown, never a stack trace."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from botconsole.sandbox import SandboxConfig
from botconsole.sandbox.call import Call
from botconsole.sandbox.content import degraded, rules
from botconsole.sandbox.errors import PlatformError
from botconsole.sandbox.press import callback_value, find_element, judge
from botconsole.sandbox.server import create_world
from botconsole.sandbox.view import message_view, summary
from botconsole.sandbox.webhook import Answer
from botconsole.sandbox.world import World

TEXT = {"tag": "plain_text", "content": "a"}
FIRST = {
    "config": {"update_multi": True},
    "header": {"template": "red", "title": TEXT},
    "i18n_elements": {"zh_cn": [{"tag": "markdown", "content": "a"}]},
    "elements": [
        {
            "tag": "div",
            "text": TEXT,
            "fields": [{"is_short": True, "text": {"tag": "lark_md", "content": "b"}}],
        },
        {"tag": "img", "img_key": "img_1", "alt": TEXT},
        {"tag": "note", "elements": [TEXT]},
        {
            "tag": "action",
            "actions": [
                {"tag": "button", "name": "b", "text": TEXT, "value": {"a": 1}, "behaviors": []},
                {"tag": "select_static", "placeholder": TEXT, "options": [{"text": TEXT, "value": "1"}]},
            ],
        },
    ],
}
SECOND = {
    "schema": "2.0",
    "config": {"update_multi": True, "summary": {"content": "s"}, "locales": ["zh_cn"]},
    "card_link": {"url": "https://console.example/"},
    "header": {
        "template": "red",
        "title": {**TEXT, "i18n_content": {"zh_cn": "b"}},
        "text_tag_list": [{"tag": "text_tag", "text": TEXT, "color": "red"}],
        "icon": {"tag": "standard_icon", "token": "t", "color": "red"},
    },
    "body": {
        "direction": "vertical",
        "elements": [
            {"tag": "markdown", "element_id": "m", "content": "**a**", "icon": {"tag": "standard_icon", "token": "t"}},
            {"tag": "column_set", "columns": [{"tag": "column", "width": "weighted", "weight": 1, "elements": []}]},
            {"tag": "table", "columns": [{"name": "a"}], "rows": [{"a": 1}]},
            {"tag": "person_list", "persons": [{"id": "ou_1"}]},
            {"tag": "collapsible_panel", "header": {"title": TEXT}, "elements": [{"tag": "hr"}]},
            {"tag": "interactive_container", "elements": [{"tag": "hr"}], "behaviors": [{"type": "callback"}]},
            {
                "tag": "button",
                "element_id": "ack",
                "text": TEXT,
                "behaviors": [{"type": "callback", "value": {"a": 1}}, {"type": "open_url", "default_url": "https://a.b"}],
                "confirm": {"title": TEXT, "text": TEXT},
            },
            {"tag": "multi_select_static", "options": [{"text": TEXT, "value": "1"}], "selected_values": ["1"]},
            {"tag": "overflow", "options": [{"text": TEXT, "value": "1"}]},
            {
                "tag": "form",
                "name": "f",
                "elements": [
                    {"tag": "input", "name": "n", "required": True, "label": TEXT, "max_length": 10},
                    {"tag": "button", "name": "go", "text": TEXT, "form_action_type": "submit"},
                ],
            },
        ],
    },
}  # fmt: skip
ODD: tuple[Any, ...] = (None, 7, -0.5, "x", True, [], {}, [7], ["x"], {"tag": {}}, [[{"tag": []}]])


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    world = create_world(SandboxConfig("cli_odd", "secret", limits=False))
    yield world
    world.store.close()


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in a card."""
    if path:
        yield path
    for key, value in (
        node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    ):
        yield from places(value, (*path, key))


def spoilt(card: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The card with one of its values after the other replaced by something else."""
    for path in places(card):
        for odd in ODD:
            told = copy.deepcopy(card)
            node: Any = told
            for key in path[:-1]:
                node = node[key]
            node[path[-1]] = odd
            yield told


@pytest.mark.parametrize("card", [FIRST, SECOND], ids=["1.0", "2.0"])
def test_a_card_with_anything_in_any_place_is_refused_or_shown(world: World, card: dict[str, Any]) -> None:
    chat, taken, refused = world.add_chat("odd"), 0, 0
    message = world.add_message(chat["chat_id"], ("cli_odd", "app"), "interactive", "{}", [], None)
    judging = rules(world)
    judging.knows_image = judging.knows_person = lambda _: True
    for told in spoilt(card):
        try:
            judging.check(told)
            taken += 1
        except PlatformError:
            refused += 1
            continue
        content = json.dumps(told)
        assert json.loads(degraded(content))["elements"] is not None
        element = find_element(told, "b") or find_element(told, "ack") or {}
        callback_value(element)
        shown = world.change_message(message, content=content)
        assert isinstance(summary(shown, {}), str)
        assert isinstance(message_view(world, shown, {})["html"], str)
    assert taken > 100
    assert refused > 100


def test_a_card_of_a_hundred_boxes_in_each_other_is_refused(world: World) -> None:
    card: dict[str, Any] = {"tag": "hr"}
    for _ in range(100):
        card = {"tag": "collapsible_panel", "elements": [card]}
    with pytest.raises(PlatformError, match="nested too deep"):
        rules(world).check({"schema": "2.0", "body": {"elements": [card]}})


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"card":' * 5000, b"7", b"\xff"])
def test_an_answer_of_nonsense_to_a_press_is_the_clients_200672(world: World, body: bytes) -> None:
    assert judge(world, SECOND, Answer(200, 1, body))[0] == 200672


def test_a_page_token_of_thousands_of_digits_is_refused() -> None:
    with pytest.raises(PlatformError, match="page_token is invalid"):
        Call({}, {"page_token": "pt_" + "9" * 5000}).page_token()
