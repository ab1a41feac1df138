"""Drawing a card: safe HTML and plain text from any JSON whatever, and what a press would send."""

import json
import os
import random
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from events import cards
from events.cardview import as_text, draw

ROOT = Path(__file__).parent.parent
SAMPLES = Path(__file__).parent / "samples" / "cards"
PEOPLE = {"ou_ada": "陈爱达", "ou_bo": "李波"}
HOSTILE_NAMES = [
    "<at id=all></at>",
    "**x**](http://evil",
    "<script>alert(1)</script>",
    "\" onclick=\"x' onclick='x",
    "&#60;at id=all&#62;",
    "[x](javascript:alert(1))",
    "![x](img_1) ~~s~~ `c` $m$ :DONE: _i_",
    "| a | b |",
    "# h > q - l + m",
    "مرحبا שלום",
    "</article></p>",
]
TAGS = {
    *(
        "article",
        "header",
        "div",
        "p",
        "span",
        "a",
        "strong",
        "em",
        "s",
        "ul",
        "ol",
        "li",
        "blockquote",
        "pre",
    ),
    *("code", "table", "thead", "tbody", "tr", "th", "td", "hr", "br", "img", "time", "details", "summary"),
    *("form", "label", "input", "textarea", "select", "option", "button"),
}
ATTRIBUTES = {
    *("class", "href", "target", "rel", "src", "alt", "start", "datetime", "open", "method", "name", "type"),
    *("value", "placeholder", "maxlength", "rows", "required", "disabled", "multiple", "selected", "checked"),
    *("title", "role", "tabindex", "aria-label", "aria-hidden"),
    *("data-action", "data-name", "data-submit", "data-reset"),
}
VOID = {"hr", "br", "img", "input"}


class Strict(HTMLParser):
    """Fails on any tag or attribute that no card may contain; collects the words and the open tags."""

    def __init__(self):
        super().__init__()
        self.words, self.open = [], []

    def handle_starttag(self, tag, attributes):
        assert tag in TAGS
        assert {name for name, _value in attributes} <= ATTRIBUTES
        for name, value in attributes:
            if name in {"href", "src"}:
                assert re.match(r"https?://|/img/", value), value
            if name == "class":
                assert re.fullmatch(r"[a-z0-9_ -]+", value), value
            if name == "data-action":
                assert isinstance(json.loads(value), dict)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def read(html):
    """The words of a drawn card, once it has proved safe, well-formed and encodable."""
    html.encode()
    assert "\x00" not in html
    parser = Strict()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return "".join(parser.words)


def load(name):
    return json.loads((SAMPLES / f"{name}.json").read_text(encoding="utf-8"))


def drawn(element, **more):
    """One 2.0 element as HTML, without the card around it."""
    html = draw({"schema": "2.0", "body": {"elements": [element]}}, **more)
    start = '<article class="feishu-card feishu-card--default"><div class="feishu-card__body">'
    return html.removeprefix(start).removesuffix("</div></article>")


def markdown(text, **more):
    html = drawn({"tag": "markdown", "content": text}, **more)
    return html.removeprefix('<div class="feishu-card__markdown">').removesuffix("</div>")


def test_a_small_card_is_drawn_whole():
    card = {
        "config": {"update_multi": True},
        "header": {"template": "red", "title": {"tag": "plain_text", "content": "P0 <支付>"}},
        "elements": [{"tag": "div", "text": {"tag": "lark_md", "content": "**x** <at id=ou_ada></at>"}}],
    }
    assert draw(card, people=PEOPLE) == (
        '<article class="feishu-card feishu-card--red" aria-label="P0 &lt;支付&gt;">'
        '<header class="feishu-card__header"><div class="feishu-card__headline">'
        '<div class="feishu-card__title">P0 &lt;支付&gt;</div></div></header>'
        '<div class="feishu-card__body"><div class="feishu-card__div"><div class="feishu-card__main">'
        '<div class="feishu-card__text"><strong>x</strong> <span class="feishu-card__at">@陈爱达</span></div>'
        "</div></div></div></article>"
    )


def test_the_empty_card_is_an_empty_article():
    assert draw({}) == '<article class="feishu-card feishu-card--default"></article>'


