"""Who acts in the sandbox's tests: a bot's web server, somebody at the page, a client of the API; and their cards."""

import base64
import contextlib
import hashlib
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from botconsole.sandbox import SandboxConfig, SandboxServer
from tests.conftest import BROWSER_MS

APP = {"app_id": "cli_test", "app_secret": "s3cret"}
KEY, TOKEN = "test key", "vt_1"
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # or each client reads the system's certificates: 20 ms
CARD = {
    "schema": "2.0",
    "body": {
        "elements": [
            {
                "tag": "button",
                "element_id": "ack",
                "text": {"tag": "plain_text", "content": "Acknowledge"},
                "behaviors": [{"type": "callback", "value": {"action": "ack"}}],
            },
            {
                "tag": "form",
                "name": "form",
                "elements": [
                    {"tag": "input", "name": "notes", "required": True},
                    {
                        "tag": "button",
                        "name": "submit",
                        "text": {"tag": "plain_text", "content": "Resolve"},
                        "form_action_type": "submit",
                        "behaviors": [{"type": "callback", "value": {"action": "resolve"}}],
                    },
                ],
            },
        ]
    },
}
NEW_CARD = {"schema": "2.0", "body": {"elements": [{"tag": "markdown", "content": "done"}]}}
NOTES_CARD = {
    "schema": "2.0",
    "body": {
        "elements": [
            {
                "tag": "form",
                "name": "form",
                "elements": [
                    {
                        "tag": "input",
                        "name": "notes",
                        "placeholder": {"tag": "plain_text", "content": "Notes"},
                    },
                    {
                        "tag": "button",
                        "name": "submit",
                        "text": {"tag": "plain_text", "content": "Resolve"},
                        "form_action_type": "submit",
                        "behaviors": [{"type": "callback", "value": {"action": "resolve"}}],
                    },
                ],
            }
        ]
    },
}
CARD_1 = {"config": {"update_multi": True}, "elements": [{"tag": "markdown", "content": "one"}]}
CARD_2 = {"schema": "2.0", "body": {"elements": [{"tag": "markdown", "content": "two"}]}}
BUTTON = {"tag": "button", "text": {"tag": "plain_text", "content": "x"}}
PNG = b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR" + (8).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"


def second(*elements: dict, **more: object) -> dict:
    """A card of 2.0 with these elements."""
    return {"schema": "2.0", "body": {"elements": list(elements)}, **more}


def decrypted(sealed: str) -> dict:
    """Section 1.4 of the fact sheet, written once more."""
    raw = base64.b64decode(sealed)
    cipher = Cipher(algorithms.AES(hashlib.sha256(KEY.encode()).digest()), modes.CBC(raw[:16])).decryptor()
    text = cipher.update(raw[16:]) + cipher.finalize()
    return json.loads(text[: -text[-1]])


class App:
    """A bot's web server: keeps what it got, answers what it is told to."""

    def __init__(self) -> None:
        self.bodies: list[dict] = []
        self.raw: list[tuple[bytes, dict[str, str]]] = []
        self.ports: set[int] = set()
        self.status, self.answer, self.delay = 200, b"{}", 0.0
        self.closed = threading.Event()
        app = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                body = json.loads(raw)
                body = decrypted(body["encrypt"]) if "encrypt" in body else body
                app.raw.append((raw, dict(self.headers)))
                app.ports.add(self.client_address[1])
                app.bodies.append(body)
                if app.closed.wait(app.delay):
                    return
                challenged = body.get("type") == "url_verification" and app.answer == b"{}"
                answer = json.dumps({"challenge": body["challenge"]}).encode() if challenged else app.answer
                self.send_response(app.status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args: object) -> None:
                """Keeps quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.closed.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def types(self) -> list[str]:
        return [
            body["header"]["event_type"] if "header" in body else body["event"]["type"]
            for body in self.bodies
        ]


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


class Person:
    """Somebody at the sandbox's page."""

    def __init__(self, sandbox: SandboxServer) -> None:
        self.sandbox = sandbox
        self.http = httpx.Client(
            base_url=f"{sandbox.url}/_sandbox", trust_env=False, timeout=90, verify=NO_TLS
        )

    def post(self, path: str, body: dict | None = None) -> dict:
        answer = self.http.post(path, json=body or {})
        return {**answer.json(), "status_code": answer.status_code} if answer.is_error else answer.json()

    def group(self, **more: object) -> str:
        return self.post("/groups", {"name": "g", **more})["chat_id"]

    def pushes(self) -> list[dict]:
        return self.http.get("/pushes").json()["items"]

    def push(self, event_id: str) -> dict:
        return next(push for push in self.pushes() if push["event_id"] == event_id)

    def messages(self, chat_id: str) -> list[dict]:
        return self.http.get(f"/groups/{chat_id}/messages").json()["items"]

    def bot(self, method: str, path: str, body: dict) -> httpx.Response:
        """A call of the app itself."""
        config = self.sandbox.config
        app = {"app_id": config.app_id, "app_secret": config.app_secret}
        base = f"{self.sandbox.url}/open-apis"
        token = self.http.post(f"{base}/auth/v3/tenant_access_token/internal", json=app).json()[
            "tenant_access_token"
        ]
        return self.http.request(method, base + path, json=body, headers={"Authorization": f"Bearer {token}"})

    def card(self, chat_id: str, card: dict | None = None) -> str:
        body = {"receive_id": chat_id, "msg_type": "interactive", "content": json.dumps(card or CARD)}
        return self.bot("POST", "/im/v1/messages?receive_id_type=chat_id", body).json()["data"]["message_id"]


