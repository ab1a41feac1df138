"""The sandbox's state: the tables of one SQLite connection and the few ways to ask it."""

import json
import secrets
import sqlite3
import threading
from collections.abc import Iterable
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS people (
    open_id TEXT PRIMARY KEY, union_id TEXT NOT NULL UNIQUE, user_id TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
    email TEXT NOT NULL DEFAULT '', mobile TEXT NOT NULL DEFAULT '', visible INTEGER NOT NULL DEFAULT 1);
CREATE TABLE IF NOT EXISTS chats (
    chat_id TEXT PRIMARY KEY, number INTEGER NOT NULL, mode TEXT NOT NULL, name TEXT NOT NULL DEFAULT '',
    owner_id TEXT NOT NULL DEFAULT '', person TEXT UNIQUE, bot_in INTEGER NOT NULL DEFAULT 1,
    by_app INTEGER NOT NULL DEFAULT 0, bot_manager INTEGER NOT NULL DEFAULT 0,
    status TEXT NOT NULL DEFAULT 'normal', fields TEXT NOT NULL DEFAULT '{}');
CREATE TABLE IF NOT EXISTS members (
    chat_id TEXT NOT NULL, open_id TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (chat_id, open_id));
CREATE TABLE IF NOT EXISTS messages (
    number INTEGER PRIMARY KEY AUTOINCREMENT, message_id TEXT NOT NULL UNIQUE, chat_id TEXT NOT NULL,
    sender_id TEXT NOT NULL, sender_type TEXT NOT NULL, msg_type TEXT NOT NULL, content TEXT NOT NULL,
    mentions TEXT NOT NULL DEFAULT '[]', root_id TEXT NOT NULL DEFAULT '', parent_id TEXT NOT NULL DEFAULT '',
    create_ms INTEGER NOT NULL, update_ms INTEGER NOT NULL, sent_at REAL NOT NULL,
    deleted INTEGER NOT NULL DEFAULT 0, updated INTEGER NOT NULL DEFAULT 0, revision INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS messages_of_a_chat ON messages (chat_id, create_ms, number);
CREATE INDEX IF NOT EXISTS changes_of_a_chat ON messages (chat_id, revision);
CREATE TABLE IF NOT EXISTS uuids (
    kind TEXT NOT NULL, uuid TEXT NOT NULL, value TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (kind, uuid));
CREATE TABLE IF NOT EXISTS images (
    image_key TEXT PRIMARY KEY, app_id TEXT NOT NULL, media_type TEXT NOT NULL, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS tokens (token TEXT PRIMARY KEY, kind TEXT NOT NULL, expires_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS pushes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE, type TEXT NOT NULL,
    payload TEXT NOT NULL, body BLOB NOT NULL, headers TEXT NOT NULL, state TEXT NOT NULL,
    created_ms INTEGER NOT NULL, next_try_at REAL, planned INTEGER NOT NULL DEFAULT 0,
    tries TEXT NOT NULL DEFAULT '[]');
CREATE INDEX IF NOT EXISTS pushes_due ON pushes (next_try_at) WHERE next_try_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS managers (chat_id TEXT NOT NULL, open_id TEXT NOT NULL, PRIMARY KEY (chat_id, open_id));
CREATE TABLE IF NOT EXISTS tabs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, chat_id TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL,
    content TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS notices (
    chat_id TEXT PRIMARY KEY, action_type TEXT NOT NULL, message_id TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS pins (
    message_id TEXT PRIMARY KEY, chat_id TEXT NOT NULL, operator_id TEXT NOT NULL, operator_id_type TEXT NOT NULL,
    create_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS buzzes (
    message_id TEXT NOT NULL, open_id TEXT NOT NULL, times INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (message_id, open_id));
CREATE TABLE IF NOT EXISTS reactions (
    message_id TEXT NOT NULL, open_id TEXT NOT NULL, emoji_type TEXT NOT NULL,
    PRIMARY KEY (message_id, open_id, emoji_type));
CREATE TABLE IF NOT EXISTS files (file_key TEXT PRIMARY KEY, name TEXT NOT NULL, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS notes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, chat_id TEXT NOT NULL, kind TEXT NOT NULL, about TEXT NOT NULL,
    create_ms INTEGER NOT NULL, revision INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS notes_of_a_chat ON notes (chat_id, create_ms);
CREATE TABLE IF NOT EXISTS versions (
    message_id TEXT NOT NULL, open_id TEXT NOT NULL, content TEXT NOT NULL, PRIMARY KEY (message_id, open_id));
CREATE TABLE IF NOT EXISTS presses (
    token TEXT PRIMARY KEY, message_id TEXT NOT NULL, at REAL NOT NULL, answered INTEGER NOT NULL DEFAULT 0,
    uses INTEGER NOT NULL DEFAULT 0);
"""
# Columns that came after the first release; a state file of then gets them when it is opened.
LATER_COLUMNS = (
    ("messages", "thread_id", "TEXT NOT NULL DEFAULT ''"),
    ("messages", "in_thread", "INTEGER NOT NULL DEFAULT 0"),
    ("messages", "only_for", "TEXT NOT NULL DEFAULT ''"),
    ("messages", "edits", "INTEGER NOT NULL DEFAULT 0"),
    ("pushes", "before", "TEXT NOT NULL DEFAULT ''"),
    ("people", "resigned", "INTEGER NOT NULL DEFAULT 0"),
    ("people", "other_open_id", "TEXT NOT NULL DEFAULT ''"),
    ("chats", "read_number", "INTEGER NOT NULL DEFAULT 0"),
)
WORLD = (
    "people",
    "chats",
    "members",
    "managers",
    "tabs",
    "notices",
    "messages",
    "pins",
    "buzzes",
    "reactions",
    "uuids",
    "images",
    "files",
    "notes",
    "versions",
    "presses",
    "pushes",
)

Row = sqlite3.Row


def new_id(prefix: str) -> str:
    """A fresh id of the platform's look: `oc_`, `om_`, `ou_`, ... and 32 hex digits."""
    return f"{prefix}_{secrets.token_hex(16)}"


class Store:
    """One connection behind a lock; a write is committed at once."""

    def __init__(self, path: str = "") -> None:
        self._lock = threading.RLock()
        self._database = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None)
        self._database.row_factory = sqlite3.Row
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.executescript(SCHEMA)
        for table, column, kind in LATER_COLUMNS:
            if column not in {row["name"] for row in self.rows(f"PRAGMA table_info({table})")}:
                self.run(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")

    def rows(self, sql: str, *values: Any) -> list[Row]:
        with self._lock:
            return self._database.execute(sql, values).fetchall()

    def row(self, sql: str, *values: Any) -> Row | None:
        with self._lock:
            found: Row | None = self._database.execute(sql, values).fetchone()
            return found

    def number(self, sql: str, *values: Any) -> int:
        """The single integer a query answers."""
        found = self.row(sql, *values)
        return int(found[0] or 0) if found else 0

    def run(self, sql: str, *values: Any) -> int:
        """Writes; answers how many rows it touched."""
        with self._lock:
            return self._database.execute(sql, values).rowcount

    def many(self, sql: str, lines: Iterable[tuple[Any, ...]]) -> None:
        """Writes many rows in one transaction."""
        with self._lock, self._database:  # its own `with` commits, or rolls back
            self._database.execute("BEGIN")
            self._database.executemany(sql, lines)

    def insert(self, table: str, **values: Any) -> None:
        marks = ", ".join("?" * len(values))
        self.run(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", *values.values())  # noqa: S608 (our own names)

    def next_number(self, name: str) -> int:
        """A counter that only grows, kept over restarts."""
        with self._lock:
            self.run(
                "INSERT INTO meta VALUES (?, '1') ON CONFLICT (key) DO UPDATE SET value = value + 1",
                f"number {name}",
            )
            return self.number("SELECT value FROM meta WHERE key = ?", f"number {name}")

    def remember(self, key: str, value: Any) -> None:
        self.run("INSERT OR REPLACE INTO meta VALUES (?, ?)", key, json.dumps(value))

    def recall(self, key: str, default: Any = None) -> Any:
        found = self.row("SELECT value FROM meta WHERE key = ?", key)
        return json.loads(found["value"]) if found else default

    def forget_the_world(self) -> None:
        """Empties everything a reset empties; tokens stay, as the app does not notice a reset."""
        for table in WORLD:
            self.run(f"DELETE FROM {table}")  # noqa: S608 (a fixed list)
        self.run("DELETE FROM meta WHERE key IN ('seeded', 'missing scopes')")

    def close(self) -> None:
        with self._lock:
            self._database.close()
