"""Which events a choice of filters means; the same for the page, the export and a replay."""

import json
import string
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone, translation

from events.eventfilter import EventFilter, FilterError, first_pk_at
from events.eventwords import asked_tokens, is_id, texts_and_ids
from events.models import Chat, Event, EventText, Person, eventtext
from events.reading import catch_up, read_new

pytest_plugins = ["tests.admin_fixtures"]


def found(**params):
    catch_up()
    return set(EventFilter.from_query(params).queryset())


def message(make_event, text, **columns):
    content = json.dumps({"text": text}, ensure_ascii=False)
    body = {"event": {"message": {"content": content, "message_id": "om_1"}}}
    return make_event(event_type="im.message.receive_v1", body=body, **columns)


@pytest.mark.parametrize(
    ("params", "columns"),
    [
        ({"type": "im.chat.updated_v1"}, {"event_type": "im.chat.updated_v1"}),
        ({"type": "other"}, {"event_type": "vendor.new_v9"}),
        ({"status": "failed"}, {"status": "failed"}),
        ({"chat": "oc_other"}, {"chat_id": "oc_other"}),
        ({"person": "ou_someone"}, {"actor_open_id": "ou_someone"}),
        ({"transport": "long_connection"}, {"transport": "long_connection"}),
        ({"delivery": "late"}, {"late": True}),
        ({"delivery": "again"}, {"deliveries": 2}),
        ({"q": "event-wanted"}, {"event_id": "event-wanted"}),
        ({"q": "oc_wanted"}, {"body": {"event": {"chat_id": "oc_wanted"}}}),
        (
            {"status": "failed", "delivery": "late", "q": "oc_a"},
            {"status": "failed", "late": True, "body": {"event": {"x": ["oc_a"]}}},
        ),
    ],
)
def test_a_filter_finds_what_fits_and_nothing_else(make_event, params, columns):
    make_event()
    wanted = make_event(**columns)
    assert found(**params) == {wanted}


@pytest.mark.parametrize("rare", [{"status": "failed"}, {"delivery": "late"}, {"delivery": "again"}])
def test_rare_events_are_narrowed_by_bot_chat_and_type(make_event, bot, rare):
    columns = {"status": "failed", "late": True, "deliveries": 2}
    wanted = make_event(chat_id="oc_100%", event_type="vendor.new_v9", **columns)
    make_event(event_type="vendor.new_v9", **columns)
    make_event(chat_id="oc_100%", **columns)
    make_event(chat_id="oc_100%", event_type="vendor.new_v9")
    narrowed = {**rare, "bot": str(bot.pk), "chat": "oc_100%"}
    assert found(**narrowed, type="vendor.new_v9") == found(**narrowed, type="other") == {wanted}


def test_a_filter_of_one_bot_finds_only_its_events(make_event, bot):
    event = make_event()
    assert found(bot=str(bot.pk)) == {event}
    assert found(bot=str(bot.pk + 1)) == set()


def test_a_person_is_found_in_whatever_they_took_part(make_event):
    event = make_event()
    assert found(person="ou_ada") == found(person="ou_boss") == {event}
    assert found(person="ou_nobody") == set()


@pytest.mark.parametrize(
    "phrase",
    [
        "林夏",
        "支付失败",
        "林夏 说",
        "PAYMENT",
        "ayment fai",
        "100%",
        "it's",
        "a_b",
        "back\\slash",
        '"quoted"',
        "é",
        "!",
        "林夏\u3000说",
    ],
)
def test_text_inside_the_payload_is_found_in_any_script(make_event, phrase):
    message(make_event, "hello")
    text = '林夏 说: 支付失败! Payment failed, 100% of it\'s a_b back\\slash "quoted" é'
    wanted = message(make_event, text)
    assert found(q=phrase) == {wanted}


@pytest.mark.parametrize("phrase", ["%", "_", "100_", "pay%failed", "'; DROP TABLE", '" OR 1', "\\"])
def test_signs_that_databases_read_are_only_signs(make_event, phrase):
    message(make_event, "1001 payments failed")
    assert found(q=phrase) == set()


def test_escapes_inside_a_message_do_not_hide_its_text(make_event):
    content = '{"text": "\\u652f\\u4ed8\\u5931\\u8d25 \\"now\\""}'
    event = make_event(body={"event": {"message": {"content": content}}})
    assert found(q="支付失败") == found(q='失败 "now"') == {event}


def test_events_are_found_by_names_that_only_the_console_knows(make_event, bot):
    Person.objects.create(bot=bot, open_id="ou_silent", name="赵六")
    Chat.objects.create(bot=bot, chat_id="oc_quiet", name="值班群")
    by_person = message(make_event, "x", actor_open_id="ou_silent")
    in_chat = make_event(body={"event": {"chat_id": "oc_quiet"}})
    assert found(q="赵六") == {by_person}
    assert found(q="值班") == {in_chat}


def test_a_message_is_found_with_all_that_was_said_about_it(make_event):
    spoken = message(make_event, "x", dedup_key="om_1")
    recalled = make_event(body={"event": {"message_id": "om_1"}})
    make_event()
    assert found(q="om_1") == {spoken, recalled}


def test_a_time_range_includes_its_start_and_not_its_end(make_event):
    start = datetime(2026, 3, 1, 12, tzinfo=ZoneInfo("Asia/Shanghai"))
    events = [make_event(received_at=start + timedelta(hours=hour)) for hour in range(-3, 4)]
    assert found(since="2026-03-01 12:00", until="2026-03-01T14:00+08:00") == {events[3], events[4]}
    assert found(since="2026-03-02") == found(until="2026-03-01") == set()


