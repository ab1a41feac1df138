"""An incident from opening to resolution, with the real console, a worker and the sandbox as Feishu."""

from typing import Any

import pytest
import requests

from botconsole.worker import Worker
from events.models import Bot, Event, OutboxItem
from incidents.models import Actor, Incident, Responder, Service, Via

pytestmark = pytest.mark.django_db(transaction=True)

OPERATOR = Actor(Via.ADMIN, "operator")
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


class Feishu:
    """The sandbox with the console listening: people act in it, and every push has arrived when a call returns."""

    def __init__(self, sandbox: Any) -> None:
        self.sandbox = sandbox
        self.base = f"{sandbox.url}/_sandbox"

    def call(self, method: str, path: str, body: Any = None) -> Any:
        response = requests.request(method, f"{self.base}/{path}", json=body, timeout=10)
        assert response.ok, response.text
        return response.json()

    def person(self, name: str, open_id: str, *, visible: bool = True) -> str:
        self.call("POST", "people", {"name": name, "open_id": open_id, "visible": visible})
        return open_id

    def chat(self, chat_id: str) -> Any:
        return next(one for one in self.call("GET", "groups")["items"] if one["chat_id"] == chat_id)

    def messages(self, chat_id: str) -> list[Any]:
        return list(self.call("GET", f"groups/{chat_id}/messages")["items"])

    def card(self, chat_id: str) -> Any:
        return [one for one in self.messages(chat_id) if one["msg_type"] == "interactive"][-1]

    def texts(self, chat_id: str) -> list[str]:
        return [one["content"]["text"] for one in self.messages(chat_id) if one["msg_type"] == "text"]

    def say(self, chat_id: str, open_id: str, text: str, **more: Any) -> str:
        told = self.call("POST", f"groups/{chat_id}/messages", {"open_id": open_id, "text": text, **more})
        self.arrived(told["event_id"])
        return str(told["message_id"])

    def press(self, message_id: str, open_id: str, element: str, **more: Any) -> Any:
        return self.call(
            "POST", f"messages/{message_id}/press", {"open_id": open_id, "element": element, **more}
        )

    def arrived(self, event_id: str) -> None:
        import time

        deadline = time.monotonic() + 10
        while not Event.objects.filter(event_id=event_id).exclude(status=Event.Status.RECEIVED).exists():
            assert time.monotonic() < deadline, self.call("GET", "pushes")["items"][:2]
            time.sleep(0.02)


@pytest.fixture
def feishu(bot: Bot, sandbox: Any, live_server: Any) -> Feishu:
    sandbox.set_webhook(f"{live_server.url}/webhook/event/default")
    return Feishu(sandbox)


def work() -> None:
    Worker().run_once()


def opened(bot: Bot, feishu: Feishu, **fields: Any) -> Incident:
    people = [
        Responder(open_id=feishu.person("Ada", "ou_ada")),
        Responder(open_id=feishu.person("Lin", "ou_lin")),
    ]
    incident = Incident.objects.open(
        bot=bot, by=OPERATOR, **({"title": "支付失败率升高", "severity": "P0", "responders": people} | fields)
    )
    work()
    incident.refresh_from_db()
    return incident


def test_the_whole_story_of_the_tutorial(bot: Bot, feishu: Feishu) -> None:
    service = Service.objects.create(name="数据平台", first_on_call=feishu.person("Sun", "ou_sun"))
    incident = opened(bot, feishu, service=service, image=PNG)
    chat = feishu.chat(incident.chat_id)
    assert chat["name"] == "[P0] 支付失败率升高"
    assert {member["name"] for member in chat["members"]} == {"Ada", "Lin", "Sun"}
    card = feishu.card(incident.chat_id)
    assert (card["pinned"], len(card["buzzed"]), len(chat["tabs"])) == (True, 3, 1)
    assert incident.image_key in str(card["content"])

    answer = feishu.press(card["message_id"], "ou_ada", "ack_button")
    assert answer["answer"]["toast"]["i18n"]["zh_cn"]
    work()
    assert feishu.chat(incident.chat_id)["name"] == "[处理中] 支付失败率升高"

    feishu.say(incident.chat_id, "ou_lin", "回滚了 1.2")
    feishu.say(incident.chat_id, "ou_ada", "/solve 已回滚")
    work()
    assert feishu.chat(incident.chat_id)["name"] == "[已解决] 支付失败率升高"
    assert any("问题已解决，辛苦了" in text for text in feishu.texts(incident.chat_id))
    assert feishu.card(incident.chat_id)["content"]["header"]["template"] == "green"
    incident.refresh_from_db()
    assert (incident.status, incident.resolution_note, incident.resolved_by_open_id) == (
        "resolved",
        "已回滚",
        "ou_ada",
    )
    kinds = list(incident.timeline.values_list("kind", flat=True))
    assert [kind for kind in kinds if kind != "joined"] == [
        "opened",
        "acknowledged",
        "message",
        "message",
        "resolved",
    ]
    assert not OutboxItem.objects.exclude(status=OutboxItem.Status.SENT).exists()