@pytest.mark.parametrize("name", ["welcome_2_filled", "alert_1", "resolve_form_2", "report_2", "template"])
def test_the_samples_are_safe_well_formed_and_wholly_drawn(name):
    words = read(draw(load(name), people=PEOPLE, image_url="/img/{}".format))
    assert "未绘制" not in words


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**b** *i* ~~s~~", "<p><strong>b</strong> <em>i</em> <s>s</s></p>"),
        ("a\nb", "<p>a<br>b</p>"),
        ("# h", '<p class="feishu-card__heading feishu-card__heading--h1">h</p>'),
        ("- a\n- b", "<ul><li>a</li><li>b</li></ul>"),
        ("3. a", '<ol start="3"><li>a</li></ol>'),
        ("> q", "<blockquote><p>q</p></blockquote>"),
        ("`<c>`", "<p><code>&lt;c&gt;</code></p>"),
        ("```js\n<c>\n```", '<pre class="feishu-card__code"><code>&lt;c&gt;\n</code></pre>'),
        ("---", '<hr class="feishu-card__hr">'),
        (
            "[t](https://x/?a=1&b=2)",
            '<p><a class="feishu-card__link" href="https://x/?a=1&amp;b=2" target="_blank"'
            ' rel="noopener noreferrer">t</a></p>',
        ),
        ("[t](javascript:alert)", "<p><span>t</span></p>"),
        ("<link url='javascript:alert'>t</link>", "<p><span>t</span></p>"),
        ("![alt](img_1)", '<p><img class="feishu-card__image" src="/img/img_1" alt="alt"></p>'),
        (
            "![alt](../x)",
            '<p><span class="feishu-card__image feishu-card__image--missing">alt</span></p>',
        ),
        ("<at id=ou_ada></at>", '<p><span class="feishu-card__at">@陈爱达</span></p>'),
        ("<at id=ou_z></at>", '<p><span class="feishu-card__at">@ou_z</span></p>'),
        ("<at id=ou_z>Zoë</at>", '<p><span class="feishu-card__at">@Zoë</span></p>'),
        ("<at id=all></at>", '<p><span class="feishu-card__at">@所有人</span></p>'),
        (
            "<at ids=ou_ada,ou_bo></at>",
            '<p><span class="feishu-card__at">@陈爱达</span><span class="feishu-card__at">@李波</span></p>',
        ),
        (
            "<font color='red'>**r**</font>",
            '<p><span class="feishu-card__font feishu-card__font--red"><strong>r</strong></span></p>',
        ),
        ("<font color='x onclick'>r</font>", '<p><span class="feishu-card__font">r</span></p>'),
        ("**a <font color='red'>b** c</font>", "<p><strong>a b</strong> c</p>"),
        ("<font>open **b**", "<p>open <strong>b</strong></p>"),
        (
            "<text_tag color='green'>ok</text_tag>",
            '<p><span class="feishu-card__tag feishu-card__tag--green">ok</span></p>',
        ),
        ("<number_tag>1</number_tag>", '<p><span class="feishu-card__number">1</span></p>'),
        ("<raw>**r**</raw>", "<p>**r**</p>"),
        ("a<br>b<hr>", '<p>a<br>b<hr class="feishu-card__hr"></p>'),
        (":DONE: :Nobody: 12:30:00", '<p>✅ <span class="feishu-card__emoji">Nobody</span> 12:30:00</p>'),
        ("&#60;at&#62; &sim; &#124;", "<p>&lt;at&gt; ~ |</p>"),
        ("<b>x</b>", "<p>&lt;b&gt;x&lt;/b&gt;</p>"),
        ("<local_datetime millisecond='soon'></local_datetime>", "<p></p>"),
        (
            "|a|b|\n|-|-:|\n|1|2|",
            '<div class="feishu-card__scroll"><table class="feishu-card__table"><thead><tr><th>a</th>'
            '<th class="feishu-card__cell--right">b</th></tr></thead><tbody><tr><td>1</td>'
            '<td class="feishu-card__cell--right">2</td></tr></tbody></table></div>',
        ),
        (
            "<person id='ou_ada'></person>",
            '<p><span class="feishu-card__person"><span class="feishu-card__avatar" aria-hidden="true">陈</span>'
            "陈爱达</span></p>",
        ),
    ],
)
def test_markdown_is_drawn_as_feishu_reads_it(text, html):
    assert markdown(text, people=PEOPLE, image_url="/img/{}".format) == html


