"""The operator's pages of the event log: what came in, what was made of it, and "run again" for what failed."""

from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import F, Q, QuerySet, TextField
from django.db.models.functions import Cast
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from .adminrows import RUN_AT_ONCE, NamedChatsList, ReadOnlyAdmin, moment, newest_containing, pill, two_lines
from .dispatch import rerun
from .jsontree import pretty, tree
from .models import Bot, Event, OutboxItem
from .outboxadmin import outbox_line
from .words import (
    EVENT_TYPES,
    chat_name,
    event_words,
    outcome_words,
    people_in,
    people_words,
    short_id,
    type_words,
)


class TypeFilter(admin.SimpleListFilter):
    """The known types in words; asks the database nothing."""

    title = _("type")
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(event_type, str(words)) for event_type, words in EVENT_TYPES.items()] + [
            ("other", gettext("Other"))
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Event]) -> QuerySet[Event]:
        if self.value() == "other":
            return queryset.exclude(event_type__in=EVENT_TYPES)
        return queryset.filter(event_type=self.value()) if self.value() else queryset


class LateFilter(admin.SimpleListFilter):
    title = _("late")
    parameter_name = "late"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", gettext("Came late")), ("more", gettext("Delivered more than once"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Event]) -> QuerySet[Event]:
        choices = {"1": Q(late=True), "more": Q(deliveries__gt=1)}
        return queryset.filter(choices.get(self.value() or "", Q()))


class EventAdmin(ReadOnlyAdmin[Event]):
    list_display = ("received", "what", "chat", "who", "state", "outcome")
    list_display_links = ("received", "what")
    list_filter = ("status", "bot", TypeFilter, LateFilter, "received_at")
    list_select_related = ("bot",)
    search_fields = ("event_id",)
    search_help_text = _("Event id, message id, chat id, open_id or a name.")
    actions = ("run_again", "replay")
    chat_field = "chat_id"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return NamedChatsList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Event]:
        return super().get_queryset(request).readable_by(request.user)  # type: ignore[attr-defined,no-any-return]

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.rerun_view)
        return [path("<int:pk>/rerun/", view, name="events_event_rerun"), *super().get_urls()]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Event], search_term: str
    ) -> tuple[QuerySet[Event], bool]:
        """Ids by their indexes; all else among the newest events."""
        term = search_term.strip()
        if not term:
            return queryset, False
        if term.startswith("oc_"):
            return queryset.filter(chat_id=term), False
        bots = list(Bot.objects.values_list("pk", flat=True))  # the unique keys begin with the bot
        # The second index holds only events whose dedup_key is not their id.
        by_event_id = Q(bot__in=bots, event_id=term) & ~Q(dedup_key=F("event_id"))
        known = Q(bot__in=bots, dedup_key=term) | by_event_id
        if queryset.filter(known).exists():
            return queryset.filter(known), False
        text = queryset.annotate(body_text=Cast("body", TextField()))
        return text.filter(newest_containing(queryset, "body_text", term)), False

    @admin.display(description=_("received at"), ordering="pk")
    def received(self, event: Event) -> SafeString:
        return moment(event.received_at)

    @admin.display(description=_("type"))
    def what(self, event: Event) -> SafeString:
        words = type_words(event.event_type)
        return two_lines(
            words or event.event_type, f"{event.event_type} · {event.bot.name}" if words else event.bot.name
        )

    @admin.display(description=_("chat"))
    def chat(self, event: Event) -> SafeString:
        name = chat_name(event) or getattr(event, "known_chat", "")
        return (
            two_lines(name, short_id(event.chat_id)) if name else format_html("{}", short_id(event.chat_id))
        )

    @admin.display(description=_("person"))
    def who(self, event: Event) -> str:
        return people_words(event)

    @admin.display(description=_("status"))
    def state(self, event: Event) -> SafeString:
        return format_html_join(" ", "{}", ((mark,) for mark in event_marks(event)))

    @admin.display(description=_("outcome"))
    def outcome(self, event: Event) -> str:
        return outcome_words(event.summary)

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
        """Leads to the page that asks for a replay of the selected events."""
        keys = ",".join(map(str, queryset.order_by("pk").values_list("pk", flat=True)[: self.list_per_page]))
        return HttpResponseRedirect(f"{reverse('admin:events_replay_new')}?events={keys}")

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
        known = Event.objects.filter(chat_id=event.chat_id).chat_names() if event.chat_id else {}
        caused = OutboxItem.objects.readable_by(request.user).filter(cause=event)
        context |= {
            "title": event_words(event, known.get(event.chat_id, "")),
            "subtitle": None,
            "event": event,
            "marks": event_marks(event),
            "chat_name": chat_name(event) or known.get(event.chat_id, ""),
            "people": people_in(event).items(),
            "outcome": outcome_words(event.summary),
            "tree": tree(event.body),
            "raw": pretty(event.body),
            "times": [_time(text) for text in event.delivery_times],
            "outbox": [outbox_line(item, known.get(item.target, "")) for item in caused],
            "can_rerun": event.status == Event.Status.FAILED and self.has_operate_permission(request),
        }
        return super().render_change_form(request, context, *args, **kwargs)


def event_marks(event: Event) -> list[SafeString]:
    """The event's status, and what is out of the ordinary about its delivery."""
    marks = [pill(event.status, event.get_status_display())]
    if event.is_simulated:
        marks.append(pill("simulated", gettext("simulated")))
    if event.late:
        marks.append(pill("late", gettext("late")))
    if event.deliveries > 1:
        marks.append(pill("again", gettext("%(count)d deliveries") % {"count": event.deliveries}))
    return marks


def _time(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None
