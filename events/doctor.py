"""The doctor: is a bot set up rightly, does everything run? Each check says ok, warn or fail, and why.

Runs in the worker or in `manage.py check_feishu`, never in a web request. What the findings mean, and what to click,
stands in doctorwords.py; which feature needs what, in features.py.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import connection
from django.utils import timezone

from . import probes
from .deaf import KEYS_DO_NOT_FIT
from .features import FEATURES
from .feishu import FeishuClient, FeishuError
from .models import (
    SEEN_LATELY,
    SIMULATED,
    AppTicket,
    Attempt,
    Bot,
    Checkup,
    Connection,
    Event,
    Heartbeat,
    OutboxItem,
    default_domain,
)
from .sealed import UnsealError
from .tokens import NoTenantError, NotYetError, store_app

OK, WARN, FAIL = "ok", "warn", "fail"
FEISHU, LARK = "https://open.feishu.cn", "https://open.larksuite.com"
WRONG_CREDENTIALS = (10003, 10014, 10015)
LACKS_SCOPE = (99991672, 99991679, 230027)
SCOPE = re.compile(r"[a-z][a-z0-9_]*(?::[a-z][a-z0-9_.]*)+")
ENABLED = 2  # bot/v3/info: activate_status
LATELY = timedelta(days=7)
ATTEMPTS_LOOKED_AT = 20_000
CHALLENGE_MS = 1000
SKEW_WARN, SKEW_FAIL = timedelta(seconds=30), timedelta(minutes=5)
QUEUE_WARN, QUEUE_FAIL = timedelta(minutes=2), timedelta(minutes=15)
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1", "0.0.0.0")  # noqa: S104


@dataclass(frozen=True)
class Finding:
    """`says` names a sentence of doctorwords.SAYS, `told` fills it; `bot` is None for what concerns the console."""

    check: str
    level: str
    says: str
    told: Mapping[str, Any] = field(default_factory=dict)
    bot: int | None = None


@dataclass
class Patient:
    """A bot, and what several checks want to know of it."""

    bot: Bot
    now: datetime
    error: FeishuError | UnsealError | None = None
    info: Mapping[str, Any] = field(default_factory=dict)

    def ask(self) -> None:
        """Fetches a token and the bot's profile."""
        try:
            self.info = self.client(self.bot.domain).bot_info()
        except (FeishuError, UnsealError) as error:
            self.error = error

    def client(self, domain: str) -> FeishuClient:
        bot, secret = self.bot, self.bot.app_secret.reveal()
        known = bot.events.exclude(tenant_key="").exclude(transport=SIMULATED).order_by("-pk")
        tenant = known.values_list("tenant_key", flat=True).first() or ""
        store = store_app(bot, tenant, AppTicket.objects.of(bot))
        return FeishuClient(bot.app_id, secret, domain, 1, store.prove if store and not tenant else store)

    @property
    def code(self) -> int | None:
        return self.error.code if isinstance(self.error, FeishuError) else None

    @property
    def last_event(self) -> Event | None:
        real = self.bot.events.exclude(transport=SIMULATED).only("received_at", "transport")
        return real.order_by("-pk").first()

    @property
    def last_push(self) -> Event | None:
        """The newest event that came by webhook: it alone says something of keys and request URL."""
        pushed = self.bot.events.filter(transport=Bot.Transport.WEBHOOK).only("received_at")
        return pushed.order_by("-pk").first()


Findings = Iterator[Finding]


# --- One bot -----------------------------------------------------------------------------------------------------
def credentials(patient: Patient) -> Findings:
    error = patient.error
    if error is None:
        yield Finding("credentials", OK, "credentials_right", {"name": str(patient.info.get("app_name", ""))})
    elif isinstance(error, UnsealError):
        yield Finding("credentials", FAIL, "secret_unreadable")
    elif isinstance(error, NoTenantError):
        yield Finding("credentials", WARN, "no_tenant")
    elif isinstance(error, NotYetError):
        yield Finding("credentials", FAIL, "no_ticket")
    elif error.code is None and error.http_status is None:
        yield Finding(
            "credentials", FAIL, "feishu_unreachable", {"domain": patient.bot.domain, "why": error.message}
        )
    elif patient.code in WRONG_CREDENTIALS:
        yield Finding("credentials", FAIL, "credentials_wrong", {"code": patient.code})
    else:
        yield Finding("credentials", FAIL, "credentials_refused", {"code": error.code, "why": error.message})


def enabled(patient: Patient) -> Findings:
    if not patient.bot.enabled:
        yield Finding("enabled", WARN, "disabled_here")
    if patient.error is None:
        status = patient.info.get("activate_status")
        level, says = (OK, "bot_enabled") if status == ENABLED else (FAIL, "bot_not_enabled")
        yield Finding("enabled", level, says, {"status": status})


