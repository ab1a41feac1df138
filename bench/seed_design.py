"""What the console is compared with: the seeds' design, Flask with lark_oapi's EventDispatcherHandler.

`stores_nothing` has handlers that do nothing; `sends_inside` sends the message within the handler, with the SDK,
to the address in SEED_DESIGN_API. `bare` is the limit: WSGI that answers "ok".
"""

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

from tests import feishu_events

Start = Callable[[str, list[tuple[str, str]]], object]


def bare(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


def _flask(react: Callable[[Any], None]) -> Any:
    import lark_oapi as lark
    from flask import Flask
    from lark_oapi.adapter.flask import parse_req, parse_resp

    builder = lark.EventDispatcherHandler.builder(
        feishu_events.ENCRYPT_KEY, feishu_events.VERIFICATION_TOKEN, lark.LogLevel.ERROR
    )
    builder = builder.register_p2_im_chat_member_user_added_v1(react)
    builder = builder.register_p2_im_message_receive_v1(react)
    handler = builder.build()
    app = Flask(__name__)

    @app.route("/webhook/event", methods=["POST"])
    def webhook() -> Any:
        return parse_resp(handler.do(parse_req()))

    @app.route("/")
    def index() -> str:
        return "ok"

    return app


def stores_nothing() -> Any:
    return _flask(lambda event: None)


def sends_inside() -> Any:
    import lark_oapi as lark
    from lark_oapi.api.im.v1 import CreateMessageRequest, CreateMessageRequestBody

    client = (
        lark.Client.builder()
        .app_id(feishu_events.APP_ID)
        .app_secret(feishu_events.APP_SECRET)
        .domain(os.environ["SEED_DESIGN_API"])
        .build()
    )

    def send(event: Any) -> None:
        body = (
            CreateMessageRequestBody.builder()
            .receive_id(event.event.chat_id)
            .msg_type("text")
            .content(json.dumps({"text": "welcome"}))
            .build()
        )
        request = CreateMessageRequest.builder().receive_id_type("chat_id").request_body(body).build()
        if not client.im.v1.message.create(request).success():
            raise RuntimeError("the message was not sent")

    return _flask(send)


async def slow_api(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """ASGI: a Feishu that takes 50 ms for every call but the token's."""
    import asyncio

    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    if "tenant_access_token" in scope["path"]:
        answer: dict[str, Any] = {"code": 0, "msg": "ok", "tenant_access_token": "t-1", "expire": 7200}
    else:
        await asyncio.sleep(0.05)
        answer = {"code": 0, "msg": "ok", "data": {"message_id": "om_1"}}
    body = json.dumps(answer).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
