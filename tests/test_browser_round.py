"""A person's round on the sandbox's page, with the console behind it: from a new group to a resolved incident."""

from typing import Any

import pytest

from templates.starters import make_starters
from tests.incident_world import work
from tests.sandbox_world import visit

pytest_plugins = ["tests.incident_fixtures"]
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
TITLE = "payments fail"


@pytest.fixture
def client(django_db_setup: None, browser: Any, bot: Any, feishu: Any) -> Any:
    make_starters(bot)
    page = visit(browser, feishu.sandbox)
    yield page
    assert page.wrong == []
    page.context.close()


def say(page: Any, text: str) -> None:
    page.fill("#text", text)
    page.press("#text", "Enter")
    page.wait_for_selector(f".bubble >> text={text}")


def test_from_a_new_group_to_the_resolved_incident(client: Any, feishu: Any) -> None:
    client.click("#new-group")
    client.fill("#group-name", "On call")
    client.uncheck("#group-bot")
    client.click("#group-dialog .primary")
    client.wait_for_selector("#chat-name >> text=On call")
    client.click("#move-bot")
    client.wait_for_selector("#member-list >> text=OpsBot")

    client.fill("#member-name", "Ada")
    client.click("#add-member button")
    client.wait_for_selector("#member-list >> text=Ada")
    feishu.quiet()
    work()
    client.wait_for_selector(".message.by-bot .card >> text=Ada")

    client.click("#at-bot")
    say(client, f"/incident {TITLE}")
    feishu.quiet()
    work()
    client.click(f".chat:has-text('{TITLE}')")
    client.wait_for_selector(f"#chat-name >> text={TITLE}")
    opened_as = client.inner_text("#chat-name")

    client.click(".card [data-action*=ack_button]")
    client.wait_for_selector(".toast.success")
    client.wait_for_selector(".card [data-action*=ack_button]", state="detached")
    client.fill(".card [name=note]", "rolled back")
    client.click(".card [data-action*=resolve_button]")
    client.wait_for_selector(".card >> text=rolled back")
    feishu.quiet()
    work()
    client.wait_for_selector(f".chat[aria-current=true]:not(:has-text('{opened_as}'))")
    assert TITLE in client.inner_text("#chat-name")

    from incidents.models import Incident

    incident = Incident.objects.get()
    assert (incident.status, incident.resolution_note, incident.resolved_by) == (
        "resolved",
        "rolled back",
        "Ada",
    )
