"""The seeds' Flask sample, with lark_oapi's dispatcher and Flask adapter, receives what the sandbox pushes."""

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from botconsole.sandbox import SandboxConfig, SandboxServer
from tests.sandbox_world import CARD, KEY, TOKEN, Person, until


class Sample:
    """The sample's process, and the lines it prints."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "tests/sandbox_flask_sample.py", KEY, TOKEN],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self.lines: queue.Queue[list] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.line()[1]}/webhook"

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(json.loads(line))

    def line(self) -> list:
        return self.lines.get(timeout=60)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="module")
def flask() -> Iterator[Sample]:
    sample = Sample()
    yield sample
    sample.close()


@pytest.fixture(params=["event", "sealed"])
def person(request: Any, flask: Sample) -> Iterator[Person]:
    """A sandbox that pushes to the sample: without keys as in the seeds, or signed and encrypted."""
    keys = {"encrypt_key": KEY, "verification_token": TOKEN} if request.param == "sealed" else {}
    url = f"{flask.url}/{request.param}"
    with SandboxServer(SandboxConfig("cli_test", "s3cret", port=0, seed=False, **keys)) as sandbox:
        person = Person(sandbox)
        assert person.post("/webhook", {"url": url}) == {"url": url}, "the challenge"
        yield person
        person.http.close()


def test_the_sample_hears_of_newcomers_and_conversations(flask: Sample, person: Person) -> None:
    chat_id = person.group()
    joined = person.post(f"/groups/{chat_id}/members", {"users": [{"name": "Juniper"}, {"name": "Maple"}]})
    assert flask.line() == ["joined", ["Juniper", "Maple"]]
    person.post("/conversations", {"open_id": joined["open_ids"][0]})
    assert flask.line() == ["p2p_chat_create", "Juniper"]
    until(lambda: person.push(joined["event_id"])["state"] == "acked")


def test_the_sample_answers_a_press(flask: Sample, person: Person) -> None:
    chat_id = person.group()
    open_id = person.post(f"/groups/{chat_id}/members", {"name": "Sorrel"})["open_id"]
    assert flask.line() == ["joined", ["Sorrel"]]
    told = person.post(
        f"/messages/{person.card(chat_id, CARD)}/press", {"open_id": open_id, "element": "ack"}
    )
    assert (told["status"], told["answer"]) == ("ok", {"toast": {"type": "info", "content": "seen"}})
    assert flask.line() == ["pressed", {"action": "ack"}]


def test_what_the_sample_has_no_handler_for_it_answers_500_and_gets_again(
    person: Person,
) -> None:
    event_id = person.post("/events", {"event_type": "im.chat.disbanded_v1", "event": {}})["event_id"]
    until(lambda: person.push(event_id)["state"] == "retrying")
    assert person.push(event_id)["tries"][0]["status"] == 500
