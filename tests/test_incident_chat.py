"""What people write, and what happens, in an incident's chat: commands, and what the timeline makes of it."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from events.models import Bot, Event, OutboxItem
from incidents.commands import Command, parse
from incidents.models import Actor, Incident, Responder, StepError, TimelineEntry, Via
from incidents.phrases import duration
from tests.feishu_events import ADA, CHAT_ID, LIN, ids, member_joined, message_received, v2
from tests.incident_world import (
    BOT_OPEN_ID,
    Feishu,
    answers,
    kinds,
    lines,
    of_type,
    running,
    with_mentions,
    work,
)

pytest_plugins = ["tests.incident_fixtures"]
pytestmark = pytest.mark.django_db

OPERATOR = Actor(Via.ADMIN, "operator")
US = (BOT_OPEN_ID, "OpsBot", "bot")
SUN = ("ou_sun", "Sun", "user")


def command_of(
    text: str, *people: tuple[str, str, str], in_incident: bool = True, **message: Any
) -> Command | None:
    body = with_mentions(message_received(text, **message), *people)
    event = Event(bot=Bot(name="OpsBot", open_id=BOT_OPEN_ID), body=body)
    return parse(event, event.payload["message"], in_incident=in_incident)


def name_of(text: str, *people: tuple[str, str, str], **how: Any) -> str | None:
    command = command_of(text, *people, **how)
    return command.name if command else None


# --- What a command is --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("/solve", "solve"),
        ("/SOLVE done", "solve"),
        ("  /solve", "solve"),
        ("／解决　已回滚", "solve"),
        ("/跟进", "ack"),
        ("/帮助", "help"),
        ("/屏蔽 30分钟", "mute"),
        ("/note\nline one", "note"),
        ("/solve\u00a0done", "solve"),
        ("/whatever", ""),
        ("/solved", ""),
        ("try /solve", None),
        ("solve", None),
        ("/", None),
        ("/ solve", None),
        ("/var/log is full", None),
        ("http://x/solve", None),
        ("//solve", None),
        ("", None),
    ],
)
def test_only_the_first_word_is_a_command(text: str, name: str | None) -> None:
    assert name_of(text) == name


def test_the_mention_of_the_bot_may_stand_first() -> None:
    assert name_of("@_user_1 /solve", US) == "solve"
    assert name_of("@_user_1/solve", US) == "solve"
    assert name_of("@_user_1　／解决", US, in_incident=False) == "solve"


def test_outside_an_incident_only_what_is_said_to_the_bot_is_a_command() -> None:
    assert name_of("/help", in_incident=False) is None
    assert name_of("@_user_1 /help", ("ou_other", "Other", "bot"), in_incident=False) is None
    assert name_of("/help", in_incident=False, chat_type="p2p") == "help"


def test_the_tenth_mention_is_not_the_first_with_a_nought() -> None:
    people = [(f"ou_{number}", f"P{number}", "user") for number in range(1, 11)]
    command = command_of("/invite " + " ".join(f"@_user_{number}" for number in range(1, 11)), *people)
    assert command == Command("invite", "", tuple(one[0] for one in people))


def test_a_note_keeps_its_lines() -> None:
    assert command_of("/note first\n second") == Command("note", "first\n second", ())


def test_a_post_is_a_command_too() -> None:
    post = {"title": "", "content": [[{"tag": "text", "text": "/note a"}, {"tag": "text", "text": " b"}]]}
    body = of_type(message_received(), "post", post)
    event = Event(bot=Bot(), body=body)
    assert parse(event, event.payload["message"], in_incident=True) == Command("note", "a b", ())


def test_another_bot_commands_nothing() -> None:
    body = message_received("/solve")
    body["event"]["sender"]["sender_type"] = "bot"
    event = Event(bot=Bot(), body=body)
    assert parse(event, event.payload["message"], in_incident=True) is None


# --- What the commands do -----------------------------------------------------------------------------------
def test_ack_takes_the_incident_and_answers_the_message(incident: Incident, push: Any, bot: Bot) -> None:
    push(bot, message_received("/ack", message_id="om_1"))
    incident.refresh_from_db()
    assert (incident.status, incident.acknowledged_by_open_id) == ("acknowledged", ADA[0])
    reply = OutboxItem.objects.get(call="reply_message")
    assert (reply.arguments["message_id"], reply.target) == ("om_1", CHAT_ID)
    assert lines() == [f'<at user_id="{ADA[0]}"></at> has taken it']


def test_the_second_is_told_who_was_first(incident: Incident, say: Any) -> None:
    say("/ack")
    assert say("/ack", sender=LIN).startswith(f'{incident} was taken by <at user_id="{ADA[0]}"></at> at ')
    say("/solve")
    assert say("/solve", sender=LIN).startswith(
        f'{incident} was resolved by <at user_id="{ADA[0]}"></at> at '
    )
    assert kinds(incident).count("resolved") == 1


def test_solve_keeps_the_note(incident: Incident, say: Any) -> None:
    assert say("/solve rolled back to 1.2") == f"{incident} is resolved."
    incident.refresh_from_db()
    assert (incident.status, incident.resolution_note) == ("resolved", "rolled back to 1.2")


def test_reopen_wants_a_reason(incident: Incident, say: Any) -> None:
    incident.resolve(OPERATOR)
    assert say("/reopen") == "Write why: /reopen it fails again"
    assert say("/reopen it fails again") == f"{incident} is open again."


def test_reopening_what_is_open_says_so(incident: Incident, say: Any) -> None:
    assert say("/reopen again") == f"{incident} is open"


def test_severity_takes_one_of_four(incident: Incident, say: Any) -> None:
    assert say("/severity p0") == f"{incident} is P0 now."
    assert say("/severity P7").startswith("Write one of")


def test_lead_names_one_person_and_brings_them_in(incident: Incident, push: Any, bot: Bot) -> None:
    push(bot, with_mentions(message_received("/lead @_user_1"), SUN))
    incident.refresh_from_db()
    assert incident.lead_open_id == "ou_sun"
    assert OutboxItem.objects.get(call="add_members").arguments["open_ids"] == ["ou_sun"]


def test_lead_without_a_mention_says_how(incident: Incident, say: Any) -> None:
    assert say("/lead") == "Mention one person: /lead @x"


def test_invite_adds_everyone_who_is_mentioned(incident: Incident, push: Any, bot: Bot) -> None:
    push(
        bot,
        with_mentions(
            message_received("@_user_3 /invite @_user_1 @_user_2"), SUN, ("ou_kim", "Kim", "user"), US
        ),
    )
    assert OutboxItem.objects.get(call="add_members").arguments["open_ids"] == ["ou_sun", "ou_kim"]


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("30", 30), ("30m", 30), ("30 min", 30), ("2h", 120), ("２小时", 120), ("1d", 1440), ("45 分钟", 45),
        ("3天", 4320), ("", 0), ("0", 0), ("-5m", 0), ("8d", 0), ("soon", 0), ("1.5h", 0), ("99999m", 0),
    ],
)  # fmt: skip
def test_mute_formats(incident: Incident, say: Any, text: str, minutes: int) -> None:
    answer = say(f"/mute {text}")
    assert answer == (
        f"Quiet for {duration(timedelta(minutes=minutes))}."
        if minutes
        else "Write for how long, up to 7 days: /mute 30m, /mute 2h"
    )
    incident.refresh_from_db()
    assert incident.is_muted == bool(minutes)


def test_note_and_timeline(incident: Incident, say: Any) -> None:
    assert say('/note <at user_id="all"></at> db is slow') == "Noted."
    answer = say("/timeline").splitlines()
    assert answer[0].endswith("opened operator Payments fail")
    assert answer[1].endswith('note &lt;at user_id="all"&gt;&lt;/at&gt; db is slow')


def test_an_unknown_command_answers_with_help(incident: Incident, say: Any) -> None:
    assert say("/solved") == say("/help")
    assert "/incident title" in answers()[0]


def test_help_is_in_the_language_of_the_chat(incident: Incident, say: Any, settings: Any) -> None:
    settings.LANGUAGE_CODE = "zh-hans"
    assert "/ack" in say("/帮助")


def test_a_command_in_a_chat_without_an_incident_says_so(bot: Bot, english: None, push: Any) -> None:
    push(bot, with_mentions(message_received("@_user_1 /ack"), (BOT_OPEN_ID, bot.name, "bot")))
    assert answers() == ["This chat has no incident. Open one with: /incident title"]


def test_an_incident_is_opened_from_the_conversation_with_the_bot(bot: Bot, english: None, push: Any) -> None:
    push(bot, message_received("/incident payments\nfail", chat_type="p2p", chat_id="oc_p2p"))
    incident = Incident.objects.get()
    assert (incident.title, incident.source, incident.opened_by_open_id) == (
        "payments fail",
        "command",
        ADA[0],
    )
    assert OutboxItem.objects.get(call="create_chat").arguments["open_ids"] == [ADA[0]]


@pytest.mark.parametrize(
    ("said", "title", "drill"),
    [
        ("演练：支付失败", "支付失败", True),
        ("Drill: payments fail", "payments fail", True),
        ("drill press fails", "drill press fails", False),
    ],
)
def test_a_drill_is_opened_by_saying_so(
    bot: Bot, english: None, push: Any, said: str, title: str, drill: bool
) -> None:
    push(bot, message_received(f"/incident {said}", chat_type="p2p"))
    assert Incident.objects.values_list("title", "drill").get() == (title, drill)


@pytest.mark.parametrize(("allowed", "count"), [([], 1), (["oc_test"], 1), (["oc_ops"], 0)])
def test_a_setting_says_from_which_chats(
    bot: Bot, english: None, push: Any, settings: Any, allowed: list[str], count: int
) -> None:
    settings.INCIDENT_OPENING_CHATS = allowed
    push(bot, with_mentions(message_received("@_user_1 /incident x"), (BOT_OPEN_ID, bot.name, "bot")))
    assert Incident.objects.count() == count


@pytest.mark.parametrize("text", ["/incident", "/incident \u202e\u200b", "/incident drill:"])
def test_an_incident_without_a_title_is_not_opened(bot: Bot, english: None, push: Any, text: str) -> None:
    push(bot, message_received(text, chat_type="p2p"))
    assert answers() == ["Write what is broken: /incident payments fail"]
    assert not Incident.objects.exists()


def test_a_message_that_comes_twice_is_obeyed_once(incident: Incident, push: Any, bot: Bot) -> None:
    for event_id in ("ev_1", "ev_2"):
        push(bot, message_received("/note x", message_id="om_1", event_id=event_id))
    assert kinds(incident).count("note") == 1


# --- The timeline --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kind", "content", "text"),
    [
        ("text", {"text": "hi @_user_1"}, "hi @Sun"),
        (
            "post",
            {"title": "T", "content": [[{"tag": "at", "user_id": "@_user_1"}, {"tag": "img"}]]},
            "T\n@Sun[image]",
        ),
        ("post", {"content": "nonsense"}, "[post]"),
        ("image", {"image_key": "img_1"}, "[image]"),
        ("file", {"file_name": "a.log"}, "[file] a.log"),
        ("interactive", {"title": "CPU 99 %"}, "[card] CPU 99 %"),
        (
            "interactive",
            {
                "title": "CPU 99 %",
                "elements": [
                    [{"tag": "text", "text": "host db-3"}, {"tag": "text", "text": "since 03:12"}],
                    [{"tag": "button", "text": "Silence", "type": "primary"}],
                    "?",
                ],
            },
            "[card] CPU 99 %\nhost db-3 since 03:12",
        ),
        ("vote", {}, "[vote]"),
        ("text", ["no object"], "[text]"),
    ],
)
def test_messages_feed_the_timeline(
    incident: Incident, push: Any, bot: Bot, kind: str, content: Any, text: str
) -> None:
    push(bot, of_type(with_mentions(message_received(message_id="om_1"), SUN), kind, content))
    entry = incident.timeline.get(kind="message")
    assert (entry.text, entry.open_id, entry.message_id) == (text, ADA[0], "om_1")


def test_half_a_character_in_a_message_keeps_it_out_of_no_timeline(
    incident: Incident, push: Any, bot: Bot
) -> None:
    body = message_received()
    body["event"]["message"]["content"] = json.dumps({"text": "cut \ud83d \0"})
    push(bot, body)
    assert incident.timeline.get(kind="message").text == "cut ? \ufffd"


def test_an_edited_message_changes_its_entry_and_commands_nothing(
    incident: Incident, push: Any, bot: Bot
) -> None:
    push(bot, message_received("/note first", message_id="om_1"))
    edited = message_received("/note second", message_id="om_1")
    edited["event"]["message"]["update_time"] = "1999999999999"
    push(bot, edited)
    assert [entry.text for entry in incident.timeline.filter(message_id="om_1")] == ["/note second"]
    assert [entry.text for entry in incident.timeline.filter(kind="note")] == ["first"]


def test_a_recalled_message_is_struck_out(incident: Incident, push: Any, bot: Bot) -> None:
    push(bot, message_received("oops", message_id="om_1"))
    push(bot, v2("im.message.recalled_v1", {"message_id": "om_1", "chat_id": CHAT_ID}))
    assert incident.timeline.get(message_id="om_1").recalled


def test_a_recall_that_overtakes_its_message_strikes_it_out_all_the_same(
    incident: Incident, push: Any, bot: Bot
) -> None:
    push(bot, v2("im.message.recalled_v1", {"message_id": "om_1", "chat_id": CHAT_ID}))
    push(bot, message_received("the password is", message_id="om_1"))
    push(bot, message_received("and another one", message_id="om_2"))
    assert incident.timeline.get(message_id="om_1").recalled
    assert not incident.timeline.get(message_id="om_2").recalled


def test_an_edit_that_overtakes_its_message_is_the_last_word(incident: Incident, push: Any, bot: Bot) -> None:
    edited = message_received("after", message_id="om_1")
    edited["event"]["message"]["update_time"] = str(int(edited["event"]["message"]["create_time"]) + 1000)
    push(bot, edited)
    push(bot, message_received("before", message_id="om_1"))
    assert [entry.text for entry in incident.timeline.filter(message_id="om_1")] == ["after"]


@pytest.mark.parametrize(("emoji", "important"), [("Pin", True), ("PIN", True), ("OK", False)])
def test_the_pin_emoji_marks_a_key_entry(
    incident: Incident, push: Any, bot: Bot, emoji: str, important: bool
) -> None:
    push(bot, message_received("root cause found", message_id="om_1"))
    reaction = {"message_id": "om_1", "reaction_type": {"emoji_type": emoji}, "user_id": ids(LIN[0])}
    push(bot, v2("im.message.reaction.created_v1", reaction))
    assert incident.timeline.get(message_id="om_1").important is important


def test_who_joins_before_we_know_the_chats_id_is_an_entry_and_not_greeted(push: Any, bot: Bot) -> None:
    incident = Incident.objects.open(bot=bot, title="Payments fail", by=OPERATOR)
    push(bot, member_joined(LIN, chat_id="oc_being_made", chat_name="[P2] Payments fail"))
    push(bot, member_joined(ADA, chat_id="oc_other", chat_name="[P2] Another one"))
    assert [entry.open_id for entry in incident.timeline.filter(kind="joined")] == [LIN[0]]
    assert Event.objects.get(chat_id="oc_being_made").summary == f"in the timeline of {incident}"
    assert not OutboxItem.objects.filter(target="oc_being_made").exists()


def test_fifty_who_join_at_once_are_named_with_as_many_queries_as_two(
    incident: Incident, push: Any, bot: Bot
) -> None:
    counts = []
    for first, count in ((100, 2), (200, 50)):
        people = [(f"ou_{number}", "x" * 150) for number in range(first, first + count)]
        for open_id, _name in people:
            incident.write("note", Actor(Via.BUTTON, open_id=open_id))
        with CaptureQueriesContext(connection) as queries:
            push(bot, member_joined(*people))
        reads = [one["sql"] for one in queries if str(one["sql"]).startswith("SELECT")]
        counts.append(len([sql for sql in reads if "DISTINCT" in sql]))
        assert not incident.timeline.filter(kind="note", person="").exists()
    assert counts == [4, 4]


def test_those_who_join_and_leave_are_entries_and_are_not_greeted(
    incident: Incident, push: Any, bot: Bot
) -> None:
    push(bot, member_joined(("ou_sun", "Sun"), ("ou_kim", "Kim")))
    left = member_joined(("ou_sun", "Sun"))
    left["header"]["event_type"] = "im.chat.member.user.deleted_v1"
    push(bot, left)
    entries = incident.timeline.filter(kind__in=("joined", "left")).order_by("pk")
    assert [(one.kind, one.person) for one in entries] == [
        ("joined", "Sun"),
        ("joined", "Kim"),
        ("left", "Sun"),
    ]
    assert not OutboxItem.objects.filter(call="send_message").exists()


def renamed(name: str, by: str) -> dict[str, Any]:
    change = {"chat_id": CHAT_ID, "operator_id": ids(by), "after_change": {"name": name}, "before_change": {}}
    return v2("im.chat.updated_v1", change)


def test_a_new_name_by_a_person_is_an_entry_and_ours_is_not(incident: Incident, push: Any, bot: Bot) -> None:
    push(bot, renamed("War room", LIN[0]))
    push(bot, renamed("[Solved] Payments fail", BOT_OPEN_ID))
    assert [entry.text for entry in incident.timeline.filter(kind="chat")] == ["War room"]


def test_our_rename_is_known_even_when_the_next_is_on_its_way(
    incident: Incident, push: Any, bot: Bot
) -> None:
    Bot.objects.update(open_id="")
    incident.acknowledge(OPERATOR)
    OutboxItem.objects.filter(call="rename_chat").update(status=OutboxItem.Status.SENT)
    incident.resolve(OPERATOR)
    push(bot, renamed("[In progress] Payments fail", BOT_OPEN_ID))
    assert not incident.timeline.filter(kind="chat").exists()


def gone(event_type: str) -> dict[str, Any]:
    return v2(event_type, {"chat_id": CHAT_ID, "operator_id": ids(LIN[0]), "name": "x"})


@pytest.mark.parametrize(
    ("event_type", "said"),
    [
        ("im.chat.disbanded_v1", "The chat was dissolved"),
        ("im.chat.member.bot.deleted_v1", "The bot was removed from the chat"),
    ],
)
def test_a_chat_that_is_gone_gets_nothing_more(
    incident: Incident, push: Any, bot: Bot, event_type: str, said: str
) -> None:
    incident.acknowledge(OPERATOR)
    push(bot, gone(event_type))
    push(bot, gone(event_type))
    assert [entry.text for entry in incident.timeline.filter(kind="chat")] == [said]
    assert set(OutboxItem.objects.values_list("status", flat=True)) == {"failed"}
    incident.refresh_from_db()
    before = OutboxItem.objects.count()
    incident.resolve(OPERATOR)
    assert (OutboxItem.objects.count(), Incident.objects.get().status) == (before, "resolved")


def test_the_bot_that_comes_back_tells_the_present_state(incident: Incident, push: Any, bot: Bot) -> None:
    push(bot, gone("im.chat.member.bot.deleted_v1"))
    incident.refresh_from_db()
    incident.resolve(OPERATOR)
    push(bot, gone("im.chat.member.bot.added_v1"))
    queued = {row.call: row.arguments for row in OutboxItem.objects.filter(status="pending")}
    assert queued["rename_chat"]["name"] == "[Solved] Payments fail"
    assert '"template": "green"' in queued["patch_card"]["content"].replace('":"', '": "')


# --- The model's verbs ----------------------------------------------------------------------------------------
def test_every_change_names_the_person_and_the_way(incident: Incident) -> None:
    incident.acknowledge(Actor(Via.API, "deploy key"))
    entry = TimelineEntry.objects.filter(incident=incident).last()
    assert (entry.kind, entry.via, entry.person) == ("acknowledged", "api", "deploy key")


def test_a_step_that_is_not_possible_changes_nothing(incident: Incident) -> None:
    incident.resolve(OPERATOR)
    before = kinds(incident), OutboxItem.objects.count()
    for step in (incident.acknowledge, incident.resolve):
        with pytest.raises(StepError):
            step(OPERATOR)
    assert (kinds(incident), OutboxItem.objects.count()) == before


@pytest.mark.django_db(transaction=True)
def test_a_conversation_in_a_real_chat(bot: Bot, feishu: Feishu) -> None:
    incident = running(bot, feishu)
    message_id = feishu.say(incident.chat_id, ADA[0], "@OpsBot ／跟进")
    work()
    answer = next(one for one in feishu.messages(incident.chat_id) if one["parent_id"] == message_id)
    assert answer["content"]["text"] == f"{incident} is yours. Good luck!"
    assert feishu.chat(incident.chat_id)["name"] == "[In progress] Payments fail"
    feishu.quiet()
    assert not incident.timeline.filter(kind="chat").exists()


# --- Written on without a space ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("/解决已回滚", "已回滚"),
        ("/解决已回滚到V1.2 了", "已回滚到V1.2 了"),
        ("/solve已回滚", "已回滚"),
        ("/解决，已回滚", "已回滚"),
        ("/解决了", ""),
        ("/已解决了", ""),
        ("/Solve: Rolled back", "Rolled back"),
    ],
)
def test_what_is_written_on_without_a_space_is_the_note(
    incident: Incident, say: Any, text: str, note: str
) -> None:
    assert say(text) == f"{incident} is resolved."
    incident.refresh_from_db()
    assert (incident.status, incident.resolution_note) == ("resolved", note)


@pytest.mark.parametrize(
    "text", ["/解决方案", "/解决方案是什么", "/解决不了", "/解决了吗", "/solved", "/解决者", "/跟进一下"]
)
def test_a_word_that_only_begins_like_a_command_gets_help(incident: Incident, say: Any, text: str) -> None:
    assert say(text).startswith("Commands: ")
    incident.refresh_from_db()
    assert incident.status == "open"


def test_a_path_is_no_command(incident: Incident, say: Any) -> None:
    assert say("/var/log is full") == ""


def test_a_severity_and_a_time_may_be_written_on(incident: Incident, say: Any) -> None:
    assert say("/级别P0") == f"{incident} is P0 now."
    assert say("/屏蔽30分钟") == "Quiet for 30 min."


# --- Two at once -------------------------------------------------------------------------------------------------
def test_of_two_who_set_the_severity_one_wins_and_the_other_is_told_who(incident: Incident) -> None:
    from incidents.names import who_was_first

    late = Incident.objects.get(pk=incident.pk)
    incident.change_severity(Actor(Via.ADMIN, "Grace"), "P0")
    with pytest.raises(StepError) as refused:
        late.change_severity(Actor(Via.ADMIN, "Lin"), "P3")
    words = who_was_first(refused.value)
    assert words.startswith(f"Grace has set the severity of {incident} to P0, at ")
    assert Incident.objects.get().severity == "P0"


def test_of_two_who_name_the_lead_one_wins_and_the_other_is_told_who(incident: Incident) -> None:
    from incidents.names import who_was_first

    late = Incident.objects.get(pk=incident.pk)
    incident.assign_lead(Actor(Via.ADMIN, "Grace"), ADA[0])
    with pytest.raises(StepError) as refused:
        late.assign_lead(Actor(Via.ADMIN, "Lin"), ADA[0])
    assert who_was_first(refused.value).startswith(f"Grace has named the lead of {incident}, at ")


# --- Members who need approval -----------------------------------------------------------------------------------
def test_somebody_whom_the_owner_must_approve_waits_and_is_added_when_he_joins(
    bot: Bot, incident: Incident, push: Any
) -> None:
    from events.models import OutboxItem
    from incidents import steps

    incident.add_responders(Actor(Via.ADMIN, "Boss"), [Responder(open_id="ou_new")])
    row = OutboxItem.objects.get(call="add_members")
    row.status, row.result = "sent", {"pending_approval_id_list": ["ou_new"]}
    row.save()
    steps.STEPS["incident.members"](row)
    person = incident.responders.get(open_id="ou_new")
    assert (person.status, person.get_status_display()) == ("approval", "waits for approval")
    assert not incident.timeline.filter(text__startswith="Could not be added").exists()
    assert incident.timeline.filter(text__startswith="Waits for approval: ou_new").exists()
    push(bot, member_joined(("ou_new", "New")))
    person.refresh_from_db()
    assert (person.status, person.error) == ("added", "")


def test_a_message_nested_too_deeply_is_an_entry_without_words(
    incident: Incident, push: Any, bot: Bot
) -> None:
    body = message_received(message_id="om_1")
    body["event"]["message"] |= {"message_type": "post", "content": "[" * 20_000}
    push(bot, body)
    assert incident.timeline.get(message_id="om_1").text == "[post]"
