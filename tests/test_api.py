"""The REST API of incidents: keys and scopes, opening, steps, lists, problems, and requests that come twice."""

import base64
import json
import threading
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from botconsole.models import ANSWERS_KEPT, ApiKey, IdempotencyKey
from events.models import Bot, OutboxAttachment, OutboxItem
from incidents.models import Actor, ExportPiece, Incident, Responder, Service, TimelineEntry, Via
from incidents.phrases import clock
from tests.test_project import run

INCIDENTS = "/api/v1/incidents"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


def client_with(*scopes: str) -> Client:
    _key, text = ApiKey.objects.issue("deploy-bot", scopes)
    return Client(headers={"authorization": f"Bearer {text}", "accept-language": "en"})


@pytest.fixture
def api(db: None) -> Client:
    """A program with a key that may read and change incidents."""
    return client_with("incidents")


def post(client: Client, url: str, body: Any = None, **headers: str) -> Any:
    return client.post(url, body, content_type="application/json", headers=headers)


def opened(bot: Bot, **fields: Any) -> Incident:
    return Incident.objects.open(
        **({"bot": bot, "title": "Payments fail", "by": Actor(Via.ADMIN, "Ada")} | fields)
    )


def numbers(answer: Any) -> list[str]:
    return [one["number"] for one in answer.json()["results"]]


# --- Keys and scopes ------------------------------------------------------------------------------------
def test_without_a_key_the_answer_is_401_and_a_problem_in_the_readers_language(db: None) -> None:
    answer = Client().get(INCIDENTS, headers={"accept-language": "en"})
    assert (answer.status_code, answer["Content-Type"]) == (401, "application/problem+json")
    assert answer["WWW-Authenticate"] == 'Bearer realm="botconsole"'
    assert answer.json() == {
        "type": "about:blank",
        "title": "Not signed in",
        "status": 401,
        "detail": "Authentication credentials were not provided.",
    }
    assert Client().get(INCIDENTS).json()["detail"] == "身份认证信息未提供。"


@pytest.mark.parametrize(
    "header", ["Bearer x", "Bearer bc_00000000_" + "0" * 40, "Bearer \u00e9", "Basic YTpi", "Bearer"]
)
def test_a_wrong_key_is_401(db: None, header: str) -> None:
    assert Client(headers={"authorization": header}).get(INCIDENTS).status_code == 401


def test_a_key_with_a_wrong_secret_is_401(db: None) -> None:
    _key, text = ApiKey.objects.issue("x", ["incidents"])
    wrong = text[:-1] + ("0" if text[-1] != "0" else "1")
    assert Client(headers={"authorization": f"Bearer {wrong}"}).get(INCIDENTS).status_code == 401


def test_a_revoked_key_is_401(api: Client) -> None:
    ApiKey.objects.get().revoke()
    assert api.get(INCIDENTS).status_code == 401


@pytest.mark.parametrize("scopes", [["incidents:private"], ["incidents:read"]])
def test_writing_without_the_scope_is_403(bot: Bot, scopes: list[str]) -> None:
    answer = post(client_with(*scopes), INCIDENTS, {"title": "x"})
    assert (answer.status_code, answer.json()["detail"]) == (403, "This API key lacks the scope incidents.")
    assert not Incident.objects.exists()


@pytest.mark.parametrize(
    ("scope", "status"), [("incidents", 200), ("incidents:read", 200), ("incidents:private", 403)]
)
def test_reading_takes_the_scope_for_reading(db: None, scope: str, status: int) -> None:
    assert client_with(scope).get(INCIDENTS).status_code == status


def test_the_command_prints_a_key_that_works_and_stores_only_its_hash(db: None) -> None:
    out = StringIO()
    call_command(
        "create_api_key", "ci", "--scope", "incidents", "--scope", "incidents:private", stdout=out, stderr=out
    )
    text = out.getvalue().splitlines()[0]
    key = ApiKey.objects.get()
    assert (key.name, key.scopes, text.split("_")[:2]) == (
        "ci",
        ["incidents", "incidents:private"],
        ["bc", key.prefix],
    )
    assert text.split("_")[2] not in str(ApiKey.objects.values())
    assert Client(headers={"authorization": f"Bearer {text}"}).get(INCIDENTS).status_code == 200


