"""Records what people do as the steps of a scenario: names in place of ids, so that it plays elsewhere."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from botconsole.sandbox import doings
from botconsole.sandbox.doings import Json
from botconsole.sandbox.scenario import write
from botconsole.sandbox.store import Row
from botconsole.sandbox.world import World


class Recorder:
    """Off until started; with a `path` every step is written to the file at once."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.is_on = False
        self._path: Path | None = None
        self._title, self._steps = "", list[Json]()
        self._last_at = 0.0
        self._known: set[str] = set()
        self._said: dict[str, Json] = {}

    def start(self, title: str = "", path: Path | None = None) -> None:
        self.is_on, self._path, self._title = True, path, title or "Recorded"
        self._steps, self._known, self._said = [], set(), {}
        self._last_at = self.world.clock.now()
        self.world.changes.publish("state")

    def stop(self) -> None:
        self.is_on = False
        self.world.changes.publish("state")

    def view(self) -> Json:
        return {"on": self.is_on, "steps": len(self._steps)}

    def text(self) -> str:
        """The YAML so far; without a step it is no scenario yet."""
        return write(self._title, self._steps) if self._steps else ""

    def note(self, call: str, where: dict[str, str], body: Json, told: Json) -> None:
        """One call of the control API that was obeyed; what is no deed of a person or a switch is not recorded."""
        build = _STEPS.get(call)
        if not self.is_on or build is None:
            return
        try:
            if (step := build(self, where, body, told)) is not None:
                self._keep(step, told)
        except (LookupError, ValueError, OSError) as error:
            # the deed is done, and whoever did it is not to hear of the recording's trouble
            self.is_on = False
            self.world.config.echo(f"sandbox  the recording ended: {error}")
        self.world.changes.publish("state")

    def _keep(self, step: Json, told: Json) -> None:
        now = self.world.clock.now()
        waited, self._last_at = round(now - self._last_at, 1), now
        self._add({"after": waited, **step} if waited >= 1 else step)
        if "say" in step:
            self._said[told["message_id"]] = self._steps[-1]
        if self._path is not None:
            self._path.write_text(self.text(), "utf-8")

    def _add(self, step: Json) -> None:
        self._steps.append(step)

    # names

    def chat(
        self, chat_id: str, came: Sequence[str] = (), went: Sequence[str] = (), bot_in: bool | None = None
    ) -> str:
        """How a chat is called in the file; one that was there before is introduced as it was before this deed.

        `came` and `went` are the names of those who just did, `bot_in` whether the bot was inside until now.
        """
        row = self.world.must_chat(chat_id)
        if row["mode"] == "p2p":
            return f"@{self.world.must_person(row['person'])['name']}"
        members = [member["name"] for member in self.world.members(chat_id) if member["name"] not in came]
        self.introduce(row, row["name"], [*members, *went], bool(row["bot_in"]) if bot_in is None else bot_in)
        return str(row["name"] or chat_id)

    def introduce(self, chat: Row, name: str, members: list[str], bot_in: bool = True) -> None:
        """The step that makes a group which was there before; what the bot makes is waited for."""
        if chat["chat_id"] in self._known:
            return
        self._known.add(chat["chat_id"])
        if chat["by_app"]:
            self._add({"wait_for": {"in": name}})
            return
        told: Json = {"name": name or chat["chat_id"]}
        if members:
            told["members"] = members
        self._add({"group": told if bot_in else {**told, "bot": False}})

    def knows(self, chat_id: str) -> None:
        self._known.add(chat_id)

    def person(self, open_id: str) -> str:
        return str(self.world.must_person(open_id)["name"])

    def actor(self, chat_id: str, body: Json) -> str:
        """Who acted, also where the call did not say."""
        return str(
            doings.insider(self.world, self.world.must_chat(chat_id), body.get("open_id") or "")["name"]
        )

    def label(self, message_id: str) -> str:
        """The name of a message that was said in this recording, given to it now; '' for any other."""
        step = self._said.get(message_id)
        if step is None:
            return ""
        return str(step.setdefault("as", f"m{list(self._said).index(message_id) + 1}"))


def _group(recorder: Recorder, where: dict[str, str], body: Json, told: Json) -> Json:
    recorder.knows(told["chat_id"])
    step: Json = {"name": body.get("name") or told["chat_id"]}
    if body.get("open_id"):
        step["members"] = [recorder.person(body["open_id"])]
    return {"group": step if body.get("bot", True) else {**step, "bot": False}}


def _join(recorder: Recorder, where: dict[str, str], body: Json, told: Json) -> Json:
    ids = told["open_ids"] if "open_ids" in told else [told["open_id"]]
    people = [recorder.person(open_id) for open_id in ids]
    step = {"in": recorder.chat(where["chat_id"], came=people), "people": people}
    return {"join": {**step, "per_event": len(people)} if len(people) > 1 else step}


def _remove(recorder: Recorder, where: dict[str, str], body: Json, told: Json) -> Json:
    who = recorder.person(where["open_id"])
    return {"remove": {"in": recorder.chat(where["chat_id"], went=[who]), "who": who}}


