"""What people do with groups: make them, come and go, leave, open conversations; each pushes what Feishu pushes."""

import math
from dataclasses import dataclass
from typing import Any

from botconsole.sandbox import payloads
from botconsole.sandbox.chats import LONGEST_NAME, change
from botconsole.sandbox.seed import fresh_name
from botconsole.sandbox.store import Row
from botconsole.sandbox.world import World

Json = dict[str, Any]
LONGEST_ID, LONGEST_PERSONS_NAME = 100, 100


class WrongError(ValueError):
    """The request to the control API makes no sense; the text says why."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The body of a control call, with typed ways to read it."""

    body: Json

    def __post_init__(self) -> None:
        if not isinstance(self.body, dict):
            raise WrongError("the body must be an object")

    def has(self, name: str) -> bool:
        return self.body.get(name) is not None

    def text(self, name: str) -> str:
        value = self.body.get(name)
        if value is not None and not isinstance(value, str):
            raise WrongError(f"{name} must be a text")
        return value or ""

    def flag(self, name: str, default: bool) -> bool:
        value = self.body.get(name, default)
        if not isinstance(value, bool):
            raise WrongError(f"{name} must be true or false")
        return value

    def texts(self, name: str) -> list[str]:
        value = self.body.get(name) or []
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise WrongError(f"{name} must be a list of texts")
        return value

    def mapping(self, name: str) -> Json:
        value = self.body.get(name) or {}
        if not isinstance(value, dict):
            raise WrongError(f"{name} must be an object")
        return value

    def number(self, name: str) -> float | None:
        value = self.body.get(name)
        if value is not None and (not isinstance(value, int | float) or isinstance(value, bool)):
            raise WrongError(f"{name} must be a number")
        if value is not None and not math.isfinite(value):
            raise WrongError(f"{name} must be a finite number")
        return value


def operator(world: World, chat: Row, open_id: str = "") -> Json:
    """Who does what a person does in a group: who says so, else its owner, its first member, the bot."""
    if open_id:
        return payloads.person_ids(insider(world, chat, open_id))
    owner = world.person(chat["owner_id"]) if chat["owner_id"] else None
    if owner is None:
        members = world.members(chat["chat_id"], 1)
        owner = members[0] if members else None
    return payloads.person_ids(owner) if owner else world.bot


def insider(world: World, chat: Row, open_id: str) -> Row:
    """The member with this open_id; without one, the first member."""
    if open_id:
        member = world.must_person(open_id)
        if not world.is_member(chat, open_id):
            raise WrongError(f"{open_id} is not in {chat['chat_id']}")
        return member
    if chat["mode"] == "p2p":
        return world.must_person(chat["person"])
    members = world.members(chat["chat_id"], 1)
    if not members:
        raise WrongError(f"nobody is in {chat['chat_id']}")
    return members[0]


def actor(world: World, chat: Row, wanted: Wanted) -> Row:
    """Who speaks in a chat; who is not in the group and comes with a `name` joins it first."""
    open_id, name = wanted.text("open_id"), wanted.text("name")
    if open_id and name and chat["mode"] != "p2p" and not world.is_member(chat, open_id):
        add_members(world, chat, Wanted({"open_id": open_id, "name": name}))
    return insider(world, chat, open_id)


def add_group(world: World, wanted: Wanted) -> Json:
    """A group made by a person, who then owns it, with the bot in it unless told otherwise."""
    name, open_id = wanted.text("name"), wanted.text("open_id")
    makers = [world.must_person(open_id)] if open_id else []
    if len(name) > LONGEST_NAME:
        raise WrongError(f"a group's name has at most {LONGEST_NAME} characters")
    chat = world.add_chat(name, bot_in=0, owner_id=open_id)
    world.join(chat, makers, world.bot, push=False)
    told: Json = {"chat_id": chat["chat_id"]}
    if wanted.flag("bot", True):
        told["event_id"] = move_bot(world, chat, inside=True)
    return told