@pytest.mark.parametrize(("name", "scope"), [("ci", "admin"), ("", "incidents"), ("x" * 81, "incidents")])
def test_the_command_refuses_unknown_scopes_and_bad_names(db: None, name: str, scope: str) -> None:
    with pytest.raises(CommandError):
        call_command("create_api_key", name, "--scope", scope)
    assert not ApiKey.objects.exists()


def test_the_use_of_a_key_is_noted_once_a_minute(api: Client) -> None:
    api.get(INCIDENTS)
    noted = ApiKey.objects.get().last_used_at
    api.get(INCIDENTS)
    assert ApiKey.objects.get().last_used_at == noted
    ApiKey.objects.update(last_used_at=timezone.now() - timedelta(minutes=2))
    api.get(INCIDENTS)
    assert ApiKey.objects.get().last_used_at > noted


# --- Opening --------------------------------------------------------------------------------------------
def test_an_incident_is_opened_with_everything_it_can_have(bot: Bot, api: Client) -> None:
    Service.objects.create(name="Payments", first_on_call="ou_sun")
    people = [{"open_id": "ou_ada"}, {"email": "lin@example.com"}, {"mobile": "+8613800000000"}]
    answer = post(
        api,
        INCIDENTS,
        {
            "title": "支付失败率升高 🔥",
            "severity": "P0",
            "bot": "default",
            "description": "5xx",
            "service": "Payments",
            "responders": people,
            "image": base64.b64encode(PNG).decode(),
            "drill": True,
        },
    )
    assert answer.status_code == 201
    incident, told = Incident.objects.get(), answer.json()
    for name in ("opened_at", "active_at"):
        assert told.pop(name)
    waiting = {"open_id": None, "email": None, "mobile": None, "status": "waiting", "error": None}
    assert told == {
        "number": incident.number, "title": "支付失败率升高 🔥", "severity": "P0", "status": "open", "chat_id": None,
        "opened_by": "deploy-bot", "acknowledged_at": None, "acknowledged_by": None, "resolved_at": None,
        "resolved_by": None, "resolution_note": "", "false_alarm": False, "muted_until": None, "description": "5xx",
        "service": "Payments", "bot": "default", "lead": None, "source": "api", "private": False, "drill": True,
        "url": f"http://127.0.0.1:8000/admin/incidents/incident/{incident.pk}/change/",
        "responders": [waiting | one for one in [{"open_id": "ou_sun"}, *people]],
    }  # fmt: skip
    assert bytes(OutboxAttachment.objects.get().data) == PNG


def test_a_title_is_enough_where_there_is_one_bot(bot: Bot, api: Client) -> None:
    told = post(api, INCIDENTS, {"title": "x"}).json()
    assert (told["bot"], told["severity"], told["source"]) == ("default", "P2", "api")
    assert TimelineEntry.objects.get().via == "api"


def test_with_two_bots_one_must_be_named(bot: Bot, api: Client) -> None:
    Bot.objects.create(name="B", slug="b", app_id="cli_b", verification_token="t")
    answer = post(api, INCIDENTS, {"title": "x"})
    assert (answer.status_code, answer.json()["errors"]) == (
        400,
        {"bot": ["There are several bots: say which."]},
    )
    assert post(api, INCIDENTS, {"title": "x", "bot": "b"}).json()["bot"] == "b"


def test_without_a_bot_that_is_what_the_answer_says(api: Client) -> None:
    assert post(api, INCIDENTS, {"title": "x"}).json()["errors"] == {"bot": ["There is no enabled bot."]}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", ""), ("title", "x" * 201), ("title", "a\0b"), ("title", None), ("title", "\ud800"),
        ("title", "\u202e"),
        ("severity", "P9"), ("bot", "none"), ("bot", "a\0"), ("service", "none"), ("service", {}), ("drill", "perhaps"),
        ("description", "x" * 5001), ("responders", [{}]), ("responders", ["ou_ada"]), ("responders", {}),
        ("responders", [{"open_id": "ou_a", "email": "a@b.de"}]), ("responders", [{"open_id": "<at>"}]),
        ("responders", [{"email": "a"}]), ("responders", [{"mobile": "x"}]),
        ("responders", [{"open_id": "ou_a"}] * 501),
        ("image", "***"), ("image", 7), ("image", base64.b64encode(b"<svg/>").decode()), ("image", ""),
        ("image", "é"), ("image", base64.b64encode(PNG + bytes(10 * 1024 * 1024)).decode()),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_field_is_said_for_that_field(
    bot: Bot, api: Client, field: str, value: Any
) -> None:
    answer = post(api, INCIDENTS, {"title": "x", field: value})
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])
    assert answer.json()["title"] == "The request is not valid"
    assert not Incident.objects.exists()


