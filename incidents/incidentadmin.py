"""The operator's pages of incidents: the list, the page one runs an incident from, opening, importing."""

import uuid
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import Case, Q, QuerySet, Value, When
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from events.adminrows import ReadOnlyAdmin, pill, two_lines
from events.models import Bot, Chat, Person

from .forms import ImportForm, IncidentForm
from .incidentfilters import AgeFilter
from .incidentpage import (
    actor,
    calls_of,
    chat_url,
    extra_marks,
    lasted,
    page_of,
    severity_mark,
    state_of,
    status_mark,
    unseen_marks,
)
from .models import FormerChat, Incident, Responder, Service, StepError
from .names import known_people, leads_of, name_of, who_was_first
from .preview import preview
from .verbs import VERBS, VerbForm

CHATS_OFFERED = 50
PREVIEWED = ("bot", "title", "severity", "service", "description", "drill")


class IncidentList(ChangeList):
    """A page of incidents that know the names of their leads, and who sees them: a query each for all of them."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows: list[Any] = list(self.result_list)
        names, unseen = leads_of(rows), unseen_marks(rows)
        for row in rows:
            row.unseen = unseen.get(row.pk)
            row.lead_name = name_of(row.lead_open_id, names.get((row.bot_id, row.lead_open_id), ""), {})
        self.result_list = rows


class IncidentAdmin(ReadOnlyAdmin[Incident]):
    form = IncidentForm
    list_display = ("number", "what", "severity_now", "state", "service", "lead", "age", "chat")
    list_display_links = ("number", "what")
    list_filter = ("status", "severity", AgeFilter, "service", "source", "drill")
    list_select_related = ("bot", "service")
    search_fields = ("title",)
    search_help_text = _("Number (INC-12), title, chat id, or a person (open_id or name).")

    # --- Who may what ------------------------------------------------------------------------------------
    def has_add_permission(self, request: HttpRequest) -> bool:
        return admin.ModelAdmin.has_add_permission(self, request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Incident]:
        return super().get_queryset(request).visible_to(request.user)  # type: ignore[attr-defined,no-any-return]

    def get_urls(self) -> list[URLPattern]:
        site = self.admin_site
        return [
            path("preview/", site.admin_view(self.preview_view), name="incidents_incident_preview"),
            path("import/", site.admin_view(self.import_view), name="incidents_incident_import"),
            path("<int:pk>/do/<slug:verb>/", site.admin_view(self.verb_view), name="incidents_incident_do"),
            path("<int:pk>/state/", site.admin_view(self.state_view), name="incidents_incident_state"),
            *super().get_urls(),
        ]

    # --- The list ----------------------------------------------------------------------------------------
    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return IncidentList

    def get_ordering(self, request: HttpRequest) -> Any:
        return (Case(When(status=Incident.Status.RESOLVED, then=Value(1)), default=Value(0)), "-pk")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Incident], search_term: str
    ) -> tuple[QuerySet[Incident], bool]:
        term = search_term.strip()
        number = term.upper().removeprefix("INC-")
        if not term:
            return queryset, False
        found = Q(title__icontains=term) | Q(chat_id=term)
        if number.isascii() and number.isdigit() and len(number) < 19:
            found |= Q(pk=int(number))
        for step in ("opened", "acknowledged", "resolved"):
            found |= Q(**{f"{step}_by_open_id": term}) | Q(**{f"{step}_by__icontains": term})
        called = Responder.objects.filter(Q(open_id=term) | Q(email__iexact=term) | Q(mobile=term))
        named = Person.objects.filter(name__icontains=term).values("open_id")[:100]
        found |= Q(lead_open_id__in=named) | Q(responders__open_id__in=named)
        found |= Q(lead_open_id=term) | Q(pk__in=called.values("incident"))
        return queryset.filter(found), True

    def _known_chats(self) -> list[tuple[str, str]]:
        """Chats to import from, but those of incidents: their names may be nobody else's business."""
        taken = Incident.objects.exclude(chat_id="").values("chat_id")
        free = Chat.objects.exclude(chat_id__in=taken).exclude(
            chat_id__in=FormerChat.objects.values("chat_id")
        )
        return list(free.newest_names(CHATS_OFFERED).items())

    @admin.display(description=_("number"), ordering="pk")
    def number(self, incident: Incident) -> str:
        return incident.number

    @admin.display(description=_("title"), ordering="title")
    def what(self, incident: Incident) -> SafeString:
        return two_lines(incident.title, incident.bot.name)

    @admin.display(description=_("severity"), ordering="severity")
    def severity_now(self, incident: Incident) -> SafeString:
        return severity_mark(incident)

    @admin.display(description=_("status"), ordering="status")
    def state(self, incident: Incident) -> SafeString:
        marks = [status_mark(incident), *extra_marks(incident)]
        if unseen := getattr(incident, "unseen", None):
            marks.append(unseen)
        if incident.chat_gone:
            marks.append(pill("late", gettext("chat is gone")))
        return format_html_join(" ", "{}", ((mark,) for mark in marks))

    @admin.display(description=_("lead"), ordering="lead_open_id")
    def lead(self, incident: Incident) -> str:
        return str(getattr(incident, "lead_name", ""))

    @admin.display(description=_("age"), ordering="opened_at")
    def age(self, incident: Incident) -> SafeString:
        """How long it has been going on, or took."""
        opened = timezone.localtime(incident.opened_at)
        words = (
            gettext("took %(duration)s")
            if incident.status == Incident.Status.RESOLVED
            else gettext("for %(duration)s")
        )
        return two_lines(words % {"duration": lasted(incident.duration)}, opened.strftime("%Y-%m-%d %H:%M"))

    @admin.display(description=_("chat"))
    def chat(self, incident: Incident) -> SafeString | str:
        url = chat_url(incident)
        link = '<a href="{}" target="_blank" rel="noopener">{}</a>'
        return format_html(link, url, gettext("Open chat")) if url else ""

    # --- One incident ------------------------------------------------------------------------------------
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        incident = self.get_object(request, unquote(object_id))
        if not self.has_view_permission(request, incident):
            raise PermissionDenied
        if incident is None:
            raise Http404
        return self.show(request, incident)

    def show(self, request: HttpRequest, incident: Incident, bound: VerbForm | None = None) -> HttpResponse:
        operates = self.has_operate_permission(request)
        context = {
            **self.admin_site.each_context(request),
            "title": f"{incident.number} {incident.title}",
            "opts": self.opts,
            "known_people": known_people(incident.bot).items() if operates else (),
            **page_of(incident, request, operates=operates, bound=bound),
        }
        return TemplateResponse(request, "admin/incidents/incident/page.html", context)

    def state_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """{"now"}: another value than the page was made with means that there is something new."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        incident = get_object_or_404(self.get_queryset(request), pk=pk)
        return JsonResponse({"now": state_of(incident, calls_of(incident))})

    @method_decorator(require_POST)
    def verb_view(self, request: HttpRequest, pk: int, verb: str) -> HttpResponse:
        """POST: one of VERBS; a step that someone else was faster with is answered with who that was."""
        if not self.has_operate_permission(request):
            raise PermissionDenied
        incident = get_object_or_404(self.get_queryset(request).select_related("bot", "service"), pk=pk)
        if verb not in VERBS:
            raise Http404
        form = VERBS[verb](request.POST, incident=incident)
        if not form.is_valid():
            return self.show(request, incident, form)
        try:
            form.do(actor(request.user))
        except StepError as error:
            messages.warning(request, who_was_first(error))
        else:
            messages.success(request, str(form.done))
        return HttpResponseRedirect(reverse("admin:incidents_incident_change", args=[pk]))

    # --- A new one ---------------------------------------------------------------------------------------
    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        bots = list(Bot.objects.values_list("pk", flat=True)[:2])
        only_bot = {"bot": bots[0]} if len(bots) == 1 else {}
        return {**only_bot, "form_key": uuid.uuid4(), **super().get_changeform_initial_data(request)}

    def get_fieldsets(self, request: HttpRequest, obj: Incident | None = None) -> Any:
        """Whoever could not see a private incident cannot open one."""
        marks = ("drill", "private") if request.user.has_perm(Incident.SEES_PRIVATE) else ("drill",)
        fields = (
            "bot",
            "title",
            ("severity", "service"),
            "description",
            "responders",
            "image",
            (*marks, "form_key"),  # hidden
        )
        return ((None, {"fields": fields}),)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Without the pencil and the plus: a bot or a service is not made in passing."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and hasattr(field.widget, "widget"):
            field.widget = field.widget.widget
        return field

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Incident:
        return form.instance  # type: ignore[no-any-return]

    def save_model(self, request: HttpRequest, obj: Incident, form: Any, change: bool) -> None:
        typed = {**form.cleaned_data}
        incident = Incident.objects.open_once(key=typed.pop("form_key"), by=actor(request.user), **typed)
        obj.pk, obj._state.adding = incident.pk, False

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Opening has done it all."""

    def response_add(
        self, request: HttpRequest, obj: Incident, post_url_continue: Any = None
    ) -> HttpResponse:
        words = gettext("%(incident)s is open; its chat is being made.") % {"incident": obj}
        messages.success(request, words)
        return HttpResponseRedirect(reverse("admin:incidents_incident_change", args=[obj.pk]))

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        form = context["adminform"].form
        shown = preview({name: form[name].value() for name in PREVIEWED})
        context |= {
            "title": gettext("Open an incident"),
            "preview": shown,
            "preview_html": mark_safe(shown.html),  # drawn by events.cardview, which escapes  # noqa: S308
            "preview_url": reverse("admin:incidents_incident_preview"),
            "known_people": known_people().items(),
            "severities": {
                str(pk): severity for pk, severity in Service.objects.values_list("pk", "severity")
            },
        }
        return super().render_change_form(request, context, *args, **kwargs)

    @method_decorator(require_POST)
    def preview_view(self, request: HttpRequest) -> HttpResponse:
        """POST what is typed so far -> {"html", "chat_name", "problems"}. Saves nothing."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        return JsonResponse(preview(request.POST).as_json())

    def import_view(self, request: HttpRequest) -> HttpResponse:
        """A chat that exists already becomes an incident; nothing is sent to it."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = ImportForm(
            request.POST or None,
            initial=self.get_changeform_initial_data(request),
            sees_private=request.user.has_perm(Incident.SEES_PRIVATE),
        )
        if request.method == "POST" and form.is_valid():
            incident = Incident.objects.import_chat(by=actor(request.user), **form.imported())
            messages.success(request, gettext("%(incident)s is imported.") % {"incident": incident})
            return HttpResponseRedirect(reverse("admin:incidents_incident_change", args=[incident.pk]))
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Import a chat as an incident"),
            "opts": self.opts,
            "form": form,
            "known_chats": self._known_chats(),
        }
        return TemplateResponse(request, "admin/incidents/incident/import.html", context)