def domain(patient: Patient) -> Findings:
    """A secret goes to the other platform only if this one says it does not know the app."""
    other = {FEISHU: LARK, LARK: FEISHU}.get(patient.bot.domain)
    if other is None:
        yield Finding("domain", WARN, "domain_unknown", {"domain": patient.bot.domain})
    elif patient.code in WRONG_CREDENTIALS and _knows(patient, other):
        yield Finding("domain", FAIL, "domain_wrong", {"domain": other})
    elif patient.error is None:
        yield Finding("domain", OK, "domain_right", {"domain": patient.bot.domain})


def _knows(patient: Patient, other: str) -> bool:
    try:
        patient.client(other).bot_info()
    except (FeishuError, UnsealError):
        return False
    return True


def keys(patient: Patient) -> Findings:
    """Judged by what came: an event that was let in, or refusals that say the keys do not fit."""
    bot, event = patient.bot, patient.last_push
    if bot.transport == Bot.Transport.LONG_CONNECTION:
        yield Finding("keys", OK, "keys_not_needed")
        return
    if not bot.verification_token:
        yield Finding("keys", FAIL, "token_missing")
        return
    refusal = bot.refusals.filter(refused_at__gte=patient.now - LATELY).first()
    unfit = refusal is not None and refusal.reason.startswith(KEYS_DO_NOT_FIT)
    if unfit and refusal and (event is None or event.received_at < refusal.refused_at):
        yield Finding("keys", FAIL, "keys_wrong", {"why": refusal.reason})
    elif event is None:
        yield Finding("keys", WARN, "keys_unproven")
    else:
        yield Finding("keys", OK, "keys_right")


def challenge(patient: Patient) -> Findings:
    bot = patient.bot
    if bot.transport == Bot.Transport.LONG_CONNECTION:
        return
    try:
        token, key = bot.verification_token.reveal(), bot.encrypt_key.reveal()
    except UnsealError:
        yield Finding("challenge", FAIL, "secret_unreadable")
        return
    echo = probes.challenge(bot.webhook_url, token, key)
    told = {"ms": echo.milliseconds, "url": bot.webhook_url, "status": echo.status}
    if echo.status is None:
        yield Finding("challenge", WARN, "challenge_unreachable", told)
    elif not echo.is_right:
        yield Finding("challenge", FAIL, "challenge_wrong", told)
    elif echo.milliseconds > CHALLENGE_MS:
        yield Finding("challenge", FAIL, "challenge_slow", told)
    else:
        yield Finding("challenge", OK, "challenge_right", told)


def reachable(patient: Patient) -> Findings:
    """From outside: nobody but Feishu can tell, so it is judged by what arrived."""
    bot = patient.bot
    if bot.transport == Bot.Transport.LONG_CONNECTION:
        return
    if (came := patient.last_push) is not None:
        yield Finding("reachable", OK, "reachable", {"at": came.received_at.isoformat()})
    elif urlsplit(settings.PUBLIC_URL).hostname in LOCAL_HOSTS and bot.domain in (FEISHU, LARK):
        yield Finding("reachable", FAIL, "public_url_local", {"url": settings.PUBLIC_URL})
    elif bot.refusals.exists():
        yield Finding("reachable", WARN, "only_refusals")
    else:
        yield Finding("reachable", WARN, "nothing_arrived", {"url": bot.webhook_url})


def transport(patient: Patient) -> Findings:
    bot, event = patient.bot, patient.last_event
    wants = bot.transport == Bot.Transport.LONG_CONNECTION
    if wants and not Connection.objects.live(patient.now).filter(bot=bot).exists():
        yield Finding("transport", FAIL, "nobody_listens")
    elif event is not None and event.transport != bot.transport:
        yield Finding("transport", WARN, "transport_differs", {"set": bot.transport, "came": event.transport})
    else:
        yield Finding("transport", OK, "transport_right", {"set": bot.transport})


def features(patient: Patient) -> Findings:
    """For each: were its events seen, and did a call fail for want of a scope?"""
    missing = missing_scopes(patient.bot)
    for name, feature in FEATURES.items():
        unseen = [one for one in feature.events if not _seen(patient.bot, one)]
        lacks = sorted(missing & set(feature.scopes))
        told = {"feature": name, "events": unseen, "scopes": lacks}
        if lacks:
            yield Finding("features", FAIL, "feature_lacks_scopes", told)
        elif unseen:
            yield Finding("features", WARN, "feature_unseen", told)
        else:
            yield Finding("features", OK, "feature_works", told)
    if other := sorted(missing - KNOWN_SCOPES):
        yield Finding("features", FAIL, "scopes_missing", {"scopes": other})


def _seen(bot: Bot, event_type: str) -> bool:
    rows = Event.objects.filter(event_type=event_type, bot=bot).exclude(transport=SIMULATED)
    return rows.order_by("-pk").exists()


