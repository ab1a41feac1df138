"""The pages of replays and of simulated events: as who may, as who may only look, as nobody; and bad input."""

import json
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from events.models import Bot, Event, OutboxItem, Replay
from templates.starters import make_starters
from tests.feishu_events import CHAT_NAME, member_joined

pytest_plugins = ["tests.admin_fixtures"]
pytestmark = pytest.mark.django_db

NEW = "/admin/events/replay/new/"
SIMULATE = "/admin/events/replay/simulate/"
FORM = {"why": "the template was missing", "calls_per_minute": "300"}


@pytest.fixture
def replayer(client_of: Any) -> Client:
    return client_of("replayer", ["view_event", "view_outboxitem", "replay_event", "simulate_event"])


@pytest.fixture
def missed(bot: Bot, push: Any) -> Event:
    """Somebody joined while there was no template; now there is one."""
    push(bot, member_joined())
    make_starters(bot)
    return Event.objects.get()


def page(replay: Replay) -> str:
    return reverse("admin:events_replay_change", args=[replay.pk])


def asked(client: Client, query: str = "", **form: Any) -> Replay:
    response = client.post(f"{NEW}{query}", {**FORM, **form})
    assert response.status_code == 302, response.content.decode()
    return Replay.objects.latest("pk")


def test_a_dry_run_shows_the_card_and_sends_nothing(replayer: Client, missed: Event) -> None:
    replay = asked(replayer, f"?events={missed.pk}")
    shown = replayer.get(page(replay)).content.decode()
    assert (replay.status, replay.why, replay.asked_by) == ("tried", FORM["why"], "replayer")
    assert "would be sent" in shown
    assert "Ada" in shown
    assert f'Send a card <span class="quiet">{CHAT_NAME}</span>' in shown  # a name, not an id
    assert not OutboxItem.objects.exists()


def test_every_call_of_a_dry_run_is_a_line_of_a_file(replayer: Client, missed: Event, nobody: Client) -> None:
    replay = asked(replayer, f"?events={missed.pk}")
    url = reverse("admin:events_replay_calls", args=[replay.pk])
    assert url in replayer.get(page(replay)).content.decode()
    lines = b"".join(replayer.get(url).streaming_content).decode("utf-8-sig").splitlines()  # type: ignore[attr-defined]
    assert lines[0] == "event,state,call,target,key"
    assert lines[1].startswith(f"{missed.pk},new,send_message,oc_test,welcome:")
    assert len(lines) == 2
    assert (replayer.post(url).status_code, nobody.get(url).status_code) == (405, 302)


def test_go_sends_it_and_says_who_said_so(replayer: Client, missed: Event) -> None:
    replay = asked(replayer, f"?events={missed.pk}")
    replayer.post(f"/admin/events/replay/{replay.pk}/start/")
    replay.refresh_from_db()
    item = OutboxItem.objects.get()
    assert (replay.status, replay.confirmed_by, item.replay, item.cause) == (
        "done",
        "replayer",
        replay,
        missed,
    )
    assert LogEntry.objects.filter(object_id=str(replay.pk), change_message="Started.").exists()


def test_a_filter_is_taken_from_the_lists_address(
    replayer: Client, missed: Event, push: Any, bot: Bot
) -> None:
    push(bot, member_joined(chat_id="oc_other"))
    replay = asked(replayer, "?chat=oc_test&status=ignored&p=7")
    assert replay.selection == {"filter": {"chat": "oc_test", "status": "ignored"}}
    assert replay.tried["events"] == 1


def test_the_lists_action_on_all_that_match_leads_to_the_filter_not_to_a_page_of_it(
    client_of: Any, make_event: Any
) -> None:
    client = client_of("both", ["view_event", "change_event", "replay_event"])
    events = [make_event(chat_id="oc_wanted") for _ in range(3)]
    chosen = {"action": "replay", "select_across": "1", "index": "0", "_selected_action": [events[0].pk]}
    response = client.post("/admin/events/event/?chat=oc_wanted", chosen)
    assert response.url == f"{NEW}?chat=oc_wanted"
    assert asked(client, "?chat=oc_wanted").tried["events"] == 3


