"""What an operator sets: read as it stands, refused in one line where it is wrong, kept away from the demo."""

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from botconsole.environment import secret
from events.models import Bot

MINIMUM = {"PATH": os.environ["PATH"], "ENV_FILE": os.devnull, "SECRET_KEY": "a-key-of-this-test"}


def python(code: str, **env: str) -> str:
    """What a fresh process with exactly this environment prints."""
    process = subprocess.run(
        [sys.executable, "-c", code], env={**MINIMUM, **env}, capture_output=True, text=True, check=True
    )
    return process.stdout.strip()


# --- Values as they stand -----------------------------------------------------------------------------------
PRINT_KEY = "from botconsole import settings; print(settings.FEISHU_ENCRYPT_KEY)"


def test_a_secret_that_begins_with_a_dollar_arrives_literally() -> None:
    assert python(PRINT_KEY, FEISHU_ENCRYPT_KEY="$topsecret", topsecret="other") == "$topsecret"


def test_so_does_one_in_the_env_file(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("FEISHU_ENCRYPT_KEY=$topsecret\n")
    assert python(PRINT_KEY, ENV_FILE=str(tmp_path / "env"), topsecret="other") == "$topsecret"


def test_a_secret_comes_from_the_file_that_is_named_without_its_line_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("  $from=the file#1 \n")
    monkeypatch.setenv("SOME_SECRET", "from the variable")
    monkeypatch.setenv("SOME_SECRET_FILE", str(tmp_path / "key"))
    assert secret("SOME_SECRET") == "$from=the file#1"


def test_an_empty_variable_is_as_good_as_none() -> None:
    code = "from botconsole import settings as s; print(s.CALLS_IN_FLIGHT, s.TIME_ZONE, s.LOG_LEVEL, s.DEBUG)"
    empty = dict.fromkeys(("CALLS_IN_FLIGHT", "TIME_ZONE", "LOG_LEVEL", "DEBUG"), "")
    assert python(code, **empty) == "16 Asia/Shanghai INFO False"


# --- Values that are wrong ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CALLS_IN_FLIGHT", "abc"),
        ("CALLS_IN_FLIGHT", "0"),
        ("CALLS_IN_FLIGHT", "-1"),
        ("LOG_LEVEL", "loud"),
        ("TIME_ZONE", "Mars"),
        ("DEBUG", "ja"),
        ("BEHIND_PROXY", "maybe"),
        ("DATABASE_URL", "mysql://root@127.0.0.1/console"),
        ("SECRET_KEY", ""),
        ("SECRET_KEY", "change-me"),
        ("SECRET_KEY_FILE", "/nowhere/key"),
        ("DATABASE_URL_FILE", "/"),
    ],
)
def test_a_wrong_value_stops_the_start_with_one_line_that_names_it(name: str, value: str) -> None:
    process = subprocess.run(
        [sys.executable, "manage.py", "check"], env={**MINIMUM, name: value}, capture_output=True, text=True
    )
    lines = (process.stdout + process.stderr).splitlines()
    assert (process.returncode, len(lines)) == (1, 1), lines
    assert lines[0].startswith(f"botconsole: {name} ")


def test_a_secret_file_that_is_not_text_stops_the_start_and_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xff\xfesecret")
    process = subprocess.run(
        [sys.executable, "manage.py", "check"],
        env={**MINIMUM, "SECRET_KEY_FILE": str(tmp_path / "key")}, capture_output=True, text=True,
    )  # fmt: skip
    assert (process.returncode, process.stderr.count("\n")) == (1, 1)
    assert "secret" not in process.stderr


# --- The demo -----------------------------------------------------------------------------------------------
DEMO = """
from botconsole.demo import use_demo_environment
use_demo_environment([])
from botconsole import settings as s
print(s.DATABASES["default"]["NAME"], s.SEALING_KEYS, s.CALLS_IN_FLIGHT, s.FEISHU_DOMAIN)
print(s.SECRET_KEY, s.FEISHU_APP_ID, s.FEISHU_APP_SECRET, s.FEISHU_ENCRYPT_KEY)
"""


def test_nothing_that_a_real_installation_exports_reaches_the_demo(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("of-the-real-one")
    (tmp_path / ".env").write_text("SEALING_KEYS=of-the-real-one\nCALLS_IN_FLIGHT=7\n")
    names = ("DATABASE_URL", "SECRET_KEY", "SEALING_KEYS", "FEISHU_APP_SECRET", "FEISHU_ENCRYPT_KEY")
    files = {f"{name}_FILE": str(tmp_path / "real") for name in names}
    plain = dict.fromkeys((*names, "FEISHU_APP_ID"), "of-the-real-one")
    exported = {**files, **plain, "CALLS_IN_FLIGHT": "3", "FEISHU_DOMAIN": "https://open.feishu.cn"}
    folder = tmp_path / "demo"
    first, second = python(
        DEMO, **exported, DEMO_FOLDER=str(folder), ENV_FILE=str(tmp_path / ".env")
    ).splitlines()
    assert first == f"{folder}/console.sqlite3 [] 16 http://127.0.0.1:8001"
    assert "of-the-real-one" not in second


# --- A lost key ---------------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_setup_bot_enters_the_secrets_again_after_their_sealing_key_was_lost(settings: Any) -> None:
    settings.FEISHU_APP_ID, settings.FEISHU_APP_SECRET = "cli_env", "secret-from-env"
    settings.FEISHU_VERIFICATION_TOKEN, settings.FEISHU_ENCRYPT_KEY = "vt_env", "ek_env"
    settings.SEALING_KEYS = ["a" * 32]
    call_command("setup_bot", stdout=io.StringIO())
    settings.SEALING_KEYS = ["b" * 32]
    out = io.StringIO()
    call_command("setup_bot", stdout=out)
    bot = Bot.objects.get()
    secrets = [secret.reveal() for secret in (bot.app_secret, bot.verification_token, bot.encrypt_key)]
    assert secrets == ["secret-from-env", "vt_env", "ek_env"]
    assert "bot default: updated" in out.getvalue()