def test_a_moment_carries_its_utc_time_for_the_page_to_localise():
    html = markdown("<local_datetime millisecond='1719800000000'></local_datetime>")
    assert html.startswith('<p><time datetime="2024-07-01T02:13:20+00:00">2024-0')


def test_version_1_has_no_headings_and_finds_named_links():
    card = {"elements": [{"tag": "markdown", "content": "# [t]($u)", "href": {"u": {"url": "https://x"}}}]}
    assert (
        '<p># <a class="feishu-card__link" href="https://x" target="_blank" rel="noopener noreferrer">t</a></p>'
        in draw(card)
    )


def test_a_button_carries_what_a_press_sends():
    button = {
        "tag": "button",
        "name": "ack",
        "type": "primary",
        "text": {"tag": "plain_text", "content": "OK"},
        "behaviors": [{"type": "callback", "value": {"id": '"<42>"'}}],
        "confirm": {"title": {"tag": "plain_text", "content": "Sure?"}, "text": {"content": "Really"}},
    }
    assert drawn(button) == (
        '<button class="feishu-card__button feishu-card__button--primary" type="button" data-action="'
        "{&quot;tag&quot;:&quot;button&quot;,&quot;name&quot;:&quot;ack&quot;,"
        "&quot;value&quot;:{&quot;id&quot;:&quot;\\&quot;&lt;42&gt;\\&quot;&quot;},"
        '&quot;confirm&quot;:{&quot;title&quot;:&quot;Sure?&quot;,&quot;text&quot;:&quot;Really&quot;}}">OK</button>'
    )


def test_a_button_that_only_opens_a_page_is_a_link():
    behaviors = [{"type": "open_url", "default_url": "https://x/"}]
    assert drawn({"tag": "button", "text": {"content": "Open"}, "behaviors": behaviors}) == (
        '<a class="feishu-card__button" href="https://x/" target="_blank" rel="noopener noreferrer">Open</a>'
    )


def test_a_button_never_opens_a_script():
    html = drawn({"tag": "button", "text": {"content": "Open"}, "url": "javascript:alert(1)"})
    assert html == (
        '<button class="feishu-card__button" type="button"'
        ' data-action="{&quot;tag&quot;:&quot;button&quot;}">Open</button>'
    )


def test_a_form_holds_named_controls_and_marks_its_submit_button():
    form = {
        "tag": "form",
        "name": "f",
        "elements": [
            {"tag": "input", "name": "why", "max_length": 9, "required": True},
            {"tag": "button", "name": "go", "text": {"content": "Go"}, "form_action_type": "submit"},
        ],
    }
    assert drawn(form) == (
        '<form class="feishu-card__form" method="dialog" data-name="f">'
        '<input class="feishu-card__input" name="why" aria-label="why" required'
        ' data-action="{&quot;tag&quot;:&quot;input&quot;,&quot;name&quot;:&quot;why&quot;}" maxlength="9" type="text">'
        '<button class="feishu-card__button" type="button"'
        ' data-action="{&quot;tag&quot;:&quot;button&quot;,&quot;name&quot;:&quot;go&quot;}" data-submit>Go</button>'
        "</form>"
    )


def test_a_choice_of_people_offers_everyone_known():
    assert drawn({"tag": "select_person", "name": "w"}, people=PEOPLE, locale="en_us") == (
        '<select class="feishu-card__select" name="w" aria-label="w"'
        ' data-action="{&quot;tag&quot;:&quot;select_person&quot;,&quot;name&quot;:&quot;w&quot;}">'
        '<option value="">Choose</option><option value="ou_ada">陈爱达</option><option value="ou_bo">李波</option>'
        "</select>"
    )


def test_an_unknown_element_is_a_box_that_names_it():
    assert drawn({"tag": "<hologram>"}, locale="en_us") == (
        '<div class="feishu-card__unknown">not drawn: &lt;hologram&gt;</div>'
    )


