"""The outbox and the refused requests: what they show, and "retry"."""

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from events.models import Attempt, OutboxItem, Refusal

pytest_plugins = ["tests.admin_fixtures"]

LIST = "/admin/events/outboxitem/"


def page(item, verb="change"):
    return f"{LIST}{item.pk}/{verb}/"


def text_of(client, url):
    answer = client.get(url)
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.fixture
def failed(make_item):
    item = make_item(status="failed", error_code=230002, error="not in chat", attempt_count=1)
    Attempt.objects.create(
        item=item, started_at=timezone.now(), outcome="refused", code=230002, http_status=400, log_id="log-77"
    )
    return item


def test_the_list_says_what_went_wrong_in_words(operator, failed):
    html = text_of(operator, LIST)
    for words in ("Send a card", "failed", "the bot is not in the chat", "230002"):
        assert words in html


def test_the_list_takes_the_same_few_queries_for_one_row_and_for_fifty(operator, make_item, queries_of):
    make_item()
    few = queries_of(operator, LIST)
    for number in range(60):
        make_item(target=f"oc_{number}")
    assert queries_of(operator, LIST) == few == 9


@pytest.mark.parametrize("term", ["wanted-key", "oc_wanted", "om_wanted"])
def test_the_search_finds_keys_targets_and_messages(operator, make_item, term):
    make_item(key="wanted-key", target="oc_wanted", status="sent", result={"message_id": "om_wanted"})
    make_item()
    assert "1 result" in operator.get(LIST, {"q": term}).content.decode()


def test_the_detail_shows_the_card_the_tries_and_what_to_do(operator, failed):
    html = text_of(operator, page(failed))
    for words in (
        "feishu-card",
        "<strong>there</strong>",
        "log-77",
        "Put the bot into the chat, then retry.",
    ):
        assert words in html


def test_the_detail_links_to_the_cause_and_to_the_template(operator, make_item, make_event, bot):
    from templates.starters import make_starters

    event, template = make_event(), make_starters(bot)[0]
    html = text_of(operator, page(make_item(cause=event, subject=template)))
    assert f"/admin/events/event/{event.pk}/change/" in html
    assert f"/admin/templates/welcometemplate/{template.pk}/change/" in html


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"content": "no JSON"},
        {"content": "[1]"},
        {"content": '{"text": "<b>"}', "msg_type": "text"},
        {"content": '{"elements": 7}', "msg_type": ["odd"]},
        {"content": None, "msg_type": "interactive"},
    ],
)
def test_calls_of_any_shape_are_shown(operator, make_item, arguments):
    item = make_item(arguments=arguments, call="create_chat")
    assert "<b>" not in text_of(operator, page(item))
    assert "Create a group" in text_of(operator, LIST)


def test_an_operator_retries_a_failed_item(operator, failed):
    assert "Retry now" in text_of(operator, page(failed))
    operator.post(page(failed, "retry"))
    failed.refresh_from_db()
    assert (failed.status, failed.attempt_count) == ("pending", 0)
    assert LogEntry.objects.get(object_id=str(failed.pk)).user.username == "operator"


def test_a_sent_item_is_not_sent_again(operator, make_item):
    item = make_item(status="sent")
    assert "Retry now" not in text_of(operator, page(item))
    assert "Only failed items" in operator.post(page(item, "retry"), follow=True).content.decode()
    assert OutboxItem.objects.get(pk=item.pk).status == "sent"


def test_retrying_is_post_only(operator, failed):
    assert operator.get(page(failed, "retry")).status_code == 405


def test_a_viewer_may_look_but_not_retry(viewer, failed):
    assert "Retry now" not in text_of(viewer, page(failed)) + text_of(viewer, LIST)
    assert viewer.post(page(failed, "retry")).status_code == 403
    viewer.post(LIST, {"action": "retry", "_selected_action": [failed.pk]})
    assert OutboxItem.objects.get(pk=failed.pk).status == "failed"


def test_nobody_is_sent_to_the_login(nobody, failed):
    for answer in (nobody.get(LIST), nobody.get(page(failed)), nobody.post(page(failed, "retry"))):
        assert answer.url.startswith("/admin/login/")


def test_a_selection_is_retried_and_only_what_failed(operator, failed, make_item):
    sent = make_item(status="sent")
    chosen = {"action": "retry", "_selected_action": [failed.pk, sent.pk]}
    assert "1 item is queued again." in operator.post(LIST, chosen, follow=True).content.decode()
    assert OutboxItem.objects.get(pk=sent.pk).status == "sent"


def test_what_a_search_finds_can_be_retried_as_a_whole(operator, failed):
    chosen = {"action": "retry", "select_across": "1", "_selected_action": [failed.pk]}
    operator.post(f"{LIST}?q=oc_team", chosen)
    assert OutboxItem.objects.get(pk=failed.pk).status == "pending"


def test_nobody_can_add_change_or_delete_items(operator, failed):
    assert operator.get(f"{LIST}add/").status_code == 403
    assert operator.post(page(failed), {"status": "sent"}).status_code == 403
    assert operator.post(page(failed, "delete"), {"post": "yes"}).status_code == 403


def test_refused_requests_are_listed_with_their_reason(viewer, bot):
    Refusal.objects.record(bot, "the event is for app cli_x, not for this bot's app", "203.0.113.9")
    html = text_of(viewer, "/admin/events/refusal/")
    assert "the event is for app cli_x" in html
    assert "203.0.113.9" in html


def test_every_reason_to_refuse_has_its_words():
    import re
    from pathlib import Path

    from events import envelope
    from events.words import REFUSALS

    reasons = re.findall(r'RefusedError\(\s*f?"([^"]+)"', Path(envelope.__file__).read_text())
    shown = [re.sub(r"\{ID_LENGTH\}", "128", reason) for reason in reasons]
    missing = [
        reason for reason in shown if not any(re.fullmatch(pattern, reason) for pattern, _ in REFUSALS)
    ]
    assert len(reasons) > 10
    assert missing == []
