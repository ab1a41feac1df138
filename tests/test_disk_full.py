"""SQLite on a disk that is full."""

import json
import os
import subprocess
import sys
from pathlib import Path


def test_a_full_disk_is_answered_503_and_nothing_is_lost_or_corrupted(tmp_path: Path) -> None:
    env = {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "botconsole.settings",
        "ENV_FILE": os.devnull,
        "SECRET_KEY": "only-for-tests",
        "DATABASE_URL": f"sqlite:///{tmp_path / 'full.sqlite3'}",
        "ALLOWED_HOSTS": "testserver",
        "LOG_LEVEL": "CRITICAL",
    }
    command = [sys.executable, "-m", "tests.disk_full"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert set(told["full"]) == {200, 503}
    assert told["full"][0] == 200
    assert told["full"][-1] == 503
    assert (told["again"], told["integrity"]) == (200, "ok")
    assert told["stored"] == told["full"].count(200) + 1
