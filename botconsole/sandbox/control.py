"""The control API under /_sandbox/: what the page's buttons and tests in any language do."""

import json
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from botconsole.sandbox import chats, doings, saying, scenario, view
from botconsole.sandbox.doings import Json, Wanted, WrongError
from botconsole.sandbox.faults import SWITCHES, FaultError
from botconsole.sandbox.press import PressError, press
from botconsole.sandbox.resources import served
from botconsole.sandbox.seed import fresh_name, seed
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
        except (UnicodeError, OverflowError, sqlite3.IntegrityError) as error:
            # what no store can keep: half a surrogate pair, a number beyond 64 bits, an id taken twice
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
    return {"items": [view.chat_view(world, row) for row in rows]}


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
        _number(request, "since", 0),
        _number(request, "limit", 500),
        message,
        request.query_params.get("locale") or "zh_cn",
    )
    return view.messages_view(world, chat["chat_id"], asked)


async def say(world: World, request: Request, wanted: Wanted) -> Json:
    return saying.say(world, world.must_chat(request.path_params["chat_id"]), wanted)


async def conversation(world: World, request: Request, wanted: Wanted) -> Json:
    return doings.enter_conversation(world, wanted)


async def press_element(world: World, request: Request, wanted: Wanted) -> Json:
    message = world.must_message(request.path_params["message_id"])
    if not wanted.has("element") and not wanted.has("value"):
        raise WrongError("element or value is required")
    chat = world.must_chat(message["chat_id"])
    person = doings.actor(world, chat, wanted)
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


async def calls(world: World, request: Request, wanted: Wanted) -> Json:
    return {"items": world.calls.view(_number(request, "limit", 1000))}


async def pushes(world: World, request: Request, wanted: Wanted) -> Json:
    return view.pushes_view(world, _number(request, "limit", 1000))


async def one_push(world: World, request: Request, wanted: Wanted) -> Json:
    return view.one_push_view(world, request.path_params["event_id"])


async def push_again(world: World, request: Request, wanted: Wanted) -> Json:
    event_id = request.path_params["event_id"]
    if not world.pusher.again(event_id):
        raise LookupError(f"no push {event_id}, or no webhook")
    return {"event_id": event_id}


async def push_event(world: World, request: Request, wanted: Wanted) -> Json:
    """Any v2.0 event; `header` overrides single keys (event_id, create_time, app_id, ...)."""
    event_type = wanted.text("event_type")
    if not event_type:
        raise WrongError("event_type is required")
    return {"event_id": world.push(event_type, wanted.mapping("event"), wanted.mapping("header"))}


async def faults(world: World, request: Request, wanted: Wanted) -> Json:
    return {"items": world.faults.view(), "switches": SWITCHES}


async def add_fault(world: World, request: Request, wanted: Wanted) -> Json:
    fault = world.faults.add(wanted.body)
    world.changes.publish("state")
    return asdict(fault)


async def clear_faults(world: World, request: Request, wanted: Wanted) -> Json:
    world.faults.clear()
    world.changes.publish("state")
    return {}


async def remove_fault(world: World, request: Request, wanted: Wanted) -> Json:
    world.faults.remove(int(request.path_params["number"]))
    world.changes.publish("state")
    return {}


async def set_clock(world: World, request: Request, wanted: Wanted) -> Json:
    return doings.set_clock(world, wanted)


async def set_webhook(world: World, request: Request, wanted: Wanted) -> Json:
    """Saves a request URL only if it answers the challenge, as Feishu does."""
    url = wanted.text("url")
    if not url.startswith(("http://", "https://")):
        raise WrongError("the URL must begin with http:// or https://")
    if reason := await world.pusher.challenge(url):
        raise WrongError(f"the URL was not saved: {reason}")
    world.pusher.webhook_url = url
    world.changes.publish("state")
    return {"url": url}


