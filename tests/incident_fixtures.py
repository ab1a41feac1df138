"""Fixtures of incident_world.py: an incident with its chat, people who write and press in it, the sandbox."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.feishu_events import ADA, CHAT_ID, LIN, message_received
from tests.incident_world import BOT_OPEN_ID, CARD_ID, Feishu, answers, pressed


@pytest.fixture
def english(settings: Any) -> None:
    """The chat speaks English, so that the tests read its sentences whatever the catalogue says."""
    settings.LANGUAGE_CODE = "en"


@pytest.fixture
def incident(bot: Any, english: None) -> Any:
    """An open incident in the chat oc_test, Ada and Lin in it; what its opening queued is gone."""
    from events.models import Bot, OutboxItem
    from incidents.models import Actor, Incident, Responder, Via

    Bot.objects.filter(pk=bot.pk).update(open_id=BOT_OPEN_ID)
    people = [Responder(open_id=person[0], status="added") for person in (ADA, LIN)]
    by = Actor(Via.ADMIN, "operator")
    incident = Incident.objects.open(bot=bot, title="Payments fail", severity="P1", by=by, responders=people)
    Incident.objects.filter(pk=incident.pk).update(chat_id=CHAT_ID, card_message_id=CARD_ID)
    OutboxItem.objects.all().delete()
    incident.refresh_from_db()
    return incident


@pytest.fixture
def say(bot: Any, push: Any) -> Callable[..., str]:
    """Someone writes into the chat; returns the answer that was queued, "" if none was."""

    def say(text: str, **message: Any) -> str:
        body = message_received(text, **{"sender": ADA, **message})
        assert push(bot, body).status_code == 200
        return answers()[-1] if answers() else ""

    return say


@pytest.fixture
def press(bot: Any, push: Any) -> Callable[..., Any]:
    """Someone presses a control of the card; returns the reply that Feishu gets."""

    def press(value: Any, *, by: str = ADA[0], chat_id: str = CHAT_ID, **action: Any) -> Any:
        return push(bot, pressed(value, by=by, chat_id=chat_id, **action)).json()

    return press


@pytest.fixture
def feishu(bot: Any, sandbox: Any, live_server: Any, english: None) -> Feishu:
    sandbox.set_webhook(f"{live_server.url}/webhook/event/default")
    return Feishu(sandbox)
