"""Filling a card: every place escapes in its own way, and nothing but the given variables is reachable."""

import json
from pathlib import Path

import pytest

from events import cards
from events.cards import CardError, Markup, Problem, Url

SAMPLES = Path(__file__).parent / "samples" / "cards"
EVIL = "**x**](http://evil"
EVIL_IN_MARKDOWN = "&#42;&#42;x&#42;&#42;&#93;&#40;http&#58;&#47;&#47;evil"
EVIL_IN_A_LINK = "%2A%2Ax%2A%2A%5D%28http%3A%2F%2Fevil"
ALL = "<at id=all></at>"
ALL_IN_MARKDOWN = "&#60;at id=all&#62;&#60;&#47;at&#62;"
ALL_IN_A_LINK = "%3Cat%20id%3Dall%3E%3C%2Fat%3E"
VARIABLES = {
    "user.name": EVIL,
    "user.open_id": "ou_x",
    "users.mentions": cards.mentions({"ou_ada": "Ada", "ou_x": EVIL}),
    "users.names": f"Ada、{EVIL}",
    "users.count": 2,
    "chat.name": "支付 | 值班",
    "chat.id": "oc_made_up",
    "bot.name": "小助手",
    "now": "2026-11-21 18:00",
}


def load(name):
    return json.loads((SAMPLES / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def english():
    from django.utils import translation

    with translation.override("en"):
        yield


def test_the_welcome_card_is_filled_and_every_place_escaped_in_its_own_way():
    assert cards.render(load("welcome_2"), VARIABLES) == load("welcome_2_filled")


def test_filling_leaves_the_template_as_it_was():
    card = load("welcome_2")
    cards.fill(card, VARIABLES)
    assert card == load("welcome_2")


@pytest.mark.parametrize(
    ("name", "in_markdown", "in_a_link"),
    [
        (ALL, ALL_IN_MARKDOWN, ALL_IN_A_LINK),
        (EVIL, EVIL_IN_MARKDOWN, EVIL_IN_A_LINK),
        ("&#60;at id=all&#62;", "&#38;&#35;60;at id=all&#38;&#35;62;", "%26%2360%3Bat%20id%3Dall%26%2362%3B"),
        ("    code", "code", "%20%20%20%20code"),
        ("a|b~c", "a&#124;b&sim;c", "a%7Cb~c"),
        ("javascript:alert(1)", "javascript&#58;alert&#40;1&#41;", "javascript%3Aalert%281%29"),
        (":DONE: `x` $y_z", "&#58;DONE&#58; &#96;x&#96; &#36;y&#95;z", "%3ADONE%3A%20%60x%60%20%24y_z"),
        ('"},{"tag":"hr"', "&#34;},{&#34;tag&#34;&#58;&#34;hr&#34;", "%22%7D%2C%7B%22tag%22%3A%22hr%22"),
        ("{{ user.open_id }}", "{{ user.open&#95;id }}", "%7B%7B%20user.open_id%20%7D%7D"),
    ],
)
def test_a_hostile_name_is_literal_in_every_place(name, in_markdown, in_a_link):
    one = "{{ user.name }}"
    card = [
        {"tag": "markdown", "content": one},
        {"tag": "lark_md", "content": one, "i18n_content": {"en_us": one}},
        {"tag": "who knows", "content": one},
        {"tag": "plain_text", "content": one},
        {"summary": {"content": one}},
        {"url": one, "default_url": f"https://x/{one}", "href": {"urlVal": {"pc_url": one}}},
        {"tag": "markdown", "content": f"[t](https://x/?q={one}) {one}"},
        {"tag": "markdown", "content": f"<link url='https://x/{one}'>t</link>"},
        {"tag": "button", "value": {"name": one, "url": one}},
        {"tag": "table", "columns": [{"name": "a", "data_type": "lark_md"}], "rows": [{"a": one, "b": one}]},
        {"type": "template", "data": {"template_variable": {"name": one}}},
    ]
    assert cards.fill(card, {"user.name": name}) == [
        {"tag": "markdown", "content": in_markdown},
        {"tag": "lark_md", "content": in_markdown, "i18n_content": {"en_us": in_markdown}},
        {"tag": "who knows", "content": in_markdown},
        {"tag": "plain_text", "content": name},
        {"summary": {"content": name}},
        {
            "url": in_a_link,
            "default_url": f"https://x/{in_a_link}",
            "href": {"urlVal": {"pc_url": in_a_link}},
        },
        {"tag": "markdown", "content": f"[t](https://x/?q={in_a_link}) {in_markdown}"},
        {"tag": "markdown", "content": f"<link url='https://x/{in_a_link}'>t</link>"},
        {"tag": "button", "value": {"name": name, "url": name}},
        {
            "tag": "table",
            "columns": [{"name": "a", "data_type": "lark_md"}],
            "rows": [{"a": in_markdown, "b": name}],
        },
        {"type": "template", "data": {"template_variable": {"name": in_markdown}}},
    ]


def test_mentions_are_markup_in_markdown_and_names_in_plain_text():
    card = [{"tag": "markdown", "content": "{{ m }}"}, {"tag": "plain_text", "content": "{{ m }}"}]
    assert cards.fill(card, {"m": cards.mentions({"ou_ada": "Ada", "ou_bo": "Bo"})}) == [
        {"tag": "markdown", "content": "<at id=ou_ada></at> <at id=ou_bo></at>"},
        {"tag": "plain_text", "content": "@Ada @Bo"},
    ]


@pytest.mark.parametrize("open_id", ["all", "", "ou_a></at><at id=all", "ou_a,all", "ou a", "ou_ä", "ou_a\n"])
def test_an_id_that_is_none_never_becomes_markup(open_id):
    assert cards.mention(open_id, "Ada") == Markup("@Ada", "@Ada")


def test_the_name_of_someone_who_cannot_be_mentioned_is_escaped():
    assert cards.mention("?", ALL) == Markup(f"@{ALL_IN_MARKDOWN}", f"@{ALL}")


@pytest.mark.parametrize("value", ["all", "ALL"])
def test_a_member_called_all_cannot_mention_everyone(value):
    card = {"tag": "markdown", "content": "<at id={{ user.name }}></at>"}
    assert cards.fill(card, {"user.name": value}) == {"tag": "markdown", "content": "<at id=></at>"}


def test_an_address_of_ours_stays_whole_only_where_a_link_begins():
    url = Url("https://c.example/i/42?a=1&b=(2)")
    card = [
        {"url": "{{ u }}"},
        {"url": "https://x/?next={{ u }}"},
        {"tag": "markdown", "content": "[t]({{ u }}) <link url='{{ u }}'>t</link>"},
        {"tag": "plain_text", "content": "{{ u }}"},
    ]
    whole = "https://c.example/i/42?a=1&b=%282%29"
    assert cards.fill(card, {"u": url}) == [
        {"url": whole},
        {"url": "https://x/?next=https%3A%2F%2Fc.example%2Fi%2F42%3Fa%3D1%26b%3D%282%29"},
        {"tag": "markdown", "content": f"[t]({whole}) <link url='{whole}'>t</link>"},
        {"tag": "plain_text", "content": "https://c.example/i/42?a=1&b=(2)"},
    ]


def test_lines_of_a_value_break_as_the_version_allows():
    markdown = {"tag": "markdown", "content": "{{ a }}"}
    assert cards.fill({"elements": [markdown]}, {"a": "1\n   2"}) == {
        "elements": [{"tag": "markdown", "content": "1\n2"}]
    }
    assert cards.fill({"schema": "2.0", "body": markdown}, {"a": "1\r\n2"}) == {
        "schema": "2.0",
        "body": {"tag": "markdown", "content": "1<br>2"},
    }


def test_characters_that_hide_or_turn_text_round_are_removed():
    value = "a\x00b\u202ec\u2066d\ud800e\x1bf\x1c"
    card = {"tag": "plain_text", "content": "{{ a }}"}
    assert cards.fill(card, {"a": value}) == {"tag": "plain_text", "content": "abcdef"}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ('{{ user.name|default:"朋友" }}', "朋友"),
        ('{{user.name | default: "朋友"}}', "朋友"),
        ('{{ missing|default:"朋友" }}', "朋友"),
        ("{{ user.name }}", ""),
        ("{{ missing }}!", "!"),
        ("{{ user.name", "{{ user.name"),
        ("{{ user.name|upper }}", "{{ user.name|upper }}"),
        ("}} {{}}", "}} {{}}"),
        ('{{ count|default:"9" }}', "0"),
    ],
)
def test_a_default_stands_for_what_is_missing_or_empty(text, filled):
    assert cards.fill({"a": text}, {"user.name": "", "count": 0}) == {"a": filled}


