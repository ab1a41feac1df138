"""The pages of bots: secrets go in and never come out; a new bot gets its first templates."""

import logging

import pytest
from django.contrib.admin.models import LogEntry
from django.test import override_settings

from events.models import Bot, Refusal
from templates.models import WelcomeTemplate

pytest_plugins = ["tests.admin_fixtures"]

LIST = "/admin/events/bot/"
SECRETS = {
    "app_secret": "fresh-app-secret-1111",
    "verification_token": "fresh-token-2222",
    "encrypt_key": "fresh-encrypt-key-3333",
}


def form(**changes):
    fields = {
        "name": "New",
        "slug": "new",
        "app_id": "cli_new",
        "domain": "https://open.feishu.cn",
        "enabled": "on",
    }
    return {**fields, **dict.fromkeys(SECRETS, ""), **changes}


def of(bot, **changes):
    return form(name=bot.name, slug=bot.slug, app_id=bot.app_id, domain=bot.domain, **changes)


def page(bot):
    return f"{LIST}{bot.pk}/change/"


def revealed(bot):
    bot.refresh_from_db()
    return {name: getattr(bot, name).reveal() for name in SECRETS}


def test_a_bot_is_made_with_its_secrets_sealed(operator):
    operator.post(f"{LIST}add/", form(**SECRETS))
    bot = Bot.objects.get()
    assert revealed(bot) == SECRETS
    assert "fresh" not in bot.app_secret.sealed


def test_a_new_bot_gets_the_starters_if_asked(operator):
    operator.post(f"{LIST}add/", form(**SECRETS, starters="on"))
    assert WelcomeTemplate.objects.filter(bot=Bot.objects.get()).count() == 3


def test_a_new_bot_gets_no_starters_unasked(operator):
    operator.post(f"{LIST}add/", form(**SECRETS))
    assert not WelcomeTemplate.objects.exists()


@pytest.mark.parametrize("missing", ["app_secret", "verification_token"])
def test_a_bot_without_secret_or_token_is_not_made(operator, missing):
    answer = operator.post(f"{LIST}add/", form(**{**SECRETS, missing: ""}))
    assert "This field is required." in answer.content.decode()
    assert not Bot.objects.exists()


def test_empty_secrets_stay_as_they_were(operator, bot):
    before = revealed(bot)
    operator.post(page(bot), of(bot))
    assert revealed(bot) == before


def test_an_entered_secret_replaces_the_old_one(operator, bot):
    before = revealed(bot)
    operator.post(page(bot), of(bot, app_secret="  fresh-app-secret-1111 "))
    assert revealed(bot) == {**before, "app_secret": "fresh-app-secret-1111"}


def test_the_encrypt_key_can_be_removed(operator, bot):
    operator.post(page(bot), of(bot, remove_encrypt_key="on"))
    assert revealed(bot)["encrypt_key"] == ""


def test_removing_and_entering_the_encrypt_key_at_once_is_refused(operator, bot):
    before = revealed(bot)
    answer = operator.post(page(bot), of(bot, remove_encrypt_key="on", encrypt_key="another-key-4444"))
    assert "not both" in answer.content.decode()
    assert revealed(bot) == before


def test_no_secret_is_ever_in_a_page_a_history_or_a_log(operator, viewer, bot, caplog):
    caplog.set_level(logging.DEBUG)
    operator.post(page(bot), of(bot, **SECRETS))
    refused = operator.post(page(bot), of(bot, **SECRETS) | {"slug": "not a slug"})
    pages = [client.get(url) for client in (operator, viewer) for url in (LIST, page(bot), "/admin/")]
    seen = "".join(answer.content.decode() for answer in [refused, *pages])
    seen += (
        "".join(str(entry.__dict__) + entry.get_change_message() for entry in LogEntry.objects.all())
        + caplog.text
    )
    for secret in [*SECRETS.values(), bot.app_secret.sealed]:
        assert secret not in seen


def test_the_form_shows_the_last_four_characters(operator, bot):
    operator.post(page(bot), of(bot, **SECRETS))
    html = operator.get(page(bot)).content.decode()
    assert "ends in …1111" in html
    assert "ends in …3333" in html


def test_a_viewer_sees_that_secrets_are_set_and_no_field_for_them(viewer, bot):
    html = viewer.get(page(bot)).content.decode()
    assert 'type="password"' not in html
    assert "App Secret: Set" in html


def test_secrets_sealed_with_a_lost_key_are_named_as_such(operator, bot):
    with override_settings(SEALING_KEYS=["another key that is long enough for all"]):
        for url in (page(bot), "/admin/", LIST):
            assert operator.get(url).status_code == 200
        assert "sealed with another key" in operator.get(page(bot)).content.decode()
        operator.post(page(bot), of(bot, **SECRETS))
        assert revealed(bot) == SECRETS


def test_the_page_of_a_bot_shows_its_request_url_and_what_to_add(operator, bot):
    html = operator.get(page(bot)).content.decode()
    for words in (
        bot.webhook_url,
        "p2p_chat_create",
        "im.chat.member.user.added_v1",
        "im:message:send_as_bot",
    ):
        assert words in html


def test_the_page_of_a_bot_shows_its_refusals_newest_first(operator, bot):
    for reason in ("the body is not JSON", "the challenge is not text"):
        Refusal.objects.record(bot, reason, "203.0.113.9")
    html = operator.get(page(bot)).content.decode()
    assert html.index("the challenge is not text") < html.index("the body is not JSON")


def test_two_bots_for_one_app_are_refused(operator, bot):
    operator.post(f"{LIST}add/", form(app_id=bot.app_id, domain=bot.domain, **SECRETS))
    assert Bot.objects.count() == 1


def test_a_viewer_cannot_change_a_bot_and_nobody_sees_one(viewer, nobody, bot):
    assert viewer.post(page(bot), of(bot, **SECRETS)).status_code == 403
    assert viewer.get(f"{LIST}add/").status_code == 403
    assert nobody.get(page(bot)).url.startswith("/admin/login/")


def test_a_bot_with_events_cannot_be_deleted(operator, bot, make_event):
    make_event()
    operator.post(f"{LIST}{bot.pk}/delete/", {"post": "yes"})
    assert Bot.objects.filter(pk=bot.pk).exists()
