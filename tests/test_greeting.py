"""Who is greeted, with which card, and who is not."""

import json
import time
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from events.models import Bot, Event, OutboxItem
from templates.models import Greeting, Trigger, WelcomeTemplate
from templates.starters import make_starters, starter_card
from tests.feishu_events import bot_added, bot_entered, member_joined, p2p_chat_create, v2

pytestmark = pytest.mark.django_db


def card_saying(text: str) -> str:
    body = {"elements": [{"tag": "markdown", "content": text}]}
    return json.dumps({"schema": "2.0", "config": {"update_multi": True}, "body": body})


def template(
    bot: Bot, text: str = "hello", trigger: str = Trigger.MEMBER_JOINED, **fields: Any
) -> WelcomeTemplate:
    return WelcomeTemplate.objects.create(
        bot=bot, name=text, trigger=trigger, card=card_saying(text), **fields
    )


def texts_sent() -> list[str]:
    return [item.content["body"]["elements"][0]["content"] for item in OutboxItem.objects.order_by("pk")]


def test_a_new_member_is_greeted_in_the_group_by_name(bot: Bot, push: Any) -> None:
    template(bot, "{{ users.mentions }} welcome to {{ chat.name }}")
    push(bot, member_joined(("ou_ada", "Ada"), chat_id="oc_1", chat_name="Payments"))
    assert texts_sent() == ["<at id=ou_ada></at> welcome to Payments"]
    assert OutboxItem.objects.get().arguments["receive_id"] == "oc_1"


def test_everyone_in_one_event_shares_one_card(bot: Bot, push: Any) -> None:
    template(bot, "{{ users.count }}: {{ users.mentions }} / {{ users.names }}")
    push(bot, member_joined(("ou_ada", "Ada"), ("ou_lin", "Lin")))
    assert texts_sent() == ["2: <at id=ou_ada></at> <at id=ou_lin></at> / Ada、Lin"]


@pytest.mark.parametrize(
    "name", ["<at id=all></at>", "**x**](http://evil)", "{{ bot.name }}", "[a](http://b)"]
)
def test_a_hostile_name_is_shown_literally(bot: Bot, push: Any, name: str) -> None:
    template(bot, "{{ user.name }}")
    push(bot, member_joined(("ou_eve", name)))
    (text,) = texts_sent()
    assert not set("<>*[]()") & set(text)


def test_without_a_template_nobody_is_greeted(bot: Bot, push: Any) -> None:
    push(bot, member_joined())
    assert Event.objects.get().status == Event.Status.IGNORED
    assert not OutboxItem.objects.exists()


def test_a_disabled_template_greets_nobody(bot: Bot, push: Any) -> None:
    template(bot, enabled=False)
    push(bot, member_joined())
    assert not OutboxItem.objects.exists()


def test_the_template_that_names_the_chat_wins_over_the_one_for_all(bot: Bot, push: Any) -> None:
    template(bot, "here", chat_ids=["oc_1"])
    template(bot, "everywhere")
    push(bot, member_joined(chat_id="oc_1"))
    push(bot, member_joined(chat_id="oc_2"))
    assert texts_sent() == ["here", "everywhere"]


def test_templates_of_another_bot_are_not_used(bot: Bot, push: Any) -> None:
    other = Bot.objects.create(
        name="two", slug="two", app_id="cli_two", app_secret="s", verification_token="v"
    )
    template(other)
    push(bot, member_joined())
    assert not OutboxItem.objects.exists()


def test_the_bot_introduces_itself_when_it_joins_a_group(bot: Bot, push: Any) -> None:
    template(bot, "I am {{ bot.name }} in {{ chat.name }}", Trigger.BOT_JOINED)
    push(bot, bot_added(chat_name="Payments"))
    assert texts_sent() == ["I am OpsBot in Payments"]


@pytest.mark.parametrize(
    ("first", "second"), [(p2p_chat_create, bot_entered), (bot_entered, p2p_chat_create)]
)
def test_a_person_is_greeted_once_whichever_event_comes_first(
    bot: Bot, push: Any, first: Any, second: Any
) -> None:
    template(bot, trigger=Trigger.CONVERSATION_STARTED)
    push(bot, first())
    push(bot, second())
    push(bot, bot_entered())
    assert OutboxItem.objects.count() == 1
    assert Event.objects.filter(summary="greeted before").count() == 2


def test_another_person_is_greeted_too(bot: Bot, push: Any) -> None:
    template(bot, trigger=Trigger.CONVERSATION_STARTED)
    push(bot, bot_entered(("ou_ada", "Ada")))
    push(bot, bot_entered(("ou_lin", "Lin"), chat_id="oc_p2p2"))
    assert [item.target for item in OutboxItem.objects.order_by("pk")] == ["oc_p2p", "oc_p2p2"]