def settings(webhook_url: str = "", **more: object) -> SandboxConfig:
    return SandboxConfig(
        app_id="cli_test",
        app_secret="s3cret",
        verification_token=TOKEN,
        encrypt_key=KEY,
        webhook_url=webhook_url,
        port=0,
        **{"seed": False, **more},  # type: ignore[arg-type]
    )


class Feishu:
    """A client of one sandbox: `call` with a token, `control` without."""

    def __init__(self, sandbox: SandboxServer) -> None:
        self.sandbox = sandbox
        self.http = httpx.Client(base_url=sandbox.url, trust_env=False, timeout=60, verify=NO_TLS)
        answer = self.http.post("/open-apis/auth/v3/tenant_access_token/internal", json=APP).json()
        self.token = answer["tenant_access_token"]

    def raw(self, method: str, path: str, **request: object) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        return self.http.request(method, f"/open-apis{path}", headers=headers, **request)  # type: ignore[arg-type]

    def call(self, method: str, path: str, body: dict | None = None, **params: str) -> dict:
        return self.raw(method, path, json=body, params=params).json()

    def control(self, method: str, path: str, body: dict | None = None) -> dict:
        answer = self.http.request(method, f"/_sandbox{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def group(self, name: str = "g", **more: object) -> str:
        return self.control("POST", "/groups", {"name": name, **more})["chat_id"]

    def join(self, chat_id: str, **person: str) -> str:
        return self.control("POST", f"/groups/{chat_id}/members", person)["open_id"]

    def send(self, chat_id: str, content: object = None, msg_type: str = "text", **more: object) -> dict:
        said = content if content is not None else {"text": "hi"}
        text = said if isinstance(said, str) else json.dumps(said)
        body = {"receive_id": chat_id, "msg_type": msg_type, "content": text, **more}
        return self.call("POST", "/im/v1/messages", body, receive_id_type="chat_id")

    def card(self, chat_id: str, card: dict) -> dict:
        return self.send(chat_id, card, "interactive")

    def upload(self, data: bytes) -> dict:
        files, fields = {"image": ("a.png", data)}, {"image_type": "message"}
        return self.raw("POST", "/im/v1/images", data=fields, files=files).json()


@contextlib.contextmanager
def acting(config: SandboxConfig) -> Iterator[Person]:
    """A sandbox, and somebody at its page."""
    with SandboxServer(config) as sandbox:
        person = Person(sandbox)
        with contextlib.closing(person.http):
            yield person


@contextlib.contextmanager
def calling(**config: object) -> Iterator[Feishu]:
    """A sandbox, and a client of its API."""
    with SandboxServer(SandboxConfig(**APP, port=0, **config)) as sandbox:  # type: ignore[arg-type]
        feishu = Feishu(sandbox)
        with contextlib.closing(feishu.http):
            yield feishu


def visit(browser: Any, sandbox: SandboxServer, locale: str = "en-US", width: int = 1400) -> Any:
    """The page; its console errors and policy breaches are collected in `page.wrong`."""
    context = browser.new_context(locale=locale, viewport={"width": width, "height": 844})
    context.set_default_timeout(BROWSER_MS)
    page = context.new_page()
    page.wrong = []
    page.on("console", lambda message: page.wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.goto(sandbox.url)
    page.wait_for_selector(".chat")
    return page
