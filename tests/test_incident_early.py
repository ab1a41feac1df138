"""What comes before its time: a chat's messages before its id is known, news of a message before the message."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from events.followup import follow_up
from events.models import Bot, Event, OutboxItem, Person
from incidents.models import Actor, Incident, Via
from incidents.steps import on_card_sent
from tests.feishu_events import ADA, CHAT_ID, LIN, ids, member_joined, message_received, v2
from tests.incident_world import BOT_OPEN_ID, answers, kinds, with_mentions

pytest_plugins = ["tests.incident_fixtures"]
pytestmark = pytest.mark.django_db

OPERATOR = Actor(Via.ADMIN, "operator")


def edited(text: str, *, message_id: str, later: int = 1000) -> dict[str, Any]:
    body = message_received(text, message_id=message_id, created_at=1_800_000_000)
    body["event"]["message"]["update_time"] = str(1_800_000_000_000 + later)
    return body


def recalled(message_id: str) -> dict[str, Any]:
    return v2("im.message.recalled_v1", {"message_id": message_id, "chat_id": CHAT_ID})


def reacted(message_id: str, emoji: str = "Pin") -> dict[str, Any]:
    reaction = {"message_id": message_id, "reaction_type": {"emoji_type": emoji}, "user_id": ids(LIN[0])}
    return v2("im.message.reaction.created_v1", reaction)


@pytest.fixture
def unknown(bot: Bot, english: None) -> Incident:
    """An incident whose chat Feishu has made; the answer is still on its way."""
    Bot.objects.update(open_id=BOT_OPEN_ID)
    return Incident.objects.open(bot=bot, title="Payments fail", by=OPERATOR)


def becomes_known(incident: Incident) -> None:
    made = OutboxItem.objects.get(call="create_chat")
    OutboxItem.objects.filter(pk=made.pk).update(
        status=OutboxItem.Status.SENT, result={"chat_id": CHAT_ID}, followed_up=False
    )
    assert follow_up(made.pk)
    incident.refresh_from_db()


def texts(incident: Incident) -> list[str]:
    return [one.text for one in incident.timeline.filter(kind="message").order_by("happened_at", "pk")]


# --- A chat whose id is not known yet --------------------------------------------------------------------------
def test_what_was_said_before_the_chat_was_known_is_in_the_timeline(
    unknown: Incident, push: Any, bot: Bot
) -> None:
    push(bot, message_received("first", created_at=1_800_000_001))
    push(bot, message_received("second", sender=LIN, created_at=1_800_000_002))
    push(bot, message_received("of another chat", chat_id="oc_other"))
    becomes_known(unknown)
    assert texts(unknown) == ["first", "second"]
    assert [one.open_id for one in unknown.timeline.filter(kind="message")] == [ADA[0], LIN[0]]


def test_the_event_log_says_what_became_of_an_early_message(unknown: Incident, push: Any, bot: Bot) -> None:
    push(bot, message_received("early"))
    assert Event.objects.get().status == "ignored"
    becomes_known(unknown)
    event = Event.objects.get()
    assert (event.status, event.handler) == ("handled", "incidents.early.take_up")


def test_an_early_message_keeps_its_last_words_its_recall_and_its_pin(
    unknown: Incident, push: Any, bot: Bot
) -> None:
    for body in (
        edited("after", message_id="om_1"),
        edited("before", message_id="om_1", later=0),
        message_received("a secret", message_id="om_2"),
        recalled("om_2"),
        message_received("root cause found", message_id="om_3"),
        reacted("om_3"),
    ):
        push(bot, body)
    becomes_known(unknown)
    entries = unknown.timeline.filter(kind="message").order_by("message_id")
    assert list(entries.values_list("text", "recalled", "important")) == [
        ("after", False, False),
        ("a secret", True, False),
        ("root cause found", False, True),
    ]


def test_who_joined_under_another_name_of_the_chat_is_an_entry_once(
    unknown: Incident, push: Any, bot: Bot
) -> None:
    push(bot, member_joined(LIN, chat_name="another name"))
    push(bot, member_joined(ADA, chat_name="[P2] Payments fail"))
    becomes_known(unknown)
    joined = unknown.timeline.filter(kind="joined").order_by("happened_at", "pk")
    assert [one.open_id for one in joined] == [LIN[0], ADA[0]]


def test_an_early_command_is_obeyed_once(unknown: Incident, push: Any, bot: Bot) -> None:
    push(bot, message_received("/ack"))
    assert answers() == []
    becomes_known(unknown)
    assert (unknown.status, answers()) == ("acknowledged", [f"{unknown} is yours. Good luck!"])
    assert OutboxItem.objects.filter(call="rename_chat").exists()


def test_a_command_that_was_told_of_no_incident_is_obeyed_after_all(
    unknown: Incident, push: Any, bot: Bot
) -> None:
    us = (BOT_OPEN_ID, "OpsBot", "bot")
    push(bot, with_mentions(message_received("@_user_1 /note seen at 3"), us))
    push(bot, with_mentions(message_received("@_user_1 /help"), us))
    becomes_known(unknown)
    assert answers()[0] == "This chat has no incident. Open one with: /incident title"
    assert (len(answers()), answers()[2]) == (3, "Noted.")
    assert kinds(unknown).count("note") == 1


def test_what_was_being_handled_while_the_chat_became_known_comes_with_the_card(
    unknown: Incident, push: Any, bot: Bot
) -> None:
    push(bot, message_received("/note early"))
    becomes_known(unknown)
    push(bot, message_received("/note in time"))
    Incident.objects.update(chat_id="")  # whoever looks now does not find it yet
    push(bot, message_received("/note in between"))
    Incident.objects.update(chat_id=CHAT_ID)
    card = OutboxItem.objects.get(step="incident.card")
    card.status, card.result = OutboxItem.Status.SENT, {"message_id": "om_card"}
    on_card_sent(card)
    notes = unknown.timeline.filter(kind="note").order_by("pk")
    assert [one.text for one in notes] == ["early", "in time", "in between"]
    assert len(texts(unknown)) == 3


@pytest.mark.postgres
def test_an_early_event_that_breaks_does_not_keep_the_card_away(
    unknown: Incident, push: Any, bot: Bot
) -> None:
    nobody = ("ou_" + "x" * 300, "an id that no column takes", "user")
    push(bot, with_mentions(message_received("/lead @_user_1"), nobody))
    becomes_known(unknown)
    assert OutboxItem.objects.filter(step="incident.card").exists()


# --- A chat that is imported -----------------------------------------------------------------------------------
def imported(bot: Bot, **fields: Any) -> Incident:
    return Incident.objects.import_chat(
        bot=bot, chat_id=CHAT_ID, title="Payments fail", by=OPERATOR, **fields
    )


def test_an_imported_chat_brings_what_the_log_has_of_it(bot: Bot, push: Any) -> None:
    push(bot, message_received("/note what we saw"))
    push(bot, message_received("rolled back"))
    incident = imported(bot)
    assert texts(incident) == ["/note what we saw", "rolled back"]
    assert (answers(), kinds(incident).count("note")) == ([], 0)  # commands are over long ago


def test_an_imported_chat_brings_only_the_time_of_the_incident(bot: Bot, push: Any) -> None:
    moments = (1_800_000_000, 1_800_000_100, 1_800_000_200)
    for number, moment in enumerate(moments):
        push(bot, message_received(f"message {number}", created_at=moment))
    created = list(Event.objects.order_by("pk").values_list("created_at", flat=True))
    assert texts(imported(bot, opened_at=created[1], resolved_at=created[1], resolved=True)) == ["message 1"]


# --- News of a message that overtakes it -----------------------------------------------------------------------
def test_a_pin_that_overtakes_its_message_marks_it_all_the_same(
    incident: Incident, push: Any, bot: Bot
) -> None:
    push(bot, reacted("om_1"))
    push(bot, reacted("om_2", emoji="OK"))
    push(bot, message_received("root cause found", message_id="om_1"))
    push(bot, message_received("well", message_id="om_2"))
    important = incident.timeline.filter(important=True)
    assert [one.message_id for one in important] == ["om_1"]


def test_of_two_edits_that_cross_the_later_one_counts(incident: Incident, push: Any, bot: Bot) -> None:
    push(bot, edited("first", message_id="om_1", later=0))
    push(bot, edited("third", message_id="om_1", later=2000))
    push(bot, edited("second", message_id="om_1", later=1000))
    assert texts(incident) == ["third"]


def test_a_long_past_is_imported_with_as_many_queries_as_a_short_one(bot: Bot, push: Any) -> None:
    Person.objects.create(bot=bot, open_id=LIN[0], name=LIN[1])
    counts, said = [], []
    for messages in (3, 30):
        for number in range(messages):
            push(bot, message_received(f"message {number}", sender=LIN))
        with CaptureQueriesContext(connection) as queries:
            incident = imported(bot)
        counts.append(len(queries))
        said.append(len(texts(incident)))
        incident.delete()
    assert (counts[0], said) == (counts[1], [3, 33])
