"""Plays a scenario: each step is what a person, or the platform, would do at that moment."""

import asyncio
import itertools
import json
import re
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from botconsole.sandbox import chats, doings, saying
from botconsole.sandbox.doings import Json, Wanted, WrongError
from botconsole.sandbox.faults import FaultError
from botconsole.sandbox.fields import PressError
from botconsole.sandbox.press import find_element, press
from botconsole.sandbox.scenario import Scenario, Step, filled
from botconsole.sandbox.store import Row
from botconsole.sandbox.view import summary
from botconsole.sandbox.world import World

WAITED_SECONDS, LOOK_SECONDS, ALERT_SECONDS = 30.0, 0.1, 10.0
FAILURES = (
    LookupError,
    PressError,
    FaultError,
    ValueError,
    TypeError,
    OSError,
    sqlite3.Error,
)


class Player:
    """At most one scenario at a time; `view()` says how far it is."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._task: asyncio.Task[None] | None = None
        self._told: Json = {"run": 0, "state": "idle"}

    def view(self) -> Json:
        """`state` is idle, playing, done, failed or stopped."""
        return self._told

    def start(self, scenario: Scenario, variables: dict[str, str] | None = None) -> Json:
        """Begins to play; it needs the server's event loop."""
        if self._task is not None and not self._task.done():
            raise WrongError(f"{self._told['title']} is being played; stop it first")
        given = variables or {}
        if unknown := set(given) - set(scenario.variables):
            raise WrongError(f"the scenario has no variable {', '.join(sorted(unknown))}")
        self._told = {"run": self._told["run"] + 1, "title": scenario.title, "en": scenario.english}
        self._tell(state="playing", step=0, of=len(scenario.steps), line=0, error="")
        self._task = asyncio.create_task(self._play(scenario, {**scenario.variables, **given}))
        self._task.add_done_callback(self._ended)
        return self._told

    def _ended(self, task: asyncio.Task[None]) -> None:
        """What nobody foresaw ends the scenario, too, and is told."""
        if not task.cancelled() and task.exception() is not None:
            self._tell(state="failed", error=f"line {self._told['line']}: {task.exception()!r}")

    def stop(self) -> Json:
        if self._task is not None and not self._task.done():
            self._task.cancel()
            self._tell(state="stopped")
        return self._told

    async def close(self) -> None:
        """Ends with the server."""
        self.stop()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _play(self, scenario: Scenario, variables: dict[str, str]) -> None:
        play = Play(self._world, variables)
        for number, step in enumerate(scenario.steps, 1):
            self._tell(step=number, line=step.line)
            try:
                await play.perform(step)
            except FAILURES as error:
                what = error.args[0] if isinstance(error, LookupError) and error.args else error
                self._tell(state="failed", error=f"line {step.line}: {what}")
                return
        self._tell(state="done")

    def _tell(self, **changed: Any) -> None:
        self._told = {"error": "", **self._told, **changed}
        if "state" in changed:
            said = f"{self._told['title']}: {changed['state']} {self._told['error']}".rstrip()
            self._world.config.echo(f"sandbox  scenario {said}")
        self._world.changes.publish("state")


