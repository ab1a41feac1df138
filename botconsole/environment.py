"""Reads the variables that an operator sets; a wrong value stops the start with its name and what it may be."""

import os
from collections.abc import Collection
from pathlib import Path

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
        known = ", ".join(choices) if len(choices) < 10 else f"like {default}"
        raise ImproperlyConfigured(f"{name} is “{text}”. It must be one of: {known}.")
    return found[0]


def switch(name: str, *, default: bool) -> bool:
    return one_of(name, "true" if default else "false", (*ON, *OFF)) in ON
