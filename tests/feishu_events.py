"""What Feishu pushes, built and sealed as its documentation says; shares no code with what it tests.

Sources: feishu-platform.md 1.3 (envelopes), 1.4 (encryption), 1.5 (signatures), 3.1 (payloads).
"""

import base64
import hashlib
import json
import os
import time
import uuid
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

Json = dict[str, Any]

APP_ID = "cli_test"
APP_SECRET = "secret_test_0123456789"
VERIFICATION_TOKEN = "vt_test"
ENCRYPT_KEY = "ek_test_0123456789"
TENANT_KEY = "tk_test"
CHAT_ID = "oc_test"
CHAT_NAME = "支付值班"
ADA = ("ou_ada", "Ada")
LIN = ("ou_lin", "林小满")


# --- Sealing --------------------------------------------------------------------------------------------
def encrypt(text: str, key: str, iv: bytes | None = None) -> str:
    """base64(iv + AES-256-CBC(PKCS#7(text))), the key being the SHA-256 of the Encrypt Key."""
    iv = iv or os.urandom(16)
    data = text.encode()
    padding = 16 - len(data) % 16
    encryptor = Cipher(algorithms.AES256(hashlib.sha256(key.encode()).digest()), modes.CBC(iv)).encryptor()
    return base64.b64encode(
        iv + encryptor.update(data + bytes([padding]) * padding) + encryptor.finalize()
    ).decode()


def signature_headers(body: bytes, key: str, *, timestamp: str, nonce: str = "") -> dict[str, str]:
    """The three headers of a signed push."""
    nonce = nonce or uuid.uuid4().hex
    digest = hashlib.sha256(timestamp.encode() + nonce.encode() + key.encode() + body).hexdigest()
    return {"X-Lark-Request-Timestamp": timestamp, "X-Lark-Request-Nonce": nonce, "X-Lark-Signature": digest}


def sealed(
    document: Json, key: str, *, encrypted: bool = True, signed: bool = True, now: float | None = None
) -> tuple[bytes, dict[str, str]]:
    """The raw body and the headers of one push, as they travel."""
    text = json.dumps(document, ensure_ascii=False)
    body = json.dumps({"encrypt": encrypt(text, key)}).encode() if encrypted else text.encode()
    timestamp = str(int(time.time() if now is None else now))
    return body, signature_headers(body, key, timestamp=timestamp) if signed else {}


# --- Envelopes ------------------------------------------------------------------------------------------
def challenge(text: str = "c-1", token: str = VERIFICATION_TOKEN) -> Json:
    return {"challenge": text, "token": token, "type": "url_verification"}


def v2(
    event_type: str,
    event: Json,
    *,
    event_id: str = "",
    token: str = VERIFICATION_TOKEN,
    app_id: str = APP_ID,
    created_at: float | None = None,
) -> Json:
    """A v2.0 event, made `created_at` (Unix seconds; default: now)."""
    header = {
        "event_id": event_id or f"ev_{uuid.uuid4().hex}",
        "event_type": event_type,
        "create_time": str(int((created_at or time.time()) * 1000)),
        "token": token,
        "app_id": app_id,
        "tenant_key": TENANT_KEY,
    }
    return {"schema": "2.0", "header": header, "event": event}


def v1(
    event: Json,
    *,
    event_id: str = "",
    token: str = VERIFICATION_TOKEN,
    app_id: str = APP_ID,
    created_at: float | None = None,
) -> Json:
    """A v1.0 event; its `event` part names the type."""
    return {
        "ts": f"{created_at or time.time():.6f}",
        "uuid": event_id or uuid.uuid4().hex,
        "token": token,
        "type": "event_callback",
        "event": {"app_id": app_id, "tenant_key": TENANT_KEY, **event},
    }


def ids(open_id: str) -> Json:
    """A person's three ids, as they stand in events."""
    name = open_id.removeprefix("ou_")
    return {"union_id": f"on_{name}", "user_id": f"u_{name}", "open_id": open_id}


# --- Events ---------------------------------------------------------------------------------------------
def member_joined(
    *users: tuple[str, str], chat_id: str = CHAT_ID, chat_name: str = CHAT_NAME, **envelope: Any
) -> Json:
    """One event for all `(open_id, name)` that joined together; Ada alone if none are given."""
    event = {
        **_in_group(chat_id, chat_name),
        "users": [
            {"name": name, "tenant_key": TENANT_KEY, "user_id": ids(open_id)}
            for open_id, name in users or (ADA,)
        ],
    }
    return v2("im.chat.member.user.added_v1", event, **envelope)


def p2p_chat_create(user: tuple[str, str] = ADA, *, chat_id: str = "oc_p2p", **envelope: Any) -> Json:
    """v1.0: a person opened the first conversation with the bot."""
    open_id, name = user
    person = {"open_id": open_id, "user_id": ids(open_id)["user_id"]}
    event = {
        "type": "p2p_chat_create",
        "chat_id": chat_id,
        "operator": person,
        "user": {"name": name, **person},
    }
    return v1(event, **envelope)


def bot_entered(user: tuple[str, str] = ADA, *, chat_id: str = "oc_p2p", **envelope: Any) -> Json:
    """A person opened the conversation with the bot; pushed every time."""
    event = {
        "chat_id": chat_id,
        "operator_id": ids(user[0]),
        "last_message_id": "",
        "last_message_create_time": "",
    }
    return v2("im.chat.access_event.bot_p2p_chat_entered_v1", event, **envelope)


def bot_added(*, chat_id: str = CHAT_ID, chat_name: str = CHAT_NAME, **envelope: Any) -> Json:
    """The bot was added to a group."""
    return v2("im.chat.member.bot.added_v1", _in_group(chat_id, chat_name), **envelope)


def message_received(
    text: str = "hello",
    *,
    sender: tuple[str, str] = ADA,
    chat_id: str = CHAT_ID,
    chat_type: str = "group",
    message_id: str = "",
    **envelope: Any,
) -> Json:
    """A person wrote a text."""
    moment = str(int((envelope.get("created_at") or time.time()) * 1000))
    message = {
        "message_id": message_id or f"om_{uuid.uuid4().hex}",
        "create_time": moment,
        "update_time": moment,
        "chat_id": chat_id,
        "chat_type": chat_type,
        "message_type": "text",
        "content": json.dumps({"text": text}, ensure_ascii=False),
    }
    author = {"sender_id": ids(sender[0]), "sender_type": "user", "tenant_key": TENANT_KEY}
    return v2("im.message.receive_v1", {"sender": author, "message": message}, **envelope)


def _in_group(chat_id: str, name: str) -> Json:
    return {
        "chat_id": chat_id,
        "operator_id": ids("ou_operator"),
        "external": False,
        "operator_tenant_key": TENANT_KEY,
        "name": name,
        "i18n_names": {"zh_cn": name, "en_us": "", "ja_jp": ""},
    }
