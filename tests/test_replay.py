"""Replays: a dry run that leaves no trace and tells the truth, a run that sends nothing twice."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone, translation

from events import dispatch, replay
from events.eventfilter import EventFilter
from events.models import Bot, Event, OutboxItem, Replay
from events.replaywords import selection_words
from templates.models import Greeting, Trigger, WelcomeTemplate
from templates.starters import make_starters
from tests.feishu_events import bot_added, bot_entered, member_joined, message_received, p2p_chat_create

pytestmark = pytest.mark.django_db


def everything(**row: Any) -> Replay:
    return replay.ask(EventFilter(), calls_per_minute=60_000, **row)


def tried(job: Replay) -> Replay:
    """The dry run, to its end."""
    while job.status == Replay.Status.TRYING:
        assert replay.step(job.pk)
        job.refresh_from_db()
    return job


def run(job: Replay) -> Replay:
    """Dry run, go, and the real run to its end, however long its pace takes."""
    return run_on(tried(job))


def run_on(job: Replay) -> Replay:
    assert job.start("operator")
    while job.status == Replay.Status.RUNNING:
        assert replay.step(job.pk, max(timezone.now(), job.next_step_at))
        job.refresh_from_db()
    return job


def calls(rows: Iterable[OutboxItem]) -> list[tuple[str, str, str]]:
    return sorted((row.call, row.target, row.arguments["content"]) for row in rows)


def sent() -> None:
    OutboxItem.objects.update(status=OutboxItem.Status.SENT, sent_at=timezone.now())


@pytest.fixture
def received(bot: Bot, push: Any) -> Callable[..., None]:
    """Events that came while there was no template, so that nobody was greeted."""

    def receive(*bodies: dict[str, Any]) -> None:
        for body in bodies or (member_joined(), bot_added(), p2p_chat_create(), bot_entered()):
            push(bot, body)
        assert not OutboxItem.objects.filter(call="send_message").exists()

    return receive


def test_a_dry_run_lists_the_calls_and_leaves_no_trace(bot: Bot, received: Any) -> None:
    received(member_joined(), bot_entered())
    make_starters(bot)
    before = list(Event.objects.order_by("pk").values())
    job = tried(everything())
    assert [[call["call"] for call in one["calls"]] for one in job.sample] == [["send_message"]] * 2
    assert job.tried["calls"] == {"send_message": {"new": 2}}
    assert list(Event.objects.order_by("pk").values()) == before
    assert [model.objects.count() for model in (OutboxItem, Greeting)] == [0, 0]


def test_the_times_of_a_filter_are_told_by_the_consoles_clock_whoever_wrote_them() -> None:
    told = {"filter": {"since": "2026-11-21T16:05:00+00:00", "until": "2026-11-22T01:00:00+08:00"}}
    with translation.override("en"):
        assert selection_words(told) == "since: 2026-11-22 00:05 · until: 2026-11-22 01:00"


def test_the_progress_of_a_dry_run_is_that_of_the_log_as_it_is_kept(
    bot: Bot, received: Any, monkeypatch: Any
) -> None:
    received(*(member_joined() for _ in range(10)))
    Event.objects.update(id=F("id") + 1_000_000)  # what was before is pruned
    monkeypatch.setattr(replay, "EVENTS_AT_ONCE", 1)
    job = everything()
    assert replay.step(job.pk)
    job.refresh_from_db()
    assert (job.percent, job.tried["events"]) == (10, 1)


def test_every_call_of_the_dry_run_is_kept_until_the_real_run_is_through(
    bot: Bot, received: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(replay, "SAMPLE", 1)
    received()
    make_starters(bot)
    job = tried(everything())
    planned = sorted(job.planned.values_list("event", "call", "target", "key"))
    assert {row.state for row in job.planned.all()} == {"new"}
    run_on(job)
    assert sorted(OutboxItem.objects.values_list("cause", "call", "target", "key")) == planned
    assert not job.planned.exists()


def test_a_cancelled_replay_keeps_no_plan(bot: Bot, received: Any) -> None:
    received()
    make_starters(bot)
    job = tried(everything())
    assert job.planned.exists()
    assert job.cancel("operator")
    assert not job.planned.exists()


def test_the_real_run_makes_exactly_the_calls_of_the_dry_run(bot: Bot, received: Any) -> None:
    received()
    make_starters(bot)
    job = run(everything())
    planned = [call for one in job.sample for call in one["calls"]]
    made = OutboxItem.objects.filter(replay=job)
    assert calls(made) == sorted((one["call"], one["target"], one["arguments"]["content"]) for one in planned)
    assert {**job.done, "reasons": 0} == {**job.tried, "reasons": 0}
    assert made.count() == 3  # p2p_chat_create and bot_entered are one person's
    assert job.status == Replay.Status.DONE


def test_a_greeted_event_is_handled_now_and_knows_its_card(bot: Bot, received: Any) -> None:
    received(member_joined())
    make_starters(bot)
    run(everything())
    event = Event.objects.get()
    assert (event.status, event.outbox.count()) == (Event.Status.HANDLED, 1)


def test_what_was_sent_is_not_sent_again(bot: Bot, push: Any) -> None:
    make_starters(bot)
    for body in (member_joined(), bot_added(), p2p_chat_create()):
        push(bot, body)
    sent()
    job = run(everything())
    assert job.done["outcomes"] == {"nothing": 3}
    assert job.done["calls"] == {"send_message": {"before": 2}}  # the conversation is known as greeted
    assert OutboxItem.objects.count() == 3


def test_a_second_replay_finds_nothing_left_to_do(bot: Bot, received: Any) -> None:
    received()
    make_starters(bot)
    run(everything())
    sent()
    assert run(everything()).done["outcomes"] == {"nothing": 4}
    assert OutboxItem.objects.count() == 3


def test_send_again_makes_new_messages_with_keys_and_uuids_of_their_own_and_says_so(
    bot: Bot, push: Any
) -> None:
    make_starters(bot)
    for body in (member_joined(), p2p_chat_create(), bot_entered()):
        push(bot, body)
    sent()
    job = run(everything(send_again=True))
    again = OutboxItem.objects.filter(replay=job)
    assert job.done == job.tried
    assert job.done["calls"] == {"send_message": {"again": 2}}  # two events about one person: one greeting
    assert all(row.is_sent_again and row.key.startswith(f"again:{job.pk}:") for row in again)
    assert OutboxItem.objects.values("uuid").distinct().count() == OutboxItem.objects.count() == 4
    assert Greeting.objects.count() == 1


def test_send_again_sends_the_first_time_what_was_never_sent_and_then_it_counts_as_sent(
    bot: Bot, received: Any
) -> None:
    received(member_joined())
    make_starters(bot)
    assert run(everything(send_again=True)).done["calls"] == {"send_message": {"new": 1}}
    assert not OutboxItem.objects.get().is_sent_again
    sent()
    assert run(everything()).done["calls"] == {"send_message": {"before": 1}}


def test_a_call_that_waits_is_left_alone_even_if_all_is_to_be_sent_again(bot: Bot, push: Any) -> None:
    make_starters(bot)
    push(bot, member_joined())
    assert run(everything(send_again=True)).done["calls"] == {"send_message": {"waiting": 1}}
    assert OutboxItem.objects.count() == 1


@pytest.mark.parametrize("body", [member_joined(), p2p_chat_create()], ids=["a group", "a conversation"])
def test_a_card_that_failed_is_taken_up_with_todays_template(
    bot: Bot, push: Any, body: dict[str, Any]
) -> None:
    make_starters(bot)
    push(bot, body)
    OutboxItem.objects.update(status=OutboxItem.Status.FAILED, error_code=230099, error="bad card")
    WelcomeTemplate.objects.update(card='{"schema": "2.0", "body": {"elements": [{"tag": "hr"}]}}')
    job = run(everything())
    item = OutboxItem.objects.get()
    assert (item.status, item.error, item.replay) == (OutboxItem.Status.PENDING, "", job)
    assert item.content["body"]["elements"] == [{"tag": "hr"}]
    assert job.done == job.tried
    assert job.done["calls"] == {"send_message": {"retried": 1}}


def test_a_failed_call_that_may_have_reached_feishu_counts_as_sent(bot: Bot, push: Any) -> None:
    make_starters(bot)
    push(bot, member_joined())
    OutboxItem.objects.update(status=OutboxItem.Status.FAILED, unsure=True)
    assert run(everything()).done["calls"] == {"send_message": {"before": 1}}
    assert OutboxItem.objects.get().status == OutboxItem.Status.FAILED


def test_events_that_come_in_later_are_not_the_replays(bot: Bot, received: Any, push: Any) -> None:
    received(member_joined())
    job = tried(everything())
    push(bot, member_joined())
    make_starters(bot)
    assert run_for_real(job).done["events"] == 1


def run_for_real(job: Replay) -> Replay:
    assert job.start("operator")
    while job.status == Replay.Status.RUNNING:
        assert replay.step(job.pk, max(timezone.now(), job.next_step_at))
        job.refresh_from_db()
    return job


def test_a_filter_is_replayed_whole_and_nothing_but_it(bot: Bot, received: Any) -> None:
    received(*(member_joined(chat_id=f"oc_{number % 2}") for number in range(130)))
    make_starters(bot)
    job = run(replay.ask(EventFilter(chat="oc_1"), calls_per_minute=60_000))
    assert (job.done["events"], job.done["calls"]) == (65, {"send_message": {"new": 65}})
    assert set(OutboxItem.objects.values_list("target", flat=True)) == {"oc_1"}


def test_a_selection_is_replayed_and_nothing_but_it(bot: Bot, received: Any) -> None:
    received(*(member_joined() for _ in range(4)))
    make_starters(bot)
    chosen = list(Event.objects.order_by("pk").values_list("pk", flat=True))[1:3]
    run(replay.ask(chosen, calls_per_minute=60_000))
    assert set(OutboxItem.objects.values_list("cause", flat=True)) == set(chosen)


def test_a_filter_that_finds_nothing_ends_at_once(bot: Bot, received: Any) -> None:
    received(member_joined())
    job = run(replay.ask(EventFilter(type="app_ticket"), calls_per_minute=60_000))
    assert (job.status, job.done.get("events", 0)) == (Replay.Status.DONE, 0)


def test_the_pace_is_kept(bot: Bot, received: Any) -> None:
    received(*(member_joined() for _ in range(10)))
    make_starters(bot)
    job = tried(replay.ask(EventFilter(), calls_per_minute=60))
    job.start("operator")
    start, minute_by_minute = timezone.now(), []
    for second in range(15):
        replay.step(job.pk, start + timedelta(seconds=second))
        minute_by_minute.append(OutboxItem.objects.count())
    assert minute_by_minute[:4] == [2, 2, 4, 4]
    assert minute_by_minute[-1] == 10


def test_a_cancelled_replay_stops_where_it_is(bot: Bot, received: Any) -> None:
    received(*(member_joined() for _ in range(10)))
    make_starters(bot)
    job = tried(replay.ask(EventFilter(), calls_per_minute=60))
    job.start("operator")
    replay.step(job.pk)
    assert job.cancel("somebody")
    assert replay.step(job.pk, timezone.now() + timedelta(hours=1)) == 0
    assert (OutboxItem.objects.count(), job.cancelled_by) == (2, "somebody")
    assert (job.cancel("late"), job.start("late")) == (False, False)


def test_only_one_person_starts_a_replay_and_only_after_its_dry_run(bot: Bot, received: Any) -> None:
    received(member_joined())
    job = everything()
    assert not job.start("too early")
    assert tried(job).start("first")
    assert not job.start("second")
    assert job.confirmed_by == "first"


def test_a_command_is_not_obeyed_a_second_time(bot: Bot, received: Any, push: Any) -> None:
    push(bot, message_received("/incident payments", chat_type="p2p"))
    asked = OutboxItem.objects.count()
    job = run(everything(send_again=True))
    assert job.done["outcomes"] == {"left_out": 1}
    assert job.done["reasons"] == {"a command is obeyed once, when it is written": 1}
    assert OutboxItem.objects.count() == asked


class Broken:
    """A handler that raises for every second event, after it has queued a call."""

    def __call__(self, event: Event) -> dispatch.Reaction:
        from events.outbox import send_text

        send_text(event.bot, chat_id=event.chat_id, markup="x", key=f"broken:{event.pk}")
        if event.pk % 2:
            raise ValueError("broken")
        return dispatch.handled("sent")


def test_an_event_whose_handler_raises_fails_alone(bot: Bot, push: Any, settings: Any) -> None:
    for _ in range(6):
        push(bot, member_joined())
    settings.ROUTES_MODULE = "tests.routes"
    from tests import routes

    handler = Broken()
    routes.EVENT_ROUTES["im.chat.member.user.added_v1"] = (handler,)
    routes.REPLAYS[handler] = None
    for table in (dispatch.routes, replay.rules):
        table.cache_clear()
    try:
        job = run(everything())
    finally:
        for table in (dispatch.routes, replay.rules):
            table.cache_clear()
    assert job.done["outcomes"] == {"calls": 3, "failed": 3}
    assert [one["error"] for one in job.failures] == ["ValueError: broken"] * 3
    assert OutboxItem.objects.count() == 3


def test_every_handler_has_been_asked_whether_it_may_run_twice() -> None:
    handlers = {handler for handlers in dispatch.routes().values() for handler in handlers}
    assert handlers <= set(replay.rules())


def test_replaying_uses_todays_templates(bot: Bot, received: Any) -> None:
    received(member_joined())
    make_starters(bot)
    template = WelcomeTemplate.objects.get(trigger=Trigger.MEMBER_JOINED)
    template.card = '{"schema": "2.0", "body": {"elements": [{"tag": "markdown", "content": "today"}]}}'
    template.save()
    run(everything())
    assert OutboxItem.objects.get().content["body"]["elements"][0]["content"] == "today"
