"""larksuite's own Python SDK makes its typed calls against the sandbox, and its dispatcher opens the pushes."""

import io
import json
import re
import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from botconsole.sandbox import SandboxConfig, SandboxServer, frames
from botconsole.sandbox.api import ROUTES
from botconsole.sandbox.frames import Frame
from botconsole.sandbox.oldcards import press_answered, remember_press
from botconsole.sandbox.webhook import seal
from tests.sandbox_world import PNG, until


@pytest.fixture(scope="module")
def lark() -> Any:
    """The SDK: two seconds to import, and not free of warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lark_oapi
        import lark_oapi.api.auth.v3
        import lark_oapi.api.contact.v3
        import lark_oapi.api.im.v1
    return lark_oapi


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    config = SandboxConfig(
        "cli_test", "s3cret", verification_token="vt_1", encrypt_key="key", port=0, limits=False
    )
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
    stored = httpx.get(f"{sandbox.url}/_sandbox/images/{answer.data.image_key}", trust_env=False, timeout=60)
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


# what an incident's bot does


@pytest.fixture(scope="module")
def room(sandbox: SandboxServer) -> str:
    """A chat of the bot's own with Ada in it."""
    world = sandbox.world
    chat = world.add_chat("P1", by_app=1)
    world.join(chat, [world.add_person("Ada", "ou_ada")], world.bot)
    return str(chat["chat_id"])


@pytest.fixture(scope="module")
def sent(lark: Any, client: Any, room: str) -> str:
    """A text the SDK sent."""
    v1 = lark.api.im.v1
    body = v1.CreateMessageRequestBody.builder().receive_id(room).msg_type("text").content('{"text":"hi"}')
    request = v1.CreateMessageRequest.builder().receive_id_type("chat_id").request_body(body.build()).build()
    return str(client.im.v1.message.create(request).data.message_id)


def test_the_sdk_edits_a_text(lark: Any, client: Any, sent: str) -> None:
    v1 = lark.api.im.v1
    body = v1.UpdateMessageRequestBody.builder().msg_type("text").content('{"text":"new"}').build()
    request = v1.UpdateMessageRequest.builder().message_id(sent).request_body(body).build()
    answer = client.im.v1.message.update(request)
    assert (answer.success(), answer.data.updated, answer.data.body.content) == (
        True,
        True,
        '{"text": "new"}',
    )


def test_the_sdk_pins_lists_and_unpins(lark: Any, client: Any, room: str, sent: str) -> None:
    v1 = lark.api.im.v1
    body = v1.CreatePinRequestBody.builder().message_id(sent).build()
    pinned = client.im.v1.pin.create(v1.CreatePinRequest.builder().request_body(body).build())
    listed = client.im.v1.pin.list(v1.ListPinRequest.builder().chat_id(room).build())
    removed = client.im.v1.pin.delete(v1.DeletePinRequest.builder().message_id(sent).build())
    assert pinned.data.pin.operator_id_type == "app_id"
    assert [item.message_id for item in listed.data.items] == [sent]
    assert removed.success()


def test_the_sdk_adds_lists_and_deletes_a_tab(lark: Any, client: Any, room: str) -> None:
    v1 = lark.api.im.v1
    content = v1.ChatTabContent.builder().url("https://console.example/1").build()
    tab = v1.ChatTab.builder().tab_name("INC-1").tab_type("url").tab_content(content).build()
    body = v1.CreateChatTabRequestBody.builder().chat_tabs([tab]).build()
    request = v1.CreateChatTabRequest.builder().chat_id(room).request_body(body).build()
    added = client.im.v1.chat_tab.create(request).data.chat_tabs
    listed = client.im.v1.chat_tab.list_tabs(v1.ListTabsChatTabRequest.builder().chat_id(room).build())
    body = v1.DeleteTabsChatTabRequestBody.builder().tab_ids([added[-1].tab_id]).build()
    request = v1.DeleteTabsChatTabRequest.builder().chat_id(room).request_body(body).build()
    left = client.im.v1.chat_tab.delete_tabs(request).data.chat_tabs
    assert listed.data.chat_tabs[-1].tab_content.url == "https://console.example/1"
    assert [one.tab_type for one in left] == ["message"]


