"""setup_bot, reseal, check_feishu, run_worker and health, as an operator uses them."""

import io
import signal
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
import requests
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from events.models import Bot, Heartbeat, OutboxItem
from events.outbox import send_card
from events.sealed import Secret, UnsealError
from templates.models import WelcomeTemplate
from tests.waiting import wait_until

CARD = {
    "schema": "2.0",
    "config": {"update_multi": True},
    "body": {"elements": [{"tag": "markdown", "content": "hi"}]},
}


@pytest.fixture
def feishu_settings(settings: Any) -> Any:
    settings.FEISHU_APP_ID, settings.FEISHU_APP_SECRET = "cli_env", "secret-from-env"
    settings.FEISHU_VERIFICATION_TOKEN, settings.FEISHU_ENCRYPT_KEY = "vt_env", "ek_env"
    return settings


def run(command: str, *arguments: str, **options: Any) -> str:
    out = io.StringIO()
    call_command(command, *arguments, stdout=out, **options)
    return out.getvalue()


# --- setup_bot ------------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_setup_bot_makes_the_bot_its_templates_and_prints_the_url(feishu_settings: Any) -> None:
    output = run("setup_bot")
    bot = Bot.objects.get()
    assert (bot.slug, bot.app_id, bot.app_secret.reveal()) == ("default", "cli_env", "secret-from-env")
    assert WelcomeTemplate.objects.filter(bot=bot, enabled=True).count() == 3
    assert "http://127.0.0.1:8000/webhook/event/default" in output


@pytest.mark.django_db
def test_setup_bot_run_twice_changes_nothing(feishu_settings: Any) -> None:
    run("setup_bot")
    before = list(Bot.objects.values()), list(WelcomeTemplate.objects.values())
    assert "unchanged" in run("setup_bot")
    assert (list(Bot.objects.values()), list(WelcomeTemplate.objects.values())) == before


@pytest.mark.django_db
def test_setup_bot_updates_what_changed_and_leaves_the_templates(feishu_settings: Any) -> None:
    run("setup_bot")
    WelcomeTemplate.objects.exclude(trigger="bot_joined").delete()
    feishu_settings.FEISHU_ENCRYPT_KEY = "ek_new"
    assert "updated" in run("setup_bot")
    assert Bot.objects.get().encrypt_key.reveal() == "ek_new"
    assert WelcomeTemplate.objects.count() == 1


@pytest.mark.django_db
def test_setup_bot_says_which_variables_are_missing(settings: Any) -> None:
    settings.FEISHU_APP_ID = "cli_env"
    with pytest.raises(CommandError, match="FEISHU_APP_SECRET, FEISHU_VERIFICATION_TOKEN not set"):
        run("setup_bot")


@pytest.mark.django_db
@pytest.mark.parametrize("slug", ["has space", "ümlaut/", ""])
def test_setup_bot_refuses_a_slug_that_no_url_can_hold(feishu_settings: Any, slug: str) -> None:
    with pytest.raises(CommandError):
        run("setup_bot", slug=slug)


# --- Secrets --------------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_secrets_are_sealed_in_the_database(bot: Bot) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT app_secret, verification_token, encrypt_key FROM events_bot")
        stored = cursor.fetchone()
    plain = [secret.reveal() for secret in (bot.app_secret, bot.verification_token, bot.encrypt_key)]
    assert all(text not in sealed for text in plain for sealed in stored)


def test_a_secret_shows_nothing_but_a_hint_of_the_long_ones() -> None:
    assert repr(Secret.seal("a-long-enough-secret")) == "<Secret>"
    assert (Secret.seal("a-long-enough-secret").hint(), Secret.seal("short").hint()) == ("cret", "")


@pytest.mark.django_db
def test_keys_can_be_rotated_without_entering_anything_again(bot: Bot, settings: Any) -> None:
    old, new = "o" * 32, "n" * 32
    settings.SEALING_KEYS = [old]
    bot.app_secret = "moved-from-key-to-key"
    bot.verification_token, bot.encrypt_key = "vt", "ek"
    bot.save()
    settings.SEALING_KEYS = [new, old]
    run("reseal")
    settings.SEALING_KEYS = [new]
    assert Bot.objects.get().app_secret.reveal() == "moved-from-key-to-key"


@pytest.mark.django_db
def test_without_its_key_a_secret_says_what_to_do(bot: Bot, settings: Any) -> None:
    settings.SEALING_KEYS = ["x" * 32]
    with pytest.raises(UnsealError):
        Bot.objects.get().app_secret.reveal()
    with pytest.raises(CommandError, match="Nothing was changed"):
        run("reseal")


# --- check_feishu ---------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_check_feishu_says_who_the_bot_is(bot: Bot, sandbox: Any) -> None:
    Heartbeat.objects.beat("worker", "here", 1, timezone.now())
    assert "OpsBot" in run("check_feishu")


@pytest.mark.django_db(transaction=True)
def test_check_feishu_fails_with_the_meaning_of_a_wrong_secret(bot: Bot, sandbox: Any) -> None:
    bot.app_secret = "wrong"
    bot.save()
    with pytest.raises(CommandError, match="not working: default"):
        run("check_feishu")


# --- The worker as a process ----------------------------------------------------------------------------
def start_worker(env: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "manage.py", "run_worker", *arguments],
        env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def make_group(sandbox: Any) -> str:
    return str(
        requests.post(f"{sandbox.url}/_sandbox/groups", json={"name": "g"}, timeout=60).json()["chat_id"]
    )


