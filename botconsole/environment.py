"""Reads the variables that an operator sets; a wrong value stops the start with its name and what it may be."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

ON, OFF = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def secret(name: str) -> str:
    """The text of NAME, or of the file that NAME_FILE names (Docker and Kubernetes secrets), without white space
    around it. Not through django-environ, which takes a value like `$x` for the name of another variable."""
    try:
        file = os.environ.get(f"{name}_FILE")
        return (Path(file).read_text(encoding="utf-8") if file else os.environ.get(name, "")).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"{name}_FILE cannot be read: {error}") from error


def database(name: str, default: str) -> dict[str, Any]:
    """Django's settings for the database at the address in NAME, which is never echoed: it holds a password."""
    url = secret(name) or default
    try:
        if url.split(":")[0] not in ("postgres", "postgresql", "sqlite"):
            raise ValueError
        return dict(environ.Env.db_url_config(url))
    except ValueError as error:
        raise ImproperlyConfigured(
            f"{name} is not understood. Examples: postgres://user:password@host:5432/botconsole,"
            " sqlite:////srv/botconsole.sqlite3"
        ) from error


def number(name: str, default: int, *, at_least: int = 1) -> int:
    text = os.environ.get(name, "").strip() or str(default)
    if not text.isdecimal() or int(text) < at_least:
        raise ImproperlyConfigured(f"{name} is “{text}”. It must be a whole number, at least {at_least}.")
    return int(text)


def one_of(name: str, default: str, choices: Collection[str]) -> str:
    """One of the choices, however it is capitalised."""
    text = os.environ.get(name, "").strip() or default
    found = [choice for choice in choices if choice.lower() == text.lower()]
    if not found:
        known = f"one of: {', '.join(choices)}" if len(choices) < 10 else f"a name like {default}"
        raise ImproperlyConfigured(f"{name} is “{text}”. It must be {known}.")
    return found[0]


def switch(name: str, *, default: bool) -> bool:
    return one_of(name, "true" if default else "false", (*ON, *OFF)) in ON
