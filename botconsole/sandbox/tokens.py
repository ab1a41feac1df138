"""The token endpoints and the check of the Authorization header."""

import hmac
import secrets
from typing import Any

from botconsole.sandbox.call import Call
from botconsole.sandbox.errors import PlatformError
from botconsole.sandbox.world import World

LIFE_SECONDS, RENEWED_BELOW_SECONDS = 7200, 1800


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
