"""The deaf-bot alarm: what a bot's rhythm lets expect, when it is deaf, and who is told. Time is an argument."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.utils.translation import override

from botconsole.models import ApiKey
from events.deaf import deaf_bots, watch
from events.models import Bot, Connection, Counted, Event, Hearing, Heartbeat, HourCount, OutboxItem, Refusal
from events.rhythm import ENOUGH, HOUR, count_new, rhythm

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)  # a Monday
DAY, WEEK, MINUTE = timedelta(days=1), timedelta(weeks=1), timedelta(minutes=1)
WRONG_KEY = "the signature does not match: is the Encrypt Key the one in Feishu's console?"


@pytest.fixture(autouse=True)
def _in_chinese() -> Iterator[None]:
    """As the worker speaks, whatever language the test before read."""
    with override("zh-hans"):
        yield


# --- The rhythm -----------------------------------------------------------------------------------------
def counts(per_hour: Callable[[datetime], int], weeks: int = 4) -> dict[datetime, int]:
    hours = (NOW - HOUR * number for number in range(1, weeks * 168 + 1))
    return {hour: count for hour in hours if (count := per_hour(hour))}


def office(hour: datetime) -> int:
    return 30 if hour.weekday() < 5 and 1 <= hour.hour < 10 else 0


def test_a_steady_bot_is_expected_to_hear_as_much_as_in_the_weeks_before() -> None:
    steady = rhythm(counts(lambda hour: 60), NOW - 4 * WEEK, NOW)
    assert steady
    assert steady.threshold == ENOUGH
    assert steady.expected(NOW, NOW + 30 * MINUTE) == pytest.approx(30)
    assert steady.expected(NOW + 20 * MINUTE, NOW + 2 * HOUR) == pytest.approx(100)


def test_nothing_is_expected_of_a_bot_that_works_in_office_hours_at_night_and_on_sunday() -> None:
    usual = rhythm(counts(office), NOW - 4 * WEEK, NOW)
    assert usual
    monday_evening, sunday = NOW, NOW + 6 * DAY - 4 * HOUR
    assert usual.expected(monday_evening, monday_evening + 12 * HOUR) == 0
    assert usual.expected(sunday, sunday + 12 * HOUR) == 0
    assert usual.expected(NOW, NOW + DAY) == pytest.approx(9 * 30)


def test_there_is_no_rhythm_before_one_whole_week() -> None:
    assert rhythm(counts(lambda hour: 60, weeks=1), NOW - WEEK + HOUR, NOW) is None


def test_one_flood_is_not_expected_again() -> None:
    flood = NOW - WEEK
    usual = rhythm({**counts(lambda hour: 2), flood: 50_000}, NOW - 4 * WEEK, NOW)
    assert usual
    assert usual.expected(NOW, NOW + HOUR) < ENOUGH


def test_a_bot_that_paused_often_must_be_silent_for_longer_than_that() -> None:
    def pausing(hour: datetime) -> int:
        return 0 if hour.day % 7 == 0 or hour.day % 5 == 0 else 10

    usual = rhythm(counts(pausing), NOW - 4 * WEEK, NOW)
    assert usual
    assert usual.threshold > 2 * ENOUGH


def test_a_silence_longer_than_the_rhythm_knows_is_still_far_too_long() -> None:
    steady = rhythm(counts(lambda hour: 60), NOW - 4 * WEEK, NOW)
    assert steady
    assert steady.expected(NOW, NOW + 400 * DAY) > 10_000


# --- Counting -------------------------------------------------------------------------------------------
@pytest.fixture
def heard(bot: Bot) -> Callable[..., None]:
    """Events of the bot, received at these times."""

    def heard(*times: datetime, transport: str = "webhook") -> None:
        first = Event.objects.count()
        rows = [
            Event(
                bot=bot, event_id=f"e{first + number}", dedup_key=f"e{first + number}", event_type="t", schema="2.0",
                body={}, transport=transport, created_at=at, received_at=at, status="handled",
            )
            for number, at in enumerate(times)
        ]  # fmt: skip
        Event.objects.bulk_create(rows)

    return heard


def test_events_are_counted_once_by_their_hour(bot: Bot, heard: Any) -> None:
    heard(NOW - 3 * HOUR, NOW - 3 * HOUR + MINUTE, NOW - HOUR)
    for _ in range(2):
        watch(NOW)
    heard(NOW - HOUR + MINUTE)
    watch(NOW)
    assert list(HourCount.objects.order_by("hour").values_list("hour", "events")) == [
        (NOW - 3 * HOUR, 2),
        (NOW - HOUR, 2),
    ]
    hearing = Hearing.objects.get()
    assert (hearing.learned_since, hearing.heard_at) == (NOW - 3 * HOUR, NOW - HOUR + MINUTE)


def test_what_an_operator_made_up_is_no_hearing(bot: Bot, heard: Any) -> None:
    heard(NOW - HOUR, transport="simulated")
    watch(NOW)
    assert not HourCount.objects.exists()
    assert Hearing.objects.get().heard_at is None


def test_many_events_are_counted_window_by_window(bot: Bot, heard: Any) -> None:
    heard(*(NOW - HOUR + timedelta(seconds=number) for number in range(75)))
    counted = Counted.lock()
    assert counted
    assert count_new(counted, NOW, window=10) == 50  # five windows at most, the rest next time
    while count_new(counted, NOW, window=10):
        pass
    assert HourCount.objects.get().events == 75


def test_hours_long_past_are_forgotten(bot: Bot, heard: Any) -> None:
    HourCount.objects.create(bot=bot, hour=NOW - 6 * WEEK, events=5)
    heard(NOW - HOUR)
    watch(NOW)
    assert HourCount.objects.get().hour == NOW - HOUR


# --- Deaf -----------------------------------------------------------------------------------------------
@pytest.fixture
def busy(bot: Bot) -> Bot:
    """A bot that heard 60 events an hour for four weeks, the last one at NOW, and has a chat to tell."""
    HourCount.objects.bulk_create(
        HourCount(bot=bot, hour=hour, events=count) for hour, count in counts(lambda hour: 60).items()
    )
    Hearing.objects.create(bot=bot, learned_since=NOW - 4 * WEEK, heard_at=NOW)
    bot.alarm_chat_id = "oc_alarm"
    bot.save()
    return bot


def reason() -> str:
    return Hearing.objects.get().reason


def told() -> list[tuple[str, str]]:
    """(bot, text) of what the alarm chat was told."""
    items = OutboxItem.objects.filter(target="oc_alarm").order_by("pk").select_related("bot")
    return [
        (
            item.bot.slug,
            item.content["header"]["title"]["content"] if "header" in item.content else item.content["text"],
        )
        for item in items
    ]


def test_a_bot_that_is_silent_for_much_longer_than_usual_is_deaf(busy: Bot) -> None:
    for minutes, expected in ((14, ""), (16, ""), (19, ""), (21, "silent"), (600, "silent")):
        watch(NOW + minutes * MINUTE)
        assert reason() == expected, minutes
    assert Hearing.objects.get().deaf_since == NOW + 21 * MINUTE


def test_its_chat_is_told_once_and_once_more_when_it_hears_again(busy: Bot, heard: Any) -> None:
    for minutes in (30, 45, 60):
        watch(NOW + minutes * MINUTE)
    assert told() == [("default", "机器人“OpsBot”收不到事件")]
    heard(NOW + 61 * MINUTE)
    for minutes in (62, 63):
        watch(NOW + minutes * MINUTE)
    assert told()[1:] == [("default", "机器人“OpsBot”恢复接收。")]
    assert (reason(), Hearing.objects.get().deaf_since) == ("", None)


def test_each_episode_is_told_anew(busy: Bot, heard: Any) -> None:
    watch(NOW + 30 * MINUTE)
    heard(NOW + 31 * MINUTE)
    watch(NOW + 32 * MINUTE)
    watch(NOW + 80 * MINUTE)
    assert len(told()) == 3


def test_another_bot_tells_it_if_the_operator_chose_one(busy: Bot) -> None:
    other = Bot.objects.create(name="Two", slug="two", app_id="cli_2", app_secret="s", verification_token="v")
    busy.alarm_bot = other
    busy.save()
    watch(NOW + HOUR)
    assert [slug for slug, _ in told()] == ["two"]


def test_without_a_chat_nobody_is_told_until_there_is_one(busy: Bot) -> None:
    Bot.objects.update(alarm_chat_id="")
    watch(NOW + HOUR)
    assert (reason(), OutboxItem.objects.count()) == ("silent", 0)
    Bot.objects.update(alarm_chat_id="oc_alarm")
    watch(NOW + 2 * HOUR)
    assert len(told()) == 1


def test_a_disabled_bot_is_never_deaf_and_its_end_is_not_told(busy: Bot) -> None:
    watch(NOW + HOUR)
    Bot.objects.update(enabled=False)
    watch(NOW + 2 * HOUR)
    assert reason() == ""
    assert len(told()) == 1


@pytest.fixture
def refused(bot: Bot) -> Callable[..., None]:
    def refused(*reasons: str, at: datetime = NOW) -> None:
        for number, text in enumerate(reasons):
            when = at + timedelta(seconds=number)
            Refusal.objects.create(bot=bot, reason=text, remote_address="203.0.113.9", refused_at=when)

    return refused


def test_five_refusals_for_the_keys_and_nothing_heard_since_mean_deaf(bot: Bot, refused: Any) -> None:
    refused(*[WRONG_KEY] * 4)
    watch(NOW + MINUTE)
    assert reason() == ""
    refused(
        "the token does not match: is the Verification Token the one in Feishu's console?", at=NOW + MINUTE
    )
    watch(NOW + 2 * MINUTE)
    assert reason() == "refused"


def test_refusals_of_another_kind_among_them_mean_nothing(bot: Bot, refused: Any) -> None:
    refused(WRONG_KEY, WRONG_KEY, "the body is not JSON", WRONG_KEY, WRONG_KEY)
    watch(NOW + MINUTE)
    assert reason() == ""


def test_an_event_that_came_in_between_means_that_it_hears(bot: Bot, refused: Any, heard: Any) -> None:
    refused(*[WRONG_KEY] * 9)
    heard(NOW + MINUTE)
    watch(NOW + 2 * MINUTE)
    assert reason() == ""


def test_refusals_of_the_day_before_yesterday_alarm_nobody_and_claim_no_hearing(
    busy: Bot, refused: Any
) -> None:
    Hearing.objects.update(heard_at=None)
    refused(*[WRONG_KEY] * 5)
    watch(NOW + HOUR)
    assert (reason(), len(told())) == ("refused", 1)
    watch(NOW + 2 * DAY)
    assert (reason(), len(told())) == ("", 1)


def test_a_bot_that_nobody_listens_for_is_deaf_after_two_minutes_and_hears_with_a_listener(busy: Bot) -> None:
    Bot.objects.update(transport=Bot.Transport.LONG_CONNECTION)
    for minutes, expected in ((0, ""), (1, ""), (2, "unattended"), (5, "unattended")):
        watch(NOW + minutes * MINUTE)
        assert reason() == expected, minutes
    at = NOW + 6 * MINUTE
    Connection.objects.create(
        bot=busy,
        host="h",
        pid=1,
        version="1",
        started_at=at,
        seen_at=at,
        connected_since=at,
        last_frame_at=at,
    )
    watch(at)
    assert reason() == ""
    assert [text for _, text in told()] == ["机器人“OpsBot”收不到事件", "机器人“OpsBot”恢复接收。"]


def test_a_listener_that_is_replaced_within_two_minutes_alarms_nobody(busy: Bot) -> None:
    Bot.objects.update(transport=Bot.Transport.LONG_CONNECTION)
    watch(NOW)
    for minutes in (1, 10):
        at = NOW + minutes * MINUTE
        Connection.objects.update_or_create(
            bot=busy, host="h", pid=1,
            defaults={"version": "1", "started_at": at, "seen_at": at, "connected_since": at},
        )  # fmt: skip
        watch(at)
        watch(at + MINUTE)
    assert reason() == ""


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_of_two_workers_one_watches_at_a_time(bot: Bot) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from django.db import connection, transaction

    def other() -> Any:
        try:
            return watch(NOW)
        finally:
            connection.close()

    Counted.objects.create(pk=1)
    with transaction.atomic(), ThreadPoolExecutor(1) as pool:
        assert Counted.lock()
        assert pool.submit(other).result() == 0
    assert not Hearing.objects.exists()


# --- The console ----------------------------------------------------------------------------------------
pytest_plugins = ["tests.admin_fixtures"]


def test_every_page_says_which_bot_is_deaf(viewer: Any, busy: Bot) -> None:
    watch(NOW + HOUR)
    for url in ("/admin/", "/admin/events/event/", "/admin/events/outboxitem/", "/admin/events/bot/"):
        html = viewer.get(url).content.decode()
        assert "“OpsBot” hears nothing: it has been silent for much longer than usual." in html


def test_no_page_says_so_while_all_is_well_nor_to_strangers(viewer: Any, nobody: Any, busy: Bot) -> None:
    assert 'id="deaf"' not in viewer.get("/admin/").content.decode()
    watch(NOW + HOUR)
    assert "OpsBot" not in nobody.get("/admin/login/").content.decode()


def test_pages_ask_once_in_a_while(busy: Bot, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        for _ in range(3):
            deaf_bots()


def test_readyz_tells_how_many_and_why_and_stays_ready(client: Any, busy: Bot) -> None:
    Heartbeat.objects.beat("worker", "h", 1, NOW)
    assert client.get("/readyz").json()["checks"]["bots"] == "ok"
    watch(NOW + HOUR)
    cache.clear()
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["checks"]["bots"]) == (200, "1 silent")


# --- The metrics ----------------------------------------------------------------------------------------
def key(*scopes: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {ApiKey.objects.issue('prometheus', scopes)[1]}"}


def test_the_metrics_say_which_bot_is_deaf(client: Any, busy: Bot) -> None:
    watch(NOW + HOUR)
    text = client.get("/metrics", headers=key("metrics")).content.decode()
    for line in (
        'botconsole_bot_deaf{bot="default"} 1.0',
        'botconsole_bot_events_missing{bot="default"} 60.0',
        'botconsole_bot_last_event_timestamp_seconds{bot="default"} 1.7730576e+09',
        'botconsole_processes{kind="worker"} 0.0',
        'botconsole_outbox_unfinished{bot="default"} 1.0',
    ):
        assert line in text


def test_the_metrics_are_for_their_keys_and_for_staff_who_may_see_bots(
    client: Any, client_of: Any, bot: Bot
) -> None:
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers=key("incidents")).status_code == 401
    assert client.get("/metrics", headers={"Authorization": "Bearer nonsense"}).status_code == 401
    assert client_of("guest", ["view_event"]).get("/metrics").status_code == 401
    assert client_of("watcher", ["view_bot"]).get("/metrics").status_code == 200
    assert client.post("/metrics").status_code == 405


def test_the_metrics_take_the_same_queries_for_any_number_of_bots(
    client_of: Any, bot: Bot, queries_of: Any
) -> None:
    client = client_of("watcher", ["view_bot"])
    few = queries_of(client, "/metrics")
    for number in range(5):
        Bot.objects.create(
            name=f"B{number}", slug=f"b{number}", app_id=f"cli_{number}", verification_token="t"
        )
    watch(NOW)
    assert queries_of(client, "/metrics") == few
