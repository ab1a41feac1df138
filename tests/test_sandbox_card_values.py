"""Cards of JSON 2.0 with attributes whose values, or what is inside them, Feishu does not know; and good ones."""

from typing import Any

import pytest

from botconsole.sandbox.cardrules import CardRules
from botconsole.sandbox.errors import PlatformError
from botconsole.sandbox.fields import PressError, form_value
from botconsole.sandbox.press import find_element
from tests.sandbox_world import BUTTON, second
from tests.test_sandbox_odd_cards import SECOND, spoilt

TEXT = {"tag": "plain_text", "content": "x"}
LINK = {"android_url": "https://a.example", "ios_url": "https://i.example", "pc_url": "https://p.example"}
WRONG = [
    ({"tag": "column_set", "background_style": "#ff0000", "columns": []}, "name of a colour"),
    ({"tag": "div", "text": {**TEXT, "text_color": "#ff0000"}}, "name of a colour"),
    ({"tag": "column_set", "columns": [{"tag": "column", "padding": 8, "elements": []}]}, "pixels"),
    ({"tag": "hr", "margin": "wide"}, "pixels"),
    ({"tag": "column_set", "columns": [{"tag": "column", "weight": 9, "elements": []}]}, "from 1 to 5"),
    ({"tag": "input", "name": "a", "max_length": 5000}, "from 1 to 1000"),
    ({"tag": "input", "name": "a", "input_type": "textarea"}, "one of text, password"),
    ({"tag": "markdown", "content": 5}, "a string"),
    ({"tag": "button", "text": "x"}, "text must be an object"),
    ({**BUTTON, "type": "shiny"}, "one of default, primary"),
    ({**BUTTON, "confirm": {"heading": TEXT}}, "unknown property, property: heading"),
    ({**BUTTON, "behaviors": {"type": "callback"}}, "behaviors must be an array"),
    ({**BUTTON, "behaviors": [{"type": "shout"}]}, "one of callback, open_url"),
    ({**BUTTON, "behaviors": [{"type": "callback", "key": 1}]}, "unknown property, property: key"),
    ({**BUTTON, "behaviors": [{"type": "open_url"}]}, "open_url needs default_url"),
    ({"tag": "overflow", "options": [{"label": TEXT}]}, "unknown property, property: label"),
]
GOOD = [
    {"tag": "column_set", "background_style": "rgba(255, 0, 0, 1)", "columns": []},
    {"tag": "hr", "margin": "0 4px -8px 0"},
    {"tag": "select_person", "initial_user": "ou_ada", "options": [{"value": "ou_ada"}]},
    {**BUTTON, "behaviors": [{"type": "open_url", **LINK}, {"type": "callback", "value": "text"}]},
]


def check(card: dict[str, Any]) -> None:
    CardRules(lambda person: True, lambda email: True, lambda image: True).check(card)


@pytest.mark.parametrize(("element", "said"), WRONG)
def test_a_value_that_2_0_does_not_know_is_200621(element: dict, said: str) -> None:
    with pytest.raises(PlatformError) as error:
        check(second(element))
    assert "ErrCode: 200621" in error.value.message
    assert said in error.value.message


@pytest.mark.parametrize("element", GOOD)
def test_a_value_that_2_0_knows_is_good(element: dict) -> None:
    check(second(element))


@pytest.mark.parametrize(
    ("more", "good"),
    [
        ({"card_link": {"url": "https://a.example"}}, True),
        ({"card_link": LINK}, True),
        ({"card_link": {"android_url": "https://a.example"}}, False),
        ({"config": {"width_mode": "compact"}}, True),
        ({"config": {"width_mode": "huge"}}, False),
    ],
)
def test_a_cards_link_and_width_are_as_documented(more: dict, good: bool) -> None:
    if good:
        check(second(**more))
        return
    with pytest.raises(PlatformError, match="ErrCode: 200621"):
        check(second(**more))


def test_an_image_size_that_2_0_no_longer_has_is_200861() -> None:
    with pytest.raises(PlatformError, match="ErrCode: 200861"):
        check(second({"tag": "img", "img_key": "img_1", "alt": TEXT, "size": "stretch_without_padding"}))


def test_a_form_of_whatever_odd_card_is_filled_in_or_refused() -> None:
    for card in spoilt(SECOND):
        element = find_element(card, "go")
        if element is not None:
            try:
                form_value(card, element, {"n": "x"})
            except PressError:
                continue