def messages_in(sandbox: Any, chat_id: str) -> list[Any]:
    answer = requests.get(f"{sandbox.url}/_sandbox/groups/{chat_id}/messages", timeout=60).json()
    return list(answer["items"])


@pytest.mark.django_db(transaction=True)
def test_a_worker_delivers_until_sigterm_and_exits_0(
    bot: Bot, sandbox: Any, process_env: dict[str, str]
) -> None:
    worker = start_worker(process_env)
    try:
        wait_until(lambda: Heartbeat.objects.alive("worker", timedelta(seconds=10)))
        send_card(bot, chat_id=make_group(sandbox), card=CARD, key="k")
        wait_until(lambda: OutboxItem.objects.get().status == OutboxItem.Status.SENT)
        worker.send_signal(signal.SIGTERM)
        output, _ = worker.communicate(timeout=60)
    finally:
        worker.kill()
    assert worker.returncode == 0, output


@pytest.mark.django_db(transaction=True)
def test_sigterm_lets_the_call_in_flight_finish(bot: Bot, sandbox: Any, process_env: dict[str, str]) -> None:
    chat_id = make_group(sandbox)
    requests.post(f"{sandbox.url}/_sandbox/faults", json={"slow_ms": 1500, "path": "/messages"}, timeout=60)
    send_card(bot, chat_id=chat_id, card=CARD, key="k")
    worker = start_worker(process_env)
    try:
        wait_until(lambda: OutboxItem.objects.get().status != OutboxItem.Status.PENDING)
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=60)
    finally:
        worker.kill()
    assert (worker.returncode, OutboxItem.objects.get().status) == (0, OutboxItem.Status.SENT)


@pytest.mark.django_db(transaction=True)
def test_a_killed_workers_message_arrives_once_all_the_same(
    bot: Bot, sandbox: Any, process_env: dict[str, str]
) -> None:
    chat_id = make_group(sandbox)
    fault = {"slow_ms": 10_000, "times": 1, "path": "/messages"}
    requests.post(f"{sandbox.url}/_sandbox/faults", json=fault, timeout=60)
    send_card(bot, chat_id=chat_id, card=CARD, key="k")
    worker = start_worker(process_env)
    wait_until(lambda: messages_in(sandbox, chat_id))  # Feishu has acted, and its answer is on the way
    worker.kill()
    worker.communicate()
    assert OutboxItem.objects.get().status == OutboxItem.Status.SENDING
    OutboxItem.objects.update(leased_until=timezone.now() - timedelta(seconds=1))
    second = start_worker(process_env, "--once")
    second.communicate(timeout=60)
    assert (second.returncode, OutboxItem.objects.get().status) == (0, OutboxItem.Status.SENT)
    assert len(messages_in(sandbox, chat_id)) == 1


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_several_workers_send_each_message_once(bot: Bot, sandbox: Any, process_env: dict[str, str]) -> None:
    chats = [make_group(sandbox) for _ in range(4)]
    for number in range(40):
        send_card(bot, chat_id=chats[number % 4], card=CARD, key=f"k{number}")
    workers = [start_worker(process_env) for _ in range(3)]
    try:
        wait_until(lambda: not OutboxItem.objects.exclude(status=OutboxItem.Status.SENT).exists())
    finally:
        for worker in workers:
            worker.terminate()
            worker.communicate()
    assert [len(messages_in(sandbox, chat)) for chat in chats] == [10, 10, 10, 10]


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_new_row_wakes_the_workers(bot: Bot) -> None:
    import psycopg

    settings = connection.get_connection_params()
    names = ("dbname", "user", "password", "host", "port")
    with psycopg.connect(
        **{name: settings[name] for name in names if name in settings}, autocommit=True
    ) as listener:
        listener.execute("LISTEN outbox")
        send_card(bot, chat_id="oc_1", card=CARD, key="k")
        assert [notice.channel for notice in listener.notifies(timeout=60, stop_after=1)] == ["outbox"]


# --- Health ---------------------------------------------------------------------------------------------
def test_healthz_touches_no_database(client: Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}


@pytest.mark.django_db
def test_readyz_says_that_no_worker_was_seen(client: Client) -> None:
    response = client.get("/readyz")
    assert response.status_code == 503
    assert "run_worker" in response.json()["checks"]["worker"]


@pytest.mark.django_db
def test_readyz_is_ok_while_a_worker_is_alive(client: Client) -> None:
    Heartbeat.objects.beat("worker", "host", 1, timezone.now())
    assert client.get("/readyz").status_code == 200


@pytest.mark.django_db
def test_a_worker_silent_for_a_minute_is_not_alive(client: Client) -> None:
    Heartbeat.objects.beat("worker", "host", 1, timezone.now())
    Heartbeat.objects.update(seen_at=timezone.now() - timedelta(minutes=1))
    assert client.get("/readyz").status_code == 503


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.django_db
def test_a_probe_by_address_needs_no_allowed_host(client: Client, path: str) -> None:
    assert client.get(path, headers={"Host": "10.1.2.3"}).status_code in (200, 503)


@pytest.mark.django_db
def test_a_log_without_partitions_has_none_to_undo() -> None:
    reason = "not partitioned" if connection.vendor == "postgresql" else "Only PostgreSQL has partitions"
    with pytest.raises(CommandError, match=reason):
        run("partition_events", "--undo", "--dry-run")
