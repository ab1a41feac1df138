"""The routes of tests that need a handler of their own; tests fill the tables."""

from typing import Any

EVENT_ROUTES: dict[str, Any] = {}
REPLAYS: dict[Any, Any] = {}
PRIORITIES: dict[str, Any] = {}
RELATED: tuple[Any, ...] = ()
