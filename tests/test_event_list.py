"""Pages of the event log by key, its live tail and its exports."""

import csv
import io
import json
from datetime import timedelta

import pytest
from django.utils import timezone

from events import eventlist
from events.eventfilter import EventFilter
from events.eventlist import Estimate, estimate, newer_than, page_of
from events.models import Event, EventText, OutboxItem
from events.reading import catch_up, read_new

pytest_plugins = ["tests.admin_fixtures"]

LIST, NEW, EXPORT = "/admin/events/event/", "/admin/events/event/new/", "/admin/events/event/export/"
BAD = [
    "q=%00",
    "q=" + "x" * 10_000,
    "bot=x",
    "since=x",
    "until=2026-02-31",
    "status=x",
    "delivery=x",
    "transport=x",
]


@pytest.fixture
def small_steps(monkeypatch):
    """A page compares three rows and reads stretches of two keys, as in a log of a million."""
    monkeypatch.setattr(eventlist, "LOOKED_THROUGH", 3)
    monkeypatch.setattr(eventlist, "STRETCH_BITS", (1,))
    monkeypatch.setattr(eventlist, "STRETCHES_READ", 3)


def all_pages(chosen, length=2):
    """Every page from the newest to the end."""
    pages = [page_of(chosen, length=length)]
    while pages[-1].older is not None:
        pages.append(page_of(chosen, before=pages[-1].older, length=length))
    return pages


def keys(pages):
    return [event.pk for page in pages for event in page.events]


def newest_first(events):
    return [event.pk for event in reversed(events)]


# --- Pages ------------------------------------------------------------------------------------------------
CHOICES = [
    {},
    {"status": "failed"},
    {"transport": "long_connection"},
    {"chat": "oc_wanted"},
    {"chat": "oc_wanted", "transport": "long_connection"},
    {"person": "ou_wanted"},
    {"q": "wanted words"},
    {"q": "w"},
    {"q": "wanted words", "status": "failed"},
]


@pytest.mark.parametrize("params", CHOICES)
def test_the_pages_hold_every_match_once_and_in_order(make_event, small_steps, params):
    chosen = EventFilter.from_query(params)
    wanted = {
        "status": "failed",
        "transport": "long_connection",
        "chat_id": "oc_wanted",
        "actor_open_id": "ou_wanted",
        "body": {"event": {"text": "wanted words"}},
    }
    fitting = []
    for number in range(24):
        event = make_event(**(wanted if number % 5 in (0, 1) else {"body": {"event": {}}}))
        if not params or number % 5 in (0, 1):
            fitting.append(event)
    catch_up()
    assert keys(all_pages(chosen)) == newest_first(fitting)


@pytest.mark.parametrize("params", CHOICES[1:])
def test_a_filter_that_fits_nothing_gives_up_and_says_how_far_it_looked(make_event, small_steps, params):
    chat_id = "oc_wanted" if "transport" in params else "oc_team"
    for _ in range(12):
        make_event(body={"event": {}}, chat_id=chat_id)
    catch_up()
    pages = all_pages(EventFilter.from_query(params))
    assert keys(pages) == []
    indexed = len(params) == 1 and set(params) & {"status", "chat"}
    assert (len(pages) == 1) == bool(indexed)
    assert all(page.looked_back_to for page in pages[:-1])


def test_from_any_page_one_comes_back_to_the_newer(make_event):
    events = [make_event() for _ in range(7)]
    first = page_of(EventFilter(), length=3)
    second = page_of(EventFilter(), before=first.older, length=3)
    assert first.newer is None
    back = page_of(EventFilter(), after=second.newer, length=3)
    assert [event.pk for event in back.events] == newest_first(events)[:3]


def test_new_events_do_not_shift_the_older_pages(make_event):
    events = [make_event() for _ in range(6)]
    first = page_of(EventFilter(), length=3)
    make_event()
    second = page_of(EventFilter(), before=first.older, length=3)
    assert [event.pk for event in second.events] == newest_first(events)[3:]


def test_going_to_newer_events_stops_at_the_newest_page(make_event, small_steps):
    events = [make_event(transport="long_connection" if number < 2 else "webhook") for number in range(12)]
    chosen = EventFilter(transport="long_connection")
    page = page_of(chosen, after=events[1].pk, length=2)
    assert (page.events, page.newer is not None) == ([], True)