def test_an_image_may_be_a_data_url(bot: Bot, api: Client) -> None:
    url = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert post(api, INCIDENTS, {"title": "x", "image": url}).status_code == 201
    assert bytes(OutboxAttachment.objects.get().data) == PNG


def test_an_image_just_under_10_mb_is_taken(bot: Bot, api: Client) -> None:
    image = PNG.ljust(10 * 1024 * 1024, b"\0")
    assert post(api, INCIDENTS, {"title": "x", "image": base64.b64encode(image).decode()}).status_code == 201


def test_two_hundred_responders_are_taken(bot: Bot, api: Client) -> None:
    people = [{"open_id": f"ou_{number}"} for number in range(200)]
    assert post(api, INCIDENTS, {"title": "x", "responders": people}).status_code == 201
    assert Responder.objects.count() == 200


# --- What is no request ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        ("{", "application/json", 400),
        ("[]", "application/json", 400),
        ("[" * 200_000, "application/json", 400),
        (b"\xff", "application/json", 400),
        ('{"title": NaN}', "application/json", 400),
        ("title=x", "application/x-www-form-urlencoded", 415),
        ("x" * (15 * 1024 * 1024 + 1), "application/json", 413),
    ],
)
def test_a_body_that_is_no_json_object_is_a_problem(
    bot: Bot, api: Client, body: Any, content_type: str, status: int
) -> None:
    answer = api.post(INCIDENTS, body, content_type=content_type)
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")
    assert answer.json()["status"] == status


@pytest.mark.parametrize(
    "url", ["/api/", "/api/v2/incidents", "/api/v1/incidents/", "/api/v1/incidents/INC-x", "/api/v1/x"]
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_any_other_address_is_a_problem_404(db: None, url: str, method: str) -> None:
    answer = getattr(Client(enforce_csrf_checks=True), method)(url)
    assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")


def test_an_error_of_ours_is_a_problem_500_without_its_words(bot: Bot, api: Client) -> None:
    api.raise_request_exception = False
    connection.cursor().execute("DROP TABLE botconsole_idempotencykey")
    answer = post(api, INCIDENTS, {"title": "x"}, **{"Idempotency-Key": "a"})
    assert (answer.status_code, answer["Content-Type"]) == (500, "application/problem+json")
    assert "idempotency" not in answer.content.decode()


def test_only_json_is_served_and_other_methods_are_refused(bot: Bot, api: Client) -> None:
    assert api.get(INCIDENTS, headers={"accept": "text/html"}).status_code == 406
    assert api.delete(f"{INCIDENTS}/{opened(bot).number}").status_code == 405


# --- A request that comes twice -------------------------------------------------------------------------
def test_the_same_key_and_body_get_the_first_answer_again(bot: Bot, api: Client) -> None:
    first = post(api, INCIDENTS, {"title": "x", "drill": True}, **{"Idempotency-Key": "a"})
    Incident.objects.get().acknowledge(Actor(Via.ADMIN))
    again = post(api, INCIDENTS, {"drill": True, "title": "x"}, **{"Idempotency-Key": "a"})
    assert (first.status_code, again.status_code, again.json()) == (201, 201, first.json())
    assert (again["Idempotency-Replayed"], Incident.objects.count()) == ("true", 1)


@pytest.mark.parametrize("url", [INCIDENTS, f"{INCIDENTS}/1/note"])
def test_the_same_key_for_another_request_is_422(bot: Bot, api: Client, url: str) -> None:
    post(api, INCIDENTS, {"title": "x"}, **{"Idempotency-Key": "a"})
    answer = post(api, url, {"title": "y"}, **{"Idempotency-Key": "a"})
    assert (answer.status_code, answer.json()["status"]) == (422, 422)


def test_a_key_belongs_to_whoever_sent_it(bot: Bot, api: Client) -> None:
    for client in (api, client_with("incidents")):
        assert post(client, INCIDENTS, {"title": "x"}, **{"Idempotency-Key": "a"}).status_code == 201
    assert Incident.objects.count() == 2


def test_a_refused_request_may_be_corrected_under_its_key(bot: Bot, api: Client) -> None:
    assert post(api, INCIDENTS, {"title": ""}, **{"Idempotency-Key": "a"}).status_code == 400
    assert post(api, INCIDENTS, {"title": "x"}, **{"Idempotency-Key": "a"}).status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 201, "a b"])
