"""Presses on the alert card: what each control does, and whose press is refused."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from events import people
from events.models import Bot, OutboxItem
from incidents.cards import ACTIONS, is_signed, signed_value
from incidents.models import Actor, Incident, Via
from tests.feishu_events import ADA, CHAT_ID, LIN, member_joined, message_received
from tests.incident_world import Feishu, kinds, running, work

pytest_plugins = ["tests.incident_fixtures"]
pytestmark = pytest.mark.django_db

OPERATOR = Actor(Via.ADMIN, "operator")
STRANGER = "ou_stranger"


def toast(reply: Any, locale: str = "en_us") -> tuple[str, str]:
    return reply["toast"]["type"], reply["toast"]["i18n"][locale]


def typed(text: str) -> dict[str, Any]:
    return {"form_value": {"note": text}}


# --- What the controls do -------------------------------------------------------------------------------------
def test_take_it(incident: Incident, press: Any) -> None:
    reply = press(signed_value(incident, "ack"))
    incident.refresh_from_db()
    assert toast(reply) == ("success", "It is yours. Good luck!")
    assert (incident.status, incident.acknowledged_by_open_id) == ("acknowledged", ADA[0])
    assert incident.timeline.get(kind="acknowledged").via == "button"


def test_the_reply_has_the_card_as_it_is_now(incident: Incident, press: Any) -> None:
    card = press(signed_value(incident, "resolve"), **typed("rolled back"))["card"]
    assert (card["type"], card["data"]["header"]["template"]) == ("raw", "green")
    assert "rolled back" in str(card["data"])


@pytest.mark.parametrize("minutes", ["10", "30", "60", "1440"])
def test_mute_for_a_while(incident: Incident, press: Any, minutes: str) -> None:
    assert toast(press(signed_value(incident, "mute"), option=minutes)) == ("success", "Muted")
    incident.refresh_from_db()
    assert incident.is_muted


@pytest.mark.parametrize("option", ["", "11", "-10", "1e9", "x"])
def test_only_the_offered_times_can_be_chosen(incident: Incident, press: Any, option: str) -> None:
    assert toast(press(signed_value(incident, "mute"), option=option)) == ("warning", "Choose for how long.")
    assert Incident.objects.get().muted_until is None


def test_a_false_alarm_wants_a_reason(incident: Incident, press: Any) -> None:
    value = signed_value(incident, "false_alarm")
    assert toast(press(value))[0] == "warning"
    assert toast(press(value, **typed("a test"))) == ("success", "Reported as a false alarm")
    resolved = Incident.objects.get()
    assert (resolved.status, resolved.false_alarm, resolved.resolution_note) == ("resolved", True, "a test")


def test_a_note_wants_words(incident: Incident, press: Any) -> None:
    value = signed_value(incident, "note")
    assert toast(press(value, **typed("  "))) == ("warning", "Write the note first.")
    assert toast(press(value, **typed("db slow"))) == ("success", "Noted")
    assert incident.timeline.get(kind="note").text == "db slow"


def test_reopen(incident: Incident, press: Any) -> None:
    incident.resolve(OPERATOR)
    assert toast(press(signed_value(incident, "reopen"))) == ("success", "Open again")


# --- Twice, late, by two ----------------------------------------------------------------------------------------
def test_of_two_presses_one_wins_and_the_other_is_told_who(bot: Bot, incident: Incident, press: Any) -> None:
    people.remember(bot, dict([ADA]))
    press(signed_value(incident, "ack"))
    kind, said = toast(press(signed_value(incident, "ack"), by=LIN[0]))
    assert (kind, said.split(" at ")[0]) == ("info", f"{incident} was taken by Ada")
    assert kinds(incident).count("acknowledged") == 1


def test_a_double_click_notes_once(incident: Incident, press: Any) -> None:
    for _ in range(2):
        assert toast(press(signed_value(incident, "note"), **typed("db slow"))) == ("success", "Noted")
    assert kinds(incident).count("note") == 1


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_clicks_at_the_same_moment_note_once(incident: Incident, press: Any) -> None:
    value = signed_value(incident, "note")

    def click(_number: int) -> Any:
        try:
            return press(value, **typed("db slow"))
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        assert {toast(reply) for reply in pool.map(click, range(8))} == {("success", "Noted")}
    assert kinds(incident).count("note") == 1


@pytest.mark.parametrize("action", ["ack", "mute", "resolve", "false_alarm"])
def test_a_press_on_a_resolved_incident_says_who_and_when(
    incident: Incident, press: Any, action: str
) -> None:
    incident.resolve(Actor(Via.ADMIN, "Grace"))
    reply = press(signed_value(incident, action), option="10", **typed("x"))
    assert (reply["toast"]["type"], toast(reply)[1].split(" at ")[0]) == (
        "info",
        f"{incident} was resolved by Grace",
    )
    assert reply["card"]["data"]["header"]["template"] == "green"


def test_reopening_twice_says_that_it_is_open(incident: Incident, press: Any) -> None:
    assert toast(press(signed_value(incident, "reopen"))) == ("info", f"{incident} is open")


def test_the_toast_comes_in_the_languages_that_feishu_chooses_from(incident: Incident, press: Any) -> None:
    assert set(press(signed_value(incident, "ack"))["toast"]["i18n"]) == {"zh_cn", "en_us"}


# --- Refused ------------------------------------------------------------------------------------------------
def refused(incident: Incident, reply: Any) -> bool:
    """Refused with a toast, nothing changed, and written down."""
    unchanged = Incident.objects.get(pk=incident.pk).status == "open" and "card" not in reply
    return reply["toast"]["type"] == "error" and unchanged and "refused" in kinds(incident)


def test_a_forged_signature(incident: Incident, press: Any) -> None:
    assert refused(incident, press(signed_value(incident, "ack") | {"signature": "0" * 64}))


@pytest.mark.parametrize(
    "change", [{"action": "resolve"}, {"action": "destroy"}, {"signature": None}, {"action": []}]
)
def test_a_value_that_was_changed(incident: Incident, press: Any, change: dict[str, Any]) -> None:
    assert refused(incident, press(signed_value(incident, "ack") | change))


def test_the_value_of_another_incident(bot: Bot, incident: Incident, press: Any) -> None:
    other = Incident.objects.open(bot=bot, title="Other", by=OPERATOR)
    value = signed_value(incident, "ack")
    assert refused(other, press(value | {"incident": str(other.pk)}))


def test_a_card_that_was_forwarded_to_another_chat(incident: Incident, press: Any) -> None:
    assert refused(incident, press(signed_value(incident, "ack"), chat_id="oc_elsewhere"))


def test_a_stranger(incident: Incident, press: Any) -> None:
    assert refused(incident, press(signed_value(incident, "ack"), by=STRANGER))


def test_somebody_who_has_left(incident: Incident, press: Any, push: Any, bot: Bot) -> None:
    left = member_joined(ADA)
    left["header"]["event_type"] = "im.chat.member.user.deleted_v1"
    push(bot, left)
    assert refused(incident, press(signed_value(incident, "ack")))


@pytest.mark.parametrize(
    "body", [member_joined((STRANGER, "Sun")), message_received(sender=(STRANGER, "Sun"))]
)
def test_whoever_joined_or_wrote_is_no_stranger(
    incident: Incident, press: Any, push: Any, bot: Bot, body: Any
) -> None:
    push(bot, body)
    assert toast(press(signed_value(incident, "ack"), by=STRANGER))[0] == "success"


@pytest.mark.parametrize("number", ["0", "999999", "²", "9" * 40, "-1", "1 OR 1", "", None, [], {}])
def test_an_incident_that_is_none(incident: Incident, press: Any, number: Any) -> None:
    reply = press({"incident": number, "action": "ack", "signature": "x"})
    assert reply["toast"]["type"] == "error"


@pytest.mark.parametrize("value", [{}, {"action": "ack"}, "text", None, []])
def test_a_card_of_somebody_else_is_not_ours(incident: Incident, press: Any, value: Any) -> None:
    assert press(value) == {}


def test_a_value_opens_one_action_in_one_chat_only(incident: Incident) -> None:
    for action in ACTIONS:
        value = signed_value(incident, action)
        assert is_signed(value, CHAT_ID)
        assert not is_signed(value, "oc_elsewhere")
        assert not any(is_signed(value | {"action": one}, CHAT_ID) for one in ACTIONS if one != action)


def test_somebody_without_a_name_is_asked_for(incident: Incident, press: Any) -> None:
    press(signed_value(incident, "ack"))
    assert [row.arguments["open_id"] for row in OutboxItem.objects.filter(call="get_person")] == [ADA[0]]


# --- In Feishu ------------------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_every_control_of_the_card_works(bot: Bot, feishu: Feishu) -> None:
    incident = running(bot, feishu)
    card = feishu.cards(incident.chat_id)[0]["message_id"]
    mute = "body.elements.1.columns.1.elements.0"
    presses: list[tuple[str, dict[str, Any]]] = [
        ("ack_button", {}),
        ("note_button", typed("db slow")),
        ("resolve_button", typed("done")),
        ("reopen_button", {}),
        (mute, {"option": "30"}),
        ("false_alarm_button", typed("a test")),
    ]
    for element, more in presses:
        told = feishu.press(card, ADA[0], element, **more)
        assert (told["status"], told["answer"]["toast"]["type"]) == ("ok", "success"), (element, told)
        work()
    wanted = ["acknowledged", "note", "resolved", "reopened", "muted", "false_alarm"]
    assert [kind for kind in kinds(incident) if kind in wanted] == wanted


# --- Keys ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kept", [True, False])
def test_a_card_signed_with_a_former_secret_key_works_while_that_is_a_fallback(
    incident: Incident, settings: Any, kept: bool
) -> None:
    value = signed_value(incident, "ack")
    former, settings.SECRET_KEY = settings.SECRET_KEY, "the new key"
    settings.SECRET_KEY_FALLBACKS = [former] if kept else []
    assert is_signed(value, incident.chat_id) is kept
