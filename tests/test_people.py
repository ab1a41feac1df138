"""Names: learned from events, asked for once a day, and written wherever only an open_id stood."""

from datetime import timedelta
from typing import Any

import pytest

from events import people
from events.models import Bot, OutboxItem, Person
from incidents.models import Actor, Incident, Via
from tests.feishu_events import ADA, LIN, message_received
from tests.incident_world import BOT_OPEN_ID, Feishu, running, with_mentions, work

pytest_plugins = ["tests.incident_fixtures"]
pytestmark = pytest.mark.django_db


def known(bot: Bot) -> dict[str, str]:
    return people.names(bot, Person.objects.values_list("open_id", flat=True))


def asked() -> list[str]:
    return [row.arguments["open_id"] for row in OutboxItem.objects.filter(call="get_person").order_by("pk")]


# --- Learning ---------------------------------------------------------------------------------------------
def test_a_message_that_mentions_someone_teaches_the_name(bot: Bot, push: Any) -> None:
    push(bot, with_mentions(message_received("@_user_1 hi", sender=LIN), (*ADA, "user")))
    assert known(bot) == {ADA[0]: ADA[1]}


def test_a_new_name_replaces_the_old_one(bot: Bot) -> None:
    people.remember(bot, {"ou_ada": "Ada"})
    people.remember(bot, {"ou_ada": "Ada L.", "ou_lin": "Lin"})
    assert known(bot) == {"ou_ada": "Ada L.", "ou_lin": "Lin"}


def test_a_known_name_is_not_written_again(bot: Bot, django_assert_num_queries: Any) -> None:
    people.remember(bot, {"ou_ada": "Ada"})
    with django_assert_num_queries(1):
        people.remember(bot, {"ou_ada": "Ada"})


def test_bad_names_and_ids_are_left_out(bot: Bot) -> None:
    people.remember(bot, {"ou_ada": "  ", "": "Nobody", "x" * 300: "Long", "ou_lin": "L" * 500})
    assert known(bot) == {"ou_lin": "L" * 120}


def test_names_belong_to_a_bot(bot: Bot) -> None:
    other = Bot.objects.create(name="Other", slug="other", app_id="cli_other")
    people.remember(other, {"ou_ada": "Somebody else"})
    assert people.names(bot, ["ou_ada"]) == {}


# --- Asking -----------------------------------------------------------------------------------------------
def test_a_person_is_asked_for_once_a_day(bot: Bot) -> None:
    assert people.ask(bot, "ou_ada")
    assert people.ask(bot, "ou_ada") is None
    Person.objects.update(asked_at=Person.objects.get().asked_at - timedelta(hours=24, minutes=1))
    OutboxItem.objects.all().delete()
    assert people.ask(bot, "ou_ada")


def test_the_question_waits_for_no_chat_and_no_chat_for_it(bot: Bot) -> None:
    item = people.ask(bot, "ou_ada")
    assert (item.call, item.target) == ("get_person", "ou_ada")


@pytest.mark.django_db(transaction=True)
def test_the_contact_api_tells_a_name(bot: Bot, feishu: Feishu) -> None:
    feishu.person("Ada Lovelace", "ou_ada")
    people.ask(bot, "ou_ada")
    work()
    assert known(bot) == {"ou_ada": "Ada Lovelace"}


@pytest.mark.django_db(transaction=True)
def test_someone_whom_the_contact_api_does_not_know_is_no_failure(bot: Bot, feishu: Feishu) -> None:
    feishu.person("Hidden", "ou_hidden", visible=False)
    people.ask(bot, "ou_hidden")
    work()
    assert not OutboxItem.objects.exists()
    assert people.ask(bot, "ou_hidden") is None


@pytest.mark.django_db(transaction=True)
def test_a_missing_scope_stays_for_the_operator_to_see(bot: Bot, feishu: Feishu) -> None:
    feishu.fault(code=99991672, path="/contact/v3/users/")
    people.ask(bot, "ou_ada")
    work()
    assert OutboxItem.objects.get().error_code == 99991672


# --- Using ------------------------------------------------------------------------------------------------
def test_a_command_is_done_by_the_name_that_is_known(bot: Bot, incident: Incident, say: Any) -> None:
    people.remember(bot, dict([ADA]))
    say("/ack")
    incident.refresh_from_db()
    assert (incident.acknowledged_by, asked()) == ("Ada", [])
    assert set(incident.timeline.filter(open_id=ADA[0]).values_list("person", flat=True)) == {"Ada"}


def test_a_command_by_somebody_unknown_asks_for_the_name_once(incident: Incident, say: Any) -> None:
    say("hello")
    say("/ack")
    assert asked() == [ADA[0]]


@pytest.mark.django_db(transaction=True)
def test_an_answer_fills_in_the_name_wherever_it_was_missing(bot: Bot, feishu: Feishu) -> None:
    incident = running(bot, feishu)
    Person.objects.all().delete()
    incident.timeline.all().delete()
    feishu.say(incident.chat_id, ADA[0], "/solve done")
    work()
    incident.refresh_from_db()
    assert (incident.resolved_by, incident.resolved_by_open_id) == ("Ada", ADA[0])
    assert set(incident.timeline.filter(open_id=ADA[0]).values_list("person", flat=True)) == {"Ada"}


def test_a_name_learned_later_is_in_the_toast(bot: Bot, incident: Incident, press: Any) -> None:
    from incidents.cards import signed_value

    incident.resolve(Actor(Via.COMMAND, open_id=LIN[0]))
    people.remember(bot, dict([LIN]))
    toast = press(signed_value(incident, "resolve"))["toast"]
    assert toast["i18n"]["en_us"].startswith(f"{incident} was resolved by 林小满 at ")


@pytest.mark.django_db(transaction=True)
def test_the_bot_learns_how_it_is_mentioned(bot: Bot, feishu: Feishu) -> None:
    Bot.objects.update(name="支付机器人")
    group = feishu.call("POST", "groups", {"name": "anywhere"})["chat_id"]
    feishu.call("POST", f"groups/{group}/members", {"open_id": "ou_ada", "name": "Ada"})
    feishu.say(group, "ou_ada", "/help", mention_bot=True)
    work()
    assert Bot.objects.get().open_id.startswith("ou_")
    feishu.say(group, "ou_ada", "/help", mention_bot=True)
    work()
    assert sum("/ack" in text for text in feishu.texts(group)) == 2


def test_a_mention_of_another_bot_is_not_for_us(bot: Bot, push: Any) -> None:
    Bot.objects.update(open_id=BOT_OPEN_ID)
    push(bot, with_mentions(message_received("@_user_1 /help"), ("ou_other", bot.name, "bot")))
    assert not OutboxItem.objects.exists()
