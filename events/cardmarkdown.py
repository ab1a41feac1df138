"""Feishu's markdown, in its three dialects, as safe HTML and as plain text.

Everything the text holds is escaped, links lead to http and https only, and no attribute comes from the text
but href, alt, start and datetime. Imports nothing of the product: the sandbox draws with it too.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from html import escape as escape_html
from html import unescape

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from events.cardshapes import MAX_TEXT, string, web_url

COLOURS = frozenset(
    (
        *("neutral", "blue", "turquoise", "lime", "orange", "violet", "indigo"),
        *("wathet", "green", "yellow", "red", "purple", "carmine", "grey"),
    )
)

_PAIRED = frozenset(["font", "text_tag", "link", "a", "number_tag"])
_TAG = re.compile(
    r"<(?P<end>/?)(?P<tag>at|font|text_tag|person|link|local_datetime|number_tag|raw|br|hr|a)(?P<attributes>(?:\s[^<>]*)?)>"
)
_ATTRIBUTE = re.compile(r"""([a-z_]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'<>]+))""")
_EMOJI = re.compile(r":([A-Z][A-Za-z0-9_]{1,40}):", re.ASCII)
_EMOJIS: Mapping[str, str] = {
    "OK": "👌", "DONE": "✅", "CheckMark": "✅", "CrossMark": "❌", "THUMBSUP": "👍", "ThumbsDown": "👎",
    "SMILE": "🙂", "LAUGH": "😄", "CRY": "😢", "HEART": "❤️", "FIRE": "🔥", "PARTY": "🎉", "CLAP": "👏",
    "APPLAUSE": "👏", "MUSCLE": "💪", "PRAY": "🙏", "THANKS": "🙏", "JIAYI": "➕", "Alarm": "⏰",
    "BOMB": "💣", "Loudspeaker": "📢", "Pin": "📌", "ROSE": "🌹", "WAVE": "👋", "WINK": "😉",
    "THINKING": "🤔", "Rocket": "🚀",
}  # fmt: skip
_WEEKDAYS = {
    "zh_cn": ("星期一", "星期二", "星期三", "星期四", "星期五", "星期六", "星期日"),
    "en_us": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
}
_TIME_FORMATS = {
    "date_num": "%Y-%m-%d", "date_short": "%m-%d", "date": "%Y-%m-%d", "time": "%H:%M",
    "time_sec": "%H:%M:%S", "timezone": "GMT%z",
}  # fmt: skip
_SAME_IN_HTML: Mapping[str, str] = {
    "paragraph": "p", "strong": "strong", "em": "em", "s": "s", "bullet_list": "ul", "list_item": "li",
    "blockquote": "blockquote", "thead": "thead", "tbody": "tbody", "tr": "tr",
}  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """For whom the text is drawn: names for ids, addresses for image keys, the language."""

    people: Mapping[str, str] = field(default_factory=dict)
    image_url: Callable[[str], str] | None = None
    locale: str = "zh_cn"

    def name(self, person_id: str) -> str:
        return string(self.people.get(person_id)) or person_id

    def image(self, key: str, alt: str) -> str:
        """`<img>` for a well-formed key, otherwise a labelled box."""
        if self.image_url and re.fullmatch(r"[\w-]+", key, re.ASCII):
            source = escape_html(string(self.image_url(key)))
            return f'<img class="feishu-card__image" src="{source}" alt="{escape_html(alt)}">'
        label = escape_html(alt or key or "image")
        return f'<span class="feishu-card__image feishu-card__image--missing">{label}</span>'

    def moment(self, milliseconds: object, form: str = "") -> tuple[str, str]:
        """(ISO 8601 in UTC, words in this process's time zone); empty when it is no time."""
        try:
            utc = datetime.fromtimestamp(int(string(milliseconds)) / 1000, tz=UTC)
            local = utc.astimezone()
        except (ValueError, OverflowError, OSError):
            return "", ""
        if form.startswith("week"):
            words = _WEEKDAYS["zh_cn" if self.locale.startswith("zh") else "en_us"][local.weekday()]
        else:
            words = local.strftime(_TIME_FORMATS.get(form, "%Y-%m-%d %H:%M"))
        return utc.isoformat(timespec="seconds"), words


def to_html(text: str, reader: Reader, dialect: str = "2.0", links: Mapping[str, str] | None = None) -> str:
    """Markdown of a dialect ("2.0", "1.0" or "lark_md") as HTML; `links` are 1.0's `$name` targets."""
    return "".join(_html(_parse(text, dialect), reader, links or {}))


def to_text(text: str, reader: Reader, dialect: str = "2.0") -> str:
    """The same as lines of plain text."""
    return "".join(_text(_parse(text, dialect), reader)).strip("\n")


def _parse(text: str, dialect: str) -> list[Token]:
    source = text[:MAX_TEXT].replace("&sim;", "&#126;")  # Feishu's own spelling of a tilde
    return _DIALECTS[dialect].parse(source)


# reading


def _read_tag(state: StateInline, silent: bool) -> bool:
    match = _TAG.match(state.src, state.pos) if state.src[state.pos] == "<" else None
    if match is None:
        return False
    tag, end = match["tag"], match.end()
    inner = ""
    if tag not in _PAIRED and tag not in {"br", "hr"} and not match["end"]:
        end, inner = _inner(state.src, end, tag)
    if not silent:
        _push_tag(state, match, inner)
    state.pos = end
    return True


def _inner(source: str, start: int, tag: str) -> tuple[int, str]:
    """(where the element ends, what it holds): markup only in <raw>, where it stays text."""
    close = f"</{tag}>"
    stop = source.find(close, start) if tag == "raw" else source.find("<", start)
    if stop < 0 or not source.startswith(close, stop):
        return start, ""
    return stop + len(close), source[start:stop]


def _push_tag(state: StateInline, match: re.Match[str], inner: str) -> None:
    tag = match["tag"]
    if tag == "br":
        state.push("hardbreak", "br", 0)
    elif tag == "raw":
        state.push("text", "", 0).content = inner
    elif tag in _PAIRED:
        ending = bool(match["end"])
        token = state.push("feishu_close" if ending else "feishu_open", tag, 0)
        token.nesting = -1 if ending else 1  # not by push: an unclosed tag would upset emphasis around it
        token.meta = _attributes(match["attributes"])
    elif not match["end"]:
        token = state.push("feishu", tag, 0)
        token.meta = _attributes(match["attributes"])
        token.content = inner


def _attributes(source: str) -> dict[str, str]:
    return {
        name: string(unescape(double or single or bare))
        for name, double, single, bare in _ATTRIBUTE.findall(source)
    }


def _read_emoji(state: StateInline, silent: bool) -> bool:
    match = _EMOJI.match(state.src, state.pos) if state.src[state.pos] == ":" else None
    if match is None:
        return False
    if not silent:
        state.push("feishu", "emoji", 0).content = match[1]
    state.pos = match.end()
    return True


def _dialect(name: str) -> MarkdownIt:
    if name == "lark_md":
        reader = MarkdownIt("zero")
        reader.enable(["emphasis", "strikethrough", "link", "newline", "escape", "entity"])
    else:
        reader = MarkdownIt("commonmark", {"html": False})
        reader.enable("strikethrough").disable(["html_block", "html_inline", "reference"])
    if name == "1.0":
        reader.disable(["heading", "lheading", "blockquote", "fence", "code"])
    if name == "2.0":
        reader.enable("table")
    reader.inline.ruler.push("feishu_tag", _read_tag)
    reader.inline.ruler.push("feishu_emoji", _read_emoji)
    reader.validateLink = lambda url: True  # type: ignore[method-assign]  # judged when it is written
    reader.normalizeLink = lambda url: url  # type: ignore[method-assign]
    return reader


_DIALECTS = {name: _dialect(name) for name in ("2.0", "1.0", "lark_md")}


def _balanced(tokens: list[Token]) -> list[Token]:
    """Without those of our paired tags that are not closed, or closed across another element."""
    dropped: set[int] = set()
    stack: list[int] = []
    for index, token in enumerate(tokens):
        if token.nesting == 1:
            stack.append(index)
        elif token.type == "feishu_close" and not (stack and _pair(tokens[stack[-1]], token)):
            dropped.add(index)
        elif token.nesting == -1:
            while token.type != "feishu_close" and stack and tokens[stack[-1]].type == "feishu_open":
                dropped.add(stack.pop())
            if stack:
                stack.pop()
    dropped.update(stack)
    return [token for index, token in enumerate(tokens) if index not in dropped]


def _pair(opening: Token, closing: Token) -> bool:
    return opening.type == "feishu_open" and opening.tag == closing.tag


# writing HTML


def _html(tokens: list[Token], reader: Reader, links: Mapping[str, str]) -> Iterator[str]:
    closers: list[str] = []  # what ends each open link or tag
    for token in tokens:
        if token.children is not None and token.type == "inline":
            yield from _html(_balanced(token.children), reader, links)
        elif token.type in {"link_open", "feishu_open"}:
            opening, closing = _opening(token, links)
            closers.append(closing)
            yield opening
        elif token.type in {"link_close", "feishu_close"}:
            yield closers.pop() if closers else ""
        elif not token.hidden:
            yield _HTML.get(token.type, _plain_html)(token, reader)


def _plain_html(token: Token, _reader: Reader) -> str:
    name, _underscore, side = token.type.rpartition("_")
    if name in _SAME_IN_HTML:
        return f"</{_SAME_IN_HTML[name]}>" if side == "close" else f"<{_SAME_IN_HTML[name]}>"
    return escape_html(string(token.content))


def _opening(token: Token, links: Mapping[str, str]) -> tuple[str, str]:
    if token.type == "link_open":
        target = string(token.attrs.get("href"))
        return _link(links.get(target.removeprefix("$"), target) if target.startswith("$") else target)
    meta: dict[str, str] = token.meta
    if token.tag in {"link", "a"}:
        return _link(next((meta[key] for key in ("pc_url", "url", "href") if meta.get(key)), ""))
    if token.tag == "number_tag":
        return '<span class="feishu-card__number">', "</span>"
    colour = meta.get("color", "")
    css = "tag" if token.tag == "text_tag" else "font"
    modifier = f" feishu-card__{css}--{colour}" if colour in COLOURS else ""
    return f'<span class="feishu-card__{css}{modifier}">', "</span>"


def _link(url: str) -> tuple[str, str]:
    if not web_url(url):
        return "<span>", "</span>"
    href = escape_html(web_url(url))
    return f'<a class="feishu-card__link" href="{href}" target="_blank" rel="noopener noreferrer">', "</a>"


def _feishu_html(token: Token, reader: Reader) -> str:
    if token.tag == "at":
        return "".join(
            f'<span class="feishu-card__at">{escape_html(name)}</span>' for name in _at(token, reader)
        )
    if token.tag == "person":
        return person_html(token.meta.get("id", ""), reader)
    if token.tag == "local_datetime":
        iso, words = reader.moment(token.meta.get("millisecond"), token.meta.get("format_type", ""))
        return f'<time datetime="{iso}">{words}</time>' if iso else ""
    if token.tag == "emoji":
        return _EMOJIS.get(token.content) or f'<span class="feishu-card__emoji">{token.content}</span>'
    return '<hr class="feishu-card__hr">' if token.tag == "hr" else ""


def person_html(person_id: str, reader: Reader) -> str:
    name = reader.name(person_id)
    initial = f'<span class="feishu-card__avatar" aria-hidden="true">{escape_html(name[:1])}</span>'
    return f'<span class="feishu-card__person">{initial}{escape_html(name)}</span>'


def _at(token: Token, reader: Reader) -> list[str]:
    meta: dict[str, str] = token.meta
    listed = meta.get("ids") or meta.get("id") or meta.get("user_id") or meta.get("email") or ""
    everyone = "所有人" if reader.locale.startswith("zh") else "all"
    names = [everyone if one == "all" else reader.name(one) for one in listed.split(",") if one]
    if len(names) == 1 and names[0] == listed and token.content.strip():
        names = [token.content.strip()]  # unknown to us, but the card says the name itself
    return [f"@{name}" for name in names]


def _cell_html(token: Token, _reader: Reader) -> str:
    align = string(token.attrs.get("style")).rpartition(":")[2]
    css = f' class="feishu-card__cell--{align}"' if align in {"center", "right"} else ""
    return f"<{token.tag}{css}>" if token.nesting == 1 else f"</{token.tag}>"


def _heading_html(token: Token, _reader: Reader) -> str:
    return (
        f'<p class="feishu-card__heading feishu-card__heading--{token.tag}">'
        if token.nesting == 1
        else "</p>"
    )


def _list_html(token: Token, _reader: Reader) -> str:
    start = string(token.attrs.get("start"))
    return f'<ol start="{start}">' if start.isdigit() else "<ol>"


def _code_html(token: Token, _reader: Reader) -> str:
    return f'<pre class="feishu-card__code"><code>{escape_html(string(token.content))}</code></pre>'


def _fixed(html: str, _token: Token, _reader: Reader) -> str:
    return html


_HTML: Mapping[str, Callable[[Token, Reader], str]] = {
    "feishu": _feishu_html,
    "image": lambda token, reader: reader.image(string(token.attrs.get("src")), string(token.content)),
    "code_inline": lambda token, reader: f"<code>{escape_html(string(token.content))}</code>",
    "code_block": _code_html,
    "fence": _code_html,
    "heading_open": _heading_html,
    "heading_close": _heading_html,
    "ordered_list_open": _list_html,
    "ordered_list_close": partial(_fixed, "</ol>"),
    "table_open": partial(_fixed, '<div class="feishu-card__scroll"><table class="feishu-card__table">'),
    "table_close": partial(_fixed, "</table></div>"),
    "th_open": _cell_html,
    "th_close": _cell_html,
    "td_open": _cell_html,
    "td_close": _cell_html,
    "hr": partial(_fixed, '<hr class="feishu-card__hr">'),
    "softbreak": partial(_fixed, "<br>"),
    "hardbreak": partial(_fixed, "<br>"),
}


# writing text


def _text(tokens: list[Token], reader: Reader) -> Iterator[str]:
    for token in tokens:
        if token.type == "inline":
            yield from _text(token.children or [], reader)
        elif token.type == "feishu":
            yield _feishu_text(token, reader)
        elif token.type == "list_item_open":
            yield f"{token.info}. " if token.info else "- "
        elif token.type == "image":
            yield f"[{string(token.content) or 'image'}]"
        else:
            yield _ENDS.get(token.type, string(token.content))


def _feishu_text(token: Token, reader: Reader) -> str:
    if token.tag == "at":
        return " ".join(_at(token, reader))
    if token.tag == "person":
        return reader.name(token.meta.get("id", ""))
    if token.tag == "local_datetime":
        return reader.moment(token.meta.get("millisecond"), token.meta.get("format_type", ""))[1]
    if token.tag == "emoji":
        return _EMOJIS.get(token.content, f":{token.content}:")
    return "\n"


_ENDS: Mapping[str, str] = {
    "paragraph_close": "\n", "heading_close": "\n", "softbreak": "\n", "hardbreak": "\n", "hr": "---\n",
    "td_close": "  ", "th_close": "  ", "tr_close": "\n",
}  # fmt: skip
