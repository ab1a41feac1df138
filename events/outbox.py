"""The verbs that handlers use to reach Feishu: each writes one row; the worker makes the call."""

import hashlib

from django.contrib.contenttypes.models import ContentType
from django.db.models import Model

from .cards import JSON, dumps
from .models import Bot, Event, OutboxItem, insert_once

UUID_LENGTH = 50


def send_card(
    bot: Bot, *, chat_id: str, card: JSON, key: str, cause: Event | None = None, subject: Model | None = None
) -> OutboxItem | None:
    """Queues a card for a chat; None if the same `key` was queued before, by whomever."""
    arguments = {
        "receive_id_type": "chat_id",
        "receive_id": chat_id,
        "msg_type": "interactive",
        "content": dumps(card),
    }
    item = OutboxItem(
        bot=bot, key=key, uuid=uuid_of(key), call="send_message", target=chat_id, arguments=arguments
    )
    item.cause = cause
    if subject is not None:
        item.subject_type, item.subject_id = ContentType.objects.get_for_model(subject), subject.pk
    return item if insert_once(item) else None


def uuid_of(key: str) -> str:
    """The key as Feishu's `uuid`: itself up to 50 characters, else its start and a hash of all of it."""
    if len(key) <= UUID_LENGTH:
        return key
    return f"{key[:17]}-{hashlib.sha256(key.encode()).hexdigest()[:32]}"