def test_a_malformed_key_is_400(bot: Bot, api: Client, key: str) -> None:
    answer = post(api, INCIDENTS, {"title": "x"}, **{"Idempotency-Key": key})
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["Idempotency-Key"])


def test_a_step_sent_again_is_done_once(bot: Bot, api: Client) -> None:
    incident = opened(bot)
    answers = [post(api, f"{INCIDENTS}/{incident}/acknowledge", **{"Idempotency-Key": "a"}) for _ in "12"]
    assert [answer.status_code for answer in answers] == [200, 200]


def test_answers_are_kept_for_a_day(bot: Bot, api: Client) -> None:
    post(api, INCIDENTS, {"title": "x"}, **{"Idempotency-Key": "a"})
    IdempotencyKey.objects.update(created_at=timezone.now() - ANSWERS_KEPT - timedelta(minutes=1))
    ApiKey.objects.update(last_used_at=timezone.now() - timedelta(minutes=2))
    api.get(INCIDENTS)
    assert not IdempotencyKey.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_same_request_ten_times_at_once_opens_one_incident(bot: Bot, api: Client) -> None:
    answers, start = [], threading.Barrier(10)

    def send() -> None:
        client = Client()
        client.defaults.update(api.defaults)
        start.wait()
        answers.append(post(client, INCIDENTS, {"title": "x"}, **{"Idempotency-Key": "a"}))
        connections.close_all()

    threads = [threading.Thread(target=send) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
    assert len(answers) == 10
    assert Incident.objects.count() == 1


# --- Steps ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("step", "body", "column", "value"),
    [
        ("acknowledge", None, "acknowledged_by", "deploy-bot"),
        ("resolve", {"note": "rolled back"}, "resolution_note", "rolled back"),
        ("resolve", {"false_alarm": True}, "false_alarm", True),
        ("severity", {"severity": "P0"}, "severity", "P0"),
        ("lead", {"open_id": "ou_ada"}, "lead_open_id", "ou_ada"),
    ],
)
def test_a_step_changes_the_incident_and_answers_with_it(
    bot: Bot, api: Client, step: str, body: Any, column: str, value: Any
) -> None:
    incident = opened(bot)
    answer = post(api, f"{INCIDENTS}/{incident}/{step}", body)
    incident.refresh_from_db()
    assert (answer.status_code, answer.json()["number"], getattr(incident, column)) == (
        200,
        incident.number,
        value,
    )
    last = incident.timeline.last()
    assert last is not None
    assert (last.via, last.person) == ("api", "deploy-bot")


def test_a_resolved_incident_is_reopened(bot: Bot, api: Client) -> None:
    incident = opened(bot)
    incident.resolve(Actor(Via.ADMIN))
    assert post(api, f"{INCIDENTS}/{incident}/reopen", {"reason": "again"}).json()["status"] == "open"


def test_an_incident_is_muted_for_minutes(bot: Bot, api: Client) -> None:
    incident = opened(bot)
    post(api, f"{INCIDENTS}/{incident}/mute", {"minutes": 30})
    incident.refresh_from_db()
    assert incident.muted_until is not None
    assert timedelta(minutes=29) < incident.muted_until - timezone.now() <= timedelta(minutes=30)


