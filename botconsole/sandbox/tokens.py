"""The token endpoints and the check of the Authorization header."""

import asyncio
import hmac
import secrets
from typing import Any

from botconsole.sandbox.call import Call
from botconsole.sandbox.errors import PlatformError
from botconsole.sandbox.world import World

LIFE_SECONDS, RENEWED_BELOW_SECONDS, TICKET_SECONDS = 7200, 1800, 3600


def issue(world: World, kind: str) -> tuple[str, int]:
    """The token of this kind and its seconds left; a new one only when the last has less than 30 minutes."""
    now = world.clock.now()
    last = world.store.row("SELECT * FROM tokens WHERE kind = ? ORDER BY expires_at DESC LIMIT 1", kind)
    if last and last["expires_at"] - now >= RENEWED_BELOW_SECONDS:
        return last["token"], int(last["expires_at"] - now)
    world.store.run("DELETE FROM tokens WHERE expires_at < ?", now)
    token = f"{kind[0]}-sandbox{secrets.token_hex(16)}"
    world.store.insert("tokens", token=token, kind=kind, expires_at=now + LIFE_SECONDS)
    return token, LIFE_SECONDS


def forget(world: World) -> None:
    """All tokens are void from now on, as if their time were over."""
    world.store.run("DELETE FROM tokens")


def _check_app(world: World, call: Call) -> None:
    app_id, secret = call.body.get("app_id"), call.body.get("app_secret")
    if not isinstance(app_id, str) or not isinstance(secret, str) or app_id != world.config.app_id:
        raise PlatformError(10003)
    if not hmac.compare_digest(secret.encode(), world.config.app_secret.encode()):
        raise PlatformError(10014)


def tenant_access_token(world: World, call: Call) -> dict[str, Any]:
    _check_app(world, call)
    token, expire = issue(world, "tenant")
    return {"msg": "ok", "tenant_access_token": token, "expire": expire}


def app_access_token(world: World, call: Call) -> dict[str, Any]:
    _check_app(world, call)
    app_token, _ = issue(world, "app")
    token, expire = issue(world, "tenant")
    return {"msg": "ok", "app_access_token": app_token, "tenant_access_token": token, "expire": expire}


def _app_ticket(world: World) -> str:
    return str(world.store.recall("app ticket", ""))


def push_ticket(world: World) -> str:
    """A new app_ticket for the app of the app store; the ones before stop being good."""
    world.store.remember("app ticket", secrets.token_hex(16))
    world.store.remember("app ticket at", world.clock.now())
    event = {"app_id": world.config.app_id, "app_ticket": _app_ticket(world), "type": "app_ticket"}
    return world.push_v1(event)


async def push_tickets(world: World) -> None:
    """Every hour of the sandbox's clock, until cancelled."""
    while True:
        if world.clock.now() - world.store.recall("app ticket at", 0) >= TICKET_SECONDS:
            push_ticket(world)
        await asyncio.sleep(min(1.0, world.clock.real_delay(TICKET_SECONDS) / 4))


def resend_ticket(world: World, call: Call) -> dict[str, Any]:
    _check_app(world, call)
    push_ticket(world)
    return {}


def store_app_access_token(world: World, call: Call) -> dict[str, Any]:
    """What an app of the app store asks for with the ticket it was pushed."""
    _check_app(world, call)
    ticket = call.body.get("app_ticket")
    if not ticket or ticket != _app_ticket(world):
        raise PlatformError(10012)
    token, expire = issue(world, "app")
    return {"msg": "ok", "app_access_token": token, "expire": expire}


def store_tenant_access_token(world: World, call: Call) -> dict[str, Any]:
    """The token for one tenant that installed the app; this sandbox is one tenant."""
    known = world.store.row(
        "SELECT * FROM tokens WHERE token = ? AND kind = 'app'", str(call.body.get("app_access_token", ""))
    )
    if known is None or known["expires_at"] <= world.clock.now():
        raise PlatformError(99991664)
    if call.body.get("tenant_key") != world.config.tenant_key:
        raise PlatformError(10003, "ext=the app is not installed in a tenant with this tenant_key")
    token, expire = issue(world, "tenant")
    return {"msg": "ok", "tenant_access_token": token, "expire": expire}


def check_bearer(world: World, authorization: str) -> None:
    """A tenant token that is still good, or the code the gateway answers instead."""
    scheme, _, token = authorization.strip().partition(" ")
    if not token or scheme.lower() != "bearer":
        raise PlatformError(99991661)
    if token.startswith("u-"):
        raise PlatformError(99991668)
    if not token.startswith(("t-", "a-")):
        raise PlatformError(99991671)
    known = world.store.row("SELECT * FROM tokens WHERE token = ?", token)
    if known is None or known["expires_at"] <= world.clock.now():
        raise PlatformError(99991663)
    if known["kind"] != "tenant":
        raise PlatformError(99991664)
