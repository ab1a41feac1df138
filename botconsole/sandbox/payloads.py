"""Builds what is pushed, key by key as the platform's pages show it: envelopes and event bodies."""

import copy
import json
import time
from typing import Any

from botconsole.sandbox.config import SandboxConfig
from botconsole.sandbox.store import Row, new_id

Json = dict[str, Any]


def envelope(
    config: SandboxConfig, event_id: str, event_type: str, event: Json, header: Json | None = None
) -> Json:
    """A v2.0 push; `header` overrides single keys, for oddities such as microseconds."""
    return {
        "schema": "2.0",
        "header": {
            "event_id": event_id,
            "event_type": event_type,
            "create_time": str(int(time.time() * 1000)),
            "token": config.verification_token,
            "app_id": config.app_id,
            "tenant_key": config.tenant_key,
            **(header or {}),
        },
        "event": event,
    }


def envelope_v1(config: SandboxConfig, uuid: str, event: Json) -> Json:
    """A v1.0 push, told apart by its `uuid`."""
    now = time.time()
    return {
        "ts": f"{now:.7f}",
        "uuid": uuid,
        "token": config.verification_token,
        "type": "event_callback",
        "event": event,
    }


def twin(payload: Json) -> Json | None:
    """The same message once more, as another event under another message_id; None if it is no message."""
    if payload.get("header", {}).get("event_type") != "im.message.receive_v1":
        return None
    told: Json = copy.deepcopy(payload)
    told["header"]["event_id"] = new_id("ev")
    told["event"]["message"]["message_id"] = new_id("om")
    return told


def without_user_ids(told: Any) -> Any:
    """The same with no `user_id` beside an `open_id`; `user_id` as the name of a person's ids stays."""
    if isinstance(told, list):
        return [without_user_ids(one) for one in told]
    if not isinstance(told, dict):
        return told
    hidden = "open_id" in told and isinstance(told.get("user_id"), str)
    return {key: without_user_ids(value) for key, value in told.items() if not (hidden and key == "user_id")}


def person_ids(person: Row) -> Json:
    return {"union_id": person["union_id"], "user_id": person["user_id"], "open_id": person["open_id"]}


def bot_ids(config: SandboxConfig) -> Json:
    """The bot as an operator: it has no user_id."""
    return {"union_id": f"on_{config.bot_open_id[3:]}", "user_id": "", "open_id": config.bot_open_id}


def chat_event(config: SandboxConfig, chat: Row, operator: Json) -> Json:
    """The shape shared by bot.added, bot.deleted and disbanded."""
    fields = json.loads(chat["fields"])
    return {
        "chat_id": chat["chat_id"],
        "operator_id": operator,
        "external": False,
        "operator_tenant_key": config.tenant_key,
        "name": chat["name"],
        "i18n_names": fields.get("i18n_names") or {"zh_cn": chat["name"], "en_us": "", "ja_jp": ""},
    }


def members_event(config: SandboxConfig, chat: Row, operator: Json, people: list[Row]) -> Json:
    """user.added, user.deleted and user.withdrawn: one event may carry many users."""
    shared = chat_event(config, chat, operator)
    users = [
        {"name": person["name"], "tenant_key": config.tenant_key, "user_id": person_ids(person)}
        for person in people
    ]
    names = {key: shared.pop(key) for key in ("name", "i18n_names")}
    return {**shared, "users": users, **names}


def updated_event(config: SandboxConfig, chat: Row, operator: Json, before: Json, after: Json) -> Json:
    """chat.updated: only the changed keys."""
    return {
        "chat_id": chat["chat_id"],
        "operator_id": operator,
        "external": False,
        "operator_tenant_key": config.tenant_key,
        "after_change": after,
        "before_change": before,
    }