def test_no_attribute_of_a_value_is_reachable():
    card = {"a": "{{ user.__class__ }}{{ user.name.upper }}{{ user }}"}
    assert cards.fill(card, {"user.name": "Ada"}) == {"a": ""}


def test_the_variables_of_a_card_are_its_names():
    assert cards.variables_in(load("welcome_2")) == {
        *("users.names", "users.count", "users.mentions", "user.name", "user.open_id"),
        *("chat.name", "bot.name", "now"),
    }


def test_unknown_and_malformed_placeholders_are_told_with_their_path():
    card = {
        "body": {"elements": [{"content": "{{ user.nmae }}"}, {"text": {"content": "{{ a|upper }} {{}}"}}]}
    }
    unfinished = 'is not finished: write {{ name }} or {{ name|default:"..." }}.'
    assert cards.unknown_variables(card, {"user.name", "a"}) == [
        Problem("body.elements[0].content", "There is no variable user.nmae."),
        Problem("body.elements[1].text.content", f'"{{{{ a|upper }}}} {{{{}}}}" {unfinished}'),
        Problem("body.elements[1].text.content", f'"{{{{}}}}" {unfinished}'),
    ]


def test_a_card_with_an_unknown_variable_is_not_rendered():
    with pytest.raises(CardError) as caught:
        cards.render({"schema": "2.0", "header": {"title": "{{ nobody }}"}}, VARIABLES)
    assert caught.value.problems == [Problem("header.title", "There is no variable nobody.")]