def test_people_are_called_in(bot: Bot, api: Client) -> None:
    url = f"{INCIDENTS}/{opened(bot)}/responders"
    answer = post(api, url, {"responders": [{"open_id": "ou_ada"}, {"email": "lin@example.com"}]})
    assert [one["open_id"] or one["email"] for one in answer.json()["responders"]] == [
        "ou_ada",
        "lin@example.com",
    ]


@pytest.mark.parametrize(
    ("step", "body"),
    [
        ("mute", {"minutes": 0}), ("mute", {"minutes": 10081}), ("mute", {}), ("note", {"text": " "}),
        ("severity", {"severity": "P7"}), ("lead", {"open_id": "ada"}), ("responders", {"responders": []}),
        ("resolve", {"note": 5 * "\0"}), ("resolve", {"false_alarm": "x"}), ("reopen", {"reason": []}),
    ],
)  # fmt: skip
def test_a_step_with_a_wrong_field_is_400_and_changes_nothing(
    bot: Bot, api: Client, step: str, body: Any
) -> None:
    incident = opened(bot)
    assert post(api, f"{INCIDENTS}/{incident}/{step}", body).status_code == 400
    assert incident.timeline.count() == 1


def test_a_step_that_is_not_possible_is_409_and_says_who_was_first(bot: Bot, api: Client) -> None:
    incident = opened(bot)
    incident.acknowledge(Actor(Via.BUTTON, "Lin", "ou_lin"))
    answer = post(api, f"{INCIDENTS}/{incident}/acknowledge")
    assert (answer.status_code, answer["Content-Type"]) == (409, "application/problem+json")
    at = answer.json()["incident"].pop("at")
    state = {
        "number": incident.number,
        "status": "acknowledged",
        "severity": incident.severity,
        "lead": None,
        "acknowledged_by": "Lin",
        "resolved_by": None,
    }
    assert answer.json() | {"incident": state} == {
        "type": "about:blank",
        "title": "Not possible in the present state",
        "status": 409,
        "detail": f"{incident} was taken by Lin at {clock(incident.acknowledged_at)}",
        "incident": state,
    }
    assert at


@pytest.mark.parametrize(
    ("step", "body"),
    [
        ("acknowledge", {}), ("resolve", {}), ("mute", {"minutes": 5}), ("severity", {"severity": "P0"}),
        ("lead", {"open_id": "ou_a"}), ("responders", {"responders": [{"open_id": "ou_a"}]}),
    ],
)  # fmt: skip
def test_a_resolved_incident_takes_only_notes_and_says_who_resolved_it(
    bot: Bot, api: Client, step: str, body: Any
) -> None:
    incident = opened(bot)
    incident.resolve(Actor(Via.COMMAND, open_id="ou_lin"))
    answer = post(api, f"{INCIDENTS}/{incident}/{step}", body)
    state = answer.json()["incident"]
    assert (answer.status_code, state["status"], state["resolved_by"]) == (409, "resolved", "ou_lin")
    assert post(api, f"{INCIDENTS}/{incident}/note", {"text": "cause found"}).status_code == 200


def test_an_open_incident_cannot_be_reopened(bot: Bot, api: Client) -> None:
    answer = post(api, f"{INCIDENTS}/{opened(bot)}/reopen", {})
    assert (answer.status_code, answer.json()["incident"]["status"]) == (409, "open")


def test_a_step_of_the_api_reaches_the_chat(bot: Bot, api: Client) -> None:
    incident = opened(bot, chat_id="oc_1")
    post(api, f"{INCIDENTS}/{incident}/acknowledge")
    assert {"rename_chat", "update_chat"} & set(OutboxItem.objects.values_list("call", flat=True))


# --- Reading --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("form", ["INC-{}", "inc-{}", "{}"])
def test_an_incident_is_found_by_its_number(bot: Bot, api: Client, form: str) -> None:
    incident = opened(bot)
    assert api.get(f"{INCIDENTS}/{form.format(incident.pk)}").json()["number"] == incident.number


