"""The control API under /_sandbox/: what the page's buttons and tests in any language do."""

import json
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from botconsole.sandbox import backstage, chats, doings, saying, view
from botconsole.sandbox.backstage import number
from botconsole.sandbox.doings import Json, Wanted, WrongError
from botconsole.sandbox.faults import FaultError
from botconsole.sandbox.fields import PressError
from botconsole.sandbox.press import press
from botconsole.sandbox.resources import served
from botconsole.sandbox.seed import fresh_name
from botconsole.sandbox.world import World

Handler = Callable[[World, Request, Wanted], Awaitable[Json | Response]]


def _answering(handler: Handler, name: str) -> Callable[[Request], Awaitable[Response]]:
    """Reads the body, answers JSON; what is wrong is said with HTTP 400, what is unknown with 404."""

    async def answer(request: Request) -> Response:
        world: World = request.app.state.world
        try:
            wanted = Wanted(_parsed(await request.body()))
            told = await handler(world, request, wanted)
            if isinstance(told, dict):
                request.app.state.recorder.note(name, request.path_params, wanted.body, told)
        except LookupError as error:
            return JSONResponse({"error": str(error.args[0] if error.args else error)}, 404)
        except (WrongError, PressError, FaultError) as error:
            return JSONResponse({"error": str(error)}, 400)
        except (UnicodeError, OverflowError, RecursionError, sqlite3.IntegrityError) as error:
            # what no store can keep: half a surrogate pair, more than 64 bits, a tower of lists, an id taken twice
            return JSONResponse({"error": f"a value cannot be stored: {error}"}, 400)
        return told if isinstance(told, Response) else JSONResponse(told)

    return answer


def _parsed(raw: bytes) -> Any:
    """The body as JSON; none at all is an empty object."""
    try:
        return json.loads(raw) if raw.strip() else {}
    except (ValueError, RecursionError):
        raise WrongError("the body is not JSON") from None


async def not_served(request: Request, error: Exception) -> Response:
    """What no route takes (404, or 405 for another method): in JSON below /_sandbox/."""
    status, headers, what = 500, None, str(error)
    if isinstance(error, HTTPException):
        status, headers, what = error.status_code, error.headers, error.detail
    if request.url.path.startswith("/_sandbox/"):
        told = {"error": f"{request.method} {request.url.path}: {what}; docs/sandbox.md lists the calls"}
        return JSONResponse(told, status, headers)
    return Response(what, status, headers, "text/plain")


async def health(world: World, request: Request, wanted: Wanted) -> Json:
    return {"status": "ok", "app_id": world.config.app_id, "feishu": False}


async def state(world: World, request: Request, wanted: Wanted) -> Json:
    parts = request.app.state
    told = {"scenario": parts.player.view(), "recording": parts.recorder.view()}
    return {**view.state_view(world), **told, "fresh_name": fresh_name(world)}


async def stream(world: World, request: Request, wanted: Wanted) -> Response:
    """Server-sent events: a list of topics each time something changed."""

    async def lines() -> Any:
        async for topics in world.changes.subscribe():
            yield f"data: {json.dumps(topics)}\n\n"

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(lines(), media_type="text/event-stream", headers=headers)


async def groups(world: World, request: Request, wanted: Wanted) -> Json:
    rows = world.store.rows("SELECT * FROM chats WHERE mode != 'p2p' ORDER BY number")
    names = world.names()
    return {"items": [view.chat_view(world, row, names) for row in rows]}


async def add_group(world: World, request: Request, wanted: Wanted) -> Json:
    return doings.add_group(world, wanted)


async def change_group(world: World, request: Request, wanted: Wanted) -> Json:
    chat = world.must_chat(request.path_params["chat_id"])
    changed = {key: wanted.text(key) for key in ("name", "description") if wanted.text(key)}
    if not changed:
        raise WrongError("name or description is required")
    who = doings.operator(world, chat, wanted.text("open_id"))
    return {"event_id": chats.change(world, chat, changed, who)}


async def end_group(world: World, request: Request, wanted: Wanted) -> Json:
    chat = world.must_chat(request.path_params["chat_id"])
    if chat["mode"] == "p2p" or chat["status"] != "normal":
        raise WrongError("this chat cannot be dissolved")
    who = doings.operator(world, chat, wanted.text("open_id"))
    return {"event_id": chats.end(world, chat, who, wanted.flag("keep_history", False))}


async def add_bot(world: World, request: Request, wanted: Wanted) -> Json:
    return {"event_id": doings.move_bot(world, world.must_chat(request.path_params["chat_id"]), inside=True)}


async def remove_bot(world: World, request: Request, wanted: Wanted) -> Json:
    return {"event_id": doings.move_bot(world, world.must_chat(request.path_params["chat_id"]), inside=False)}


async def members(world: World, request: Request, wanted: Wanted) -> Json:
    chat = world.must_chat(request.path_params["chat_id"])
    search = request.query_params.get("search") or ""
    return view.members_view(world, chat["chat_id"], search, number(request, "limit", 1000))


async def add_members(world: World, request: Request, wanted: Wanted) -> Json:
    return doings.add_members(world, world.must_chat(request.path_params["chat_id"]), wanted)


async def remove_member(world: World, request: Request, wanted: Wanted) -> Json:
    chat, person = (
        world.must_chat(request.path_params["chat_id"]),
        world.must_person(request.path_params["open_id"]),
    )
    if not world.is_member(chat, person["open_id"]):
        raise LookupError(f"{person['open_id']} is not in {chat['chat_id']}")
    return {"event_id": world.leave(chat, [person], doings.operator(world, chat))}


