"""The export of an incident: the whole chat through the sandbox, what may go wrong on the way, and its formats."""

import base64
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils import timezone

from botconsole.worker import Worker
from events.models import Event
from incidents import history
from incidents.export import as_html, as_json, as_markdown, write_texts
from incidents.exporting import Exporting
from incidents.history import CollectError, collect
from incidents.models import LEASE, Actor, Export, Incident, LostError, TimelineEntry, Via
from incidents.models.export import PIECE_BYTES
from incidents.record import Attachment, Entry, Message, Record, file_name
from tests.incident_world import PNG
from tests.waiting import running, wait_until

pytest_plugins = ["tests.incident_fixtures", "tests.admin_fixtures"]
pytestmark = pytest.mark.django_db(transaction=True)

OPERATOR = Actor(Via.ADMIN, "operator")
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def place_for_exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_EXPORTS", str(tmp_path))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same number of tries, without the waits between them."""
    monkeypatch.setattr(history, "RETRY_SECONDS", (0, 0))
    monkeypatch.setattr(history, "SECONDS_BETWEEN_CALLS", 0)


@pytest.fixture
def chat(bot: Any, feishu: Any) -> Any:
    """A resolved incident in a group of the sandbox, with Ada and Lin in it."""
    chat_id = feishu.call("POST", "groups", {"name": "P0"})["chat_id"]
    for name in ("Ada", "Lin"):
        feishu.call("POST", f"groups/{chat_id}/members", {"name": name, "open_id": f"ou_{name.lower()}"})
    return Incident.objects.import_chat(
        bot=bot, chat_id=chat_id, title="Payments fail", by=OPERATOR, resolved=True
    )


def said(feishu: Any, incident: Any, **message: Any) -> str:
    """A message of Ada's, whatever its kind; returns its id."""
    told = feishu.call("POST", f"groups/{incident.chat_id}/messages", {"open_id": "ou_ada", **message})
    if told["event_id"]:
        feishu.arrived(told["event_id"])
    return told["message_id"]


def collected(incident: Any) -> Record:
    return collect(Incident.objects.get(pk=incident.pk), lambda done, total: None, scratch())


def scratch() -> Path:
    return Path(tempfile.mkdtemp(dir=os.environ["PYTEST_EXPORTS"]))


