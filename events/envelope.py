"""What Feishu pushes, verified, decrypted and read into one shape; touches neither database nor network.

Sources: feishu-platform.md 1.2 (challenge), 1.3 (envelopes), 1.4 (encryption), 1.5 (signatures).
"""

import base64
import binascii
import hashlib
import hmac
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from .sealed import Secret

Json = dict[str, Any]

APP_TICKET = "app_ticket"
DEPTH = 200  # Feishu's events are some ten levels deep; far more breaks what has to read them later
ID_LENGTH = 128  # Feishu's ids are far shorter; the database columns hold this much

# Where the events carry the chat and the person who acted; the first path that holds text wins.
CHAT_PATHS = ("chat_id", "message.chat_id", "context.open_chat_id", "open_chat_id")
ACTOR_PATHS = (
    "operator_id.open_id",
    "operator.open_id",
    "operator.operator_id.open_id",
    "sender.sender_id.open_id",
    "user_id.open_id",
    "reader.reader_id.open_id",
    "user.open_id",
    "open_id",
)


class Receiver(Protocol):
    """What of a bot is needed to open its envelopes."""

    app_id: str
    verification_token: Secret
    encrypt_key: Secret


class RefusedError(Exception):
    """The request is not from Feishu, or not for this bot; the reason is for the operator only."""


@dataclass(frozen=True)
class Challenge:
    """Feishu asks, when a request URL is saved, to have this text sent back."""

    challenge: str


@dataclass(frozen=True)
class Envelope:
    """One event, v1.0 and v2.0 alike. `body` is the whole JSON without its token, `payload` its `event` part."""

    event_id: str
    event_type: str
    schema: str
    created_at: datetime | None
    tenant_key: str
    app_id: str
    chat_id: str
    actor_open_id: str
    dedup_key: str
    body: Json

    @property
    def payload(self) -> Json:
        return _object(self.body.get("event"))

    @property
    def identifiers(self) -> tuple[str, ...]:
        return (
            self.event_id,
            self.event_type,
            self.dedup_key,
            self.tenant_key,
            self.chat_id,
            self.actor_open_id,
        )


def open_envelope(
    bot: Receiver, headers: Mapping[str, str], body: bytes, *, now: datetime, max_age: timedelta
) -> Envelope | Challenge:
    """Verifies, decrypts and parses a request body; raises RefusedError.

    Order: signature over the raw bytes, decryption, token, JSON object, app id. A challenge is the only thing
    that Feishu may send unsigned, so an unsigned body is opened only to see whether it is exactly that.
    """
    encrypt_key = bot.encrypt_key.reveal()
    signed = "X-Lark-Signature" in headers
    if encrypt_key and signed:
        _check_signature(headers, body, encrypt_key, now, max_age)
    document = _json_object(body)
    if encrypt_key:
        document = _json_object(_decrypt(document.get("encrypt"), encrypt_key))
    _check_token(document, bot.verification_token.reveal())
    if document.get("type") == "url_verification":
        return _challenge(document)
    if encrypt_key and not signed:
        raise RefusedError("the signature headers are missing")
    return read_envelope(document, bot.app_id)


def open_frame(bot: Receiver, payload: bytes) -> Envelope:
    """The event in a frame of the long connection, which vouches for the sender; raises RefusedError.

    The payload is plain JSON; one that is encrypted all the same (reported, not documented) is decrypted.
    """
    document = _json_object(payload)
    if "encrypt" in document:
        document = _json_object(_decrypt(document["encrypt"], bot.encrypt_key.reveal()))
    return read_envelope(document, bot.app_id)


def read_envelope(document: Json, app_id: str) -> Envelope:
    """The parsed JSON of a v1.0 or v2.0 event as an Envelope; raises RefusedError. Removes the token."""
    if "schema" in document:
        envelope = _read_v2(document)
    elif "uuid" in document:
        envelope = _read_v1(document)
    else:
        raise RefusedError("neither a v1.0 event (uuid) nor a v2.0 event (schema)")
    if not envelope.event_id or not envelope.event_type:
        raise RefusedError("the event has no id or no type")
    if any(len(text) > ID_LENGTH for text in envelope.identifiers):
        raise RefusedError(f"an id of the event is longer than {ID_LENGTH} characters")
    if envelope.app_id != app_id:
        raise RefusedError(f"the event is for app {envelope.app_id[:40] or '(none)'}, not for this bot's app")
    return envelope


def dig(document: Any, path: str) -> Any:
    """The value at a dotted path, or None where the path ends early."""
    for name in path.split("."):
        document = document.get(name) if isinstance(document, dict) else None
    return document


def text_at(document: Any, *paths: str) -> str:
    """The first non-empty text at one of the paths, or ""."""
    return next((value for path in paths if isinstance(value := dig(document, path), str) and value), "")


