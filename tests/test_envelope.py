"""Verification, decryption and reading of what Feishu pushes, without a database."""

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from events.envelope import Challenge, Envelope, RefusedError, _decrypt, open_envelope, open_frame, parse_time
from events.sealed import Secret
from tests import feishu_events
from tests.feishu_events import member_joined, message_received, p2p_chat_create

NOW = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)
KEY, TOKEN, APP = "ek_test", "vt_test", "cli_test"


@dataclass(frozen=True)
class Receiver:
    app_id: str
    verification_token: Secret
    encrypt_key: Secret


def encrypt(document: Any, key: str) -> bytes:
    return json.dumps({"encrypt": feishu_events.encrypt(json.dumps(document), key)}).encode()


def sign(body: bytes, key: str, at: datetime) -> dict[str, str]:
    return feishu_events.signature_headers(body, key, timestamp=str(int(at.timestamp())))


def receiver(key: str = KEY, token: str = TOKEN, app_id: str = APP) -> Receiver:
    return Receiver(app_id, Secret.seal(token), Secret.seal(key))


def opened(bot: Receiver, headers: dict[str, str], body: bytes) -> Envelope | Challenge:
    return open_envelope(bot, headers, body, now=NOW, max_age=timedelta(hours=8))


def pushed(document: dict[str, Any], key: str = KEY, at: datetime = NOW) -> tuple[dict[str, str], bytes]:
    body = encrypt(document, key)
    return sign(body, key, at), body


def test_the_test_vector_of_feishus_documentation_decrypts() -> None:
    assert _decrypt("P37w+VZImNgPEO1RBhJ6RtKl7n6zymIbEG1pReEzghk=", "test key") == b"hello world"


def test_a_v2_event_becomes_an_envelope() -> None:
    envelope = opened(
        receiver(), *pushed(member_joined(app_id=APP, token=TOKEN, event_id="ev_1", chat_id="oc_1"))
    )
    assert isinstance(envelope, Envelope)
    assert (envelope.event_id, envelope.schema, envelope.chat_id) == ("ev_1", "2.0", "oc_1")
    assert envelope.event_type == "im.chat.member.user.added_v1"


def test_a_v1_event_becomes_an_envelope_with_its_uuid_as_id() -> None:
    envelope = opened(receiver(), *pushed(p2p_chat_create(app_id=APP, token=TOKEN, event_id="uuid-1")))
    assert isinstance(envelope, Envelope)
    assert (envelope.event_id, envelope.schema, envelope.event_type) == ("uuid-1", "1.0", "p2p_chat_create")


def test_a_message_is_told_apart_by_its_message_id() -> None:
    envelope = opened(receiver(), *pushed(message_received(app_id=APP, token=TOKEN, message_id="om_7")))
    assert isinstance(envelope, Envelope)
    assert envelope.dedup_key == "om_7"


@pytest.mark.parametrize(
    "document", [member_joined(app_id=APP, token=TOKEN), p2p_chat_create(app_id=APP, token=TOKEN)]
)
def test_the_token_is_removed_from_what_will_be_stored(document: dict[str, Any]) -> None:
    envelope = opened(receiver(), *pushed(document))
    assert isinstance(envelope, Envelope)
    assert TOKEN not in json.dumps(envelope.body)


@pytest.mark.parametrize(
    "text", ["1502199207.7171419", "1502199207717", "1502199207717141", 1502199207, 1502199207.7171419]
)
def test_seconds_milliseconds_and_microseconds_are_told_apart_by_magnitude(text: object) -> None:
    parsed = parse_time(text)
    assert parsed is not None
    assert abs(parsed - datetime(2017, 8, 8, 13, 33, 27, tzinfo=UTC)) < timedelta(seconds=1)


@pytest.mark.parametrize("text", ["", "soon", None, "-1", "nan", "1e30", [], {}])
def test_a_time_that_is_none_is_none(text: object) -> None:
    assert parse_time(text) is None


def refused(bot: Receiver, headers: dict[str, str], body: bytes) -> str:
    with pytest.raises(RefusedError) as error:
        opened(bot, headers, body)
    return str(error.value)


def test_a_wrong_signature_is_refused() -> None:
    headers, body = pushed(member_joined(app_id=APP, token=TOKEN))
    assert "signature does not match" in refused(receiver(), headers, body + b" ")


def test_a_signature_is_checked_before_anything_is_decrypted() -> None:
    headers, _ = pushed(member_joined(app_id=APP, token=TOKEN))
    assert "signature" in refused(receiver(), headers, b'{"encrypt": "garbage"}')


@pytest.mark.parametrize("hours", [-9, 9])
def test_a_signature_of_another_day_is_refused(hours: int) -> None:
    headers, body = pushed(member_joined(app_id=APP, token=TOKEN), at=NOW + timedelta(hours=hours))
    assert "too far from now" in refused(receiver(), headers, body)


def test_a_signature_of_the_last_redelivery_is_accepted() -> None:
    assert opened(receiver(), *pushed(member_joined(app_id=APP, token=TOKEN), at=NOW - timedelta(hours=7)))


def test_an_unsigned_event_is_refused_although_it_decrypts() -> None:
    assert "missing" in refused(receiver(), {}, encrypt(member_joined(app_id=APP, token=TOKEN), KEY))


