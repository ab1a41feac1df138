"""The console's admin site: its menu, its home page, and the pages of bots, which hand out first templates."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.db.models import Count, Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from events.adminrows import moment
from events.age import newest_before
from events.botadmin import BotAdmin, setup_guide, state_pill, transport_warning
from events.deaf import deaf_bots
from events.eventrows import event_marks
from events.forms import BotForm
from events.models import SEEN_LATELY, Bot, Event, Heartbeat, OutboxItem, Refusal
from events.naming import Naming, names_of_chats, naming
from events.outboxadmin import outbox_line
from events.sending import notices
from events.sentences import headline
from events.words import outcome_words
from incidents.incidentpage import extra_marks, lasted, severity_mark, status_mark, unseen_marks
from incidents.models import Incident
from templates.models import WelcomeTemplate
from templates.starters import make_starters

from .apikeyadmin import ApiKeyAdmin
from .models import ApiKey

Text = str | Promise

# The menu, in the order of an operator's day: the words, and the model whose list it opens.
MENU: tuple[tuple[Text, str], ...] = (
    (_("Incidents"), "incidents.incident"),
    (_("Event log"), "events.event"),
    (_("Outbox"), "events.outboxitem"),
    (_("Replays"), "events.replay"),
    (_("Welcome templates"), "templates.welcometemplate"),
    (_("Services"), "incidents.service"),
    (_("Reminders"), "incidents.reminderrule"),
    (_("Bots"), "events.bot"),
    (_("Setup check"), "events.checkup"),
    (_("Listeners"), "events.connection"),
    (_("Refused requests"), "events.refusal"),
    (_("API keys"), "botconsole.apikey"),
    (_("Users"), "auth.user"),
    (_("Groups"), "auth.group"),
)
# Pages that whoever may look at another model's may look at.
SEEN_WITH = {"events.replay": "event", "events.checkup": "bot"}
ROWS_WATCHED = 50_000  # failures further back than this are history, and counting them would be slow
NEWEST_EVENTS = 10
NEWEST_FAILURES = 5
INCIDENTS_SHOWN = 10


@dataclass(frozen=True)
class BotLine:
    """One bot on the home page."""

    bot: Bot
    state: str
    last_event_at: str
    transport_warning: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    guide: Mapping[str, Any] = field(default_factory=dict)


class ConsoleBotForm(BotForm):
    starters = forms.BooleanField(
        label=_("Make the first welcome templates"),
        required=False,
        initial=True,
        help_text=_("One for each occasion, ready to use; rewrite them as you like."),
    )


class ConsoleBotAdmin(BotAdmin):
    """A bot without a welcome template is offered the starters."""

    form = ConsoleBotForm

    def get_fieldsets(self, request: HttpRequest, obj: Bot | None = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        writes = self.has_change_permission(request, obj) if obj else self.has_add_permission(request)
        has_some = obj is not None and obj.welcome_templates.exists()
        if has_some or not writes or not request.user.has_perm("templates.add_welcometemplate"):
            return fieldsets
        return (*fieldsets, (_("Welcome templates"), {"fields": ("starters",)}))

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        wanted = form.cleaned_data.get("starters") and request.user.has_perm("templates.add_welcometemplate")
        if wanted and (made := make_starters(form.instance)):
            names = "、".join(template.name for template in made)
            messages.info(request, gettext("Welcome templates made: %(names)s") % {"names": names})


class ConsoleAdminSite(AdminSite):
    site_title = "botconsole"
    site_header = "botconsole"
    index_title = _("Overview")
    enable_nav_sidebar = False

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        self.register(Bot, ConsoleBotAdmin)
        self.register(ApiKey, ApiKeyAdmin)

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        context = {**super().each_context(request), "menu": self.menu(request)}
        sees = self.has_permission(request)
        said = {"deaf_bots": deaf_bots(), "notices": notices()} if sees else {"deaf_bots": [], "notices": []}
        return {**context, **said}

    def menu(self, request: HttpRequest) -> list[dict[str, Any]]:
        """What this person may see: [{"words", "url", "here"}]."""
        home = reverse("admin:index")
        entries = [{"words": _("Overview"), "url": home, "here": request.path == home}]
        for words, label in MENU:
            if self.may_see(request, label):
                url = reverse(f"admin:{label.replace('.', '_')}_changelist")
                entries.append({"words": words, "url": url, "here": request.path.startswith(url)})
        return entries if self.has_permission(request) else []

    def may_see(self, request: HttpRequest, label: str) -> bool:
        app, model = label.split(".")
        model = SEEN_WITH.get(label, model)
        return request.user.has_perm(f"{app}.view_{model}") or request.user.has_perm(f"{app}.change_{model}")

    def app_index(  # type: ignore[override]
        self, request: HttpRequest, app_label: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Django's page of one app's models: the menu says it better."""
        return HttpResponseRedirect(reverse("admin:index"))

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """The home page: how the bots are, what happened last, what to do next."""
        context = {label.replace(".", "_"): self.may_see(request, label) for _words, label in MENU}
        overview: dict[str, Any] = {"may_see": context}
        if context["incidents_incident"]:
            overview |= unresolved_incidents(request.user)
        if context["events_bot"]:
            overview |= {
                "bots": bot_lines(),
                "may_add_bot": request.user.has_perm("events.add_bot"),
                "worker_alive": Heartbeat.objects.alive("worker", SEEN_LATELY),
                **setup_guide(None),
            }
        if context["events_event"]:
            overview |= newest_events(request.user)
        if context["events_outboxitem"]:
            overview["failed_items"] = newest_unsendable(request.user)
        return super().index(request, {"title": _("Overview"), **overview, **(extra_context or {})})