@pytest.mark.parametrize("number", ["INC-999999999999999999", "0"])
def test_a_number_that_is_none_is_404(api: Client, number: str) -> None:
    assert api.get(f"{INCIDENTS}/{number}").json()["title"] == "Not found"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("status=open", "BC"), ("status=acknowledged&status=open", "BC"), ("status=resolved", "A"),
        ("severity=P0", "A"), ("severity=P0&severity=P1", "AB"), ("service=Payments", "B"), ("service=None", ""),
        ("source=api", "C"), ("source=admin", "AB"), ("drill=true", "C"), ("drill=false", "AB"),
        ("opened_after=2026-02-01T00:00:00Z", "BC"), ("opened_before=2026-02-01T00:00:00Z", "A"),
        ("opened_after=2026-01-15&opened_before=2026-02-15", "B"), ("bot=default", "ABC"),
        ("q=title a", "A"), ("q=slow", "B"), ("q=oc_b", "B"), ("q=nothing", ""), ("q=%25", ""), ("", "ABC"),
    ],
)  # fmt: skip
def test_the_list_is_filtered(bot: Bot, api: Client, query: str, found: str) -> None:
    service = Service.objects.create(name="Payments")
    more = {
        "A": {"severity": "P0"},
        "B": {"severity": "P1", "service": service, "description": "so slow", "chat_id": "oc_b"},
        "C": {"drill": True, "by": Actor(Via.API)},
    }
    for month, (letter, fields) in enumerate(more.items(), start=1):
        incident = opened(bot, title=f"Title {letter}", **fields)
        moment = timezone.now().replace(year=2026, month=month, day=10)
        Incident.objects.filter(pk=incident.pk).update(opened_at=moment)
    Incident.objects.get(title="Title A").resolve(Actor(Via.ADMIN))
    titles = [one["title"][-1] for one in api.get(f"{INCIDENTS}?{query}").json()["results"]]
    assert "".join(sorted(titles)) == found


def test_the_list_is_searched_by_number(bot: Bot, api: Client) -> None:
    incidents = [opened(bot) for _ in range(3)]
    for q in (incidents[1].number, incidents[1].number.lower(), str(incidents[1].pk)):
        assert numbers(api.get(INCIDENTS, {"q": q})) == [incidents[1].number]


@pytest.mark.parametrize(
    "query",
    ["status=x", "severity=P9", "source=x", "opened_after=yesterday", "q=%00", "service=%00",
     "opened_after=0001-01-01T00:00:00%2B08:00", "opened_before=9999-12-31T23:59:59-08:00"],
)  # fmt: skip
def test_a_wrong_filter_is_400_and_named(api: Client, query: str) -> None:
    answer = api.get(f"{INCIDENTS}?{query}")
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [query.split("=")[0]])


def test_the_list_comes_in_pages_newest_first_and_new_rows_do_not_shift_them(bot: Bot, api: Client) -> None:
    expected = [opened(bot).number for _ in range(5)][::-1]
    first = api.get(f"{INCIDENTS}?limit=2").json()
    opened(bot)
    second = api.get(first["next"]).json()
    third = api.get(second["next"]).json()
    pages = [one["number"] for page in (first, second, third) for one in page["results"]]
    assert (pages, third["next"]) == (expected, None)


@pytest.mark.parametrize("url", [INCIDENTS, "{}/timeline"])
@pytest.mark.parametrize("cursor", ["x", "cD1hYmM=", "cD0lMDA=", "bz0tMQ=="])
def test_a_cursor_that_nobody_was_given_is_404(bot: Bot, api: Client, url: str, cursor: str) -> None:
    answer = api.get(url.format(f"{INCIDENTS}/{opened(bot)}"), {"cursor": cursor})
    assert (answer.status_code, answer.json()["detail"]) == (404, "Invalid cursor")


def test_the_list_takes_two_queries_however_long_it_is(bot: Bot, api: Client) -> None:
    service = Service.objects.create(name="Payments")
    for _ in range(10):
        opened(bot, service=service, responders=[Responder(open_id="ou_ada")])
    api.get(INCIDENTS)
    with CaptureQueriesContext(connection) as queries:
        assert len(numbers(api.get(INCIDENTS))) == 10
    assert len(queries) == 2


def test_the_timeline_comes_in_pages_oldest_first(bot: Bot, api: Client) -> None:
    incident = opened(bot)
    moment = timezone.now()
    for number in range(4):  # all at one moment: the cursor must not lose any
        incident.write("note", Actor(Via.CHAT, "Lin"), text=str(number), happened_at=moment)
    told, url = [], f"{INCIDENTS}/{incident}/timeline?limit=2"
    while url:
        page = api.get(url).json()
        told += [entry["text"] for entry in page["results"]]
        url = page["next"]
    assert told == ["Payments fail", "0", "1", "2", "3"]


