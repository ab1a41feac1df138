"""Names of people: learned from events, else asked for once a day. Nothing may wait for a name."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from . import outbox
from .dispatch import Reaction
from .envelope import ID_LENGTH, dig, text_at
from .models import Bot, Chat, Event, EventText, OutboxItem, Person
from .models.person import NAME_LENGTH
from .running import running

ASK_AGAIN_AFTER = timedelta(days=1)
# Questions in the outbox at one time: whoever opens a page of strangers must not hold up what bots have to say.
ASKED_AT_ONCE = 5
# The API does not know this person or chat, or not for this app: nothing that an operator should look at.
NOBODY_CODES = (41050, 41012, 40001)
NO_CHAT_CODES = (232006, 232009, 232010, 232011, 232008)
REFUSED_FOR = timedelta(hours=1)
QUESTIONS = ("get_person", "get_chat")


def remember(bot: Bot, names: Mapping[str, str], *, old: bool = False) -> None:
    """Keeps `{open_id: name}`; writes only what is new, so that a busy chat costs one read.

    `old` names are kept only of those who have none.
    """
    _keep(Person, bot, names, old)


def remember_chats(bot: Bot, names: Mapping[str, str], *, old: bool = False) -> None:
    """Keeps `{chat_id: name}` likewise."""
    _keep(Chat, bot, names, old)


def names(bot: Bot, open_ids: Iterable[str]) -> dict[str, str]:
    """`{open_id: name}` of those whose name is known."""
    return {open_id: name for open_id, name in _known(Person, bot, open_ids).items() if name}


def shown(bot_pk: int | None, open_id: str) -> str:
    """The name, or else the open_id itself."""
    person = Person.objects.filter(bot=bot_pk, open_id=open_id).first() if bot_pk else None
    return (person and person.name) or open_id


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


def want(model: type[Person] | type[Chat], ids: Iterable[tuple[int, str]]) -> None:
    """Notes that a page could not say what these `(bot's key, id)` are called, or not since yesterday."""
    now = timezone.now()
    rows: list[Any] = [
        model(bot_id=bot, wanted_at=now, **{model.ID_FIELD: one}) for bot, one in sorted(set(ids))
    ]
    if rows:
        model._default_manager.bulk_create(
            rows,
            update_conflicts=True,
            unique_fields=["bot", model.ID_FIELD],
            update_fields=["wanted_at"],
        )


def ask_wanted(now: datetime) -> int:
    """Queues questions for names that pages wanted, the longest waiting first; how many."""
    waiting = OutboxItem.objects.unfinished().filter(call__in=QUESTIONS).count()
    asked = 0
    for model in (Person, Chat):
        wanted = model._default_manager.filter(wanted_at__isnull=False, bot__enabled=True)
        for row in wanted.select_related("bot").order_by("wanted_at")[: max(0, ASKED_AT_ONCE - waiting)]:
            asked += _ask_for(row, now)
    return asked


def _ask_for(row: Person | Chat, now: datetime) -> bool:
    """One of several workers asks, unless it was asked within a day or Feishu refuses such questions."""
    rows = type(row)._default_manager.filter(pk=row.pk, wanted_at__isnull=False)
    if (row.asked_at and row.asked_at > now - ASK_AGAIN_AFTER) or _are_refused(row, now):
        rows.update(wanted_at=None)
        return False
    if not rows.update(wanted_at=None, asked_at=now):
        return False
    key, tenant_key = f"{row.pk}:{now:%Y-%m-%d}", _tenant_of(row)
    if row.bot.app_type == Bot.AppType.STORE and not tenant_key:
        return False  # nobody could be asked
    it: dict[str, Any] = {"tenant_key": tenant_key}
    if isinstance(row, Chat):
        it |= {"chat_id": row.chat_id, "key": f"chat-name:{key}", "step": "chat_name"}
        return bool(outbox.get_chat(row.bot, **it))
    it |= {"open_id": row.open_id, "key": f"person-name:{key}", "step": "person"}
    return bool(outbox.get_person(row.bot, **it))


def _tenant_of(row: Person | Chat) -> str:
    """The tenant from which a store app last heard of them, or nothing; a custom app has only one."""
    if row.bot.app_type != Bot.AppType.STORE:
        return ""
    if isinstance(row, Chat):
        return Event.objects.tenant_of(row.bot, row.chat_id)
    named = EventText.objects.with_id(row.open_id).values("pk")
    heard = Event.objects.filter(bot=row.bot_id, pk__in=named).exclude(tenant_key="").order_by("-pk")
    return str(heard.values_list("tenant_key", flat=True).first() or "")


def _are_refused(row: Person | Chat, now: datetime) -> bool:
    """Where the app lacks the scope, every question would fail alike: one failure an hour is enough to see."""
    call = "get_chat" if isinstance(row, Chat) else "get_person"
    failed = OutboxItem.objects.filter(status=OutboxItem.Status.FAILED, call=call, bot=row.bot_id)
    return failed.filter(created_at__gt=now - REFUSED_FOR).exists()


def answered(item: OutboxItem) -> dict[str, str]:
    """The step "person": keeps the name that came back; `{open_id: name}`, empty if none did."""
    if item.status == OutboxItem.Status.FAILED:
        if item.error_code in NOBODY_CODES:
            item.delete()
        return {}
    found = {item.arguments["open_id"]: text_at(item.result, "user.name")}
    remember(item.bot, found)
    return {open_id: name for open_id, name in found.items() if name}


def chat_answered(item: OutboxItem) -> None:
    """The step "chat_name": keeps the group's name; a conversation of two has none."""
    if item.status == OutboxItem.Status.FAILED:
        if item.error_code in NO_CHAT_CODES:
            item.delete()
        return
    remember_chats(item.bot, {item.arguments["chat_id"]: text_at(item.result, "name")})


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


def _keep(model: type[Person] | type[Chat], bot: Bot, names: Mapping[str, str], old: bool) -> None:
    wanted = {
        one: name.strip()[:NAME_LENGTH]
        for one, name in names.items()
        if name.strip() and 0 < len(one) <= ID_LENGTH
    }
    known = _known(model, bot, wanted)
    # In one order for everyone: two events that name the same people must not wait for each other.
    rows: list[Any] = [
        model(bot=bot, name=wanted[one], **{model.ID_FIELD: one})
        for one in sorted(wanted)
        if known.get(one) != wanted[one] and not (old and known.get(one))
    ]
    if rows:
        model._default_manager.bulk_create(
            rows,
            update_conflicts=True,
            unique_fields=["bot", model.ID_FIELD],
            update_fields=["name", "seen_at"],
        )


def _known(model: type[Person] | type[Chat], bot: Bot, ids: Iterable[str]) -> dict[str, str]:
    wanted = [one for one in set(ids) if one]
    if not wanted:
        return {}
    rows = model._default_manager.filter(bot=bot, **{f"{model.ID_FIELD}__in": wanted})
    return dict(rows.values_list(model.ID_FIELD, "name"))


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
