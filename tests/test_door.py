"""The webhook as it is served: in front of Django, several events in one commit, bots remembered for a moment."""

import io
import json
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.utils import translation

from botconsole.wsgi import application
from events.groupcommit import GroupCommit
from events.models import Bot, Event
from templates.starters import make_starters
from tests.feishu_events import ENCRYPT_KEY, challenge, member_joined, sealed, v2


def serve(body: bytes, headers: dict[str, str], **environ: Any) -> tuple[str, dict[str, str], Any]:
    """What the WSGI application answers: status line, headers, JSON."""
    asked: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/webhook/event/default",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()},
        **environ,
    }
    began: list[Any] = []
    answer: Iterable[bytes] = application(asked, lambda *begin: began.extend(begin))
    return began[0], dict(began[1]), json.loads(b"".join(answer))


def push(event: dict[str, Any], key: str = ENCRYPT_KEY) -> tuple[str, dict[str, str], Any]:
    return serve(*sealed(event, key))


def unhandled(event_id: str = "") -> dict[str, Any]:
    return v2("vc.meeting.all_meeting_started_v1", {}, event_id=event_id)


# --- In front of Django ----------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_an_event_is_answered_and_stored(bot: Bot) -> None:
    make_starters(bot)
    assert push(member_joined()) == (
        "200 OK",
        {"Content-Type": "application/json", "Content-Length": "2"},
        {},
    )
    assert Event.objects.get().status == Event.Status.HANDLED


@pytest.mark.django_db(transaction=True)
def test_a_thread_that_served_an_operator_handles_events_in_the_consoles_own_language(
    bot: Bot, settings: Any
) -> None:
    with translation.override("en"):
        push(unhandled())
        assert translation.get_language() == settings.LANGUAGE_CODE


@pytest.mark.django_db(transaction=True)
def test_the_only_bot_needs_no_name_in_the_address(bot: Bot) -> None:
    assert serve(*sealed(challenge("c-1"), ENCRYPT_KEY), PATH_INFO="/webhook/event")[2] == {
        "challenge": "c-1"
    }


REFUSED = {
    "method": ({"REQUEST_METHOD": "GET"}, "405 Method Not Allowed"),
    "chunked": ({"HTTP_TRANSFER_ENCODING": "chunked"}, "411 Length Required"),
    "huge": ({"CONTENT_LENGTH": "2000000"}, "413 Request Entity Too Large"),
    "no number": ({"CONTENT_LENGTH": "-1"}, "413 Request Entity Too Large"),
    "a digit of another kind": ({"CONTENT_LENGTH": "\u00b2"}, "413 Request Entity Too Large"),
    "no bot": ({"PATH_INFO": "/webhook/event/nobody"}, "404 Not Found"),
    "unsigned": ({"HTTP_X_LARK_SIGNATURE": "0" * 64}, "403 Forbidden"),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("environ", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_event_is_refused(bot: Bot, environ: dict[str, Any], status: str) -> None:
    assert serve(*sealed(unhandled(), ENCRYPT_KEY), **environ)[0] == status
    assert not Event.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_view_for_development_servers_answers_alike(bot: Bot, client: Any) -> None:
    answer = client.get("/webhook/event/default")
    assert (answer.status_code, answer.headers["Allow"], answer.json()) == (
        405,
        "POST",
        {"msg": "method not allowed"},
    )


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_connection_that_the_server_closed_costs_no_event(bot: Bot) -> None:
    push(unhandled("ev_1"))
    (backend,) = connection.cursor().execute("SELECT pg_backend_pid()").fetchone()
    with psycopg.connect(**{**connection.get_connection_params(), "autocommit": True}) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [backend])
    assert push(unhandled("ev_2"))[0] == "200 OK"
    assert Event.objects.count() == 2


# --- One commit for several ------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_events_that_arrive_together_are_each_stored_once(bot: Bot) -> None:
    def push_and_close(event_id: str) -> str:
        try:
            return push(unhandled(event_id))[0]
        finally:
            connection.close()

    ids = [f"ev_{number % 40}" for number in range(120)]
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(push_and_close, ids)) == {"200 OK"}
    assert sorted(Event.objects.values_list("event_id", "deliveries")) == sorted((id_, 3) for id_ in set(ids))
    assert set(Event.objects.values_list("status", "tries", "summary")) == {
        ("ignored", 1, "no handler for this type")
    }


@pytest.mark.django_db(transaction=True)
def test_a_failed_event_whose_handler_is_gone_is_settled_when_it_comes_again(bot: Bot) -> None:
    push(unhandled("ev_1"))
    Event.objects.update(status=Event.Status.FAILED, error="Traceback", handled_at=None)
    push(unhandled("ev_1"))
    event = Event.objects.get()
    assert (event.status, event.deliveries, event.error) == (Event.Status.IGNORED, 2, "")


