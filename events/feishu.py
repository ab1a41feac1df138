"""The only module that speaks to Feishu through lark-oapi, which is imported at the first call.

Of the SDK it uses the request models. Tokens and connections are kept here: the SDK's token builders mix apps
under threads, and its transport opens a new connection for every call (feishu-platform.md 6).
"""

import json
import math
import os
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import NewConnectionError, ProxyError

from .calls import CALLS
from .codes import TOO_OFTEN, Reaction, reaction_to
from .reads import READS, resource

if TYPE_CHECKING:
    from lark_oapi import BaseRequest

Json = dict[str, Any]
T = TypeVar("T")
Post = Callable[[str, Json], Json]  # asks Feishu without a token: path, body -> the whole answer
Grant = Callable[[Post], tuple[str, float]]  # how to come to an access token, and its seconds (events.tokens)

CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 15  # the worker renews its lease meanwhile
DOWNLOAD_SECONDS = 100  # for one file altogether
TOKEN_MARGIN_SECONDS = 300
TOKEN_ERROR_SECONDS = 5  # a failed fetch answers everyone who asks for so long: nobody queues up behind it
LONGEST_RESET_SECONDS = 3600
USER_AGENT = "botconsole"


class FeishuError(Exception):
    """A call that did not succeed.

    `code` and `http_status` are None where no answer came. `unsure`: Feishu may have acted all the same.
    `retry_after_seconds` is what a rate limit asked for, 0 where it said nothing.
    """

    def __init__(
        self,
        message: str,
        *,
        code: int | None = None,
        http_status: int | None = None,
        log_id: str = "",
        retry_after_seconds: float = 0,
        unsure: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.http_status = http_status
        self.log_id = log_id
        self.retry_after_seconds = retry_after_seconds
        self.unsure = unsure

    @property
    def reaction(self) -> Reaction | None:
        return reaction_to(self.code, self.message, self.http_status)

    @property
    def permanent(self) -> bool:
        """Whether trying again cannot help."""
        return self.reaction not in (Reaction.RETRY, Reaction.TOKEN)

    @property
    def is_rate_limit(self) -> bool:
        """Whether the app called this API too often; a chat's own limit is another matter."""
        return self.code == TOO_OFTEN or self.http_status == 429


class TooLargeError(FeishuError):
    """A download that was given up because it is larger than wanted."""


@dataclass(frozen=True)
class Answer:
    """A successful call: `data` of the answer, and what the attempt's row keeps."""

    data: Json
    http_status: int
    log_id: str


class FeishuClient:
    """Calls Feishu as one app; safe for many threads, which share its connections and its token."""

    def __init__(
        self, app_id: str, app_secret: str, domain: str, connections: int = 16, grant: Grant | None = None
    ) -> None:
        self.domain = domain
        self._credentials = {"app_id": app_id, "app_secret": app_secret}
        self.grant = grant or self._grant_of_custom_app
        self._session = _session(domain)
        self._session.mount("http://", HTTPAdapter(pool_maxsize=connections))
        self._session.mount("https://", HTTPAdapter(pool_maxsize=connections))
        self._token_lock = threading.Lock()
        self._token = ""
        self._token_expires_at = 0.0
        self._token_error: FeishuError | None = None
        self._token_error_until = 0.0

    def call(self, name: str, arguments: Json, uuid: str, attachment: bytes = b"") -> Answer:
        """Makes one of CALLS with the arguments of an outbox row; raises FeishuError."""
        return self.execute(lambda: CALLS[name](arguments, uuid, attachment))

    def execute(self, build: Callable[[], "BaseRequest"]) -> Answer:
        """Sends the request; a dead token is fetched anew once. Raises FeishuError.

        `build` makes a new request every time: the SDK's request objects must not be used twice.
        """
        return self._with_token(lambda token: self._send(build(), token))

    def read(self, name: str, arguments: Json) -> Answer:
        """Makes one of READS (events.reads), which change nothing; raises FeishuError."""
        return self.execute(lambda: READS[name](arguments))

    def download(self, message_id: str, file_key: str, kind: str, limit_bytes: int) -> bytes:
        """An image or file (`kind`) of a message; raises TooLargeError above the limit, else FeishuError."""
        arguments = {"message_id": message_id, "file_key": file_key, "kind": kind}
        return self._with_token(lambda token: self._stream(resource(arguments), token, limit_bytes))

    def _with_token(self, ask: Callable[[str], T]) -> T:
        token = self._fetch_token()
        try:
            return ask(token)
        except FeishuError as error:
            if error.reaction is not Reaction.TOKEN:
                raise
        return ask(self._fetch_token(instead_of=token))

    def bot_info(self) -> Json:
        """`{"app_name", "open_id", "activate_status", ...}` of the app's bot; raises FeishuError."""
        answer = self.execute(_bot_info)
        info: Json = answer.data.get("bot") or {}
        return info

    def history(self, chat_id: str, start: int, end: int) -> Iterator[Json]:
        """The messages of a chat between two times (seconds), oldest first, all pages; raises FeishuError."""
        page_token = ""
        while True:
            answer = self.execute(partial(_list_messages, chat_id, start, end, page_token))
            yield from answer.data.get("items") or []
            page_token = str(answer.data.get("page_token") or "")
            if not answer.data.get("has_more") or not page_token:
                return

    def tabs(self, chat_id: str) -> list[Json]:
        """The tabs of a chat (at most 20, one page); raises FeishuError."""
        answer = self.execute(partial(_list_tabs, chat_id))
        return [tab for tab in answer.data.get("chat_tabs") or [] if isinstance(tab, dict)]

    def _fetch_token(self, instead_of: str = "") -> str:
        """The tenant access token; one fetch per expiry however many threads ask."""
        with self._token_lock:
            now = time.monotonic()
            if self._token and self._token != instead_of and now < self._token_expires_at:
                return self._token
            if self._token_error is not None and now < self._token_error_until:
                raise self._token_error
            try:
                self._token, lifetime = self.grant(self._post)
            except FeishuError as error:
                self._token_error, self._token_error_until = error, time.monotonic() + TOKEN_ERROR_SECONDS
                raise
            # Feishu hands out the same token until 30 minutes remain, so the margin stays below that.
            self._token_expires_at = time.monotonic() + max(lifetime - TOKEN_MARGIN_SECONDS, lifetime / 2)
            return self._token

    def _grant_of_custom_app(self, post: Post) -> tuple[str, float]:
        document = post("/open-apis/auth/v3/tenant_access_token/internal", self._credentials)
        try:
            return str(document["tenant_access_token"]), float(document["expire"])
        except (KeyError, TypeError, ValueError) as error:
            raise FeishuError("the answer to the token request is not understood") from error

    def _post(self, path: str, body: Json) -> Json:
        return self._exchange("POST", path, json_body=body)[0]

    def _send(self, request: "BaseRequest", token: str) -> Answer:
        from lark_oapi import JSON
        from lark_oapi.core.utils import Files

        path = _path(request)
        files = Files.extract_files(request.body)
        body = None if request.body is None else json.loads(str(JSON.marshal(request.body)))
        document, status, log_id = self._exchange(
            str(request.http_method.name),
            path,
            params=request.queries,
            json_body=body,
            files=files,
            token=token,
        )
        data = document.get("data")
        return Answer(data if isinstance(data, dict) else document, status, log_id)

    def _stream(self, request: "BaseRequest", token: str, limit_bytes: int) -> bytes:
        headers = {"User-Agent": USER_AGENT, "Authorization": f"Bearer {token}"}
        timeout = (CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS)
        deadline = time.monotonic() + DOWNLOAD_SECONDS
        data = bytearray()
        try:
            with self._session.get(
                self.domain + _path(request),
                params=request.queries,
                headers=headers,
                timeout=timeout,
                stream=True,
                allow_redirects=False,
            ) as response:
                if response.status_code != 200 or _is_answer(response):
                    _read(response, unsure=False)
                    raise FeishuError("no file came", http_status=400)
                for chunk in response.iter_content(64 * 1024):
                    data += chunk
                    if len(data) > limit_bytes:
                        raise TooLargeError(f"larger than {limit_bytes} bytes", http_status=400)
                    if time.monotonic() > deadline:
                        raise FeishuError(f"the download took longer than {DOWNLOAD_SECONDS} s")
        except requests.RequestException as error:
            raise FeishuError(_network_message(error)) from error
        return bytes(data)

    def _exchange(
        self,
        method: str,
        path: str,
        *,
        params: Any = None,
        json_body: Any = None,
        files: Any = None,
        token: str = "",
    ) -> tuple[Json, int, str]:
        headers = {"User-Agent": USER_AGENT}
        data = json_body  # the text fields beside a file
        if not files:
            headers["Content-Type"] = "application/json; charset=utf-8"
            data = None if json_body is None else json.dumps(json_body, ensure_ascii=False).encode()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            response = self._session.request(
                method,
                self.domain + path,
                params=params,
                data=data,
                files=files or None,
                headers=headers,
                timeout=(CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            unsure = bool(token) and not _never_connected(error)
            raise FeishuError(_network_message(error), unsure=unsure) from error
        return _read(response, unsure=bool(token))


def _is_answer(response: requests.Response) -> bool:
    """Whether JSON came where a file was asked for; a file that holds JSON comes as an attachment."""
    headers = response.headers
    return "Content-Disposition" not in headers and "json" in headers.get("Content-Type", "")


def _path(request: "BaseRequest") -> str:
    path = str(request.uri)
    for name, value in request.paths.items():
        path = path.replace(f":{name}", urllib.parse.quote(str(value), safe=""))
    return path


def _session(domain: str) -> requests.Session:
    """A session that looks at the proxy and certificate variables once, not at every call."""
    session = requests.Session()
    session.trust_env = False
    session.proxies.update(requests.utils.get_environ_proxies(domain))
    session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    return session


def long_connection_endpoint(app_id: str, app_secret: str, domain: str) -> Json:
    """`{"URL", "ClientConfig"}` of a new long connection; the URL is a secret. Raises FeishuError."""
    try:
        with _session(domain) as session:
            response = session.post(
                f"{domain}/callback/ws/endpoint",
                json={
                    "AppID": app_id,
                    "AppSecret": app_secret,
                },  # capitalised: lower case is answered with 514
                headers={"locale": "zh", "User-Agent": USER_AGENT},
                timeout=(CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS),
                allow_redirects=False,  # the secret goes nowhere else
            )
    except requests.RequestException as error:
        raise FeishuError(_network_message(error)) from error
    document, status, _ = _read(response, unsure=False)
    data = document.get("data")
    if not isinstance(data, dict) or not data.get("URL"):
        raise FeishuError("Feishu named no address for the long connection", http_status=status)
    return data


def frame_class() -> Any:
    """The SDK's protobuf message of the long connection (SeqID, LogID, service, method, headers, payload)."""
    from lark_oapi.ws.pb.pbbp2_pb2 import Frame

    return Frame


def load_sdk() -> None:
    """Imports the SDK now (1 to 4 s), so that the first message does not wait for it."""
    import lark_oapi  # noqa: F401


def _read(response: requests.Response, *, unsure: bool) -> tuple[Json, int, str]:
    """The parsed answer, its status and log id; raises FeishuError unless `code` is 0."""
    status, headers = response.status_code, response.headers
    log_id = headers.get("X-Tt-Logid", "")[:80]
    try:
        document = response.json()
        code = int(document["code"])
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        # A 502 page of some proxy, or half an answer: Feishu itself may have acted.
        message = f"HTTP {status}, and the answer is not Feishu's JSON"
        retryable = None if status < 400 else status
        raise FeishuError(
            message,
            http_status=retryable,
            log_id=log_id,
            retry_after_seconds=_seconds(headers),
            unsure=unsure and status != 429,
        ) from error
    if code != 0:
        raise FeishuError(
            str(document.get("msg", ""))[:500],
            code=code,
            http_status=status,
            log_id=log_id,
            retry_after_seconds=_seconds(headers),
            unsure=unsure and status >= 500,
        )
    return document, status, log_id


def _seconds(headers: Mapping[str, str]) -> float:
    try:
        seconds = float(headers.get("x-ogw-ratelimit-reset") or 0)
    except ValueError:
        return 0.0
    return min(max(0.0, seconds), LONGEST_RESET_SECONDS) if math.isfinite(seconds) else 0.0


def _never_connected(error: requests.RequestException) -> bool:
    """Whether the request cannot have reached Feishu: no address, nobody listening, no connection in time."""
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    connect_timeout = isinstance(error, requests.exceptions.ConnectTimeout)
    return connect_timeout or isinstance(reason, NewConnectionError | ProxyError)


def _network_message(error: requests.RequestException) -> str:
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return "no connection to Feishu within 5 s"
    if isinstance(error, requests.exceptions.Timeout):
        return "no answer from Feishu within 15 s"
    return f"the connection to Feishu failed ({type(error).__name__})"


def _list_messages(chat_id: str, start: int, end: int, page_token: str) -> "BaseRequest":
    from lark_oapi.api.im.v1 import ListMessageRequest

    builder = ListMessageRequest.builder().container_id_type("chat").container_id(chat_id)
    builder = builder.start_time(str(start)).end_time(str(end)).sort_type("ByCreateTimeAsc").page_size(50)
    builder = builder.card_msg_content_type("user_card_content")
    return (builder.page_token(page_token) if page_token else builder).build()


def _list_tabs(chat_id: str) -> "BaseRequest":
    from lark_oapi.api.im.v1 import ListTabsChatTabRequest

    return ListTabsChatTabRequest.builder().chat_id(chat_id).build()


def _bot_info() -> "BaseRequest":
    from lark_oapi import AccessTokenType, BaseRequest, HttpMethod

    builder = BaseRequest.builder().http_method(HttpMethod.GET).uri("/open-apis/bot/v3/info")
    return builder.token_types({AccessTokenType.TENANT}).build()