async def set_scopes(world: World, request: Request, wanted: Wanted) -> Json:
    """The scopes the app lacks; an empty list grants everything again."""
    world.store.remember("missing scopes", wanted.texts("missing"))
    world.changes.publish("state")
    return {"missing": world.missing_scopes}


async def scenarios(world: World, request: Request, wanted: Wanted) -> Json:
    """What comes with the sandbox, and what is being played."""
    items = [
        {
            "name": name,
            "title": one.title,
            "about": one.about,
            "steps": len(one.steps),
            "variables": one.variables,
        }
        for name, one in scenario.shipped().items()
    ]
    return {"items": items, "playing": request.app.state.player.view()}


async def play(world: World, request: Request, wanted: Wanted) -> Json:
    """One of those by its `name`, or the text of another as `yaml`; `variables` are the scenario's own."""
    if wanted.has("name") == wanted.has("yaml"):
        raise WrongError("name or yaml is required")
    chosen = scenario.named(wanted.text("name")) if wanted.has("name") else scenario.read(wanted.text("yaml"))
    variables = {name: str(value) for name, value in wanted.mapping("variables").items()}
    told: Json = request.app.state.player.start(chosen, variables)
    return told


async def stop(world: World, request: Request, wanted: Wanted) -> Json:
    told: Json = request.app.state.player.stop()
    return told


async def recording(world: World, request: Request, wanted: Wanted) -> Json:
    recorder = request.app.state.recorder
    return {**recorder.view(), "yaml": recorder.text()}


async def record(world: World, request: Request, wanted: Wanted) -> Json:
    recorder = request.app.state.recorder
    if wanted.flag("on", True):
        recorder.start(wanted.text("title"))
    else:
        recorder.stop()
    return {**recorder.view(), "yaml": recorder.text()}


async def reset(world: World, request: Request, wanted: Wanted) -> Json:
    request.app.state.player.stop()
    world.store.forget_the_world()
    world.faults.clear()
    world.calls.clear()
    world.limits.clear()
    seed(world)
    world.changes.publish("state", "platform", "reset")
    return {}


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name) or str(default)
    if not (text.isascii() and text.isdigit()):
        raise WrongError(f"{name} must be a whole number")
    return int(text)


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
    ("POST", "/groups/{chat_id}/members", add_members),
    ("DELETE", "/groups/{chat_id}/members/{open_id}", remove_member),
    ("POST", "/groups/{chat_id}/leave", leave),
    ("GET", "/groups/{chat_id}/messages", messages),
    ("POST", "/groups/{chat_id}/messages", say),
    ("POST", "/conversations", conversation),
    ("POST", "/messages/{message_id}/press", press_element),
    ("PATCH", "/messages/{message_id}", edit),
    ("DELETE", "/messages/{message_id}", recall),
    ("POST", "/messages/{message_id}/reactions", react),
    ("DELETE", "/messages/{message_id}/reactions", take_reaction),
    ("GET", "/files/{file_key}", file),
    ("GET", "/images/{image_key}", image),
    ("POST", "/people", add_person),
    ("GET", "/calls", calls),
    ("GET", "/pushes", pushes),
    ("GET", "/pushes/{event_id}", one_push),
    ("POST", "/pushes/{event_id}/again", push_again),
    ("POST", "/events", push_event),
    ("GET", "/faults", faults),
    ("POST", "/faults", add_fault),
    ("DELETE", "/faults", clear_faults),
    ("DELETE", "/faults/{number:int}", remove_fault),
    ("POST", "/clock", set_clock),
    ("POST", "/webhook", set_webhook),
    ("POST", "/scopes", set_scopes),
    ("GET", "/scenarios", scenarios),
    ("POST", "/scenarios/play", play),
    ("POST", "/scenarios/stop", stop),
    ("GET", "/recording", recording),
    ("POST", "/recording", record),
    ("POST", "/reset", reset),
)


def routes() -> list[Route]:
    return [
        Route(f"/_sandbox{path}", _answering(handler, f"{method} {path}"), methods=[method])
        for method, path, handler in TABLE
    ]
