"""Who reacts to what. Read this first: an event type that is not here is stored and ignored."""

from collections.abc import Mapping, Sequence, Set

from events import people, tickets
from events.confidential import Rule
from events.dispatch import Handler
from events.eventlinks import Related
from events.followup import Step
from events.models import Priority
from events.retention import Rule as Keeping
from incidents import archive, confidential, eventlinks, handlers, keeping, names, presses, steps
from templates.handlers import greet_conversation, greet_new_members, introduce_bot

# The first handler that does not answer None has reacted; people.learn never does, it keeps names (not of those
# who are greeted: a greeting is the busiest event, and its payload stays in the event log).
# In an incident's chat nobody is greeted.
EVENT_ROUTES: Mapping[str, Sequence[Handler]] = {
    "im.chat.member.user.added_v1": (handlers.joined, greet_new_members),
    "im.chat.member.user.deleted_v1": (handlers.left,),
    "im.chat.member.bot.added_v1": (handlers.bot_added, introduce_bot),
    "im.chat.member.bot.deleted_v1": (handlers.disbanded,),
    "im.chat.disbanded_v1": (handlers.disbanded,),
    "im.chat.updated_v1": (handlers.renamed,),
    "im.message.receive_v1": (people.learn, handlers.message),
    "im.message.recalled_v1": (handlers.recalled,),
    "im.message.reaction.created_v1": (handlers.reacted,),
    "card.action.trigger": (presses.press,),
    "p2p_chat_create": (greet_conversation,),
    "app_ticket": (tickets.keep_ticket,),
    "im.chat.access_event.bot_p2p_chat_entered_v1": (greet_conversation,),
}

# Events of these types share a transaction with others that arrive at the same moment. Their handlers write rows of
# their own; if one raises, each event is tried again by itself.
SHARED: Set[str] = frozenset({"im.chat.member.user.added_v1"})

# What a replay (events.replay) runs of these: None, because the handler writes only what is missing, under keys that
# come from the event; or why it is left out. A handler that is not here is left out.
THE_CHAT_HAS_MOVED_ON = "it says how a chat was, which may be otherwise by now"
REPLAYS: Mapping[Handler, str | None] = {
    greet_new_members: None,
    greet_conversation: None,
    introduce_bot: None,
    handlers.joined: None,
    handlers.left: None,
    handlers.message: None,  # the timeline's entry, never the command
    handlers.recalled: None,
    handlers.reacted: None,
    tickets.keep_ticket: None,  # the newest stays
    handlers.bot_added: THE_CHAT_HAS_MOVED_ON,
    handlers.disbanded: THE_CHAT_HAS_MOVED_ON,
    handlers.renamed: THE_CHAT_HAS_MOVED_ON,
    people.learn: "people may be called something else by now",
    presses.press: "a press acts once, for the person who made it",
}

# What goes on when a call that belongs to a chain has ended (events.followup).
RESULT_ROUTES: Mapping[str, Step] = {
    **steps.STEPS,
    **archive.STEPS,
    "person": names.on_person,
    "chat_name": people.chat_answered,
    "bot": people.bot_answered,
}

# What an event's page links to beside what was sent because of it.
RELATED: Sequence[Related] = (eventlinks.incidents_of,)

# What is kept from whom on every page that shows events or calls (events.confidential).
CONFIDENTIAL: Sequence[Rule] = (confidential.private_incidents,)

# What goes first when not everything can go at once: who queued a call is the first word of its key.
# Whoever is not named here goes last.
PRIORITIES: Mapping[str, Priority] = {
    "inc": Priority.INCIDENT,
    "deaf": Priority.INCIDENT,  # the alarm about a bot that hears nothing
    "hears": Priority.INCIDENT,  # and its end
    "answer": Priority.ANSWER,
    "bot": Priority.ANSWER,  # who we are: commands wait for it
    "person": Priority.ANSWER,  # a name on a card or in a timeline
    "test": Priority.TEST,
    "welcome": Priority.WELCOME,
    "hello": Priority.WELCOME,
    "intro": Priority.WELCOME,
    "person-name": Priority.BULK,  # names that a page of the console could not say: nobody waits
    "chat-name": Priority.BULK,
}

# What of events and calls is never pruned (events.retention).
KEPT: Sequence[Keeping] = (keeping.incidents_history,)