def test_a_name_that_makes_the_card_too_large_is_told():
    card = {"schema": "2.0", "body": {"elements": [{"tag": "markdown", "content": "{{ user.name }}"}]}}
    with pytest.raises(CardError, match="30720 are allowed"):
        cards.render(card, {"user.name": "x" * 40_000})


def deep(levels):
    card = {}
    for _level in range(levels):
        card = {"elements": [card]}
    return card


@pytest.mark.parametrize("work", [lambda card: cards.fill(card, {}), cards.variables_in])
def test_a_card_of_a_thousand_levels_is_refused_not_recursed_into(work):
    with pytest.raises(CardError, match="nested more than 64 levels"):
        work(deep(1000))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "{a: 1}",
            "Line 1, column 2: a name in double quotes must stand here (no comma after the last one).",
        ),
        ('{\n "a" 1}', "Line 2, column 6: a colon is missing after the name."),
        ('{"a": "b', "Line 1, column 7: the text that starts here is never closed."),
        ('{"a": 1} {', "Line 1, column 10: the card ends before this."),
        ("", "Line 1, column 1: a value is missing here (a text needs double quotes)."),
        ("[]", "A card is a JSON object."),
        ('{"a": NaN}', "This is not a number in JSON: NaN"),
        ("[" * 100_000, "The card is nested more than 64 levels deep."),
        ('{"a":' * 80 + "1" + "}" * 80, "The card is nested more than 64 levels deep."),
    ],
)
def test_what_is_not_json_is_told_in_words(text, problem):
    with pytest.raises(CardError) as caught:
        cards.parse(text)
    assert caught.value.problems == [Problem("", problem)]


def test_json_is_parsed_and_written_as_it_is_sent():
    assert (
        cards.dumps(cards.parse('\ufeff{"标题": "<b>",\n "n": [1, null]}')) == '{"标题":"<b>","n":[1,null]}'
    )


@pytest.mark.parametrize("tag", [[], {}, 7, None, True])
def test_a_tag_that_is_no_text_is_refused_and_raises_nothing_else(tag: object) -> None:
    card = {"schema": "2.0", "body": {"elements": [{"tag": tag, "content": "{{ user.name }}"}]}}
    with pytest.raises(CardError):
        cards.render(card, {"user.name": "Ada"})