def test_an_entry_of_the_timeline_says_who_when_and_how(bot: Bot, api: Client) -> None:
    entry = api.get(f"{INCIDENTS}/{opened(bot)}/timeline").json()["results"][0]
    assert entry.pop("id")
    assert entry.pop("happened_at")
    assert entry == {
        "kind": "opened", "via": "admin", "person": "Ada", "open_id": None, "text": "Payments fail",
        "message_id": None, "recalled": False, "important": False,
    }  # fmt: skip


# --- Private incidents ----------------------------------------------------------------------------------
@pytest.mark.parametrize("path", ["", "/timeline"])
def test_a_private_incident_is_not_there_without_the_scope(bot: Bot, api: Client, path: str) -> None:
    incident = opened(bot, private=True)
    assert numbers(api.get(INCIDENTS, {"q": incident.number})) == []
    assert api.get(f"{INCIDENTS}/{incident}{path}").status_code == 404
    assert post(api, f"{INCIDENTS}/{incident}/acknowledge").status_code == 404


def test_a_private_incident_is_there_with_the_scope(bot: Bot) -> None:
    api = client_with("incidents", "incidents:private")
    number = post(api, INCIDENTS, {"title": "x", "private": True}).json()["number"]
    assert numbers(api.get(INCIDENTS)) == [number]
    assert post(api, f"{INCIDENTS}/{number}/acknowledge").status_code == 200


def test_a_private_incident_is_not_opened_without_the_scope(bot: Bot, api: Client) -> None:
    assert post(api, INCIDENTS, {"title": "x", "private": True}).status_code == 403


# --- The description, and what it costs others ----------------------------------------------------------
def test_the_root_leads_everywhere(db: None) -> None:
    root = Client().get("/api/v1").json()
    assert Client().get(root["schema"]).status_code == Client().get(root["docs"]).status_code == 200
    assert Client().get(root["incidents"]).status_code == 401


def test_the_schema_is_public_and_names_every_step(db: None) -> None:
    schema = json.loads(Client().get("/api/schema").content)
    steps = [
        "acknowledge",
        "resolve",
        "reopen",
        "mute",
        "note",
        "severity",
        "lead",
        "responders",
        "timeline",
        "export",
    ]
    assert set(schema["paths"]) == {
        "/api/v1/alerts/{source}", INCIDENTS, f"{INCIDENTS}/{{number}}",
        *(f"{INCIDENTS}/{{number}}/{step}" for step in steps)
    }  # fmt: skip
    assert schema["components"]["securitySchemes"]["API key"]["scheme"] == "bearer"


def test_the_schema_is_valid_and_complete(db: None) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=StringIO())


def test_the_docs_need_nothing_that_the_content_security_policy_forbids(db: None) -> None:
    page = Client().get("/api/docs")
    html = page.content.decode()
    assert page["Content-Security-Policy"].startswith("default-src 'self';")
    assert "<style" not in html
    assert " style=" not in html
    assert html.count("<script") == html.count('<script src="') == 3
    assert Client().get("/api/docs?script=")["Content-Type"].startswith("application/javascript")


ANSWERS_A_WEBHOOK = """
import sys, django
django.setup()
from django.core.management import call_command
from django.test import Client
call_command("migrate", verbosity=0)
client = Client(SERVER_NAME="localhost")
client.post("/webhook/event/x", b"{}", "application/json")
names = "rest_framework.views", "rest_framework.serializers", "botconsole.api"
print([name for name in names if name in sys.modules])
print(client.get("/api/v1/incidents").status_code, "botconsole.api" in sys.modules, "lark_oapi" in sys.modules)
"""


def test_whoever_answers_webhooks_does_not_load_the_api() -> None:
    done = run(
        "-c",
        ANSWERS_A_WEBHOOK,
        DJANGO_SETTINGS_MODULE="botconsole.settings",
        SECRET_KEY="only-for-tests",
        DATABASE_URL="sqlite:///:memory:",
        LOG_LEVEL="ERROR",
    )
    printed = [line for line in done.stdout.splitlines() if " WARNING " not in line]
    assert printed == ["[]", "401 True False"], done.stderr