def test_one_jumps_to_a_time(operator, make_event):
    start = timezone.now() - timedelta(days=3)
    events = [
        make_event(received_at=start + timedelta(hours=hour), summary=f"hour {hour}") for hour in range(5)
    ]
    at = timezone.localtime(start + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S")
    html = operator.get(LIST, {"at": at}).content.decode()
    assert "hour 2" in html
    assert "hour 3" not in html
    assert f"after={events[2].pk}" in html


def test_the_page_links_to_older_and_newer_ones(operator, make_event):
    events = [make_event() for _ in range(60)]
    html = operator.get(LIST, {"chat": "oc_team"}).content.decode()
    assert f"?chat=oc_team&amp;before={events[10].pk}" in html
    second = operator.get(LIST, {"chat": "oc_team", "before": events[10].pk}).content.decode()
    assert f"?chat=oc_team&amp;after={events[10].pk - 1}" in second
    assert second.count("<tr data-key") == 10


def test_a_search_that_found_nothing_yet_offers_to_go_on(operator, make_event, small_steps):
    for _ in range(8):
        make_event()
    html = operator.get(LIST, {"transport": "simulated"}).content.decode()
    assert "Nothing found back to" in html
    assert "search further back" in html


def test_a_very_short_search_says_that_it_compares(operator, make_event):
    make_event()
    assert "is not in the index" in operator.get(LIST, {"q": "!"}).content.decode()


# --- How many ---------------------------------------------------------------------------------------------
def test_few_matches_are_counted(make_event):
    for number in range(5):
        make_event(status="failed" if number % 2 else "handled")
    assert estimate(EventFilter()) == Estimate(5, True)
    assert estimate(EventFilter(status="failed")) == Estimate(2, True)


def test_many_matches_are_estimated_from_the_newest(make_event, monkeypatch):
    monkeypatch.setattr(eventlist, "COUNTED", 10)
    for number in range(60):
        make_event(chat_id="oc_half" if number % 2 else "oc_team")
    assert not estimate(EventFilter(chat="oc_half")).is_exact
    assert 28 <= estimate(EventFilter(chat="oc_half")).count <= 32


def test_no_event_at_all_is_a_page_too(operator):
    assert "No event fits." in operator.get(LIST).content.decode()
    assert estimate(EventFilter(q="words")) == Estimate(0, True)


# --- Bad addresses ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "query",
    [
        *BAD,
        "before=x",
        "after=-1",
        "before=9" * 30,
        "before=9223372036854775808",
        "at=noon",
        "p=99&o=7.1&all=&e=1",
    ],
)
def test_a_bad_address_is_answered_in_words(operator, make_event, query):
    make_event()
    assert operator.get(f"{LIST}?{query}").status_code == 200


@pytest.mark.parametrize("query", BAD)
def test_bad_filters_reach_neither_live_tail_nor_export(operator, query):
    for url in (NEW, EXPORT):
        answer = operator.get(f"{url}?{query}")
        assert answer.status_code == 400
        assert b"Traceback" not in answer.content


def test_a_wrong_filter_shows_no_events_at_all(operator, make_event):
    make_event()
    html = operator.get(LIST, {"status": "gone"}).content.decode()
    assert "The filter does not know “gone”." in html
    assert "<tr data-key" not in html


def test_an_action_on_a_wrong_filter_touches_nothing(operator, make_event):
    event = make_event(status="failed", event_type="x")
    operator.post(f"{LIST}?status=gone", {"action": "run_again", "index": 0, "_selected_action": [event.pk]})
    assert Event.objects.get().status == "failed"


@pytest.mark.parametrize("key", ["x", "1'", "9" * 30, "١", "\0"])
def test_an_action_on_what_is_no_key_is_no_error(operator, make_event, key):
    make_event()
    for page in (LIST, "/admin/events/outboxitem/"):
        action = {"action": "run_again" if page == LIST else "retry", "index": 0, "_selected_action": [key]}
        answer = operator.post(page, action, follow=True)
        assert answer.status_code == 200
        assert "This selection is not understood." in answer.content.decode()


# --- The live tail ----------------------------------------------------------------------------------------
def test_the_live_tail_sends_what_came_since(operator, make_event):
    old = make_event()
    new = [make_event(), make_event()]
    news = operator.get(NEW, {"after": old.pk}).json()
    assert news["newest"] == new[-1].pk
    assert all(f'data-key="{event.pk}"' in news["rows"] for event in new)


def test_the_live_tail_does_not_send_for_ever_what_the_page_has(operator, make_event):
    old = make_event(received_at=timezone.now() - timedelta(minutes=5))
    late = make_event()  # its transaction may have ended after that of a newer one
    newest = make_event()
    rows = operator.get(NEW, {"after": newest.pk}).json()["rows"]
    assert f'data-key="{old.pk}"' not in rows
    assert f'data-key="{late.pk}"' in rows


@pytest.mark.parametrize("codename", ["replay_event", "change_event", "view_outboxitem"])
def test_rows_that_come_later_can_be_selected_by_whoever_could_select_the_others(
    client_of, make_event, codename
):
    make_event()
    client = client_of("someone", ["view_event", codename])
    box = 'name="_selected_action"'
    assert (box in client.get(NEW).json()["rows"]) == (box in client.get(LIST).content.decode())


