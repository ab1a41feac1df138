"""The event log: what it shows, how it is searched, and "run again"."""

import pytest
from django.contrib.admin.models import LogEntry
from django.utils.html import escape

from events.models import Event
from events.reading import read_new

pytest_plugins = ["tests.admin_fixtures"]

LIST = "/admin/events/event/"


def page(event, verb="change"):
    return f"{LIST}{event.pk}/{verb}/"


def text_of(client, url):
    answer = client.get(url)
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_list_says_in_words_what_happened_where_and_to_whom(operator, make_event):
    make_event()
    html = text_of(operator, LIST)
    for words in ("Someone joined a group", "im.chat.member.user.added_v1", "Team", "Ada", "handled"):
        assert words in html


def test_a_name_of_any_length_leaves_the_list_readable(operator, make_event):
    endless = "x" * 10_000
    users = [{"name": endless, "user_id": {"open_id": "ou_x"}}]
    make_event(body={"event": {"chat_id": "oc_team", "name": endless, "users": users}})
    for page in ("/admin/", "/admin/events/event/"):
        assert "x" * 100 not in operator.get(page).content.decode()


def test_the_list_marks_late_and_repeated_events(operator, make_event):
    make_event(late=True, deliveries=3)
    html = text_of(operator, LIST)
    assert "pill--late" in html
    assert "3 deliveries" in html


def test_a_message_is_listed_under_the_name_its_chat_had_in_another_event(operator, make_event):
    make_event()
    read_new()
    make_event(event_type="im.message.receive_v1", body={"event": {}})
    assert text_of(operator, f"{LIST}?type=im.message.receive_v1").count("Team") == 1


def test_an_unknown_type_is_listed_as_it_is_called(operator, make_event):
    make_event(event_type="vendor.new_v9", body={"odd": 1})
    assert "vendor.new_v9" in text_of(operator, f"{LIST}?type=other")


def test_the_list_takes_the_same_few_queries_for_one_row_and_for_fifty(operator, make_event, queries_of):
    message = {"event_type": "im.message.receive_v1", "body": {"event": {}}}
    make_event(**message)
    few = queries_of(operator, LIST)
    for number in range(60):
        make_event(chat_id=f"oc_{number}", actor_open_id=f"ou_{number}", **message)
    # session, user, 2 of permissions; newest key, page, people, chats, 3 for the estimate, bots of the filter
    assert queries_of(operator, LIST) == few == 13


@pytest.mark.parametrize(
    "query", ["status=failed", "delivery=late", "delivery=again", "type=im.chat.updated_v1"]
)
def test_the_filters_leave_out_what_does_not_fit(operator, make_event, query):
    make_event()
    assert "No event fits." in text_of(operator, f"{LIST}?{query}")


@pytest.mark.parametrize(
    "term", ["wanted-event", "om_wanted", "oc_wanted", "ou_wanted", "林夏", "wanted%_name"]
)
def test_the_search_finds_ids_and_names_and_nothing_else(operator, make_event, term):
    user = {"name": "林夏 wanted%_name", "user_id": {"open_id": "ou_wanted"}}
    make_event(
        event_id="wanted-event", dedup_key="om_wanted", chat_id="oc_wanted", body={"event": {"users": [user]}}
    )
    make_event(event_id="other-event", dedup_key="om_other", chat_id="oc_other")
    html = operator.get(LIST, {"q": term}).content.decode()
    assert "1 event<" in html
    assert "林夏" in html


def test_the_detail_shows_payload_deliveries_and_what_it_caused(operator, make_event, make_item):
    event = make_event()
    item = make_item(cause=event)
    html = text_of(operator, page(event))
    for words in ("ou_ada", "operator_id", f"/admin/events/outboxitem/{item.pk}/change/", "Copy"):
        assert words in html


def test_hostile_payloads_are_shown_as_text(operator, make_event):
    evil = "<script>alert(1)</script>"
    users = [{"name": evil, "user_id": {"open_id": evil}}]
    event = make_event(
        event_type=evil, summary=evil, body={evil: evil, "event": {"name": evil, "users": users}}
    )
    assert evil not in text_of(operator, page(event))
    assert escape(evil) in text_of(operator, LIST)


