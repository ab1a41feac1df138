"""Pictures for an alert card: what Feishu takes (im/v1/images), told by their first bytes."""

import base64
import binascii
import re
from typing import Any

from django.utils.translation import gettext_lazy as _

MAX_BYTES = 10 * 1024 * 1024
WHY = {
    "base64": _("This is not base64."),
    "large": _("The image is larger than 10 MB."),
    "format": _("No image that Feishu takes: PNG, JPEG, GIF, WEBP, BMP, TIFF, ICO, HEIC."),
}
KINDS = {
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "JPEG": rb"\xff\xd8\xff",
    "GIF": rb"GIF8[79]a",
    "WEBP": rb"RIFF.{4}WEBP",
    # File header (its reserved bytes are 0), then the size of one of the known picture headers.
    "BMP": rb"BM.{4}\x00{4}.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\x00{3}",
    "TIFF": rb"II\*\x00|MM\x00\*",
    "ICO": rb"\x00\x00\x01\x00(?!\x00\x00).{2}.{3}\x00",  # 1 to 65535 pictures, the first with its reserved byte
    "HEIC": rb".{4}ftyp(?:hei[cxms]|hev[cx]|mif1|msf1)",
}


def kind_of(content: bytes) -> str:
    """The picture's format, or "" for what Feishu would refuse."""
    return next((kind for kind, start in KINDS.items() if re.match(start, content, re.DOTALL)), "")


class ImageError(ValueError):
    """What was given is no picture for a card; `code` is a key of WHY."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def from_base64(value: Any) -> bytes:
    """The picture from base64, with or without `data:image/...;base64,` before it."""
    if not isinstance(value, str):
        raise ImageError("base64")
    text = "".join(value[value.startswith("data:") and value.find(",") + 1 :].split())
    if len(text) > (MAX_BYTES + 2) // 3 * 4:
        raise ImageError("large")
    try:
        image = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ImageError("base64") from None
    if len(image) > MAX_BYTES:
        raise ImageError("large")
    if not kind_of(image):
        raise ImageError("format")
    return image
