"""How a command says how far it is: a bar in a terminal, a line now and then in a log."""

import time

from django.core.management.base import OutputWrapper

BAR = 30
LOG_SECONDS = 5


class Progress:
    def __init__(self, out: OutputWrapper) -> None:
        self._out = out
        self._next_line_at = 0.0

    def show(self, done: int, total: int) -> None:
        filled = BAR * done // max(total, 1)
        line = f"[{'#' * filled}{'.' * (BAR - filled)}] {done}/{total}"
        if self._out.isatty():
            self._out.write(f"\r{line}", ending="")
            self._out.flush()
        elif time.monotonic() >= self._next_line_at:
            self._next_line_at = time.monotonic() + LOG_SECONDS
            self._out.write(line)

    def end(self) -> None:
        """Leaves the bar's line."""
        if self._out.isatty():
            self._out.write("")
