"""The calls to Feishu that only read, each as a request of lark-oapi's typed models (imported lazily).

Whoever reads a chat is a job of the worker or a command, never a web request. Sources: feishu-platform.md 4.3 to 4.5.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lark_oapi import BaseRequest

Json = dict[str, Any]


def _messages(arguments: Json) -> "BaseRequest":
    """A page of a chat (thread roots only) or of a thread (`kind`), oldest first; cards as they were sent."""
    from lark_oapi.api.im.v1 import ListMessageRequest

    builder = ListMessageRequest.builder().container_id_type(arguments["kind"])
    builder = builder.container_id(arguments["container_id"]).sort_type("ByCreateTimeAsc").page_size(50)
    builder = builder.card_msg_content_type("user_card_content")
    return _at_page(builder, arguments)


def _members(arguments: Json) -> "BaseRequest":
    """A page of the people in a chat; bots are not listed."""
    from lark_oapi.api.im.v1 import GetChatMembersRequest

    builder = GetChatMembersRequest.builder().chat_id(arguments["chat_id"]).member_id_type("open_id")
    return _at_page(builder.page_size(100), arguments)


def _person(arguments: Json) -> "BaseRequest":
    from lark_oapi.api.contact.v3 import GetUserRequest

    return GetUserRequest.builder().user_id(arguments["open_id"]).user_id_type("open_id").build()


def resource(arguments: Json) -> "BaseRequest":
    """An image or file of a message; `kind` is image or file."""
    from lark_oapi.api.im.v1 import GetMessageResourceRequest

    builder = GetMessageResourceRequest.builder().message_id(arguments["message_id"])
    return builder.file_key(arguments["file_key"]).type(arguments["kind"]).build()


def _at_page(builder: Any, arguments: Json) -> "BaseRequest":
    token = arguments.get("page_token")
    request: BaseRequest = (builder.page_token(token) if token else builder).build()
    return request


READS: Mapping[str, Callable[[Json], "BaseRequest"]] = {
    "messages": _messages,
    "members": _members,
    "person": _person,
}
