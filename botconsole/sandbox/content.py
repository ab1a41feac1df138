"""What a message may contain: `content` is a string holding JSON, each type in its shape."""

import html
import json
import re
from typing import Any

from botconsole.sandbox import posts
from botconsole.sandbox.call import Call, invalid
from botconsole.sandbox.cardrules import CardRules, parse_card
from botconsole.sandbox.errors import PlatformError
from botconsole.sandbox.people import ID_KINDS, find
from botconsole.sandbox.store import Row
from botconsole.sandbox.world import World

Json = dict[str, Any]
LARGEST_TEXT_BYTES, LARGEST_POST_BYTES = 150 * 1024, 30 * 1024
KINDS = (
    "text",
    "post",
    "image",
    "file",
    "audio",
    "media",
    "sticker",
    "interactive",
    "share_chat",
    "share_user",
    "system",
)
AT = re.compile(r"<at\s+user_id\s*=\s*[\"']?([^\"'>]*)[\"']?\s*>([^<]*)</at>", re.IGNORECASE)


def any_person(world: World, value: str) -> Row | None:
    """The person with this id, of whatever kind."""
    return next((person for kind in ID_KINDS if (person := find(world, kind, value))), None)


def rules(world: World) -> CardRules:
    """The card rules with this sandbox's people and images."""
    bot = world.config.bot_open_id
    return CardRules(
        knows_person=lambda value: value == bot or any_person(world, value) is not None,
        knows_email=lambda value: find(world, "email", value) is not None,
        knows_image=lambda key: knows_image(world, key),
    )


def knows_image(world: World, key: str) -> bool:
    found = world.store.row(
        "SELECT 1 FROM images WHERE image_key = ? AND app_id = ?", key, world.config.app_id
    )
    return found is not None


def checked(world: World, call: Call, kind: str = "") -> tuple[str, str, list[Json]]:
    """Type, content as kept and mentions of a message to be sent, or the refusal."""
    msg_type = kind or call.text("msg_type", required=True)
    if msg_type not in KINDS:
        raise PlatformError(230001, "ext=invalid msg_type")
    content = call.body.get("content")
    if content is None or content == "":
        raise invalid("content", "content is required")
    if not isinstance(content, str):
        raise invalid("content", "content must be a string (JSON, serialised)")
    if msg_type == "interactive":
        rules(world).check(parse_card(content))
        return msg_type, content, []
    if len(content.encode()) > (LARGEST_TEXT_BYTES if msg_type == "text" else LARGEST_POST_BYTES):
        raise PlatformError(230025)
    try:
        said = json.loads(content)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise PlatformError(230001, "ext=content is not a string in json format")
    if msg_type == "text":
        return _text(world, said)
    if msg_type == "post":
        return _post(world, said)
    _plain(world, msg_type, said)
    return msg_type, content, []


def _text(world: World, said: Json) -> tuple[str, str, list[Json]]:
    """`<at user_id="ou_x">` becomes `@_user_1`; an unknown id leaves only the name."""
    if not isinstance(said.get("text"), str) or not said["text"]:
        raise PlatformError(230001, "ext=text is required")
    mentions: list[Json] = []

    def replace(found: re.Match[str]) -> str:
        value = html.unescape(found[1])
        if value == "all":
            return "@_all"
        person = any_person(world, value)
        if person is None and value != world.config.bot_open_id:
            return found[2]
        mentions.append(world.mention(len(mentions) + 1, person["open_id"] if person else value))
        return str(mentions[-1]["key"])

    text = AT.sub(replace, said["text"])
    return "text", json.dumps({"text": text}, ensure_ascii=False), mentions


def _post(world: World, said: Json) -> tuple[str, str, list[Json]]:
    """People and images in it must exist, and the images be this app's."""
    body = posts.body_of(said)
    people = {value: person for value in posts.mentioned(body) if (person := any_person(world, value))}
    if lost := [
        one for one in posts.mentioned(body) if one not in people and one != world.config.bot_open_id
    ]:
        raise PlatformError(230001, f"ext=invalid user_id in a post: {lost[0]}")
    keys = [one["image_key"] for one in posts.elements(body) if one["tag"] == "img"]
    if any(one["tag"] == "media" for one in posts.elements(body)) or not all(
        knows_image(world, key) for key in keys
    ):
        raise PlatformError(230017)
    content, mentions = posts.kept(world, body, people)
    return "post", content, mentions


NEEDED = {
    "image": "image_key",
    "file": "file_key",
    "audio": "file_key",
    "media": "file_key",
    "sticker": "file_key",
    "share_chat": "chat_id",
    "share_user": "user_id",
}


def _plain(world: World, msg_type: str, said: Json) -> None:
    """The other types: their one key must be there, and an image must be this app's (it has no files)."""
    key = NEEDED.get(msg_type, "")
    if key and not (isinstance(said.get(key), str) and said[key]):
        raise PlatformError(230001, f"ext={key} is required")
    if msg_type == "share_chat" and not ((chat := world.chat(said["chat_id"])) and chat["bot_in"]):
        raise PlatformError(230001, "ext=invalid chat_id")
    if msg_type == "share_user" and find(world, "open_id", said["user_id"]) is None:
        raise PlatformError(230001, "ext=invalid user_id")
    if (msg_type == "image" and not knows_image(world, said["image_key"])) or key == "file_key":
        raise PlatformError(230017)


def degraded(content: str) -> str:
    """The card as history gives it without card_msg_content_type: a title and lines of texts and buttons."""
    card = json.loads(content)
    header, body = card.get("header"), card.get("body")
    title = header.get("title") if isinstance(header, dict) else None
    title = title.get("content", "") if isinstance(title, dict) else ""
    elements = (body if isinstance(body, dict) else card).get("elements") or []
    lines = [line for element in elements if (line := _line(element))]
    return json.dumps({"title": title, "elements": lines}, ensure_ascii=False)


def _line(node: Any) -> list[Json]:
    if isinstance(node, list):
        return [part for item in node for part in _line(item)]
    if not isinstance(node, dict):
        return []
    tag, text = node.get("tag"), node.get("text")
    if tag == "button" and isinstance(text, dict):
        return [{"tag": "button", "text": text.get("content", ""), "type": node.get("type", "default")}]
    if tag == "img":
        return [{"tag": "img", "image_key": node.get("img_key", "")}]
    if tag == "hr":
        return [{"tag": "hr"}]
    if isinstance(node.get("content"), str):
        return [{"tag": "text", "text": node["content"]}]
    return [
        part for key in ("text", "fields", "elements", "columns", "actions") for part in _line(node.get(key))
    ]