def test_the_lists_action_leads_to_the_selected_events(
    replayer: Client, missed: Event, client_of: Any
) -> None:
    response = replayer.post(
        "/admin/events/event/", {"action": "replay", "_selected_action": [str(missed.pk)]}
    )
    assert response.headers["Location"] == f"{NEW}?events={missed.pk}"


def test_send_again_says_so_on_the_cards_outbox_row(replayer: Client, missed: Event) -> None:
    replayer.post(f"/admin/events/replay/{asked(replayer).pk}/start/")
    OutboxItem.objects.update(status="sent", sent_at=timezone.now())
    replay = asked(replayer, send_again="on")
    replayer.post(f"/admin/events/replay/{replay.pk}/start/")
    item = OutboxItem.objects.get(key__startswith="again:")
    for url in (reverse("admin:events_outboxitem_change", args=[item.pk]), "/admin/events/outboxitem/"):
        assert f"sent again by replay #{replay.pk}" in replayer.get(url).content.decode()


def test_cancel_ends_it(replayer: Client, missed: Event) -> None:
    replay = asked(replayer)
    replayer.post(f"/admin/events/replay/{replay.pk}/cancel/")
    replayer.post(f"/admin/events/replay/{replay.pk}/start/")
    replay.refresh_from_db()
    assert (replay.status, replay.cancelled_by, OutboxItem.objects.count()) == ("cancelled", "replayer", 0)


@pytest.mark.parametrize("who", ["viewer", "operator"])
def test_who_has_not_the_permission_may_look_only(
    who: str, request: pytest.FixtureRequest, replayer: Client, missed: Event
) -> None:
    replay, client = asked(replayer), request.getfixturevalue(who)
    urls = [NEW, *(f"/admin/events/replay/{replay.pk}/{verb}/" for verb in ("start", "cancel")), SIMULATE]
    assert [client.post(url, FORM).status_code for url in urls] == [403] * 4
    assert "Replay for real" not in client.get(page(replay)).content.decode()
    assert client.get("/admin/events/replay/").status_code == 200


def test_nobody_sees_the_login_page(nobody: Client, replayer: Client, missed: Event) -> None:
    replay = asked(replayer)
    urls = [NEW, page(replay), f"/admin/events/replay/{replay.pk}/start/", SIMULATE, "/admin/events/replay/"]
    assert [nobody.post(url, FORM).status_code for url in urls] == [302] * 5
    replay.refresh_from_db()
    assert replay.status == "tried"


def test_a_replay_is_started_and_cancelled_by_post_only(replayer: Client, missed: Event) -> None:
    replay = asked(replayer)
    urls = [f"/admin/events/replay/{replay.pk}/{verb}/" for verb in ("start", "cancel")]
    assert [replayer.get(url).status_code for url in urls] == [405] * 2


@pytest.mark.parametrize(
    "query",
    [
        "?events=",
        "?events=x",
        "?events=1,-2",
        "?events=" + "9" * 30,
        "?since=yesterday",
        "?status=x",
        "?q=a%00b",
        "?events=" + ",".join(map(str, range(1, 1100))),
    ],
    ids=lambda query: query[:20],
)
def test_an_address_that_means_nothing_is_answered_in_words(replayer: Client, query: str) -> None:
    for response in (replayer.get(NEW + query), replayer.post(NEW + query, FORM)):
        assert response.status_code == 400
        assert "panel--bad" in response.content.decode()
    assert not Replay.objects.exists()


@pytest.mark.parametrize(
    "form",
    [{"why": ""}, {"calls_per_minute": "0"}, {"calls_per_minute": "x"}, {"why": "x" * 301}],
    ids=lambda form: str(form)[:30],
)
def test_a_form_that_lacks_something_asks_for_nothing(replayer: Client, form: dict[str, str]) -> None:
    assert replayer.post(NEW, {**FORM, **form}).status_code == 200
    assert not Replay.objects.exists()


