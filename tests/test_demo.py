"""The demo and the web server as processes, as a newcomer starts them."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.postgres import free_port


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """No settings at all, as on a fresh machine; the demo's data in a folder of its own."""
    return {"PATH": os.environ["PATH"], "DEMO_FOLDER": str(tmp_path / "demo"), "PYTHONUNBUFFERED": "1"}


def start(env: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def demo(env: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    return start(env, "demo", "--port", str(free_port()), "--sandbox-port", str(free_port()), *arguments)


def lines_until(process: subprocess.Popen[str], text: str) -> str:
    """The output up to and with the line that contains the text."""
    output = ""
    for line in process.stdout or ():
        output += line
        if text in line:
            return output
    raise AssertionError(output)


def test_one_round_by_itself_prints_each_step_and_the_card(env: dict[str, str]) -> None:
    process = demo(env, "--once")
    output, _ = process.communicate(timeout=150)
    assert process.returncode == 0, output
    assert "im.chat.member.user.added_v1, handled" in output
    assert "== 欢迎加入" in output
    assert "@林夏 欢迎你！" in output


def test_the_demo_shows_the_login_once_and_ends_cleanly_and_starts_again_with_its_data(
    env: dict[str, str],
) -> None:
    logins = []
    for _ in range(2):
        process = demo(env)
        output = lines_until(process, "Ctrl-C stops everything")
        logins += [line.split("login: ")[1] for line in output.splitlines() if "login: " in line]
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
        assert process.returncode == 0, rest
        assert "Traceback" not in output + rest
    assert len(logins) == 2
    assert len(set(logins)) == 1


def test_the_demo_shows_one_line_for_an_event_and_one_for_its_delivery(env: dict[str, str]) -> None:
    process = demo(env)
    try:
        banner = lines_until(process, "Ctrl-C stops everything")
        feishu = banner.split("local Feishu  ")[1].split("/ ")[0]
        group = requests.get(f"{feishu}/_sandbox/groups", timeout=60).json()["items"][0]["chat_id"]
        requests.post(f"{feishu}/_sandbox/groups/{group}/members", json={"name": "x"}, timeout=60)
        output = lines_until(process, "delivery send_message")
        assert output.count("event im.chat.member.user.added_v1") == 1
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def test_no_process_of_the_demo_outlives_it(env: dict[str, str]) -> None:
    process = demo(env)
    lines_until(process, "Ctrl-C stops everything")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert env["DEMO_FOLDER"] not in running


def test_a_drill_is_played_and_by_request_run_to_its_end(env: dict[str, str]) -> None:
    process = demo(env, "--drill")
    try:
        feishu = (
            lines_until(process, "drill         “支付故障演练”").split("local Feishu  ")[1].split("/ ")[0]
        )
        base = f"{feishu}/_sandbox"
        requests.post(f"{base}/clock", json={"factor": 50}, timeout=60)
        assert scenario_ends(base)["state"] == "done"
        requests.post(f"{base}/scenarios/play", json={"name": "payment-outage"}, timeout=60)
        told = scenario_ends(base)
        assert (told["state"], told["error"]) == ("done", "")
        names = [group["name"] for group in requests.get(f"{base}/groups", timeout=60).json()["items"]]
        assert len([name for name in names if "支付成功率低于 50%" in name]) == 2
    finally:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert "Traceback" not in output


def scenario_ends(base: str) -> dict[str, Any]:
    end = time.monotonic() + 150
    while time.monotonic() < end:
        told: dict[str, Any] = requests.get(f"{base}/scenarios", timeout=60).json()["playing"]
        if told["state"] != "playing":
            return told
        time.sleep(0.1)
    raise AssertionError("the scenario did not end")


@pytest.mark.parametrize("option", ["--port", "--sandbox-port"])
def test_a_taken_port_gets_one_clear_line(env: dict[str, str], option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = demo(env, option, str(port))
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert output.strip() == (
        f"CommandError: Cannot listen on 127.0.0.1:{port}: Address already in use. Choose another port."
    )


def wait_for(url: str) -> requests.Response:
    deadline = time.monotonic() + 90
    while True:
        try:
            return requests.get(url, timeout=60)
        except requests.ConnectionError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.django_db(transaction=True)
def test_the_web_server_answers_and_ends_on_sigterm(process_env: dict[str, str]) -> None:
    port = free_port()
    server = start(process_env, "serve", "--port", str(port), "--workers", "1")
    try:
        assert wait_for(f"http://127.0.0.1:{port}/healthz").json() == {"status": "ok"}
        page = requests.get(f"http://127.0.0.1:{port}/", timeout=60)
        assert page.url.endswith("/admin/login/?next=/admin/")
        assert requests.get(f"http://127.0.0.1:{port}/static/admin/css/base.css", timeout=60).ok
        server.send_signal(signal.SIGTERM)
        output, _ = server.communicate(timeout=60)
    finally:
        server.kill()
    assert server.returncode == 0, output


@pytest.mark.django_db(transaction=True)
def test_events_pushed_to_the_real_server_are_stored(bot: Any, process_env: dict[str, str]) -> None:
    from events.models import Event
    from tests.feishu_events import member_joined, sealed

    port = free_port()
    server = start(process_env, "serve", "--port", str(port), "--workers", "2")
    try:
        wait_for(f"http://127.0.0.1:{port}/healthz")
        for number in range(5):
            body, headers = sealed(member_joined(event_id=f"ev_{number}"), bot.encrypt_key.reveal())
            response = requests.post(
                f"http://127.0.0.1:{port}/webhook/event/default", data=body, headers=headers, timeout=60
            )
            assert response.status_code == 200
        chunked = requests.post(
            f"http://127.0.0.1:{port}/webhook/event/default", data=iter([body]), timeout=60
        )
        assert chunked.status_code == 411
    finally:
        server.terminate()
        server.communicate()
    assert Event.objects.count() == 5