# --- Keys in the console --------------------------------------------------------------------------------
KEYS = "/admin/botconsole/apikey/"


def staff(*verbs: str) -> Client:
    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=[f"{verb}_apikey" for verb in verbs]))
    client = Client(headers={"accept-language": "en"})
    client.force_login(user)
    return client


def test_a_key_made_in_the_console_is_shown_once_and_works(db: None) -> None:
    client = staff("add", "view")
    page = client.post(f"{KEYS}add/", {"name": "ci", "scopes": ["incidents:read"]})
    text = page.content.decode().split('<code id="api-key">')[1].split("<")[0]
    assert Client(headers={"authorization": f"Bearer {text}"}).get(INCIDENTS).status_code == 200
    secret = text.split("_")[2]
    key = ApiKey.objects.get()
    for url in (KEYS, f"{KEYS}{key.pk}/change/", f"{KEYS}{key.pk}/history/"):
        assert secret not in client.get(url).content.decode()
    assert not any(secret in str(cookie) for cookie in client.cookies.values())


@pytest.mark.parametrize(
    "fields", [{"name": "ci"}, {"name": "ci", "scopes": ["admin"]}, {"scopes": ["incidents"]}]
)
def test_the_console_makes_no_key_without_name_and_known_scopes(db: None, fields: dict[str, Any]) -> None:
    assert staff("add", "view").post(f"{KEYS}add/", fields).status_code == 200
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize(("verbs", "revoked"), [(("view", "change"), True), (("view",), False), ((), False)])
def test_a_key_is_revoked_in_the_list_by_who_may_change_it(
    api: Client, verbs: tuple[str, ...], revoked: bool
) -> None:
    key = ApiKey.objects.get()
    staff(*verbs).post(KEYS, {"action": "revoke", "_selected_action": [key.pk]})
    key.refresh_from_db()
    assert key.revoked is revoked


def test_a_key_is_neither_edited_nor_deleted(api: Client) -> None:
    client, key = staff("view", "change", "delete"), ApiKey.objects.get()
    client.post(f"{KEYS}{key.pk}/change/", {"name": "other", "scopes": ["incidents:private"]})
    assert client.post(f"{KEYS}{key.pk}/delete/", {"post": "yes"}).status_code == 403
    key.refresh_from_db()
    assert (key.name, key.scopes) == ("deploy-bot", ["incidents"])


def test_nobody_sees_the_keys(db: None) -> None:
    assert Client().get(KEYS).status_code == 302
    assert staff().get(KEYS).status_code == 403


# --- The documentation in a browser ---------------------------------------------------------------------
@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_the_docs_show_every_step_and_the_browser_complains_of_nothing(live_server: Any, page: Any) -> None:
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{live_server.url}/api/docs")
    page.wait_for_selector("#swagger-ui .opblock")
    assert page.locator(".opblock").count() == 15
    page.click(".opblock-post >> nth=0")
    page.wait_for_selector(".opblock-body")
    assert complaints == []


def test_an_export_is_begun_by_asking_for_it_and_then_is_the_zip(bot: Bot, api: Client) -> None:
    incident = opened(bot)
    url = f"{INCIDENTS}/{incident.number}/export"
    answer = api.get(url)
    assert (answer.status_code, answer.json()["status"], answer["Retry-After"]) == (202, "waiting", "2")
    assert api.get(url).status_code == 202
    assert incident.exports.count() == 1
    export = incident.exports.get()
    ExportPiece.objects.create(export=export, number=0, data=b"PK zip")
    incident.exports.update(status="done", size=6)
    answer = api.get(url)
    assert (b"".join(answer.streaming_content), answer["Content-Type"]) == (b"PK zip", "application/zip")
    assert api.post(url).status_code == 202
    assert incident.exports.count() == 2


def test_the_export_of_a_private_incident_is_not_there_for_keys_without_the_scope(
    bot: Bot, api: Client
) -> None:
    incident = opened(bot, private=True)
    assert api.get(f"{INCIDENTS}/{incident.number}/export").status_code == 404