def bot_lines() -> list[BotLine]:
    """Every bot and how it is; the number of queries does not grow with the bots."""
    now = timezone.now()
    bots = BotAdmin(Bot, AdminSite()).get_queryset(HttpRequest()).order_by("name")
    failed = watched(Event).filter(status=Event.Status.FAILED)
    unsent = OutboxItem.objects.unfinished()
    before_today = newest_before(Event, "received_at", now - timedelta(days=1))
    counts = {
        "today": per_bot(Event.objects.filter(pk__gt=before_today)),
        "failed_events": per_bot(failed),
        "unsent": per_bot(unsent),
        "failed_items": per_bot(watched(OutboxItem).filter(status=OutboxItem.Status.FAILED)),
        "refused": per_bot(Refusal.objects.filter(refused_at__gte=now - timedelta(hours=1))),
        "templates": per_bot(WelcomeTemplate.objects.filter(enabled=True)),
    }
    return [bot_line(bot, {name: numbers.get(bot.pk, 0) for name, numbers in counts.items()}) for bot in bots]


def bot_line(bot: Any, counts: Mapping[str, int]) -> BotLine:
    guide = {} if bot.last_event_at else setup_guide(bot)
    return BotLine(bot, state_pill(bot), moment(bot.last_event_at), transport_warning(bot), counts, guide)


def watched(model: type[Model]) -> QuerySet[Any]:
    """The newest ROWS_WATCHED rows."""
    newest = model._default_manager.order_by("-pk").values_list("pk", flat=True).first() or 0
    return model._default_manager.filter(pk__gt=newest - ROWS_WATCHED)


def per_bot(rows: QuerySet[Any]) -> dict[int, int]:
    return dict(rows.order_by().values_list("bot").annotate(Count("pk")))


def newest_events(user: Any) -> dict[str, list[dict[str, Any]]]:
    """The newest events and the newest failures, as lines."""
    events = Event.objects.readable_by(user).order_by("-pk")
    newest = list(events[:NEWEST_EVENTS])
    failed = list(events.filter(status=Event.Status.FAILED)[:NEWEST_FAILURES])
    names = naming([*newest, *failed])
    return {
        "newest": [event_line(event, names) for event in newest],
        "failed_events": [event_line(event, names) for event in failed],
    }


def event_line(event: Event, names: Naming) -> dict[str, Any]:
    return {
        "url": reverse("admin:events_event_change", args=[event.pk]),
        "at": moment(event.received_at),
        "words": headline(event, names),
        "marks": event_marks(event),
        "outcome": outcome_words(event.summary),
    }


def unresolved_incidents(user: Any) -> dict[str, Any]:
    """What is broken at this moment, the worst first, and how many there are in all."""
    incidents = Incident.objects.visible_to(user).unresolved()
    worst = list(incidents.order_by("severity", "-pk")[:INCIDENTS_SHOWN])
    unseen = unseen_marks(worst)
    lines = [
        {
            "incident": incident,
            "url": reverse("admin:incidents_incident_change", args=[incident.pk]),
            "marks": [
                *(severity_mark(incident), status_mark(incident), *extra_marks(incident)),
                *filter(None, [unseen.get(incident.pk)]),
            ],
            "lasted": lasted(incident.duration),
        }
        for incident in worst
    ]
    more = incidents.count() - len(lines) if len(lines) == INCIDENTS_SHOWN else 0
    return {"incidents": lines, "more_incidents": more}


def newest_unsendable(user: Any) -> list[dict[str, Any]]:
    """The newest outbox items that failed for good, as lines."""
    failed = OutboxItem.objects.readable_by(user).filter(status=OutboxItem.Status.FAILED)
    items = failed.order_by("-pk")[:NEWEST_FAILURES]
    names = names_of_chats(item.target for item in items) if items else {}
    return [outbox_line(item, names.get(item.target, "")) for item in items]
