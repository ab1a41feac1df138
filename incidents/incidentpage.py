"""What one incident's page shows: its state in words, its timeline, its people, what is on its way to Feishu."""

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib.contenttypes.models import ContentType
from django.core.paginator import Page, Paginator
from django.db.models import Count, Q, QuerySet, prefetch_related_objects
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.safestring import SafeString, mark_safe
from django.utils.timesince import timesince
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from events.adminrows import moment, pill
from events.models import SEEN_LATELY, Heartbeat, OutboxItem
from events.outboxadmin import outbox_line

from .alertpage import alerts_behind
from .models import Actor, Incident, Responder, Service, TimelineEntry, Via
from .names import name_of, names_for
from .preview import card_of
from .verbs import VERBS, VerbForm

Text = str | Promise
Kind = TimelineEntry.Kind

ENTRIES_PER_PAGE = 50
ROWS_SHOWN = 15
STATUS_PILLS = {"open": "failed", "acknowledged": "late", "resolved": "handled"}
RESPONDER_PILLS = {"waiting": "pending", "approval": "late", "added": "handled", "failed": "failed"}
KIND_PILLS = {
    Kind.OPENED: "failed",
    Kind.REOPENED: "failed",
    Kind.ACKNOWLEDGED: "late",
    Kind.RESOLVED: "handled",
    Kind.FALSE_ALARM: "handled",
    Kind.REFUSED: "refused",
    Kind.ALERT: "failed",
    Kind.RECOVERED: "handled",
}
PARTS: Mapping[str, tuple[Text, Q]] = {
    "": (_("All"), Q()),
    "steps": (_("Steps"), ~Q(kind__in=TimelineEntry.TRACES)),
    "messages": (_("Messages"), Q(kind=Kind.MESSAGE)),
    "alerts": (_("Alerts"), Q(via=Via.ALERT)),
    "key": (_("Key entries"), Q(important=True)),
}


def actor(user: Any) -> Actor:
    """Who acts in the console."""
    return Actor(Via.ADMIN, name=user.get_full_name() or user.get_username())


def chat_url(incident: Incident, message_id: str = "") -> str:
    """Opens the chat (at a message) in Feishu or Lark; "" while there is none."""
    if not incident.chat_id:
        return ""
    host = "applink.larksuite.com" if "larksuite.com" in incident.bot.domain else "applink.feishu.cn"
    query = {"openChatId": incident.chat_id} | ({"openMessageId": message_id} if message_id else {})
    return f"https://{host}/client/chat/open?{urlencode(query)}"


def severity_mark(incident: Incident) -> SafeString:
    return pill(incident.severity.lower(), incident.severity)


def status_mark(incident: Incident) -> SafeString:
    if incident.false_alarm:
        return pill("handled", gettext("false alarm"))
    return pill(STATUS_PILLS[incident.status], incident.get_status_display())


def extra_marks(incident: Incident) -> list[SafeString]:
    """What is out of the ordinary about it."""
    marks = []
    if incident.is_muted:
        marks.append(pill("again", gettext("muted")))
    if incident.drill:
        marks.append(pill("pending", gettext("drill")))
    if incident.private:
        marks.append(pill("private", gettext("private")))
    return marks


def unseen_marks(incidents: Collection[Incident]) -> dict[int, SafeString]:
    """By key, a mark for those that nobody sees in Feishu; one query for all of them."""
    alone = Incident.objects.filter(pk__in=[one.pk for one in incidents]).calling_nobody()
    mark = pill("failed", gettext("nobody called"))
    return dict.fromkeys(alone.values_list("pk", flat=True), mark) if incidents else {}


def lasted(duration: timedelta) -> str:
    """In words, two units at most."""
    now = timezone.now()
    return gettext("under a minute") if duration < timedelta(minutes=1) else timesince(now - duration, now)


def page_of(
    incident: Incident, request: HttpRequest, *, operates: bool, bound: VerbForm | None
) -> dict[str, Any]:
    """The page's context; `bound` is a verb's form that was filled in wrongly."""
    prefetch_related_objects([incident], "responders")
    timeline = timeline_of(incident, request)
    names = names_for(incident, timeline["page"])
    alone = incident.calls_nobody
    return {
        "incident": incident,
        "marks": [severity_mark(incident), status_mark(incident), *extra_marks(incident)],
        "lasted": lasted(incident.duration),
        "facts": facts(incident, names),
        "chat_url": chat_url(incident),
        "calls_nobody": alone,
        "may_choose_default": alone and _may_choose_default(incident, request.user),
        "verbs": verb_forms(incident, bound) if operates else [],
        "people": [responder_line(one, names) for one in incident.responders.all()],
        "card": mark_safe(card_of(incident, names)),  # draw escapes  # noqa: S308
        **alerts_behind(incident, request.user),
        **timeline,
        "entries": [entry_line(entry, incident, names) for entry in timeline["page"]],
        **delivery_of(incident, request),
    }


