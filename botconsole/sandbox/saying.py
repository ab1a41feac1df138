"""What people do with messages: say, show, edit, recall, react; each pushes what Feishu pushes."""

import base64
import binascii
import copy
import json
import re
from typing import Any

from botconsole.sandbox import payloads, posts
from botconsole.sandbox.clock import wall_ms
from botconsole.sandbox.content import any_person
from botconsole.sandbox.doings import Wanted, WrongError, actor, insider
from botconsole.sandbox.errors import PlatformError
from botconsole.sandbox.images import LARGEST_BYTES, sniff
from botconsole.sandbox.resources import add_file, add_image
from botconsole.sandbox.scopes import hears
from botconsole.sandbox.store import Row
from botconsole.sandbox.world import World

Json = dict[str, Any]
KINDS = ("text", "image", "file", "post")
LARGEST_FILE_BYTES, LONGEST_TEXT = 30 * 1024 * 1024, 150 * 1024
EMOJI = re.compile(r"[A-Za-z0-9_]{1,40}")


def say(world: World, chat: Row, wanted: Wanted) -> Json:
    """A person's message of one kind out of KINDS, as a reply to another or inside its thread."""
    given = [kind for kind in KINDS if wanted.body.get(kind)]
    if len(given) != 1:
        raise WrongError(f"one of {', '.join(KINDS)} is required")
    if chat["status"] != "normal":
        raise WrongError("the chat is dissolved")
    sender = actor(world, chat, wanted)
    parent = _parent(world, chat, wanted)
    content, mentions = _CONTENT[given[0]](world, chat, wanted)
    message = world.add_message(
        chat["chat_id"],
        (sender["open_id"], "user"),
        given[0],
        content,
        mentions,
        parent,
        wanted.flag("in_thread", False),
    )
    event_id = ""
    if hears(world, chat, mentions):
        mode = "p2p" if chat["mode"] == "p2p" else "group"
        event = payloads.message_event(world.config, message, sender, mode)
        event_id = world.push("im.message.receive_v1", event)
    told = {"message_id": message["message_id"], "event_id": event_id}
    return {**told, "thread_id": message["thread_id"]} if message["thread_id"] else told


def _parent(world: World, chat: Row, wanted: Wanted) -> Row | None:
    reply_to = wanted.text("reply_to")
    if not reply_to:
        if wanted.flag("in_thread", False):
            raise WrongError("in_thread needs reply_to")
        return None
    parent = world.must_message(reply_to)
    if parent["chat_id"] != chat["chat_id"] or parent["deleted"]:
        raise WrongError("reply_to must be a message of this chat that was not recalled")
    return parent


def _wanted_mentions(world: World, wanted: Wanted) -> list[str]:
    """The open_ids that are mentioned besides those in the text itself."""
    ids = wanted.texts("mentions")
    if wanted.flag("mention_bot", False):
        ids = [world.config.bot_open_id, *ids]
    for open_id in ids:
        if open_id != world.config.bot_open_id:
            world.must_person(open_id)
    return list(dict.fromkeys(ids))


def _text(world: World, chat: Row, wanted: Wanted) -> tuple[str, list[Json]]:
    """`@name` of a member becomes a mention; the other mentions are put in front."""
    text = wanted.text("text")
    if len(text.encode()) > LONGEST_TEXT:
        raise WrongError("the text is longer than 150 KB")
    members = world.members(chat["chat_id"]) if "@" in text else []  # there may be thousands
    known = {person["name"]: person["open_id"] for person in members}
    known |= {world.config.app_name: world.config.bot_open_id, "all": "", "所有人": ""}
    names = "|".join(re.escape(name) for name in sorted(known, key=len, reverse=True))
    mentions: list[Json] = []

    def replace(found: re.Match[str]) -> str:
        open_id = known[found[1]]
        if not open_id:
            return "@_all"
        mentions.append(world.mention(len(mentions) + 1, open_id))
        return str(mentions[-1]["key"])

    text = re.sub(f"@({names})", replace, text)
    in_front = []
    for open_id in _wanted_mentions(world, wanted):
        if not any(one["id"] == open_id for one in mentions):
            mentions.append(world.mention(len(mentions) + 1, open_id))
            in_front.append(mentions[-1]["key"])
    return json.dumps({"text": " ".join([*in_front, text])}, ensure_ascii=False), mentions


def _image(world: World, chat: Row, wanted: Wanted) -> tuple[str, list[Json]]:
    return json.dumps({"image_key": _stored_image(world, wanted.text("image"))}), []


def _stored_image(world: World, text: str) -> str:
    data = _bytes(text, "image", LARGEST_BYTES)
    media_type = sniff(data)
    if not media_type:
        raise WrongError("image is no image")
    return add_image(world, data, media_type)


def _bytes(text: Any, what: str, most: int) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise WrongError(f"{what} must be base64") from None
    if not 0 < len(data) <= most:
        raise WrongError(f"{what} must have 1 to {most} bytes")
    return data


def _file(world: World, chat: Row, wanted: Wanted) -> tuple[str, list[Json]]:
    file = Wanted(wanted.mapping("file"))
    name = file.text("name")
    if not name:
        raise WrongError("file.name is required")
    key = add_file(world, name, _bytes(file.text("base64"), "file.base64", LARGEST_FILE_BYTES))
    return json.dumps({"file_key": key, "file_name": name}, ensure_ascii=False), []