async def leave(world: World, request: Request, wanted: Wanted) -> Json:
    return doings.leave(world, world.must_chat(request.path_params["chat_id"]), wanted)


async def messages(world: World, request: Request, wanted: Wanted) -> Json:
    """The newest messages, oldest first; `before` a message pages back, `since` a revision tells what changed."""
    chat = world.must_chat(request.path_params["chat_id"])
    before = request.query_params.get("before")
    message = world.must_message(before) if before else None
    if message is not None and message["chat_id"] != chat["chat_id"]:
        raise WrongError("before must be a message of this chat")
    asked = view.Asked(
        number(request, "since", 0),
        number(request, "limit", 500),
        message,
        request.query_params.get("locale") or "zh_cn",
        request.query_params.get("open_id") or "",
    )
    return view.messages_view(world, chat["chat_id"], asked)


async def say(world: World, request: Request, wanted: Wanted) -> Json:
    return saying.say(world, world.must_chat(request.path_params["chat_id"]), wanted)


async def conversation(world: World, request: Request, wanted: Wanted) -> Json:
    told = doings.enter_conversation(world, wanted)
    return {**told, "read_event_id": saying.read(world, world.must_chat(told["chat_id"]))}


async def read(world: World, request: Request, wanted: Wanted) -> Json:
    return {"event_id": saying.read(world, world.must_chat(request.path_params["chat_id"]))}


async def press_element(world: World, request: Request, wanted: Wanted) -> Json:
    message = world.must_message(request.path_params["message_id"])
    if not wanted.has("element") and not wanted.has("value"):
        raise WrongError("element or value is required")
    chat = world.must_chat(message["chat_id"])
    person = doings.insider(world, chat, wanted.text("open_id"))
    return await press(world, message, person, wanted.body)


async def recall(world: World, request: Request, wanted: Wanted) -> Json:
    message = world.must_message(request.path_params["message_id"])
    return {"event_id": saying.recall(world, message, wanted.text("open_id"))}


async def edit(world: World, request: Request, wanted: Wanted) -> Json:
    return saying.edit(world, world.must_message(request.path_params["message_id"]), wanted)


async def react(world: World, request: Request, wanted: Wanted) -> Json:
    return saying.react(world, world.must_message(request.path_params["message_id"]), wanted)


async def take_reaction(world: World, request: Request, wanted: Wanted) -> Json:
    return saying.react(world, world.must_message(request.path_params["message_id"]), wanted, add=False)


async def image(world: World, request: Request, wanted: Wanted) -> Response:
    return served(world, request.path_params["image_key"], "image")


async def file(world: World, request: Request, wanted: Wanted) -> Response:
    return served(world, request.path_params["file_key"], "file")


async def add_person(world: World, request: Request, wanted: Wanted) -> Json:
    return view.person_view(doings.person(world, wanted))


TABLE: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/health", health),
    ("GET", "/state", state),
    ("GET", "/stream", stream),
    ("GET", "/groups", groups),
    ("POST", "/groups", add_group),
    ("PATCH", "/groups/{chat_id}", change_group),
    ("DELETE", "/groups/{chat_id}", end_group),
    ("POST", "/groups/{chat_id}/bot", add_bot),
    ("DELETE", "/groups/{chat_id}/bot", remove_bot),
    ("GET", "/groups/{chat_id}/members", members),
    ("POST", "/groups/{chat_id}/members", add_members),
    ("DELETE", "/groups/{chat_id}/members/{open_id}", remove_member),
    ("POST", "/groups/{chat_id}/leave", leave),
    ("GET", "/groups/{chat_id}/messages", messages),
    ("POST", "/groups/{chat_id}/messages", say),
    ("POST", "/groups/{chat_id}/read", read),
    ("POST", "/conversations", conversation),
    ("POST", "/messages/{message_id}/press", press_element),
    ("PATCH", "/messages/{message_id}", edit),
    ("DELETE", "/messages/{message_id}", recall),
    ("POST", "/messages/{message_id}/reactions", react),
    ("DELETE", "/messages/{message_id}/reactions", take_reaction),
    ("GET", "/files/{file_key}", file),
    ("GET", "/images/{image_key}", image),
    ("POST", "/people", add_person),
    ("GET", "/calls", backstage.calls),
    ("GET", "/pushes", backstage.pushes),
    ("GET", "/pushes/{event_id}", backstage.one_push),
    ("POST", "/pushes/{event_id}/again", backstage.push_again),
    ("POST", "/events", backstage.push_event),
    ("GET", "/faults", backstage.faults),
    ("POST", "/faults", backstage.add_fault),
    ("DELETE", "/faults", backstage.clear_faults),
    ("DELETE", "/faults/{number:int}", backstage.remove_fault),
    ("POST", "/clock", backstage.set_clock),
    ("POST", "/webhook", backstage.set_webhook),
    ("POST", "/transport", backstage.set_transport),
    ("DELETE", "/connections", backstage.drop_connections),
    ("POST", "/scopes", backstage.set_scopes),
    ("GET", "/scenarios", backstage.scenarios),
    ("POST", "/scenarios/play", backstage.play),
    ("POST", "/scenarios/stop", backstage.stop),
    ("GET", "/recording", backstage.recording),
    ("POST", "/recording", backstage.record),
    ("GET", "/recording.yaml", backstage.recorded_file),
    ("POST", "/reset", backstage.reset),
)


def routes() -> list[Route]:
    return [
        Route(f"/_sandbox{path}", _answering(handler, f"{method} {path}"), methods=[method])
        for method, path, handler in TABLE
    ]
