"""The seeds' Flask sample as a process, once without keys as it is there, and once with these:

python tests/sandbox_flask_sample.py ENCRYPT_KEY VERIFICATION_TOKEN

What arrives is printed, one JSON line each, the port first.
"""

import json
import sys
import warnings
from typing import Any

warnings.simplefilter("ignore")

import lark_oapi as lark  # noqa: E402
from flask import Flask  # noqa: E402
from lark_oapi.adapter.flask import parse_req, parse_resp  # noqa: E402
from werkzeug.serving import make_server  # noqa: E402

app = Flask(__name__)


def say(what: str, told: Any) -> None:
    print(json.dumps([what, told], ensure_ascii=False), flush=True)


def do_customized_event(data: lark.CustomizedEvent) -> None:
    say("p2p_chat_create", data.event["user"]["name"])


def do_members_added(data: Any) -> None:
    say("joined", [user.name for user in data.event.users])


def do_card_action(data: Any) -> dict[str, Any]:
    say("pressed", data.event.action.value)
    return {"toast": {"type": "info", "content": "seen"}}


# 注册事件 Register event
def registered(encrypt_key: str, verification_token: str) -> lark.EventDispatcherHandler:
    return (
        lark.EventDispatcherHandler.builder(encrypt_key, verification_token, lark.LogLevel.CRITICAL)
        .register_p1_customized_event("p2p_chat_create", do_customized_event)
        .register_p2_im_chat_member_user_added_v1(do_members_added)
        .register_p2_card_action_trigger(do_card_action)
        .build()
    )


event_handler = registered("", "")
sealed_event_handler = registered(*sys.argv[1:])


# 创建路由处理器 Create route handler
@app.route("/webhook/event", methods=["POST"])
def event() -> Any:
    resp = event_handler.do(parse_req())
    return parse_resp(resp)


@app.route("/webhook/sealed", methods=["POST"])
def sealed_event() -> Any:
    resp = sealed_event_handler.do(parse_req())
    return parse_resp(resp)


if __name__ == "__main__":
    server = make_server("127.0.0.1", 0, app, threaded=True)
    say("port", server.server_port)
    server.serve_forever()
