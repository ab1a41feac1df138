"""The project itself: settings and their example, what a process loads, what is committed, the tools of the tests."""

import ast
import base64
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import feishu_events

ROOT = Path(__file__).resolve().parent.parent
PIN = re.compile(r"^[A-Za-z0-9._-]+==[^ ]+", re.MULTILINE)


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Python in a process of its own, with nothing in its environment but what is given."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "ENV_FILE": os.devnull, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def names_read_by_settings() -> set[str]:
    tree = ast.parse((ROOT / "botconsole/settings.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    reads = [
        call
        for call in calls
        if re.fullmatch(r"env\.\w+|secret|number|one_of|switch|database", ast.unparse(call.func))
    ]
    return {call.args[0].value for call in reads if isinstance(call.args[0], ast.Constant)}


def names_in_example() -> set[str]:
    return set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_the_example_names_every_variable_that_is_read_and_no_other() -> None:
    in_compose = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "compose.yaml").read_text()))
    assert names_in_example() == names_read_by_settings() | in_compose


def test_every_variable_of_the_example_is_explained_in_english_and_chinese() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"#?[A-Z_]+=", line):
            above = [text for text in lines[max(0, number - 3) : number] if not text.startswith("#   ")][-2:]
            english, chinese = above
            assert re.match(r"# [A-Z]", english), line
            assert re.search(r"[\u4e00-\u9fff]", chinese), line


@pytest.mark.parametrize(
    "environment",
    [{}, {"SECRET_KEY": "change-me"}, {"ENV_FILE": ".env.example"}, {"SECRET_KEY_FILE": "/nowhere"}],
)
def test_without_a_secret_key_nothing_starts_and_one_line_says_why(environment: dict[str, str]) -> None:
    done = run("manage.py", "check", **environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"botconsole: SECRET_KEY.*\n", done.stderr)


def test_secrets_come_from_files_without_the_newline_at_their_end(tmp_path: Path) -> None:
    names = [
        "SECRET_KEY",
        "FEISHU_APP_SECRET",
        "FEISHU_VERIFICATION_TOKEN",
        "FEISHU_ENCRYPT_KEY",
        "SEALING_KEYS",
    ]
    for name in names:
        (tmp_path / name).write_text(f"text of {name}\n")
    code = f"from botconsole import settings; print([getattr(settings, name) for name in {names}])"
    done = run("-c", code, **{f"{name}_FILE": str(tmp_path / name) for name in names})
    expected: list[object] = [f"text of {name}" for name in names[:-1]]
    assert done.stdout == f"{[*expected, ['text of SEALING_KEYS']]}\n"


def test_the_database_address_comes_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://someone:p%40ss@db:5432/console\n")
    code = "from botconsole.settings import DATABASES as d; print(d['default']['PASSWORD'], d['default']['NAME'])"
    done = run("-c", code, SECRET_KEY="only-for-tests", DATABASE_URL_FILE=str(tmp_path / "url"))
    assert done.stdout == "p@ss console\n"


HANDLES_A_WEBHOOK = """
import sys, django
django.setup()
assert "lark_oapi" not in sys.modules, "loaded by django.setup()"
from django.core.management import call_command
from django.test import Client
from events.models import Bot
from templates.starters import make_starters
from tests import feishu_events as feishu
call_command("migrate", verbosity=0)
bot = Bot.objects.create(name="x", slug="x", app_id=feishu.APP_ID, app_secret=feishu.APP_SECRET,
                         verification_token=feishu.VERIFICATION_TOKEN, encrypt_key=feishu.ENCRYPT_KEY)
make_starters(bot)
raw, headers = feishu.sealed(feishu.member_joined(), feishu.ENCRYPT_KEY)
answer = Client(SERVER_NAME="localhost").post("/webhook/event/x", raw, "application/json", headers=headers)
print(answer.status_code, bot.outbox.count(), "lark_oapi" in sys.modules)
"""


def test_the_web_process_never_loads_the_sdk() -> None:
    done = run(
        "-c",
        HANDLES_A_WEBHOOK,
        DJANGO_SETTINGS_MODULE="botconsole.settings",
        SECRET_KEY="only-for-tests",
        DATABASE_URL="sqlite:///:memory:",
        LOG_LEVEL="ERROR",
    )
    assert done.stdout == "200 1 False\n", done.stderr


def test_no_committed_file_names_a_package_index_or_a_path_of_this_machine() -> None:
    # In halves, so that this file does not name them either.
    hosts = ["pypi" + ".org", "pythonhosted" + ".org", "registry.npmjs" + ".org", "deb.debian" + ".org"]
    paths = [
        "/work" + "/main",
        "/work" + "/shared",
        "/work" + "/.library",
        f"{ROOT}/",
        f"{Path.home()}/",
        "/opt/" + "pypi",
    ]
    forbidden = [word for word in hosts + paths if len(word) > 3]
    found = [
        (str(path.relative_to(ROOT)), word)
        for path in tracked_files()
        for word in forbidden
        if word.encode() in path.read_bytes()
    ]
    assert found == []


def test_what_production_installs_is_what_the_tests_ran_with() -> None:
    production, tests = (
        set(PIN.findall((ROOT / name).read_text())) for name in ("requirements.txt", "requirements-dev.txt")
    )
    assert production
    assert production <= tests


def test_ci_calls_only_what_a_developer_calls() -> None:
    assert "goal: [check, test]" in (ROOT / ".github/workflows/ci.yml").read_text()
    assert re.findall(r"^make .*", (ROOT / ".ci/run").read_text(), re.MULTILINE) == [
        "make check",
        "make test",
    ]


def test_our_pushes_are_encrypted_as_feishu_documents_it() -> None:
    documented = "P37w+VZImNgPEO1RBhJ6RtKl7n6zymIbEG1pReEzghk="
    assert feishu_events.encrypt("hello world", "test key", base64.b64decode(documented)[:16]) == documented


def test_what_a_handler_says_of_itself_is_worded_for_the_operator() -> None:
    from events.words import OUTCOMES

    said = re.compile(r'(?:handled|ignored|return left_out)\(\s*f?"([^"]+)"')
    texts = {
        re.sub(r"\{[^}]+\}", "INC-1", text)
        for package in ("events", "incidents", "templates")
        for path in (ROOT / package).rglob("*.py")
        for text in said.findall(path.read_text())
    }
    assert len(texts) > 15
    unknown = {text for text in texts if not any(re.fullmatch(pattern, text) for pattern, _ in OUTCOMES)}
    assert unknown - {"INC-1 on INC-1", "INC-1: INC-1 already"} == set()