def _leave(recorder: Recorder, where: dict[str, str], body: Json, told: Json) -> Json | None:
    if not body.get("open_id"):
        return None
    by = recorder.person(body["open_id"])
    return {"leave": {"in": recorder.chat(where["chat_id"], went=[by]), "by": by}}


def _bot(inside: bool) -> "Builder":
    return lambda recorder, where, body, told: {
        "bot": {"in": recorder.chat(where["chat_id"], bot_in=not inside), "inside": inside}
    }


def _rename(recorder: Recorder, where: dict[str, str], body: Json, told: Json) -> Json | None:
    """The name before stands in the event; without one (the bot is outside) there is nothing to rehearse."""
    push = recorder.world.store.row("SELECT payload FROM pushes WHERE event_id = ?", told["event_id"])
    if push is None or not body.get("name"):
        return None
    before = json.loads(push["payload"])["event"]["before_change"]["name"]
    members = [member["name"] for member in recorder.world.members(where["chat_id"])]
    recorder.introduce(recorder.world.must_chat(where["chat_id"]), before, members)
    return {"rename": {"in": before, "name": body["name"]}}


def _dissolve(recorder: Recorder, where: dict[str, str], body: Json, told: Json) -> Json:
    return {"dissolve": {"in": recorder.chat(where["chat_id"])}}


def _say(recorder: Recorder, where: dict[str, str], body: Json, told: Json) -> Json:
    chat_id = where["chat_id"]
    step: Json = {"in": recorder.chat(chat_id), "by": recorder.actor(chat_id, body)}
    kept = ("text", "post", "image", "file", "mention_bot", "in_thread")
    step |= {key: body[key] for key in kept if body.get(key)}
    if label := recorder.label(body.get("reply_to") or ""):
        step["reply_to"] = label
    else:
        step.pop("in_thread", None)
    return {"say": step}


def _conversation(recorder: Recorder, where: dict[str, str], body: Json, told: Json) -> Json:
    return {"conversation": {"by": recorder.person(told["open_id"])}}


def _edit(recorder: Recorder, where: dict[str, str], body: Json, told: Json) -> Json | None:
    label = recorder.label(where["message_id"])
    return {"edit": {"message": label, "text": body["text"]}} if label else None


def _recall(recorder: Recorder, where: dict[str, str], body: Json, told: Json) -> Json | None:
    label = recorder.label(where["message_id"])
    if not label:
        return None
    step = {"message": label}
    return {"recall": {**step, "by": recorder.person(body["open_id"])} if body.get("open_id") else step}


def _react(off: bool) -> "Builder":
    def build(recorder: Recorder, where: dict[str, str], body: Json, told: Json) -> Json | None:
        label = recorder.label(where["message_id"])
        if not label:
            return None
        chat_id = recorder.world.must_message(where["message_id"])["chat_id"]
        step = {"message": label, "by": recorder.actor(chat_id, body), "emoji": body["emoji_type"]}
        return {"react": {**step, "off": True} if off else step}

    return build


def _press(recorder: Recorder, where: dict[str, str], body: Json, told: Json) -> Json:
    chat_id = recorder.world.must_message(where["message_id"])["chat_id"]
    step: Json = {"in": recorder.chat(chat_id), "by": recorder.actor(chat_id, body)}
    button = body.get("element") or body.get("name")
    step |= {"button": button} if button else {"value": body.get("value") or {}}
    keys = {
        "form_value": "form",
        "option": "option",
        "options": "options",
        "input_value": "input",
        "checked": "checked",
    }
    return {"press": step | {name: body[key] for key, name in keys.items() if body.get(key)}}


def _as_it_is(verb: str) -> "Builder":
    return lambda recorder, where, body, told: {verb: body}


Builder = Callable[[Recorder, dict[str, str], Json, Json], Json | None]
_STEPS: dict[str, Builder] = {
    "POST /groups": _group,
    "PATCH /groups/{chat_id}": _rename,
    "DELETE /groups/{chat_id}": _dissolve,
    "POST /groups/{chat_id}/bot": _bot(True),
    "DELETE /groups/{chat_id}/bot": _bot(False),
    "POST /groups/{chat_id}/members": _join,
    "DELETE /groups/{chat_id}/members/{open_id}": _remove,
    "POST /groups/{chat_id}/leave": _leave,
    "POST /groups/{chat_id}/messages": _say,
    "POST /conversations": _conversation,
    "PATCH /messages/{message_id}": _edit,
    "DELETE /messages/{message_id}": _recall,
    "POST /messages/{message_id}/reactions": _react(False),
    "DELETE /messages/{message_id}/reactions": _react(True),
    "POST /messages/{message_id}/press": _press,
    "POST /faults": _as_it_is("fault"),
    "DELETE /faults": lambda recorder, where, body, told: {"end_faults": {}},
    "POST /clock": _as_it_is("clock"),
}
