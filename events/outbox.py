"""The verbs that handlers use to reach Feishu: each writes one row; the worker makes the call.

`key` is derived from the cause, so that a handler run twice queues once; None means that it was queued before.
`step` names what goes on when the call has ended (RESULT_ROUTES).
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model

from .cards import JSON, dumps
from .models import Bot, Event, OutboxAttachment, OutboxItem, Priority, insert_once
from .running import running

UUID_LENGTH = 50
OPEN_ID = re.compile(r"[A-Za-z0-9_-]+")


def queue(
    bot: Bot,
    call: str,
    *,
    target: str,
    arguments: dict[str, Any],
    key: str,
    step: str = "",
    merge_key: str = "",
    cause: Event | None = None,
    subject: Model | None = None,
    tenant_key: str = "",
    first: bool = False,
) -> OutboxItem | None:
    """Queues one of events.calls.CALLS; calls to one `target` (a chat, a person) are made in order.

    Of rows to one target with the same `merge_key` and step that still wait, only the newest is sent. `first`: nothing
    can have been queued under this key, so the row may be written a moment later, with others; it has no `pk` then.
    """
    item = OutboxItem(bot=bot, key=key, uuid=uuid_of(key), call=call, target=target, arguments=arguments)
    now = running()
    item.step, item.followed_up, item.cause = step, not step, cause or (now.cause if now else None)
    item.merge_key, item.priority = merge_key, priorities().get(key.partition(":")[0], Priority.BULK)
    if subject is not None:
        item.subject_type, item.subject_id = ContentType.objects.get_for_model(subject), subject.pk
    item.tenant_key = tenant_key or (item.cause.tenant_key if item.cause else "")
    if bot.app_type == Bot.AppType.STORE and not item.tenant_key:
        item.tenant_key = _tenant_of(item)
    if now is not None:
        return now.queue(item, first=first)
    return item if insert_once(item) else None


def _tenant_of(item: OutboxItem) -> str:
    """Whose tenant a store app's call is for, where no event caused it: the chat's, or that of what it is about."""
    if tenant_key := Event.objects.tenant_of(item.bot, item.target):
        return tenant_key
    same = OutboxItem.objects.filter(subject_type=item.subject_type, subject_id=item.subject_id)
    known = same.filter(bot=item.bot, subject_id__isnull=False).exclude(tenant_key="").order_by("-pk")
    return str(known.values_list("tenant_key", flat=True).first() or "")


def has_failed(key: str) -> bool:
    """Whether the call was queued under this key and never made."""
    return OutboxItem.objects.filter(key=key, status=OutboxItem.Status.FAILED).exists()


def priorities() -> Mapping[str, Priority]:
    """`PRIORITIES` of the composing package: by the first word of the key, which says who queues."""
    table: Mapping[str, Priority] = import_module(settings.ROUTES_MODULE).PRIORITIES
    return table


def send_card(bot: Bot, *, chat_id: str, card: JSON, key: str, **row: Any) -> OutboxItem | None:
    arguments = {
        "receive_id_type": "chat_id",
        "receive_id": chat_id,
        "msg_type": "interactive",
        "content": dumps(card),
    }
    return queue(bot, "send_message", target=chat_id, arguments=arguments, key=key, **row)


def send_text(bot: Bot, *, chat_id: str, markup: str, key: str, **row: Any) -> OutboxItem | None:
    """A text; Feishu reads markup in it, so what people typed goes through `plain` first."""
    content = json.dumps({"text": markup}, ensure_ascii=False)
    arguments = {"receive_id_type": "chat_id", "receive_id": chat_id, "msg_type": "text", "content": content}
    return queue(bot, "send_message", target=chat_id, arguments=arguments, key=key, **row)


def alarm(bot: Bot, *, markup: str, key: str, **row: Any) -> OutboxItem | None:
    """A text to the bot's alarm chat, by whoever speaks there; nothing where it has none."""
    if not bot.alarm_chat_id:
        return None
    return send_text(bot.alarm_speaker, chat_id=bot.alarm_chat_id, markup=markup, key=key, **row)


def reply_text(
    bot: Bot, *, chat_id: str, message_id: str, markup: str, key: str, **row: Any
) -> OutboxItem | None:
    """An answer to a message; `markup` as for send_text."""
    content = json.dumps({"text": markup}, ensure_ascii=False)
    arguments = {"message_id": message_id, "msg_type": "text", "content": content}
    return queue(bot, "reply_message", target=chat_id, arguments=arguments, key=key, **row)


def patch_card(
    bot: Bot, *, chat_id: str, message_id: str, card: JSON, key: str, **row: Any
) -> OutboxItem | None:
    """Replaces a card of ours in place; possible for 14 days."""
    arguments = {"message_id": message_id, "content": dumps(card)}
    row = {"merge_key": f"card {message_id}", **row}
    return queue(bot, "patch_card", target=chat_id, arguments=arguments, key=key, **row)