class Play:
    """One performance: who and what the names in the file stand for."""

    def __init__(self, world: World, variables: dict[str, str]) -> None:
        self.world = world
        self._variables = variables
        self._labels: dict[str, str] = {}
        self._known_chats = world.store.number("SELECT coalesce(max(number), 0) FROM chats")

    async def perform(self, step: Step) -> None:
        if step.when and not self._variables[step.when]:
            return
        await self._pause(step.after)
        for number in range(1, step.times + 1):
            if number > 1:
                await self._pause(step.every)
            values = filled(step.values, self._variables, number if step.times > 1 else 0)
            label = await _DEEDS[step.verb](self, values)
            if step.label and label:
                self._labels[step.label] = label
            await asyncio.sleep(0)

    async def _pause(self, seconds: float) -> None:
        """So many seconds of Feishu's clock, whatever becomes of its speed meanwhile."""
        clock = self.world.clock
        due = clock.now() + seconds
        while (left := due - clock.now()) > 0:
            await asyncio.sleep(min(0.25, clock.real_delay(left)))

    # names

    def person(self, name: str) -> Row:
        """Whoever has that name, the one known longest; made if there is nobody."""
        found = self.world.store.row("SELECT * FROM people WHERE name = ? ORDER BY rowid LIMIT 1", name)
        return found or self.world.add_person(name)

    def find_new_chat(self, name: str) -> Row | None:
        """The same, but a pattern means a group that was made in this performance: it is the bot that is waited for."""
        found = self.find_chat(name)
        return None if found and "*" in name and found["number"] <= self._known_chats else found

    def find_chat(self, name: str) -> Row | None:
        """A group by its label, its name or a pattern of it, the newest; `@name` is a person's conversation."""
        if name in self._labels:
            return self.world.chat(self._labels[name])
        if name.startswith("@"):
            return self.world.store.row(
                "SELECT * FROM chats WHERE person = ?", self.person(name[1:])["open_id"]
            )
        pattern = re.compile(".*".join(re.escape(part) for part in name.split("*")), re.DOTALL)
        rows = self.world.store.rows(
            "SELECT * FROM chats WHERE mode != 'p2p' AND status = 'normal' ORDER BY number DESC"
        )
        return next((row for row in rows if pattern.fullmatch(row["name"])), None)

    def chat(self, name: str) -> Row:
        found = self.find_chat(name)
        if found is None:
            raise LookupError(f"there is no group {name}")
        return found

    def message(self, label: str) -> Row:
        if label not in self._labels:
            raise LookupError(f"nothing was said as {label}")
        return self.world.must_message(self._labels[label])

    def cards(self, chat: Row) -> list[Row]:
        """The cards of a chat, the newest first."""
        return self.world.store.rows(
            "SELECT * FROM messages WHERE chat_id = ? AND msg_type = 'interactive' AND deleted = 0"
            " ORDER BY create_ms DESC, number DESC LIMIT 200",
            chat["chat_id"],
        )


Deed = Callable[[Play, Json], Awaitable[str]]


async def _group(play: Play, told: Json) -> str:
    """The open group of that name, made if there is none, with at least these members and (unless told) the bot."""
    world = play.world
    chat = world.store.row(
        "SELECT * FROM chats WHERE mode != 'p2p' AND status = 'normal' AND name = ? ORDER BY number DESC",
        told["name"],
    )
    people = [play.person(name) for name in told.get("members", [])]
    if chat is None:
        owner = people[0]["open_id"] if people else ""
        chat = world.add_chat(told["name"], bot_in=0, owner_id=owner)
        world.join(chat, people, world.bot, push=False)
    else:
        world.join(chat, people, doings.operator(world, chat))
    if told.get("bot", True):
        doings.move_bot(world, chat, inside=True)
    return str(chat["chat_id"])


async def _join(play: Play, told: Json) -> str:
    chat, size = play.chat(told["in"]), told.get("per_event", 1)
    people = _newcomers(play, told["people"])
    while users := [{"open_id": person["open_id"]} for person in itertools.islice(people, size)]:
        doings.add_members(play.world, chat, Wanted({"users": users}))
        await asyncio.sleep(0)
    return ""


def _newcomers(play: Play, wanted: list[str] | int) -> Iterator[Row]:
    """The people with these names, or so many new ones."""
    if isinstance(wanted, list):
        yield from map(play.person, wanted)
        return
    known = play.world.store.number("SELECT count(*) FROM people")
    for number in range(known + 1, known + 1 + wanted):
        yield play.world.add_person(f"新同事 {number}")


async def _leave(play: Play, told: Json) -> str:
    doings.leave(play.world, play.chat(told["in"]), Wanted({"open_id": play.person(told["by"])["open_id"]}))
    return ""


async def _remove(play: Play, told: Json) -> str:
    chat, who = play.chat(told["in"]), play.person(told["who"])
    if not play.world.is_member(chat, who["open_id"]):
        raise WrongError(f"{told['who']} is not in {told['in']}")
    play.world.leave(chat, [who], doings.operator(play.world, chat))
    return ""


async def _bot(play: Play, told: Json) -> str:
    doings.move_bot(play.world, play.chat(told["in"]), inside=told["inside"])
    return ""


def _operator(play: Play, chat: Row, told: Json) -> Json:
    return doings.operator(play.world, chat, play.person(told["by"])["open_id"] if "by" in told else "")


async def _rename(play: Play, told: Json) -> str:
    chat = play.chat(told["in"])
    chats.change(play.world, chat, {"name": told["name"]}, _operator(play, chat, told))
    return ""


async def _dissolve(play: Play, told: Json) -> str:
    chat = play.chat(told["in"])
    chats.end(play.world, chat, _operator(play, chat, told))
    return ""


async def _conversation(play: Play, told: Json) -> str:
    doings.enter_conversation(play.world, Wanted({"open_id": play.person(told["by"])["open_id"]}))
    return ""


