"""The editor of welcome templates: the live picture, the checks, copies."""

import json
import random

import pytest

from events.reading import read_new
from templates.models import WelcomeTemplate
from templates.starters import make_starters, starter_card

pytest_plugins = ["tests.admin_fixtures"]

LIST = "/admin/templates/welcometemplate/"
PREVIEW = f"{LIST}preview/"
CARD = starter_card("member_joined")


def markdown(content):
    return json.dumps({"schema": "2.0", "body": {"elements": [{"tag": "markdown", "content": content}]}})


def preview(client, card, **more):
    answer = client.post(PREVIEW, {"card": card, "trigger": "member_joined", **more})
    assert answer.status_code == 200
    return answer.json()


def form(bot, **changes):
    fields = {
        "name": "Hello",
        "bot": bot.pk,
        "trigger": "member_joined",
        "chat_ids": "",
        "late_hours": 24,
        "card": CARD,
    }
    return {**fields, "enabled": "on", **changes}


def page(template, verb="change"):
    return f"{LIST}{template.pk}/{verb}/"


@pytest.fixture
def template(bot):
    return make_starters(bot)[0]


def test_the_preview_draws_the_card_with_made_up_people(operator):
    shown = preview(operator, markdown("{{ user.mention }} **hi**"))
    assert "<strong>hi</strong>" in shown["html"]
    assert "@Lin Xia" in shown["html"]
    assert shown["problems"] == []


def test_the_preview_shows_three_newcomers(operator):
    shown = preview(operator, markdown("{{ users.count }}: {{ users.mentions }}"), situation="three")
    assert "3: " in shown["html"]
    assert "@Ada Lovelace" in shown["html"]


def test_the_preview_shows_a_hostile_name_as_text(operator):
    html = preview(operator, markdown("{{ user.name }}"), situation="hostile")["html"]
    assert "&lt;at id=all&gt;" in html
    assert "<a " not in html


def test_the_preview_names_the_place_of_a_syntax_error(operator):
    shown = preview(operator, '{"schema": "2.0",\n  nonsense}')
    assert shown["html"] == ""
    assert "Line 2, column 3" in shown["problems"][0]["message"]


def test_the_preview_names_unknown_variables_with_their_path(operator):
    problem = preview(operator, markdown("{{ user.password }}"))["problems"][0]
    assert problem["path"] == "body.elements[0].content"
    assert "user.password" in problem["message"]


def test_the_preview_draws_a_card_that_feishu_would_refuse_and_says_why(operator):
    shown = preview(operator, '{"schema": "2.0", "body": {"elements": [{"tag": "hrr"}]}}')
    assert "feishu-card" in shown["html"]
    assert shown["problems"][0]["path"] == "body.elements[0].tag"


def test_the_preview_counts_the_bytes_of_what_is_sent(operator):
    small, large = preview(operator, markdown("a")), preview(operator, markdown("啊"))
    assert large["size"] - small["size"] == 2


def test_the_preview_speaks_the_readers_language(operator):
    shown = preview(operator, '{"schema": "2.0", "body": {"elements": [{"tag": "chart"}]}}')
    assert "chart" in shown["html"]
    answer = operator.post(
        PREVIEW, {"card": '{"elements": [{"tag": "chart"}]}'}, headers={"accept-language": "zh-hans"}
    )
    assert "图表" in answer.json()["html"]


def test_the_preview_uses_the_name_of_the_chosen_bot(operator, bot):
    assert "I am OpsBot" in preview(operator, markdown("I am {{ bot.name }}"), bot=bot.pk)["html"]


@pytest.mark.parametrize("bot", ["", "0", "x", "-1", "9" * 30, "²", "١"])
def test_the_preview_puts_up_with_any_bot(operator, bot):
    assert preview(operator, CARD, bot=bot, trigger="nonsense", situation="nonsense")["html"]


@pytest.mark.parametrize(
    "card",
    [
        "", "null", "[]", "7", '"x"', "{}", "{" * 5000, "[" * 100_000, '{"a":' * 900 + "1" + "}" * 900, "1" * 5000,
        "NaN",
        '{"a": NaN}', '{"a": 1e999}', '{"\\ud800": "\\ud800 {{ now }}"}', "\x00", '{"schema": 2}', "\ufeff{}",
        '{"schema":"2.0","body":{"elements":[{"tag":"markdown","content":"' + "*_[<" * 5000 + '"}]}}',
        '{"schema":"2.0","body":{"elements":[{"tag":"table","columns":7,"rows":[1,{"a":[]}]}]}}',
    ],
)  # fmt: skip
def test_the_preview_answers_whatever_is_typed(operator, card):
    assert set(preview(operator, card)) == {"html", "problems", "size"}