def parse_time(value: object) -> datetime | None:
    """Feishu's times: seconds ("1502199207.71"), ms (13 digits) or µs (16 digits), told apart by magnitude."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    if not 0 < number < 1e17:
        return None
    divisor = 1 if number < 1e11 else 1e3 if number < 1e14 else 1e6
    return datetime.fromtimestamp(number / divisor, UTC)


def _check_signature(
    headers: Mapping[str, str], body: bytes, key: str, now: datetime, max_age: timedelta
) -> None:
    timestamp = headers.get("X-Lark-Request-Timestamp", "")
    nonce = headers.get("X-Lark-Request-Nonce", "")
    expected = hashlib.sha256((timestamp + nonce + key).encode() + body).hexdigest()
    if not hmac.compare_digest(expected.encode(), headers["X-Lark-Signature"].encode()):
        raise RefusedError("the signature does not match: is the Encrypt Key the one in Feishu's console?")
    sent_at = parse_time(timestamp)
    if sent_at is None or abs(now - sent_at) > max_age:
        raise RefusedError("the signature's timestamp is too far from now: replayed, or a clock is wrong")


def _decrypt(encrypted: object, key: str) -> bytes:
    if not isinstance(encrypted, str):
        raise RefusedError("the body is not encrypted, but this bot has an Encrypt Key")
    try:
        data = base64.b64decode(encrypted, validate=True)
        decryptor = Cipher(
            algorithms.AES256(hashlib.sha256(key.encode()).digest()), modes.CBC(data[:16])
        ).decryptor()
        padded = decryptor.update(data[16:]) + decryptor.finalize()
        unpadder = PKCS7(128).unpadder()
        return unpadder.update(padded) + unpadder.finalize()
    except (ValueError, binascii.Error) as error:
        raise RefusedError(
            "the body does not decrypt: is the Encrypt Key the one in Feishu's console?"
        ) from error


def _json_object(data: bytes) -> Json:
    try:
        text = data.decode()  # strictly UTF-8: json would guess other encodings
        document = json.loads(text, parse_float=_finite, parse_constant=_finite)
        if data.count(b"[") + data.count(b"{") > DEPTH and _is_deeper(document, DEPTH):
            raise RefusedError("the body is nested too deeply")
        if "\\u" in text:
            document = _storable(document)
    except (ValueError, RecursionError) as error:
        raise RefusedError("the body is not JSON") from error
    if not isinstance(document, dict):
        raise RefusedError("the body is not a JSON object")
    return document


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)  # PostgreSQL's jsonb has no NaN and no Infinity
    return number


def _is_deeper(value: Any, levels: int) -> bool:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(levels == 0 or _is_deeper(child, levels - 1) for child in children)


def _storable(value: Any) -> Any:
    """Without NUL and lone surrogates, which JSON can spell but PostgreSQL's jsonb refuses."""
    if isinstance(value, dict):
        return {_storable(name): _storable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    return value


def inner_object(text: object) -> Json:
    """The JSON object that a string of a payload holds, as a message's content does; {} where it holds none.

    Its escapes are escaped once more outside, so the door has not seen what they spell.
    """
    try:
        document = _storable(json.loads(text)) if isinstance(text, str) else {}
    except (ValueError, RecursionError):
        return {}
    return _object(document)


def _check_token(document: Json, expected: str) -> None:
    if not expected:
        raise RefusedError("this bot has no Verification Token yet: enter it in the admin")
    token = text_at(document, "header.token" if "schema" in document else "token")
    if not hmac.compare_digest(token.encode(), expected.encode()):
        raise RefusedError("the token does not match: is the Verification Token the one in Feishu's console?")


def _challenge(document: Json) -> Challenge:
    challenge = document.get("challenge")
    if not isinstance(challenge, str):
        raise RefusedError("the challenge is not text")
    return Challenge(challenge)


def _read_v2(document: Json) -> Envelope:
    header, payload = _object(document.get("header")), _object(document.get("event"))
    event_id, event_type = text_at(header, "event_id"), text_at(header, "event_type")
    # One message may be pushed under two event ids: Feishu says to go by its message_id.
    message_id = _message_key(payload) if event_type == "im.message.receive_v1" else ""
    return Envelope(
        event_id=event_id,
        event_type=event_type,
        schema=str(document["schema"])[:10],
        created_at=parse_time(header.get("create_time")),
        tenant_key=text_at(header, "tenant_key"),
        app_id=text_at(header, "app_id"),
        chat_id=text_at(payload, *CHAT_PATHS),
        actor_open_id=text_at(payload, *ACTOR_PATHS),
        dedup_key=message_id or event_id,
        body={**_without_token(document), "header": _without_token(header)},
    )


def _read_v1(document: Json) -> Envelope:
    payload = _object(document.get("event"))
    event_id = text_at(document, "uuid")
    return Envelope(
        event_id=event_id,
        event_type=text_at(payload, "type"),
        schema="1.0",
        created_at=parse_time(document.get("ts")),
        tenant_key=text_at(payload, "tenant_key"),
        app_id=text_at(payload, "app_id"),
        chat_id=text_at(payload, *CHAT_PATHS),
        actor_open_id=text_at(payload, *ACTOR_PATHS),
        dedup_key=event_id,
        body=_without_token(_with_ticket_sealed(document)),
    )


def _with_ticket_sealed(document: Json) -> Json:
    """A store app's app_ticket is a secret: nothing behind this door sees it in the clear."""
    payload = _object(document.get("event"))
    if text_at(payload, "type") != APP_TICKET:
        return document
    sealed = Secret.seal(text_at(payload, "app_ticket")).sealed
    return {**document, "event": {**payload, "app_ticket": sealed}}


def _message_key(payload: Json) -> str:
    """A message's id; one that was edited since is told apart from what it was."""
    message_id, edited_at = text_at(payload, "message.message_id"), text_at(payload, "message.update_time")
    if not message_id or edited_at in ("", text_at(payload, "message.create_time")):
        return message_id
    return f"{message_id} {edited_at}"


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _without_token(document: Json) -> Json:
    return {name: value for name, value in document.items() if name != "token"}
