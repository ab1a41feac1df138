"""Tells open pages that something changed: a topic is a chat_id, `state` or `platform`, no content."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Changes:
    """Fans topics out to the subscribers of one event loop; what a slow reader missed is merged."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Event, set[str]] = {}
        self.closed = False

    def publish(self, *topics: str) -> None:
        for event, seen in list(self._waiting.items()):
            seen.update(topics)
            event.set()

    def close(self) -> None:
        """Ends every subscription, so that no open page holds up the shutdown."""
        self.closed = True
        for event in self._waiting:
            event.set()

    async def subscribe(
        self, quiet_seconds: float = 15, settle_seconds: float = 0.03
    ) -> AsyncIterator[list[str]]:
        """Yields lists of topics; an empty one at the start and after every quiet spell."""
        event, topics = asyncio.Event(), set[str]()
        self._waiting[event] = topics
        try:
            yield []
            while not self.closed:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(quiet_seconds):
                        await event.wait()
                    await asyncio.sleep(0 if self.closed else settle_seconds)
                found = sorted(topics)
                topics.clear()
                event.clear()
                if not self.closed:
                    yield found
        finally:
            del self._waiting[event]
