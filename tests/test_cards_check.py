"""Checking a card: what Feishu would refuse is told beforehand, with the JSON path."""

import json
from pathlib import Path

import pytest
from django.utils import translation

from events.cards import MAX_BYTES, Problem, check, dumps

SAMPLES = Path(__file__).parent / "samples" / "cards"
UNKNOWN = "Card JSON 2.0 does not know this attribute here."
MISSING = "This is missing."
OBJECT = "This must be an object."
LINK = "A link starts with https:// or http://."
TEXT = {"tag": "plain_text", "content": "x"}
SUBMIT = {"tag": "button", "name": "go", "text": TEXT, "form_action_type": "submit"}


@pytest.fixture(autouse=True)
def english():
    with translation.override("en"):
        yield


def two(*elements, **more):
    return {"schema": "2.0", "body": {"elements": list(elements)}, **more}


def one(*elements, **more):
    return {"config": {"update_multi": True}, "elements": list(elements), **more}


def nested_columns(levels):
    element = {"tag": "hr"}
    for _level in range(levels):
        element = {"tag": "column_set", "columns": [{"tag": "column", "elements": [element]}]}
    return element


@pytest.mark.parametrize("name", ["welcome_2_filled", "alert_1", "resolve_form_2", "report_2", "template"])
def test_a_good_card_has_no_problems(name):
    assert check(json.loads((SAMPLES / f"{name}.json").read_text(encoding="utf-8"))) == []


def test_the_empty_card_is_accepted():
    assert check({}) == []


