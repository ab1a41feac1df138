"""Names in the lists: wanted by a page, asked for by the worker, a few at a time and once a day."""

from datetime import timedelta

import pytest
from django.utils import timezone

from events import people
from events.models import Chat, OutboxItem, Person
from events.naming import naming
from events.people import ASKED_AT_ONCE, ask_wanted
from events.reading import read_new
from tests.incident_world import work

pytest_plugins = ["tests.admin_fixtures", "tests.incident_fixtures"]

LIST = "/admin/events/event/"


@pytest.fixture
def message(make_event):
    """A message that names nobody."""

    def make(open_id="ou_silent", chat_id="oc_quiet"):
        columns = {"event_type": "im.message.receive_v1", "body": {"event": {}}}
        return make_event(actor_open_id=open_id, chat_id=chat_id, **columns)

    return make


def wanted(model):
    return model.objects.filter(wanted_at__isnull=False).count()


def asked():
    return list(OutboxItem.objects.order_by("pk").values_list("call", flat=True))


def test_a_page_notes_whose_name_it_wanted_and_queues_nothing(operator, message):
    message()
    operator.get(LIST)
    assert (wanted(Person), wanted(Chat), asked()) == (1, 1, [])


def test_the_worker_asks_for_what_a_page_wanted_once_a_day(operator, message):
    message()
    operator.get(LIST)
    now = timezone.now()
    assert ask_wanted(now) == 2
    operator.get(LIST)
    assert ask_wanted(now + timedelta(hours=1)) == 0
    assert asked() == ["get_person", "get_chat"]


def test_a_name_is_asked_for_again_after_a_day(operator, message, bot):
    message()
    long_ago = timezone.now() - timedelta(days=2)
    Person.objects.create(bot=bot, open_id="ou_silent", name="Old", seen_at=long_ago, asked_at=long_ago)
    assert ">Old</a>" in operator.get(LIST).content.decode()
    assert wanted(Person) == 1


def test_a_name_heard_today_is_not_asked_for(operator, message, bot):
    message()
    people.remember(bot, {"ou_silent": "Ada"})
    people.remember_chats(bot, {"oc_quiet": "Team"})
    operator.get(LIST)
    assert (wanted(Person), wanted(Chat)) == (0, 0)


def test_a_burst_of_strangers_is_asked_for_a_few_at_a_time(operator, message):
    for number in range(30):
        message(f"ou_{number:032}", f"oc_{number:032}")
    operator.get(LIST)
    assert wanted(Person) + wanted(Chat) == 60
    now = timezone.now()
    assert ask_wanted(now) <= 2 * ASKED_AT_ONCE
    assert ask_wanted(now) == 0
    OutboxItem.objects.update(status="sent")
    assert ask_wanted(now) > 0


def test_one_refused_question_ends_them_for_an_hour(operator, message, make_item):
    make_item(call="get_person", status="failed", error_code=99991672)
    message()
    operator.get(LIST)
    ask_wanted(timezone.now())
    assert asked() == ["get_person", "get_chat"]


def test_a_disabled_bot_asks_nothing(operator, message, bot):
    message()
    operator.get(LIST)
    bot.enabled = False
    bot.save()
    assert ask_wanted(timezone.now()) == 0


def test_an_export_wants_no_names(operator, message):
    message()
    b"".join(operator.get(f"{LIST}export/").streaming_content)
    assert wanted(Person) + wanted(Chat) == 0


def test_events_teach_names_after_the_webhook_has_answered(make_event, bot):
    make_event()
    make_event(event_type="im.chat.updated_v1", body={"event": {"after_change": {"name": "Team 2"}}})
    read_new()
    assert people.names(bot, ["ou_ada"]) == {"ou_ada": "Ada"}
    assert Chat.objects.get().name == "Team 2"


def test_a_name_that_an_event_tells_goes_before_what_is_on_record(make_event, bot):
    people.remember(bot, {"ou_ada": "Ada (old)"})
    event = make_event()
    assert naming([event]).people_in(event) == {"ou_ada": "Ada"}


@pytest.mark.django_db(transaction=True)
def test_names_come_from_feishu_by_the_outbox(bot, feishu, operator, message):
    group = feishu.call("POST", "groups", {"name": "值班群"})["chat_id"]
    feishu.person("Ada Lovelace", "ou_silent")
    message(chat_id=group)
    operator.get(LIST)
    work()
    html = operator.get(LIST).content.decode()
    assert ">值班群</a>" in html
    assert ">Ada Lovelace</a>" in html


@pytest.mark.django_db(transaction=True)
def test_a_chat_that_feishu_does_not_know_is_no_failure(bot, feishu, operator, message):
    feishu.person("Ada", "ou_silent")
    message(chat_id="oc_00000000000000000000000000000000")
    operator.get(LIST)
    work()
    assert not OutboxItem.objects.filter(status="failed").exists()