KNOWN_SCOPES = {scope for feature in FEATURES.values() for scope in feature.scopes}


def missing_scopes(bot: Bot) -> set[str]:
    """What Feishu's refusals of the last days ask for, less what has worked since.

    A refusal names several of which one is enough: where the checklist has one of them, that is the one to add.
    """
    newest = Attempt.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    recent = Attempt.objects.filter(pk__gt=newest - ATTEMPTS_LOOKED_AT, item__bot=bot)
    lately = recent.filter(started_at__gte=timezone.now() - LATELY)
    refused = lately.filter(code__in=LACKS_SCOPE).order_by("pk").values_list("pk", "item__call", "message")
    worked = dict(lately.filter(outcome=Attempt.Outcome.SENT).order_by("pk").values_list("item__call", "pk"))
    asked = [
        set(SCOPE.findall(message) or ["?"]) for pk, call, message in refused if worked.get(call, 0) < pk
    ]
    return {scope for any_of in asked for scope in any_of & KNOWN_SCOPES or any_of}


def last_event(patient: Patient) -> Findings:
    event = patient.last_event
    if event is None:
        yield Finding("last_event", WARN, "no_event_yet")
        return
    hearing = getattr(patient.bot, "hearing", None)
    told = {"at": event.received_at.isoformat()}
    if hearing is not None and hearing.reason:
        yield Finding("last_event", FAIL, "bot_is_deaf", {**told, "why": hearing.reason})
    else:
        yield Finding("last_event", OK, "event_came", told)


# --- The console itself --------------------------------------------------------------------------------------------
def database(now: datetime) -> Findings:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    yield Finding("database", OK, "database_answers", {"vendor": connection.vendor})


def clock(now: datetime) -> Findings:
    domains = list(Bot.objects.values_list("domain", flat=True).distinct()[:1]) or [default_domain()]
    theirs = probes.clock(domains[0])
    if theirs is None:
        yield Finding("clock", WARN, "clock_unknown", {"domain": domains[0]})
        return
    skew = abs(timezone.now() - theirs)
    told = {"seconds": round(skew.total_seconds())}
    level = FAIL if skew > SKEW_FAIL else WARN if skew > SKEW_WARN else OK
    yield Finding("clock", level, "clock_right" if level == OK else "clock_wrong", told)


def worker(now: datetime) -> Findings:
    alive = Heartbeat.objects.alive("worker", SEEN_LATELY)
    yield Finding("worker", OK, "worker_alive") if alive else Finding("worker", FAIL, "no_worker")


def listeners(now: datetime) -> Findings:
    if not Bot.objects.filter(transport=Bot.Transport.LONG_CONNECTION, enabled=True).exists():
        return
    count = Connection.objects.live(now).count()
    yield Finding(
        "listeners", OK if count else FAIL, "listeners_live" if count else "no_listener", {"count": count}
    )


def queue(now: datetime) -> Findings:
    """How long the oldest call has waited that could be made."""
    waiting = OutboxItem.objects.filter(
        status=OutboxItem.Status.PENDING, next_attempt_at__lte=now, bot__enabled=True, bot__paused=False
    )
    oldest = waiting.order_by("pk").values_list("next_attempt_at", flat=True).first()
    age = now - oldest if oldest else timedelta(0)
    level = FAIL if age > QUEUE_FAIL else WARN if age > QUEUE_WARN else OK
    told = {"minutes": round(age.total_seconds() / 60)}
    yield Finding("queue", level, "queue_moves" if level == OK else "queue_stands", told)


BOT_CHECKS: tuple[Callable[[Patient], Findings], ...] = (
    credentials, enabled, domain, keys, challenge, reachable, transport, features, last_event,
)  # fmt: skip
CONSOLE_CHECKS: tuple[Callable[[datetime], Findings], ...] = (database, clock, worker, listeners, queue)


def examine(bot: Bot) -> list[Finding]:
    """Every check of a bot."""
    patient = Patient(bot, timezone.now())
    patient.ask()
    found = [finding for check in BOT_CHECKS for finding in check(patient)]
    return [Finding(one.check, one.level, one.says, one.told, bot.pk) for one in found]


def examine_console() -> list[Finding]:
    now = timezone.now()
    return [finding for check in CONSOLE_CHECKS for finding in check(now)]


# --- As a job of the worker ------------------------------------------------------------------------------------------
def is_due() -> bool:
    return Checkup.objects.due(timezone.now()).exists()


def run_due(is_stopping: Callable[[], bool]) -> int:
    """Makes every checkup that was asked for; how many."""
    made = 0
    while not is_stopping() and (checkup := Checkup.objects.claim(timezone.now())) is not None:
        findings = examine_console()
        for bot in Bot.objects.order_by("name"):
            findings += examine(bot)
        checkup.finish([asdict(one) for one in findings])
        made += 1
    return made