async def _say(play: Play, told: Json) -> str:
    body = {key: value for key, value in told.items() if key not in ("in", "by", "reply_to")}
    body["open_id"] = play.person(told["by"])["open_id"]
    if "reply_to" in told:
        body["reply_to"] = play.message(told["reply_to"])["message_id"]
    return str(saying.say(play.world, play.chat(told["in"]), Wanted(body))["message_id"])


async def _edit(play: Play, told: Json) -> str:
    saying.edit(play.world, play.message(told["message"]), Wanted({"text": told["text"]}))
    return ""


async def _recall(play: Play, told: Json) -> str:
    by = play.person(told["by"])["open_id"] if "by" in told else ""
    saying.recall(play.world, play.message(told["message"]), by)
    return ""


async def _react(play: Play, told: Json) -> str:
    body = {"open_id": play.person(told["by"])["open_id"], "emoji_type": told["emoji"]}
    saying.react(play.world, play.message(told["message"]), Wanted(body), add=not told.get("off", False))
    return ""


async def _press(play: Play, told: Json) -> str:
    """The newest card that has such a button (or, by value, the newest card at all)."""
    chat = play.chat(told["in"])
    person = doings.insider(play.world, chat, play.person(told["by"])["open_id"])
    card = _card_with(play, chat, told.get("button", ""))
    if card is None:
        raise LookupError(f"no card in {told['in']} has {told.get('button', 'anything to press')}")
    keys = {"button": "element", "form": "form_value", "input": "input_value"}
    body = {keys.get(key, key): value for key, value in told.items() if key not in ("in", "by")}
    answer = await press(play.world, card, person, body)
    if answer["client_code"]:
        raise PressError(f"the press failed with {answer['client_code']}: {answer['message']}")
    return ""


def _card_with(play: Play, chat: Row, button: str) -> Row | None:
    for row in play.cards(chat):
        if not button or find_element(json.loads(row["content"]), button) is not None:
            return row
    return None


async def _wait_for(play: Play, told: Json) -> str:
    """Real seconds, not the clock's: it is the bot that is waited for."""
    try:
        async with asyncio.timeout(told.get("within", WAITED_SECONDS)):
            while not _is_there(play, told):
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        what = told.get("button") or told.get("text") or "the group"
        raise WrongError(f"waited for {what} in {told['in']}: it did not come") from None
    return ""


def _is_there(play: Play, told: Json) -> bool:
    chat = play.find_new_chat(told["in"])
    if chat is None:
        return False
    if "button" not in told and "text" not in told:
        return True
    if "button" in told:
        return _card_with(play, chat, told["button"]) is not None
    rows = play.world.store.rows(
        "SELECT * FROM messages WHERE chat_id = ? AND deleted = 0 ORDER BY number DESC LIMIT 200",
        chat["chat_id"],
    )
    names = play.world.names()
    return any(told["text"] in summary(row, names) for row in rows)


async def _fault(play: Play, told: Json) -> str:
    play.world.faults.add(told)
    play.world.changes.publish("state")
    return ""


async def _end_faults(play: Play, told: Json) -> str:
    play.world.faults.clear()
    play.world.changes.publish("state")
    return ""


async def _clock(play: Play, told: Json) -> str:
    doings.set_clock(play.world, Wanted(told))
    return ""


async def _alert(play: Play, told: Json) -> str:
    """A monitor's alert, posted to the console: the host that the webhook is on."""
    url = urlsplit(play.world.pusher.webhook_url)
    if not url.netloc or not told["path"].startswith("/"):
        raise WrongError(
            "an alert needs a webhook (its host is where alerts go) and a path that begins with /"
        )
    headers = {"Content-Type": "application/json"}
    headers |= {str(name): str(value) for name, value in told.get("headers", {}).items()}
    answer = await play.world.pusher.webhook.post(
        json.dumps(told["body"]).encode(),
        headers,
        ALERT_SECONDS,
        f"{url.scheme}://{url.netloc}{told['path']}",
    )
    if answer.status is None:
        raise WrongError(f"the alert was not answered: {answer.error}")
    if answer.status >= 400:
        raise WrongError(
            f"the alert was answered {answer.status}: {answer.body[:200].decode(errors='replace')}"
        )
    return ""


_DEEDS: dict[str, Deed] = {
    "group": _group,
    "join": _join,
    "leave": _leave,
    "remove": _remove,
    "bot": _bot,
    "rename": _rename,
    "dissolve": _dissolve,
    "conversation": _conversation,
    "say": _say,
    "edit": _edit,
    "recall": _recall,
    "react": _react,
    "press": _press,
    "wait_for": _wait_for,
    "fault": _fault,
    "end_faults": _end_faults,
    "clock": _clock,
    "alert": _alert,
}
