"""The post-mortem of an incident: drafted on demand, edited by people, never made by itself; its page."""

from typing import Any

import pytest

from incidents.models import Actor, FollowUp, PostMortem, PostMortemTemplate, TimelineEntry, Via
from incidents.reviewadmin import drawn
from tests.incident_world import kinds

pytest_plugins = ["tests.admin_fixtures", "tests.incident_fixtures"]

OPERATOR = Actor(Via.ADMIN, "operator")
TEMPLATE = "/admin/incidents/post-mortem-template/"


@pytest.fixture
def operator(client_of: Any) -> Any:
    return client_of("operator", ["view_incident", "change_incident"])


@pytest.fixture
def viewer(client_of: Any) -> Any:
    return client_of("viewer", ["view_incident"])


@pytest.fixture
def stranger(client_of: Any) -> Any:
    return client_of("stranger", ["view_bot"])


@pytest.fixture
def written(incident: Any) -> PostMortem:
    return incident.draft_post_mortem(OPERATOR)


def url(incident: Any, verb: str = "") -> str:
    return f"/admin/incidents/incident/{incident.pk}/post-mortem/{verb}"


def form(written: PostMortem, **fields: Any) -> dict[str, Any]:
    rows = {"follow_ups-TOTAL_FORMS": 1, "follow_ups-INITIAL_FORMS": 0}
    return {"body": "# Learned", "revision": written.revision, **rows, **fields}


# --- The draft ---------------------------------------------------------------------------------------------
def test_resolving_makes_no_post_mortem(incident: Any) -> None:
    incident.resolve(OPERATOR, "rolled back")
    assert not PostMortem.objects.exists()


def test_a_draft_has_the_chapters_and_what_is_known(incident: Any) -> None:
    incident.acknowledge(Actor(Via.BUTTON, "Ada"))
    incident.resolve(OPERATOR, "rolled back")
    body = incident.draft_post_mortem(OPERATOR).body
    chapters = [line for line in body.splitlines() if line.startswith("## ")]
    assert chapters == ["## 概述", "## 影响", "## 时间线（关键条目）", "## 原因", "## 改进项"]
    assert f"# {incident.number} Payments fail 复盘" in body
    assert "处理结果：rolled back" in body
    assert "**acknowledged** Ada" in body


def test_the_timeline_of_a_draft_has_key_messages_only(incident: Any) -> None:
    incident.write(TimelineEntry.Kind.MESSAGE, OPERATOR, text="chatter")
    incident.write(TimelineEntry.Kind.MESSAGE, OPERATOR, text="the cause", important=True)
    body = incident.draft_post_mortem(OPERATOR).body
    assert "the cause" in body
    assert "chatter" not in body


def test_drafting_twice_keeps_what_was_written(incident: Any, written: PostMortem) -> None:
    assert written.write("mine", OPERATOR, written.revision)
    assert incident.draft_post_mortem(OPERATOR).body == "mine"
    assert kinds(incident).count("post_mortem") == 1


def test_a_draft_follows_the_operators_template_and_leaves_unknown_braces(incident: Any) -> None:
    PostMortemTemplate.objects.create(body="{number}: {title} {unknown} {0}")
    assert incident.draft_post_mortem(OPERATOR).body == f"{incident.number}: Payments fail {{unknown}} {{0}}"


def test_a_title_cannot_fill_in_variables_or_markup(incident: Any) -> None:
    incident.title = "{timeline} <script> [x](javascript:1)"
    PostMortemTemplate.objects.create(body="{title}")
    body = incident.draft_post_mortem(OPERATOR).body
    assert body == "{timeline} \\<script\\> \\[x\\](javascript:1)"


def test_follow_ups_end_the_markdown(written: PostMortem) -> None:
    written.write("text", OPERATOR, written.revision)
    written.refresh_from_db()
    FollowUp.objects.create(post_mortem=written, text="alarm earlier", owner="Ada", due_on="2026-06-01")
    FollowUp.objects.create(post_mortem=written, text="rollback button", done=True)
    written.refresh_from_db()
    assert written.as_markdown() == "text\n\n- [ ] alarm earlier — Ada (2026-06-01)\n- [x] rollback button\n"


# --- The page ----------------------------------------------------------------------------------------------
def test_the_page_offers_a_draft_and_makes_none_by_itself(incident: Any, operator: Any) -> None:
    assert b"Draft a post-mortem" in operator.get(url(incident)).content
    assert not PostMortem.objects.exists()


def test_an_operator_drafts_one(incident: Any, operator: Any) -> None:
    assert operator.post(url(incident, "draft/")).status_code == 302
    assert PostMortem.objects.get().created_by == "operator"


def test_an_operator_saves_text_and_follow_ups(incident: Any, written: PostMortem, operator: Any) -> None:
    row = {"text": "alarm earlier", "owner": "Ada", "due_on": "2026-06-01"}
    fields = {f"follow_ups-0-{name}": value for name, value in row.items()}
    assert operator.post(url(incident), form(written, **fields)).status_code == 302
    written.refresh_from_db()
    assert (written.body, written.updated_by, written.revision) == ("# Learned", "operator", 2)
    assert [str(one.due_on) for one in written.follow_ups.all()] == ["2026-06-01"]


def test_the_preview_saves_nothing(incident: Any, written: PostMortem, operator: Any) -> None:
    answer = operator.post(url(incident), form(written, preview="1"))
    assert b"<h1>Learned</h1>" in answer.content
    written.refresh_from_db()
    assert written.revision == 1


def test_of_two_who_save_the_second_is_told(incident: Any, written: PostMortem, operator: Any) -> None:
    operator.post(url(incident), form(written, body="first"))
    answer = operator.post(url(incident), form(written, body="second"))
    assert b"Somebody else changed the text meanwhile" in answer.content
    written.refresh_from_db()
    assert written.body == "first"


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "[x](javascript:alert(1))", "<img src=x onerror=y>"]
)
def test_the_preview_runs_nothing(text: str) -> None:
    page = drawn(text)
    assert not any(tag in page for tag in ("<script", "<img", "<a "))


def test_an_operator_changes_the_template_and_goes_back(operator: Any) -> None:
    operator.post(TEMPLATE, {"body": "mine"})
    assert PostMortemTemplate.objects.get().body == "mine"
    operator.post(TEMPLATE, {"reset": "1"})
    assert "复盘" in operator.get(TEMPLATE).content.decode()


def test_a_viewer_reads_and_changes_nothing(incident: Any, written: PostMortem, viewer: Any) -> None:
    assert viewer.get(url(incident)).status_code == viewer.get(TEMPLATE).status_code == 200
    posts = [(url(incident), form(written)), (url(incident, "draft/"), {}), (TEMPLATE, {"body": "mine"})]
    assert [viewer.post(*post).status_code for post in posts] == [403, 403, 403]


def test_whoever_may_not_see_incidents_sees_nothing(incident: Any, stranger: Any) -> None:
    assert [stranger.get(one).status_code for one in (url(incident), TEMPLATE)] == [403, 403]


def test_nobody_is_sent_to_the_login(incident: Any, nobody: Any) -> None:
    for one in (url(incident), TEMPLATE):
        assert nobody.get(one).url.startswith("/admin/login/")


def test_a_private_incident_has_no_page_for_others(incident: Any, operator: Any) -> None:
    type(incident).objects.update(private=True)
    assert operator.get(url(incident)).status_code == 404


def test_a_draft_is_made_by_post_only(incident: Any, operator: Any) -> None:
    assert operator.get(url(incident, "draft/")).status_code == 405