def _may_choose_default(incident: Incident, user: Any) -> bool:
    """Whether a default service would have helped, and this person may name one."""
    return user.has_perm("incidents.change_service") and Service.objects.default_of(incident.bot) is None


def facts(incident: Incident, names: Mapping[str, str]) -> list[tuple[Text, Any]]:
    """(words, what) for everything that is known."""
    by = {
        step: name_of(getattr(incident, f"{step}_by_open_id"), getattr(incident, f"{step}_by"), names)
        for step in ("opened", "acknowledged", "resolved")
    }
    again = incident.chat_generation > 1
    former = incident.former_chats.values_list("chat_id", flat=True) if again else ()
    rows: list[tuple[Text, Any]] = [
        (_("service"), incident.service),
        (_("lead"), name_of(incident.lead_open_id, "", names)),
        (_("opened"), said(incident.opened_at, by["opened"], str(incident.get_source_display()))),
        (_("acknowledged"), said(incident.acknowledged_at, by["acknowledged"])),
        (_("resolved"), said(incident.resolved_at, by["resolved"])),
        (_("resolution note"), incident.resolution_note),
        (_("description"), incident.description),
        (_("bot"), incident.bot),
        (_("chat"), incident.chat_id),
        (_("former chats"), "\n".join(former)),
    ]
    return [(words, what) for words, what in rows if what]


def said(at: Any, *words: str) -> str:
    time = timezone.localtime(at).strftime("%Y-%m-%d %H:%M") if at else ""
    return " · ".join(part for part in (time, *words) if part) if at else ""


def responder_line(one: Responder, names: Mapping[str, str]) -> dict[str, Any]:
    mark = pill(RESPONDER_PILLS[one.status], one.get_status_display())
    return {"one": one, "name": names.get(one.open_id) or one.label, "mark": mark}


def verb_forms(incident: Incident, bound: VerbForm | None) -> list[tuple[str, VerbForm]]:
    """The forms that the incident's state allows, the most likely first."""
    forms = [
        (name, bound if bound is not None and type(bound) is form else form(incident=incident))
        for name, form in VERBS.items()
        if incident.status in form.when
    ]
    return sorted(forms, key=lambda one: not one[1].leads)


# --- The timeline ------------------------------------------------------------------------------------------
def timeline_of(incident: Incident, request: HttpRequest) -> dict[str, Any]:
    part = request.GET.get("part", "")
    part = part if part in PARTS else ""
    entries = incident.timeline.filter(PARTS[part][1]).order_by("-happened_at", "-pk")
    page: Page[Any] = Paginator(entries, ENTRIES_PER_PAGE).get_page(request.GET.get("page"))
    page.object_list = list(page.object_list)
    return {
        "parts": [(name, words, name == part) for name, (words, _entries) in PARTS.items()],
        "part": part,
        "page": page,
    }


def entry_line(entry: TimelineEntry, incident: Incident, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "entry": entry,
        "at": moment(entry.happened_at),
        "mark": pill(KIND_PILLS.get(Kind(entry.kind), entry.kind), entry.get_kind_display()),
        "person": name_of(entry.open_id, entry.person, names),
        "text": entry.text_with(names),
        "url": chat_url(incident, entry.message_id) if entry.message_id else "",
    }


# --- What is on its way to Feishu --------------------------------------------------------------------------
def rows_of(incident: Incident) -> QuerySet[OutboxItem]:
    kind = ContentType.objects.get_for_model(Incident)
    return OutboxItem.objects.filter(subject_type=kind, subject_id=incident.pk)


def calls_of(incident: Incident) -> dict[str, int]:
    """How many calls to Feishu it has caused, and how many of them have not ended or failed."""
    unfinished, failed = Q(status__in=OutboxItem.UNFINISHED), Q(status=OutboxItem.Status.FAILED)
    return rows_of(incident).aggregate(
        calls=Count("pk"),
        unfinished=Count("pk", filter=unfinished),
        failed=Count("pk", filter=failed),
    )


def state_of(incident: Incident, calls: Mapping[str, int]) -> str:
    """Changes when the page would look different; an open page asks for it every few seconds."""
    entries = incident.timeline.aggregate(
        all=Count("pk"),
        recalled=Count("pk", filter=Q(recalled=True)),
        key=Count("pk", filter=Q(important=True)),
    )
    parts = (incident.revision, incident.chat_id, incident.chat_gone, *entries.values(), *calls.values())
    return ".".join(str(part) for part in parts)


def delivery_of(incident: Incident, request: HttpRequest) -> dict[str, Any]:
    calls = calls_of(incident)
    return {
        **calls,
        "state_now": state_of(incident, calls),
        "rows": [outbox_line(item) for item in rows_of(incident).order_by("-pk")[:ROWS_SHOWN]],
        "worker_alive": not calls["unfinished"] or Heartbeat.objects.alive("worker", SEEN_LATELY),
        "may_see_rows": request.user.has_perm("events.view_outboxitem"),
    }
