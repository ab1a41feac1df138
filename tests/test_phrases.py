"""Texts in one line, durations, and what is a picture."""

import struct
from datetime import timedelta

import pytest
from django.utils import translation

from incidents.images import kind_of
from incidents.phrases import duration, one_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a \u202ecba\u202c b", "a cba b"),
        ("\u2066x\u2069\u200f\u061c", "x"),
        ("a\x07b\x1b[31m", "ab[31m"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("two\n lines\t", "two lines"),
        ("👨\u200d👩\u200d👧 down", "👨\u200d👩\u200d👧 down"),
        ("a\u200db", "ab"),
        ("❤\ufe0f", "❤\ufe0f"),
        ("שלום", "שלום"),
    ],
)
def test_a_title_is_one_line_without_what_nobody_sees(text: str, line: str) -> None:
    assert one_line(text) == line


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "–"), (0, "0 s"), (59, "59 s"), (60, "1 min"), (3600, "1 h"), (3661, "1 h 1 min"), (-5, "0 s")],
)
def test_a_duration_in_two_units(seconds: int | None, words: str) -> None:
    with translation.override("en"):
        assert duration(None if seconds is None else timedelta(seconds=seconds)) == words


BMP = b"BM" + struct.pack("<IHHII", 100, 0, 0, 54, 40) + b"\0" * 40


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (BMP, "BMP"),
        (b"BMW drives into a wall, said the alert", ""),
        (BMP[:6] + b"\1" + BMP[7:], ""),
        (b"\0\0\1\0\1\0\x10\x10\0\0" + b"\0" * 12, "ICO"),
        (b"\0\0\1\0\0\0\0\0\0\0", ""),
        (b"", ""),
    ],
)
def test_pictures_are_told_by_their_whole_header(content: bytes, kind: str) -> None:
    assert kind_of(content) == kind
