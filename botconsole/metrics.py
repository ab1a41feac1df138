"""/metrics in Prometheus' text format, read from the database: any web process gives the same figures.

For API keys with the scope `metrics`, and for staff who may see bots. Names of bots stand in it, no content.
"""

from collections.abc import Iterator

from django.db.models import Count, Min, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from events.models import SEEN_LATELY, Bot, Connection, Hearing, Heartbeat, OutboxItem

from .models import ApiKey

SCOPE = "metrics"


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    if not _may_read(request):
        challenge = {"WWW-Authenticate": 'Bearer realm="botconsole"'}
        return HttpResponse("an API key with the scope metrics is needed\n", status=401, headers=challenge)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Figures())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _may_read(request: HttpRequest) -> bool:
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        key = ApiKey.objects.find(text.strip())
        if key is None or not key.allows(SCOPE):
            return False
        key.note_use()
        return True
    return request.user.is_active and request.user.is_staff and request.user.has_perm("events.view_bot")


class Figures(Collector):
    """What the database says at this moment; the number of queries does not grow with the bots."""

    def collect(self) -> Iterator[Metric]:
        now = timezone.now()
        bots = dict(Bot.objects.values_list("pk", "slug"))
        hearings = {hearing.bot_id: hearing for hearing in Hearing.objects.all()}
        unfinished = OutboxItem.objects.unfinished().order_by()
        yield _gauge("bot_deaf", "1 while the bot is taken for deaf.", bots, _deaf(bots, hearings))
        heard = {pk: row.heard_at.timestamp() for pk, row in hearings.items() if row.heard_at}
        yield _gauge("bot_last_event_timestamp_seconds", "When the newest event came in.", bots, heard)
        expected = {pk: row.expected for pk, row in hearings.items()}
        yield _gauge("bot_events_missing", "Events usual since the newest one.", bots, expected)
        live = _counts(Connection.objects.live(now).order_by())
        yield _gauge("bot_long_connections", "Long connections that receive.", bots, live)
        yield _gauge("outbox_unfinished", "Calls that wait or are being made.", bots, _counts(unfinished))
        oldest = unfinished.aggregate(at=Min("created_at"))["at"]
        age = (now - oldest).total_seconds() if oldest else 0.0
        yield GaugeMetricFamily("botconsole_outbox_oldest_seconds", "Age of the oldest unfinished call.", age)
        seen = Heartbeat.objects.filter(seen_at__gte=now - SEEN_LATELY).order_by()
        alive = dict(seen.values_list("kind").annotate(Count("pk")))
        processes = GaugeMetricFamily("botconsole_processes", "Processes seen lately.", labels=["kind"])
        for kind in ("worker", "listener"):
            processes.add_metric([kind], alive.get(kind, 0))
        yield processes


def _gauge(name: str, words: str, bots: dict[int, str], values: dict[int, float]) -> Metric:
    family = GaugeMetricFamily(f"botconsole_{name}", words, labels=["bot"])
    for pk, value in values.items():
        if pk in bots:
            family.add_metric([bots[pk]], value)
    return family


def _deaf(bots: dict[int, str], hearings: dict[int, Hearing]) -> dict[int, float]:
    return {pk: float(bool(pk in hearings and hearings[pk].reason)) for pk in bots}


def _counts(rows: "QuerySet[OutboxItem] | QuerySet[Connection]") -> dict[int, float]:
    return dict(rows.values_list("bot").annotate(Count("pk")))