def test_the_live_tail_keeps_to_the_filter(operator, make_event):
    after = make_event().pk
    make_event(chat_id="oc_other")
    wanted = make_event(chat_id="oc_wanted", body={"event": {"text": "payment failed"}})
    for query in ({"chat": "oc_wanted"}, {"q": "payment"}):
        rows = operator.get(NEW, {"after": after, **query}).json()["rows"]
        assert rows.count("<tr") == 1
        assert f'data-key="{wanted.pk}"' in rows


def test_the_live_tail_comes_after_a_burst_without_a_gap(make_event, monkeypatch):
    events = [make_event() for _ in range(9)]
    sent = newer_than(EventFilter(), events[0].pk, Event.objects.all(), 4)
    assert [event.pk for event in sent] == newest_first(events[1:5])


def test_the_live_tail_without_a_key_sends_the_newest(operator, make_event):
    make_event()
    assert operator.get(NEW).json()["rows"].count("<tr") == 1


# --- Exports ----------------------------------------------------------------------------------------------
def exported(client, **query):
    answer = client.get(EXPORT, query)
    assert answer.status_code == 200
    return b"".join(answer.streaming_content).decode(), answer


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))


def test_the_csv_holds_what_the_filter_matches(operator, make_event):
    make_event()
    wanted = [make_event(chat_id="oc_wanted") for _ in range(3)]
    text, answer = exported(operator, chat="oc_wanted", format="csv")
    assert text.startswith("\ufeffreceived_at,")
    assert [row["event_id"] for row in rows_of(text)] == [event.event_id for event in reversed(wanted)]
    assert rows_of(text)[0]["people"] == "Ada"
    assert answer["X-Rows-Estimated"] == "3"
    assert answer["Content-Disposition"].endswith('.csv"')


def test_ndjson_is_one_event_a_line_with_its_payload(operator, make_event):
    event = make_event(summary="two\nlines")
    text, _answer = exported(operator, format="ndjson")
    row = json.loads(text)
    assert (row["payload"], row["outcome"]) == (event.body, "two\nlines")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", " ="])
def test_no_cell_of_a_csv_is_a_formula(operator, make_event, start):
    users = [{"name": f"{start}y", "user_id": {"open_id": "ou_x"}}]
    make_event(summary=f"{start}HYPERLINK(1)", event_type=f"{start}x", body={"event": {"users": users}})
    row = rows_of(exported(operator)[0])[0]
    assert all(row[name].startswith("'") for name in ("outcome", "type", "people"))


def test_a_line_of_the_csv_is_a_row_whatever_the_texts(operator, make_event):
    make_event(summary="a\nb\r\nc", body={"event": {"text": "d\ne"}})
    assert exported(operator)[0].count("\n") == 2


def test_an_export_reads_page_after_page(operator, make_event, monkeypatch, small_steps):
    monkeypatch.setattr("events.eventexport.ROWS_AT_ONCE", 2)
    events = [make_event(transport="long_connection" if number % 3 else "webhook") for number in range(14)]
    text, _answer = exported(operator, transport="long_connection")
    wanted = [event.event_id for event in reversed(events) if event.transport == "long_connection"]
    assert [row["event_id"] for row in rows_of(text)] == wanted


def test_what_comes_during_an_export_is_not_in_it(operator, make_event, monkeypatch):
    monkeypatch.setattr("events.eventexport.ROWS_AT_ONCE", 2)
    for _ in range(4):
        make_event()
    pages = iter(operator.get(EXPORT).streaming_content)
    first = next(pages) + next(pages)
    make_event()
    assert len(rows_of((first + b"".join(pages)).decode())) == 4


def test_an_unknown_format_is_refused(operator):
    assert operator.get(EXPORT, {"format": "xlsx"}).status_code == 400


# --- Who may ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("url", [LIST, NEW, EXPORT])
def test_a_viewer_may_look_and_nobody_else(viewer, nobody, client_of, make_event, url):
    make_event()
    assert viewer.get(url).status_code == 200
    assert nobody.get(url).url.startswith("/admin/login/")
    assert client_of("stranger", []).get(url).status_code == 403


@pytest.mark.parametrize("url", [NEW, EXPORT])
def test_live_tail_and_export_are_only_read(operator, url):
    assert operator.post(url).status_code == 405


# --- Names ------------------------------------------------------------------------------------------------
def test_a_message_is_listed_with_the_names_that_other_events_told(operator, make_event):
    make_event()
    read_new()
    message = {"event_type": "im.message.receive_v1", "body": {"event": {}}, "actor_open_id": "ou_ada"}
    make_event(**message)
    rows = operator.get(LIST, {"type": "im.message.receive_v1"}).content.decode()
    assert ">Ada</a>" in rows
    assert ">Team</a>" in rows


def test_reading_events_queues_nothing_and_is_done_once(make_event):
    make_event()
    assert (read_new(), read_new()) == (1, 0)
    assert not OutboxItem.objects.exists()
    assert EventText.objects.count() == 1
