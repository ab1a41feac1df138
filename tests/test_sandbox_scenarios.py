"""Scenarios: read with clear errors, played step by step, recorded from what people do, and played again."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command

from botconsole.sandbox import SandboxServer
from botconsole.sandbox.scenario import ScenarioError, read, shipped
from tests.postgres import free_port
from tests.sandbox_world import App, Person, acting, settings, until
from tests.test_sandbox_command import start

pytest_plugins = ["tests.sandbox_fixtures"]


@pytest.fixture
def person(app: App) -> Iterator[Person]:
    with acting(settings(app.url, limits=False)) as person:
        yield person


def played(person: Person, seconds: float = 60, **what: object) -> dict:
    """Plays a scenario to its end; tells how it ended."""
    answer = person.post("/scenarios/play", what)
    assert answer.get("state") == "playing", answer

    def now() -> dict:
        return person.http.get("/scenarios").json()["playing"]

    until(lambda: now()["state"] != "playing", seconds)
    return now()


def steps(*lines: str) -> str:
    return "title: t\nsteps:\n" + "\n".join(f"  - {line}" for line in lines)


def test_all_scenarios_that_come_along_are_good() -> None:
    assert set(shipped()) == {"mass-join", "payment-outage", "long-incident", "feishu-down"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the scenario is empty"),
        ("a: [", "line 1: this is no YAML"),
        ("[1]", "line 1: a scenario is a mapping with title and steps"),
        ("title: t", "line 1: steps is missing"),
        ("title: t\nsteps: []", "line 2: steps must be a list with something in it"),
        ("title: t\ntitel: x\nsteps: [a]", "line 2: a scenario has no titel; did you mean title?"),
        ("title: &x t\nabout: *x", "line 2: references (*name) are not allowed"),
        ("title: !!python/object:os.system t\nsteps: [a]", "line 1: a value cannot be read"),
        ("[1]: x", "line 1: a key must be a word"),
        (steps("x"), "line 3: a step is a mapping"),
        (steps("{after: 1}"), "line 3: a step does one thing; this one does nothing"),
        (steps("end_faults:", "sya: {in: a}"), "line 4: a step has no sya; did you mean say?"),
        (steps("say: {in: a, by: b}"), "line 3: say needs one of text"),
        (steps("say: {in: a, text: c}"), "line 3: say needs by"),
        (steps("say: {in: a, by: b, text: 1}"), "line 3: text must be a text"),
        (steps("say: {in: a, in: b}"), "line 3: in is there twice"),
        (
            steps("say:\n      in: a\n      by: b\n      txet: x"),
            "line 6: say has no txet; did you mean text?",
        ),
        (steps("{join: {in: a, people: 0}}"), "line 3: people must be a list of names, or how many"),
        (steps("{end_faults: , after: -1}"), "line 3: after must be a number that is not negative"),
        (steps("{end_faults: , as: x}"), "line 3: as goes with say and group only"),
        (steps("recall: {message: m}"), "line 3: no step before says something as m"),
        (steps("fault: {switch: oops}"), "line 3: switch must be one of down"),
        (steps("{end_faults: , when: x}"), "line 3: variables has no x"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ScenarioError) as error:
        read(text)
    assert str(error.value).startswith(said)


def test_people_say_answer_change_react_and_recall(person: Person, app: App) -> None:
    told = played(person, name="long-incident")
    assert (told["state"], told["error"]) == ("done", "")
    group = person.http.get("/groups").json()["items"][0]
    messages = person.http.get(f"/groups/{group['chat_id']}/messages?limit=1000").json()["items"]
    assert group["name"] == "[已恢复] 订单延迟"
    assert len(messages) == 300
    assert messages[1]["parent_id"] == messages[0]["message_id"]
    assert messages[0]["reactions"][0]["emoji_type"] == "OK"
    assert [message["deleted"] for message in messages].count(True) == 1
    assert {message["msg_type"] for message in messages} == {"text", "post"}


def test_thousands_join_in_a_burst(person: Person, app: App) -> None:
    person.post("/clock", {"factor": 100_000})
    assert played(person, name="mass-join")["state"] == "done"
    group = person.http.get("/groups").json()["items"][0]
    assert len(group["members"]) == 5002
    until(lambda: len([body for body in app.bodies if "users" in body.get("event", {})]) == 296, 60)
    users = [len(body["event"]["users"]) for body in app.bodies if "users" in body["event"]]
    assert (sum(users), max(users)) == (5000, 50)


def test_feishu_is_down_for_ten_minutes_of_its_own_clock(person: Person) -> None:
    began = person.post("/clock", {"factor": 200})["now"]
    person.post("/scenarios/play", {"name": "feishu-down"})
    until(lambda: [fault["down"] for fault in person.http.get("/faults").json()["items"]] == [True])
    until(lambda: person.http.get("/faults").json()["items"] == [])
    assert person.post("/clock", {"factor": 200})["now"] - began >= 605_000


def test_a_card_is_waited_for_and_pressed(person: Person, app: App) -> None:
    text = steps(
        "group: {name: ops, members: [Juniper]}",
        "wait_for: {in: ops, button: ack}",
        "press: {in: o*s, by: Juniper, button: ack}",
    )
    person.post("/scenarios/play", {"yaml": text})
    until(lambda: person.http.get("/groups").json()["items"])
    person.card(person.http.get("/groups").json()["items"][0]["chat_id"])
    until(lambda: "card.action.trigger" in app.types)
    until(lambda: person.http.get("/scenarios").json()["playing"]["state"] == "done")


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("say: {in: nowhere, by: x, text: x}", "line 4: there is no group nowhere"),
        ("say: {in: ops, by: stranger, text: x}", "line 4: ou_"),
        ("wait_for: {in: nowhere, within: 0}", "line 4: waited for the group in nowhere: it did not come"),
        ("press: {in: ops, by: Juniper, button: ack}", "line 4: no card in ops has ack"),
        ("clock: {factor: 0}", "line 4: factor must be above 0"),
    ],
)
def test_a_step_that_cannot_be_done_ends_the_scenario_and_says_where(
    person: Person, step: str, error: str
) -> None:
    told = played(person, yaml=steps("group: {name: ops, members: [Juniper]}", step))
    assert (told["state"], told["error"][: len(error)]) == ("failed", error)


def test_an_alert_goes_to_the_console_when_its_variable_is_set(person: Person, app: App) -> None:
    text = "title: t\nvariables: {path: ''}\n" + "\n".join(
        steps("{alert: {path: '${path}', body: {n: '{n}'}}, when: path, times: 2}").splitlines()[1:]
    )
    assert played(person, yaml=text)["state"] == "done"
    assert app.bodies == []
    assert played(person, yaml=text, variables={"path": "/alerts"})["state"] == "done"
    assert app.bodies == [{"n": "1"}, {"n": "2"}]
    app.status = 403
    assert "answered 403" in played(person, yaml=text, variables={"path": "/alerts"})["error"]
    person.sandbox.set_webhook(f"http://127.0.0.1:{free_port()}/")
    assert (
        "was not answered: no connection" in played(person, yaml=text, variables={"path": "/alerts"})["error"]
    )


def test_one_scenario_is_played_at_a_time_and_can_be_stopped(person: Person) -> None:
    waiting = steps("{end_faults: , after: 1000}")
    person.post("/scenarios/play", {"yaml": waiting})
    assert person.post("/scenarios/play", {"yaml": waiting})["status_code"] == 400
    assert person.post("/scenarios/stop")["state"] == "stopped"
    until(lambda: person.post("/scenarios/play", {"name": "long-incident"}).get("state") == "playing")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"name": "../x"}, 404),
        ({"yaml": "a: ["}, 400),
        ({"name": "long-incident", "variables": {"x": 1}}, 400),
    ],
)
def test_a_scenario_that_is_none_is_refused(person: Person, body: dict, status: int) -> None:
    assert person.post("/scenarios/play", body)["status_code"] == status


def test_what_people_do_is_recorded_and_plays_the_same_again(person: Person, app: App) -> None:
    old = person.group(name="old")
    juniper = person.post(f"/groups/{old}/members", {"name": "Juniper"})["open_id"]
    person.post("/recording", {"on": True, "title": "a round"})
    chat_id = person.post("/groups", {"name": "new"})["chat_id"]
    person.post(f"/groups/{chat_id}/members", {"users": [{"open_id": juniper}, {"name": "Maple"}]})
    first = person.post(f"/groups/{chat_id}/messages", {"open_id": juniper, "text": "costs ${x} {n}"})[
        "message_id"
    ]
    person.post(f"/messages/{first}/reactions", {"open_id": juniper, "emoji_type": "OK"})
    person.post(f"/groups/{chat_id}/messages", {"text": "yes", "reply_to": first})
    person.card(chat_id)
    message = person.messages(chat_id)[-1]["message_id"]
    person.post(f"/messages/{message}/press", {"element": "ack"})
    person.http.patch(f"/groups/{old}", json={"name": "older"})
    person.post("/faults", {"switch": "slow"})
    person.http.delete("/faults")
    person.post("/conversations", {"open_id": juniper})
    text = person.post("/recording", {"on": False})["yaml"]
    verbs = [step.verb for step in read(text).steps]
    assert verbs == [
        "group", "join", "say", "react", "say", "press", "group", "rename", "fault", "end_faults", "conversation",
    ]  # fmt: skip
    person.post("/reset")
    told = played(person, yaml=text.replace("button: ack", "button: nothing"))
    assert told["error"] == f"line {told['line']}: no card in new has nothing"
    chat_id = person.http.get("/groups").json()["items"][0]["chat_id"]
    again = person.messages(chat_id)
    assert [item["content"]["text"] for item in again] == ["costs ${x} {n}", "yes"]
    assert again[1]["parent_id"] == again[0]["message_id"]


def test_a_group_that_was_there_is_recorded_as_it_was_before(person: Person) -> None:
    chat_id = person.group(name="old", bot=False)
    for name in ("Juniper", "Maple"):
        person.post(f"/groups/{chat_id}/members", {"open_id": f"ou_{name}", "name": name})
    recorded = []
    for method, path, body in (
        ("POST", "members", {"name": "Tansy"}),
        ("DELETE", "members/ou_Juniper", None),
        ("POST", "leave", {"open_id": "ou_Maple"}),
        ("POST", "bot", None),
    ):
        person.post("/recording", {"on": True})
        assert person.http.request(method, f"/groups/{chat_id}/{path}", json=body).is_success
        first, second = read(person.post("/recording", {"on": False})["yaml"]).steps
        recorded.append((sorted(first.values["members"]), first.values["bot"], second.verb))
    assert recorded == [
        (["Juniper", "Maple"], False, "join"),
        (["Juniper", "Maple", "Tansy"], False, "remove"),
        (["Maple", "Tansy"], False, "leave"),
        (["Tansy"], False, "bot"),
    ]


def test_a_recording_that_fails_does_not_spoil_what_is_done(app: App, tmp_path: Path) -> None:
    with SandboxServer(settings(app.url)) as sandbox:
        person = Person(sandbox)
        sandbox.recorder.start(path=tmp_path / "gone" / "file.yaml")
        assert person.group().startswith("oc_")
        assert person.http.get("/recording").json()["on"] is False
        person.http.close()


def test_the_command_plays_a_file_and_records_to_another(tmp_path: Path) -> None:
    drill, record, port = tmp_path / "drill.yaml", tmp_path / "record.yaml", free_port()
    drill.write_text(steps("group: {name: ops}"))
    with start("--port", str(port), "--play", str(drill), "--record", str(record)) as process:
        lines = [process.stdout.readline() for _ in range(3)] if process.stdout else []
        until(lambda: any("scenario t: done" in line for line in [*lines, process.stdout.readline()]))
        base = f"http://127.0.0.1:{port}/_sandbox"
        httpx.post(f"{base}/groups", json={"name": "mine"}, trust_env=False, timeout=60)
        until(lambda: record.read_text() != "")
        process.terminate()
        process.communicate(timeout=60)
    assert [step.values for step in read(record.read_text()).steps] == [{"name": "mine"}]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--play", "nothing.yaml"), "there is no file nothing.yaml, and no scenario of that name"),
        (("--play", "BAD"), "line 3: a step has no sya; did you mean say?"),
        (("--play", "long-incident", "--set", "x=1"), "long-incident has no variable x"),
        (("--clock-factor", "0"), "--clock-factor must be above 0"),
    ],
)
def test_a_wrong_option_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], said: str
) -> None:
    for name in ("FEISHU_APP_ID", "FEISHU_APP_SECRET"):
        monkeypatch.setattr(django_settings, name, "invented")
    bad = tmp_path / "bad.yaml"
    bad.write_text(steps("sya: {in: a}"))
    with pytest.raises(CommandError) as error:
        call_command("sandbox", "--port=0", *(str(bad) if option == "BAD" else option for option in options))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_recording_overwrites_no_file(tmp_path: Path) -> None:
    there = tmp_path / "there.yaml"
    there.touch()
    with start("--port", "0", "--record", str(there)) as process:
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.count("\n")) == (1, 1)
    assert "cannot be written: File exists" in errors
