"""The way to the app by HTTP: sealing what is pushed, posting it within the time limits, the challenge."""

import asyncio
import base64
import hashlib
import json
import os
import secrets
import time
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from botconsole.sandbox.config import SandboxConfig
from botconsole.sandbox.posting import Poster, PostError

ANSWER_SECONDS, CHALLENGE_SECONDS = 3.0, 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one push or callback: a status, or the reason there is none."""

    status: int | None
    ms: int
    body: bytes = b""
    error: str = ""


def encrypt(encrypt_key: str, text: bytes) -> str:
    """base64(iv + AES-256-CBC(PKCS#7)), key = SHA-256 of the Encrypt Key."""
    iv, padder = os.urandom(16), padding.PKCS7(128).padder()
    cipher = Cipher(algorithms.AES(hashlib.sha256(encrypt_key.encode()).digest()), modes.CBC(iv)).encryptor()
    padded = padder.update(text) + padder.finalize()
    return base64.b64encode(iv + cipher.update(padded) + cipher.finalize()).decode()


def seal(config: SandboxConfig, payload: dict[str, Any], sign: bool = True) -> tuple[bytes, dict[str, str]]:
    """The bytes and headers of a push; without an Encrypt Key it is plain and unsigned."""
    text = json.dumps(payload, ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json;charset=utf-8", "User-Agent": "feishu-sandbox"}
    if not config.encrypt_key:
        return text, headers
    body = json.dumps({"encrypt": encrypt(config.encrypt_key, text)}).encode()
    if sign:
        stamp, nonce = str(int(time.time())), secrets.token_hex(8)
        signed = hashlib.sha256(f"{stamp}{nonce}{config.encrypt_key}".encode() + body).hexdigest()
        headers |= {
            "X-Lark-Request-Timestamp": stamp,
            "X-Lark-Request-Nonce": nonce,
            "X-Lark-Signature": signed,
        }
    return body, headers


def seal_old(config: SandboxConfig, payload: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    """The bytes and headers of an old card callback: plain, signed by SHA-1 with the verification token."""
    body = json.dumps(payload, ensure_ascii=False).encode()
    stamp, nonce = str(int(time.time())), secrets.token_hex(8)
    signed = hashlib.sha1(f"{stamp}{nonce}{config.verification_token}".encode() + body).hexdigest()  # noqa: S324 (Feishu's choice)
    return body, {
        "Content-Type": "application/json;charset=utf-8",
        "User-Agent": "feishu-sandbox",
        "X-Lark-Request-Timestamp": stamp,
        "X-Lark-Request-Nonce": nonce,
        "X-Lark-Signature": signed,
    }


class Webhook:
    """The request URL (new and old card callbacks may have one of their own), and the connections to it."""

    def __init__(self, config: SandboxConfig) -> None:
        self._config = config
        self._poster = Poster()
        self.url, self.callback_url, self.old_callback_url = config.webhook_url, "", ""

    def close(self) -> None:
        self._poster.close()

    async def post(
        self, body: bytes, headers: dict[str, str], seconds: float | None = None, url: str = ""
    ) -> Answer:
        """One POST to the app; a redirect is not followed, and all must be over within `seconds` (as a rule three)."""
        began = time.monotonic()
        status, told, error = None, b"", ""
        try:
            async with asyncio.timeout(ANSWER_SECONDS if seconds is None else seconds):
                status, told = await self._poster.post(url or self.url, body, headers)
        except PostError as reason:
            error = str(reason)
        except TimeoutError:
            error = "timeout"
        return Answer(status, round((time.monotonic() - began) * 1000), told, error)

    async def challenge(self, url: str) -> str:
        """Sends url_verification as Feishu does when a URL is saved; answers why it is refused, or ''."""
        word = secrets.token_hex(16)
        payload = {"challenge": word, "token": self._config.verification_token, "type": "url_verification"}
        body, headers = seal(self._config, payload, sign=False)
        answer = await self.post(body, headers, CHALLENGE_SECONDS, url)
        self._config.echo(f"sandbox  challenge {url} -> {answer.error or answer.status} in {answer.ms} ms")
        if answer.status is None:
            return f"no answer: {answer.error}"
        if answer.status != 200:
            return f"the answer has HTTP status {answer.status}, not 200"
        try:
            said = json.loads(answer.body)
        except (ValueError, RecursionError):
            return "the answer is not JSON"
        good = isinstance(said, dict) and said.get("challenge") == word
        return "" if good else "the answer does not repeat the challenge"
