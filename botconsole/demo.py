"""The demo's own environment: a folder with its database and its secrets, apart from any real installation.

Imported by manage.py before the settings are read; must not import Django.
"""

import json
import os
import re
import secrets
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(os.environ.get("DEMO_FOLDER") or Path(__file__).resolve().parent.parent / ".demo")
HOST = "127.0.0.1"
PORT, SANDBOX_PORT = 8000, 8001


def add_ports(parser: ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=PORT, help=f"the console's port (default: {PORT})")
    parser.add_argument(
        "--sandbox-port",
        type=int,
        default=SANDBOX_PORT,
        help=f"the local Feishu's port (default: {SANDBOX_PORT})",
    )


def use_demo_environment(arguments: Sequence[str]) -> None:
    """Points every setting at the demo; the environment has precedence over `.env`."""
    parser = ArgumentParser(add_help=False)
    add_ports(parser)
    ports = parser.parse_known_args(arguments)[0]
    for name in _settings():
        os.environ.pop(name, None)
        os.environ.pop(f"{name}_FILE", None)
    os.environ.update(
        ENV_FILE=os.devnull,
        DEBUG="false",
        ALLOWED_HOSTS="127.0.0.1,localhost",
        DATABASE_URL=f"sqlite:///{FOLDER / 'console.sqlite3'}",
        PUBLIC_URL=f"http://{HOST}:{ports.port}",
        FEISHU_DOMAIN=f"http://{HOST}:{ports.sandbox_port}",
        PYTHONUNBUFFERED="1",
        **_secrets(),
    )


def operator_password() -> str:
    """The password that was made up for the demo's operator."""
    return _stored()["OPERATOR_PASSWORD"]


def _settings() -> list[str]:
    """Every variable that a real installation sets; none of them may reach the demo."""
    example = Path(__file__).resolve().parent.parent / ".env.example"
    return re.findall(r"^#?([A-Z_]+)=", example.read_text(encoding="utf-8"), re.MULTILINE)


def _secrets() -> dict[str, str]:
    return {name: value for name, value in _stored().items() if name != "OPERATOR_PASSWORD"}


def _stored() -> dict[str, str]:
    """Made up at the first start, read ever after."""
    path = FOLDER / "secrets.json"
    if not path.exists():
        FOLDER.mkdir(mode=0o700, exist_ok=True)
        made = {
            "SECRET_KEY": secrets.token_urlsafe(50),
            "FEISHU_APP_ID": f"cli_{secrets.token_hex(8)}",
            "FEISHU_APP_SECRET": secrets.token_urlsafe(24),
            "FEISHU_VERIFICATION_TOKEN": secrets.token_urlsafe(24),
            "FEISHU_ENCRYPT_KEY": secrets.token_urlsafe(24),
            "OPERATOR_PASSWORD": secrets.token_urlsafe(9),
        }
        unfinished = path.with_suffix(".new")
        unfinished.touch(mode=0o600)
        unfinished.write_text(json.dumps(made, indent=1))
        unfinished.replace(path)
    stored: dict[str, str] = json.loads(path.read_text())
    return stored
