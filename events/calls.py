"""The calls to Feishu that an outbox row can name, each as a request of lark-oapi's typed models (imported lazily).

A builder takes the row's arguments, its uuid and its attachment. Sources: feishu-platform.md 4.2 to 4.5.
"""

import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lark_oapi import BaseRequest

Json = dict[str, Any]
Build = Callable[[Json, str, bytes], "BaseRequest"]


def _send_message(arguments: Json, uuid: str, _: bytes) -> "BaseRequest":
    from lark_oapi.api.im.v1 import CreateMessageRequest, CreateMessageRequestBody

    body = CreateMessageRequestBody.builder().receive_id(arguments["receive_id"]).uuid(uuid)
    body = body.msg_type(arguments["msg_type"]).content(arguments["content"])
    request = CreateMessageRequest.builder().receive_id_type(arguments["receive_id_type"])
    return request.request_body(body.build()).build()


def _reply_message(arguments: Json, uuid: str, _: bytes) -> "BaseRequest":
    from lark_oapi.api.im.v1 import ReplyMessageRequest, ReplyMessageRequestBody

    body = ReplyMessageRequestBody.builder().msg_type(arguments["msg_type"]).content(arguments["content"])
    request = ReplyMessageRequest.builder().message_id(arguments["message_id"])
    return request.request_body(body.uuid(uuid).build()).build()


def _patch_card(arguments: Json, _: str, __: bytes) -> "BaseRequest":
    from lark_oapi.api.im.v1 import PatchMessageRequest, PatchMessageRequestBody

    body = PatchMessageRequestBody.builder().content(arguments["content"]).build()
    return PatchMessageRequest.builder().message_id(arguments["message_id"]).request_body(body).build()


def _upload_image(_: Json, __: str, attachment: bytes) -> "BaseRequest":
    from lark_oapi.api.im.v1 import CreateImageRequest, CreateImageRequestBody

    body = CreateImageRequestBody.builder().image_type("message").image(io.BytesIO(attachment)).build()
    return CreateImageRequest.builder().request_body(body).build()


def _create_chat(arguments: Json, uuid: str, _: bytes) -> "BaseRequest":
    from lark_oapi.api.im.v1 import CreateChatRequest, CreateChatRequestBody

    body = CreateChatRequestBody.builder().name(arguments["name"]).description(arguments["description"])
    body = body.user_id_list(arguments["open_ids"]).chat_type("private")
    request = CreateChatRequest.builder().user_id_type("open_id").set_bot_manager("true").uuid(uuid)
    return request.request_body(body.build()).build()


def _rename_chat(arguments: Json, _: str, __: bytes) -> "BaseRequest":
    from lark_oapi.api.im.v1 import UpdateChatRequest, UpdateChatRequestBody

    body = UpdateChatRequestBody.builder().name(arguments["name"]).build()
    return UpdateChatRequest.builder().chat_id(arguments["chat_id"]).request_body(body).build()


def _add_members(arguments: Json, _: str, __: bytes) -> "BaseRequest":
    from lark_oapi.api.im.v1 import CreateChatMembersRequest, CreateChatMembersRequestBody

    body = CreateChatMembersRequestBody.builder().id_list(arguments["open_ids"]).build()
    request = CreateChatMembersRequest.builder().chat_id(arguments["chat_id"]).member_id_type("open_id")
    return request.succeed_type(1).request_body(body).build()  # 1: adds whom it can, and lists the rest


def _pin_message(arguments: Json, _: str, __: bytes) -> "BaseRequest":
    from lark_oapi.api.im.v1 import CreatePinRequest, CreatePinRequestBody

    body = CreatePinRequestBody.builder().message_id(arguments["message_id"]).build()
    return CreatePinRequest.builder().request_body(body).build()


def _add_chat_tab(arguments: Json, _: str, __: bytes) -> "BaseRequest":
    from lark_oapi.api.im.v1 import ChatTab, ChatTabContent, CreateChatTabRequest, CreateChatTabRequestBody

    content = ChatTabContent.builder().url(arguments["url"]).build()
    tab = ChatTab.builder().tab_name(arguments["name"]).tab_type("url").tab_content(content).build()
    body = CreateChatTabRequestBody.builder().chat_tabs([tab]).build()
    return CreateChatTabRequest.builder().chat_id(arguments["chat_id"]).request_body(body).build()