@pytest.mark.parametrize(
    "body",
    [
        [],
        "text",
        {"event": []},
        {"event": {"users": {"a": 1}}},
        {"event": {"users": [None, 3, {}]}, "b": [[[]]] * 300},
    ],
)
def test_odd_payloads_are_shown_too(operator, make_event, body):
    event = (
        make_event(body=body, delivery_times=["nonsense", None])
        if isinstance(body, dict)
        else make_event(body={"b": body})
    )
    assert text_of(operator, page(event))
    assert text_of(operator, LIST)


def test_a_payload_nested_deeply_is_shown_without_unfolding_all_of_it(operator, make_event):
    deep = {}
    for _ in range(300):
        deep = {"deeper": deep}
    assert "deeper" in text_of(operator, page(make_event(body=deep)))


def test_nobody_can_add_change_or_delete_events(operator, make_event):
    event = make_event()
    assert operator.get(f"{LIST}add/").status_code == 403
    assert operator.post(page(event), {"event_type": "x"}).status_code == 403
    assert operator.post(page(event, "delete"), {"post": "yes"}).status_code == 403


def test_an_operator_runs_a_failed_event_again(operator, make_event):
    event = make_event(status="failed", event_type="vendor.new_v9")
    assert "Run again now" in text_of(operator, page(event))
    answer = operator.post(page(event, "rerun"), follow=True)
    event.refresh_from_db()
    assert event.status == "ignored"
    assert "Run again: ignored, no handler for this type" in answer.content.decode()


def test_who_ran_an_event_again_stands_in_its_history(operator, make_event):
    event = make_event(status="failed")
    operator.post(page(event, "rerun"))
    assert LogEntry.objects.get(object_id=str(event.pk)).user.username == "operator"


def test_an_event_that_fails_again_stays_failed_and_says_so(operator, make_event):
    users = [{"name": {"a": 1}, "user_id": {"open_id": "ou_x"}}]
    event = make_event(status="failed", event_type="boom", body={"event": {"users": users}})
    from events import dispatch

    def boom(event):
        raise RuntimeError("no luck")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatch, "routes", lambda: {"boom": [boom]})
        answer = operator.post(page(event, "rerun"), follow=True)
    assert "no luck" in answer.content.decode()
    assert Event.objects.get(pk=event.pk).status == "failed"


def test_a_finished_event_is_not_run_again(operator, make_event):
    event = make_event(summary="done")
    assert "Run again now" not in text_of(operator, page(event))
    assert "not waiting" in operator.post(page(event, "rerun"), follow=True).content.decode()
    assert Event.objects.get(pk=event.pk).summary == "done"


def test_running_again_is_post_only(operator, make_event):
    assert operator.get(page(make_event(status="failed"), "rerun")).status_code == 405


def test_a_viewer_may_look_but_not_run_again(viewer, make_event):
    event = make_event(status="failed")
    assert "Run again" not in text_of(viewer, page(event)) + text_of(viewer, LIST)
    assert viewer.post(page(event, "rerun")).status_code == 403
    assert Event.objects.get(pk=event.pk).status == "failed"


def test_nobody_is_sent_to_the_login(nobody, make_event):
    event = make_event(status="failed")
    for answer in (nobody.get(LIST), nobody.get(page(event)), nobody.post(page(event, "rerun"))):
        assert answer.url.startswith("/admin/login/")


def test_a_selection_is_run_again_at_once(operator, make_event):
    failed, handled = make_event(status="failed", event_type="x"), make_event(summary="done")
    chosen = {"action": "run_again", "_selected_action": [failed.pk, handled.pk]}
    assert "1 event was run again." in operator.post(LIST, chosen, follow=True).content.decode()
    assert Event.objects.get(pk=failed.pk).status == "ignored"


def test_a_viewer_has_no_action_to_run_events_again(viewer, make_event):
    event = make_event(status="failed", event_type="x")
    viewer.post(LIST, {"action": "run_again", "_selected_action": [event.pk]})
    assert Event.objects.get(pk=event.pk).status == "failed"


def test_more_events_than_a_request_can_run_are_left_to_the_worker(operator, make_event):
    for _ in range(51):
        make_event(status="failed", next_try_at=None)
    everything = {"action": "run_again", "select_across": "1", "_selected_action": [Event.objects.first().pk]}
    answer = operator.post(f"{LIST}?status__exact=failed", everything, follow=True)
    assert "51 failed events are left to the worker." in answer.content.decode()
    assert Event.objects.exclude(next_try_at=None).count() == 51