def move_bot(world: World, chat: Row, inside: bool) -> str:
    """Brings the bot in or takes it out; only the app itself is told."""
    if chat["mode"] == "p2p":
        raise WrongError("the bot is always in a conversation with it")
    if bool(chat["bot_in"]) == inside:
        return ""
    event = payloads.chat_event(world.config, chat, operator(world, chat))
    world.store.run("UPDATE chats SET bot_in = ? WHERE chat_id = ?", int(inside), chat["chat_id"])
    world.changes.publish("state", chat["chat_id"])
    world.note(
        chat, "bot_joined" if inside else "bot_removed", event["operator_id"], name=world.config.app_name
    )
    return world.push(f"im.chat.member.bot.{'added' if inside else 'deleted'}_v1", event)


def add_members(world: World, chat: Row, wanted: Wanted) -> Json:
    """One person, or `users` in one event; unknown people are made."""
    if chat["mode"] == "p2p" or chat["status"] != "normal":
        raise WrongError("nobody can join this chat")
    users = wanted.body.get("users")
    if users is not None and (not isinstance(users, list) or not users):
        raise WrongError("users must be a list with somebody in it")
    people = [person(world, Wanted(user)) for user in (users if users is not None else [wanted.body])]
    event_id = world.join(chat, people, operator(world, chat))
    ids = [one["open_id"] for one in people]
    return (
        {"open_ids": ids, "event_id": event_id}
        if users is not None
        else {"open_id": ids[0], "event_id": event_id}
    )


def leave(world: World, chat: Row, wanted: Wanted) -> Json:
    """A member leaves by himself; if that was the owner, the longest member owns the group then."""
    who = insider(world, chat, wanted.text("open_id"))
    if chat["mode"] == "p2p":
        raise WrongError("nobody leaves a conversation with the bot")
    event_id = world.leave(chat, [who], payloads.person_ids(who))
    members = world.members(chat["chat_id"], 1)
    if chat["owner_id"] == who["open_id"] and members:
        change(world, chat, {"owner_id": members[0]["open_id"]}, payloads.person_ids(who))
    return {"event_id": event_id}


def person(world: World, wanted: Wanted) -> Row:
    """The person with this `open_id`, made if unknown; without a `name` an invented one."""
    open_id, name = wanted.text("open_id"), wanted.text("name")
    if open_id == world.config.bot_open_id:
        raise WrongError("that is the bot's open_id")
    if len(open_id) > LONGEST_ID or len(name) > LONGEST_PERSONS_NAME:
        raise WrongError(f"at most {LONGEST_ID} characters of open_id, {LONGEST_PERSONS_NAME} of name")
    if not name and not (open_id and world.person(open_id)):
        name = fresh_name(world)
    row = world.add_person(name, open_id, wanted.flag("visible", True))
    told: Json = {key: int(wanted.flag(key, False)) for key in ("visible", "resigned") if wanted.has(key)}
    told |= {key: wanted.text(key) for key in ("email", "mobile") if wanted.has(key)}
    return world.change_person(row["open_id"], **told) if told else row


def enter_conversation(world: World, wanted: Wanted) -> Json:
    """A person opens the conversation with the bot: two events the first time, then one each time."""
    who = person(world, wanted)
    chat, event_ids = world.conversation(who)
    last = world.store.row(
        "SELECT * FROM messages WHERE chat_id = ? ORDER BY create_ms DESC, number DESC LIMIT 1",
        chat["chat_id"],
    )
    entered = payloads.entered_event(chat["chat_id"], who, last)
    event_ids.append(world.push("im.chat.access_event.bot_p2p_chat_entered_v1", entered))
    return {"chat_id": chat["chat_id"], "open_id": who["open_id"], "event_ids": event_ids}


def set_clock(world: World, wanted: Wanted) -> Json:
    """Another speed (`factor`), or a jump (`advance` seconds); waiting retries move along."""
    factor, advance = wanted.number("factor"), wanted.number("advance")
    if factor is None and advance is None:
        raise WrongError("factor or advance is required")
    if (factor is not None and not 0 < factor <= 1_000_000) or (advance or 0) < 0:
        raise WrongError("factor must be above 0, and advance not below it")
    if advance:
        world.clock.advance(advance)
        jump = world.clock.real_delay(advance)
        world.pusher.move_retries(lambda due, now: max(now, due - jump))
    if factor is not None:
        ratio = world.clock.factor / factor
        world.clock.set_factor(factor)
        world.pusher.move_retries(lambda due, now: now + max(0.0, due - now) * ratio)
    world.changes.publish("state", "platform")
    return {"factor": world.clock.factor, "now": round(world.clock.now() * 1000)}