def test_the_sdk_puts_and_deletes_the_top_notice(lark: Any, client: Any, room: str, sent: str) -> None:
    v1 = lark.api.im.v1
    notice = v1.ChatTopNotice.builder().action_type("1").message_id(sent).build()
    body = v1.PutTopNoticeChatTopNoticeRequestBody.builder().chat_top_notice([notice]).build()
    request = v1.PutTopNoticeChatTopNoticeRequest.builder().chat_id(room).request_body(body).build()
    assert client.im.v1.chat_top_notice.put_top_notice(request).success()
    request = v1.DeleteTopNoticeChatTopNoticeRequest.builder().chat_id(room).build()
    assert client.im.v1.chat_top_notice.delete_top_notice(request).success()


def test_the_sdk_names_a_manager(lark: Any, client: Any, room: str) -> None:
    v1 = lark.api.im.v1
    body = v1.AddManagersChatManagersRequestBody.builder().manager_ids(["ou_ada"]).build()
    builder = v1.AddManagersChatManagersRequest.builder().chat_id(room).member_id_type("open_id")
    answer = client.im.v1.chat_managers.add_managers(builder.request_body(body).build())
    assert answer.data.chat_managers == ["ou_ada"]


def test_the_sdk_buzzes(lark: Any, client: Any, sent: str) -> None:
    v1 = lark.api.im.v1
    body = v1.UrgentReceivers.builder().user_id_list(["ou_ada", "ou_nobody"]).build()
    builder = v1.UrgentAppMessageRequest.builder().message_id(sent).user_id_type("open_id")
    answer = client.im.v1.message.urgent_app(builder.request_body(body).build())
    assert answer.data.invalid_user_id_list == ["ou_nobody"]


def say(sandbox: SandboxServer, chat_id: str, **body: object) -> dict[str, Any]:
    url = f"{sandbox.url}/_sandbox/groups/{chat_id}/messages"
    return dict(httpx.post(url, json=body, trust_env=False, timeout=60).json())


def test_the_sdk_downloads_a_file_that_a_person_sent(
    lark: Any, client: Any, sandbox: SandboxServer, room: str
) -> None:
    v1 = lark.api.im.v1
    file = {"name": "日志.txt", "base64": "Ym9vbQ=="}
    message_id = say(sandbox, room, open_id="ou_ada", file=file)["message_id"]
    got = client.im.v1.message.get(v1.GetMessageRequest.builder().message_id(message_id).build())
    key = json.loads(got.data.items[0].body.content)["file_key"]
    builder = v1.GetMessageResourceRequest.builder().message_id(message_id).file_key(key)
    answer = client.im.v1.message_resource.get(builder.type("file").build())
    refused = client.im.v1.message_resource.get(builder.type("image").build())
    assert (answer.file.read(), answer.file_name) == (b"boom", "日志.txt")
    assert refused.code == 234001


def test_the_sdk_replies_in_a_thread_and_lists_it(
    lark: Any, client: Any, sandbox: SandboxServer, room: str
) -> None:
    v1 = lark.api.im.v1
    root = say(sandbox, room, open_id="ou_ada", text="a")["message_id"]
    body = v1.ReplyMessageRequestBody.builder().msg_type("text").content('{"text":"b"}').reply_in_thread(True)
    request = v1.ReplyMessageRequest.builder().message_id(root).request_body(body.build()).build()
    reply = client.im.v1.message.reply(request).data
    builder = v1.ListMessageRequest.builder().container_id_type("thread").container_id(reply.thread_id)
    listed = client.im.v1.message.list(builder.build())
    assert [item.message_id for item in listed.data.items] == [root, reply.message_id]