def message_event(config: SandboxConfig, message: Row, sender: Row, chat_mode: str) -> Json:
    """im.message.receive_v1; root_id, parent_id and mentions only where there are any."""
    told: Json = {
        "message_id": message["message_id"],
        "create_time": str(message["create_ms"]),
        "update_time": str(message["update_ms"]),
        "chat_id": message["chat_id"],
        "chat_type": chat_mode,
        "message_type": message["msg_type"],
        "content": message["content"],
        "user_agent": "Mozilla/5.0 (sandbox) Lark/7.40",
    }
    if message["root_id"]:
        told |= {"root_id": message["root_id"], "parent_id": message["parent_id"]}
    if message["thread_id"]:
        told["thread_id"] = message["thread_id"]
    if mentions := json.loads(message["mentions"]):
        told["mentions"] = [_mention(config, mention) for mention in mentions]
    return {
        "sender": {"sender_id": person_ids(sender), "sender_type": "user", "tenant_key": config.tenant_key},
        "message": told,
    }


def _mention(config: SandboxConfig, mention: Json) -> Json:
    is_bot = mention["id"] == config.bot_open_id
    return {
        "key": mention["key"],
        "id": {"union_id": mention["union_id"], "user_id": mention["user_id"], "open_id": mention["id"]},
        "mentioned_type": "bot" if is_bot else "user",
        "name": mention["name"],
        "tenant_key": config.tenant_key,
    }


def reaction_event(message_id: str, person: Row, emoji_type: str, action_ms: int) -> Json:
    """im.message.reaction.created_v1 and deleted_v1, by a person."""
    return {
        "message_id": message_id,
        "reaction_type": {"emoji_type": emoji_type},
        "operator_type": "user",
        "user_id": person_ids(person),
        "action_time": str(action_ms),
    }


def read_event(config: SandboxConfig, person: Row, message_ids: list[str], read_ms: int) -> Json:
    """im.message.message_read_v1: a person read what the bot had written into their conversation."""
    reader = {"reader_id": person_ids(person), "read_time": str(read_ms), "tenant_key": config.tenant_key}
    return {"reader": reader, "message_id_list": message_ids}


def recalled_event(message: Row, recall_type: str) -> Json:
    """im.message.recalled_v1; who recalled it is told only as a kind."""
    return {
        "message_id": message["message_id"],
        "chat_id": message["chat_id"],
        "recall_time": str(message["update_ms"]),
        "recall_type": recall_type,
    }


def p2p_created_event(config: SandboxConfig, chat_id: str, person: Row, by_bot: bool) -> Json:
    """The v1.0 p2p_chat_create; `operator` has empty ids when the bot opened the conversation."""
    ids = {"open_id": person["open_id"], "user_id": person["user_id"]}
    return {
        "app_id": config.app_id,
        "chat_id": chat_id,
        "operator": {"open_id": config.bot_open_id} if by_bot else ids,
        "tenant_key": config.tenant_key,
        "type": "p2p_chat_create",
        "user": {"name": person["name"], **ids},
    }


def entered_event(chat_id: str, person: Row, last: Row | None) -> Json:
    """bot_p2p_chat_entered: with the last message only if there is one."""
    told: Json = {"chat_id": chat_id, "operator_id": person_ids(person)}
    if last:
        told |= {"last_message_id": last["message_id"], "last_message_create_time": str(last["create_ms"])}
    return told


def press_event(config: SandboxConfig, message: Row, person: Row, token: str, action: Json) -> Json:
    """card.action.trigger; only keys the component has are in `action`."""
    return {
        "operator": {"tenant_key": config.tenant_key, **person_ids(person)},
        "token": token,
        "action": action,
        "host": "im_message",
        "delivery_type": "",
        "context": {
            "url": "",
            "preview_token": "",
            "open_message_id": message["message_id"],
            "open_chat_id": message["chat_id"],
        },
    }


def old_press(config: SandboxConfig, message: Row, person: Row, token: str, action: Json) -> Json:
    """card.action.trigger_v1: no envelope, everything in one object."""
    return {
        "open_id": person["open_id"],
        "user_id": person["user_id"],
        "tenant_key": config.tenant_key,
        "open_message_id": message["message_id"],
        "open_chat_id": message["chat_id"],
        "token": token,
        "action": action,
    }
