"""One call to the API as the endpoints see it, with the checks they share: types, lengths, paging."""

import re
from dataclasses import dataclass, field
from typing import Any

from botconsole.sandbox.errors import PlatformError


@dataclass(frozen=True, slots=True)
class Upload:
    """A file of a multipart body."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Call:
    """Path parameters, query and body; a multipart body has files."""

    params: dict[str, str]
    query: dict[str, str]
    body: dict[str, Any] = field(default_factory=dict)
    files: dict[str, Upload] = field(default_factory=dict)

    def text(self, name: str, longest: int = 0, required: bool = False, code: int = 99992402) -> str:
        """A text of the body; another type, an empty required one or a longer one is refused with `code`."""
        value = self.body.get(name)
        if value is None or value == "":
            if required:
                raise invalid(name, f"{name} is required", code)
            return ""
        if not isinstance(value, str):
            raise invalid(name, f"{name} must be a string", code)
        if longest and len(value) > longest:
            raise invalid(name, f"the max len of {name} is {longest}", code)
        return value

    def texts(self, name: str, most: int, code: int) -> list[str]:
        """A list of texts of the body, [] if it is missing."""
        value = self.body.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise invalid(name, f"{name} must be a list of strings", code)
        if len(value) > most:
            raise PlatformError(code, f"ext={name} has more than {most} entries")
        return value

    def choice(self, name: str, allowed: tuple[str, ...], default: str = "") -> str:
        """A query parameter out of a list; without a default it is required."""
        value = self.query.get(name) or default
        if value not in allowed:
            raise invalid(name, f"{name} must be one of {', '.join(allowed)}")
        return value

    def page_size(self, most: int, default: int = 20) -> int:
        try:
            size = int(self.query.get("page_size") or default)
        except ValueError:
            size = 0
        if not 1 <= size <= most:
            raise invalid("page_size", f"page_size must be between 1 and {most}")
        return size

    def page_token(self) -> int:
        """Where the page begins; the sandbox's tokens are numbers in disguise."""
        token = self.query.get("page_token") or ""
        if not token:
            return 0
        if not re.fullmatch(r"pt_[0-9]{1,15}", token):
            raise invalid("page_token", "page_token is invalid")
        return int(token[3:])


def invalid(name: str, what: str, code: int = 99992402) -> PlatformError:
    """A missing or wrong parameter, named as the platform's gateway names it."""
    return PlatformError(code, f"ext={what}", field_violations=[{"field": name, "description": what}])


def page(items: list[Any], size: int, start: int, keep_empty_token: bool = False) -> dict[str, Any]:
    """One page out of `items` (which may hold one more than fits); no page_token on the last one."""
    told: dict[str, Any] = {"items": items[:size], "has_more": len(items) > size}
    if told["has_more"]:
        told["page_token"] = f"pt_{start + size}"
    elif keep_empty_token:
        told["page_token"] = ""
    return told
