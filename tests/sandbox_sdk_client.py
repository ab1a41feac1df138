"""Run as a process by the tests: larksuite's own long connection client, which tells on stdout what it received.

    python tests/sandbox_sdk_client.py URL APP_ID APP_SECRET

A client cannot be stopped and owns its process's event loop, hence the process (feishu-platform.md 2.4).
"""

import json
import sys
import warnings
from typing import Any

warnings.simplefilter("ignore")

import lark_oapi  # noqa: E402
from lark_oapi.event.callback.model.p2_card_action_trigger import P2CardActionTriggerResponse  # noqa: E402


def say(what: str, told: Any = None) -> None:
    print(json.dumps([what, told], ensure_ascii=False), flush=True)


def received(event: Any) -> None:
    """A message; its text makes the handler fail, as a buggy bot's would."""
    text = json.loads(event.event.message.content)["text"]
    say("message", text)
    if "fail" in text:
        raise RuntimeError("the handler failed")


def pressed(event: Any) -> P2CardActionTriggerResponse:
    say("press", event.event.action.value)
    return P2CardActionTriggerResponse({"toast": {"type": "success", "content": "已处理"}})


def main() -> None:
    url, app_id, app_secret = sys.argv[1:]
    handler = (
        lark_oapi.EventDispatcherHandler.builder("", "")
        .register_p2_im_message_receive_v1(received)
        .register_p2_card_action_trigger(pressed)
        .build()
    )
    client = lark_oapi.ws.Client(
        app_id, app_secret, event_handler=handler, domain=url, log_level=lark_oapi.LogLevel.CRITICAL
    )
    client.on_reconnected = lambda: say("reconnected")
    say("ready")
    try:
        client.start()
    except lark_oapi.ws.exception.ClientException as error:
        say("refused", error.code)


main()
