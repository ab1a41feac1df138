"""What an event belongs to that only the packages above know: RELATED in the routes."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib import import_module
from typing import Any

from django.conf import settings

from .confidential import Reader
from .models import Event

# The rows that belong to the event, as far as the reader may see them.
Related = Callable[[Event, Reader], Iterable[Any]]


@cache
def _table() -> Sequence[Related]:
    """Loaded at first use: events imports nothing above itself."""
    table: Sequence[Related] = import_module(settings.ROUTES_MODULE).RELATED
    return table


def related(event: Event, reader: Reader) -> list[Any]:
    return [row for find in _table() for row in find(event, reader)]
