"""What only the doctor asks over the network: Feishu's clock, and whether our own request URL answers a challenge."""

import base64
import hashlib
import json
import os
import time
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime

import requests
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

TIMEOUT_SECONDS = 5


@dataclass(frozen=True)
class Echo:
    """How our request URL answered a challenge; `status` is None where no answer came."""

    milliseconds: int
    status: int | None
    is_right: bool


def clock(domain: str) -> datetime | None:
    """The time in the Date header of any answer of Feishu's; None if there was none."""
    try:
        answer = requests.get(f"{domain}/open-apis/", timeout=TIMEOUT_SECONDS, allow_redirects=False)
        return parsedate_to_datetime(answer.headers["Date"])
    except (requests.RequestException, KeyError, ValueError, TypeError):
        return None


def challenge(url: str, token: str, encrypt_key: str) -> Echo:
    """Asks our request URL what Feishu asks when it is saved (feishu-platform.md 1.2)."""
    word = base64.b32encode(os.urandom(10)).decode()
    body = json.dumps({"challenge": word, "token": token, "type": "url_verification"})
    if encrypt_key:
        body = json.dumps({"encrypt": _encrypted(body, encrypt_key)})
    started = time.monotonic()
    try:
        answer = requests.post(
            url,
            data=body,
            headers={"Content-Type": "application/json"},
            timeout=TIMEOUT_SECONDS,
            allow_redirects=False,
        )
    except requests.RequestException:
        return Echo(_ms_since(started), None, is_right=False)
    return Echo(_ms_since(started), answer.status_code, is_right=_json(answer) == {"challenge": word})


def _json(answer: requests.Response) -> object:
    try:
        return answer.json()
    except ValueError:
        return None


def _encrypted(text: str, key: str) -> str:
    """As Feishu encrypts (feishu-platform.md 1.4)."""
    iv, padder = os.urandom(16), PKCS7(128).padder()
    cipher = Cipher(algorithms.AES256(hashlib.sha256(key.encode()).digest()), modes.CBC(iv)).encryptor()
    padded = padder.update(text.encode()) + padder.finalize()
    return base64.b64encode(iv + cipher.update(padded) + cipher.finalize()).decode()


def _ms_since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
