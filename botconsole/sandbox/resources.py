"""What people send besides words: images and files are stored here, and the app downloads them again."""

import json
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from botconsole.sandbox import posts
from botconsole.sandbox.call import Call, invalid
from botconsole.sandbox.errors import PlatformError
from botconsole.sandbox.history import known
from botconsole.sandbox.store import Row, new_id
from botconsole.sandbox.world import World

Json = dict[str, Any]
# Which keys of a message's content name a resource, and by which type it is asked for.
HOLDERS = {
    "image": (("image_key", "image"),),
    "file": (("file_key", "file"),),
    "audio": (("file_key", "file"),),
    "media": (("file_key", "file"), ("image_key", "image")),
}


def add_image(world: World, data: bytes, media_type: str) -> str:
    """Stores a person's image; it is not the app's, so no card of the app may use its key."""
    key = new_id("img_v3")
    world.store.insert("images", image_key=key, app_id="", media_type=media_type, data=data)
    return key


def add_file(world: World, name: str, data: bytes) -> str:
    key = new_id("file_v3")
    world.store.insert("files", file_key=key, name=name, data=data)
    return key


def held(message: Row) -> dict[str, str]:
    """The resource keys in a message, each with its type; of other kinds (cards, stickers) 234043."""
    content: Json = json.loads(message["content"])
    if message["msg_type"] == "post":
        return {one["image_key"]: "image" for one in posts.elements(content) if one["tag"] == "img"}
    if message["msg_type"] not in HOLDERS:
        raise PlatformError(234043)
    return {str(content.get(name)): kind for name, kind in HOLDERS[message["msg_type"]] if content.get(name)}


def download(world: World, call: Call) -> Response:
    """The bytes, with the name in Content-Disposition."""
    kind = call.query.get("type") or ""
    if kind not in ("image", "file"):
        raise invalid("type", "type must be image or file", 234001)
    message = known(world, call.params["message_id"])
    chat = world.must_chat(message["chat_id"])
    if not chat["bot_in"] or chat["status"] != "normal":
        raise PlatformError(234004)
    if message["deleted"]:
        raise PlatformError(230011)
    key = call.params["file_key"]
    keys = held(message)
    if key not in keys:
        raise PlatformError(234003)
    if keys[key] != kind:
        raise PlatformError(234001, f"ext=the resource is a {keys[key]}")
    return served(world, key, kind)


def served(world: World, key: str, kind: str) -> Response:
    """A stored image or file as an answer; a file is always a download."""
    table, column = ("images", "image_key") if kind == "image" else ("files", "file_key")
    found = world.store.row(f"SELECT * FROM {table} WHERE {column} = ?", key)  # noqa: S608 (out of two)
    if found is None:
        raise LookupError(f"no {kind} {key}")
    if kind == "image":
        media_type = found["media_type"]
        name = f"{key}.{media_type.rpartition('/')[2]}"
    else:
        media_type, name = "application/octet-stream", found["name"]
    plain = "".join(one if one.isascii() and one.isprintable() and one not in '"\\' else "_" for one in name)
    disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
    headers = {"Content-Disposition": disposition, "Cache-Control": "max-age=3600"}
    return Response(bytes(found["data"]), media_type=media_type, headers=headers)
