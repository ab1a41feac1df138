"""The operator's pages of incidents: the list, the page one runs an incident from, opening, importing, services."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.utils import timezone

from events.models import Bot, Heartbeat, OutboxItem, Person
from incidents.cards import alert_card
from incidents.models import Actor, Incident, Responder, Service, TimelineEntry, Via

pytest_plugins = ["tests.admin_fixtures"]

LIST = "/admin/incidents/incident/"
HOME = "/admin/"
PERSON = "ou_ada"
ADA = Actor(Via.BUTTON, "Ada", PERSON)
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 40
OPERATE = ["view_incident", "change_incident", "add_incident", "view_outboxitem"]
SERVICES = ["view_service", "change_service", "add_service", "delete_service"]


@pytest.fixture
def operator(client_of):
    return client_of("operator", OPERATE + SERVICES)


@pytest.fixture
def viewer(client_of):
    return client_of("viewer", ["view_incident", "view_service"])


@pytest.fixture
def insider(client_of):
    return client_of("insider", [*OPERATE, "view_private_incident"])


@pytest.fixture
def make_incident(bot):
    def make(title="Payments fail", **fields):
        return Incident.objects.open(
            **{"bot": bot, "title": title, "by": Actor(Via.ADMIN, "Boss"), "severity": "P1"} | fields
        )

    return make


@pytest.fixture
def incident(make_incident):
    """One whose chat is there and whose calls all went through."""
    made = make_incident()
    Incident.objects.update(chat_id="oc_war", card_message_id="om_card")
    OutboxItem.objects.update(status="sent", sent_at=timezone.now())
    made.refresh_from_db()
    return made


def page(incident, query=""):
    return f"{LIST}{incident.pk}/change/{query}"


def do(client, incident, verb, **data):
    return client.post(f"{LIST}{incident.pk}/do/{verb}/", data, follow=True)


def text_of(client, url):
    answer = client.get(url)
    assert answer.status_code == 200
    return answer.content.decode()


def kinds(incident):
    return list(incident.timeline.order_by("pk").values_list("kind", flat=True))


# --- The list ----------------------------------------------------------------------------------------------
def test_the_list_shows_what_is_unresolved_first_and_then_the_newest(operator, make_incident):
    _first, second, _third = [make_incident(title) for title in ("first", "second", "third")]
    second.resolve(ADA, "done")
    rows = operator.get(LIST).context["cl"].result_list
    assert [row.title for row in rows] == ["third", "first", "second"]


def test_a_row_says_how_bad_it_is_who_leads_and_how_to_get_to_the_chat(operator, incident, bot):
    Person.objects.create(bot=bot, open_id=PERSON, name="Ada Lovelace")
    incident.assign_lead(ADA, PERSON)
    html = text_of(operator, LIST)
    for words in ("INC-", "Payments fail", "pill--p1", "Ada Lovelace", "for under a minute"):
        assert words in html
    assert "https://applink.feishu.cn/client/chat/open?openChatId=oc_war" in html


def test_a_bot_of_lark_has_links_to_lark(operator, incident):
    Bot.objects.update(domain="https://open.larksuite.com")
    assert "https://applink.larksuite.com/client/chat/open?openChatId=oc_war" in text_of(
        operator, page(incident)
    )


def test_the_list_takes_the_same_few_queries_for_one_row_and_for_fifty(
    operator, make_incident, bot, queries_of
):
    service = Service.objects.create(name="Shop")
    make_incident(service=service, lead_open_id=PERSON)
    few = queries_of(operator, LIST)
    for number in range(49):
        make_incident(service=service, lead_open_id=f"ou_{number}")
    assert queries_of(operator, LIST) == few == 10


@pytest.mark.parametrize(
    "term", ["number", "inc", "shop", "oc_war", PERSON, "ou_called", "a@example.com", "ou_boss", "Boss"]
)
def test_the_search_finds_numbers_titles_chats_and_people(operator, make_incident, term):
    wanted = make_incident("The Shop is down", by=Actor(Via.CHAT, "The Boss", "ou_boss"), lead_open_id=PERSON,
                           responders=[Responder(open_id="ou_called"), Responder(email="a@example.com")])  # fmt: skip
    Incident.objects.update(chat_id="oc_war")
    make_incident("Something else", by=ADA)
    term = {"number": str(wanted.pk), "inc": f"inc-{wanted.pk}"}.get(term, term)
    assert [row.pk for row in operator.get(LIST, {"q": term}).context["cl"].result_list][-1:] == [wanted.pk]


@pytest.mark.parametrize("term", ["9" * 40, "INC-", "²", "%", "\\"])
def test_the_search_puts_up_with_anything(operator, incident, term):
    text_of(operator, f"{LIST}?q={term}")


@pytest.mark.parametrize(
    ("query", "count"),
    [("status__exact=open", 1), ("severity__exact=P3", 0), ("source__exact=admin", 1), ("drill__exact=1", 0),
     ("age=hour", 0), ("age=day", 1), ("age=week", 1), ("age=older", 0)],
)  # fmt: skip
def test_the_list_is_filtered(operator, incident, query, count):
    Incident.objects.update(opened_at=timezone.now() - timedelta(hours=2))
    assert operator.get(f"{LIST}?{query}").context["cl"].result_count == count


# --- Who may see and do what -------------------------------------------------------------------------------
def test_a_private_incident_is_there_for_insiders_only(operator, insider, incident):
    Incident.objects.update(private=True)
    for url in (LIST, HOME, f"{LIST}?q={incident.pk}"):
        assert incident.title not in text_of(operator, url)
        assert incident.title in text_of(insider, url)
    assert operator.get(page(incident)).status_code == 404
    assert do(operator, incident, "acknowledge").status_code == 404
    assert incident.title in text_of(insider, page(incident))


def test_a_viewer_sees_the_page_without_buttons_and_cannot_press_them(viewer, incident):
    html = text_of(viewer, page(incident))
    assert incident.title in html
    assert "/do/" not in html
    assert do(viewer, incident, "acknowledge").status_code == 403
    incident.refresh_from_db()
    assert incident.status == "open"


def test_nobody_is_sent_to_the_login(nobody, incident):
    for url in (LIST, page(incident), f"{LIST}add/", f"{LIST}import/", "/admin/incidents/service/"):
        assert nobody.get(url).url.startswith("/admin/login/")
    for url in (f"{LIST}{incident.pk}/do/acknowledge/", f"{LIST}preview/", f"{LIST}import/"):
        assert nobody.post(url).url.startswith("/admin/login/")
    assert kinds(incident) == ["opened"]


def test_a_viewer_can_neither_open_nor_import_nor_preview(viewer, bot):
    assert [viewer.get(f"{LIST}{name}/").status_code for name in ("add", "import")] == [403, 403]
    assert [viewer.post(f"{LIST}{name}/").status_code for name in ("add", "import", "preview")] == [403] * 3


def test_the_buttons_and_the_preview_are_posted(operator, incident):
    assert operator.get(f"{LIST}{incident.pk}/do/acknowledge/").status_code == 405
    assert operator.get(f"{LIST}preview/").status_code == 405


def test_whoever_may_see_nothing_of_incidents_gets_nothing(client_of, incident):
    stranger = client_of("stranger", ["view_event"])
    assert stranger.get(LIST).status_code == stranger.get(page(incident)).status_code == 403
    assert incident.title not in text_of(stranger, HOME)


# --- The buttons -------------------------------------------------------------------------------------------
def test_acknowledging_is_one_press_in_the_operators_name(operator, incident):
    html = do(operator, incident, "acknowledge").content.decode()
    incident.refresh_from_db()
    assert (incident.status, incident.acknowledged_by) == ("acknowledged", "operator")
    assert incident.timeline.get(kind="acknowledged").via == "admin"
    assert "Still on its way to Feishu: 3 calls." in html


def test_resolving_takes_a_note(operator, incident):
    html = do(operator, incident, "resolve", note=" ").content.decode()
    assert "This field is required." in html
    assert 'id="verb-resolve" open' in html
    do(operator, incident, "resolve", note="Rolled back")
    incident.refresh_from_db()
    assert (incident.status, incident.resolution_note) == ("resolved", "Rolled back")


def test_a_false_alarm_is_resolved_with_its_reason(operator, incident):
    do(operator, incident, "false-alarm", note="A test")
    incident.refresh_from_db()
    assert (incident.status, incident.false_alarm, incident.resolution_note) == ("resolved", True, "A test")


def test_reopening_takes_a_reason(operator, incident):
    incident.resolve(ADA, "done")
    assert "This field is required." in do(operator, incident, "reopen").content.decode()
    do(operator, incident, "reopen", reason="It fails again")
    assert incident.timeline.get(kind="reopened").text == "It fails again"


@pytest.mark.parametrize(
    ("verb", "data", "kind", "text"),
    [("severity", {"severity": "P0"}, "severity", "P0"),
     ("lead", {"open_id": PERSON}, "lead", PERSON),
     ("note", {"text": "Called the bank"}, "note", "Called the bank"),
     ("responders", {"responders": "ou_lin\nlin@example.com, +86 138 0013 8000"}, "called_in",
      "ou_lin lin@example.com +8613800138000")],
)  # fmt: skip
def test_each_button_writes_what_was_done_into_the_timeline(operator, incident, verb, data, kind, text):
    assert do(operator, incident, verb, **data).redirect_chain
    assert incident.timeline.get(kind=kind).text == text


@pytest.mark.parametrize(
    ("verb", "data"),
    [("severity", {"severity": "P9"}), ("severity", {"severity": "P1"}), ("lead", {"open_id": "@ada"}),
     ("mute", {"minutes": "5"}), ("note", {"text": "\0"}), ("responders", {"responders": "ou_lin\nLin"}),
     ("responders", {"responders": ""}), ("responders", {"responders": "\n".join(f"ou_{n}" for n in range(501))})],
)  # fmt: skip
def test_what_is_filled_in_wrongly_stays_on_the_page_with_the_reason(operator, incident, verb, data):
    answer = do(operator, incident, verb, **data)
    assert answer.status_code == 200
    assert "errorlist" in answer.content.decode()
    assert kinds(incident) == ["opened"]


def test_muting_says_until_when(operator, incident):
    html = do(operator, incident, "mute", minutes="60").content.decode()
    incident.refresh_from_db()
    assert timedelta(minutes=59) < incident.muted_until - timezone.now() <= timedelta(minutes=60)
    assert "muted until" in html


def test_whoever_comes_second_is_told_who_was_first(operator, incident):
    incident.acknowledge(ADA)
    assert "was taken by Ada at" in do(operator, incident, "acknowledge").content.decode()
    incident.resolve(ADA, "done")
    html = do(operator, incident, "resolve", note="me too").content.decode()
    assert "was resolved by Ada at" in html
    assert kinds(incident) == ["opened", "acknowledged", "resolved"]


def test_an_unknown_verb_or_incident_is_not_found(operator, incident):
    assert do(operator, incident, "dissolve").status_code == 404
    assert (
        operator.get(f"{LIST}999/change/").status_code == operator.get(f"{LIST}x/change/").status_code == 404
    )


def test_only_what_the_state_allows_is_offered(operator, incident):
    incident.resolve(ADA, "done")
    html = text_of(operator, page(incident))
    offered = [
        verb for verb in ("acknowledge", "resolve", "note", "mute", "reopen") if f"/do/{verb}/" in html
    ]
    assert offered == ["note", "reopen"]


def test_an_open_page_learns_that_something_has_changed(operator, viewer, nobody, incident):
    url = f"{LIST}{incident.pk}/state/"
    before = viewer.get(url).json()
    assert f'data-now="{before["now"]}"' in text_of(viewer, page(incident))
    do(operator, incident, "note", text="Called the bank")
    assert viewer.get(url).json() != before
    assert nobody.get(url).status_code == 302
    Incident.objects.update(private=True)
    assert viewer.get(url).status_code == 404


# --- The page ----------------------------------------------------------------------------------------------
def test_the_page_says_what_is_on_its_way_and_that_no_worker_takes_it(operator, make_incident):
    incident = make_incident()
    html = text_of(operator, page(incident))
    assert "Still on its way to Feishu: 1 call." in html
    assert "No worker is running" in html
    Heartbeat.objects.beat("worker", "host", 1, timezone.now())
    assert "No worker is running" not in text_of(operator, page(incident))


def test_a_call_that_failed_is_shown_with_its_meaning_and_a_link(operator, viewer, make_incident):
    incident = make_incident()
    OutboxItem.objects.update(status="failed", error_code=230002)
    html = text_of(operator, page(incident))
    for words in (
        "1 call to Feishu failed for good",
        "Create a group",
        "the bot is not in the chat",
        "There is no chat.",
    ):
        assert words in html
    link = f"/admin/events/outboxitem/{OutboxItem.objects.get().pk}/change/"
    assert link in html
    assert link not in text_of(viewer, page(incident))


def test_a_chat_that_is_gone_is_said(operator, incident):
    Incident.objects.update(chat_gone=True)
    assert "The chat is gone" in text_of(operator, page(incident))


def test_responders_are_shown_by_name_with_what_became_of_them(operator, incident, bot):
    Person.objects.create(bot=bot, open_id=PERSON, name="Ada Lovelace")
    Responder.objects.create(incident=incident, open_id=PERSON, status="added")
    Responder.objects.create(
        incident=incident, email="x@example.com", status="failed", error="Feishu knows nobody by this"
    )
    html = text_of(operator, page(incident))
    for words in ("Ada Lovelace", "x@example.com", "could not be added", "Feishu knows nobody by this"):
        assert words in html


def test_the_card_is_drawn_as_it_is_now_and_hostile_text_stays_text(operator, make_incident):
    incident = make_incident("<script>alert(1)</script>", description="<at id=all></at>")
    html = text_of(operator, page(incident))
    assert "feishu-card" in html
    assert "<script>alert" not in html
    assert "<at id" not in html


def test_the_timeline_is_newest_first_and_links_to_the_message(operator, incident):
    incident.write("message", ADA, text="older", message_id="om_1")
    incident.write("message", ADA, text="newer", message_id="om_2", recalled=True)
    entries = operator.get(page(incident)).context["entries"]
    assert [line["text"] for line in entries] == ["newer", "older", "Payments fail"]
    assert (
        entries[1]["url"] == "https://applink.feishu.cn/client/chat/open?openChatId=oc_war&openMessageId=om_1"
    )
    assert "<s>newer</s>" in text_of(operator, page(incident))


@pytest.mark.parametrize(
    ("part", "texts"),
    [("key", ["key"]), ("messages", ["key", "said"]), ("steps", ["did", "Payments fail"]),
     ("x", ["did", "key", "said", "Payments fail"])],
)  # fmt: skip
def test_the_timeline_is_filtered(operator, incident, part, texts):
    incident.write("message", ADA, text="said")
    incident.write("message", ADA, text="key", important=True)
    incident.write("note", ADA, text="did")
    entries = operator.get(page(incident, f"?part={part}")).context["entries"]
    assert [line["text"] for line in entries] == texts


def test_a_timeline_of_thousands_is_paged_and_takes_the_same_queries(operator, incident, queries_of):
    incident.write("message", ADA, text="first")
    Responder.objects.create(incident=incident, open_id=PERSON)
    few = queries_of(operator, page(incident))
    entries = [
        TimelineEntry(
            incident=incident, kind="message", via="chat", text=f"line {number}", open_id=f"ou_{number}"
        )
        for number in range(5000)
    ]
    TimelineEntry.objects.bulk_create(entries)
    Responder.objects.bulk_create(Responder(incident=incident, open_id=f"ou_{n}") for n in range(200))
    assert queries_of(operator, page(incident)) == few == 17
    context = operator.get(page(incident, "?page=101")).context
    assert [line["text"] for line in context["entries"]] == ["first", "Payments fail"]
    assert operator.get(page(incident, "?page=x")).context["page"].number == 1


# --- A new one ---------------------------------------------------------------------------------------------
def new(bot, **changes):
    return {
        "bot": bot.pk,
        "title": "Payments fail",
        "severity": "P1",
        "service": "",
        "description": "",
        "responders": "",
    } | changes


def test_an_incident_is_opened_with_everything(insider, bot):
    service = Service.objects.create(name="Shop", first_on_call="ou_sun")
    image = SimpleUploadedFile("graph.png", PNG)
    form = new(
        bot,
        service=service.pk,
        description="5xx",
        responders="ou_ada\nou_ada\nlin@example.com",
        image=image,
        drill="on",
        private="on",
    )
    insider.post(f"{LIST}add/", form, follow=True)
    incident = Incident.objects.get()
    assert (incident.title, incident.opened_by, incident.source) == ("Payments fail", "insider", "admin")
    assert (incident.drill, incident.private, incident.service) == (True, True, service)
    assert [one.label for one in incident.responders.all()] == ["ou_sun", "ou_ada", "lin@example.com"]
    assert OutboxItem.objects.get(call="upload_image").attached == PNG


def test_after_opening_one_is_on_its_page(operator, bot):
    answer = operator.post(f"{LIST}add/", new(bot), follow=True)
    assert answer.redirect_chain[-1][0] == page(Incident.objects.get())
    assert "its chat is being made" in answer.content.decode()


def test_who_sets_a_severity_on_an_old_page_is_told_who_was_first(operator, incident):
    incident.change_severity(ADA, "P0")
    html = do(operator, incident, "severity", severity="P0", was="P1").content.decode()
    assert f"Ada has set the severity of {incident} to P0, at " in html
    for chosen in ("P3", "P1"):
        html = do(operator, incident, "severity", severity=chosen, was="P1").content.decode()
        assert f"Ada has set the severity of {incident} to P0, at " in html
    assert Incident.objects.get().severity == "P0"


def test_who_names_a_lead_on_an_old_page_is_told_who_was_first(operator, incident):
    incident.assign_lead(ADA, "ou_lin")
    html = do(operator, incident, "lead", open_id="ou_sun", was="").content.decode()
    assert f"Ada has named the lead of {incident}, at " in html
    assert Incident.objects.get().lead_open_id == "ou_lin"


def test_a_form_posted_twice_opens_one_incident(operator, bot):
    form = new(bot) | {"form_key": "5f1f9e0a-6f0c-4a53-9f2b-0b8f5a3c2d11"}
    answers = [operator.post(f"{LIST}add/", form) for _ in range(2)]
    incident = Incident.objects.get()
    assert {answer.url for answer in answers} == {page(incident)}
    assert str(incident.key) == form["form_key"]


def test_every_new_form_has_a_key_of_its_own(operator, bot):
    keys = {
        re.search(r'name="form_key" value="([^"]+)"', text_of(operator, f"{LIST}add/"))[1] for _ in range(2)
    }
    assert len(keys) == 2


def test_a_title_of_which_nothing_can_be_seen_is_refused(operator, bot):
    assert operator.post(f"{LIST}add/", new(bot) | {"title": "\u202e\u200b"}).status_code == 200
    assert not Incident.objects.exists()


def test_an_operator_who_could_not_see_it_opens_nothing_private(operator, bot):
    assert 'name="private"' not in text_of(operator, f"{LIST}add/")
    operator.post(f"{LIST}add/", new(bot, private="on"))
    assert not Incident.objects.get().private


@pytest.mark.parametrize(
    "wrong",
    [{"title": " "}, {"severity": "P7"}, {"bot": "0"}, {"responders": "Ada"}, {"service": "99"},
     {"image": SimpleUploadedFile("x.png", b"<svg onload=alert(1)>")},
     {"image": SimpleUploadedFile("big.png", PNG + bytes(10 * 1024 * 1024))}],
)  # fmt: skip
def test_what_feishu_could_not_take_is_not_opened(operator, bot, wrong):
    answer = operator.post(f"{LIST}add/", new(bot) | wrong)
    assert answer.status_code == 200
    assert "errorlist" in answer.content.decode()
    assert not Incident.objects.exists()


def test_the_preview_draws_the_card_and_names_the_chat_and_saves_nothing(operator, bot):
    service = Service.objects.create(name="Shop", first_on_call=PERSON)
    shown = operator.post(
        f"{LIST}preview/", {"title": "Payments <b>", "severity": "P0", "service": service.pk, "image": "1"}
    ).json()
    assert "Payments &lt;b&gt;" in shown["html"]
    assert "Shop" in shown["html"]
    assert shown["chat_name"] == "[P0] Payments <b>"
    assert shown["problems"] == []
    assert not Incident.objects.exists()


@pytest.mark.parametrize(
    "typed",
    [{}, {"title": "\0\ud800x"}, {"service": "x"}, {"service": "9" * 30}, {"severity": "<"},
     {"description": "*_[<" * 9000}],
)  # fmt: skip
def test_the_preview_puts_up_with_anything(operator, bot, typed):
    data = {name: text.encode("utf-8", "replace").decode() for name, text in typed.items()}
    assert operator.post(f"{LIST}preview/", data).status_code == 200


# --- An import ---------------------------------------------------------------------------------------------
def importing(bot, **changes):
    form = {
        "bot": bot.pk,
        "chat_id": "oc_old",
        "title": "The old outage",
        "severity": "P2",
        "status": "resolved",
    }
    return form | {"opened_at": "2026-01-31 10:00", "resolved_at": "2026-01-31 12:30"} | changes


def test_a_chat_is_imported_and_nothing_is_sent(operator, bot):
    operator.post(f"{LIST}import/", importing(bot))
    incident = Incident.objects.get()
    assert (incident.chat_id, incident.status, incident.resolved_by) == ("oc_old", "resolved", "operator")
    assert incident.duration == timedelta(hours=2, minutes=30)
    assert kinds(incident) == ["imported"]
    assert not OutboxItem.objects.exists()


def test_an_import_is_private_where_one_may_see_it_afterwards(operator, insider, bot):
    assert 'name="private"' not in text_of(operator, f"{LIST}import/")
    operator.post(f"{LIST}import/", importing(bot, private="on"))
    assert not Incident.objects.get().private
    insider.post(f"{LIST}import/", importing(bot, private="on", chat_id="oc_hidden"))
    assert Incident.objects.get(chat_id="oc_hidden").private


def test_an_import_may_still_be_going_on(operator, bot):
    operator.post(f"{LIST}import/", importing(bot, status="open", opened_at="", resolved_at=""))
    assert Incident.objects.unresolved().get().timeline.get().text == "oc_old"


@pytest.mark.parametrize(
    "wrong",
    [{"chat_id": "Ops"}, {"chat_id": ""}, {"title": ""}, {"title": "\u202e"}, {"opened_at": "2999-01-01"},
     {"opened_at": "0001-01-01"}, {"opened_at": "0001-01-01", "resolved_at": "0001-01-02"},
     {"resolved_at": "2025-01-01"},
     {"opened_at": "soon"}, {"bot": ""}, {"status": "acknowledged"}],
)  # fmt: skip
def test_a_wrong_import_is_refused(operator, bot, wrong):
    assert operator.post(f"{LIST}import/", importing(bot) | wrong).status_code == 200
    assert not Incident.objects.exists()


def test_a_chat_is_imported_once(operator, bot):
    operator.post(f"{LIST}import/", importing(bot))
    html = operator.post(f"{LIST}import/", importing(bot)).content.decode()
    assert f"This chat belongs to {Incident.objects.get()} already." in html


def test_a_chat_that_an_incident_has_left_is_not_imported(operator, incident):
    incident.former_chats.create(chat_id="oc_old")
    operator.post(f"{LIST}import/", importing(incident.bot))
    assert Incident.objects.get() == incident


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_chat_imported_by_ten_at_once_is_one_incident(bot):
    def import_it(_number):
        try:
            return Incident.objects.import_chat(bot=bot, chat_id="oc_old", title="x", by=ADA).pk
        finally:
            connection.close()

    with ThreadPoolExecutor(10) as pool:
        assert len(set(pool.map(import_it, range(10)))) == 1


# --- Services, the home page, the menu ---------------------------------------------------------------------
def test_a_service_is_made_with_people_who_are_suggested(operator, bot):
    Person.objects.create(bot=bot, open_id=PERSON, name="Ada Lovelace")
    html = text_of(operator, "/admin/incidents/service/add/")
    assert f'<option value="{PERSON}">Ada Lovelace</option>' in html
    form = {
        "name": "Shop",
        "severity": "P1",
        "first_on_call": PERSON,
        "second_on_call": "",
        "member_ids": "ou_a\nou_b\nou_a",
    }
    operator.post("/admin/incidents/service/add/", form)
    assert Service.objects.get().everyone == [PERSON, "ou_a", "ou_b"]
    assert "Ada Lovelace" in text_of(operator, "/admin/incidents/service/")


@pytest.mark.parametrize("wrong", [{"first_on_call": "Ada"}, {"member_ids": "ou_a\nAda"}, {"name": ""}])
def test_a_service_with_something_else_than_open_ids_is_refused(operator, wrong):
    form = {"name": "Shop", "severity": "P1", "first_on_call": "", "second_on_call": "", "member_ids": ""}
    assert operator.post("/admin/incidents/service/add/", form | wrong).status_code == 200
    assert not Service.objects.exists()


def test_a_viewer_reads_a_service(viewer, db):
    service = Service.objects.create(name="Shop", member_ids=["ou_a"])
    assert "ou_a" in text_of(viewer, f"/admin/incidents/service/{service.pk}/change/")
    assert viewer.get("/admin/incidents/service/add/").status_code == 403


def test_the_home_page_begins_with_what_is_unresolved_the_worst_first(operator, make_incident, queries_of):
    make_incident("minor", severity="P3")
    few = queries_of(operator, HOME)
    make_incident("over").resolve(ADA, "done")
    for number in range(11):
        make_incident(f"major {number}", severity="P0")
    context = operator.get(HOME).context
    assert context["incidents"][0]["incident"].title == "major 10"
    assert len(context["incidents"]) == 10
    assert context["more_incidents"] == 2
    assert queries_of(operator, HOME) <= few + 1  # the count of the others


def test_the_menu_begins_with_incidents(operator):
    assert [str(entry["words"]) for entry in operator.get(HOME).context["menu"]] == [
        "Overview",
        "Incidents",
        "Outbox",
        "Services",
    ]


def test_the_preview_mentions_the_on_call_by_name(operator, bot):
    Person.objects.create(bot=bot, open_id=PERSON, name="Ada")
    service = Service.objects.create(name="Shop", first_on_call=PERSON)
    html = operator.post(f"{LIST}preview/", {"title": "x", "bot": bot.pk, "service": service.pk}).json()[
        "html"
    ]
    assert "@Ada" in html
    assert PERSON not in html


def test_the_card_names_whoever_feishu_has_not_let_into_the_chat(make_incident, bot):
    Person.objects.create(bot=bot, open_id=PERSON, name="Ada")
    service = Service.objects.create(name="Shop", first_on_call=PERSON, second_on_call="ou_stranger")
    card = str(alert_card(make_incident(service=service)))
    assert "Ada" in card
    assert (f"id={PERSON}" in card, "ou_stranger" in card.replace("&#95;", "_")) == (False, True)
