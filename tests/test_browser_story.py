"""The tutorial's story from the admin, in a real browser, with the sandbox as Feishu; and the pages of exports."""

import io
import zipfile
from typing import Any

import pytest
from django.utils import timezone

from incidents.models import Export, Incident
from tests.incident_world import PNG, Feishu, running, work
from tests.test_browser_console import console  # noqa: F401

pytest_plugins = ["tests.admin_fixtures", "tests.incident_fixtures"]
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

ADD = "/admin/incidents/incident/add/"


def page_of(live_server: Any, incident: Incident, name: str = "change") -> str:
    return f"{live_server.url}/admin/incidents/incident/{incident.pk}/{name}/"


def downloaded(page: Any) -> dict[str, bytes]:
    with page.expect_download() as coming:
        page.click("a[href*='/download/']")
    with zipfile.ZipFile(io.BytesIO(coming.value.path().read_bytes())) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_whole_story_of_the_tutorial_from_the_admin(
    console: Any,  # noqa: F811
    live_server: Any,
    feishu: Feishu,
) -> None:
    ada = feishu.person("Ada", "ou_ada")
    console.goto(f"{live_server.url}{ADD}")
    console.fill("#id_title", "支付成功率低于 50%")
    console.select_option("#id_severity", "P0")
    console.fill("#id_responders", ada)
    console.set_input_files("#id_image", {"name": "a.png", "mimeType": "image/png", "buffer": PNG})
    console.wait_for_selector("text=[P0] 支付成功率低于 50%")
    console.click("input[type=submit][name=_save], .submit-row input[type=submit]")
    console.wait_for_selector("#timeline")
    work()
    incident = Incident.objects.get()
    chat_id = incident.chat_id
    assert feishu.chat(chat_id)["name"] == "[P0] 支付成功率低于 50%"
    card = feishu.card(chat_id)
    assert (card["pinned"], incident.image_key in str(card["content"])) == (True, True)

    feishu.press(card["message_id"], ada, "ack_button")
    work()
    assert feishu.chat(chat_id)["name"] == "[In progress] 支付成功率低于 50%"
    feishu.say(chat_id, ada, "rolled back")
    feishu.say(chat_id, ada, "/解决已回滚")
    work()
    assert feishu.chat(chat_id)["name"] == "[Solved] 支付成功率低于 50%"
    assert feishu.card(chat_id)["content"]["header"]["template"] == "green"
    assert any(text.startswith("The problem is solved, well done!") for text in feishu.texts(chat_id))

    console.goto(page_of(live_server, incident))
    assert "已回滚" in console.inner_text("#timeline")
    console.click("a[href$='/exports/']")
    console.click("#content-main form button")
    console.wait_for_selector(".pill--pending")  # it is asked for: a worker finds it
    work()
    console.wait_for_selector("a[href*='/download/']")
    assert "rolled back" in downloaded(console)[f"{incident.number}/export.md"].decode()


def test_an_export_is_started_watched_and_downloaded(
    console: Any,  # noqa: F811
    live_server: Any,
    bot: Any,
    feishu: Feishu,
) -> None:
    incident = running(bot, feishu)
    feishu.say(incident.chat_id, "ou_ada", "remember this")
    console.goto(page_of(live_server, incident, "exports"))
    console.click("#content-main form button")
    console.wait_for_selector(".pill--pending")
    export = Export.objects.claim(timezone.now())
    assert export is not None
    export.progress(3, 12)
    console.wait_for_selector("progress[value='3'][max='12']")  # the page loads itself again
    export.release()
    work()
    console.wait_for_selector("a[href*='/download/']")
    files = downloaded(console)
    assert set(files) == {f"{incident.number}/export.{kind}" for kind in ("md", "json", "html")}
    assert "remember this" in files[f"{incident.number}/export.md"].decode()
