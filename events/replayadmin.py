"""The operator's pages of replays: asking for one, its dry run, go, cancel.

GET shows, POST acts. Who may look at events may look at replays; to replay is a permission of its own.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from . import replay as engine
from . import replaywords as words
from .adminrows import ReadOnlyAdmin, moment, two_lines
from .confidential import Reader, hidden_from
from .eventexport import BYTE_ORDER_MARK, cell, csv_text
from .eventfilter import EventFilter, FilterError
from .models import CALLS_PER_MINUTE, MOST_CALLS_PER_MINUTE, Event, OutboxItem, PlannedCall, Replay
from .naming import Naming, naming
from .sentences import headline
from .simulateadmin import simulate_view
from .words import outcome_words

MOST_SELECTED = 1000
REFRESH_SECONDS = 2
EVENTS_NAMED = 10


class ReplayForm(forms.Form):
    why = forms.CharField(
        label=_("Why"),
        max_length=300,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text=_("Kept with the replay, for those who read it later."),
    )
    send_again = forms.BooleanField(
        label=_("Send again what was sent before"),
        required=False,
        help_text=_("Otherwise only what is missing is sent. People get such a message a second time."),
    )
    calls_per_minute = forms.IntegerField(
        label=_("Calls a minute, at most"),
        min_value=1,
        max_value=MOST_CALLS_PER_MINUTE,
        initial=CALLS_PER_MINUTE,
        help_text=_("Feishu takes 1000 a minute of an app; leave room for what happens meanwhile."),
    )


class ChoiceError(ValueError):
    """The address does not say which events are meant; the text says why."""


def chosen(request: HttpRequest) -> EventFilter | list[int]:
    """What an address means: `events=1,2,3`, or the parameters of the event list; raises ChoiceError."""
    if "events" not in request.GET:
        try:
            return EventFilter.from_query(request.GET)
        except FilterError as error:
            raise ChoiceError(str(error)) from error
    keys = [key.strip() for key in ",".join(request.GET.getlist("events")).split(",") if key.strip()]
    if not keys or not all(key.isascii() and key.isdigit() and len(key) < 19 for key in keys):
        raise ChoiceError(gettext("No event is selected."))
    if len(keys) > MOST_SELECTED:
        raise ChoiceError(
            gettext("Select at most %(count)d events, or replay a filter.") % {"count": MOST_SELECTED}
        )
    return sorted({int(key) for key in keys})


class ReplayAdmin(ReadOnlyAdmin[Replay]):
    list_display = ("asked", "what", "reason", "state", "result")
    list_display_links = ("asked", "what")
    list_filter = ("status", "send_again")
    search_fields = ("why", "asked_by")
    change_list_template = "admin/events/replay/list.html"
    change_form_template = "admin/events/replay/page.html"

    # --- Who may what ------------------------------------------------------------------------------------
    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return request.user.has_perm("events.view_event") or request.user.has_perm("events.view_replay")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("events.replay_event")

    def get_urls(self) -> list[URLPattern]:
        pages: dict[str, tuple[str, Callable[..., HttpResponseBase]]] = {
            "new": ("new/", self.new),
            "start": ("<int:pk>/start/", self.start),
            "cancel": ("<int:pk>/cancel/", self.cancel),
            "calls": ("<int:pk>/calls.csv", self.calls),
            "simulate": ("simulate/", simulate_view),
        }
        own = [
            path(route, never_cache(self.admin_site.admin_view(view)), name=f"events_replay_{name}")
            for name, (route, view) in pages.items()
        ]
        return [*own, *super().get_urls()]

    # --- The list ----------------------------------------------------------------------------------------
    def get_queryset(self, request: HttpRequest) -> QuerySet[Replay]:
        return super().get_queryset(request).defer("sample")

    @admin.display(description=_("asked for at"), ordering="pk")
    def asked(self, replay: Replay) -> SafeString:
        return two_lines(moment(replay.asked_at), f"{replay} {replay.asked_by}")

    @admin.display(description=_("events"))
    def what(self, replay: Replay) -> str:
        return words.selection_words(replay.selection)

    @admin.display(description=_("why"))
    def reason(self, replay: Replay) -> str:
        return replay.why

    @admin.display(description=_("status"))
    def state(self, replay: Replay) -> SafeString:
        return words.status_pill(replay)

    @admin.display(description=_("result"))
    def result(self, replay: Replay) -> str:
        return words.result_words(replay)

    # --- One replay ----------------------------------------------------------------------------------------
    def new(self, request: HttpRequest) -> HttpResponse:
        """GET: what was chosen, and what to say about it; POST: asks for the replay and begins its dry run."""
        if not self.has_operate_permission(request):
            raise PermissionDenied
        form = ReplayForm(request.POST or None)
        context: dict[str, Any] = {"title": gettext("Replay events"), "form": form}
        try:
            meant = chosen(request)
        except ChoiceError as error:
            return self._shown(request, "new", context | {"problem": str(error)}, status=400)
        if request.method == "POST" and form.is_valid():
            replay = engine.ask(
                meant, reader=request.user, asked_by=request.user.get_username(), **form.cleaned_data
            )
            engine.step(replay.pk)  # a few events are through at once; the worker goes on with many
            return HttpResponseRedirect(reverse("admin:events_replay_change", args=[replay.pk]))
        context |= {
            "selection": words.selection_words(engine.selection_of(meant)),
            "named": named(meant, request.user),
        }
        return self._shown(request, "new", context)

    @method_decorator(require_POST)
    def start(self, request: HttpRequest, pk: int) -> HttpResponse:
        """POST: for real."""
        replay = self._own(request, pk)
        if replay.start(request.user.get_username()):
            self.operated(request, Replay.objects.filter(pk=pk), "Started.")
            engine.step(replay.pk)
            messages.success(request, gettext("The replay runs. This page shows how far it is."))
        else:
            messages.warning(
                request,
                gettext("It cannot be started: its dry run is not through, or it was started or cancelled."),
            )
        return HttpResponseRedirect(reverse("admin:events_replay_change", args=[pk]))

    @method_decorator(require_POST)
    def cancel(self, request: HttpRequest, pk: int) -> HttpResponse:
        """POST: no more events are run."""
        replay = self._own(request, pk)
        if replay.cancel(request.user.get_username()):
            self.operated(request, Replay.objects.filter(pk=pk), "Cancelled.")
            messages.success(request, gettext("Cancelled. What was queued before is still sent."))
        else:
            messages.warning(request, gettext("It had ended already."))
        return HttpResponseRedirect(reverse("admin:events_replay_change", args=[pk]))

    @method_decorator(require_safe)
    def calls(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """GET: every call that the real run makes, as CSV; not those for events that are kept from the reader."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        planned = get_object_or_404(Replay, pk=pk).planned.order_by("pk")
        if hidden_from(request.user):
            planned = planned.filter(event__in=Event.objects.readable_by(request.user).values("pk"))
        answer = StreamingHttpResponse(planned_lines(planned), content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="replay-{pk}.csv"'
        return answer

    def _own(self, request: HttpRequest, pk: int) -> Replay:
        if not self.has_operate_permission(request):
            raise PermissionDenied
        return get_object_or_404(Replay, pk=pk)

    def _shown(
        self, request: HttpRequest, name: str, context: dict[str, Any], status: int = 200
    ) -> HttpResponse:
        context |= {**self.admin_site.each_context(request), "opts": self.opts}
        return TemplateResponse(request, f"admin/events/replay/{name}.html", context, status=status)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        may = {"may_simulate": request.user.has_perm("events.simulate_event")}
        return super().changelist_view(request, {**may, **(extra_context or {})})

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        replay: Replay = kwargs["obj"]
        waits = replay.status == Replay.Status.TRIED
        context |= {
            "title": gettext("Replay %(number)s") % {"number": replay},
            "subtitle": None,
            "replay": replay,
            "mark": words.status_pill(replay),
            "selection": words.selection_words(replay.selection),
            "outcomes": words.outcome_figures(replay),
            "calls": words.call_figures(replay),
            "types": words.type_figures(replay),
            "reasons": words.reasons(replay),
            "sample": sample(replay, request.user),
            "failures": failures(replay, request.user),
            "made": planned(replay),
            "lists_calls": waits and bool(planned(replay)),
            "can_start": waits and self.has_operate_permission(request) and bool(replay.total),
            "can_cancel": replay.is_unfinished and self.has_operate_permission(request),
            "refresh": REFRESH_SECONDS if replay.is_at_work else 0,
        }
        return super().render_change_form(request, context, *args, **kwargs)


def planned_lines(calls: QuerySet[PlannedCall]) -> Iterator[str]:
    """CSV: the event's key, what becomes of the call, the call, where it goes, the row's key."""
    columns = ("event", "state", "call", "target", "key")
    yield BYTE_ORDER_MARK + csv_text([columns])
    for row in calls.values_list(*columns).iterator(chunk_size=2000):
        yield csv_text([[cell(value) for value in row]])


def planned(replay: Replay) -> int:
    """How many calls the real run makes, by the dry run."""
    calls = replay.tried.get("calls", {}).values()
    return sum(states.get(state, 0) for states in calls for state in engine.MADE)


def named(meant: EventFilter | Sequence[int], reader: Reader) -> list[dict[str, Any]]:
    """The first few events of a selection, as lines."""
    if isinstance(meant, EventFilter):
        return []
    events = list(Event.objects.readable_by(reader).filter(pk__in=meant).order_by("pk")[:EVENTS_NAMED])
    names = naming(events)
    return [event_line(event, names) for event in events]


def event_line(event: Event, names: Naming) -> dict[str, Any]:
    url = reverse("admin:events_event_change", args=[event.pk])
    return {"url": url, "words": headline(event, names), "at": moment(event.received_at)}


def sample(replay: Replay, reader: Reader) -> list[dict[str, Any]]:
    """The first events of the dry run: what was made for each the first time, and what would be made now."""
    outcomes = list(replay.sample)
    events = (
        Event.objects.readable_by(reader).select_related("bot").in_bulk([one["event"] for one in outcomes])
    )
    made = OutboxItem.objects.readable_by(reader).filter(cause__in=events)
    rows = made.select_related("bot", "cause").order_by("pk")
    first: dict[int | None, list[OutboxItem]] = {}
    for row in rows:
        if row.replay_id != replay.pk:
            first.setdefault(row.cause_id, []).append(row)
    names = naming(events.values())
    return [
        {
            **event_line(events[one["event"]], names),
            "mark": words.outcome_pill(one["kind"]),
            "summary": outcome_words(one["summary"]),
            "first": words.made_lines(first.get(one["event"], []), names),
            "now": words.call_lines(
                events[one["event"]], [engine.Call(**call) for call in one["calls"]], names
            ),
        }
        for one in outcomes
        if one["event"] in events
    ]


def failures(replay: Replay, reader: Reader) -> list[dict[str, Any]]:
    events = Event.objects.readable_by(reader).in_bulk([one["event"] for one in replay.failures])
    names = naming(events.values())
    return [
        {**event_line(events[one["event"]], names), "error": one["error"]}
        for one in replay.failures
        if one["event"] in events
    ]
