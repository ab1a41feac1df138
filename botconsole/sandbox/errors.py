"""The platform's error codes with their messages and HTTP status, and the one exception that carries them."""

from typing import Any

CODES: dict[int, str] = {
    10003: "invalid param",
    10002: "invalid param",
    10012: "app ticket invalid",
    10014: "app secret invalid",
    11232: "create message trigger ratelimit",
    11310: "card has too many elements",
    18051: "the ephemeral message is gone",
    40001: "param error",
    41050: "no user authority error",
    99991400: "request trigger frequency limit",
    99991661: "Missing access token for authorization. Please make a request with token attached.",
    99991663: "Invalid access token for authorization. Please make a request with token attached.",
    99991664: "app access token invalid",
    99991668: "Invalid access token for authorization: user access token not support",
    99991671: "Invalid access token for authorization. The token must start with 't-' or 'u-'.",
    99991672: "Access denied. One of the required scopes is missing.",
    99992351: "The request you send is not a valid {open_id} or not exists.",
    99992360: "The request you send is not a valid {id} or not exists.",
    99992361: "open_id cross app",
    99992402: "field validation failed",
    100000: "the card is too large",
    100030: "invalid card",
    200000: "the message is recalled",
    200310: "the card was not sent by this app",
    200320: "open_ids is invalid",
    230001: "Your request contains an invalid request parameter.",
    230002: "The bot can not be outside the group.",
    230011: "The message is recalled.",
    230012: "Bot is NOT the sender of the message.",
    230013: "Bot has NO availability to this user.",
    230017: "Bot is NOT the owner of the resource.",
    230018: "These operations are NOT allowed at current group settings.",
    230020: "This operation triggers the frequency limit.",
    230022: "The content of the message contains sensitive information.",
    230023: "The number of unread buzzes reaches its limit.",
    230024: "The buzz quota of the tenant is used up.",
    230025: "The length of the message content reaches its limit.",
    230026: "No permission to recall this message.",
    230027: "Lack of necessary permissions.",
    230029: "The user has resigned.",
    230031: "The message is more than 14 days old and can no longer be updated.",
    230034: "The receive_id is invalid.",
    230045: "The chat not exist.",
    230046: "No Permission to Pin/Unpin messages in the chat.",
    230047: "Pin/Unpin message trigger message_id limit.",
    230050: "The message is invisible to the operator.",
    230052: "No permission to send urgent messages in the chat.",
    230054: "This operation is not supported for this message type.",
    230055: "The type of file upload does not match the type of message being sent.",
    230071: "The operator is not the sender of the message.",
    230072: "The message has reached its limit of edits.",
    230075: "The message is too old to be edited.",
    230099: "Failed to create card content",
    230110: "The message has been deleted.",
    232001: "Your request contains an invalid request parameter.",
    232002: "The operator is not the owner or an administrator of the chat.",
    232004: "The app does not exist.",
    232006: "Your request specifies a chat_id which is invalid.",
    232008: "The chat type does not support this operation.",
    232009: "Your request specifies a chat which has already been dissolved.",
    232011: "Operator can NOT be out of the chat.",
    232012: "The new owner is not in the chat.",
    232013: "The number of members of the chat exceeds its limit.",
    232016: "Only certain parts of the chat can be edited by an ordinary member.",
    232017: "The operator does not have permission for this operation.",
    232019: "The request rate of this operation is too high.",
    232022: "The user has resigned.",
    232024: "Users do not have the visibility of the app, or the operator has no collaboration with them.",
    232027: "There is no valid member.",
    232030: "The user_id is invalid.",
    232041: "The avatar key is invalid.",
    232043: "Your request contains unavailable ids.",
    232044: "The number of administrators of the chat exceeds its limit.",
    232046: "The number of chat tabs has reached the limit.",
    232047: "The length of the tab name reaches the limit.",
    232048: "The chat tab content is illegal.",
    232049: "Update or Delete operations only support doc or url tab type.",
    232050: "Operate chat tab unsupported chat type.",
    234001: "Invalid request param.",
    234003: "File not in msg.",
    234004: "App not in chat.",
    234006: "The file size exceed the max value.",
    234007: "App does not enable bot feature.",
    234010: "File's size can't be 0.",
    234011: "Can't recognize image format.",
    234039: "Image resolution exceeds limit.",
    234043: "Unsupported message type.",
    300020: "invalid token",
    300030: "the token is expired",
    300040: "the token was used too often",
    300090: "open_ids is required, the card is not shared",
}
HTTP_STATUS: dict[int, int] = {99991400: 429}  # every other business error is HTTP 400


class PlatformError(Exception):
    """A refusal as Feishu words it; `more` goes behind the table's message, `extra` beside `error.log_id`."""

    def __init__(self, code: int, more: str = "", **extra: Any) -> None:
        message = CODES[code]
        super().__init__(f"{message.rstrip('.')}, {more}" if more else message)
        self.code = code
        self.message = str(self)
        self.status = HTTP_STATUS.get(code, 400)
        self.extra = extra


def card_error(sub_code: int, what: str, where: str = "") -> PlatformError:
    """230099 in the wording of the card service, whose sub-code clients read out of the message."""
    return PlatformError(230099, f"ext=ErrCode: {sub_code}; ErrMsg: {what}; ErrorValue: {where}")