def test_events_that_are_gone_are_no_error(replayer: Client, missed: Event) -> None:
    replay = asked(replayer, f"?events={missed.pk},999999")
    missed.delete()
    assert replayer.get(page(replay)).status_code == 200
    replayer.post(f"/admin/events/replay/{replay.pk}/start/")
    replay.refresh_from_db()
    assert (replay.status, replay.done.get("events", 0)) == ("done", 0)


def test_the_page_of_a_replay_costs_the_same_for_many_events(
    replayer: Client, bot: Bot, push: Any, queries_of: Any
) -> None:
    def pages(count: int) -> int:
        for _ in range(count):
            push(bot, member_joined())
        return queries_of(replayer, page(asked(replayer)))

    one = pages(1)
    assert pages(12) == one


# --- Simulated events ---------------------------------------------------------------------------------------
@pytest.fixture
def told(bot: Bot) -> dict[str, str]:
    make_starters(bot)
    people = "ou_sim Sim Person\n\nou_two"
    return {"bot": str(bot.pk), "type": "im.chat.member.user.added_v1", "chat_id": "oc_sim", "people": people}


def test_a_simulated_event_is_shown_first_with_all_it_would_cause(
    replayer: Client, told: dict[str, str]
) -> None:
    shown = replayer.post(SIMULATE, told).content.decode()
    assert "Sim Person" in shown
    assert "Simulate for real" in shown
    assert (Event.objects.count(), OutboxItem.objects.count()) == (0, 0)


def test_a_simulated_event_goes_the_whole_way_and_is_marked(replayer: Client, told: dict[str, str]) -> None:
    response = replayer.post(SIMULATE, {**told, "confirmed": "1"}, follow=True)
    event = Event.objects.get()
    assert (event.status, event.transport, event.is_simulated) == ("handled", "simulated", True)
    assert (event.outbox.get().target, event.body["simulated_by"]) == ("oc_sim", "replayer")
    assert "pill--simulated" in response.content.decode()
    assert LogEntry.objects.filter(object_id=str(event.pk), change_message="Simulated.").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"chat_id": "oc sim"},
        {"chat_id": "x" * 200},
        {"people": ""},
        {"people": "<script> x"},
        {"people": "\n".join(f"ou_{n} x" for n in range(60))},
        {"more": "{"},
        {"more": "[]"},
        {"more": '{"users": NaN}'},
        {"more": '{"a":' + "[" * 900 + "]" * 900 + "}"},
        {"type": "nothing"},
        {"bot": "99"},
        {"type": "im.message.receive_v1"},
    ],
    ids=lambda change: str(change)[:40],
)
def test_bad_input_is_answered_in_words_and_simulates_nothing(
    replayer: Client, told: dict[str, str], change: dict[str, str]
) -> None:
    response = replayer.post(SIMULATE, {**told, **change, "confirmed": "1"})
    assert response.status_code == 200
    assert "errorlist" in response.content.decode()
    assert not Event.objects.exists()


def test_text_that_no_database_can_store_is_mended_as_feishus_is(
    replayer: Client, told: dict[str, str]
) -> None:
    replayer.post(SIMULATE, {**told, "more": json.dumps({"name": "a\0b\ud800"}), "confirmed": "1"})
    assert Event.objects.get().payload["name"] == "a\ufffdb?"


@pytest.mark.parametrize("event_type", ["p2p_chat_create", "im.message.receive_v1", "card.action.trigger"])
def test_every_kind_of_envelope_is_read(replayer: Client, told: dict[str, str], event_type: str) -> None:
    replayer.post(SIMULATE, {**told, "type": event_type, "text": "hello", "confirmed": "1"})
    event = Event.objects.get()
    assert (event.event_type, event.chat_id, event.actor_open_id) == (event_type, "oc_sim", "ou_sim")
