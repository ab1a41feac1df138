"""Store (ISV) apps: the app_ticket is kept sealed, and each tenant is sent to with its own token."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from django.utils.translation import override

from botconsole.sandbox import SandboxConfig, SandboxServer
from events import people
from events.feishu import FeishuError
from events.models import AppTicket, Bot, Chat, Event, OutboxItem, Person
from events.outbox import send_text
from events.reading import read_new
from events.sealed import Secret
from events.tokens import NoTenantError, NotYetError, StoreApp, store_app
from templates.models import WelcomeTemplate
from templates.starters import make_starters, starter_card
from tests import feishu_events
from tests.feishu_events import member_joined, v1
from tests.test_delivery import control, deliver_retries, messages
from tests.waiting import wait_until

pytest_plugins = ["tests.admin_fixtures"]
pytestmark = pytest.mark.django_db

TICKET = "ticket-0123456789abcdef"
TENANT = feishu_events.TENANT_KEY


@pytest.fixture
def store(bot: Bot) -> Bot:
    bot.app_type = Bot.AppType.STORE
    bot.save()
    return bot


def ticket_event(ticket: str = TICKET, **envelope: Any) -> dict[str, Any]:
    return v1({"type": "app_ticket", "app_ticket": ticket}, **envelope)


def kept(bot: Bot) -> str:
    ticket = AppTicket.objects.of(bot)
    assert ticket is not None
    return ticket.reveal()


# --- The ticket -----------------------------------------------------------------------------------------
def test_the_ticket_is_kept_and_stands_in_the_clear_nowhere(store: Bot, push: Any, caplog: Any) -> None:
    assert push(store, ticket_event()).status_code == 200
    assert kept(store) == TICKET
    assert (Event.objects.get().status, Event.objects.get().summary) == ("handled", "app ticket kept")
    rows = []
    with connection.cursor() as cursor:
        for table in (Event._meta.db_table, AppTicket._meta.db_table, "events_eventtext"):
            cursor.execute(f"SELECT * FROM {table}")
            rows += cursor.fetchall()
    assert TICKET not in str(rows) + caplog.text


def test_the_event_log_shows_no_ticket(store: Bot, push: Any, operator: Any) -> None:
    push(store, ticket_event())
    event = Event.objects.get()
    for url in ("/admin/events/event/", f"/admin/events/event/{event.pk}/change/"):
        assert TICKET not in operator.get(url).content.decode()


def test_a_newer_ticket_replaces_the_older_and_never_the_other_way(store: Bot, push: Any) -> None:
    for ticket, at in (("first", 1_800_000_000), ("third", 1_800_007_200), ("second", 1_800_003_600)):
        push(store, ticket_event(ticket, created_at=at))
    assert kept(store) == "third"
    assert Event.objects.order_by("-pk")[0].summary == "a newer app ticket is known"


def test_a_custom_app_keeps_no_ticket_and_asks_for_none(
    bot: Bot, push: Any, django_assert_num_queries: Any
) -> None:
    push(bot, ticket_event())
    assert not AppTicket.objects.exists()
    with django_assert_num_queries(0):
        assert AppTicket.objects.of(bot) is None
    assert store_app(bot, TENANT, None) is None


def test_tickets_are_sealed_with_the_new_key_too(store: Bot, settings: Any) -> None:
    settings.SEALING_KEYS = ["the old key, which is long enough for all"]
    Bot.objects.update(
        **dict.fromkeys(("app_secret", "verification_token", "encrypt_key"), Secret.seal("x" * 9))
    )
    AppTicket.objects.keep(store, Secret.seal(TICKET), store.created_at)
    settings.SEALING_KEYS = ["the new key, which is long enough for all", *settings.SEALING_KEYS]
    call_command("reseal")
    settings.SEALING_KEYS = settings.SEALING_KEYS[:1]
    assert kept(store) == TICKET


# --- Tokens ---------------------------------------------------------------------------------------------
class Auth:
    """The token endpoints of a store app; counts what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.good_ticket, self.good_app_token = TICKET, "a-1"

    def __call__(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        name = path.removeprefix("/open-apis/auth/v3/")
        self.asked.append(name)
        if name == "app_access_token":
            if body["app_ticket"] != self.good_ticket:
                raise FeishuError("bad ticket", code=10012, http_status=400)
            return {"app_access_token": self.good_app_token, "expire": 7200}
        if name == "tenant_access_token":
            if body["app_access_token"] != self.good_app_token:
                raise FeishuError("expired", code=99991663, http_status=400)
            return {"tenant_access_token": f"t-{body['tenant_key']}", "expire": 7140}
        return {}


def app(**fields: Any) -> StoreApp:
    return StoreApp(
        **{"app_id": "cli", "app_secret": "s", "tenant_key": "tk_a", "app_ticket": TICKET, **fields}
    )


def test_a_tenants_token_comes_from_ticket_and_app_token_which_is_kept() -> None:
    auth, one = Auth(), app()
    assert one(auth) == ("t-tk_a", 7140)
    one(auth)
    assert auth.asked == ["app_access_token", "tenant_access_token", "tenant_access_token"]


def test_the_doctor_proves_an_app_that_no_tenant_has_installed_by_its_own_token() -> None:
    auth = Auth()
    with pytest.raises(NoTenantError):
        app(tenant_key="").prove(auth)
    assert auth.asked == ["app_access_token"]
    with pytest.raises(NotYetError, match="push it again"):
        app(tenant_key="", app_ticket="").prove(auth)
    assert auth.asked == ["app_access_token", "app_ticket/resend"]


def test_an_app_token_that_died_is_fetched_anew() -> None:
    auth, one = Auth(), app()
    one(auth)
    auth.good_app_token = "a-2"
    assert one(auth) == ("t-tk_a", 7140)


@pytest.mark.parametrize("ticket", ["", "old"])
def test_a_missing_or_bad_ticket_is_asked_for_once_and_the_call_tried_again(ticket: str) -> None:
    auth, one = Auth(), app(app_ticket=ticket)
    for _ in range(2):
        with pytest.raises(FeishuError, match="asked to push it again") as raised:
            one(auth)
        assert not raised.value.permanent
    assert auth.asked.count("app_ticket/resend") == 1
    one.app_ticket = TICKET
    assert one(auth) == ("t-tk_a", 7140)


def test_without_a_tenant_the_call_fails_for_good_with_a_reason() -> None:
    with pytest.raises(FeishuError, match="for which tenant") as raised:
        app(tenant_key="")(Auth())
    assert raised.value.permanent


def test_a_store_app_shows_no_secret_when_it_is_printed() -> None:
    assert repr(app()) == "<StoreApp cli>"


# --- The tenant -----------------------------------------------------------------------------------------
def test_what_an_event_causes_goes_to_its_tenant(store: Bot, push: Any) -> None:
    make_starters(store)
    push(store, member_joined())
    assert (Event.objects.get().tenant_key, OutboxItem.objects.get().tenant_key) == (TENANT, TENANT)


def test_what_no_event_caused_goes_to_the_tenant_of_the_chat_or_of_what_it_is_about(
    store: Bot, make_event: Any
) -> None:
    make_event(chat_id="oc_a", tenant_key="tk_a")
    first = send_text(store, chat_id="oc_a", markup="x", key="1", subject=store)
    other = send_text(store, chat_id="oc_new", markup="x", key="2", subject=store)
    unknown = send_text(store, chat_id="oc_new", markup="x", key="3")
    assert [item and item.tenant_key for item in (first, other, unknown)] == ["tk_a", "tk_a", ""]


def test_names_are_asked_of_the_tenant_that_spoke_of_them_and_of_nobody_else(
    store: Bot, make_event: Any
) -> None:
    make_event(chat_id="oc_a", actor_open_id="ou_a", tenant_key="tk_a")
    make_event(chat_id="oc_b", actor_open_id="ou_b", tenant_key="tk_b")
    read_new()
    people.want(Person, [(store.pk, "ou_a"), (store.pk, "ou_b"), (store.pk, "ou_of_no_event")])
    people.want(Chat, [(store.pk, "oc_b"), (store.pk, "oc_of_no_event")])
    assert people.ask_wanted(timezone.now()) == 3
    asked = OutboxItem.objects.values_list("call", "tenant_key")
    assert sorted(asked) == [("get_chat", "tk_b"), ("get_person", "tk_a"), ("get_person", "tk_b")]


def test_a_template_of_the_tenant_greets_before_one_for_all_and_not_elsewhere(store: Bot, push: Any) -> None:
    for name, tenant_key in (("theirs", "tk_other"), ("for all", ""), ("ours", TENANT)):
        WelcomeTemplate.objects.create(
            bot=store,
            name=name,
            trigger="member_joined",
            card=starter_card("member_joined"),
            tenant_key=tenant_key,
        )
    push(store, member_joined())
    assert Event.objects.get().summary == "“ours” queued"


def test_templates_of_two_tenants_are_no_rivals(store: Bot) -> None:
    fields = {"bot": store, "trigger": "member_joined", "card": starter_card("member_joined")}
    WelcomeTemplate.objects.create(name="a", tenant_key="tk_a", **fields)
    WelcomeTemplate(name="b", tenant_key="tk_b", **fields).full_clean()
    with pytest.raises(Exception, match="already greets there"), override("en"):
        WelcomeTemplate(name="c", tenant_key="tk_a", **fields).full_clean()


def test_the_tenant_is_asked_for_only_where_there_is_a_store_app(operator: Any, bot: Bot) -> None:
    page = "/admin/templates/welcometemplate/add/"
    assert 'name="tenant_key"' not in operator.get(page).content.decode()
    Bot.objects.update(app_type=Bot.AppType.STORE)
    assert 'name="tenant_key"' in operator.get(page).content.decode()


# --- The whole way, against the local Feishu ---------------------------------------------------------------
@pytest.fixture
def feishu(store: Bot, live_server: Any) -> Iterator[SandboxServer]:
    config = SandboxConfig(
        app_id=store.app_id, app_secret=store.app_secret.reveal(), encrypt_key=store.encrypt_key.reveal(),
        verification_token=store.verification_token.reveal(), port=0, store_app=True, tenant_key=TENANT,
        webhook_url=f"{live_server.url}/webhook/event/{store.slug}",
    )  # fmt: skip
    with SandboxServer(config) as server:
        store.domain = server.url
        store.save()
        yield server


@pytest.mark.django_db(transaction=True)
def test_a_message_waits_for_the_ticket_that_it_asks_for_and_arrives(
    store: Bot, feishu: SandboxServer
) -> None:
    chat_id = str(control(feishu, "groups", name="Payments", bot=True)["chat_id"])
    wait_until(AppTicket.objects.exists)
    wait_until(Event.objects.filter(chat_id=chat_id).exists)  # it says whose chat it is
    stale = Secret.seal("a ticket of yesterday")
    AppTicket.objects.update(ticket=stale)  # as after a long time away
    item = send_text(store, chat_id=chat_id, markup="好", key="k")
    assert item is not None
    wait_until(lambda: deliver_retries() or OutboxItem.objects.get().status == "sent")
    assert "好" in str(messages(feishu, chat_id)[-1])
    first, *_ = OutboxItem.objects.get().attempts.all()
    assert "asked to push it again" in first.message


# --- Webhook only ---------------------------------------------------------------------------------------
def test_setup_bot_sets_transport_and_kind_and_refuses_both_together(settings: Any) -> None:
    settings.FEISHU_APP_ID, settings.FEISHU_DOMAIN = "cli_env", "https://open.feishu.cn"
    settings.FEISHU_APP_SECRET = settings.FEISHU_VERIFICATION_TOKEN = "0123456789abcdef"
    with override("en"):
        call_command("setup_bot", transport="long_connection")
        assert Bot.objects.get().transport == "long_connection"
        with pytest.raises(CommandError, match="no long connection for store apps"):
            call_command("setup_bot", app_type="store")
        call_command("setup_bot", app_type="store", transport="webhook")
    assert (Bot.objects.get().app_type, Bot.objects.get().transport) == ("store", "webhook")
    call_command("setup_bot")
    assert Bot.objects.get().app_type == "store"
