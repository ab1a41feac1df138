"""Posts: the shape the app sends (a locale outermost, `md` allowed) and the one that is kept and received."""

import json
from typing import Any

from botconsole.sandbox.errors import PlatformError
from botconsole.sandbox.store import Row
from botconsole.sandbox.world import World

Json = dict[str, Any]
# tag -> the keys it must have as texts
TAGS: dict[str, tuple[str, ...]] = {
    "text": ("text",),
    "md": ("text",),
    "a": ("text", "href"),
    "at": ("user_id",),
    "img": ("image_key",),
    "media": ("file_key",),
    "emotion": ("emoji_type",),
    "code_block": ("text",),
    "hr": (),
}


def body_of(said: Json) -> Json:
    """The first locale of what the app sends; without one it is no post."""
    bodies = [body for body in said.values() if isinstance(body, dict)]
    if "content" in said or not bodies or len(bodies) != len(said):
        raise PlatformError(230001, "ext=a post needs a locale as its outermost key, with title and content")
    for body in bodies:
        check(body)
    return dict(said.get("zh_cn") or bodies[0])


def check(body: Json) -> None:
    """title is a text, content a list of lines, each a list of elements with known tags."""
    lines = body.get("content")
    if not isinstance(body.get("title", ""), str):
        raise PlatformError(230001, "ext=title must be a string")
    if not isinstance(lines, list) or not lines or not all(isinstance(line, list) for line in lines):
        raise PlatformError(230001, "ext=content of a post must be a list of lists of elements")
    for element in elements(body):
        tag = element.get("tag") if isinstance(element, dict) else None
        needed = TAGS.get(tag) if isinstance(tag, str) else None
        if needed is None:
            raise PlatformError(230001, f"ext=invalid tag in a post: {tag}")
        if not all(isinstance(element.get(key), str) for key in needed):
            raise PlatformError(230001, f"ext={tag} in a post needs {', '.join(needed)}")
        if tag == "a" and not element["href"].startswith(("http://", "https://")):
            raise PlatformError(230001, "ext=href must begin with http:// or https://")


def elements(body: Json) -> list[Any]:
    return [element for line in body["content"] for element in line]


def kept(world: World, body: Json, people: dict[str, Row]) -> tuple[str, list[Json]]:
    """Content as receivers see it and its mentions: no locale, no `md`, people as `@_user_1`."""
    mentions: list[Json] = []

    def seen(element: Json) -> Json:
        if element["tag"] == "md":
            return {"tag": "text", "text": element["text"], "style": []}
        if element["tag"] == "text":
            return {**element, "style": element.get("style", [])}
        if element["tag"] != "at":
            return element
        user_id = element["user_id"]
        if user_id == "all":
            return {"tag": "at", "user_id": "@_all", "user_name": ""}
        open_id = people[user_id]["open_id"] if user_id in people else world.config.bot_open_id
        mentions.append(world.mention(len(mentions) + 1, open_id))
        return {"tag": "at", "user_id": mentions[-1]["key"], "user_name": mentions[-1]["name"]}

    lines = [[seen(element) for element in line] for line in body["content"]]
    return json.dumps({"title": body.get("title", ""), "content": lines}, ensure_ascii=False), mentions


def mentioned(body: Json) -> list[str]:
    """The ids a post mentions, without `all`."""
    return [one["user_id"] for one in elements(body) if one["tag"] == "at" and one["user_id"] != "all"]


def plain_text(content: Json) -> str:
    """A post as lines of text, for summaries."""
    lines = content.get("content") or []
    texts = ["".join(str(one.get("text") or one.get("user_name") or "") for one in line) for line in lines]
    return " ".join(part for part in (content.get("title", ""), *texts) if part)
