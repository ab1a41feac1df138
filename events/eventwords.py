"""What of an event can be searched: its texts and ids as tokens, which both databases look up by equality.

A run of Chinese, Japanese or Korean characters is cut into pairs (names have two characters), any other run of
letters and digits into triples; an id is one token. Tokens are hashed: 12 characters of ASCII, whatever the script.
Touches no database.
"""

import json
import re
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

TEXT_LENGTH = 20_000  # of one event; a longer text is found by what it begins with
TOKENS_ASKED = 16  # of a long phrase: more make the answer no better, the text itself is compared at the end

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
_RUN = re.compile(rf"(?P<cjk>[{_CJK}]+)|(?P<word>(?:(?![{_CJK}])[^\W_])+)")
_ID = re.compile(r"(?:oc|ou|om|omt|cli)_[A-Za-z0-9_-]+|(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{20,}")
_WORD_LIKE_AN_ID = re.compile(r"[A-Za-z0-9_-]{6,}")
_SAME_IN_ALL = frozenset({"app_id", "tenant_key", "token"})


def texts_and_ids(value: Any) -> tuple[str, set[str]]:
    """The readable texts of a payload, one a line in lower case, and the ids in it."""
    texts: list[str] = []
    ids: set[str] = set()
    length = 0
    for text in _strings(value):
        if is_id(text):
            ids.add(text)
        elif length < TEXT_LENGTH:
            ids.update(filter(is_id, _WORD_LIKE_AN_ID.findall(text)))
            texts.append(folded(text)[: TEXT_LENGTH - length])
            length += len(texts[-1]) + 1
    return "\n".join(dict.fromkeys(texts)), ids


def is_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def folded(text: str) -> str:
    """As texts are compared: capitals and the width of spaces make no difference."""
    return " ".join(text.replace("\0", " ").casefold().split())


def token(text: str) -> str:
    return blake2b(text.encode("utf-8", "replace"), digest_size=6).hexdigest()


def id_tokens(ids: set[str]) -> set[str]:
    """The tokens of ids, apart from those of texts that look alike."""
    return {token(f"id {one}") for one in ids}


def text_tokens(text: str) -> list[str]:
    """The tokens of a folded text, each once, in order; none where every run is too short."""
    pieces: dict[str, None] = {}
    for run in _RUN.finditer(text):
        size = 2 if run.lastgroup == "cjk" else 3
        whole = run.group()
        pieces.update(dict.fromkeys(whole[at : at + size] for at in range(len(whole) - size + 1)))
    return [token(piece) for piece in pieces]


def asked_tokens(phrase: str) -> list[str]:
    """The tokens that every text with this phrase has; spread over the phrase where it has many."""
    tokens = text_tokens(folded(phrase))
    step = max(1, len(tokens) // TOKENS_ASKED)
    return tokens[::step][:TOKENS_ASKED]


def _strings(value: Any, name: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _strings(child, key)
    elif isinstance(value, list):
        for child in value:
            yield from _strings(child, name)
    elif isinstance(value, str) and value and name not in _SAME_IN_ALL and not name.endswith("_time"):
        inner = _json_in(value)
        if inner is None:
            yield value
        else:
            yield from _strings(inner, name)


def _json_in(text: str) -> Any:
    """A message's content is JSON inside the JSON, with escapes of its own."""
    if not text.startswith(("{", "[")):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict | list) else None
