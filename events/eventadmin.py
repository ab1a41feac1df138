"""The operator's pages of the event log: what came in, what was made of it, and "run again" for what failed."""

from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST, require_safe

from .adminrows import RUN_AT_ONCE, ReadOnlyAdmin
from .dispatch import rerun
from .eventchangelist import EventList, cursors
from .eventexport import exported
from .eventfilter import EventFilter, FilterError
from .eventlist import newer_than, newest_key
from .eventpage import event_page
from .eventrows import event_lines
from .models import Event
from .reading import catch_up
from .words import outcome_words

# Transactions that began earlier may commit later: the live tail looks at so many keys again.
KEYS_SENT_AGAIN = 50
SETTLED = timedelta(minutes=2)  # for so long
ROWS_SENT = 150


class EventAdmin(ReadOnlyAdmin[Event]):
    list_display = ("event_id",)
    actions = ("run_again", "replay")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return EventList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Event]:
        return super().get_queryset(request).readable_by(request.user)  # type: ignore[attr-defined,no-any-return]

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/rerun/", view(self.rerun_view), name="events_event_rerun"),
            path("new/", view(self.new_view), name="events_event_new"),
            path("export/", view(self.export_view), name="events_event_export"),
            *super().get_urls(),
        ]

    @method_decorator(require_safe)
    def new_view(self, request: HttpRequest) -> HttpResponse:
        """GET: the rows of events that match and came after a key, as JSON; for the live tail."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            chosen = EventFilter.from_query(request.GET.dict())
            after = cursors(request)[1]
        except FilterError as error:
            return JsonResponse({"problem": str(error)}, status=400)
        if chosen.reads_texts:
            catch_up()
        newest = newest_key()
        again = max(0, (newest if after is None else after) - KEYS_SENT_AGAIN)
        events = newer_than(chosen, again, self.get_queryset(request), ROWS_SENT)
        newest = (
            events[0].pk if len(events) == ROWS_SENT else newest
        )  # the others come with the next question
        # What has been in the page for long cannot be a transaction that began earlier.
        latest = timezone.now() - SETTLED
        events = [event for event in events if not after or event.pk > after or event.received_at > latest]
        context = {"lines": event_lines(events), "selectable": bool(self.get_actions(request))}
        rows = render_to_string("admin/events/event/rows.html", context, request)
        return JsonResponse({"rows": rows, "newest": newest})

    @method_decorator(require_safe)
    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """GET: everything that matches, streamed; `format` is csv or ndjson."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            chosen = EventFilter.from_query(request.GET.dict())
        except FilterError as error:
            return HttpResponse(str(error), status=400, content_type="text/plain; charset=utf-8")
        return exported(chosen, self.get_queryset(request), request.GET.get("format", "csv"))

    @admin.action(description=_("Run again now (failed events)"), permissions=["operate"])
    def run_again(self, request: HttpRequest, queryset: QuerySet[Event]) -> None:
        failed = list(
            queryset.filter(status=Event.Status.FAILED).values_list("pk", flat=True)[: RUN_AT_ONCE + 1]
        )
        if len(failed) > RUN_AT_ONCE:
            count = queryset.retry(timezone.now())  # type: ignore[attr-defined]
            messages.success(
                request, gettext("%(count)d failed events are left to the worker.") % {"count": count}
            )
            return
        events = [event for pk in failed if (event := rerun(pk))]
        self.operated(request, Event.objects.filter(pk__in=[event.pk for event in events]), "Run again.")
        bad = sum(event.status == Event.Status.FAILED for event in events)
        text = ngettext("%(count)d event was run again.", "%(count)d events were run again.", len(events))
        if bad:
            text += " " + gettext("Failed again: %(bad)d.")
        level = messages.WARNING if bad or not events else messages.SUCCESS
        messages.add_message(request, level, text % {"count": len(events), "bad": bad})

    @admin.action(description=_("Replay…"), permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: QuerySet[Event]) -> HttpResponse:
        """Leads to the page that asks for a replay: of the selected events, or of all that match, if those were."""
        if request.POST.get("select_across") == "1":
            query = request.GET.urlencode()
        else:
            keys = queryset.order_by("pk").values_list("pk", flat=True)[: self.list_per_page]
            query = f"events={','.join(map(str, keys))}"
        return HttpResponseRedirect(f"{reverse('admin:events_replay_new')}?{query}")

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("events.replay_event")

    @method_decorator(require_POST)
    def rerun_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """POST: runs one failed event again."""
        if not self.has_operate_permission(request):
            raise PermissionDenied
        get_object_or_404(self.get_queryset(request), pk=pk)
        event = rerun(pk)
        if event is None:
            messages.warning(
                request, gettext("This event is not waiting: it was finished, or is being run right now.")
            )
        else:
            self.operated(request, Event.objects.filter(pk=pk), "Run again.")
            level = messages.ERROR if event.status == Event.Status.FAILED else messages.SUCCESS
            result = {"status": event.get_status_display(), "outcome": outcome_words(event.summary)}
            messages.add_message(request, level, gettext("Run again: %(status)s, %(outcome)s") % result)
        return HttpResponseRedirect(reverse("admin:events_event_change", args=[pk]))

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        event: Event = kwargs["obj"]
        context |= event_page(event, request.user)
        context["can_rerun"] = event.status == Event.Status.FAILED and self.has_operate_permission(request)
        return super().render_change_form(request, context, *args, **kwargs)
