"""The sandbox's two clocks: real time for stamps, and a faster one for windows and retries."""

import time
from dataclasses import dataclass, field


def wall_ms() -> int:
    """Real time in milliseconds: what messages and events are stamped with."""
    return int(time.time() * 1000)


@dataclass(slots=True)
class Clock:
    """Counts seconds `factor` times as fast as the wall; uuid windows, patch age and tokens go by it."""

    factor: float = 1.0
    _base: float = field(default_factory=time.time)
    _since: float = field(default_factory=time.monotonic)

    def now(self) -> float:
        """Seconds; equal to the Unix time while the factor is 1 and nothing was advanced."""
        return self._base + (time.monotonic() - self._since) * self.factor

    def set_factor(self, factor: float) -> None:
        """Runs on from the present moment at another speed."""
        self._base, self._since, self.factor = self.now(), time.monotonic(), factor

    def advance(self, seconds: float) -> None:
        """Jumps ahead, as a test does that cannot wait an hour."""
        self._base += seconds

    def real_delay(self, seconds: float) -> float:
        """How long the wall's clock takes for `seconds` of this one."""
        return seconds / self.factor
