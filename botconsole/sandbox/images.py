"""Image upload: really stored, its kind read from the bytes; also a small reader of multipart bodies."""

import re
from email.parser import Parser
from email.policy import HTTP
from typing import Any

from botconsole.sandbox.call import Call, Upload
from botconsole.sandbox.errors import PlatformError
from botconsole.sandbox.store import new_id
from botconsole.sandbox.world import World

BOUNDARY = re.compile(r'boundary=(?:"([^"]+)"|([^;\s]+))', re.IGNORECASE)
LARGEST_BYTES = 10 * 1024 * 1024
KINDS: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("image/png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("image/jpeg", re.compile(rb"\xff\xd8\xff")),
    ("image/gif", re.compile(rb"GIF8[79]a")),
    ("image/webp", re.compile(rb"RIFF....WEBP", re.DOTALL)),
    ("image/bmp", re.compile(rb"BM")),
    ("image/x-icon", re.compile(rb"\x00\x00\x01\x00")),
    ("image/tiff", re.compile(rb"II\*\x00|MM\x00\*")),
    ("image/heic", re.compile(rb"....ftyp(heic|heix|mif1|hevc)", re.DOTALL)),
)


def sniff(data: bytes) -> str:
    """The media type by the first bytes, '' if it is no image the platform takes."""
    return next((media_type for media_type, head in KINDS if head.match(data)), "")


def upload(world: World, call: Call) -> dict[str, Any]:
    if call.body.get("image_type") not in ("message", "avatar"):
        raise PlatformError(234001, "ext=image_type must be message or avatar")
    image = call.files.get("image")
    if image is None:
        raise PlatformError(234001, "ext=image is required")
    if not image.data:
        raise PlatformError(234010)
    if len(image.data) > LARGEST_BYTES:
        raise PlatformError(234006)
    media_type = sniff(image.data)
    if not media_type:
        raise PlatformError(234011)
    if _too_wide(media_type, image.data, 4096 if call.body["image_type"] == "avatar" else 12000):
        raise PlatformError(234039)
    key = new_id("img_v3")
    world.store.insert(
        "images", image_key=key, app_id=world.config.app_id, media_type=media_type, data=image.data
    )
    return {"image_key": key}


def _too_wide(media_type: str, data: bytes, most: int) -> bool:
    """Only of PNG and GIF, whose size stands at a fixed place."""
    if media_type == "image/png":
        return any(int.from_bytes(data[at : at + 4], "big") > most for at in (16, 20))
    if media_type == "image/gif":
        return any(int.from_bytes(data[at : at + 2], "little") > min(most, 2000) for at in (6, 8))
    return False


def read_multipart(content_type: str, body: bytes) -> tuple[dict[str, Any], dict[str, Upload]]:
    """The fields and files of a multipart/form-data body, byte for byte."""
    fields: dict[str, Any] = {}
    files: dict[str, Upload] = {}
    found = BOUNDARY.search(content_type)
    parts = (b"\r\n" + body).split(b"\r\n--" + (found[1] or found[2]).encode()) if found else []
    for part in parts[1:]:
        head, _, data = part.partition(b"\r\n\r\n")
        told = Parser(policy=HTTP).parsestr(head.decode(errors="replace").strip(), headersonly=True)
        name = told.get_param("name", header="content-disposition")
        if not isinstance(name, str):
            continue
        filename = told.get_filename()
        files[name] = Upload(filename or "", data)  # the SDK names no file
        if filename is None:
            fields[name] = data.decode(errors="replace")
    return fields, files
