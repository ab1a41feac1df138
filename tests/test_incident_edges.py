"""Bad input and bad days: Feishu away at any step, people nobody can add, chats that vanish, killed workers."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from botconsole.worker import Worker
from events.models import Bot, Event, OutboxItem
from incidents.entries import write_people
from incidents.models import Actor, Incident, Responder, Service, StepError, Via
from templates.starters import make_starters
from tests.feishu_events import ADA, LIN, member_joined
from tests.incident_world import PNG, Feishu, opened, running, work
from tests.waiting import until_someone_waits

pytest_plugins = ["tests.incident_fixtures"]
pytestmark = pytest.mark.django_db(transaction=True)

OPERATOR = Actor(Via.ADMIN, "operator")
Status = OutboxItem.Status


def complete(feishu: Feishu, incident: Incident) -> None:
    """One chat with its name, one card with its image, pinned, one tab, phones buzzed; nothing is left to do."""
    incident.refresh_from_db()
    assert [group["chat_id"] for group in feishu.groups] == [incident.chat_id]
    chat, cards = feishu.chat(incident.chat_id), feishu.cards(incident.chat_id)
    assert (chat["name"], len(cards), len(chat["tabs"])) == ("[P0] Payments fail", 1, 1)
    assert (cards[0]["pinned"], len(cards[0]["buzzed"])) == (True, 2)
    assert incident.image_key in str(cards[0]["content"])
    assert not OutboxItem.objects.exclude(status=OutboxItem.Status.SENT).exists()


def opened_p0(bot: Bot, feishu: Feishu) -> Incident:
    incident: Incident = opened(bot, feishu, severity="P0", image=PNG)
    return incident


# --- Feishu away ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "path",
    [
        "tenant_access_token",
        "/im/v1/chats",
        "/im/v1/images",
        "/im/v1/messages",
        "/im/v1/pins",
        "/chat_tabs",
        "/urgent_app",
    ],
)
def test_feishu_is_down_at_one_step_of_the_opening(bot: Bot, feishu: Feishu, path: str) -> None:
    feishu.fault(down=True, path=path)
    incident = opened_p0(bot, feishu)
    Worker().run_once()
    feishu.well()
    work()
    complete(feishu, incident)


@pytest.mark.parametrize("path", ["/im/v1/chats", "/im/v1/messages", "/im/v1/images"])
def test_an_answer_that_got_lost_makes_nothing_twice(bot: Bot, feishu: Feishu, path: str) -> None:
    feishu.fault(drop_answer=True, path=path, times=1)
    incident = opened_p0(bot, feishu)
    work()
    complete(feishu, incident)


def test_nobody_is_greeted_in_a_chat_that_feishu_has_made_and_we_do_not_know_yet(
    bot: Bot, feishu: Feishu
) -> None:
    make_starters(bot)
    feishu.fault(drop_answer=True, path="/im/v1/chats", times=1)
    incident = opened(bot, feishu)
    Worker().run_once()
    feishu.quiet()  # Ada and Lin have joined; the chat's id has not arrived
    incident.refresh_from_db()
    assert incident.chat_id == ""
    work()
    incident.refresh_from_db()
    assert [card["content"]["header"]["title"]["content"] for card in feishu.cards(incident.chat_id)] == [
        "Payments fail"
    ]
    assert incident.timeline.filter(kind="joined").count() == 2


def test_what_is_said_and_done_while_the_new_chats_answer_is_lost_is_not_lost(
    bot: Bot, feishu: Feishu
) -> None:
    feishu.fault(drop_answer=True, path="/im/v1/chats", times=1)
    incident = opened(bot, feishu)
    Worker().run_once()
    chat_id = feishu.groups[0]["chat_id"]
    feishu.say(chat_id, ADA[0], "the gateway")
    feishu.say(chat_id, ADA[0], "/ack")
    assert incident.timeline.filter(kind="message").count() == 0
    work()
    incident.refresh_from_db()
    said = incident.timeline.filter(kind="message")
    assert [entry.text for entry in said] == ["the gateway", "/ack"]
    assert (incident.chat_id, incident.acknowledged_by_open_id) == (chat_id, ADA[0])
    assert feishu.chat(chat_id)["name"] == "[In progress] Payments fail"
    assert "Take it" not in str(feishu.card(chat_id)["content"])


def test_a_resolution_while_feishu_is_down_follows_later(bot: Bot, feishu: Feishu) -> None:
    incident = running(bot, feishu)
    feishu.fault(down=True)
    incident.resolve(OPERATOR, "by hand")
    Worker().run_once()
    assert Incident.objects.get().status == "resolved"
    feishu.well()
    work()
    assert feishu.chat(incident.chat_id)["name"] == "[Solved] Payments fail"
    assert feishu.cards(incident.chat_id)[0]["content"]["header"]["template"] == "green"


def test_an_incident_resolved_before_it_has_a_chat_gets_the_chat_of_its_end(bot: Bot, feishu: Feishu) -> None:
    incident = opened(bot, feishu)
    incident.resolve(OPERATOR)
    work()
    incident.refresh_from_db()
    assert feishu.chat(incident.chat_id)["name"] == "[Solved] Payments fail"
    assert feishu.cards(incident.chat_id)[0]["content"]["header"]["template"] == "green"


def test_a_chat_that_feishu_refuses_is_written_down_and_can_be_tried_again(bot: Bot, feishu: Feishu) -> None:
    feishu.fault(code=99991672, path="/im/v1/chats")
    incident = opened(bot, feishu)
    work()
    assert "99991672" in incident.timeline.get(kind="chat").text
    feishu.well()
    OutboxItem.objects.retry(timezone.now())
    work()
    incident.refresh_from_db()
    assert len(feishu.chat(incident.chat_id)["members"]) == 2


# --- People ---------------------------------------------------------------------------------------------------
def test_an_invisible_person_does_not_keep_the_others_out(bot: Bot, feishu: Feishu) -> None:
    hidden = Responder(open_id=feishu.person("Hidden", "ou_hidden", visible=False))
    people = [hidden, Responder(open_id=feishu.person("Ada", "ou_ada")), Responder(open_id="ou_nobody")]
    incident = running(bot, feishu, responders=people)
    assert [one["name"] for one in feishu.chat(incident.chat_id)["members"]] == ["Ada"]
    states = dict(incident.responders.values_list("open_id", "status"))
    assert states == {"ou_hidden": "failed", "ou_ada": "added", "ou_nobody": "failed"}
    assert incident.responders.get(open_id="ou_hidden").error
    assert "ou_hidden" in incident.timeline.get(kind="chat").text


def test_a_resigned_person_is_found_one_by_one(bot: Bot, feishu: Feishu) -> None:
    feishu.fault(code=232022, path="/im/v1/chats", times=1)
    feishu.fault(code=232022, path="/members", times=2)  # all together, then the first alone
    incident = running(bot, feishu)
    assert dict(incident.responders.values_list("open_id", "status")) == {
        "ou_ada": "failed",
        "ou_lin": "added",
    }
    assert incident.responders.get(open_id="ou_ada").error.startswith("232022")


def test_people_are_found_by_mail_address_and_mobile(bot: Bot, feishu: Feishu) -> None:
    feishu.person("Ada", "ou_ada")
    people = [
        Responder(email="ada@sandbox.example"),
        Responder(email="no@where.example"),
        Responder(mobile="+8610"),
    ]
    incident = running(bot, feishu, responders=people)
    assert [one["name"] for one in feishu.chat(incident.chat_id)["members"]] == ["Ada"]
    assert list(incident.responders.values_list("open_id", "status")) == [
        ("ou_ada", "added"),
        ("", "failed"),
        ("", "failed"),
    ]


def test_who_is_called_in_by_id_and_by_address_is_one_person(bot: Bot, feishu: Feishu) -> None:
    feishu.person("Ada", "ou_ada")
    people = [Responder(open_id="ou_ada"), Responder(email="ada@sandbox.example")]
    incident = running(bot, feishu, responders=people)
    assert list(incident.responders.values_list("open_id", "status")) == [("ou_ada", "added")] * 2
    assert [item.arguments["open_ids"] for item in OutboxItem.objects.filter(call="create_chat")] == [
        ["ou_ada"]
    ]


def test_people_who_cannot_be_looked_up_do_not_keep_the_chat_away(bot: Bot, feishu: Feishu) -> None:
    feishu.fault(code=99991672, path="batch_get_id")
    incident = running(bot, feishu, responders=[Responder(email="ada@sandbox.example")])
    assert incident.chat_id
    assert incident.responders.get().error.startswith("99991672")


def test_two_hundred_responders_come_in_four_calls(bot: Bot, feishu: Feishu) -> None:
    people = [Responder(open_id=feishu.person(f"P{number}", f"ou_{number:03}")) for number in range(200)]
    incident = running(bot, feishu, responders=people)
    assert len(feishu.chat(incident.chat_id)["members"]) == 200
    calls = [
        call for call in feishu.call("GET", "calls")["items"] if call["path"].endswith(("/chats", "/members"))
    ]
    assert len(calls) == 4
    assert not incident.responders.exclude(status="added").exists()


def test_somebody_invited_by_mail_address_later_comes_too(bot: Bot, feishu: Feishu) -> None:
    incident = running(bot, feishu)
    feishu.person("Sun", "ou_sun")
    incident.add_responders(OPERATOR, [Responder(email="sun@sandbox.example")])
    work()
    assert "Sun" in [one["name"] for one in feishu.chat(incident.chat_id)["members"]]


# --- Titles and texts -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "title",
    [
        "x" * 200,
        "🔥" * 80,
        "支付" * 90,
        "שלום \u202eעולם",
        "line\none\ttwo",
        '<at id=all></at> <b>& "q"',
        "**b** [x](http://y)",
    ],
    ids=["long", "emoji", "chinese", "rtl", "newline", "markup", "markdown"],
)
def test_any_title_makes_a_chat_and_a_valid_card(bot: Bot, feishu: Feishu, title: str) -> None:
    incident = running(bot, feishu, title=title, description=title)
    name, card = feishu.chat(incident.chat_id)["name"], feishu.cards(incident.chat_id)[0]
    shown = " ".join(title.replace("\u202e", "").split())
    assert name == f"[P1] {shown}"[:60].rstrip()
    assert card["content"]["header"]["title"]["content"] == shown
    assert "<at id=all>" not in str(card["content"]["body"])
    incident.resolve(OPERATOR, title)
    work()
    assert not OutboxItem.objects.exclude(status=OutboxItem.Status.SENT).exists()


# --- Cards and chats that vanish --------------------------------------------------------------------------------
def test_a_card_of_fifteen_days_ago_is_sent_anew_and_pinned(bot: Bot, feishu: Feishu) -> None:
    incident = running(bot, feishu)
    feishu.call("POST", "clock", {"advance": 15 * 86400})
    incident.acknowledge(OPERATOR)
    work()
    old, new = feishu.cards(incident.chat_id)
    assert (old["content"]["header"]["template"], new["pinned"]) == ("orange", True)
    assert Incident.objects.get().card_message_id == new["message_id"]


def test_a_recalled_card_is_sent_anew(bot: Bot, feishu: Feishu) -> None:
    incident = running(bot, feishu)
    feishu.call("DELETE", f"messages/{incident.card_message_id}")
    incident.acknowledge(OPERATOR)
    incident.resolve(OPERATOR)
    work()
    cards = [one for one in feishu.cards(incident.chat_id) if not one["deleted"]]
    assert [one["content"]["header"]["template"] for one in cards] == ["green"]


def test_a_chat_that_was_dissolved_unheard_ends_the_sending(bot: Bot, feishu: Feishu) -> None:
    incident = running(bot, feishu)
    feishu.call("DELETE", f"groups/{incident.chat_id}", {"keep_history": True})  # no event says so
    incident.acknowledge(OPERATOR)
    work()
    incident.refresh_from_db()
    assert (incident.status, incident.chat_gone) == ("acknowledged", True)
    before = OutboxItem.objects.count()
    incident.resolve(OPERATOR)
    assert OutboxItem.objects.count() == before


def test_the_bot_is_removed_and_comes_back(bot: Bot, feishu: Feishu) -> None:
    incident = running(bot, feishu)
    feishu.arrived(feishu.call("DELETE", f"groups/{incident.chat_id}/bot")["event_id"])
    Incident.objects.get().resolve(OPERATOR)
    work()
    assert feishu.chat(incident.chat_id)["name"] == "[P1] Payments fail"
    feishu.arrived(feishu.call("POST", f"groups/{incident.chat_id}/bot")["event_id"])
    work()
    assert feishu.chat(incident.chat_id)["name"] == "[Solved] Payments fail"
    assert feishu.cards(incident.chat_id)[0]["content"]["header"]["template"] == "green"


def test_a_chat_dissolved_in_the_middle_of_the_opening_is_written_down(bot: Bot, feishu: Feishu) -> None:
    feishu.fault(code=232009, path="/im/v1/messages")
    incident = running(bot, feishu)
    assert incident.chat_gone
    assert len(feishu.groups) == 1


# --- Several at once ------------------------------------------------------------------------------------------
def test_of_two_people_who_resolve_at_once_one_wins(bot: Bot, english: None) -> None:
    incident = Incident.objects.open(bot=bot, title="Race", by=OPERATOR)
    start, outcomes = threading.Barrier(2), []

    def resolve(name: str) -> None:
        mine = Incident.objects.get(pk=incident.pk)
        start.wait()
        try:
            mine.resolve(Actor(Via.ADMIN, name))
            outcomes.append(name)
        except StepError as error:
            outcomes.append(f"told {error.incident.resolved_by}")
        connection.close()

    together(lambda: resolve("Ada"), lambda: resolve("Lin"))
    winner = Incident.objects.get().resolved_by
    assert sorted(outcomes) == sorted([winner, f"told {winner}"])
    assert incident.timeline.filter(kind="resolved").count() == 1


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_step_and_the_news_of_who_joined_do_not_wait_for_each_other(incident: Incident) -> None:
    responders = incident.responders.filter(open_id=ADA[0])
    responders.update(status="waiting")
    body = member_joined(ADA)
    joined = Event(bot=incident.bot, event_type=body["header"]["event_type"], body=body)
    joined.created_at = timezone.now()

    def hear() -> None:
        try:
            with transaction.atomic():
                write_people(incident, joined)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            Incident.objects.select_for_update().get(pk=incident.pk)  # as every step does
            heard = pool.submit(hear)
            until_someone_waits(heard)
            responders.update(status="failed")
        heard.result()
    assert responders.get().status == "added"


def together(*jobs: Callable[[], None]) -> None:
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)


class Workers:
    """Real worker processes, started in a moment and killed without a word."""

    def __init__(self, env: dict[str, str]) -> None:
        command = [sys.executable, "-m", "tests.worker_forker"]
        streams: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.forker = subprocess.Popen(command, env=env, start_new_session=True, text=True, **streams)
        self.running: list[int] = []

    def start(self) -> None:
        print(file=self.forker.stdin, flush=True)
        self.running.append(int(self.forker.stdout.readline()))

    def kill(self) -> None:
        """SIGKILL; and as their leases would end by themselves in half a minute, they have ended."""
        for worker in self.running:
            os.kill(worker, signal.SIGKILL)
        self.running = []
        sending = OutboxItem.objects.filter(status=OutboxItem.Status.SENDING)
        sending.update(leased_until=timezone.now() - timedelta(seconds=1))

    def close(self) -> None:
        os.killpg(self.forker.pid, signal.SIGKILL)
        self.forker.wait()
        self.forker.stdin.close()
        self.forker.stdout.close()


@pytest.fixture
def workers(process_env: dict[str, str]) -> Iterator[Workers]:
    workers = Workers(process_env)
    yield workers
    workers.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline, list(OutboxItem.objects.values_list("call", "status", "error"))
        time.sleep(0.02)


def all_sent() -> bool:
    done = (OutboxItem.Status.SENT, OutboxItem.Status.SUPERSEDED)
    return not OutboxItem.objects.exclude(status__in=done, followed_up=True).exists()


def kill_during(workers: Workers, *calls: str) -> None:
    """One worker after another, each killed while Feishu has acted on a call and not answered yet."""
    over = OutboxItem.objects.exclude(status__in=OutboxItem.UNFINISHED)
    tried = OutboxItem.objects.exclude(status=Status.PENDING).exclude(
        pk__in=list(over.values_list("pk", flat=True))
    )
    for call in calls:
        workers.start()
        until(tried.filter(call=call).exists)
        time.sleep(0.1)
        workers.kill()


def test_a_worker_killed_at_every_step_of_the_story_loses_and_doubles_nothing(
    bot: Bot, feishu: Feishu, workers: Workers
) -> None:
    feishu.fault(slow_ms=300)
    incident = opened_p0(bot, feishu)
    kill_during(workers, "upload_image", "create_chat", "send_message", "pin_message", "add_chat_tab", "buzz")
    incident.refresh_from_db()
    incident.acknowledge(Actor(Via.BUTTON, "Ada", ADA[0]))
    kill_during(workers, "patch_card", "rename_chat", "send_message")
    incident.resolve(Actor(Via.COMMAND, "Lin", LIN[0]), "done")
    kill_during(workers, "patch_card", "rename_chat", "send_message")
    workers.start()
    until(all_sent)
    incident.refresh_from_db()
    chat, cards = feishu.chat(incident.chat_id), feishu.cards(incident.chat_id)
    assert (len(feishu.groups), len(cards), len(chat["tabs"])) == (1, 1, 1)
    assert chat["name"].endswith("] Payments fail")
    assert not chat["name"].startswith("[P0]")
    assert (cards[0]["content"]["header"]["template"], cards[0]["pinned"]) == ("green", True)
    assert incident.image_key in str(cards[0]["content"])
    assert len(feishu.texts(incident.chat_id)) == 2


@pytest.mark.postgres
def test_two_workers_at_once_make_one_chat_and_one_card_for_each(
    bot: Bot, feishu: Feishu, workers: Workers
) -> None:
    feishu.fault(slow_ms=30)
    service = Service.objects.create(name="pay", first_on_call=feishu.person("Sun", "ou_sun"))
    for _ in range(5):
        incident = opened(bot, feishu, image=PNG, service=service)
        incident.acknowledge(OPERATOR)
    workers.start()
    workers.start()
    until(all_sent)
    assert len(feishu.groups) == 5
    for group in feishu.groups:
        assert group["name"].endswith("] Payments fail")
        assert not group["name"].startswith("[P1]")
        assert (len(feishu.cards(group["chat_id"])), len(group["members"])) == (1, 3)


@pytest.mark.postgres
def test_a_worker_killed_between_an_answer_and_what_follows_goes_on_there(
    bot: Bot, feishu: Feishu, workers: Workers
) -> None:
    feishu.fault(slow_ms=2000)
    incident = opened(bot, feishu, severity="P0")
    for call in ("create_chat", "send_message"):
        workers.start()
        rows = OutboxItem.objects.filter(call=call)
        until(rows.filter(status=OutboxItem.Status.SENDING).exists)
        with transaction.atomic():
            # What follows must wait here; what Feishu pushes meanwhile must not.
            Incident.objects.select_for_update(no_key=True).get(pk=incident.pk)
            until(rows.filter(status=OutboxItem.Status.SENT, followed_up=False).exists)
            workers.kill()
    feishu.well()
    workers.start()
    until(all_sent)
    incident.refresh_from_db()
    chat, cards = feishu.chat(incident.chat_id), feishu.cards(incident.chat_id)
    assert (len(feishu.groups), len(cards), len(chat["tabs"])) == (1, 1, 1)
    assert (cards[0]["pinned"], len(cards[0]["buzzed"]), len(chat["members"])) == (True, 2, 2)


def test_more_than_fifty_people_by_mail_address_are_found_and_added(bot: Bot, feishu: Feishu) -> None:
    for number in range(120):
        feishu.person(f"N{number}", f"ou_n{number}")
    people = [Responder(email=f"n{number}@sandbox.example") for number in range(120)]
    people.append(Responder(email="nobody@sandbox.example"))
    incident = running(bot, feishu, responders=people)
    assert len(feishu.groups) == 1
    assert len(feishu.chat(incident.chat_id)["members"]) == 120
    assert [one.email for one in incident.responders.exclude(status="added")] == ["nobody@sandbox.example"]
