"""System checks: what can be known to be wrong before the first event comes in."""

from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, register

SHORTEST_KEY = 32


@register()
def routes_resolve(**_: Any) -> list[CheckMessage]:
    from events.dispatch import routes

    try:
        table = routes()
    except (ImportError, AttributeError) as error:
        return [
            Error(
                f"The routes cannot be loaded: {error}",
                hint="See botconsole/routes.py.",
                id="botconsole.E001",
            )
        ]
    broken = [event_type for event_type, handlers in table.items() if not all(map(callable, handlers))]
    return [Error(f"No function to handle {event_type}.", id="botconsole.E001") for event_type in broken]


@register()
def public_url_is_usable(**_: Any) -> list[CheckMessage]:
    url = _split(settings.PUBLIC_URL)
    if url.scheme not in ("http", "https") or not url.hostname or url.path or url.query:
        return [
            Error(
                f"PUBLIC_URL is “{settings.PUBLIC_URL}”.",
                hint="Give scheme and host only, for instance https://console.example.com.",
                id="botconsole.E002",
            )
        ]
    if (
        url.hostname not in settings.ALLOWED_HOSTS
        and "*" not in settings.ALLOWED_HOSTS
        and not settings.DEBUG
    ):
        return [
            checks.Warning(
                f"{url.hostname} of PUBLIC_URL is not in ALLOWED_HOSTS: Feishu's pushes would be answered 400.",
                hint=f"Set ALLOWED_HOSTS={url.hostname}",
                id="botconsole.W001",
            )
        ]
    return []


@register()
def feishu_domain_is_an_origin(**_: Any) -> list[CheckMessage]:
    url = _split(settings.FEISHU_DOMAIN)
    if url.scheme in ("http", "https") and url.hostname and not url.path and not url.query:
        return []
    hint = "Feishu: https://open.feishu.cn, Lark: https://open.larksuite.com."
    return [Error(f"FEISHU_DOMAIN is “{settings.FEISHU_DOMAIN}”.", hint=hint, id="botconsole.E003")]


@register()
def keys_are_long_enough(**_: Any) -> list[CheckMessage]:
    if all(len(key) >= SHORTEST_KEY for key in settings.SEALING_KEYS):
        return []
    hint = "Make each with: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
    return [
        Error(
            f"A key in SEALING_KEYS is shorter than {SHORTEST_KEY} characters.",
            hint=hint,
            id="botconsole.E004",
        )
    ]


def _split(url: str) -> SplitResult:
    """The parts of an address; none of them for one that is no address at all."""
    try:
        return urlsplit(url)
    except ValueError:
        return SplitResult("", "", "", "", "")