def test_the_sdks_dispatcher_reads_reactions_and_recalls(
    lark: Any, sandbox: SandboxServer, room: str
) -> None:
    heard: list[Any] = []
    builder = lark.EventDispatcherHandler.builder("key", "vt_1", lark.LogLevel.ERROR)
    builder = builder.register_p2_im_message_reaction_created_v1(heard.append)
    handler = builder.register_p2_im_message_recalled_v1(heard.append).build()
    message_id = say(sandbox, room, open_id="ou_ada", text="a")["message_id"]
    base = f"{sandbox.url}/_sandbox/messages/{message_id}"
    reaction = {"open_id": "ou_ada", "emoji_type": "Pin"}
    told = [
        httpx.post(f"{base}/reactions", json=reaction, trust_env=False, timeout=60).json(),
        httpx.delete(base, trust_env=False, timeout=60).json(),
    ]
    for one in told:
        push = sandbox.world.store.row("SELECT payload FROM pushes WHERE event_id = ?", one["event_id"])
        assert push is not None
        raw = lark.RawRequest()
        raw.uri = "/hook"
        raw.body, raw.headers = seal(sandbox.config, json.loads(push["payload"]))
        assert handler.do(raw).status_code == 200
    assert heard[0].event.reaction_type.emoji_type == "Pin"
    assert (heard[1].event.message_id, heard[1].event.recall_type) == (message_id, "message_owner")


