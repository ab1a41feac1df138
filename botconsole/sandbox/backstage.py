"""The control API's other half: what the platform tab shows and switches, scenarios, recording, reset."""

import re
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import Response

from botconsole.sandbox import doings, scenario, view
from botconsole.sandbox.doings import Json, Wanted, WrongError
from botconsole.sandbox.faults import SWITCHES
from botconsole.sandbox.push import TRANSPORTS
from botconsole.sandbox.seed import seed
from botconsole.sandbox.webhook import Webhook
from botconsole.sandbox.world import World

WHAT = ("events", "callbacks")
OLD_CALLBACKS = "old_callbacks"


def number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name) or str(default)
    if not re.fullmatch(r"[0-9]{1,15}", text):
        raise WrongError(f"{name} must be a whole number")
    return int(text)


async def calls(world: World, request: Request, wanted: Wanted) -> Json:
    return {"items": world.calls.view(number(request, "limit", 1000))}


async def pushes(world: World, request: Request, wanted: Wanted) -> Json:
    return view.pushes_view(world, number(request, "limit", 1000))


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
    return {"event_id": world.push_any(event_type, wanted.mapping("event"), wanted.mapping("header"))}


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


def _which(wanted: Wanted, known: tuple[str, ...] = WHAT) -> list[str]:
    """What a setting is for: events, callbacks or (by default) both."""
    which = wanted.texts("which") or list(WHAT)
    if unknown := set(which) - set(known):
        raise WrongError(f"which has no {', '.join(sorted(unknown))}; it has {', '.join(known)}")
    return which


async def set_webhook(world: World, request: Request, wanted: Wanted) -> Json:
    """Saves a request URL only if it answers the challenge, as Feishu does; one for callbacks alone by `which`."""
    url, which = wanted.text("url"), _which(wanted, (*WHAT, OLD_CALLBACKS))
    webhook = world.pusher.webhook
    if not url and which == [OLD_CALLBACKS]:
        webhook.old_callback_url = ""  # an app need not have one
    elif not url.startswith(("http://", "https://")):
        raise WrongError("the URL must begin with http:// or https://")
    elif reason := await world.pusher.challenge(url):
        raise WrongError(f"the URL was not saved: {reason}")
    else:
        _save(webhook, url, which)
    world.changes.publish("state")
    own = {"callback_url": webhook.callback_url, "old_callback_url": webhook.old_callback_url}
    return {"url": webhook.url, **{name: saved for name, saved in own.items() if saved}}


def _save(webhook: Webhook, url: str, which: list[str]) -> None:
    """Callbacks go where events go, unless they have been given a URL of their own."""
    if OLD_CALLBACKS in which:
        webhook.old_callback_url = url
    if "events" in which:
        webhook.callback_url = "" if "callbacks" in which else webhook.callback_url or webhook.url
        webhook.url = url
    elif "callbacks" in which:
        webhook.callback_url = url


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
            "en": one.english,
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


async def recorded_file(world: World, request: Request, wanted: Wanted) -> Response:
    """What was recorded, to be saved and shared."""
    text = request.app.state.recorder.text()
    if not text:
        raise LookupError("nothing was recorded")
    headers = {"Content-Disposition": 'attachment; filename="scenario.yaml"'}
    return Response(text, headers=headers, media_type="application/yaml")


async def reset(world: World, request: Request, wanted: Wanted) -> Json:
    request.app.state.player.stop()
    world.store.forget_the_world()
    world.faults.clear()
    world.calls.clear()
    world.limits.clear()
    seed(world)
    world.changes.publish("state", "platform", "reset")
    return {}


async def set_transport(world: World, request: Request, wanted: Wanted) -> Json:
    """How events and presses reach the app; `strict` refuses the long connection while no client is online."""
    to, which = wanted.text("transport"), _which(wanted)
    if to not in TRANSPORTS:
        raise WrongError(f"transport must be one of {', '.join(TRANSPORTS)}")
    if reason := world.pusher.switch_transport(to, *which, offline=not wanted.flag("strict", False)):
        raise WrongError(reason)
    return {
        "transport": to,
        "transports": world.pusher.transports,
        "connections": len(world.pusher.connections),
    }


async def drop_connections(world: World, request: Request, wanted: Wanted) -> Json:
    """Closes every long connection, as a restart of the platform's gateway does."""
    return {"dropped": world.pusher.connections.drop()}
