"""The sandbox for other projects: the pytest plugin without Django, the compose service, the samples of the docs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import yaml

from tests.postgres import free_port
from tests.waiting import running

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
OWN_BOT = """
import sys
import httpx
import pytest
from botconsole.sandbox import SandboxConfig

pytest_plugins = ["botconsole.sandbox.pytest_plugin"]


@pytest.fixture
def feishu_sandbox_config():
    return SandboxConfig("cli_mine", "mine", port=0)


def call(sandbox, path, **body):
    app = {"app_id": sandbox.config.app_id, "app_secret": sandbox.config.app_secret}
    base = f"{sandbox.url}/open-apis"
    token = httpx.post(f"{base}/auth/v3/tenant_access_token/internal", json=app, trust_env=False, timeout=60).json()
    headers = {"Authorization": f"Bearer {token['tenant_access_token']}"}
    return httpx.post(base + path, json=body, headers=headers, trust_env=False, timeout=60).json()


def test_a_card_is_sent_and_drawn_without_django(feishu_sandbox):
    chat_id = feishu_sandbox.post("/groups", name="ops")["chat_id"]
    card = '{"schema": "2.0", "body": {"elements": [{"tag": "markdown", "content": "**hi**"}]}}'
    path = "/im/v1/messages?receive_id_type=chat_id"
    assert call(feishu_sandbox, path, receive_id=chat_id, msg_type="interactive", content=card)["code"] == 0
    message = feishu_sandbox.until(lambda: feishu_sandbox.get(f"/groups/{chat_id}/messages")["items"])[0]
    assert "<strong>hi</strong>" in message["html"]
    assert not [name for name in sys.modules if name.split(".")[0] == "django"]


def test_each_test_has_a_feishu_of_its_own(feishu_sandbox):
    assert [group["name"] for group in feishu_sandbox.get("/groups")["items"]] == ["支付值班", "新人欢迎群"]
    with pytest.raises(AssertionError, match="no chat oc_x"):
        feishu_sandbox.delete("/groups/oc_x")
"""


def test_the_fixture_works_in_a_project_without_django(tmp_path: Path) -> None:
    (tmp_path / "test_bot.py").write_text(OWN_BOT)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    run = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert "2 passed" in run.stdout, run.stdout + run.stderr


def test_the_compose_service_serves_with_its_own_defaults(tmp_path: Path) -> None:
    """What compose would start, on another port: `${NAME:-default}` stands for its default."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (ROOT / "compose.sandbox.yaml").read_text())
    service = yaml.safe_load(text)["services"]["sandbox"]
    options = [option.replace("/state/", f"{tmp_path}/") for option in service["command"][2:]]
    port = free_port()
    command = [sys.executable, "manage.py", *options, f"--port={port}"]
    environment = {"PATH": os.environ["PATH"], "ENV_FILE": os.devnull, **service["environment"]}
    served = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    with running(served) as process:
        assert process.stdout is not None
        process.stdout.readline()
        health = httpx.get(
            f"http://127.0.0.1:{port}/_sandbox/health",
            headers={"Host": "sandbox"},
            trust_env=False,
            timeout=60,
        )
        process.terminate()
        process.communicate(timeout=60)
    assert health.json() == {"status": "ok", "app_id": "cli_sandbox", "feishu": False}
    assert (tmp_path / "feishu.sqlite3").exists()


def test_the_shell_sample_of_the_docs_runs_as_it_is_written(tmp_path: Path) -> None:
    sample = re.search(r"```sh\n(.*?)```", (ROOT / "docs" / "sandbox.md").read_text(), re.DOTALL)
    assert sample is not None
    port = free_port()
    script = sample[1].replace("8001", str(port)).replace("python ", f"{sys.executable} ", 1)
    environment = {"PATH": os.environ["PATH"], "ENV_FILE": os.devnull, "SECRET_KEY": "x", "NO_PROXY": "*"}
    bash = shutil.which("bash")
    assert bash is not None
    run = subprocess.run(
        [bash, "-euo", "pipefail", "-c", script],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert '"text": "hello"' in run.stdout
