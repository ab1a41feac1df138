"""The load generator, a process of its own: distinct, correctly sealed events over kept connections.

    python -m bench.load URL --events 20000 --kind ignored [--rate 200] [--connections 16]

Prints one line of JSON: {"sent", "ok", "seconds", "p50_ms", "p99_ms"}. With `--rate` the events are due at fixed
times, and an event's time runs from the moment it was due: a server that stalls cannot hide it.
"""

import argparse
import json
import selectors
import socket
import time
import uuid
from collections import Counter, deque
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests import feishu_events

KINDS = {
    "ignored": lambda chat_id: feishu_events.v2("vc.meeting.all_meeting_started_v1", {"chat_id": chat_id}),
    "greeted": lambda chat_id: feishu_events.member_joined(
        (f"ou_{uuid.uuid4().hex}", "Lin"), chat_id=chat_id
    ),
}
GIVE_UP_SECONDS = 120


@dataclass
class Connection:
    """One kept connection with at most one request under way."""

    socket: socket.socket
    due_at: float = 0.0
    answer: bytearray = field(default_factory=bytearray)


def requests_for(url: str, kind: str, count: int, chats: list[str]) -> list[bytes]:
    """`count` whole HTTP requests, each with an event of its own, sealed with the test bot's key."""
    address = urlsplit(url)
    head = f"POST {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
    made = []
    for number in range(count):
        event = KINDS[kind](chats[number % len(chats)])
        body, headers = feishu_events.sealed(event, feishu_events.ENCRYPT_KEY)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        made.append(f"{head}{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return made


def run(url: str, requests: list[bytes], connections: int, rate: float) -> dict[str, float]:
    """Sends them all, each connection the next as soon as it has its answer (or as it is due)."""
    selector = selectors.DefaultSelector()
    idle = deque(_connect(url, selector) for _ in range(connections))
    total = len(requests)
    waiting, accepted, sent = deque(requests), 0, 0
    took: list[float] = []
    refused: Counter[str] = Counter()
    began = time.monotonic()
    while len(took) < total:
        now = time.monotonic()
        if now - began > GIVE_UP_SECONDS:
            break
        while waiting and idle and (not rate or now >= began + sent / rate):
            connection = idle.popleft()
            connection.due_at = began + sent / rate if rate else now
            connection.socket.sendall(waiting.popleft())
            sent += 1
        pause = 1.0 if not (rate and waiting and idle) else max(0.0, began + sent / rate - time.monotonic())
        for key, _ in selector.select(pause):
            connection = key.data
            status = _read(connection)
            if status:
                took.append(time.monotonic() - connection.due_at)
                accepted += status == 200
                refused[f"status_{status}"] += status != 200
                idle.append(connection)
    seconds = time.monotonic() - began
    took.sort()
    return {
        "sent": sent,
        "ok": accepted,
        **{status: count for status, count in refused.items() if count},
        "seconds": round(seconds, 3),
        "p50_ms": round(took[len(took) // 2] * 1000, 2),
        "p99_ms": round(took[int(len(took) * 0.99)] * 1000, 2),
    }


def _connect(url: str, selector: selectors.BaseSelector) -> Connection:
    address = urlsplit(url)
    connection = Connection(socket.create_connection((address.hostname, address.port), timeout=10))
    connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    selector.register(connection.socket, selectors.EVENT_READ, connection)
    return connection


def _read(connection: Connection) -> int:
    """The status once the answer is whole, else 0; raises ConnectionError if the server hung up."""
    data = connection.socket.recv(65536)
    if not data:
        raise ConnectionError("the server closed a kept connection")
    connection.answer += data
    head, separator, body = bytes(connection.answer).partition(b"\r\n\r\n")
    if not separator or len(body) < _length(head):
        return 0
    connection.answer.clear()
    return int(head[9:12])


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--events", type=int, default=10000)
    parser.add_argument("--kind", choices=KINDS, default="ignored")
    parser.add_argument("--chats", nargs="+", default=[feishu_events.CHAT_ID])
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rate", type=float, default=0, help="events a second; 0: as fast as they are taken")
    given = parser.parse_args()
    requests = requests_for(given.url, given.kind, given.events, given.chats)
    print(json.dumps(run(given.url, requests, given.connections, given.rate)))


if __name__ == "__main__":
    main()
