"""How tests wait for what other threads and processes do, on a machine that has other work too."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SECONDS = 90  # a process that starts while others do needs many


def wait_until(true: Callable[[], Any], seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


@contextmanager
def running(process: "subprocess.Popen[str]") -> Iterator["subprocess.Popen[str]"]:
    """The process, which ends with the block: Popen's own `with` would wait for one that nobody told to end."""
    with process:
        try:
            yield process
        finally:
            process.kill()
