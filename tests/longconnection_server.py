"""Feishu's end of the long connection, as small as it can be: an endpoint over HTTP and a WebSocket that pushes."""

import asyncio
import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

Json = dict[str, Any]


class LongConnectionServer:
    """`push()` sends an event to the newest client and returns its acknowledgement; `refusal` refuses handshakes.

    `mute` leaves pings unanswered; `hold_endpoint()` leaves the bootstrap unanswered until `close()`.
    """

    def __init__(self) -> None:
        from lark_oapi.ws.pb.pbbp2_pb2 import Frame

        self.frame = Frame
        self.endpoint_answer: Json | None = None
        self.refusal: dict[str, str] | None = None
        self.mute = False
        self.secrets: list[str] = []  # with which the bootstrap was asked
        self.acks: list[Any] = []
        self._endpoint_open = threading.Event()
        self._endpoint_open.set()
        self.pings = 0
        self.connections = 0
        self._loop = asyncio.new_event_loop()
        self._socket: ServerConnection | None = None
        self._acks: dict[str, asyncio.Future[Any]] = {}
        self._connected = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server: Server = self._run(self._serve())
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        self.domain = f"http://127.0.0.1:{self._http.server_port}"

    def push(
        self, document: Json | bytes, *, kind: str = "event", fragments: int = 1, timeout: float = 65
    ) -> Json:
        """The payload of the acknowledgement; raises TimeoutError if none came."""
        payload = document if isinstance(document, bytes) else json.dumps(document).encode()
        return dict(self._run(self._push(payload, kind, fragments), timeout))

    def hold_endpoint(self) -> None:
        self._endpoint_open.clear()

    def send_frame(self, payload: bytes = b"{}", **headers: str) -> None:
        """One data frame with exactly these headers."""
        frame = self.frame(SeqID=1, LogID=2, service=33554678, method=1, payload=payload)
        for key, value in headers.items():
            frame.headers.add(key=key, value=value)
        self.send_raw(frame.SerializeToString())

    def send_raw(self, data: bytes) -> None:
        assert self._socket is not None
        self._run(self._socket.send(data))

    def drop(self) -> None:
        assert self._socket is not None
        self._connected.clear()
        self._run(self._socket.close())

    def wait_for_client(self) -> None:
        assert self._connected.wait(90), "no client came"

    def close(self) -> None:
        self._endpoint_open.set()
        self._server.close()
        self._run(self._server.wait_closed())
        self._http.shutdown()
        self._http.server_close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Any, timeout: float = 60) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    async def _serve(self) -> Server:
        return await serve(self._client, "127.0.0.1", 0, process_request=self._handshake)

    def _handshake(self, connection: ServerConnection, request: Request) -> Response | None:
        if self.refusal is None:
            return None
        return Response(403, "Forbidden", Headers(self.refusal), b"")

    async def _client(self, socket: ServerConnection) -> None:
        self._socket, self.connections = socket, self.connections + 1
        self._connected.set()
        async for message in socket:
            frame = self.frame.FromString(message)
            headers = {header.key: header.value for header in frame.headers}
            if headers.get("type") == "ping":
                self.pings += 1
                if not self.mute:
                    await socket.send(self._pong())
                continue
            self.acks.append(json.loads(frame.payload))
            waiting = self._acks.get(headers.get("message_id", ""))
            if waiting is not None and not waiting.done():
                waiting.set_result(self.acks[-1])

    async def _push(self, payload: bytes, kind: str, fragments: int) -> Json:
        assert self._socket is not None
        message_id = f"m{len(self._acks)}"
        self._acks[message_id] = asyncio.get_running_loop().create_future()
        size = -(-len(payload) // fragments)
        for number in reversed(range(fragments)):
            part = payload[number * size : (number + 1) * size]
            await self._socket.send(self._data(part, kind, message_id, fragments, number).SerializeToString())
        return dict(await asyncio.wait_for(self._acks[message_id], 60))

    def _pong(self) -> bytes:
        frame = self.frame(SeqID=0, LogID=0, service=33554678, method=0)
        frame.headers.add(key="type", value="pong")
        return bytes(frame.SerializeToString())

    def _data(self, payload: bytes, kind: str, message_id: str, total: int, number: int) -> Any:
        frame = self.frame(SeqID=1, LogID=2, service=33554678, method=1, payload=payload)
        for key, value in (("type", kind), ("message_id", message_id), ("sum", total), ("seq", number)):
            frame.headers.add(key=key, value=str(value))
        return frame

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server._endpoint_open.wait(90)
                server.secrets.append(asked.get("AppSecret", ""))
                body = json.dumps(server.endpoint_answer or server.address(asked)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def address(self, asked: Json) -> Json:
        """Feishu's answer to the bootstrap; the keys are capitalised."""
        if set(asked) != {"AppID", "AppSecret"}:
            return {"code": 514, "msg": "auth failed"}
        port = self._server.sockets[0].getsockname()[1]
        url = f"ws://127.0.0.1:{port}/ws/v2?device_id=1&access_key=SECRET-AK&service_id=33554678&ticket=SECRET-TK"
        config = {"ReconnectCount": -1, "ReconnectInterval": 120, "ReconnectNonce": 30, "PingInterval": 90}
        return {"code": 0, "msg": "", "data": {"URL": url, "ClientConfig": config}}


def reply_of(ack: Json) -> Any:
    """The reply that an acknowledgement carries."""
    return json.loads(base64.b64decode(ack["data"]))