def test_who_was_not_greeted_for_want_of_a_template_is_greeted_once_there_is_one(bot: Bot, push: Any) -> None:
    push(bot, bot_entered())
    assert not Greeting.objects.exists()
    template(bot, trigger=Trigger.CONVERSATION_STARTED)
    push(bot, bot_entered())
    assert OutboxItem.objects.count() == 1


def test_a_new_member_is_still_greeted_a_few_hours_late(bot: Bot, push: Any) -> None:
    template(bot)
    push(bot, member_joined(created_at=time.time() - 5 * 3600))
    assert OutboxItem.objects.count() == 1


@pytest.mark.parametrize(("hours_late", "late_hours"), [(25, 24), (2, 0), (2, 1)])
def test_nobody_is_greeted_later_than_the_template_says(
    bot: Bot, push: Any, hours_late: int, late_hours: int
) -> None:
    template(bot, late_hours=late_hours)
    push(bot, member_joined(created_at=time.time() - hours_late * 3600))
    event = Event.objects.get()
    assert (event.status, event.late) == (Event.Status.IGNORED, True)
    assert "too late" in event.summary


def test_a_template_that_does_not_greet_late_greets_in_time(bot: Bot, push: Any) -> None:
    template(bot, late_hours=0)
    push(bot, member_joined())
    assert OutboxItem.objects.count() == 1


@pytest.mark.parametrize(
    "users", [None, [], "x", [None], [{"name": "Ada"}], [{"name": "Ada", "user_id": {"open_id": ""}}]]
)
def test_an_event_that_names_nobody_is_ignored(bot: Bot, push: Any, users: Any) -> None:
    template(bot)
    push(bot, v2("im.chat.member.user.added_v1", {"chat_id": "oc_1", "users": users}))
    assert Event.objects.get().status == Event.Status.IGNORED


def refusal_of(bot: Bot, **fields: Any) -> dict[str, list[str]]:
    defaults = {"name": "t", "trigger": Trigger.MEMBER_JOINED, "card": card_saying("hello"), "bot": bot}
    with pytest.raises(ValidationError) as error:
        WelcomeTemplate(**(defaults | fields)).full_clean()
    return error.value.message_dict


def test_an_unknown_variable_is_refused_with_its_path(bot: Bot) -> None:
    problems = refusal_of(bot, card=card_saying("{{ user.password }}"))
    assert "body.elements[0].content" in problems["card"][0]
    assert "user.password" in problems["card"][0]


def test_a_variable_of_another_trigger_is_refused(bot: Bot) -> None:
    assert "card" in refusal_of(bot, trigger=Trigger.BOT_JOINED, card=card_saying("{{ user.name }}"))


@pytest.mark.parametrize("card", ["", "{", "[]", '{"schema":"2.0","body":{"elements":[{"tag":"nonsense"}]}}'])
def test_a_card_that_feishu_would_refuse_is_not_saved(bot: Bot, card: str) -> None:
    assert "card" in refusal_of(bot, card=card)


def test_a_chat_id_that_is_none_is_refused(bot: Bot) -> None:
    assert "chat_ids" in refusal_of(bot, chat_ids=["payments"])


@pytest.mark.parametrize(("ours", "theirs"), [([], []), (["oc_1", "oc_2"], ["oc_2"])])
def test_two_enabled_templates_for_the_same_chats_are_refused(
    bot: Bot, ours: list[str], theirs: list[str]
) -> None:
    template(bot, "the first", chat_ids=theirs)
    assert "the first" in refusal_of(bot, chat_ids=ours)["chat_ids"][0]


def test_the_starters_greet_with_every_trigger(bot: Bot, push: Any) -> None:
    make_starters(bot)
    for event in (member_joined(), bot_entered(), bot_added()):
        push(bot, event)
    assert OutboxItem.objects.count() == 3
    assert [template.full_clean() for template in bot.welcome_templates.all()] == [None] * 3


def test_the_starters_are_made_only_for_a_bot_without_templates(bot: Bot) -> None:
    template(bot)
    assert make_starters(bot) == []


def test_an_edited_template_is_used_for_the_next_member(bot: Bot, push: Any) -> None:
    mine = template(bot, "before")
    push(bot, member_joined())
    mine.card = card_saying("after")
    mine.save()
    push(bot, member_joined())
    assert texts_sent() == ["before", "after"]


def test_a_card_that_no_longer_fits_fails_the_event_where_the_operator_sees_it(bot: Bot, push: Any) -> None:
    WelcomeTemplate.objects.create(bot=bot, name="t", card='{"schema":"2.0"')
    assert push(bot, member_joined()).status_code == 200
    assert Event.objects.get().status == Event.Status.FAILED


def test_the_starter_card_is_the_text_an_operator_edits() -> None:
    assert json.loads(starter_card(Trigger.MEMBER_JOINED))["schema"] == "2.0"
