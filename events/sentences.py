"""What happened, as one sentence with names: "Ada joined Payments, invited by Lin"."""

from collections.abc import Callable, Mapping

from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .envelope import dig, inner_object, text_at
from .models import Event
from .naming import Naming
from .words import people_words, type_words

QUOTED = 120  # characters of a message
Text = str | Promise

# The sentence with the person who acted, and without (nobody, or the one whom it is about).
SENTENCES: Mapping[str, tuple[Text, Text]] = {
    "im.chat.member.user.added_v1": (
        _("%(people)s joined %(chat)s, invited by %(actor)s"),
        _("%(people)s joined %(chat)s"),
    ),
    "im.chat.member.user.deleted_v1": (
        _("%(actor)s removed %(people)s from %(chat)s"),
        _("%(people)s left %(chat)s"),
    ),
    "im.chat.member.user.withdrawn_v1": (
        _("%(actor)s withdrew the invitation of %(people)s to %(chat)s"),
        _("The invitation of %(people)s to %(chat)s was withdrawn"),
    ),
    "im.chat.member.bot.added_v1": (
        _("%(actor)s added %(bot)s to %(chat)s"),
        _("%(bot)s was added to %(chat)s"),
    ),
    "im.chat.member.bot.deleted_v1": (
        _("%(actor)s removed %(bot)s from %(chat)s"),
        _("%(bot)s was removed from %(chat)s"),
    ),
    "im.chat.updated_v1": (_("%(actor)s changed %(chat)s"), _("%(chat)s was changed")),
    "im.chat.disbanded_v1": (_("%(actor)s dissolved %(chat)s"), _("%(chat)s was dissolved")),
    "im.chat.access_event.bot_p2p_chat_entered_v1": (
        _("%(actor)s opened the conversation with %(bot)s"),
        _("Someone opened the conversation with %(bot)s"),
    ),
    "p2p_chat_create": (
        _("%(actor)s began the conversation of %(people)s with %(bot)s"),
        _("%(people)s began a conversation with %(bot)s"),
    ),
    "im.message.receive_v1": (
        _("%(actor)s wrote in %(chat)s: %(text)s"),
        _("Someone wrote in %(chat)s: %(text)s"),
    ),
    "im.message.recalled_v1": (
        _("%(actor)s recalled a message in %(chat)s"),
        _("A message was recalled in %(chat)s"),
    ),
    "im.message.message_read_v1": (_("%(actor)s read a message"), _("A message was read")),
    "im.message.reaction.created_v1": (
        _("%(actor)s reacted to a message with %(text)s"),
        _("Someone reacted to a message with %(text)s"),
    ),
    "im.message.reaction.deleted_v1": (
        _("%(actor)s took back the reaction %(text)s"),
        _("The reaction %(text)s was taken back"),
    ),
    "card.action.trigger": (
        _("%(actor)s pressed %(text)s on a card in %(chat)s"),
        _("%(text)s was pressed on a card in %(chat)s"),
    ),
    "application.bot.menu_v6": (
        _("%(actor)s chose %(text)s in the menu of %(bot)s"),
        _("%(text)s was chosen in the menu of %(bot)s"),
    ),
}


def headline(event: Event, names: Naming) -> str:
    """The event in a few words: what happened, to whom, where."""
    what = type_words(event.event_type) or event.event_type
    who = people_words(list(names.people_in(event).values()))
    where = names.chat(event.bot_id, event.chat_id) if event.chat_id else ""
    return " · ".join(part for part in (what, who, where) if part)


def sentence(event: Event, names: Naming) -> str:
    """The event in words; one of a kind that is not known is named, with who and where."""
    if event.event_type not in SENTENCES:
        return headline(event, names)
    people = names.people_in(event)
    chat = names.chat(event.bot_id, event.chat_id) if event.chat_id else ""
    actor = event.actor_open_id
    acted = bool(actor) and (list(people) != [actor] or "people" not in _with_actor(event))
    words = {
        "people": "、".join(people.values()) or gettext("Someone"),
        "actor": names.person(event.bot_id, actor),
        "chat": chat or gettext("a chat"),
        "bot": event.bot.name,
        "text": _quoted(event),
    }
    return str(SENTENCES[event.event_type][0 if acted else 1]) % words


def _with_actor(event: Event) -> str:
    return str(SENTENCES[event.event_type][0])


def _quoted(event: Event) -> str:
    text = (TEXTS.get(event.event_type) or (lambda _payload: ""))(event.payload)
    text = " ".join(text.split())
    return (
        gettext("“%(text)s”") % {"text": text[:QUOTED] + ("…" if len(text) > QUOTED else "")} if text else "…"
    )


def message_text(payload: object) -> str:
    """The readable text of a message of any kind: its text, its title, or what kind it is."""
    content = inner_object(text_at(payload, "message.content"))
    kind = text_at(payload, "message.message_type")
    return (
        text_at(content, "text", "title", "file_name") or _post_text(content) or (f"[{kind}]" if kind else "")
    )


def _post_text(content: object) -> str:
    lines = dig(content, "content")
    parts = (
        [part for line in lines if isinstance(line, list) for part in line] if isinstance(lines, list) else []
    )
    return "".join(text_at(part, "text") for part in parts)


def _pressed(payload: object) -> str:
    """What stands in the control's value; a form's names otherwise."""
    value = dig(payload, "action.value")
    if isinstance(value, dict):
        return text_at(value, "action", "control", "verb") or text_at(payload, "action.name", "action.tag")
    return value if isinstance(value, str) and value else text_at(payload, "action.name", "action.tag")


TEXTS: Mapping[str, Callable[[object], str]] = {
    "im.message.receive_v1": message_text,
    "im.message.reaction.created_v1": lambda payload: text_at(payload, "reaction_type.emoji_type"),
    "im.message.reaction.deleted_v1": lambda payload: text_at(payload, "reaction_type.emoji_type"),
    "card.action.trigger": _pressed,
    "application.bot.menu_v6": lambda payload: text_at(payload, "event_key"),
}
