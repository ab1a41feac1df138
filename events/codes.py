"""Feishu's error codes: how the worker reacts to each, and what the operator reads. Source: feishu-platform.md 4.7.

The meaning of a code depends on the endpoint; this table is for sending messages and for chats.
"""

from dataclasses import dataclass
from enum import Enum

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Text = str | Promise


class Reaction(Enum):
    RETRY = "retry"  # passing: try again, later
    TOKEN = "token"  # the access token is dead: fetch a new one, once  # noqa: S105
    APP = "app"  # the operator must fix the app
    TARGET = "target"  # this chat or person cannot be reached
    CONTENT = "content"  # the message itself is not acceptable
    GONE = "gone"  # the message that was to be changed no longer can be


ADVICE: dict[Reaction, Text] = {
    Reaction.RETRY: _(
        "Feishu was busy or did not answer. It was tried again until the tries ran out: retry it later."
    ),
    Reaction.TOKEN: _("Feishu refuses the bot's access token. Check the App ID and App Secret, then retry."),
    Reaction.APP: _("Correct the app in Feishu's developer console, publish a version, then retry."),
    Reaction.TARGET: _(
        "The chat or person cannot be reached by this bot. Put the bot into the chat, then retry."
    ),
    Reaction.CONTENT: _(
        "Feishu does not accept the content. Correct the template; the next message uses it."
    ),
    Reaction.GONE: _("The message to change no longer exists or is too old to change."),
}
UNKNOWN_ADVICE = _("Look the code up in Feishu's documentation; the log id helps their support.")

MEANINGS: dict[Reaction, dict[int, Text]] = {
    Reaction.RETRY: {
        99991400: _("too many calls at once"),
        230020: _("too many messages to this chat or person at once"),
        11232: _("too many messages at once"),
        11233: _("too many messages to this chat at once"),
        11247: _("too many messages to this person at once"),
        232019: _("too many changes to this chat at once"),
        230047: _("too many changes to this message at once"),
        230049: _("an equal message is being sent at this moment"),
        232068: _("the chat is still being created"),
        2200: _("an error inside Feishu"),
        1500: _("an error inside Feishu"),
        55001: _("an error inside Feishu"),
        232096: _("an error inside Feishu"),
    },
    Reaction.TOKEN: {
        99991661: _("the access token is missing"),
        99991663: _("the access token has expired"),
        99991664: _("the access token is invalid"),
        99991665: _("the access token is invalid"),
        99991668: _("the access token is invalid"),
        99991671: _("the access token is malformed"),
        99991677: _("the access token has expired"),
    },
    Reaction.APP: {
        99991672: _("the app lacks a permission scope"),
        99991679: _("the app lacks a permission scope"),
        99991662: _("the app is disabled"),
        99991673: _("the app is not installed or not available"),
        99991401: _("this server's address is not on the app's IP allow-list"),
        99991403: _("the monthly call quota is used up"),
        10003: _("the App ID or App Secret is wrong"),
        10014: _("the App Secret is wrong"),
        10015: _("the App Secret is wrong"),
        230006: _("the app's bot ability is off"),
        232025: _("the app's bot ability is off"),
        234007: _("the app's bot ability is off"),
        232034: _("the app is not installed"),
        230027: _("the app lacks a permission scope"),
    },
    Reaction.TARGET: {
        230002: _("the bot is not in the chat"),
        232011: _("the bot is not in the chat"),
        232009: _("the chat was dissolved"),
        232006: _("the chat does not exist"),
        230013: _("the person is outside the app's availability range, or has left"),
        230029: _("the person has left the company"),
        230034: _("the receiver's id is invalid"),
        99992351: _("the receiver's id is invalid"),
        99992360: _("the receiver's id is invalid"),
        99992364: _("the receiver's id is invalid"),
        99992361: _("the open_id belongs to another app"),
        230035: _("the bot may not speak in this chat"),
        230038: _("the person belongs to another tenant"),
        230053: _("the person has stopped the bot's messages"),
        230054: _("this kind of chat does not allow it"),
        230075: _("the time for changes is over"),
        231203: _("the chat is confidential: its messages may not be read"),
    },
    Reaction.CONTENT: {
        230001: _("a parameter is invalid"),
        230022: _("the text contains sensitive words"),
        230028: _("the text did not pass the data-loss check (phone numbers, mail addresses?)"),
        230025: _("the message is too long"),
        230055: _("the message type does not fit its content"),
        230017: _("a file or image belongs to another app"),
        200570: _("an image belongs to another app"),
        230099: _("the card cannot be created"),
        230015: _("the message cannot be shared here"),
        230018: _("the group's settings do not allow it"),
        230019: _("the message to answer does not exist"),
        230036: _("the message cannot be shared here"),
    },
    Reaction.GONE: {
        230011: _("the message was recalled"),
        230110: _("the message was deleted"),
        230111: _("the message destroyed itself"),
        230031: _("the message is older than 14 days"),
    },
}
REACTIONS = {code: reaction for reaction, codes in MEANINGS.items() for code in codes}
TOO_OFTEN = 99991400
# Refusals of whatever the app asks: they say nothing about the call. A missing scope is one of a few calls only.
_ABOUT_CREDENTIALS = frozenset({10003, 10014, 10015})
_ABOUT_THE_APP = _ABOUT_CREDENTIALS | {
    99991662, 99991673, 99991401, 99991403, 232034, 230006, 232025, 234007,
}  # fmt: skip
_CHAT_GONE = frozenset({230002, 232011, 232009})
# Of a call that names its receiver; elsewhere these may be about one of many people.
_RECEIVER_GONE = frozenset(
    {232006, 230013, 230029, 230034, 230038, 230053, 99992351, 99992360, 99992361, 99992364}
)


def is_about_the_app(code: int | None, *, has_many_tenants: bool) -> bool:
    """Whether every call of the app would be refused with this code.

    One of a store app's tenants may have taken it away, or used up its calls: that says nothing about the others.
    """
    return code in (_ABOUT_CREDENTIALS if has_many_tenants else _ABOUT_THE_APP)


def is_target_gone(call: str, code: int | None) -> bool:
    """Whether nothing at all can be sent to the call's target any more."""
    return code in _CHAT_GONE or (call == "send_message" and code in _RECEIVER_GONE)


@dataclass(frozen=True)
class Explanation:
    """A code in words: what it means and what to do."""

    meaning: Text
    advice: Text


def reaction_to(code: int | None, message: str, http_status: int | None) -> Reaction | None:
    """How to react to an answer; None for a code that is not known: a refusal for good."""
    if code == 230099 and "card action is lock" in message:
        return Reaction.RETRY
    if code in REACTIONS:
        return REACTIONS[code]
    if http_status is None or http_status >= 500 or http_status == 429:
        return Reaction.RETRY
    return None


def in_words(code: int | None) -> str:
    """A code with its meaning, as it stands in a sentence."""
    return f"{'' if code is None else f'{code} '}{explain(code).meaning}"


def explain(code: int | None) -> Explanation:
    """What an operator should know about a code; code None means that Feishu gave no answer."""
    if code is None:
        return Explanation(_("Feishu gave no usable answer"), ADVICE[Reaction.RETRY])
    reaction = REACTIONS.get(code)
    if reaction is None:
        return Explanation(_("an error of Feishu's that the console does not know"), UNKNOWN_ADVICE)
    return Explanation(MEANINGS[reaction][code], ADVICE[reaction])