def test_a_plain_event_is_refused_by_a_bot_with_a_key_even_if_signed() -> None:
    body = json.dumps(member_joined(app_id=APP, token=TOKEN)).encode()
    assert "not encrypted" in refused(receiver(), sign(body, KEY, NOW), body)


def test_a_plain_event_is_accepted_by_a_bot_without_a_key() -> None:
    body = json.dumps(member_joined(app_id=APP, token=TOKEN)).encode()
    assert isinstance(opened(receiver(key=""), {}, body), Envelope)


def test_a_wrong_token_is_refused() -> None:
    headers, body = pushed(member_joined(app_id=APP, token="vt_other"))
    assert "token does not match" in refused(receiver(), headers, body)


def test_a_bot_without_a_token_accepts_nothing() -> None:
    body = json.dumps(member_joined(app_id=APP, token="")).encode()
    assert "no Verification Token" in refused(receiver(key="", token=""), {}, body)


def test_an_event_of_another_app_is_refused() -> None:
    headers, body = pushed(member_joined(app_id="cli_other", token=TOKEN))
    assert "cli_other" in refused(receiver(), headers, body)


def test_an_encrypted_challenge_is_answered_without_a_signature() -> None:
    challenge = {"type": "url_verification", "token": TOKEN, "challenge": 'a"b'}
    assert opened(receiver(), {}, encrypt(challenge, KEY)) == Challenge('a"b')


def test_a_plain_challenge_is_refused_by_a_bot_with_a_key() -> None:
    body = json.dumps({"type": "url_verification", "token": TOKEN, "challenge": "c"}).encode()
    assert "not encrypted" in refused(receiver(), {}, body)


def test_a_plain_challenge_is_answered_by_a_bot_without_a_key() -> None:
    body = json.dumps({"type": "url_verification", "token": TOKEN, "challenge": "c"}).encode()
    assert opened(receiver(key=""), {}, body) == Challenge("c")


def test_a_challenge_with_a_wrong_token_is_refused() -> None:
    body = encrypt({"type": "url_verification", "token": "vt_other", "challenge": "c"}, KEY)
    assert "token does not match" in refused(receiver(), {}, body)


def _bad_padding() -> bytes:
    data = bytearray(base64.b64decode(json.loads(encrypt({"a": 1}, KEY))["encrypt"]))
    data[15] ^= 0xFF
    return json.dumps({"encrypt": base64.b64encode(bytes(data)).decode()}).encode()


GARBAGE = {
    "nothing": b"",
    "not JSON": b"{",
    "not UTF-8": b"\xff\xfe\xfa",
    "a list": b"[]",
    "a number": b"1",
    "null": b"null",
    "too deep": b"[" * 100_000,
    "NaN": b'{"a": NaN}',
    "an infinite number": b'{"a": 1e999}',
    "encrypt is a number": b'{"encrypt": 1}',
    "encrypt is not base64": b'{"encrypt": "***"}',
    "encrypt is too short": b'{"encrypt": "YWJj"}',
    "half a block": json.dumps({"encrypt": base64.b64encode(b"x" * 40).decode()}).encode(),
    "bad padding": _bad_padding(),
    "encrypted, not JSON": json.dumps({"encrypt": feishu_events.encrypt("{", KEY)}).encode(),
}


@pytest.mark.parametrize("body", GARBAGE.values(), ids=GARBAGE.keys())
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("key", [KEY, ""])
def test_garbage_is_refused_and_never_raises_anything_else(body: bytes, signed: bool, key: str) -> None:
    assert refused(receiver(key=key), sign(body, KEY, NOW) if signed else {}, body)


SHAPES: list[dict[str, Any]] = [
    {"schema": "2.0"},
    {"schema": "2.0", "header": None},
    {"schema": "2.0", "header": {"token": TOKEN, "app_id": APP}},
    {"schema": "2.0", "header": {"token": TOKEN, "app_id": APP, "event_id": 1, "event_type": []}},
    {"schema": "2.0", "header": {"token": TOKEN, "app_id": APP, "event_id": "e" * 200, "event_type": "t"}},
    {"token": TOKEN},
    {"token": TOKEN, "uuid": "u", "event": "text"},
    {"token": TOKEN, "type": "url_verification", "challenge": 7},
    {"token": {"a": 1}, "uuid": "u"},
]


@pytest.mark.parametrize("document", SHAPES)
def test_json_of_a_wrong_shape_is_refused(document: dict[str, Any]) -> None:
    assert refused(receiver(), *pushed(document))


def test_characters_that_postgresql_cannot_store_are_replaced() -> None:
    body = json.dumps(member_joined(("ou_a", "a\0b\ud800c"), app_id=APP, token=TOKEN)).encode()
    envelope = opened(receiver(key=""), {}, body)
    assert isinstance(envelope, Envelope)
    assert envelope.payload["users"][0]["name"] == "a\ufffdb?c"


def test_a_frame_needs_neither_signature_nor_token() -> None:
    envelope = open_frame(
        receiver(), json.dumps(member_joined(app_id=APP, token="", event_id="ev_9")).encode()
    )
    assert envelope.event_id == "ev_9"


def test_a_frame_that_is_encrypted_all_the_same_is_opened() -> None:
    assert (
        open_frame(receiver(), encrypt(member_joined(app_id=APP, token="", event_id="ev_9"), KEY)).event_id
        == "ev_9"
    )