def create_chat(
    bot: Bot, *, name: str, description: str, open_ids: Sequence[str], key: str, **row: Any
) -> OutboxItem | None:
    """A new group with the bot as its owner; at most 50 people, Feishu makes one group per key in 10 hours."""
    arguments = {"name": name, "description": description, "open_ids": list(open_ids)}
    return queue(bot, "create_chat", target=key, arguments=arguments, key=key, **row)


def rename_chat(bot: Bot, *, chat_id: str, name: str, key: str, **row: Any) -> OutboxItem | None:
    arguments = {"chat_id": chat_id, "name": name}
    row = {"merge_key": "name", **row}
    return queue(bot, "rename_chat", target=chat_id, arguments=arguments, key=key, **row)


def add_members(
    bot: Bot, *, chat_id: str, open_ids: Sequence[str], key: str, **row: Any
) -> OutboxItem | None:
    """Adds whom it can, at most 50; the result lists the others."""
    arguments = {"chat_id": chat_id, "open_ids": list(open_ids)}
    return queue(bot, "add_members", target=chat_id, arguments=arguments, key=key, **row)


def upload_image(bot: Bot, *, target: str, image: bytes, key: str, **row: Any) -> OutboxItem | None:
    """Up to 10 MB; the result has its `image_key`."""
    item = queue(bot, "upload_image", target=target, arguments={}, key=key, **row)
    if item is not None:
        OutboxAttachment.objects.create(item=item, data=image)
    return item


def pin_message(bot: Bot, *, chat_id: str, message_id: str, key: str, **row: Any) -> OutboxItem | None:
    return queue(bot, "pin_message", target=chat_id, arguments={"message_id": message_id}, key=key, **row)


def add_chat_tab(bot: Bot, *, chat_id: str, name: str, url: str, key: str, **row: Any) -> OutboxItem | None:
    arguments = {"chat_id": chat_id, "name": name, "url": url}
    return queue(bot, "add_chat_tab", target=chat_id, arguments=arguments, key=key, **row)


def buzz(
    bot: Bot, *, chat_id: str, message_id: str, open_ids: Sequence[str], key: str, **row: Any
) -> OutboxItem | None:
    """Rings the phones of people who are in the chat, about a message of ours."""
    arguments = {"message_id": message_id, "open_ids": list(open_ids)}
    return queue(bot, "buzz", target=chat_id, arguments=arguments, key=key, **row)


def find_people(
    bot: Bot, *, target: str, emails: Sequence[str], mobiles: Sequence[str], key: str, **row: Any
) -> OutboxItem | None:
    """open_ids by e-mail and mobile, at most 50 of each; whom Feishu does not know has none in the result."""
    arguments = {"emails": list(emails), "mobiles": list(mobiles)}
    return queue(bot, "find_people", target=target, arguments=arguments, key=key, **row)


def get_person(bot: Bot, *, open_id: str, key: str, **row: Any) -> OutboxItem | None:
    """What the contact API tells of one person: `user.name`, where the app may know it."""
    return queue(bot, "get_person", target=open_id, arguments={"open_id": open_id}, key=key, **row)


def get_chat(bot: Bot, *, chat_id: str, key: str, **row: Any) -> OutboxItem | None:
    """What the chat API tells of one chat: `name`. Nothing in the chat waits for it."""
    return queue(
        bot, "get_chat", target=f"name of {chat_id}"[:128], arguments={"chat_id": chat_id}, key=key, **row
    )


def get_bot(bot: Bot, *, key: str, **row: Any) -> OutboxItem | None:
    """The bot's own profile: `bot.open_id`, as mentions of it carry."""
    return queue(bot, "get_bot", target=bot.app_id, arguments={}, key=key, **row)


def dissolve_chat(bot: Bot, *, chat_id: str, key: str, **row: Any) -> OutboxItem | None:
    """Ends a group for everyone; its history is lost for good."""
    return queue(bot, "dissolve_chat", target=chat_id, arguments={"chat_id": chat_id}, key=key, **row)


def leave_chat(bot: Bot, *, chat_id: str, key: str, **row: Any) -> OutboxItem | None:
    """Takes the bot out of a group; the people stay in it."""
    arguments = {"chat_id": chat_id, "app_id": bot.app_id}
    return queue(bot, "leave_chat", target=chat_id, arguments=arguments, key=key, **row)


def uuid_of(key: str) -> str:
    """The key as Feishu's `uuid`: itself up to 50 characters, else its start and a hash of all of it."""
    if len(key) <= UUID_LENGTH:
        return key
    return f"{key[:17]}-{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def plain(text: str) -> str:
    """What someone typed, as it goes into a text: a name must not become <at user_id="all">."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def at(open_id: str) -> str:
    """A mention in a text; an id of another shape never becomes markup."""
    return f'<at user_id="{open_id}"></at>' if OPEN_ID.fullmatch(open_id) else plain(open_id)