def run_together(commit: GroupCommit[str], rows: Sequence[str], open_gate: threading.Event) -> dict[str, str]:
    """Commits the rows from a thread each, all while the first is held up; what became of each."""
    outcome: dict[str, str] = {}

    def run(row: str) -> None:
        try:
            commit(row)
            outcome[row] = "stored"
        except ValueError as error:
            outcome[row] = str(error)

    threads = [threading.Thread(target=run, args=(row,)) for row in rows]
    for thread in threads:
        thread.start()
    while len(commit._waiting) < len(rows) - 1:
        assert any(thread.is_alive() for thread in threads)
    open_gate.set()
    for thread in threads:
        thread.join(60)
    return outcome


def test_rows_that_wait_are_committed_together_and_equal_keys_apart() -> None:
    gate, batches = threading.Event(), []

    def store(rows: Sequence[str]) -> None:
        gate.wait(60)
        batches.append(sorted(rows))

    rows = ["a1", "b1", "b2", "c1"]
    outcome = run_together(GroupCommit(store, key=lambda row: row[0], wait_seconds=60), rows, gate)
    assert outcome == dict.fromkeys(rows, "stored")
    assert sorted(row for batch in batches for row in batch) == rows
    assert all(len({row[0] for row in batch}) == len(batch) for batch in batches)
    assert max(len(batch) for batch in batches) >= 2


def test_who_commits_for_others_and_hangs_holds_nobody_up_for_long() -> None:
    hang, stored = threading.Event(), []

    def store(rows: Sequence[str]) -> None:
        if threading.current_thread().name == "hangs":
            hang.wait(90)
        stored.extend(rows)

    commit = GroupCommit(store, key=str, wait_seconds=0.05)
    hanging = threading.Thread(target=commit, args=("first",), name="hangs")
    hanging.start()
    while not commit._busy or commit._waiting:
        assert hanging.is_alive()
    for row in ("second", "third"):
        commit(row)
    assert stored == ["second", "third"]
    hang.set()
    hanging.join(60)
    commit("fourth")
    assert (stored, commit._busy, commit._waiting) == (["second", "third", "first", "fourth"], False, [])


def test_who_has_waited_long_enough_and_gets_the_turn_in_that_moment_takes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = threading.Event()
    stored: list[str] = []
    outcome: list[bool] = []

    def store(rows: Sequence[str]) -> None:
        if "first" in rows:
            gate.wait(60)
        stored.extend(rows)

    leave = GroupCommit._leave

    def leave_late(commit: GroupCommit[str], ticket: Any) -> bool:
        gate.set()
        while not ticket.is_next:
            assert first.is_alive() or ticket.is_next
        outcome.append(leave(commit, ticket))
        return bool(outcome[-1])

    monkeypatch.setattr(GroupCommit, "_leave", leave_late)
    commit = GroupCommit(store, key=str, wait_seconds=0.05)
    first = threading.Thread(target=commit, args=("first",))
    first.start()
    while not commit._busy or commit._waiting:
        assert first.is_alive()
    commit("second")
    first.join(60)
    commit("third")
    assert (stored, outcome) == (["first", "second", "third"], [False])


def test_a_bad_row_fails_alone() -> None:
    gate = threading.Event()

    def store(rows: Sequence[str]) -> None:
        gate.wait(60)
        if "bad" in rows:
            raise ValueError("refused")

    rows = ["first", "bad", "good", "fine"]
    outcome = run_together(GroupCommit(store, key=str, wait_seconds=60), rows, gate)
    assert outcome == {**dict.fromkeys(rows, "stored"), "bad": "refused"}


# --- What is remembered for a moment ---------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_a_changed_key_is_known_at_once(bot: Bot, settings: Any) -> None:
    settings.REMEMBER_SECONDS = 60
    bot.slug = "changing"  # nothing of it may be remembered for other tests
    bot.save()
    path = {"PATH_INFO": "/webhook/event/changing"}
    assert serve(*sealed(unhandled(), ENCRYPT_KEY), **path)[0] == "200 OK"
    bot.encrypt_key = "ek_new"
    bot.save()
    assert serve(*sealed(unhandled(), "ek_new"), **path)[0] == "200 OK"


@pytest.mark.django_db(transaction=True)
def test_a_bot_is_asked_for_once_in_a_while(bot: Bot, settings: Any, django_assert_num_queries: Any) -> None:
    settings.REMEMBER_SECONDS = 60
    bot.slug = "known"
    bot.save()
    path = {"PATH_INFO": "/webhook/event/known"}
    serve(*sealed(unhandled("ev_1"), ENCRYPT_KEY), **path)
    with django_assert_num_queries(1):
        assert serve(*sealed(unhandled("ev_2"), ENCRYPT_KEY), **path)[0] == "200 OK"