def _post(world: World, chat: Row, wanted: Wanted) -> tuple[str, list[Json]]:
    """`{title, content: [[...]]}`; an `at` names an open_id, an `img` brings its bytes as `image`."""
    body = copy.deepcopy(wanted.mapping("post"))
    lines = body.get("content")
    for line in lines if isinstance(lines, list) else []:
        for one in line if isinstance(line, list) else []:
            if isinstance(one, dict) and one.get("tag") == "img" and "image" in one:
                one["image_key"] = _stored_image(world, one.pop("image"))
    try:
        posts.check(body)
    except PlatformError as error:
        raise WrongError(error.message) from None
    inside = posts.mentioned(body)
    in_front = [one for one in _wanted_mentions(world, wanted) if one not in inside]
    body["content"][0] = [*({"tag": "at", "user_id": one} for one in in_front), *body["content"][0]]
    people = {one: person for one in posts.mentioned(body) if (person := any_person(world, one))}
    if lost := [one for one in inside if one not in people and one != world.config.bot_open_id]:
        raise LookupError(f"no person {lost[0]}")
    return posts.kept(world, body, people)


_CONTENT = {"text": _text, "image": _image, "file": _file, "post": _post}


def read(world: World, chat: Row) -> str:
    """The person of a conversation has read it; pushed once for all that the bot wrote since the last time."""
    if chat["mode"] != "p2p":
        raise WrongError("only what is read in a conversation with the bot is told to it")
    rows = world.store.rows(
        "SELECT number, message_id FROM messages WHERE chat_id = ? AND sender_type = 'app' AND deleted = 0"
        " AND number > ? ORDER BY number",
        chat["chat_id"],
        chat["read_number"],
    )
    if not rows:
        return ""
    world.store.run("UPDATE chats SET read_number = ? WHERE chat_id = ?", rows[-1]["number"], chat["chat_id"])
    ids = [row["message_id"] for row in rows]
    event = payloads.read_event(world.config, world.must_person(chat["person"]), ids, wall_ms())
    return world.push("im.message.message_read_v1", event)


def _own(world: World, message: Row, open_id: str) -> Row:
    """The sender, who must be `open_id` if that is given."""
    if message["sender_type"] != "user" or (open_id and message["sender_id"] != open_id):
        raise WrongError("only who sent a message may do that")
    return world.must_person(message["sender_id"])


def edit(world: World, message: Row, wanted: Wanted) -> Json:
    """A person changes the text of an own message; Feishu pushes nothing then."""
    _own(world, message, wanted.text("open_id"))
    if message["deleted"] or message["msg_type"] != "text":
        raise WrongError("only a text that was not recalled can be edited")
    if not wanted.text("text"):
        raise WrongError("text is required")
    content, mentions = _text(world, world.must_chat(message["chat_id"]), wanted)
    told = json.dumps(mentions, ensure_ascii=False)
    world.change_message(message, content=content, mentions=told, updated=1, edits=message["edits"] + 1)
    return {"message_id": message["message_id"]}


def recall(world: World, message: Row, open_id: str = "") -> str:
    """A person takes an own message back, owner and managers anyone's; without `open_id` whoever may."""
    if message["deleted"]:
        raise WrongError("the message was recalled already")
    chat = world.must_chat(message["chat_id"])
    recall_type = "message_owner" if message["sender_type"] == "user" else "group_owner"
    if open_id:
        insider(world, chat, open_id)
        recall_type = _recall_type(world, chat, message, open_id)
    message = world.change_message(message, deleted=1)
    if not chat["bot_in"] or message["only_for"]:
        return ""
    return world.push("im.message.recalled_v1", payloads.recalled_event(message, recall_type))


def _recall_type(world: World, chat: Row, message: Row, open_id: str) -> str:
    if message["sender_id"] == open_id:
        return "message_owner"
    if chat["owner_id"] == open_id:
        return "group_owner"
    if any(person["open_id"] == open_id for person in world.managers(chat["chat_id"])):
        return "group_manager"
    raise WrongError("only the sender, the group's owner or a manager may recall a message")


def react(world: World, message: Row, wanted: Wanted, add: bool = True) -> Json:
    """A person's reaction; the same one twice is one, and pushed once."""
    chat = world.must_chat(message["chat_id"])
    person = insider(world, chat, wanted.text("open_id"))
    emoji_type = wanted.text("emoji_type")
    if not EMOJI.fullmatch(emoji_type):
        raise WrongError("emoji_type must be a name such as OK, DONE or Pin")
    if message["deleted"]:
        raise WrongError("the message was recalled")
    sql = "INSERT OR IGNORE INTO reactions (message_id, open_id, emoji_type) VALUES (?, ?, ?)"
    if not add:
        sql = "DELETE FROM reactions WHERE message_id = ? AND open_id = ? AND emoji_type = ?"
    changed = world.store.run(sql, message["message_id"], person["open_id"], emoji_type)
    if not changed:
        return {"event_id": ""}
    world.touch(message["message_id"])
    if not chat["bot_in"] or message["only_for"]:
        return {"event_id": ""}
    event = payloads.reaction_event(message["message_id"], person, emoji_type, wall_ms())
    return {"event_id": world.push(f"im.message.reaction.{'created' if add else 'deleted'}_v1", event)}
