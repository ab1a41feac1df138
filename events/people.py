"""Names of people: learned from events, else asked for once a day. Nothing may wait for a name."""

from collections.abc import Iterable, Mapping
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from . import outbox
from .dispatch import Reaction
from .envelope import ID_LENGTH, dig, text_at
from .models import Bot, Event, OutboxItem, Person
from .models.person import NAME_LENGTH
from .running import running

ASK_AGAIN_AFTER = timedelta(days=1)
# The contact API does not know this person, or not for this app: nothing that an operator should look at.
NOBODY_CODES = (41050, 41012, 40001)


def remember(bot: Bot, names: Mapping[str, str]) -> None:
    """Keeps `{open_id: name}`; writes only what is new, so that a busy chat costs one read."""
    wanted = {
        open_id: name.strip()[:NAME_LENGTH]
        for open_id, name in names.items()
        if name.strip() and 0 < len(open_id) <= ID_LENGTH
    }
    known = _names(bot, wanted)
    # In one order for everyone: two events that name the same people must not wait for each other.
    people = [
        Person(bot=bot, open_id=one, name=wanted[one])
        for one in sorted(wanted)
        if known.get(one) != wanted[one]
    ]
    if people:
        Person.objects.bulk_create(
            people,
            update_conflicts=True,
            unique_fields=["bot", "open_id"],
            update_fields=["name", "seen_at"],
        )


def names(bot: Bot, open_ids: Iterable[str]) -> dict[str, str]:
    """`{open_id: name}` of those whose name is known."""
    return {open_id: name for open_id, name in _names(bot, open_ids).items() if name}


def ask(bot: Bot, open_id: str) -> OutboxItem | None:
    """Queues the question to the contact API unless it was asked within a day.

    The row has a target of its own: nothing in a chat waits for it.
    """
    at_work = running()
    if not open_id or (at_work and at_work.cause.replayed):
        return None  # a replay of a long log must not ask for everyone in it
    now = timezone.now()
    Person.objects.bulk_create([Person(bot=bot, open_id=open_id)], ignore_conflicts=True)
    rows = Person.objects.filter(bot=bot, open_id=open_id)
    if not rows.filter(Q(asked_at=None) | Q(asked_at__lte=now - ASK_AGAIN_AFTER)).update(asked_at=now):
        return None
    return outbox.get_person(
        bot, open_id=open_id, key=f"person:{bot.pk}:{open_id}:{now.timestamp():.0f}", step="person"
    )


def answered(item: OutboxItem) -> dict[str, str]:
    """The step "person": keeps the name that came back; `{open_id: name}`, empty if none did."""
    if item.status == OutboxItem.Status.FAILED:
        if item.error_code in NOBODY_CODES:
            item.delete()
        return {}
    found = {item.arguments["open_id"]: text_at(item.result, "user.name")}
    remember(item.bot, found)
    return {open_id: name for open_id, name in found.items() if name}


def ask_for_the_bot(bot: Bot) -> None:
    """Queues the question for the bot's own open_id, once a day until it is known."""
    if not bot.open_id:
        outbox.get_bot(bot, key=f"bot:{bot.pk}:{timezone.now():%Y-%m-%d}", step="bot")


def bot_answered(item: OutboxItem) -> None:
    """The step "bot": keeps the open_id by which mentions name the bot."""
    if open_id := text_at(item.result, "bot.open_id"):
        Bot.objects.filter(pk=item.bot_id).update(open_id=open_id[:ID_LENGTH])


def learn(event: Event) -> Reaction | None:
    """A handler that reacts to nothing: it keeps the names that the event tells."""
    remember(event.bot, names_in(event))
    return None


def names_in(event: Event) -> dict[str, str]:
    """`{open_id: name}` of an event's members, mentions or (p2p_chat_create) user."""
    payload = event.payload
    users = [("user_id.open_id", one) for one in _list(payload.get("users"))]
    mentions = [("id.open_id", one) for one in _list(dig(payload, "message.mentions"))]
    people = [*users, *mentions, ("open_id", payload.get("user"))]
    found = {text_at(one, path): text_at(one, "name") for path, one in people}
    return {open_id: name for open_id, name in found.items() if open_id and name}


def _names(bot: Bot, open_ids: Iterable[str]) -> dict[str, str]:
    wanted = [open_id for open_id in set(open_ids) if open_id]
    if not wanted:
        return {}
    return dict(Person.objects.filter(bot=bot, open_id__in=wanted).values_list("open_id", "name"))


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
