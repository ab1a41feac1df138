"""The routes of tests that need a handler of their own; tests fill the table."""

from typing import Any

EVENT_ROUTES: dict[str, Any] = {}
