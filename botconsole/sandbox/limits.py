"""The platform's rate limits as sliding windows over real time."""

import time
from collections import defaultdict, deque
from collections.abc import Callable

from botconsole.sandbox.errors import PlatformError

PER_SECOND, PER_MINUTE, PER_CHAT_AND_SECOND = 50, 1000, 5
SHOWN_PEAKS, SWEEP_SECONDS = 20, 60


class TooOftenError(PlatformError):
    """HTTP 429 with the two headers of the gateway."""

    def __init__(self, limit: int, reset_seconds: float) -> None:
        super().__init__(99991400)
        self.headers = {
            "x-ogw-ratelimit-limit": str(limit),
            "x-ogw-ratelimit-reset": str(max(1, round(reset_seconds + 0.5))),
        }


class Limits:
    """Counts allowed calls per API and messages per chat; a refused call does not count."""

    def __init__(self, enabled: bool, now: Callable[[], float] = time.monotonic) -> None:
        self.enabled, self.now = enabled, now
        self._calls: dict[str, deque[float]] = defaultdict(deque)
        self._messages: dict[str, deque[float]] = defaultdict(deque)
        self._peaks: dict[str, tuple[float, int, int]] = {}
        self._swept_at = now()

    def count_call(self, api: str) -> None:
        """One call of `api`; raises TooOftenError above 50 a second or 1000 a minute."""
        if not self.enabled:
            return
        now, seen = self.now(), self._calls[api]
        _drop(seen, now - 60)
        if len(seen) >= PER_MINUTE:
            raise TooOftenError(PER_MINUTE, seen[0] + 60 - now)
        if len(seen) >= PER_SECOND and seen[-PER_SECOND] > now - 1:
            raise TooOftenError(PER_SECOND, seen[-PER_SECOND] + 1 - now)
        seen.append(now)

    def count_message(self, about: str, most: int = PER_CHAT_AND_SECOND, code: int = 230020) -> None:
        """One message into a chat (or one change of a message); the fifth within a second is the last."""
        if not self.enabled:
            return
        now = self.now()
        if now >= self._swept_at + SWEEP_SECONDS:
            self._sweep(now)
        seen = self._messages[about]
        _drop(seen, now - 1)
        if len(seen) >= most:
            self._note_peak(about, now, most, most)
            raise PlatformError(code)
        seen.append(now)
        self._note_peak(about, now, len(seen), most)

    def _note_peak(self, about: str, now: float, count: int, most: int) -> None:
        """The most that one second of the last minute had."""
        at, highest, _ = self._peaks.get(about, (0.0, 0, most))
        if count >= highest or at <= now - 60:
            self._peaks[about] = (now, count, most)

    def _sweep(self, now: float) -> None:
        """Forgets what is over, or a sandbox of many days would remember every message that was patched."""
        self._swept_at = now
        for about in [about for about, seen in self._messages.items() if not seen or seen[-1] <= now - 1]:
            del self._messages[about]
        self._peaks = {about: peak for about, peak in self._peaks.items() if peak[0] > now - 60}

    def gauges(self) -> list[dict[str, int | str]]:
        """For the page: how much of each limit the last minute and second used."""
        now = self.now()
        return [
            {
                "api": api,
                "minute": sum(at > now - 60 for at in seen),
                "second": sum(at > now - 1 for at in seen),
            }
            for api, seen in sorted(self._calls.items())
            if seen and seen[-1] > now - 60
        ]

    def peaks(self) -> list[dict[str, int | str]]:
        """For the page: per chat or message, the fullest second of the last minute, the fullest first."""
        self._peaks = {about: peak for about, peak in self._peaks.items() if peak[0] > self.now() - 60}
        told: list[dict[str, int | str]] = [
            {"about": about, "second": count, "most": most} for about, (_, count, most) in self._peaks.items()
        ]
        return sorted(told, key=lambda one: -int(one["second"]))[:SHOWN_PEAKS]

    def clear(self) -> None:
        self._peaks.clear()
        self._calls.clear()
        self._messages.clear()


def _drop(seen: deque[float], before: float) -> None:
    while seen and seen[0] <= before:
        seen.popleft()
