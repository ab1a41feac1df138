"""An incident with its chat, what Feishu pushes from there, and the sandbox with people who act in it."""

import json
import time
from typing import Any

import requests
from django.utils import timezone

from botconsole.worker import Worker
from tests.feishu_events import ADA, CHAT_ID, LIN, TENANT_KEY, ids, v2
from tests.waiting import wait_until

CARD_ID = "om_card"
BOT_OPEN_ID = "ou_the_bot"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


# --- Without Feishu: events pushed into a chat, rows to look at ------------------------------------------------
def pressed(value: Any, *, by: str = ADA[0], chat_id: str = CHAT_ID, **action: Any) -> dict[str, Any]:
    return v2(
        "card.action.trigger",
        {
            "operator": {"tenant_key": TENANT_KEY, **ids(by)},
            "token": "c-1",
            "action": {"value": value, "tag": "button", **action},
            "host": "im_message",
            "context": {"open_message_id": CARD_ID, "open_chat_id": chat_id},
        },
    )


def answers() -> list[str]:
    """The texts that are to be sent as answers, oldest first."""
    from events.models import OutboxItem

    rows = OutboxItem.objects.filter(call="reply_message").order_by("pk")
    return [row.content["text"] for row in rows]


def lines() -> list[str]:
    """The texts that are to be sent into the chat by themselves, oldest first."""
    from events.models import OutboxItem

    rows = OutboxItem.objects.filter(call="send_message").order_by("pk")
    return [row.content["text"] for row in rows if "text" in row.content]


def kinds(incident: Any) -> list[str]:
    return list(incident.timeline.order_by("pk").values_list("kind", flat=True))


def with_mentions(body: dict[str, Any], *people: tuple[str, str, str]) -> dict[str, Any]:
    """The message with mentions: `(open_id, name, "bot" or "user")`, as `@_user_1` and so on."""
    body["event"]["message"]["mentions"] = [
        {
            "key": f"@_user_{number}",
            "id": ids(open_id),
            "mentioned_type": kind,
            "name": name,
            "tenant_key": TENANT_KEY,
        }
        for number, (open_id, name, kind) in enumerate(people, 1)
    ]
    return body


def of_type(body: dict[str, Any], kind: str, content: Any) -> dict[str, Any]:
    """The message with another kind of content."""
    body["event"]["message"] |= {"message_type": kind, "content": json.dumps(content, ensure_ascii=False)}
    return body


# --- With the sandbox as Feishu -------------------------------------------------------------------------------
class Feishu:
    """The sandbox with the console listening: people act in it, and every push has arrived when a call returns."""

    def __init__(self, sandbox: Any) -> None:
        self.sandbox = sandbox
        self.base = f"{sandbox.url}/_sandbox"

    def call(self, method: str, path: str, body: Any = None) -> Any:
        response = requests.request(method, f"{self.base}/{path}", json=body, timeout=60)
        assert response.ok, response.text
        return response.json()

    def person(self, name: str, open_id: str, *, visible: bool = True) -> str:
        self.call("POST", "people", {"name": name, "open_id": open_id, "visible": visible})
        return open_id

    def fault(self, **fault: Any) -> None:
        self.call("POST", "faults", fault)

    def well(self) -> None:
        self.call("DELETE", "faults")

    @property
    def groups(self) -> list[Any]:
        """The groups that the bot made; the sandbox begins with some of its own."""
        return [one for one in self.call("GET", "groups")["items"] if not one["owner_id"]]

    def chat(self, chat_id: str) -> Any:
        return next(one for one in self.call("GET", "groups")["items"] if one["chat_id"] == chat_id)

    def messages(self, chat_id: str) -> list[Any]:
        return list(self.call("GET", f"groups/{chat_id}/messages")["items"])

    def cards(self, chat_id: str) -> list[Any]:
        return [one for one in self.messages(chat_id) if one["msg_type"] == "interactive"]

    def card(self, chat_id: str) -> Any:
        """The newest card."""
        return self.cards(chat_id)[-1]

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
        """Waits until the console has handled the event."""
        from events.models import Event

        wait_until(Event.objects.filter(event_id=event_id).exclude(status=Event.Status.RECEIVED).exists)

    def quiet(self) -> None:
        """Waits until every push was answered."""
        wait_until(lambda: all(push["state"] == "acked" for push in self.call("GET", "pushes")["items"]))


def work(rounds: int = 8) -> None:
    """The worker does what is due; what Feishu put off is due at once, up to `rounds` times."""
    from events.models import Circuit, OutboxItem

    for _ in range(rounds):
        Worker().run_once()
        waiting = OutboxItem.objects.filter(status=OutboxItem.Status.PENDING)
        Circuit.objects.exclude(opened_at=None).update(next_probe_at=timezone.now())
        if not waiting.hurry(timezone.now()):
            return
        time.sleep(0.25)


def opened(bot: Any, feishu: Feishu, **fields: Any) -> Any:
    """An incident with Ada and Lin, its opening queued."""
    from incidents.models import Actor, Incident, Responder, Via

    people = [Responder(open_id=feishu.person(name, open_id)) for open_id, name in (ADA, LIN)]
    fields = {"title": "Payments fail", "severity": "P1", "responders": people} | fields
    return Incident.objects.open(bot=bot, by=Actor(Via.ADMIN, "operator"), **fields)


def running(bot: Any, feishu: Feishu, **fields: Any) -> Any:
    """The same, and everything has reached Feishu."""
    incident = opened(bot, feishu, **fields)
    work()
    feishu.quiet()
    incident.refresh_from_db()
    return incident