def test_the_title_is_drawn_in_the_language_asked_for():
    assert "Resolve INC-42" in read(draw(load("resolve_form_2"), locale="en_us"))


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_name_is_shown_literally(name):
    elements = [
        {"tag": "markdown", "content": "Hello {{ user.name }}!"},
        {"tag": "div", "text": {"tag": "lark_md", "content": "Hello {{ user.name }}!"}},
        {"tag": "div", "text": {"tag": "plain_text", "content": "Hello {{ user.name }}!"}},
        {"tag": "markdown", "content": "|a|\n|-|\n|Hello {{ user.name }}!|"},
    ]
    card = {"schema": "2.0", "body": {"elements": elements}}
    filled = cards.render(card, {"user.name": name})
    assert read(draw(filled)) == f"Hello {name}!" * 3 + f"aHello {name}!"
    assert as_text(filled).count(f"Hello {name}!") == 4


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_name_among_people_is_shown_literally(name):
    assert read(markdown("<at id=ou_evil></at>", people={"ou_evil": name})) == f"@{name}"


def test_a_card_is_pictured_in_plain_text():
    assert as_text(load("alert_1"), PEOPLE).splitlines() == [
        "== 1 级报警 - 数据平台 ==",
        "支付成功率低于 50%，请立即处理。",
        "🕐 时间",
        "2026-11-21 18:00",
        "🔢 事件 ID",
        "INC-42",
        "👤 一级值班",
        "@陈爱达",
        "👤 二级值班",
        "@李波",
        "[支付方式 支付成功率：]",
        "🔴 支付失败数 🔵 支付成功数",
        "[ 跟进处理 ] [ 升级 ] [ 暂时屏蔽 ] [ 复盘日期 ]",
        "---",
        "我要反馈误报 | 录入报警处理过程",
        "- 第一步：看监控",
        "- 第二步：回滚",
    ]


def nest(levels, wrap):
    element = {"tag": "hr"}
    for _level in range(levels):
        element = wrap(element)
    return {"schema": "2.0", "body": {"elements": [element]}}


HOSTILE_CARDS = [
    *(None, [], "x", 5, {"body": None}, {"body": []}, {"elements": {}}, {"elements": [None, 1, "x", [], {}]}),
    *(
        {"schema": []},
        {"header": "x"},
        {"header": {"title": []}},
        {"header": {"template": {}}},
        {"config": 1},
    ),
    nest(1000, lambda inner: {"tag": "column_set", "columns": [{"tag": "column", "elements": [inner]}]}),
    nest(1000, lambda inner: {"tag": "div", "extra": inner}),
    nest(1000, lambda inner: {"tag": "button", "value": inner}),
    {"elements": [{"tag": "markdown", "content": "[" * 100_000}]},
    {"elements": [{"tag": "markdown", "content": "> " * 50_000}]},
    {"schema": "2.0", "body": {"elements": [{"tag": "markdown", "content": "<font>**" * 20_000}]}},
    {"elements": [{"tag": "markdown", "content": "\x00\ud800\u202e<script>"}]},
    {"elements": [{"tag": "plain_text", "content": 10**400}, {"tag": "plain_text", "content": float("inf")}]},
    {
        "elements": [
            {"tag": "button", "value": float("nan"), "name": "\ud800\x00", "text": {"content": "\ud800"}}
        ]
    },
    {
        "elements": [
            {
                "tag": "markdown",
                "content": "<local_datetime millisecond='9" + "9" * 30 + "'></local_datetime>",
            }
        ]
    },
    {
        "elements": [
            {"tag": "markdown", "content": "<at id='\" onclick=x'></at><person></person><at></at></font>"}
        ]
    },
    {"elements": [{"tag": "select_static", "name": '" autofocus onfocus="x', "options": [{"value": []}]}]},
    {"elements": [{"tag": "img", "img_key": 'x" onerror="y', "alt": '" onerror="y'}]},
    {
        "card_link": {"url": "javascript:alert(1)"},
        "elements": [{"tag": "overflow", "options": [{"url": "data:x"}]}],
    },
]


@pytest.mark.parametrize("card", HOSTILE_CARDS, ids=range(len(HOSTILE_CARDS)))
def test_a_hostile_card_is_drawn_without_an_exception_and_without_harm(card):
    read(draw(card, people=PEOPLE, image_url="/img/{}".format))
    as_text(card, PEOPLE).encode()