def _buzz(arguments: Json, _: str, __: bytes) -> "BaseRequest":
    from lark_oapi.api.im.v1 import UrgentAppMessageRequest, UrgentReceivers

    body = UrgentReceivers.builder().user_id_list(arguments["open_ids"]).build()
    request = UrgentAppMessageRequest.builder().message_id(arguments["message_id"]).user_id_type("open_id")
    return request.request_body(body).build()


def _find_people(arguments: Json, _: str, __: bytes) -> "BaseRequest":
    from lark_oapi.api.contact.v3 import BatchGetIdUserRequest, BatchGetIdUserRequestBody

    body = BatchGetIdUserRequestBody.builder().emails(arguments["emails"]).mobiles(arguments["mobiles"])
    return BatchGetIdUserRequest.builder().user_id_type("open_id").request_body(body.build()).build()


def _get_person(arguments: Json, _: str, __: bytes) -> "BaseRequest":
    from lark_oapi.api.contact.v3 import GetUserRequest

    return GetUserRequest.builder().user_id(arguments["open_id"]).user_id_type("open_id").build()


def _get_chat(arguments: Json, _: str, __: bytes) -> "BaseRequest":
    from lark_oapi.api.im.v1 import GetChatRequest

    return GetChatRequest.builder().chat_id(arguments["chat_id"]).build()


def _get_bot(_: Json, __: str, ___: bytes) -> "BaseRequest":
    from lark_oapi import AccessTokenType, BaseRequest, HttpMethod

    builder = BaseRequest.builder().http_method(HttpMethod.GET).uri("/open-apis/bot/v3/info")
    return builder.token_types({AccessTokenType.TENANT}).build()


def _dissolve_chat(arguments: Json, _: str, __: bytes) -> "BaseRequest":
    from lark_oapi.api.im.v1 import DeleteChatRequest

    return DeleteChatRequest.builder().chat_id(arguments["chat_id"]).build()


def _leave_chat(arguments: Json, _: str, __: bytes) -> "BaseRequest":
    from lark_oapi.api.im.v1 import DeleteChatMembersRequest, DeleteChatMembersRequestBody

    body = DeleteChatMembersRequestBody.builder().id_list([arguments["app_id"]]).build()
    request = DeleteChatMembersRequest.builder().chat_id(arguments["chat_id"]).member_id_type("app_id")
    return request.request_body(body).build()


CALLS: Mapping[str, Build] = {
    "send_message": _send_message,
    "reply_message": _reply_message,
    "patch_card": _patch_card,
    "upload_image": _upload_image,
    "create_chat": _create_chat,
    "rename_chat": _rename_chat,
    "add_members": _add_members,
    "pin_message": _pin_message,
    "add_chat_tab": _add_chat_tab,
    "buzz": _buzz,
    "find_people": _find_people,
    "dissolve_chat": _dissolve_chat,
    "leave_chat": _leave_chat,
    "get_person": _get_person,
    "get_chat": _get_chat,
    "get_bot": _get_bot,
}

# Each sets a state: of several that wait, only the last matters, and it may take the place of the first.
REPLACING_CALLS = frozenset({"patch_card", "rename_chat"})
# A chat that is gone is what these want.
ENDING_CALLS = frozenset({"dissolve_chat", "leave_chat"})
# What of a call counts towards a limit below that of the app: messages of a chat or person, changes of a message.
_TO_A_CHAT = frozenset({"send_message", "reply_message"})
_OF_A_MESSAGE = frozenset({"patch_card", "pin_message", "buzz"})


def limited_by(call: str, arguments: object) -> str:
    """What may see 5 of these calls a second, within the call's target; "" where only the app's limits hold."""
    if call in _TO_A_CHAT:
        return "messages"
    message_id = arguments.get("message_id") if isinstance(arguments, dict) else None
    return f"{call} {message_id}" if call in _OF_A_MESSAGE else ""
