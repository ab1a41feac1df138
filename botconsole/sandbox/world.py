"""Everything one sandbox consists of, and what the API and the control API both do to it."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from botconsole.sandbox import payloads
from botconsole.sandbox.calls import Calls
from botconsole.sandbox.changes import Changes
from botconsole.sandbox.clock import Clock, wall_ms
from botconsole.sandbox.config import SandboxConfig
from botconsole.sandbox.faults import Faults
from botconsole.sandbox.grants import OF_EVENTS, USER_IDS, granted
from botconsole.sandbox.limits import Limits
from botconsole.sandbox.push import Pusher
from botconsole.sandbox.store import Row, Store, new_id

Json = dict[str, Any]
NAMED_IN_A_NOTE = 5


@dataclass(slots=True)
class World:
    """One tenant with one app; `pusher` talks to the app, `changes` to the pages."""

    config: SandboxConfig
    store: Store
    clock: Clock
    changes: Changes = field(default_factory=Changes)
    faults: Faults = field(default_factory=Faults)
    calls: Calls = field(default_factory=Calls)
    limits: Limits = field(init=False)
    pusher: Pusher = field(init=False)

    def __post_init__(self) -> None:
        self.limits = Limits(self.config.limits)
        self.pusher = Pusher(self.config, self.store, self.clock, self.changes, self.faults)

    @property
    def bot(self) -> Json:
        """The bot as the operator of a change."""
        return payloads.bot_ids(self.config)

    # pushes

    def told(self, event: Json) -> Json:
        """The event as this app gets it: without the scope for them no user_id is in it."""
        missing = USER_IDS in self.missing_scopes
        return payloads.without_user_ids(event) if missing else event

    def push(self, event_type: str, event: Json) -> str:
        """Answers the event's id, '' if the app lacks the scope for such events."""
        if not granted(OF_EVENTS.get(event_type, ()), self.missing_scopes):
            return ""
        return self.push_any(event_type, event)

    def push_any(self, event_type: str, event: Json, header: Json | None = None) -> str:
        """Whatever the scopes say; `header` overrides single keys."""
        event_id = str((header or {}).get("event_id") or new_id("ev"))
        payload = payloads.envelope(self.config, event_id, event_type, self.told(event), header)
        self.pusher.add(event_id, event_type, payload)
        return event_id

    def push_v1(self, event: Json) -> str:
        event_id = new_id("ev")
        self.pusher.add(
            event_id, str(event["type"]), payloads.envelope_v1(self.config, event_id, self.told(event))
        )
        return event_id

    # people

    def person(self, open_id: str) -> Row | None:
        return self.store.row("SELECT * FROM people WHERE open_id = ?", open_id)

    def add_person(self, name: str, open_id: str = "", visible: bool = True, union_id: str = "") -> Row:
        """The person with this open_id, made if unknown; a given name replaces the old one."""
        if open_id and (known := self.person(open_id)):
            if name and name != known["name"]:
                self.store.run("UPDATE people SET name = ? WHERE open_id = ?", name, open_id)
            return self.must_person(open_id)
        open_id = open_id or new_id("ou")
        tail = open_id.removeprefix("ou_")
        self.store.insert(
            "people",
            open_id=open_id,
            union_id=union_id or f"on_{tail}",
            user_id=f"u_{tail[:8]}" if not self._taken(f"u_{tail[:8]}") else f"u_{tail}",
            name=name or f"用户 {tail[:4]}",
            email=f"{tail[:8]}@sandbox.example",
            visible=int(visible),
            other_open_id=f"ou_{hashlib.sha256(f'another app {open_id}'.encode()).hexdigest()[:32]}",
        )
        self.changes.publish("state")
        return self.must_person(open_id)

    def change_person(self, open_id: str, **columns: Any) -> Row:
        """Other contact data: name, email, mobile, visible (in the app's range), resigned."""
        sets = ", ".join(f"{name} = ?" for name in columns)
        self.store.run(f"UPDATE people SET {sets} WHERE open_id = ?", *columns.values(), open_id)  # noqa: S608 (our own names)
        self.changes.publish("state")
        return self.must_person(open_id)

    def _taken(self, user_id: str) -> bool:
        return self.store.row("SELECT 1 FROM people WHERE user_id = ?", user_id) is not None

    def must_person(self, open_id: str) -> Row:
        found = self.person(open_id)
        if found is None:
            raise LookupError(f"no person {open_id}")
        return found

    def names(self) -> dict[str, str]:
        """open_id -> name, for mentions; the bot is in it too."""
        known = {row["open_id"]: row["name"] for row in self.store.rows("SELECT open_id, name FROM people")}
        return {**known, self.config.bot_open_id: self.config.app_name}

    # chats

    def chat(self, chat_id: str) -> Row | None:
        return self.store.row("SELECT * FROM chats WHERE chat_id = ?", chat_id)

    def must_chat(self, chat_id: str) -> Row:
        found = self.chat(chat_id)
        if found is None:
            raise LookupError(f"no chat {chat_id}")
        return found

    def add_chat(self, name: str, mode: str = "group", **columns: Any) -> Row:
        chat_id = new_id("oc")
        number = self.store.next_number("chat")
        self.store.insert("chats", chat_id=chat_id, number=number, mode=mode, name=name, **columns)
        self.changes.publish("state")
        return self.must_chat(chat_id)

    def conversation(self, person: Row, by_bot: bool = False) -> tuple[Row, list[str]]:
        """The p2p chat with a person; p2p_chat_create is pushed when it comes into being."""
        found = self.store.row("SELECT * FROM chats WHERE person = ?", person["open_id"])
        if found:
            return found, []
        chat = self.add_chat("", "p2p", person=person["open_id"])
        created = payloads.p2p_created_event(self.config, chat["chat_id"], person, by_bot)
        return chat, [self.push_v1(created)]

    def members(self, chat_id: str, most: int = -1) -> list[Row]:
        """The people in a group, in the order in which they came; all of them, or the first so many."""
        return self.store.rows(
            "SELECT people.* FROM members JOIN people USING (open_id) WHERE chat_id = ?"
            " ORDER BY members.number, members.rowid LIMIT ?",
            chat_id,
            most,
        )

    def member_count(self, chat_id: str) -> int:
        return self.store.number("SELECT count(*) FROM members WHERE chat_id = ?", chat_id)

    def managers(self, chat_id: str) -> list[Row]:
        """The people who manage a group besides its owner."""
        return self.store.rows(
            "SELECT people.* FROM managers JOIN people USING (open_id) WHERE chat_id = ?"
            " ORDER BY managers.rowid",
            chat_id,
        )

    def is_member(self, chat: Row, open_id: str) -> bool:
        if chat["mode"] == "p2p":
            return bool(chat["person"] == open_id)
        known = self.store.row(
            "SELECT 1 FROM members WHERE chat_id = ? AND open_id = ?", chat["chat_id"], open_id
        )
        return known is not None

    def join(self, chat: Row, people: list[Row], operator: Json, push: bool = True) -> str:
        """Adds those who are not in yet; answers the id of the one event for all, '' if there is none."""
        new = [person for person in people if not self.is_member(chat, person["open_id"])]
        number = self.store.next_number("member")
        self.store.many(
            "INSERT OR IGNORE INTO members VALUES (?, ?, ?)",
            [(chat["chat_id"], person["open_id"], number) for person in new],
        )
        self.changes.publish("state")
        if new and push:
            self.note(chat, "joined", operator, new)
        if not (new and push and chat["bot_in"]):
            return ""
        event = payloads.members_event(self.config, chat, operator, new)
        return self.push("im.chat.member.user.added_v1", event)

    def leave(self, chat: Row, people: list[Row], operator: Json) -> str:
        """Takes members out; answers the id of the event, '' if nobody was in."""
        gone = [person for person in people if self.is_member(chat, person["open_id"])]
        for person in gone:
            self.store.run(
                "DELETE FROM members WHERE chat_id = ? AND open_id = ?", chat["chat_id"], person["open_id"]
            )
            self.store.run(
                "DELETE FROM managers WHERE chat_id = ? AND open_id = ?", chat["chat_id"], person["open_id"]
            )
        self.changes.publish("state")
        if gone:
            itself = [person["open_id"] for person in gone] == [operator["open_id"]]
            self.note(chat, "left" if itself else "removed", operator, gone)
        if not (gone and chat["bot_in"]):
            return ""
        return self.push(
            "im.chat.member.user.deleted_v1", payloads.members_event(self.config, chat, operator, gone)
        )

    def note(
        self, chat: Row, kind: str, operator: Json, people: list[Row] | None = None, name: str = ""
    ) -> None:
        """What the page tells between the messages; the app is pushed an event in its place."""
        by = self.person(operator["open_id"])
        who = [person["name"] for person in (people or [])[:NAMED_IN_A_NOTE]]
        about = {
            "by": by["name"] if by else self.config.app_name,
            "who": who,
            "count": len(people or []),
            "name": name,
        }
        self.store.insert(
            "notes",
            chat_id=chat["chat_id"],
            kind=kind,
            about=json.dumps(about, ensure_ascii=False),
            create_ms=wall_ms(),
            revision=self.store.next_number("revision"),
        )
        self.changes.publish(chat["chat_id"])

    # messages

    def message(self, message_id: str) -> Row | None:
        return self.store.row("SELECT * FROM messages WHERE message_id = ?", message_id)

    def must_message(self, message_id: str) -> Row:
        found = self.message(message_id)
        if found is None:
            raise LookupError(f"no message {message_id}")
        return found

    def add_message(
        self,
        chat_id: str,
        sender: tuple[str, str],
        msg_type: str,
        content: str,
        mentions: list[Json],
        parent: Row | None,
        in_thread: bool = False,
        only_for: str = "",
    ) -> Row:
        """`sender` is (id, app|user|system); a reply belongs to its parent's root, and stays in its thread."""
        message_id, now = new_id("om"), wall_ms()
        topics = self.must_chat(chat_id)["mode"] == "topic"
        in_thread = parent is not None and bool(in_thread or parent["in_thread"] or topics)
        thread_id = ""
        if parent is not None and in_thread:
            thread_id = parent["thread_id"] or self._begin_thread(parent)
        elif topics and parent is None:
            thread_id = new_id("omt")
        self.store.insert(
            "messages",
            message_id=message_id,
            chat_id=chat_id,
            sender_id=sender[0],
            sender_type=sender[1],
            msg_type=msg_type,
            content=content,
            mentions=json.dumps(mentions, ensure_ascii=False),
            root_id=(parent["root_id"] or parent["message_id"]) if parent else "",
            parent_id=parent["message_id"] if parent else "",
            create_ms=now,
            update_ms=now,
            sent_at=self.clock.now(),
            thread_id=thread_id,
            in_thread=int(in_thread),
            only_for=only_for,
            revision=self.store.next_number("revision"),
        )
        self.changes.publish(chat_id)
        return self.must_message(message_id)

    def _begin_thread(self, message: Row) -> str:
        """Makes a message the root of a thread; its content and times stay."""
        thread_id = new_id("omt")
        self.store.run(
            "UPDATE messages SET thread_id = ? WHERE message_id = ?", thread_id, message["message_id"]
        )
        return thread_id

    def touch(self, message_id: str) -> None:
        """Has the pages draw a message anew: its pin, buzz or reactions changed, not the message itself."""
        message = self.must_message(message_id)
        revision = self.store.next_number("revision")
        self.store.run("UPDATE messages SET revision = ? WHERE message_id = ?", revision, message_id)
        self.changes.publish(message["chat_id"], "state")

    def change_message(self, message: Row, **columns: Any) -> Row:
        if "content" in columns:
            self.store.run("DELETE FROM versions WHERE message_id = ?", message["message_id"])
        columns |= {"update_ms": wall_ms(), "revision": self.store.next_number("revision")}
        sets = ", ".join(f"{name} = ?" for name in columns)
        self.store.run(
            f"UPDATE messages SET {sets} WHERE message_id = ?",  # noqa: S608 (our own names)
            *columns.values(),
            message["message_id"],
        )
        self.changes.publish(message["chat_id"])
        return self.must_message(message["message_id"])

    def show_to(self, message: Row, content: str, people: list[str]) -> None:
        """Replaces a card for these people only: one of 1.0 that is not shared is everybody's own."""
        self.store.many(
            "INSERT OR REPLACE INTO versions VALUES (?, ?, ?)",
            [(message["message_id"], open_id, content) for open_id in people],
        )
        self.touch(message["message_id"])

    def seen_by(self, message: Row, open_id: str) -> str:
        """The content of a message as this person sees it."""
        if not open_id or message["msg_type"] != "interactive":
            return str(message["content"])
        own = self.store.row(
            "SELECT content FROM versions WHERE message_id = ? AND open_id = ?",
            message["message_id"],
            open_id,
        )
        return str(own["content"] if own else message["content"])

    def mention(self, number: int, open_id: str) -> Json:
        """A mention as it is kept; events and answers each shape it their way."""
        key = f"@_user_{number}"
        if open_id == self.config.bot_open_id:
            return {"key": key, "id": open_id, "name": self.config.app_name, **_rest(self.bot)}
        person = self.must_person(open_id)
        return {"key": key, "id": open_id, "name": person["name"], **_rest(payloads.person_ids(person))}

    # scopes

    @property
    def missing_scopes(self) -> list[str]:
        """What the app was not granted; nothing, unless `POST /_sandbox/scopes` says so."""
        return list(self.store.recall("missing scopes", []))

    # uuid windows

    def seen_uuid(self, kind: str, uuid: str, window_seconds: int) -> str:
        """What the first call with this uuid made, if that was within the window."""
        if not uuid:
            return ""
        found = self.store.row("SELECT value, at FROM uuids WHERE kind = ? AND uuid = ?", kind, uuid)
        return found["value"] if found and self.clock.now() - found["at"] < window_seconds else ""

    def keep_uuid(self, kind: str, uuid: str, value: str) -> None:
        if uuid:
            self.store.run(
                "INSERT OR REPLACE INTO uuids VALUES (?, ?, ?, ?)", kind, uuid, value, self.clock.now()
            )


def _rest(ids: Json) -> Json:
    return {"union_id": ids["union_id"], "user_id": ids["user_id"]}