MARKUP = [
    *(
        "**",
        "*",
        "~~",
        "`",
        "```\n",
        "[",
        "](",
        ")",
        "!",
        "<",
        ">",
        "\n",
        "    ",
        "- ",
        "1. ",
        "# ",
        "|",
        "|-|\n",
        "&",
    ),
    *(
        "<at id=ou_ada></at>",
        "<font color='red'>",
        "</font>",
        "<text_tag color=red>",
        "</text_tag>",
        "<raw>",
        "</raw>",
    ),
    *(
        "<link url='javascript:x'>",
        "</link>",
        "<a href='https://x'>",
        "</a>",
        "<script>",
        "onclick=",
        "javascript:",
    ),
    *(
        "https://x",
        "&#60;",
        "\x00",
        "\u202e",
        "\ud800",
        ":DONE:",
        "<hr>",
        "<br>",
        "x",
        "界",
        '"',
        "'",
        "<person id=x>",
    ),
    "<local_datetime millisecond='1719800000000' format_type='date'></local_datetime>",
]
KEYS = [
    *(
        "content",
        "text",
        "title",
        "elements",
        "columns",
        "fields",
        "options",
        "actions",
        "extra",
        "value",
        "name",
    ),
    *(
        "behaviors",
        "confirm",
        "url",
        "type",
        "size",
        "width",
        "weight",
        "icon",
        "header",
        "rows",
        "page_size",
        "label",
    ),
    *(
        "placeholder",
        "disabled",
        "color",
        "text_size",
        "text_align",
        "padding",
        "img_key",
        "alt",
        "persons",
        "href",
    ),
    *(
        "chart_spec",
        "initial_date",
        "selected_values",
        "max_length",
        "input_type",
        "expanded",
        "margin",
        "i18n_content",
    ),
]
ELEMENTS = [
    *(
        "markdown",
        "plain_text",
        "lark_md",
        "div",
        "img",
        "img_combination",
        "hr",
        "note",
        "chart",
        "person",
        "action",
    ),
    *(
        "person_list",
        "table",
        "column_set",
        "column",
        "form",
        "interactive_container",
        "collapsible_panel",
        "text_tag",
    ),
    *(
        "button",
        "overflow",
        "input",
        "date_picker",
        "picker_time",
        "picker_datetime",
        "select_static",
        "select_img",
    ),
    *("multi_select_static", "select_person", "multi_select_person", "checker", "<script>", "", "at"),
]


def anything(dice, depth):
    """Random JSON that looks enough like a card to reach every corner of the drawing."""
    kind = dice.randrange(10 if depth else 5)
    if kind < 3:
        return "".join(dice.choices(MARKUP, k=dice.randrange(12)))
    if kind == 3:
        return dice.choice([None, True, False, 0, -1, 1.5, 1e300, 10**30])
    if kind == 4:
        return dice.choice(
            ["callback", "open_url", "primary", "red", "12px", "weighted", "submit", "persons"]
        )
    if kind < 7:
        return [anything(dice, depth - 1) for _ in range(dice.randrange(4))]
    node = {key: anything(dice, depth - 1) for key in dice.sample(KEYS, dice.randrange(8))}
    return node | {"tag": dice.choice(ELEMENTS), "type": dice.choice(["callback", "open_url", "primary"])}


def test_random_cards_are_always_drawn_and_always_safe():
    dice = random.Random(20261121)
    for _round in range(600):
        card = {"header": anything(dice, 3), "config": anything(dice, 1), "card_link": anything(dice, 2)}
        card["elements"] = [anything(dice, 5) for _ in range(3)]
        card |= dice.choice([{}, {"schema": "2.0"}])
        read(draw(card, people=PEOPLE, image_url="/img/{}".format))
        as_text(card, PEOPLE).encode()
        cards.check(card)


def test_the_drawing_imports_neither_django_nor_the_rest_of_the_product():
    program = "import sys, events.cardview; print([m for m in sys.modules if m.split('.')[0] in ('django', 'events')])"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, env=os.environ
    )
    parts = ("cardcontrols", "cardhtml", "cardmarkdown", "cardshapes", "cardtext", "cardview")
    assert sorted(json.loads(done.stdout.replace("'", '"'))) == [
        "events",
        *(f"events.{part}" for part in parts),
    ]
