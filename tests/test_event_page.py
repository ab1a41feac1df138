"""The page of one event: in words, how it came, what reacted, and a push of it that works."""

import json
import os
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import translation

from events.eventpage import curl, lasted, next_delivery
from events.models import Event, Person
from events.naming import naming
from events.sentences import SENTENCES, sentence
from tests import feishu_events

pytest_plugins = ["tests.admin_fixtures"]

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def text_of(client, event):
    answer = client.get(f"/admin/events/event/{event.pk}/change/")
    assert answer.status_code == 200
    return answer.content.decode()


def said(event):
    with translation.override("en"):
        return sentence(event, naming([event]))


def message(text='{"text": "hello\\nthere"}', kind="text"):
    return {"message": {"content": text, "message_type": kind}}


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({}, "Ada joined Team, invited by Boss"),
        ({"actor_open_id": "ou_ada"}, "Ada joined Team"),
        ({"event_type": "im.chat.member.user.deleted_v1"}, "Boss removed Ada from Team"),
        ({"event_type": "im.message.receive_v1", "payload": message()}, "Boss wrote in Team: “hello there”"),
        (
            {"event_type": "im.message.receive_v1", "payload": message("{", "image")},
            "Boss wrote in Team: “[image]”",
        ),
        (
            {"event_type": "im.message.receive_v1", "payload": message('{"text": "%s"}')},
            "Boss wrote in Team: “%s”",
        ),
        (
            {"event_type": "card.action.trigger", "payload": {"action": {"value": {"action": "ack"}}}},
            "Boss pressed “ack” on a card in Team",
        ),
        ({"event_type": "im.chat.disbanded_v1", "actor_open_id": ""}, "Team was dissolved"),
        ({"event_type": "vendor.new_v9", "payload": {}}, "vendor.new_v9 · Boss · Team"),
    ],
)
def test_an_event_is_told_as_a_sentence_with_names(make_event, bot, columns, words):
    from events.people import remember_chats

    Person.objects.create(bot=bot, open_id="ou_boss", name="Boss")
    remember_chats(bot, {"oc_team": "Team"})
    payload = columns.pop("payload", None)
    event = make_event(**columns, **({"body": {"event": payload}} if payload is not None else {}))
    assert said(event) == words


@pytest.mark.parametrize("event_type", SENTENCES)
@pytest.mark.parametrize("body", [{}, {"event": []}, {"event": {"users": 3, "message": [], "action": "x"}}])
def test_every_sentence_can_be_said_of_any_payload(make_event, event_type, body):
    assert said(make_event(event_type=event_type, body=body, chat_id="", actor_open_id=""))


def test_who_has_no_name_is_called_by_a_short_id(make_event):
    event = make_event(body={"event": {}}, actor_open_id="ou_0123456789abcdef", chat_id="oc_0123456789abcdef")
    assert said(event) == "ou_01…abcdef joined oc_01…abcdef"


@pytest.mark.parametrize(
    ("seconds", "now", "expected"),
    [
        ([0], 5, None),
        ([0, 15], 20, 15 + 300),
        ([0, 15], 400, None),
        ([0, 15, 315], 400, 315 + 3600),
        ([0, 15, 315, 3915], 4000, 3915 + 6 * 3600),
        ([0, 15, 315, 3915, 25515], 25600, None),
        ([], 0, None),
    ],
)
def test_the_next_delivery_follows_feishus_clock(seconds, now, expected):
    times = [START + timedelta(seconds=second) for second in seconds]
    at = next_delivery(times, START + timedelta(seconds=now))
    assert at == (None if expected is None else START + timedelta(seconds=expected))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.25, "0.2 s"), (-3, "−3.0 s"), (61, "1 min 1 s"), (7200, "2 h"), (90061, "1 d 1 h")],
)
def test_a_lag_is_told_in_its_two_largest_units(seconds, words):
    with translation.override("en"):
        assert lasted(timedelta(seconds=seconds)) == words


def test_the_page_tells_deliveries_lag_and_handler(operator, make_event):
    times = [(START + timedelta(seconds=wait)).isoformat() for wait in (0, 15)]
    event = make_event(
        created_at=START,
        received_at=START + timedelta(seconds=2),
        deliveries=4,
        delivery_times=times,
        handler="a.b.c",
    )
    html = text_of(operator, event)
    for words in ("2.0 s later", "after 15 s", "and 2 more", "<code>a.b.c</code>", "none expected"):
        assert words in html


def test_the_page_links_to_what_has_something_in_common(operator, make_event):
    html = text_of(operator, make_event())
    for link in ("?chat=oc_team", "?person=ou_ada", "?type=im.chat.member.user.added_v1"):
        assert f'href="/admin/events/event/{link}"' in html


def test_the_page_links_to_what_the_event_caused(operator, make_event, make_item, bot):
    from templates.starters import make_starters

    template = make_starters(bot)[0]
    event = make_event()
    item = make_item(cause=event)
    item.subject = template
    item.save()
    html = text_of(operator, event)
    assert f"/admin/events/outboxitem/{item.pk}/change/" in html
    assert f"/admin/templates/welcometemplate/{template.pk}/change/" in html


def test_the_page_links_to_the_incident_of_its_chat_but_not_to_a_private_one(client_of, make_event, bot):
    from incidents.models import Actor, Incident, Via

    incident = Incident.objects.import_chat(bot=bot, chat_id="oc_team", title="x", by=Actor(Via.ADMIN))
    reader = client_of("reader", ["view_event", "view_incident"])
    event = make_event()
    link = f"/admin/incidents/incident/{incident.pk}/change/"
    assert link in text_of(reader, event)
    Incident.objects.update(private=True)
    answer = reader.get(f"/admin/events/event/{event.pk}/change/")
    assert link not in answer.content.decode()


def test_the_handler_that_reacted_is_kept(bot, push):
    push(bot, feishu_events.member_joined())
    assert Event.objects.get().handler == "templates.handlers.greet_new_members"


@pytest.mark.parametrize("body", [[], "text", {"schema": "2.0", "header": []}])
def test_odd_payloads_have_a_page_too(operator, make_event, body):
    assert text_of(operator, make_event(body=body))


def test_no_secret_of_the_bot_is_in_the_page(operator, make_event, bot):
    html = text_of(operator, make_event())
    for secret in (bot.encrypt_key, bot.verification_token, bot.app_secret):
        assert secret.reveal() not in html


def test_half_a_character_in_a_message_breaks_no_page(operator, bot, push):
    body = feishu_events.message_received()
    body["event"]["message"]["content"] = json.dumps(
        {"text": "cut \ud83d"}
    )  # spelled \\ud83d inside the JSON
    push(bot, body)
    assert "“cut ?”" in text_of(operator, Event.objects.get())


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("key", [feishu_events.ENCRYPT_KEY, ""])
def test_the_curl_is_a_push_that_the_console_takes(bot, push, django_db_setup, live_server, settings, key):
    settings.PUBLIC_URL = live_server.url
    bot.encrypt_key = key
    bot.save()
    bot.refresh_from_db()
    push(bot, feishu_events.message_received('it\'s "quoted" 支付 $HOME `x`'))
    secrets = {"VERIFICATION_TOKEN": bot.verification_token.reveal(), "ENCRYPT_KEY": key}
    script = curl(Event.objects.select_related("bot").get())
    environment = {"PATH": os.environ["PATH"], **secrets}
    bash = ["bash", "-eu", "-c", script]
    done = subprocess.run(bash, env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("{}", "")
    assert Event.objects.get().deliveries == 2