def as_files(record: Record) -> dict[str, bytes]:
    """path -> bytes of the texts."""
    folder = scratch()
    write_texts(record, folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def texts(record: Record) -> list[str]:
    return [message.text for message in record.in_order()]


def made(incident: Any) -> Export:
    """The incident's export after the worker has been at it."""
    export = incident.export(OPERATOR)
    Worker().run_once()
    export.refresh_from_db()
    return export


def unzipped(export: Export) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(b"".join(export.content()))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


# --- The history -----------------------------------------------------------------------------------------
def test_all_pages_of_a_long_chat_are_read_in_order(chat: Any, feishu: Any) -> None:
    for number in range(60):
        feishu.call(
            "POST", f"groups/{chat.chat_id}/messages", {"open_id": "ou_ada", "text": f"line {number}"}
        )
    assert texts(collected(chat)) == [f"line {number}" for number in range(60)]


def test_the_replies_of_a_thread_follow_their_root(chat: Any, feishu: Any) -> None:
    root = said(feishu, chat, text="root")
    said(feishu, chat, text="later")
    said(feishu, chat, text="reply 1", reply_to=root, in_thread=True)
    said(feishu, chat, text="reply 2", reply_to=root, in_thread=True)
    record = collected(chat)
    assert texts(record) == ["root", "reply 1", "reply 2", "later"]
    assert [message.is_reply for message in record.in_order()] == [False, True, True, False]


def test_an_image_and_a_file_are_downloaded(chat: Any, feishu: Any) -> None:
    said(feishu, chat, image=base64.b64encode(PNG).decode())
    said(feishu, chat, file={"name": "日志.txt", "base64": base64.b64encode(b"boom").decode()})
    record = collected(chat)
    files = {path: file.read_bytes() for path, file in record.files.items()}
    assert files == {"attachments/001-image.png": PNG, "attachments/002-日志.txt": b"boom"}
    assert record.complete


def test_a_recalled_message_is_marked_and_its_text_gone(chat: Any, feishu: Any) -> None:
    message_id = said(feishu, chat, text="the password is 1234")
    feishu.arrived(feishu.call("DELETE", f"messages/{message_id}")["event_id"])
    files = as_files(collected(chat))
    assert all(b"1234" not in data for data in files.values())
    assert "*(recalled)*" in files["export.md"].decode()


def test_an_edited_message_shows_its_last_text_and_says_so(chat: Any, feishu: Any) -> None:
    message_id = said(feishu, chat, text="tpyo")
    feishu.call("PATCH", f"messages/{message_id}", {"text": "typo"})
    [message] = collected(chat).messages
    assert (message.text, message.edited) == ("typo", True)


def test_a_card_is_told_as_text(bot: Any, chat: Any, feishu: Any) -> None:
    from events.outbox import send_card

    card = {"schema": "2.0", "body": {"elements": [{"tag": "markdown", "content": "Payments **fail**"}]}}
    send_card(bot, chat_id=chat.chat_id, card=card, key="card")
    Worker().run_once()
    [message] = collected(chat).messages
    assert (message.sender, message.by_app, message.text) == ("OpsBot", True, "Payments fail")


def test_names_come_from_the_members_and_whoever_left_from_the_contact_api(chat: Any, feishu: Any) -> None:
    said(feishu, chat, text="hello")
    said(feishu, chat, text="bye", open_id="ou_lin")
    feishu.call("DELETE", f"groups/{chat.chat_id}/members/ou_lin")
    assert [message.sender for message in collected(chat).messages] == ["Ada", "Lin"]


def test_a_person_nobody_knows_keeps_the_open_id(chat: Any, feishu: Any) -> None:
    from events.models import Person

    feishu.person("Ghost", "ou_ghost", visible=False)
    feishu.call("POST", f"groups/{chat.chat_id}/members", {"open_id": "ou_ghost"})
    said(feishu, chat, text="boo", open_id="ou_ghost")
    feishu.call("DELETE", f"groups/{chat.chat_id}/members/ou_ghost")
    feishu.quiet()
    Event.objects.filter(event_type__startswith="im.chat.member").delete()
    Person.objects.all().delete()
    record = collected(chat)
    assert [message.sender for message in record.messages] == ["ou_ghost"]
    assert record.complete


# --- What one side does not know ---------------------------------------------------------------------------
def test_a_message_that_was_never_pushed_is_listed_as_a_gap(chat: Any, feishu: Any) -> None:
    said(feishu, chat, text="heard")
    message_id = said(feishu, chat, text="unheard")
    Event.objects.filter(dedup_key=message_id).delete()
    record = collected(chat)
    assert (record.not_in_events, record.not_in_history) == ((message_id,), ())


def test_a_message_that_history_lacks_comes_from_its_event(chat: Any, feishu: Any) -> None:
    said(feishu, chat, text="kept")
    lost = said(feishu, chat, text="lost")
    event = Event.objects.get(dedup_key=lost)
    event.body["event"]["message"]["message_id"] = event.dedup_key = "om_lost"
    event.save()
    record = collected(chat)
    assert record.not_in_history == ("om_lost",)
    assert {one.message_id: one.source for one in record.messages}["om_lost"] == "events"


def test_without_the_scope_the_received_messages_are_told_and_the_lack_named(chat: Any, feishu: Any) -> None:
    said(feishu, chat, text="what is known")
    feishu.call("POST", "scopes", {"missing": ["im:message.group_msg"]})
    record = collected(chat)
    assert texts(record) == ["what is known"]
    assert "230027" in record.missing[0]
    assert "im:message.group_msg" in record.missing[0]


def test_a_file_that_cannot_be_had_is_named(chat: Any, feishu: Any) -> None:
    said(feishu, chat, image=base64.b64encode(PNG).decode())
    feishu.fault(code=234003, path="/resources/")
    record = collected(chat)
    assert record.messages[0].attachments[0].error
    assert not record.complete


def test_a_file_above_the_limit_is_named(chat: Any, feishu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "FILE_BYTES", 10)
    said(feishu, chat, image=base64.b64encode(PNG).decode())
    record = collected(chat)
    assert (record.files, len(record.missing)) == ({}, 1)


def test_an_incident_without_a_chat_has_its_timeline(bot: Any, english: None) -> None:
    incident = Incident.objects.open(bot=bot, title="x", by=OPERATOR)
    record = collected(incident)
    assert [entry.kind for entry in record.entries] == ["opened"]
    assert record.missing == ("The incident has no chat.",)


# --- Feishu in trouble -------------------------------------------------------------------------------------
def test_one_refusal_for_haste_is_waited_out(chat: Any, feishu: Any) -> None:
    said(feishu, chat, text="here")
    feishu.fault(code=99991400, times=1, path="/im/v1/messages")
    assert texts(collected(chat)) == ["here"]


def test_feishu_going_down_in_the_middle_is_an_error_and_not_half_an_export(chat: Any, feishu: Any) -> None:
    said(feishu, chat, image=base64.b64encode(PNG).decode())
    feishu.fault(status=502, path="/resources/")
    with pytest.raises(CollectError) as caught:
        collected(chat)
    assert caught.value.again


def test_the_job_waits_says_why_and_is_done_when_feishu_is_back(chat: Any, feishu: Any) -> None:
    feishu.fault(status=502, path="/im/v1/messages")
    export = made(chat)
    assert (export.status, "502" in export.error) == ("waiting", True)
    feishu.well()
    with time_machine.travel(timezone.now() + timedelta(minutes=1)):
        Worker().run_once()
    export.refresh_from_db()
    assert (export.status, export.error) == ("done", "")


def test_a_job_that_keeps_failing_ends_and_can_be_retried_by_hand(chat: Any, feishu: Any) -> None:
    export = chat.export(OPERATOR)
    Export.objects.filter(pk=export.pk).update(tries=4)
    feishu.fault(status=502, path="/im/v1/messages")
    Worker().run_once()
    export.refresh_from_db()
    assert export.status == "failed"
    feishu.well()
    assert export.retry()
    Worker().run_once()
    export.refresh_from_db()
    assert export.status == "done"


# --- The job -----------------------------------------------------------------------------------------------
def test_the_worker_makes_a_zip_of_everything(chat: Any, feishu: Any) -> None:
    said(feishu, chat, image=base64.b64encode(PNG).decode())
    files = unzipped(made(chat))
    names = ["export.md", "export.json", "export.html", "attachments/001-image.png"]
    assert set(files) == {f"{chat.number}/{name}" for name in names}
    assert json.loads(files[f"{chat.number}/export.json"])["complete"] is True


def test_a_killed_workers_export_is_made_by_the_next_one_after_the_lease(chat: Any) -> None:
    export = chat.export(OPERATOR)
    now = timezone.now()
    lost = Export.objects.claim(now)
    assert lost is not None
    assert Export.objects.claim(now) is None
    with time_machine.travel(now + LEASE + timedelta(seconds=1)):
        Worker().run_once()
    export.refresh_from_db()
    assert (export.status, export.tries) == ("done", 2)
    with pytest.raises(LostError):
        lost.progress(1, 2)


def test_an_export_survives_a_sigkill_in_the_middle(
    chat: Any, feishu: Any, process_env: dict[str, str]
) -> None:
    said(feishu, chat, text="hello")
    feishu.fault(slow_ms=5000, path="/im/v1/messages", times=1)
    export = chat.export(OPERATOR)
    command = [sys.executable, "manage.py", "run_worker"]
    with running(subprocess.Popen(command, env=process_env, stdout=subprocess.DEVNULL, text=True)) as worker:
        wait_until(lambda: Export.objects.get(pk=export.pk).total > 0)
        worker.kill()
    assert Export.objects.get(pk=export.pk).status == "running"
    with time_machine.travel(timezone.now() + LEASE + timedelta(seconds=5)):
        Worker().run_once()
    files = unzipped(Export.objects.get(pk=export.pk))
    assert "hello" in files[f"{chat.number}/export.md"].decode()


def test_an_export_that_kills_its_worker_every_time_is_given_up(chat: Any) -> None:
    export = chat.export(OPERATOR)
    Export.objects.filter(pk=export.pk).update(
        status="running", tries=5, leased_until=NOON - timedelta(days=999)
    )
    assert Export.objects.claim(timezone.now()) is None
    export.refresh_from_db()
    assert export.status == "failed"


def test_a_worker_that_stops_gives_its_export_back(chat: Any, feishu: Any) -> None:
    export = chat.export(OPERATOR)
    feishu.fault(slow_ms=300)
    exporting = Exporting()
    exporting.step()
    wait_until(lambda: Export.objects.get(pk=export.pk).status == "running")
    exporting.close()
    export.refresh_from_db()
    assert (export.status, export.tries) == ("waiting", 0)


def test_a_long_export_does_not_delay_deliveries(bot: Any, chat: Any, feishu: Any) -> None:
    from events.models import OutboxItem
    from events.outbox import send_text

    said(feishu, chat, text="hello")
    feishu.fault(slow_ms=1500, path="/members")
    export = chat.export(OPERATOR)
    worker = Worker()
    thread = threading.Thread(target=run, args=[worker])
    thread.start()
    try:
        wait_until(lambda: Export.objects.get(pk=export.pk).status == "running")
        item = send_text(bot, chat_id=chat.chat_id, markup="meanwhile", key="k")
        wait_until(lambda: OutboxItem.objects.get(pk=item.pk).status == "sent")
        assert Export.objects.get(pk=export.pk).status == "running"
        wait_until(lambda: Export.objects.get(pk=export.pk).status == "done")
    finally:
        worker.stop()
        thread.join()


def run(worker: Worker) -> None:
    """In a thread of a test: its connection is closed at the end, as Django's database cleaning wants it."""
    try:
        worker.run()
    finally:
        connections.close_all()


def test_asking_twice_makes_one_export(chat: Any) -> None:
    assert chat.export(OPERATOR).pk == chat.export(OPERATOR).pk


def test_a_zip_of_several_pieces_comes_back_whole(chat: Any, tmp_path: Path) -> None:
    zipped = tmp_path / "big.zip"
    zipped.write_bytes(os.urandom(PIECE_BYTES * 2 + 7))
    chat.export(OPERATOR)
    export = Export.objects.claim(timezone.now())
    assert export is not None
    export.finish(zipped, [])
    assert [len(piece) for piece in export.content()] == [PIECE_BYTES, PIECE_BYTES, 7]
    assert b"".join(export.content()) == zipped.read_bytes()


# --- Kept for a while ------------------------------------------------------------------------------------------
def test_the_file_of_an_old_export_is_dropped_and_a_new_one_can_be_made(
    chat: Any, feishu: Any, settings: Any, client_of: Any
) -> None:
    settings.EXPORT_DAYS = 7
    export = made(chat)
    assert Export.objects.expire(timezone.now() + timedelta(days=6)) == 0
    assert Export.objects.expire(timezone.now() + timedelta(days=8)) == 1
    export.refresh_from_db()
    assert (export.status, export.pieces.count()) == ("expired", 0)
    viewer = client_of("viewer", ["view_incident"])
    url = f"/admin/incidents/incident/{chat.pk}/exports/"
    assert "/download/" not in viewer.get(url).content.decode()
    assert viewer.get(f"{url}{export.pk}/download/").status_code == 404
    assert chat.export(OPERATOR).pk != export.pk


@pytest.mark.parametrize("reason", ["archive", "chat gone", "kept for ever"])
def test_what_may_be_the_only_copy_is_kept(chat: Any, feishu: Any, settings: Any, reason: str) -> None:
    made(chat)
    Export.objects.update(then="disband" if reason == "archive" else "")
    Incident.objects.update(chat_gone=reason == "chat gone")
    settings.EXPORT_DAYS = 0 if reason == "kept for ever" else 7
    assert Export.objects.expire(timezone.now() + timedelta(days=4000)) == 0


def test_a_confidential_chat_is_told_as_such(chat: Any, feishu: Any) -> None:
    said(feishu, chat, text="known from its event")
    feishu.fault(code=231203, path="/im/v1/messages")
    record = collected(chat)
    assert "231203 the chat is confidential: its messages may not be read" in record.missing[0]
    assert texts(record) == ["known from its event"]


# --- The command ---------------------------------------------------------------------------------------------
def test_the_command_writes_a_folder(chat: Any, feishu: Any, tmp_path: Any) -> None:
    said(feishu, chat, text="hello")
    for _again in range(2):
        call_command("export_incident", chat.number, "--to", str(tmp_path))
    assert sorted(path.name for path in (tmp_path / chat.number).iterdir()) == [
        "export.html", "export.json", "export.md",
    ]  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == [chat.number]


def test_the_command_says_that_something_is_missing_and_exits_with_3(
    chat: Any, feishu: Any, tmp_path: Any
) -> None:
    feishu.call("POST", "scopes", {"missing": ["im:message.group_msg"]})
    with pytest.raises(SystemExit) as caught:
        call_command("export_incident", chat.number, "--to", str(tmp_path))
    assert caught.value.code == 3
    assert (tmp_path / chat.number / "export.md").exists()


def test_the_command_writes_nothing_while_feishu_is_down(chat: Any, feishu: Any, tmp_path: Any) -> None:
    feishu.fault(status=502, path="/im/v1/")
    with pytest.raises(CommandError, match="502"):
        call_command("export_incident", chat.number, "--to", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("foreign", ["notes.txt", "attachments/mine.txt", "export.md/x"])
def test_the_command_never_removes_what_no_export_has_written(
    chat: Any, feishu: Any, tmp_path: Path, foreign: str
) -> None:
    folder = tmp_path / chat.number
    (folder / foreign).parent.mkdir(parents=True)
    (folder / foreign).write_text("mine")
    with pytest.raises(CommandError, match=f"no export of {chat.number}"):
        call_command("export_incident", chat.number, "--to", str(tmp_path))
    (folder / "export.json").write_text(json.dumps({"number": chat.number}))
    with pytest.raises(CommandError, match="would be lost"):
        call_command("export_incident", chat.number, "--to", str(tmp_path))
    assert (folder / foreign).read_text() == "mine"


def test_the_command_does_not_follow_a_link_and_replaces_no_file(chat: Any, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / chat.number).symlink_to(elsewhere)
    with pytest.raises(CommandError, match="is not a folder"):
        call_command("export_incident", chat.number, "--to", str(tmp_path))


@pytest.mark.parametrize("number", ["INC-999", "x", "", "INC-²", "9" * 30])
def test_the_command_knows_no_such_incident(number: str) -> None:
    with pytest.raises(CommandError, match="There is no incident"):
        call_command("export_incident", number)


# --- The formats ---------------------------------------------------------------------------------------------
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> ![x](javascript:alert(1)) | `a` \u202e"


def record_of(*messages: Message, **more: Any) -> Record:
    facts = {"severity": "P0", "status_words": "resolved", "service": HOSTILE, "resolution_note": HOSTILE}
    entry = Entry(NOON, "note", "note", "chat", HOSTILE, HOSTILE)
    told = {"number": "INC-1", "title": HOSTILE, "made_at": NOON, "opened_at": NOON, "facts": facts}
    return Record(**{**told, "entries": (entry,), "messages": messages, **more})


def message(**more: Any) -> Message:
    told = {"message_id": "om_1", "sent_at": NOON, "sender_id": "ou_x", "sender": HOSTILE, "by_app": False}
    return Message(**{**told, "kind": "text", "text": HOSTILE, **more})


def test_nothing_that_people_wrote_is_markup_in_the_html() -> None:
    attachment = Attachment("k", "file", HOSTILE, path="attachments/001-x.html", size=3)
    page = as_html(
        record_of(message(attachments=(attachment,)), missing=(HOSTILE,), not_in_events=(HOSTILE,))
    )
    assert "<script" not in page
    assert "<img" not in page
    assert "onerror=alert(1)&gt;" in page
    assert "default-src &#x27;none" not in page
    assert "default-src 'none'" in page


def test_nothing_that_people_wrote_is_markup_in_the_markdown() -> None:
    from markdown_it import MarkdownIt

    page = MarkdownIt().render(as_markdown(record_of(message(), missing=(HOSTILE,))))
    assert "<script" not in page
    assert "<img" not in page
    assert "<a " not in page
    assert page.count("alert(1)") >= 3


def test_only_true_pictures_are_put_into_the_page(tmp_path: Path) -> None:
    svg = Attachment("k", "image", "x.svg", path="attachments/001-x.svg", size=5)
    png = Attachment("k", "image", "x.png", path="attachments/002-x.png", size=len(PNG))
    files = {svg.path: tmp_path / "1", png.path: tmp_path / "2"}
    files[svg.path].write_bytes(b"<svg onload=alert(1)>")
    files[png.path].write_bytes(PNG)
    page = as_html(record_of(message(text="", attachments=(svg, png)), files=files))
    assert page.count("<img") == 1
    assert 'href="attachments/001-x.svg" download' in page


def test_the_figures_are_told_in_words_and_in_seconds() -> None:
    later = {
        "acknowledged_at": NOON + timedelta(minutes=2),
        "resolved_at": NOON + timedelta(hours=1, minutes=5),
    }
    figures = json.loads(as_json(record_of(**later)))["figures"]
    assert figures == {"seconds_to_acknowledge": 120.0, "seconds_to_resolve": 3900.0, "messages": 0}


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../etc/passwd", "001-passwd"),
        ("..\\..\\boot.ini", "001-boot.ini"),
        ("日志 1.txt", "001-日志_1.txt"),
        ("", "001-file"),
        ("a\0b\n.p/y", "001-y"),
        ("x" * 300 + ".log", f"001-{'x' * 60}.log"),
    ],
)
def test_a_files_name_cannot_leave_its_folder(name: str, safe: str) -> None:
    assert file_name(1, name) == safe


def test_half_a_surrogate_does_not_stop_the_export() -> None:
    assert b"?" in as_files(record_of(message(text="\ud83d")))["export.md"]


def test_five_thousand_entries_are_exported_within_reason(chat: Any) -> None:
    entries = [
        TimelineEntry(incident=chat, kind="note", via="chat", person="Ada", text=f"note {number}")
        for number in range(5000)
    ]
    TimelineEntry.objects.bulk_create(entries)
    started = time.thread_time()  # what it costs, however much else the machine has to do
    files = as_files(collected(chat))
    assert time.thread_time() - started < 10
    assert files["export.html"].count(b"<li><time>") == 5001
