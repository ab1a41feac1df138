"""Pictures for an alert card: what Feishu takes (im/v1/images), told by their first bytes."""

import re

MAX_BYTES = 10 * 1024 * 1024
KINDS = {
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "JPEG": rb"\xff\xd8\xff",
    "GIF": rb"GIF8[79]a",
    "WEBP": rb"RIFF.{4}WEBP",
    "BMP": rb"BM.{12}",
    "TIFF": rb"II\*\x00|MM\x00\*",
    "ICO": rb"\x00\x00\x01\x00",
    "HEIC": rb".{4}ftyp(?:hei[cxms]|hev[cx]|mif1|msf1)",
}


def kind_of(content: bytes) -> str:
    """The picture's format, or "" for what Feishu would refuse."""
    return next((kind for kind, start in KINDS.items() if re.match(start, content, re.DOTALL)), "")
