"""larksuite's own Python SDK makes its typed calls against the sandbox, and its dispatcher opens the pushes."""

import io
import json
import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from botconsole.sandbox import SandboxConfig, SandboxServer
from botconsole.sandbox.push import seal

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR" + (8).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"


@pytest.fixture(scope="module")
def lark() -> Any:
    """The SDK: two seconds to import, and not free of warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lark_oapi
        import lark_oapi.api.im.v1
    return lark_oapi


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    config = SandboxConfig("cli_test", "s3cret", verification_token="vt_1", encrypt_key="key", port=0)
    with SandboxServer(config) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def client(lark: Any, sandbox: SandboxServer) -> Any:
    builder = lark.Client.builder().app_id("cli_test").app_secret("s3cret")
    return builder.domain(sandbox.url).log_level(lark.LogLevel.ERROR).timeout(5).build()


@pytest.fixture(scope="module")
def chat_id(lark: Any, client: Any) -> str:
    v1 = lark.api.im.v1
    body = v1.CreateChatRequestBody.builder().name("P0").build()
    answer = client.im.v1.chat.create(v1.CreateChatRequest.builder().request_body(body).build())
    assert answer.success(), answer.msg
    return str(answer.data.chat_id)


def test_the_sdk_sends_patches_and_lists_a_card(lark: Any, client: Any, chat_id: str) -> None:
    v1 = lark.api.im.v1
    card = json.dumps({"schema": "2.0", "body": {"elements": [{"tag": "hr"}]}})
    body = (
        v1.CreateMessageRequestBody.builder()
        .receive_id(chat_id)
        .msg_type("interactive")
        .content(card)
        .build()
    )
    request = v1.CreateMessageRequest.builder().receive_id_type("chat_id").request_body(body).build()
    sent = client.im.v1.message.create(request)
    change = v1.PatchMessageRequestBody.builder().content(card).build()
    request = v1.PatchMessageRequest.builder().message_id(sent.data.message_id).request_body(change).build()
    patched = client.im.v1.message.patch(request)
    request = v1.ListMessageRequest.builder().container_id_type("chat").container_id(chat_id).build()
    listed = client.im.v1.message.list(request)
    assert (sent.success(), patched.success(), listed.success()) == (True, True, True)
    assert [(item.message_id, item.updated) for item in listed.data.items] == [(sent.data.message_id, True)]


def test_the_sdk_uploads_an_image(lark: Any, client: Any, sandbox: SandboxServer) -> None:
    v1 = lark.api.im.v1
    body = v1.CreateImageRequestBody.builder().image_type("message").image(io.BytesIO(PNG)).build()
    answer = client.im.v1.image.create(v1.CreateImageRequest.builder().request_body(body).build())
    stored = httpx.get(f"{sandbox.url}/_sandbox/images/{answer.data.image_key}", trust_env=False)
    assert stored.content == PNG


def test_the_sdk_renames_and_reads_a_chat(lark: Any, client: Any, chat_id: str) -> None:
    v1 = lark.api.im.v1
    body = v1.UpdateChatRequestBody.builder().name("[已解决] P0").build()
    request = v1.UpdateChatRequest.builder().chat_id(chat_id).request_body(body).build()
    assert client.im.v1.chat.update(request).success()
    got = client.im.v1.chat.get(v1.GetChatRequest.builder().chat_id(chat_id).build())
    assert (got.data.name, got.data.user_count) == ("[已解决] P0", "0")


def test_the_sdk_reads_code_and_log_id_of_a_refusal(lark: Any, client: Any) -> None:
    v1 = lark.api.im.v1
    answer = client.im.v1.chat.get(v1.GetChatRequest.builder().chat_id("oc_nobody").build())
    assert (answer.success(), answer.code) == (False, 232006)
    assert len(answer.get_log_id()) == 32


def test_the_sdks_generic_request_reads_the_bot(lark: Any, client: Any, sandbox: SandboxServer) -> None:
    builder = lark.BaseRequest.builder().http_method(lark.HttpMethod.GET).uri("/open-apis/bot/v3/info")
    answer = client.request(builder.token_types({lark.AccessTokenType.TENANT}).build())
    assert json.loads(answer.raw.content)["bot"]["open_id"] == sandbox.config.bot_open_id


def test_the_sdks_dispatcher_accepts_a_sealed_push(lark: Any, sandbox: SandboxServer) -> None:
    heard = []
    builder = lark.EventDispatcherHandler.builder("key", "vt_1", lark.LogLevel.ERROR)
    handler = builder.register_p2_im_chat_member_user_added_v1(heard.append).build()
    chat = sandbox.world.add_chat("g")
    event_id = sandbox.world.join(chat, [sandbox.world.add_person("Juniper")], sandbox.world.bot)
    push = sandbox.world.store.row("SELECT payload FROM pushes WHERE event_id = ?", event_id)
    assert push is not None
    raw = lark.RawRequest()
    raw.uri = "/hook"
    raw.body, raw.headers = seal(sandbox.config, json.loads(push["payload"]))
    assert handler.do(raw).status_code == 200
    assert [user.name for user in heard[0].event.users] == ["Juniper"]
