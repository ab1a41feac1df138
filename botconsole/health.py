"""What load balancers and supervisors ask: is the process up, and can it do its work?"""

from collections import Counter
from collections.abc import Callable

from django.db import Error as AnyDatabaseError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse

from events.deaf import deaf_bots
from events.models import SEEN_LATELY, Heartbeat


class HealthMiddleware:
    """Answers /healthz and /readyz before anything else: a probe by address has no Host that could be allowed."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        answer = ANSWERS.get(request.path_info)
        return answer() if answer else self.get_response(request)


def healthz() -> JsonResponse:
    """The process answers. Touches no database."""
    return JsonResponse({"status": "ok"})


def readyz() -> JsonResponse:
    """200 if events can be stored and delivered; 503 with the check that fails."""
    checks: dict[str, str] = {}
    for name, check in CHECKS.items():
        try:
            checks[name] = check()
        except AnyDatabaseError:
            checks[name] = "the database is out of reach"
        if checks[name] != "ok":
            break  # the later ones need the earlier ones
    ready = all(result == "ok" for result in checks.values())
    if ready:
        checks |= {"bots": _bots()}  # told, not judged: no other server would hear better
    return JsonResponse(
        {"status": "ok" if ready else "not ready", "checks": checks}, status=200 if ready else 503
    )


def _database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return "ok"


def _migrations() -> str:
    executor = MigrationExecutor(connection)
    pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return "ok" if not pending else f"{len(pending)} not applied: run manage.py migrate"


def _worker() -> str:
    return (
        "ok"
        if Heartbeat.objects.alive("worker", SEEN_LATELY)
        else "no worker seen lately: run manage.py run_worker"
    )


def _bots() -> str:
    """How many bots are deaf, and why; not which: anyone may ask."""
    reasons = Counter(hearing.reason for hearing in deaf_bots())
    return ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items())) or "ok"


CHECKS: dict[str, Callable[[], str]] = {"database": _database, "migrations": _migrations, "worker": _worker}
ANSWERS: dict[str, Callable[[], JsonResponse]] = {"/healthz": healthz, "/readyz": readyz}
