"""What of the event log and the outbox a reader may not see: whatever belongs to somebody's private matter.

Whose that is, only the packages above know: CONFIDENTIAL in the routes. `readable_by(reader)` of events, of the outbox
and of chats (their names) asks here; every page, file and API that shows contents begins with them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Protocol

from django.conf import settings
from django.db.models import Q


class Reader(Protocol):
    """A user, or an API key."""

    def has_perm(self, perm: str, /) -> bool: ...


@dataclass(frozen=True)
class Hidden:
    """The rows that are kept from a reader."""

    events: Q
    outbox: Q
    chats: Q


Rule = Callable[[Reader], Hidden | None]  # None: nothing is kept from this reader


@cache
def rules() -> Sequence[Rule]:
    """`CONFIDENTIAL` of the composing package, loaded at first use: events imports nothing above itself."""
    table: Sequence[Rule] = import_module(settings.ROUTES_MODULE).CONFIDENTIAL
    return table


def hidden_from(reader: Reader) -> list[Hidden]:
    return [hidden for rule in rules() if (hidden := rule(reader)) is not None]