@pytest.mark.parametrize(
    ("card", "problem"),
    [
        ([], Problem("", "A card is a JSON object.")),
        ("x", Problem("", "A card is a JSON object.")),
        (None, Problem("", "A card is a JSON object.")),
        ({"schema": "1.0"}, Problem("schema", 'This must be "2.0".')),
        ({"schema": "2.0", "body": []}, Problem("body", OBJECT)),
        ({"schema": "2.0", "body": {"elements": {}}}, Problem("body.elements", "This must be a list.")),
        ({"schema": "2.0", "elements": []}, Problem("elements", "Card JSON 2.0 keeps its elements in body.elements.")),
        (two(footer={}), Problem("footer", UNKNOWN)),
        (two(config={"colour": 1}), Problem("config.colour", UNKNOWN)),
        (
            two(config={"update_multi": False}),
            Problem("config.update_multi", "Card JSON 2.0 allows only true here."),
        ),
        (
            {"elements": []},
            Problem(
                "config.update_multi",
                'Add "update_multi": true to the config: without it the card cannot be updated later.',
            ),
        ),
        ({"config": {"update_multi": True}}, Problem("elements", MISSING)),
        (one(header={"template": "red"}), Problem("header.title", MISSING)),
        (
            two(header={"title": TEXT, "text_tag_list": [{"tag": "text_tag", "text": TEXT}] * 4}),
            Problem("header.text_tag_list", "At most 3 tags are allowed."),
        ),
        (two(header={"title": "x"}), Problem("header.title", OBJECT)),
        (
            two(card_link={"pc_url": "https://x"}),
            Problem("card_link", "Give url, or all of pc_url, ios_url and android_url."),
        ),
        (two(card_link={"url": "javascript:alert(1)"}), Problem("card_link.url", LINK)),
        (two("x"), Problem("body.elements[0].tag", "An element needs a tag.")),
        (two({"tag": "hologram"}), Problem("body.elements[0].tag", 'There is no element "hologram".')),
        (
            two({"tag": "action", "actions": []}),
            Problem(
                "body.elements[0].tag",
                '"action" was removed in card JSON 2.0: put its buttons directly among the elements.',
            ),
        ),
        (
            two({"tag": "note", "elements": []}),
            Problem(
                "body.elements[0].tag",
                '"note" was removed in card JSON 2.0: '
                'use {"tag": "markdown", "text_size": "notation", "content": "..."}.',
            ),
        ),
        (two({"tag": "hr", "colour": "red"}), Problem("body.elements[0].colour", UNKNOWN)),
        (two({"tag": "markdown"}), Problem("body.elements[0].content", MISSING)),
        (two({"tag": "markdown", "content": 5}), Problem("body.elements[0].content", "This must be a text.")),
        (two({"tag": "img", "img_key": "img_1"}), Problem("body.elements[0].alt", MISSING)),
        (two({"tag": "div"}), Problem("body.elements[0].text", MISSING)),
        (
            two({"tag": "div", "text": {"tag": "plain", "content": ""}}),
            Problem("body.elements[0].text.tag", 'Use "plain_text" or "lark_md".'),
        ),
        (two({"tag": "div", "text": TEXT | {"bold": True}}), Problem("body.elements[0].text.bold", UNKNOWN)),
        (
            two({"tag": "hr", "element_id": "1st"}),
            Problem(
                "body.elements[0].element_id",
                "An element_id is a letter and then letters, digits and _, 20 in all.",
            ),
        ),
        (
            two({"tag": "hr", "element_id": "a"}, {"tag": "hr", "element_id": "a"}),
            Problem("body.elements[1].element_id", '"a" is used twice.'),
        ),
        (
            one({"tag": "action", "actions": [{"tag": "button", "text": TEXT, "value": "x"}]}),
            Problem("elements[0].actions[0].value", "A button's value must be an object."),
        ),
        (
            two({"tag": "button", "text": TEXT, "behaviors": [{"type": "callback", "value": "x"}]}),
            Problem("body.elements[0].behaviors[0].value", "A button's value must be an object."),
        ),
        (
            two({"tag": "button", "text": TEXT, "behaviors": [{"type": "jump"}]}),
            Problem("body.elements[0].behaviors[0].type", 'Use "callback" or "open_url".'),
        ),
        (
            two({"tag": "button", "text": TEXT, "behaviors": [{"type": "open_url", "default_url": "//x"}]}),
            Problem("body.elements[0].behaviors[0].default_url", LINK),
        ),
        (
            two({"tag": "hr"}, {"tag": "markdown", "content": "[x](javascript:alert)"}),
            Problem("body.elements[1].content", LINK),
        ),
        (
            one({"tag": "markdown", "content": "<at id=></at>"}),
            Problem(
                "elements[0].content", "<at id=> names nobody, and Feishu refuses the whole card for it."
            ),
        ),
        (
            two({"tag": "person", "user_id": "ou_a", "element_id": 7}),
            Problem(
                "body.elements[0].element_id",
                "An element_id is a letter and then letters, digits and _, 20 in all.",
            ),
        ),
        (
            two({"tag": "form", "name": "f", "elements": []}),
            Problem("body.elements[0].elements", 'A form needs a button with "form_action_type": "submit".'),
        ),
        (
            two({"tag": "form", "name": "f", "elements": [{"tag": "input"}, SUBMIT]}),
            Problem("body.elements[0].elements[0].name", "In a form this needs a name."),
        ),
        (
            two({"tag": "form", "name": "f", "elements": [{"tag": "input", "name": "go"}, SUBMIT]}),
            Problem("body.elements[0].elements[1].name", '"go" is used twice in this form.'),
        ),
        (
            two({"tag": "form", "name": "f", "elements": [{"tag": "chart", "chart_spec": {}}, SUBMIT]}),
            Problem("body.elements[0].elements[0]", "A form cannot hold a chart."),
        ),
        (
            two({"tag": "collapsible_panel", "header": {}, "elements": [{"tag": "table", "columns": [], "rows": []}]}),
            Problem("body.elements[0].elements[0]", '"table" may stand only directly in the body.'),
        ),
        (
            two(nested_columns(6)),
            Problem(
                "body.elements[0]" + ".columns[0].elements[0]" * 5, "Column sets may be nested 5 deep."
            ),
        ),
        (
            two({"tag": "column_set", "columns": [{"tag": "column", "width": 100}]}),
            Problem(
                "body.elements[0].columns[0].width",
                'Card JSON 2.0 has no numbers here: use "weighted" and a weight from 1 to 5.',
            ),
        ),
        (
            two({"tag": "column_set", "columns": [], "background_style": "#fff"}),
            Problem("body.elements[0].background_style", "Use a colour name or rgba(), not #hex."),
        ),
        (
            two(*[{"tag": "hr"}] * 201),
            Problem("body.elements", "The card has 201 elements; 200 are allowed."),
        ),
        (
            {"type": "template", "data": {"template_id": "AAq", "template_version_name": "latest"}},
            Problem(
                "data.template_version_name",
                'Name the version, like "1.0.0": otherwise publishing the template changes sent cards.',
            ),
        ),
        ({"type": "card", "data": {}}, Problem("type", 'Only "template" can be sent this way.')),
        (
            {"elements": float("nan")},
            Problem("", "This cannot be written as JSON: Out of range float values are not JSON compliant."),
        ),
        (one({"tag": "hr", "x": "\ud800"}), Problem("", "The card holds half of a character (a lone surrogate).")),
    ],
)  # fmt: skip
def test_what_feishu_would_refuse_is_told_with_its_path(card, problem):
    assert problem in check(card)


