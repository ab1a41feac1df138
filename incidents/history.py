"""Collects what an export holds: the chat's whole history from Feishu, and what the database knows.

One of the few modules that speak to Feishu: it runs in the worker and in a command, never in a web request.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from django.utils import timezone
from django.utils.translation import gettext as _

from events import people
from events.codes import Reaction, in_words
from events.envelope import text_at
from events.feishu import FeishuClient, FeishuError, TooLargeError
from events.models import AppTicket, Event
from events.people import names_in
from events.tokens import store_app

from .facts import entries, facts, first_acknowledged_at, post_mortem
from .messages import from_event, from_history, mentioned
from .models import Incident
from .record import Attachment, Json, Message, Record, file_name, image_type

T = TypeVar("T")

SECONDS_BETWEEN_CALLS = 0.1
# After a refusal that may pass: the waits before the 2nd, 3rd and 4th try of one call.
RETRY_SECONDS: tuple[float, ...] = (1, 3, 10)
LONGEST_WAIT_SECONDS = 60
FILE_BYTES = 30 * 1024 * 1024
ALL_FILES_BYTES = 100 * 1024 * 1024
# Nothing more can be asked: the contact API needs a scope that the app has not.
NO_CONTACTS_CODES = (99991672, 99991679)
# Kept with every message by Feishu's own interface, but not for the taking.
SYSTEM_KIND = "system"

Progress = Callable[[int, int], None]


class CollectError(Exception):
    """The export could not be collected, in words; `again`: later it may be possible."""

    def __init__(self, error: FeishuError) -> None:
        super().__init__(why(error))
        self.again = not error.permanent


class Reader:
    """Feishu's answers for one export: not too fast, patient, counted. `progress(done, total)` may raise."""

    def __init__(self, client: FeishuClient, progress: Progress) -> None:
        self._client, self._progress = client, progress
        self.done, self.total = 0, 0
        self._next_at = 0.0

    def expect(self, calls: int) -> None:
        self.total += calls
        self._progress(self.done, self.total)

    def pages(self, name: str, **arguments: Any) -> Iterator[Json]:
        """The items of all pages; the first call must have been expected."""
        seen: set[str] = set()
        while True:
            data = self.read(name, **arguments)
            items = data.get("items")
            yield from (one for one in (items if isinstance(items, list) else ()) if isinstance(one, dict))
            token = text_at(data, "page_token")
            if not data.get("has_more") or not token or token in seen:
                return
            seen.add(token)
            arguments["page_token"] = token
            self.expect(1)

    def read(self, name: str, **arguments: Any) -> Json:
        return self._patiently(lambda: self._client.read(name, arguments)).data

    def download(self, message_id: str, attachment: Attachment, limit: int) -> bytes:
        return self._patiently(
            lambda: self._client.download(message_id, attachment.key, attachment.kind, limit)
        )

    def _patiently(self, ask: Callable[[], T]) -> T:
        try:
            for wait in RETRY_SECONDS:
                try:
                    return self._paced(ask)
                except FeishuError as error:
                    if error.permanent:
                        raise
                    self._rest(min(max(wait, error.retry_after_seconds), LONGEST_WAIT_SECONDS))
            return self._paced(ask)
        finally:
            self._progress_by_one()

    def _paced(self, ask: Callable[[], T]) -> T:
        time.sleep(max(0.0, self._next_at - time.monotonic()))
        self._next_at = time.monotonic() + SECONDS_BETWEEN_CALLS
        return ask()

    def _rest(self, seconds: float) -> None:
        """Waits; says meanwhile that the export is alive."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._progress(self.done, self.total)
            time.sleep(min(left, 2))

    def _progress_by_one(self) -> None:
        self.done += 1
        self.total = max(self.total, self.done)
        self._progress(self.done, self.total)


def collect(incident: Incident, progress: Progress, folder: Path) -> Record:
    """Everything about an incident; the files of its messages are put into `folder` as they come.

    What is refused for good is named in `missing`; raises CollectError where trying again later can help, or nothing
    at all can be had.
    """
    bot = incident.bot
    grant = store_app(bot, Event.objects.tenant_of(bot, incident.chat_id), AppTicket.objects.of(bot))
    reader = Reader(FeishuClient(bot.app_id, bot.app_secret.reveal(), bot.domain, 1, grant), progress)
    try:
        return _Collection(incident, reader, folder).record()
    except FeishuError as error:
        raise CollectError(error) from error


class _Collection:
    """One export being collected."""

    def __init__(self, incident: Incident, reader: Reader, folder: Path) -> None:
        self._incident, self._reader, self._folder = incident, reader, folder
        self._chats = incident.all_chats()
        self._names: dict[str, str] = {incident.bot.app_id: incident.bot.name}
        self._missing: list[str] = []
        self._files: dict[str, Path] = {}
        self._bytes = 0

    def record(self) -> Record:
        incident = self._incident
        pushed, recalled = self._events()
        items = self._history()
        if not self._chats:
            self._missing.append(_("The incident has no chat."))
        self._learn_names(items, pushed)
        messages = [from_history(item, self._names, is_reply=reply) for item, reply in items]
        known = {message.message_id for message in messages}
        extra = [
            from_event(payload, self._names, recalled=message_id in recalled)
            for message_id, payload in pushed.items()
            if message_id not in known
        ]
        read = bool(messages)
        messages = [_recalled(one) if one.message_id in recalled else one for one in messages]
        messages = sorted([*messages, *extra], key=lambda one: one.sent_at or incident.opened_at)
        return Record(
            number=incident.number,
            title=incident.title,
            made_at=timezone.now(),
            facts=facts(incident),
            opened_at=incident.opened_at,
            acknowledged_at=first_acknowledged_at(incident),
            resolved_at=incident.resolved_at,
            entries=tuple(entries(incident, self._names)),
            messages=tuple(self._with_files(message) for message in messages),
            people=dict(self._names),
            not_in_history=tuple(one.message_id for one in extra) if read else (),
            not_in_events=tuple(self._unheard(messages, pushed)),
            missing=tuple(self._missing),
            files=self._files,
            post_mortem=post_mortem(incident),
        )

    # --- The chat ----------------------------------------------------------------------------------------
    def _history(self) -> list[tuple[Json, bool]]:
        """(item, whether it is a reply inside a thread) of the whole chat, oldest first; no message twice."""
        found: dict[str, tuple[Json, bool]] = {}
        self._reader.expect(len(self._chats))
        for chat_id in self._chats:
            try:
                for item in self._reader.pages("messages", kind="chat", container_id=chat_id):
                    found.setdefault(text_at(item, "message_id"), (item, False))
            except FeishuError as error:
                self._give_up(_("The chat's history could not be read: %s"), error)
        threads = list(
            dict.fromkeys(filter(None, (text_at(item, "thread_id") for item, _r in found.values())))
        )
        self._reader.expect(len(threads))
        for thread_id in threads:
            try:
                for item in self._reader.pages("messages", kind="thread", container_id=thread_id):
                    found.setdefault(text_at(item, "message_id"), (item, True))
            except FeishuError as error:
                self._give_up(_("A thread could not be read: %s"), error)
        return list(found.values())

    def _give_up(self, words: str, error: FeishuError) -> None:
        """Notes what is refused for good; what may pass is raised."""
        if not error.permanent:
            raise error
        self._missing.append(words % why(error))

    def _events(self) -> tuple[dict[str, Json], set[str]]:
        """The messages that were pushed, by id, and the ids of the recalled ones."""
        pushed: dict[str, Json] = {}
        recalled: set[str] = set()
        rows = Event.objects.filter(bot=self._incident.bot, chat_id__in=self._chats).order_by("pk")
        types = ("im.message.receive_v1", "im.message.recalled_v1")
        for event in rows.filter(event_type__in=types).iterator(500):
            if event.event_type == types[0]:
                pushed[text_at(event.payload, "message.message_id")] = event.payload
                self._names |= names_in(event)
            else:
                recalled.add(text_at(event.payload, "message_id"))
        return pushed, recalled

    def _unheard(self, messages: list[Message], pushed: dict[str, Json]) -> Iterator[str]:
        """What people wrote since the bot first heard of this chat, and no push told of."""
        rows = Event.objects.filter(bot=self._incident.bot, chat_id__in=self._chats)
        first = rows.order_by("pk").values_list("created_at", flat=True).first() if messages else None
        since = first or self._incident.opened_at
        for message in messages:
            heard = message.by_app or message.kind == SYSTEM_KIND or message.message_id in pushed
            if not heard and message.sent_at is not None and message.sent_at >= since:
                yield message.message_id

    # --- Names -------------------------------------------------------------------------------------------
    def _learn_names(self, items: list[tuple[Json, bool]], pushed: dict[str, Json]) -> None:
        """From the members, from mentions, from what the console knows, and at last from the contact API."""
        for item, _reply in items:
            self._names = mentioned(item) | self._names
        if self._incident.chat_id and items:
            self._ask_members()
        senders = [
            text_at(item, "sender.id") for item, _r in items if text_at(item, "sender.id_type") == "open_id"
        ]
        senders += [text_at(payload, "sender.sender_id.open_id") for payload in pushed.values()]
        senders += self._incident.timeline.exclude(open_id="").values_list("open_id", flat=True)
        senders += self._incident.responders.exclude(open_id="").values_list("open_id", flat=True)
        self._names = people.names(self._incident.bot, senders) | self._names
        self._ask_contacts([one for one in dict.fromkeys(senders) if one and one not in self._names])

    def _ask_members(self) -> None:
        self._reader.expect(1)
        try:
            for member in self._reader.pages("members", chat_id=self._incident.chat_id):
                if text_at(member, "name"):
                    self._names[text_at(member, "member_id")] = text_at(member, "name")
        except FeishuError as error:
            if not error.permanent:
                raise  # names that are missing for good are asked for one by one

    def _ask_contacts(self, strangers: list[str]) -> None:
        self._reader.expect(len(strangers))
        for open_id in strangers:
            try:
                name = text_at(self._reader.read("person", open_id=open_id), "user.name")
            except FeishuError as error:
                if not error.permanent:
                    raise
                if error.code in NO_CONTACTS_CODES or error.reaction is Reaction.APP:
                    return  # the next one is refused just the same; the open_id stands for the name
                continue
            if name:
                self._names[open_id] = name

    # --- Images and files ----------------------------------------------------------------------------------
    def _with_files(self, message: Message) -> Message:
        if not message.attachments:
            return message
        self._reader.expect(len(message.attachments))
        return replace(
            message, attachments=tuple(self._download(message, one) for one in message.attachments)
        )

    def _download(self, message: Message, attachment: Attachment) -> Attachment:
        room = min(FILE_BYTES, ALL_FILES_BYTES - self._bytes)
        try:
            data = self._reader.download(message.message_id, attachment, room)
        except TooLargeError:
            return self._without(attachment, _("too large for the export"))
        except FeishuError as error:
            if not error.permanent:
                raise
            return self._without(attachment, why(error))
        name = attachment.name
        if attachment.kind == "image":
            name = f"image.{image_type(data)[1] or 'bin'}"
        path = f"attachments/{file_name(len(self._files) + 1, name)}"
        self._files[path] = self._folder / path
        self._files[path].parent.mkdir(parents=True, exist_ok=True)
        self._files[path].write_bytes(data)
        self._bytes += len(data)
        return replace(attachment, name=name, path=path, size=len(data))

    def _without(self, attachment: Attachment, reason: str) -> Attachment:
        words = _("%(name)s could not be downloaded: %(reason)s")
        self._missing.append(words % {"name": attachment.name, "reason": reason})
        return replace(attachment, error=reason)


def _recalled(message: Message) -> Message:
    """What was taken back is not to be read on."""
    return replace(message, recalled=True, text="", content="", attachments=())


def why(error: FeishuError) -> str:
    """Code, meaning, and Feishu's own words, which name a missing scope."""
    said = f" ({error.message})" if error.message else ""
    return f"{in_words(error.code)}{said}"
