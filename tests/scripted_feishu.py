"""A Feishu that answers what a test tells it to, when it tells it to, and counts connections and calls at once.

The sandbox answers as the platform does; this one answers as no platform should.
"""

import json
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN_PATH = "/open-apis/auth/v3/tenant_access_token/internal"
ALL = ""


@dataclass(frozen=True)
class Answer:
    """One answer, as it travels."""

    body: str = '{"code": 0, "msg": "success", "data": {"message_id": "om_1"}}'
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


TOKEN = Answer('{"code": 0, "msg": "ok", "tenant_access_token": "t-1", "expire": 7200}')


class ScriptedFeishu:
    """Hands out tokens, and `answer` to every other call. `uuids` lists the calls, `most[chat]` (or ALL) how many
    there were at once. `hold()` leaves everyone waiting until `release()`; `together` makes calls wait for so many.
    """

    def __init__(self) -> None:
        self.answer = Answer()
        self.together = 1
        self.connections = 0
        self.uuids: list[str] = []
        self.most: Counter[str] = Counter()
        self._now: Counter[str] = Counter()
        self._change = threading.Condition()
        self._open = threading.Event()
        self._open.set()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        self.domain = f"http://127.0.0.1:{self._http.server_port}"

    def hold(self) -> None:
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    def close(self) -> None:
        self.release()
        self._http.shutdown()
        self._http.server_close()

    def _take(self, path: str, body: bytes) -> Answer:
        self._open.wait(90)
        if path == TOKEN_PATH:
            return TOKEN
        asked = json.loads(body)
        with self._change:
            self.uuids.append(asked["uuid"])
            for key in (ALL, asked["receive_id"]):
                self._now[key] += 1
                self.most[key] = max(self.most[key], self._now[key])
            self._change.notify_all()
            if not self._change.wait_for(lambda: self.most[ALL] >= self.together, 60):
                self.together = 1  # they will not come: let the test say so
            self._now.subtract([ALL, asked["receive_id"]])  # before the client knows that it is through
        return self.answer

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        feishu = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                with feishu._change:
                    feishu.connections += 1

            def do_POST(self) -> None:
                answer = feishu._take(
                    self.path.split("?")[0], self.rfile.read(int(self.headers["Content-Length"]))
                )
                body = answer.body.encode("utf-8", "surrogatepass")
                self.send_response(answer.status)
                for name, value in {**answer.headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
