"""A JSON value as nodes that a template walks: nothing of it is HTML yet, nothing of it is trusted."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

MAX_DEPTH = 12
MAX_CHILDREN = 200
LONG_TEXT = 200  # a longer text is folded


@dataclass(frozen=True)
class Node:
    """`kind` is object, list, text, number, word (true, false, null) or rest (not unfolded any further)."""

    name: str
    kind: str
    text: str
    children: tuple["Node", ...] = ()
    count: int = 0

    @property
    def is_long(self) -> bool:
        return len(self.text) > LONG_TEXT


def tree(value: Any, name: str = "", depth: int = 0) -> Node:
    """The value as a Node; what lies too deep stays JSON text, what is too long is cut and counted."""
    if isinstance(value, dict | list):
        if depth >= MAX_DEPTH:
            return Node(name, "rest", pretty(value))
        kind = "object" if isinstance(value, dict) else "list"
        children = tuple(tree(child, key, depth + 1) for key, child in islice(_entries(value), MAX_CHILDREN))
        return Node(name, kind, "", children, len(value))
    if isinstance(value, str):
        return Node(name, "text", value)
    return Node(name, "word" if value is None or isinstance(value, bool) else "number", json.dumps(value))


def pretty(value: Any) -> str:
    """The value as indented JSON for reading and copying."""
    try:
        return json.dumps(value, ensure_ascii=False, indent=2)
    except RecursionError:
        return "…"


def _entries(value: dict[str, Any] | list[Any]) -> Iterator[tuple[str, Any]]:
    pairs: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, dict) else enumerate(value)
    return ((str(key), child) for key, child in pairs)