def test_the_first_event_of_a_time_is_found_by_halving_with_gaps(make_event):
    start = timezone.now()
    events = [make_event(received_at=start + timedelta(hours=hour)) for hour in range(12)]
    Event.objects.filter(pk__in=[events[4].pk, events[5].pk, events[9].pk]).delete()
    assert first_pk_at(start - timedelta(days=1)) == events[0].pk
    assert first_pk_at(start + timedelta(hours=4)) == events[6].pk
    assert first_pk_at(start + timedelta(hours=11)) == events[11].pk
    assert first_pk_at(start + timedelta(hours=12)) is None


@pytest.mark.parametrize(
    "params",
    [
        {"q": "x" * 201},
        {"q": "a\0b"},
        {"q": "bell\x07"},
        {"bot": "1 or 1"},
        {"bot": "9" * 30},
        {"status": "gone"},
        {"delivery": "x"},
        {"transport": "pigeon"},
        {"since": "yesterday"},
        {"until": "2026-02-31"},
        {"since": "9999-12-31"},
        {"chat": "x" * 10_000},
    ],
)
def test_what_cannot_be_understood_is_refused_in_words(db, params):
    with translation.override("en"), pytest.raises(FilterError, match=r"\w+ \w+"):
        EventFilter.from_query(params)


def test_a_choice_survives_json_and_addresses(db):
    chosen = EventFilter.from_query(
        {"q": " 林夏 ", "status": "failed", "since": "2026-03-01", "p": "3", "e": ""}
    )
    assert chosen.as_json() == {"q": "林夏", "status": "failed", "since": "2026-03-01T00:00:00+08:00"}
    assert EventFilter.from_query(chosen.as_json()) == chosen
    assert EventFilter().is_empty


def test_bounds_keep_a_search_to_a_stretch_of_the_log(make_event):
    events = [message(make_event, "payment") for _ in range(4)]
    catch_up()
    rows = EventFilter(q="payment", person="ou_boss").queryset(above=events[0].pk, below=events[3].pk)
    assert set(rows) == {events[1], events[2]}


def test_events_become_searchable_once_and_those_that_committed_late_too(make_event):
    late = make_event()
    make_event()
    read_new()
    EventText.objects.filter(pk=late.pk).delete()
    assert (read_new(), read_new()) == (1, 0)


def test_everyone_of_a_common_name_is_found(make_event, bot):
    events = set()
    for number in range(30):
        Person.objects.create(bot=bot, open_id=f"ou_wang{number}", name="王伟")
        events.add(message(make_event, "x", actor_open_id=f"ou_wang{number}"))
    assert found(q="王伟") == events


@pytest.fixture
def old_log(make_event, monkeypatch):
    """Six events from before there was an index, of which a round reads one; none is looked at again."""
    monkeypatch.setattr(eventtext, "LOOKED_AT_AGAIN", 0)
    return [message(make_event, "payment") for _ in range(6)]


def test_of_a_log_without_an_index_the_newest_becomes_searchable_first(old_log, make_event):
    since = []
    for _ in old_log:
        read_new(1)
        since.append(EventText.objects.order_by("pk")[0].pk)
    assert since == [event.pk for event in reversed(old_log)]
    assert read_new(1) == 0


def test_what_comes_while_an_old_log_is_read_goes_before_it(old_log, make_event):
    read_new(1)
    new = message(make_event, "payment")
    read_new(1)
    assert set(EventText.objects.values_list("pk", flat=True)) == {old_log[-1].pk, new.pk}


def test_a_search_does_not_wait_for_an_old_log(old_log):
    read_new(1)
    catch_up()
    assert EventText.objects.count() == 1


def test_the_page_says_how_far_back_one_can_search(old_log, operator):
    read_new(2)
    note = "So far it reaches back to"
    assert note in operator.get("/admin/events/event/?q=payment").content.decode()
    assert note not in operator.get("/admin/events/event/").content.decode()
    read_new()
    assert note not in operator.get("/admin/events/event/?q=payment").content.decode()


def test_an_old_name_does_not_replace_a_newer_one(bot, make_event, monkeypatch):
    monkeypatch.setattr(eventtext, "LOOKED_AT_AGAIN", 0)
    make_event(body={"event": {"name": "Old", "users": []}})
    make_event(body={"event": {"name": "New", "users": []}})
    assert (read_new(1), read_new(1)) == (1, 1)
    assert Chat.objects.get().name == "New"


def test_what_was_deleted_is_not_found(make_event):
    event = message(make_event, "payment")
    assert found(q="payment") == {event}
    event.delete()
    assert found(q="payment") == set()
    assert not EventText.objects.exists()


def test_ids_and_texts_are_told_apart():
    payload = {
        "user": {"open_id": "ou_Ada"},
        "name": "Ada  Lovelace",
        "app_id": "cli_1",
        "create_time": "17",
        "n": 1,
    }
    assert texts_and_ids(payload) == ("ada lovelace", {"ou_Ada"})
    assert is_id("0a1b2c3d4e5f6a7b8c9d0")
    assert not is_id("internationalization-of-all")


@pytest.mark.parametrize("word", ["max_retr", "on_call", "pay_fa"])
def test_names_in_programs_are_texts_not_ids(make_event, word):
    wanted = message(make_event, "max_retries of on_call and pay_failed")
    assert found(q=word) == {wanted}


def test_an_id_inside_a_text_is_found_whole(make_event):
    wanted = message(make_event, "see oc_0123456789abcdef, please")
    assert found(q="oc_0123456789abcdef") == {wanted}


def test_a_long_phrase_asks_for_few_tokens():
    assert len(asked_tokens("支付" + string.ascii_letters * 2 + string.digits * 9)) == 16
    assert asked_tokens("x!") == []