def test_the_sdks_frame_class_reads_our_frames_and_we_read_its_frames(lark: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lark_oapi.ws.pb.pbbp2_pb2 import Frame as Theirs

    ours = Frame(33554678, 1, {"type": "event", "sum": "2"}, b"\x00payload" * 40, 7, 2**63)
    theirs = Theirs.FromString(frames.encode(ours))
    assert (theirs.SeqID, theirs.LogID, theirs.service, theirs.method) == (7, 2**63, 33554678, 1)
    theirs.headers.add(key="biz_rt", value="3")
    theirs.payload_encoding, theirs.LogIDNew = "gzip", "log"
    read = frames.decode(theirs.SerializeToString())
    assert read == Frame(33554678, 1, {**ours.headers, "biz_rt": "3"}, ours.payload, 7, 2**63)


# every call there is


def made(cls: Any, **fields: Any) -> Any:
    """One of the SDK's objects by its builder."""
    builder = cls.builder()
    for name, value in fields.items():
        getattr(builder, name)(value)
    return builder.build()


def generic(lark: Any, client: Any, path: str, body: dict[str, Any] | None = None) -> Any:
    """A call the SDK has no types for."""
    builder = lark.BaseRequest.builder().uri(f"/open-apis{path}").token_types({lark.AccessTokenType.TENANT})
    builder = builder.http_method(lark.HttpMethod.POST if body else lark.HttpMethod.GET)
    return client.request((builder.body(body) if body else builder).build())


def messages_by_sdk(lark: Any, client: Any, chat_id: str, file: tuple[str, str]) -> Iterator[Any]:
    v1, im = lark.api.im.v1, client.im.v1
    card = '{"config":{"update_multi":true},"elements":[]}'
    body = made(v1.CreateMessageRequestBody, receive_id=chat_id, msg_type="interactive", content=card)
    sent = im.message.create(made(v1.CreateMessageRequest, receive_id_type="chat_id", request_body=body))
    yield sent
    one = {"message_id": sent.data.message_id}
    yield im.message.patch(
        made(v1.PatchMessageRequest, **one, request_body=made(v1.PatchMessageRequestBody, content=card))
    )
    body = made(v1.ReplyMessageRequestBody, msg_type="text", content='{"text":"x"}')
    replied = im.message.reply(made(v1.ReplyMessageRequest, **one, request_body=body))
    yield replied
    body = made(v1.UpdateMessageRequestBody, msg_type="text", content='{"text":"y"}')
    yield im.message.update(
        made(v1.UpdateMessageRequest, message_id=replied.data.message_id, request_body=body)
    )
    yield im.message.get(made(v1.GetMessageRequest, **one))
    yield im.message.list(made(v1.ListMessageRequest, container_id_type="chat", container_id=chat_id))
    body = made(v1.UrgentReceivers, user_id_list=["ou_ada"])
    yield im.message.urgent_app(
        made(v1.UrgentAppMessageRequest, **one, user_id_type="open_id", request_body=body)
    )
    yield im.pin.create(made(v1.CreatePinRequest, request_body=made(v1.CreatePinRequestBody, **one)))
    yield im.pin.list(made(v1.ListPinRequest, chat_id=chat_id))
    yield im.pin.delete(made(v1.DeletePinRequest, **one))
    notice = made(v1.ChatTopNotice, action_type="1", **one)
    body = made(v1.PutTopNoticeChatTopNoticeRequestBody, chat_top_notice=[notice])
    yield im.chat_top_notice.put_top_notice(
        made(v1.PutTopNoticeChatTopNoticeRequest, chat_id=chat_id, request_body=body)
    )
    yield im.chat_top_notice.delete_top_notice(made(v1.DeleteTopNoticeChatTopNoticeRequest, chat_id=chat_id))
    yield im.message_resource.get(
        made(v1.GetMessageResourceRequest, message_id=file[0], file_key=file[1], type="file")
    )
    yield im.message.delete(made(v1.DeleteMessageRequest, **one))
    body = made(v1.CreateImageRequestBody, image_type="message", image=io.BytesIO(PNG))
    yield im.image.create(made(v1.CreateImageRequest, request_body=body))


def chats_by_sdk(lark: Any, client: Any) -> Iterator[Any]:
    v1, im = lark.api.im.v1, client.im.v1
    body = made(v1.CreateChatRequestBody, name="P0", user_id_list=["ou_ada"])
    created = im.chat.create(made(v1.CreateChatRequest, request_body=body))
    yield created
    one = {"chat_id": created.data.chat_id}
    yield im.chat.get(made(v1.GetChatRequest, **one))
    yield im.chat.update(
        made(v1.UpdateChatRequest, **one, request_body=made(v1.UpdateChatRequestBody, name="P1"))
    )
    body = made(v1.CreateChatMembersRequestBody, id_list=["ou_bob"])
    yield im.chat_members.create(made(v1.CreateChatMembersRequest, **one, request_body=body))
    yield im.chat_members.get(made(v1.GetChatMembersRequest, **one))
    yield im.chat_members.is_in_chat(made(v1.IsInChatChatMembersRequest, **one))
    body = made(v1.AddManagersChatManagersRequestBody, manager_ids=["ou_bob"])
    yield im.chat_managers.add_managers(made(v1.AddManagersChatManagersRequest, **one, request_body=body))
    body = made(v1.DeleteManagersChatManagersRequestBody, manager_ids=["ou_bob"])
    yield im.chat_managers.delete_managers(
        made(v1.DeleteManagersChatManagersRequest, **one, request_body=body)
    )
    body = made(v1.DeleteChatMembersRequestBody, id_list=["ou_bob"])
    yield im.chat_members.delete(made(v1.DeleteChatMembersRequest, **one, request_body=body))
    body = made(v1.LinkChatRequestBody, validity_period="week")
    yield im.chat.link(made(v1.LinkChatRequest, **one, request_body=body))
    tab = made(
        v1.ChatTab, tab_name="a", tab_type="url", tab_content=made(v1.ChatTabContent, url="https://a.example")
    )
    body = made(v1.CreateChatTabRequestBody, chat_tabs=[tab])
    tabs = im.chat_tab.create(made(v1.CreateChatTabRequest, **one, request_body=body))
    yield tabs
    yield im.chat_tab.list_tabs(made(v1.ListTabsChatTabRequest, **one))
    body = made(v1.DeleteTabsChatTabRequestBody, tab_ids=[tabs.data.chat_tabs[-1].tab_id])
    yield im.chat_tab.delete_tabs(made(v1.DeleteTabsChatTabRequest, **one, request_body=body))
    yield im.chat.delete(made(v1.DeleteChatRequest, **one))


def people_by_sdk(lark: Any, client: Any) -> Iterator[Any]:
    v3 = lark.api.contact.v3
    yield client.contact.v3.user.get(made(v3.GetUserRequest, user_id="ou_ada", user_id_type="open_id"))
    body = made(v3.BatchGetIdUserRequestBody, emails=["ada@sandbox.example"])
    yield client.contact.v3.user.batch_get_id(made(v3.BatchGetIdUserRequest, request_body=body))
    yield generic(lark, client, "/bot/v3/info")
    addresses = client.event.v1.outbound_ip.list(lark.api.event.v1.ListOutboundIpRequest.builder().build())
    assert addresses.data.ip_list == ["127.0.0.1"]
    yield addresses


def tokens_by_sdk(lark: Any, client: Any, sandbox: SandboxServer) -> Iterator[Any]:
    v3, auth = lark.api.auth.v3, client.auth.v3
    app = {"app_id": "cli_test", "app_secret": "s3cret"}
    body = made(v3.InternalTenantAccessTokenRequestBody, **app)
    yield auth.tenant_access_token.internal(made(v3.InternalTenantAccessTokenRequest, request_body=body))
    body = made(v3.InternalAppAccessTokenRequestBody, **app)
    yield auth.app_access_token.internal(made(v3.InternalAppAccessTokenRequest, request_body=body))
    body = made(v3.ResendAppTicketRequestBody, **app)
    yield auth.app_ticket.resend(made(v3.ResendAppTicketRequest, request_body=body))
    ticket = sandbox.world.store.recall("app ticket")
    body = made(v3.CreateAppAccessTokenRequestBody, **app, app_ticket=ticket)
    app_token = auth.app_access_token.create(made(v3.CreateAppAccessTokenRequest, request_body=body))
    yield app_token
    token = json.loads(app_token.raw.content)["app_access_token"]
    body = made(v3.CreateTenantAccessTokenRequestBody, app_access_token=token, tenant_key="tk_sandbox")
    yield auth.tenant_access_token.create(made(v3.CreateTenantAccessTokenRequest, request_body=body))


def old_calls_by_sdk(lark: Any, client: Any, chat_id: str, press_token: str) -> Iterator[Any]:
    card = {"config": {"update_multi": True}, "elements": []}
    yield generic(lark, client, "/interactive/v1/card/update", {"token": press_token, "card": card})
    body = {"chat_id": chat_id, "open_id": "ou_ada", "msg_type": "interactive", "card": card}
    sent = generic(lark, client, "/ephemeral/v1/send", body)
    yield sent
    message_id = json.loads(sent.raw.content)["data"]["message_id"]
    yield generic(lark, client, "/ephemeral/v1/delete", {"message_id": message_id})


def pressed_card(sandbox: SandboxServer, chat_id: str) -> str:
    """The token of a press that the app has answered."""
    world = sandbox.world
    message = world.add_message(chat_id, ("cli_test", "app"), "interactive", '{"elements":[]}', [], None)
    remember_press(world, "c-1", message["message_id"])
    press_answered(world, "c-1")
    return "c-1"


def test_every_call_of_the_sandbox_is_made_by_the_sdk(lark: Any, client: Any, sandbox: SandboxServer) -> None:
    world = sandbox.world
    chat = world.add_chat("all calls", by_app=1)
    ada, bob = (world.add_person(name, f"ou_{name.lower()}") for name in ("Ada", "Bob"))
    world.change_person(ada["open_id"], email="ada@sandbox.example")
    world.join(chat, [ada, bob], world.bot)
    told = say(sandbox, chat["chat_id"], open_id="ou_ada", file={"name": "a.txt", "base64": "Ym9vbQ=="})
    file_key = json.loads(world.must_message(told["message_id"])["content"])["file_key"]
    sandbox.world.calls.clear()
    answers = [
        *tokens_by_sdk(lark, client, sandbox),
        *people_by_sdk(lark, client),
        *chats_by_sdk(lark, client),
        *messages_by_sdk(lark, client, chat["chat_id"], (told["message_id"], file_key)),
        *old_calls_by_sdk(lark, client, chat["chat_id"], pressed_card(sandbox, chat["chat_id"])),
    ]
    assert [answer.msg for answer in answers if not answer.success()] == []
    until(lambda: unasked(sandbox) == [])


def unasked(sandbox: SandboxServer) -> list[str]:
    """The known calls that are not in the list of calls made (a call is listed once it is over)."""
    calls = [(call["method"], call["path"]) for call in sandbox.world.calls.view()]
    patterns = [(api, re.compile(re.sub(r"{\w+}", "[^/]+", f"/open-apis{api.path}"))) for api in ROUTES]
    return [
        f"{api.method} {api.path}"
        for api, pattern in patterns
        if not any(method == api.method and pattern.fullmatch(path) for method, path in calls)
    ]