def test_the_preview_answers_cards_with_anything_anywhere(operator):
    chance = random.Random(7)
    odd = [
        None,
        True,
        7,
        -1.5,
        "",
        "x",
        "{{ now }}",
        [],
        {},
        [None],
        {"tag": "markdown"},
        {"tag": []},
        [[{}]],
    ]
    whole = json.loads(CARD)
    for _ in range(300):
        card = json.loads(json.dumps(whole))
        spots = [card]
        for spot in spots:
            children = spot.values() if isinstance(spot, dict) else spot
            spots.extend(child for child in children if isinstance(child, dict | list))
        spot = chance.choice(spots)
        for key in list(spot) if isinstance(spot, dict) else range(len(spot)):
            if chance.random() < 0.5:
                spot[key] = chance.choice(odd)
        preview(operator, json.dumps(card))


def test_the_preview_saves_nothing(operator, bot):
    preview(operator, CARD, bot=bot.pk)
    assert not WelcomeTemplate.objects.exists()


def test_the_preview_is_post_only_and_wants_the_csrf_token(operator):
    assert operator.get(PREVIEW).status_code == 405
    operator.handler.enforce_csrf_checks = True
    assert operator.post(PREVIEW, {"card": CARD}).status_code == 403


def test_a_viewer_may_preview_and_nobody_may_not(viewer, nobody):
    assert preview(viewer, CARD)["html"]
    assert nobody.post(PREVIEW, {"card": CARD}).url.startswith("/admin/login/")


def test_staff_without_permission_may_not_preview(client_of):

    assert client_of("new", []).post(PREVIEW, {"card": CARD}).status_code == 403


def test_a_template_is_saved_with_its_chats_one_a_line(operator, bot):
    operator.post(f"{LIST}add/", form(bot, chat_ids="oc_a1\r\n oc_b2, oc_a1\n\n"))
    assert WelcomeTemplate.objects.get().chat_ids == ["oc_a1", "oc_b2"]


def test_wrong_chats_and_cards_are_refused_at_their_fields(operator, bot):
    answer = operator.post(f"{LIST}add/", form(bot, chat_ids="team", card=markdown("{{ user.nmae }}")))
    errors = answer.context["adminform"].form.errors
    assert "starts with oc_" in errors["chat_ids"][0]
    assert "user.nmae" in errors["card"][0]
    assert not WelcomeTemplate.objects.exists()


def test_a_refused_form_keeps_what_was_typed_and_its_picture(operator, bot):
    html = operator.post(f"{LIST}add/", form(bot, name="", card=markdown("**kept**"))).content.decode()
    assert "<strong>kept</strong>" in html


def test_a_new_template_begins_with_a_card_that_works(operator, bot):
    answer = operator.get(f"{LIST}add/")
    assert answer.context["preview"].problems == []
    assert answer.context["adminform"].form["bot"].value() == bot.pk


def test_an_edit_that_changes_nothing_is_logged_as_such(operator, template):
    from django.contrib.admin.models import LogEntry

    same = form(template.bot, name=template.name, trigger=template.trigger, card=template.card)
    operator.post(page(template), same)
    assert "No fields changed." in LogEntry.objects.get().get_change_message()


def test_a_copy_is_saved_switched_off_under_a_name_of_its_own(operator, template):
    copied = form(template.bot, name=template.name, trigger=template.trigger, _saveasnew="1")
    operator.post(page(template), copied)
    copy = WelcomeTemplate.objects.latest("pk")
    assert (copy.name, copy.enabled) == (f"{template.name} (copy)", False)
    assert WelcomeTemplate.objects.get(pk=template.pk).enabled


def test_the_editor_offers_chats_from_the_event_log(operator, template, make_event):
    make_event()
    read_new()
    assert 'data-chat="oc_team">Team<' in operator.get(page(template)).content.decode()


def test_a_viewer_sees_the_card_and_its_picture_but_no_editor(viewer, template):
    html = viewer.get(page(template)).content.decode()
    assert "feishu-card" in html
    assert "<textarea" not in html
    assert viewer.post(page(template), form(template.bot)).status_code == 403


def test_the_list_takes_the_same_few_queries_for_any_number_of_templates(operator, template, queries_of):
    few = queries_of(operator, LIST)
    for number in range(20):
        WelcomeTemplate.objects.create(bot=template.bot, name=f"T{number}", card="{}", enabled=False)
    assert queries_of(operator, LIST) == few == 9


def test_all_templates_are_reachable_only_with_permission(nobody, template):
    assert nobody.get(page(template)).url.startswith("/admin/login/")
