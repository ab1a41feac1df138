"""The platform's REST API: the table of known calls, and the way from request to endpoint and back."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from botconsole.sandbox import (
    addresses,
    buzz,
    chats,
    history,
    images,
    managers,
    members,
    messages,
    oldcards,
    people,
    pins,
    resources,
    scopes,
    tabs,
    tokens,
)
from botconsole.sandbox.call import Call
from botconsole.sandbox.connections import AUTH_FAILED
from botconsole.sandbox.errors import PlatformError
from botconsole.sandbox.limits import TooOftenError
from botconsole.sandbox.store import new_id
from botconsole.sandbox.world import World

TROUBLESHOOTER = "https://open.feishu.cn/search?from=openapi&log_id={}"
Endpoint = Callable[[World, Call], dict[str, Any] | Response]
LARGEST_JSON_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Api:
    """One call; `top_level` answers carry no `data`, `open` ones need no token, others one of `scopes`."""

    method: str
    path: str
    endpoint: Endpoint
    top_level: bool = False
    open: bool = False
    msg: str = "success"
    scopes: tuple[str, ...] = ()


SENDING = ("im:message", "im:message:send_as_bot")
READING = ("im:message", "im:message:readonly", "im:message.history:readonly")
TABS = ("im:chat", "im:chat.tabs:write_only")
NOTICES = ("im:chat", "im:chat.top_notice:write_only")
MANAGERS = ("im:chat", "im:chat.managers:write_only")
CHATS = ("im:chat", "im:chat:read", "im:chat:readonly")
MEMBERS = ("im:chat", "im:chat.members:read", "im:chat:readonly")
JOINING = ("im:chat", "im:chat.members:write_only")
PINS = (*SENDING, "im:message.pins:write_only")
ROUTES: tuple[Api, ...] = (
    Api(
        "POST", "/auth/v3/tenant_access_token/internal", tokens.tenant_access_token, top_level=True, open=True
    ),
    Api("POST", "/auth/v3/app_access_token/internal", tokens.app_access_token, top_level=True, open=True),
    Api("POST", "/auth/v3/app_ticket/resend", tokens.resend_ticket, top_level=True, open=True),
    Api("POST", "/auth/v3/app_access_token", tokens.store_app_access_token, top_level=True, open=True),
    Api("POST", "/auth/v3/tenant_access_token", tokens.store_tenant_access_token, top_level=True, open=True),
    Api("GET", "/bot/v3/info", people.bot_info, top_level=True),
    Api("GET", "/event/v1/outbound_ip", addresses.outbound_ip, scopes=("event:ip_list",)),
    Api("GET", "/contact/v3/users/{user_id}", people.get_user, scopes=("contact:contact.base:readonly",)),
    Api("POST", "/contact/v3/users/batch_get_id", people.batch_get_id, scopes=("contact:user.id:readonly",)),
    Api("POST", "/im/v1/images", images.upload, scopes=("im:resource", "im:resource:upload")),
    Api("POST", "/im/v1/messages", messages.create, scopes=SENDING),
    Api("GET", "/im/v1/messages", history.history, scopes=READING),
    Api("GET", "/im/v1/messages/{message_id}", history.get, scopes=READING),
    Api("PUT", "/im/v1/messages/{message_id}", messages.edit, scopes=(*SENDING, "im:message:update")),
    Api(
        "PATCH",
        "/im/v1/messages/{message_id}",
        messages.patch,
        scopes=(*SENDING, "im:message:update"),
        msg="ok",
    ),
    Api("DELETE", "/im/v1/messages/{message_id}", messages.recall, scopes=SENDING),
    Api("POST", "/im/v1/messages/{message_id}/reply", messages.reply, scopes=SENDING),
    Api("PATCH", "/im/v1/messages/{message_id}/urgent_app", buzz.urgent_app, scopes=("im:message.urgent",)),
    Api("GET", "/im/v1/messages/{message_id}/resources/{file_key}", resources.download, scopes=READING),
    Api("POST", "/im/v1/pins", pins.create, scopes=PINS),
    Api("GET", "/im/v1/pins", pins.listed, scopes=(*READING[:2], "im:message.pins:read")),
    Api("DELETE", "/im/v1/pins/{message_id}", pins.remove, scopes=PINS),
    Api("POST", "/interactive/v1/card/update", oldcards.update, scopes=SENDING),
    Api("POST", "/ephemeral/v1/send", oldcards.send, scopes=SENDING),
    Api("POST", "/ephemeral/v1/delete", oldcards.delete, scopes=SENDING),
    Api("POST", "/im/v1/chats", chats.create, scopes=("im:chat", "im:chat:create")),
    Api("GET", "/im/v1/chats/{chat_id}", chats.get, scopes=CHATS),
    Api("PUT", "/im/v1/chats/{chat_id}", chats.update, scopes=("im:chat", "im:chat:update")),
    Api("DELETE", "/im/v1/chats/{chat_id}", chats.dissolve, scopes=("im:chat", "im:chat:delete")),
    Api("POST", "/im/v1/chats/{chat_id}/link", chats.link, scopes=CHATS),
    Api("POST", "/im/v1/chats/{chat_id}/chat_tabs", tabs.create, scopes=TABS),
    Api(
        "GET", "/im/v1/chats/{chat_id}/chat_tabs/list_tabs", tabs.listed, scopes=(*TABS, "im:chat.tabs:read")
    ),
    Api("DELETE", "/im/v1/chats/{chat_id}/chat_tabs/delete_tabs", tabs.remove, scopes=TABS),
    Api("POST", "/im/v1/chats/{chat_id}/top_notice/put_top_notice", tabs.put_notice, scopes=NOTICES),
    Api("POST", "/im/v1/chats/{chat_id}/top_notice/delete_top_notice", tabs.delete_notice, scopes=NOTICES),
    Api("POST", "/im/v1/chats/{chat_id}/managers/add_managers", managers.add_managers, scopes=MANAGERS),
    Api("POST", "/im/v1/chats/{chat_id}/managers/delete_managers", managers.delete_managers, scopes=MANAGERS),
    Api("GET", "/im/v1/chats/{chat_id}/members/is_in_chat", members.is_in_chat, scopes=MEMBERS),
    Api("POST", "/im/v1/chats/{chat_id}/members", members.add, scopes=JOINING),
    Api("GET", "/im/v1/chats/{chat_id}/members", members.members, scopes=MEMBERS),
    Api("DELETE", "/im/v1/chats/{chat_id}/members", members.remove, scopes=JOINING),
)


async def _read(request: Request) -> Call:
    """The request as a Call; a body that is no JSON object is refused as the gateway refuses it."""
    params, query = dict(request.path_params), dict(request.query_params)
    content_type, raw = request.headers.get("content-type", ""), await request.body()
    if content_type.startswith("multipart/form-data"):
        fields, files = images.read_multipart(content_type, raw)
        return Call(params, query, fields, files)
    if len(raw) > LARGEST_JSON_BYTES:
        raise PlatformError(99992402, "ext=the body is too large")
    try:
        body = json.loads(raw) if raw.strip() else {}
    except ValueError:
        raise PlatformError(99992402, "ext=the body is not JSON") from None
    if not isinstance(body, dict):
        raise PlatformError(99992402, "ext=the body is not an object")
    return Call(params, query, body)


def refusal(error: PlatformError, log_id: str) -> Response:
    """A business error: HTTP 400 (429 for the rate limit) with code, message and log id."""
    told = {"log_id": log_id, "troubleshooter": TROUBLESHOOTER.format(log_id), **error.extra}
    body = {"code": error.code, "msg": error.message, "error": told}
    headers = error.headers if isinstance(error, TooOftenError) else None
    return JSONResponse(body, error.status, headers)


def _answering(api: Api) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        world: World = request.app.state.world
        try:
            if not api.open:
                tokens.check_bearer(world, request.headers.get("authorization", ""))
            world.limits.count_call(f"{api.method} {api.path}")
            scopes.need(world, *api.scopes)
            told = api.endpoint(world, await _read(request))
        except PlatformError as error:
            return refusal(error, request.scope["log_id"])
        except (UnicodeError, OverflowError, RecursionError) as error:
            # what no store can keep: half a surrogate pair, a number beyond 64 bits, a hundred thousand brackets
            return refusal(PlatformError(99992402, f"ext={error}"), request.scope["log_id"])
        if isinstance(told, Response):
            return told
        if api.top_level:
            return JSONResponse({"code": 0, "msg": api.msg, **told})
        return JSONResponse({"code": 0, "msg": api.msg, "data": told})

    return answer


async def _unknown(request: Request) -> Response:
    """A call the sandbox does not know: 404, and the platform tab shows it as a gap."""
    request.scope["unknown_call"] = True
    body = {
        "code": 404,
        "msg": "the sandbox does not know this call",
        "error": {"log_id": request.scope["log_id"]},
    }
    return JSONResponse(body, 404)


async def _endpoint(request: Request) -> Response:
    """The bootstrap of a long connection; its codes come with HTTP 200, and its keys are capitalised."""
    try:
        body = json.loads(await request.body())
        app_id, app_secret = body["AppID"], body["AppSecret"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return JSONResponse({"code": AUTH_FAILED, "msg": "auth failed"})
    if not isinstance(app_id, str) or not isinstance(app_secret, str):
        return JSONResponse({"code": AUTH_FAILED, "msg": "auth failed"})
    scheme = "wss" if request.url.scheme == "https" else "ws"
    connections = request.app.state.world.pusher.connections
    return JSONResponse(connections.endpoint(app_id, app_secret, f"{scheme}://{request.url.netloc}"))


METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def routes() -> list[Route]:
    """Every known call, paths without parameters first, and the catch-all behind them."""
    known = sorted(ROUTES, key=lambda api: "{" in api.path)
    return [
        *(Route(f"/open-apis{api.path}", _answering(api), methods=[api.method]) for api in known),
        Route("/open-apis/{rest:path}", _unknown, methods=METHODS),
        Route("/callback/ws/endpoint", _endpoint, methods=["POST"]),
        Route("/callback/{rest:path}", _unknown, methods=METHODS),
    ]


def new_log_id() -> str:
    """What `X-Tt-Logid` carries."""
    return new_id("log")[4:].upper()
