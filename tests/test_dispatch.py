"""Handlers that raise, events that are run again, copies that arrive together."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.db.models import Model
from django.test import Client
from django.utils import timezone

from events import dispatch
from events.models import Bot, Event, OutboxItem
from events.outbox import send_card
from templates.starters import make_starters
from tests.feishu_events import bot_entered, member_joined, message_received, p2p_chat_create, sealed

TYPE = "im.chat.member.user.added_v1"


class Broken:
    """A handler that writes a row and raises, until it is mended."""

    def __init__(self) -> None:
        self.mended = False
        self.runs = 0
        self.error = ValueError("the handler is broken")

    def __call__(self, event: Event) -> dispatch.Reaction:
        self.runs += 1
        send_card(event.bot, chat_id=event.chat_id, card={}, key=f"broken:{event.event_id}")
        if not self.mended:
            raise self.error
        return dispatch.handled("mended")


@pytest.fixture
def route(settings: Any) -> Iterator[Callable[[dispatch.Handler], None]]:
    """Gives the handler that it is called with the events of TYPE."""
    settings.ROUTES_MODULE = "tests.routes"
    from tests import routes

    dispatch.routes.cache_clear()
    yield lambda handler: routes.EVENT_ROUTES.update({TYPE: (handler,)})
    dispatch.routes.cache_clear()


@pytest.fixture
def broken(route: Any) -> Broken:
    handler = Broken()
    route(handler)
    return handler


@pytest.mark.django_db
def test_an_event_whose_handler_raises_is_stored_with_the_traceback_and_answered_200(
    bot: Bot, push: Any, broken: Broken
) -> None:
    assert push(bot, member_joined()).status_code == 200
    event = Event.objects.get()
    assert (event.status, event.deliveries) == (Event.Status.FAILED, 1)
    assert "ValueError: the handler is broken" in event.error


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["a\0b", "a\ud800b", "\udcff", "x" * 100_000], ids=ascii)
def test_an_exception_whose_text_no_database_can_store_is_kept_all_the_same(
    bot: Bot, push: Any, broken: Broken, text: str
) -> None:
    broken.error = ValueError(text)
    assert push(bot, member_joined()).status_code == 200
    event = Event.objects.get()
    assert (event.status, event.next_try_at is None) == (Event.Status.FAILED, False)
    assert "Traceback" in event.error
    assert event.summary.startswith("ValueError: ")


@pytest.mark.django_db
def test_what_a_failed_handler_wrote_is_rolled_back(bot: Bot, push: Any, broken: Broken) -> None:
    push(bot, member_joined())
    assert not OutboxItem.objects.exists()


@pytest.mark.django_db
def test_a_redelivery_of_a_failed_event_runs_it_again(bot: Bot, push: Any, broken: Broken) -> None:
    push(bot, member_joined(event_id="ev_1"))
    broken.mended = True
    push(bot, member_joined(event_id="ev_1"))
    event = Event.objects.get()
    assert (event.status, event.deliveries, event.error) == (Event.Status.HANDLED, 2, "")


@pytest.mark.django_db
def test_a_failed_event_is_tried_again_after_15_s_1_5_30_min_and_2_h_then_left_alone(
    bot: Bot, push: Any, broken: Broken, time_machine: Any
) -> None:
    start = timezone.now()
    time_machine.move_to(start, tick=False)
    push(bot, member_joined())
    waits = []
    while (event := Event.objects.get()).next_try_at is not None:
        waits.append((event.next_try_at - timezone.now()).total_seconds())
        time_machine.move_to(event.next_try_at, tick=False)
        assert dispatch.sweep() == 1
    assert waits == [15, 60, 300, 1800, 7200]
    assert (event.status, broken.runs) == (Event.Status.FAILED, 6)


@pytest.mark.django_db
def test_the_sweep_leaves_events_alone_whose_time_has_not_come(bot: Bot, push: Any, broken: Broken) -> None:
    push(bot, member_joined())
    assert dispatch.sweep() == 0


@pytest.mark.django_db
def test_the_sweep_finishes_an_event_that_works_again(bot: Bot, push: Any, broken: Broken) -> None:
    push(bot, member_joined())
    broken.mended = True
    Event.objects.update(next_try_at=timezone.now() - timedelta(seconds=1))
    assert dispatch.sweep() == 1
    assert Event.objects.get().status == Event.Status.HANDLED
    assert OutboxItem.objects.count() == 1


class Stale:
    """A handler that writes a row about a bot that is gone; the database notices at the commit."""

    def __call__(self, event: Event) -> dispatch.Reaction:
        OutboxItem.objects.create(bot_id=999_999, key="stale", call="send_message", arguments={})
        return dispatch.handled("so it seemed")


@pytest.mark.django_db(transaction=True)
def test_what_the_database_refuses_at_the_commit_fails_the_event_and_does_not_lose_it(
    bot: Bot, push: Any, route: Any
) -> None:
    route(Stale())
    assert push(bot, member_joined()).status_code == 200
    event = Event.objects.get()
    assert (event.status, event.deliveries, event.tries) == (Event.Status.FAILED, 1, 1)
    assert "foreign key" in event.error.lower()
    assert not OutboxItem.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_so_it_does_when_the_worker_runs_the_event_again(bot: Bot, push: Any, route: Any) -> None:
    route(Stale())
    push(bot, member_joined())
    Event.objects.update(next_try_at=timezone.now() - timedelta(seconds=1))
    assert dispatch.sweep() == 1
    event = Event.objects.get()
    assert (event.status, event.tries) == (Event.Status.FAILED, 2)
    assert event.next_try_at is not None


def together(count: int, work: Callable[[], Any]) -> list[Any]:
    """Runs `work` in `count` threads at once, each with a database connection of its own."""
    results: list[Any] = []
    start = threading.Barrier(count)

    def run() -> None:
        start.wait()
        try:
            results.append(work())
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("document", "cards"),
    [(member_joined(event_id="ev_1"), 1), (message_received(event_id="ev_1", message_id="om_1"), 0)],
    ids=["a member", "a message"],
)
def test_fifty_copies_at_once_give_one_row_one_handling_and_fifty_times_200(
    bot: Bot, document: dict[str, Any], cards: int
) -> None:
    make_starters(bot)
    connection.close()
    body, headers = sealed(document, bot.encrypt_key.reveal())

    def push_one() -> int:
        response = Client().post(
            "/webhook/event/default", body, content_type="application/json", headers=headers
        )
        return response.status_code

    assert together(50, push_one) == [200] * 50
    event = Event.objects.get()
    assert (event.deliveries, event.tries, OutboxItem.objects.count()) == (50, 1, cards)


@pytest.mark.django_db(transaction=True)
def test_two_events_about_one_person_at_once_greet_once(bot: Bot) -> None:
    make_starters(bot)
    key = bot.encrypt_key.reveal()
    bodies = [sealed(build(), key) for build in (p2p_chat_create, bot_entered) * 5]

    def push_one() -> int:
        body, headers = bodies.pop()
        return (
            Client()
            .post("/webhook/event/default", body, content_type="application/json", headers=headers)
            .status_code
        )

    assert together(10, push_one) == [200] * 10
    assert OutboxItem.objects.count() == 1


@contextmanager
def away(model: type[Model]) -> Iterator[None]:
    """The model's table is gone for a while."""
    table = model._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO {table}_away")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table}_away RENAME TO {table}")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("model", [Bot, Event])
def test_with_the_database_away_feishu_is_asked_to_push_again(
    bot: Bot, push: Any, model: type[Model]
) -> None:
    make_starters(bot)
    with away(model):
        response = push(bot, member_joined())
    assert response.status_code == 503
    assert (Event.objects.count(), OutboxItem.objects.count()) == (0, 0)


@pytest.mark.django_db(transaction=True)
def test_a_database_error_in_the_middle_leaves_a_failed_event_that_greets_later(bot: Bot, push: Any) -> None:
    make_starters(bot)
    with away(OutboxItem):
        assert push(bot, p2p_chat_create()).status_code == 200
    assert Event.objects.get().status == Event.Status.FAILED
    assert not OutboxItem.objects.exists()
    Event.objects.update(next_try_at=timezone.now() - timedelta(seconds=1))
    dispatch.sweep()
    assert (Event.objects.get().status, OutboxItem.objects.count()) == (Event.Status.HANDLED, 1)
