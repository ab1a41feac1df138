"""Events that arrive at the same moment share a transaction: greeted together, failing apart."""

import re
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import pytest
from django.db import connection, connections, transaction

from events import dispatch
from events.groupcommit import GroupCommit
from events.models import Bot, Event, OutboxItem
from events.views import answer
from incidents.models import Incident
from templates.starters import make_starters
from tests.feishu_events import CHAT_ID, ENCRYPT_KEY, Json, member_joined, sealed, v2

pytest_plugins = ["tests.incident_fixtures"]
pytestmark = pytest.mark.django_db(transaction=True)


class Arriving:
    """Pushes events, each from a thread of its own; the first is held up until all the others wait behind it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []  # of the transactions
        self._gate = threading.Event()
        self._take_in = partial(dispatch._take_in, patiently=False)
        self._commit = GroupCommit(self._wait_and_take_in, key=lambda one: one.arrival.key, wait_seconds=60)
        monkeypatch.setattr(dispatch, "_take_in_with_others", self._commit)

    def _wait_and_take_in(self, several: Sequence[Any]) -> None:
        self._gate.wait(60)
        self.sizes.append(len(several))
        self._take_in(several)

    def together(self, bodies: Sequence[Json]) -> list[int]:
        """The status that each push was answered with."""
        statuses = [0] * len(bodies)

        def push(number: int) -> None:
            raw, headers = sealed(bodies[number], ENCRYPT_KEY)
            environ = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
            environ |= {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": str(len(raw))}
            try:
                statuses[number] = answer("default", environ, lambda: raw)[0]
            finally:
                connections.close_all()

        threads = [threading.Thread(target=push, args=(number,)) for number in range(len(bodies))]
        threads[0].start()
        while not self._commit._busy:
            assert threads[0].is_alive()
        for thread in threads[1:]:
            thread.start()
        while len(self._commit._waiting) < len(bodies) - 1:
            assert any(thread.is_alive() for thread in threads)
        self._gate.set()
        for thread in threads:
            thread.join(60)
        return statuses


@pytest.fixture
def arriving(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> Arriving:
    make_starters(bot)
    return Arriving(monkeypatch)


def in_another_thread(work: Callable[[], None]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def outcomes() -> dict[str, tuple[str, int, int]]:
    """{event_id: (status, deliveries, calls that it caused)}."""
    return {
        event.event_id: (str(event.status), event.deliveries, event.outbox.count())
        for event in Event.objects.all()
    }


def test_greetings_share_a_transaction_and_each_greets_once(arriving: Arriving) -> None:
    ids = [f"ev_{number}" for number in range(9)]
    assert arriving.together([member_joined(event_id=one, chat_id=f"oc_{one}") for one in ids]) == [200] * 9
    assert sorted(arriving.sizes) == [1, 8]
    assert outcomes() == dict.fromkeys(ids, ("handled", 1, 1))
    assert set(OutboxItem.objects.values_list("target", flat=True)) == {f"oc_{one}" for one in ids}
    event = Event.objects.latest("pk")
    assert (event.handler, event.tries, event.summary[-6:]) == (
        "templates.handlers.greet_new_members",
        1,
        "queued",
    )
    assert event.handled_at is not None


@pytest.mark.postgres
def test_the_statements_of_every_event_are_planned_once_a_connection(bot: Bot, push: Any) -> None:
    make_starters(bot)
    for _ in range(3):
        assert push(bot, member_joined()).status_code == 200
    with connection.cursor() as cursor:
        cursor.execute("SELECT left(statement, 6), generic_plans + custom_plans FROM pg_prepared_statements")
        used = cursor.fetchall()
    assert sorted(used) == [("INSERT", 3), ("INSERT", 3), ("SELECT", 3), ("UPDATE", 3)]


def test_copies_that_arrive_together_are_greeted_once(arriving: Arriving) -> None:
    bodies = [member_joined(event_id="ev_1"), member_joined(event_id="ev_2"), member_joined(event_id="ev_1")]
    assert arriving.together([*bodies, *bodies]) == [200] * 6
    assert outcomes() == {"ev_1": ("handled", 4, 1), "ev_2": ("handled", 2, 1)}


def test_what_nobody_handles_goes_with_them(arriving: Arriving) -> None:
    other = v2("vc.meeting.all_meeting_started_v1", {}, event_id="ev_other")
    assert (
        arriving.together([member_joined(event_id="ev_0"), other, member_joined(event_id="ev_1")])
        == [200] * 3
    )
    assert sorted(arriving.sizes) == [1, 2]
    greeted = ("handled", 1, 1)
    assert outcomes() == {"ev_0": greeted, "ev_1": greeted, "ev_other": ("ignored", 1, 0)}


def test_an_event_whose_handler_raises_does_not_touch_those_it_came_with(
    arriving: Arriving, monkeypatch: pytest.MonkeyPatch
) -> None:
    greet = dispatch.routes()["im.chat.member.user.added_v1"][-1]

    def handler(event: Event) -> dispatch.Reaction | None:
        if event.chat_id == "oc_bad":
            raise ValueError("the handler is broken")
        return greet(event)

    monkeypatch.setattr(dispatch, "routes", lambda: {"im.chat.member.user.added_v1": (handler,)})
    good = [f"ev_{number}" for number in range(5)]
    bodies = [member_joined(event_id=one, chat_id=f"oc_{one}") for one in good]
    bodies.insert(2, member_joined(event_id="ev_bad", chat_id="oc_bad"))
    assert arriving.together(bodies) == [200] * 6
    assert outcomes() == {**dict.fromkeys(good, ("handled", 1, 1)), "ev_bad": ("failed", 1, 0)}
    failed = Event.objects.get(event_id="ev_bad")
    assert (failed.tries, "the handler is broken" in failed.error) == (1, True)


def test_a_failed_event_that_comes_again_with_others_is_greeted_then(arriving: Arriving, bot: Bot) -> None:
    bot.welcome_templates.update(card="not a card")
    assert arriving.together([member_joined(event_id="ev_again")]) == [200]
    assert outcomes() == {"ev_again": ("failed", 1, 0)}
    bot.welcome_templates.all().delete()
    make_starters(bot)
    arriving._gate.clear()
    bodies = [member_joined(event_id=one) for one in ("ev_1", "ev_again", "ev_2")]
    assert arriving.together(bodies) == [200] * 3
    assert outcomes() == {
        "ev_1": ("handled", 1, 1),
        "ev_2": ("handled", 1, 1),
        "ev_again": ("handled", 2, 1),
    }


def test_among_them_those_who_join_an_incidents_chat_are_not_greeted(
    arriving: Arriving, incident: Any
) -> None:
    chats = ["oc_1", CHAT_ID, "oc_2", CHAT_ID, "oc_3"]
    bodies = [
        member_joined((f"ou_{number}", "Somebody"), event_id=f"ev_{number}", chat_id=chat)
        for number, chat in enumerate(chats)
    ]
    assert arriving.together(bodies) == [200] * 5
    greeted = OutboxItem.objects.filter(key__startswith="welcome:").values_list("target", flat=True)
    assert sorted(greeted) == ["oc_1", "oc_2", "oc_3"]
    assert incident.timeline.filter(kind="joined").count() == 2


@pytest.mark.postgres
@pytest.mark.parametrize("place", [0, 2], ids=["before the others", "among them"])
def test_what_one_event_would_wait_for_does_not_hold_up_the_others(
    arriving: Arriving, incident: Any, place: int
) -> None:
    locked, others_are_greeted = threading.Event(), threading.Event()
    let_go: list[bool] = []

    def hold() -> None:
        with closing(connection), transaction.atomic():
            Incident.objects.select_for_update().get(pk=incident.pk)
            locked.set()
            let_go.append(others_are_greeted.wait(30))

    def watch() -> None:
        with closing(connection):
            while not let_go and OutboxItem.objects.filter(key__startswith="welcome:").count() < 4:
                time.sleep(0.05)
            others_are_greeted.set()

    threads = [threading.Thread(target=hold), threading.Thread(target=watch)]
    threads[0].start()
    assert locked.wait(60)
    threads[1].start()
    chats = ["oc_1", "oc_2", "oc_3", "oc_4"]
    chats.insert(place, CHAT_ID)
    bodies = [member_joined(event_id=f"ev_{number}", chat_id=chat) for number, chat in enumerate(chats)]
    assert arriving.together(bodies) == [200] * 5
    for thread in threads:
        thread.join()
    assert let_go == [True]
    greeted = {f"ev_{number}": ("handled", 1, 1) for number in range(5)}
    assert outcomes() == {**greeted, f"ev_{place}": ("handled", 1, 0)}


@pytest.mark.postgres
def test_a_table_that_was_changed_under_living_connections_is_planned_for_anew(bot: Bot, push: Any) -> None:
    make_starters(bot)

    def change(length: int) -> None:
        with closing(connection), connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE events_event ALTER dedup_key TYPE varchar({length})")

    def arrive(number: int) -> list[int]:
        ignored = v2("vc.meeting.all_meeting_started_v1", {}, event_id=f"ignored_{number}")
        return [push(bot, body).status_code for body in (ignored, member_joined(event_id=f"ev_{number}"))]

    length = Event._meta.get_field("dedup_key").max_length or 0
    try:
        for number, changed in enumerate((length + 1, length + 2, length)):
            assert arrive(number) == [200, 200]
            in_another_thread(partial(change, changed))
        assert push(bot, member_joined(event_id="ev_last")).status_code == 200
    finally:
        in_another_thread(partial(change, length))


@pytest.mark.postgres
def test_outcomes_are_written_by_key_however_small_the_table_was(bot: Bot, push: Any) -> None:
    make_starters(bot)
    push(bot, member_joined())
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name FROM pg_prepared_statements WHERE statement LIKE 'UPDATE \"events_event\"%'"
        )
        ((name,),) = cursor.fetchall()
        cursor.execute("SET plan_cache_mode = force_generic_plan")
        try:
            cursor.execute(f"EXPLAIN EXECUTE {name}('[]')")
            plan = "\n".join(line for (line,) in cursor.fetchall())
        finally:
            cursor.execute("RESET plan_cache_mode")
    # One row is expected, so each is looked up; for more, the planner would read a small table as a whole.
    assert re.search(r"Function Scan .* rows=1 ", plan)
    assert "Hash" not in plan


@pytest.mark.postgres
@pytest.mark.parametrize("count", [1, 7])
def test_a_connection_that_dies_under_a_handler_loses_and_doubles_nothing(
    arriving: Arriving, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    greet = dispatch.routes()["im.chat.member.user.added_v1"][-1]
    deaths: list[str] = []

    def handler(event: Event) -> dispatch.Reaction | None:
        if event.chat_id == f"oc_{count // 2}" and not deaths:
            deaths.append(event.event_id)
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return greet(event)

    monkeypatch.setattr(dispatch, "routes", lambda: {"im.chat.member.user.added_v1": (handler,)})
    bodies = [member_joined(event_id=f"ev_{number}", chat_id=f"oc_{number}") for number in range(count)]
    assert arriving.together(bodies) == [200] * count
    assert deaths == [f"ev_{count // 2}"]
    assert outcomes() == {f"ev_{number}": ("handled", 1, 1) for number in range(count)}
