"""An incident run from a real browser, at two widths: opening with the live card, the buttons, the phone."""

import pytest
from django.utils import timezone

from events.models import OutboxItem, Person
from incidents.models import Actor, Incident, Responder, Service, Via
from tests.test_browser_console import CONTRAST, console  # noqa: F401

pytest_plugins = ["tests.admin_fixtures"]
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

LIST = "/admin/incidents/incident/"
ADA = Actor(Via.BUTTON, "Ada", "ou_ada")
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


@pytest.fixture
def incident(transactional_db, bot):
    """One whose chat is there, with a timeline that is long in every way."""
    Person.objects.create(bot=bot, open_id="ou_ada", name="Ada Lovelace")
    service = Service.objects.create(name="支付网关 Payment gateway " * 3, first_on_call="ou_ada")
    made = Incident.objects.open(
        bot=bot,
        title="支付失败率升高 " + "W" * 150,
        severity="P0",
        by=ADA,
        service=service,
        private=True,
        drill=True,
    )
    Incident.objects.update(chat_id="oc_" + "x" * 100, card_message_id="om_card", opened_at=timezone.now())
    OutboxItem.objects.update(status="failed", error_code=230002, error="e" * 400)
    made.refresh_from_db()
    made.acknowledge(ADA)
    made.assign_lead(ADA, "ou_ada")
    Responder.objects.create(incident=made, email="x" * 90 + "@example.com", status="failed", error="W" * 200)
    made.write("message", ADA, text="https://example.com/" + "x" * 300, message_id="om_1", important=True)
    made.write("message", ADA, text="ERROR " * 300, message_id="om_2")
    made.write("message", ADA, text="a mistake", message_id="om_3", recalled=True)
    return made


@pytest.fixture
def opened(console, live_server, incident):  # noqa: F811
    console.goto(f"{live_server.url}{LIST}{incident.pk}/change/")
    return console


def step(page, verb, **fields):
    page.click(f"#verb-{verb} summary")
    for name, text in fields.items():
        page.fill(f"#verb-{verb} [name={name}]", text)
    with page.expect_navigation():  # the page before may have a message, too
        page.click(f"#verb-{verb} button[type=submit]")
    page.wait_for_selector(".messagelist li")


def test_an_incident_is_opened_with_a_live_card_and_an_image(console, live_server, bot, tmp_path):  # noqa: F811
    service = Service.objects.create(name="Shop", severity="P0")
    Person.objects.create(bot=bot, open_id="ou_ada", name="Ada Lovelace")
    (tmp_path / "graph.png").write_bytes(PNG)
    console.goto(f"{live_server.url}{LIST}add/")
    console.fill("#id_title", "Payments <b>fail</b>")
    console.wait_for_selector("#picture :text('Payments <b>fail</b>')")
    console.select_option("#id_service", str(service.pk))
    console.wait_for_selector("#chat-name:has-text('[P0] Payments')")
    console.set_input_files("#id_image", tmp_path / "graph.png")
    console.wait_for_selector("#picture img[src^='data:image/png']")
    console.click(".known-people summary")
    console.click("[data-person=ou_ada]")
    console.click("[data-person=ou_ada]")
    assert not Incident.objects.exists()
    console.click("input[name=_save]")
    console.wait_for_selector("#on-its-way")
    incident = Incident.objects.get()
    assert (incident.severity, incident.responders.get().open_id) == ("P0", "ou_ada")
    assert OutboxItem.objects.get(call="upload_image").attached == PNG


def test_an_incident_is_run_from_a_phone(console, live_server, bot):  # noqa: F811
    incident = Incident.objects.open(bot=bot, title="Payments fail", by=ADA)
    console.set_viewport_size({"width": 390, "height": 844})
    console.goto(f"{live_server.url}{LIST}")
    console.click(f"text={incident.number}")
    console.click("form[action$='/acknowledge/'] button")
    console.wait_for_selector(".marks .pill--late")
    step(console, "note", text="Called the bank")
    step(console, "resolve", note="Rolled back")
    console.wait_for_selector(".marks .pill--handled")
    step(console, "reopen", reason="It fails again")
    kinds = list(incident.timeline.order_by("pk").values_list("kind", flat=True))
    assert kinds == ["opened", "acknowledged", "note", "resolved", "reopened"]


def test_a_second_button_closes_the_first_and_gets_the_cursor(opened):
    opened.click("#verb-note summary")
    opened.click("#verb-resolve summary")
    assert opened.locator("details.verb-step[open]").count() == 1
    opened.wait_for_selector("#verb-resolve textarea:focus")


def test_without_a_note_nothing_is_resolved(opened, incident):
    opened.click("#verb-resolve summary")
    opened.click("#verb-resolve button[type=submit]")
    assert opened.evaluate("document.activeElement.name") == "note"
    incident.refresh_from_db()
    assert incident.status == "acknowledged"


def test_an_open_page_shows_what_others_do_by_itself(opened, incident):
    incident.resolve(ADA, "done")
    opened.wait_for_selector(".marks .pill--handled")
    step(opened, "reopen", reason="It fails again")
    assert opened.locator(".marks .pill--failed").count() == 1


def test_after_a_mistake_in_a_form_the_page_goes_on_as_usual(opened, incident):
    opened.evaluate("document.querySelector('#verb-responders form').noValidate = true")
    opened.click("#verb-responders summary")
    opened.fill("#verb-responders textarea", "Lin")
    opened.click("#verb-responders button[type=submit]")
    opened.wait_for_selector("#verb-responders[open] .errorlist")
    opened.click("#verb-responders summary")
    incident.resolve(ADA, "done")
    opened.wait_for_selector(".marks .pill--handled")
    opened.click(".parts a:nth-child(2)")
    opened.wait_for_selector(".parts a:nth-child(2)[aria-current]")


def test_a_note_that_is_being_written_is_not_taken_away(opened, incident):
    opened.click("#verb-note summary")
    opened.fill("#verb-note textarea", "I was just")
    incident.resolve(ADA, "done")
    opened.wait_for_selector("#changed:visible")
    assert opened.input_value("#verb-note textarea") == "I was just"


def test_without_javascript_an_incident_is_resolved_all_the_same(browser, live_server, console, incident):  # noqa: F811
    context = browser.new_context(java_script_enabled=False, storage_state=console.context.storage_state())
    plain = context.new_page()
    plain.goto(f"{live_server.url}{LIST}{incident.pk}/change/")
    step(plain, "resolve", note="Rolled back")
    assert plain.locator(".marks .pill--handled").count() == 1
    context.close()


PAGES = ("/admin/", LIST, f"{LIST}add/", f"{LIST}import/", f"{LIST}{{pk}}/change/", "/admin/incidents/service/",
         "/admin/incidents/service/{service}/change/")  # fmt: skip


@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_the_screen_and_can_be_read(console, live_server, incident, width, scheme):  # noqa: F811
    console.emulate_media(color_scheme=scheme)
    console.set_viewport_size({"width": width, "height": 844})
    wide, poor = [], {}
    for path in PAGES:
        assert (
            console.goto(live_server.url + path.format(pk=incident.pk, service=incident.service_id)).status
            == 200
        )
        if console.locator("#verb-responders").count():
            console.click("#verb-responders summary")
        wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        wide += [path] if console.evaluate(wider) > 0 else []
        poor |= {path: found} if (found := console.evaluate(CONTRAST)) else {}
    assert (wide, poor) == ([], {})
