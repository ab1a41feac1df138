"""An incident from opening to resolution, with the real console, a worker and the sandbox as Feishu."""

from typing import Any

import pytest

from botconsole.worker import Worker
from events.models import Bot, OutboxItem
from incidents.models import Actor, Incident, Responder, Service, Via
from tests.incident_world import PNG, Feishu

pytestmark = pytest.mark.django_db(transaction=True)

OPERATOR = Actor(Via.ADMIN, "operator")


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