@pytest.mark.parametrize(("place", "value"), [("template", "pink"), ("template", ["red"])])
def test_a_colour_that_is_none_is_told_with_those_there_are(place, value):
    (problem,) = check(two(header={"title": TEXT, place: value}))
    assert problem.path == "header.template"
    assert "carmine, default, green" in problem.message


def test_a_button_type_that_is_none_is_told_with_those_there_are():
    (problem,) = check(two({"tag": "button", "text": TEXT, "type": "warning"}))
    assert problem.path == "body.elements[0].type"
    assert "danger, danger_filled" in problem.message


def test_version_1_ignores_attributes_it_does_not_know():
    assert check(one({"tag": "hr", "colour": "red"}, footer={})) == []


def test_five_nested_column_sets_are_allowed():
    assert check(two(nested_columns(5))) == []


def test_a_platform_may_be_shut_out_of_a_link():
    link = {"pc_url": "https://x", "ios_url": "https://x", "android_url": "lark://msgcard/unsupported_action"}
    assert check(two(card_link=link)) == []


@pytest.mark.parametrize(
    "content",
    ["<at id=all></at>", "<at id=ou_a-1></at>", "<at ids=ou_a,ou_b></at>", "<at email=a@b.c></at>", "<at id='x'></at>"],
)  # fmt: skip
def test_mentions_of_somebody_are_accepted(content):
    assert check(two({"tag": "markdown", "content": content})) == []


@pytest.mark.parametrize(("extra", "problems"), [(0, 0), (1, 1)])
def test_the_size_limit_counts_bytes_of_the_string_as_sent(extra, problems):
    card = two({"tag": "markdown", "content": "界"})
    room = MAX_BYTES - len(dumps(card).encode())
    card["body"]["elements"][0]["content"] += "界" * (room // 3) + "x" * (room % 3 + extra)
    assert len(check(card)) == problems


def test_names_may_return_in_another_form_but_not_in_the_same():
    form = {"tag": "form", "name": "f", "elements": [{"tag": "input", "name": "a"}, SUBMIT]}
    assert check(two(form, form)) == []


def test_a_thousand_levels_are_told_not_recursed_into():
    card = {"schema": "2.0", "body": nested_columns(1000)}
    assert check(card) == [Problem("", "The card is nested more than 64 levels deep.")]


HOSTILE = [
    None,
    True,
    1,
    1.5,
    "x",
    "",
    [],
    {},
    [[]],
    [None],
    [{}],
    {"tag": []},
    {"tag": {}},
    [{"tag": 1}],
    "\x00",
]
KEYS = [
    *(
        "tag",
        "elements",
        "columns",
        "actions",
        "options",
        "fields",
        "header",
        "text",
        "confirm",
        "behaviors",
        "extra",
    ),
    *("value", "type", "name", "content", "rows", "width", "element_id", "template", "text_tag_list", "url"),
]
TAGS = ["button", "form", "column_set", "table", "div", "markdown", "img", "action", "select_static", "input"]


@pytest.mark.parametrize("tag", TAGS)
def test_garbage_in_any_attribute_is_judged_without_an_exception(tag):
    for key in KEYS:
        for garbage in HOSTILE:
            element = {"tag": tag, key: garbage}
            check(two(element, header=garbage, config=garbage, card_link=garbage))
            check(one(element, i18n_elements=garbage))
