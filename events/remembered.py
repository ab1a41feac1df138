"""What every event asks for and hardly ever changes, read at most once in REMEMBER_SECONDS by each process."""

import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from django.conf import settings

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Remembered(Generic[Key, Value]):
    """`ask(key)` and its answer for a while. A falsy answer is not kept: strangers may ask for any number of keys."""

    def __init__(self, ask: Callable[[Key], Value]) -> None:
        self._ask = ask
        self._known: dict[Key, tuple[float, Value]] = {}

    def __call__(self, key: Key, *, anew: bool = False) -> Value:
        now = time.monotonic()
        known = self._known.get(key)
        if known is not None and now < known[0] and not anew:
            return known[1]
        value = self._ask(key)
        if value:
            self._known[key] = (now + settings.REMEMBER_SECONDS, value)
        return value
