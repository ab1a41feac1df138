"""The operator's pages for the review of an incident: exports, the post-mortem, the archive.

Addresses of their own under /admin/incidents/ (botconsole.urls puts them before the admin's). Whoever may see an
incident may read and download; whoever may change it may do the rest.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.forms import BaseInlineFormSet, inlineformset_factory
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from markdown_it import MarkdownIt

from events.adminrows import pill

from . import incidentpage, postmortem
from .download import as_download
from .models import Actor, Export, FollowUp, Incident, PostMortem, PostMortemTemplate, StepError

View = Callable[..., HttpResponseBase]
TEMPLATES = "admin/incidents/review/"
LONGEST_TEXT = 200_000
REFRESH_SECONDS = 2
EXPORTS_SHOWN = 50

_markdown = MarkdownIt("commonmark", {"html": False}).enable("table")


def drawn(text: str) -> SafeString:
    """Markdown as HTML: tags in it stay text, and markdown-it drops addresses that are scripts."""
    return mark_safe(str(_markdown.render(text)))  # noqa: S308 (html is disabled)


# --- Who may what ------------------------------------------------------------------------------------------
def page(view: View) -> View:
    """A page of an incident: the first argument after the request becomes the row, seen and permitted."""

    @wraps(view)
    def checked(request: HttpRequest, pk: int, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not may_see(request) or (request.method == "POST" and not may_change(request)):
            raise PermissionDenied
        rows = Incident.objects.visible_to(request.user).select_related("bot", "service")
        return view(request, get_object_or_404(rows, pk=pk), *args, **kwargs)

    return never_cache(admin.site.admin_view(checked))


def may_see(request: HttpRequest) -> bool:
    return request.user.has_perm("incidents.view_incident") or may_change(request)


def may_change(request: HttpRequest) -> bool:
    return request.user.has_perm("incidents.change_incident")


def actor(request: HttpRequest) -> Actor:
    return incidentpage.actor(request.user)


def shown(request: HttpRequest, name: str, title: str, **context: Any) -> TemplateResponse:
    context |= {**admin.site.each_context(request), "title": title, "may_change": may_change(request)}
    return TemplateResponse(request, f"{TEMPLATES}{name}.html", context)


# --- Exports -------------------------------------------------------------------------------------------------
@require_http_methods(["GET", "HEAD", "POST"])
def exports(request: HttpRequest, incident: Incident) -> HttpResponse:
    """GET: the exports and how far they are; POST: one more."""
    if request.method == "POST":
        incident.export(actor(request))
        messages.success(request, gettext("The export is being made. This page shows how far it is."))
        return HttpResponseRedirect(reverse("incident-exports", args=[incident.pk]))
    rows = list(incident.exports.all()[:EXPORTS_SHOWN])
    lines = [{"it": row, "mark": pill(PILLS[row.status], row.get_status_display())} for row in rows]
    return shown(
        request,
        "exports",
        gettext("Exports"),
        incident=incident,
        lines=lines,
        refresh=REFRESH_SECONDS if any(row.is_unfinished for row in rows) else 0,
    )


PILLS = {"waiting": "pending", "running": "sending", "done": "sent", "failed": "failed", "expired": "ignored"}


@require_GET
def download(request: HttpRequest, incident: Incident, export_pk: int) -> HttpResponseBase:
    found = get_object_or_404(Export, pk=export_pk, incident=incident, status=Export.Status.DONE)
    return as_download(found)


@require_POST
def retry(request: HttpRequest, incident: Incident, export_pk: int) -> HttpResponse:
    export = get_object_or_404(Export, pk=export_pk, incident=incident)
    if export.retry():
        messages.success(request, gettext("The export is tried again."))
    else:
        messages.warning(request, gettext("Only failed exports can be retried."))
    return HttpResponseRedirect(reverse("incident-exports", args=[incident.pk]))


# --- The post-mortem -------------------------------------------------------------------------------------------
class PostMortemForm(forms.Form):
    body = forms.CharField(
        label=_("text"), max_length=LONGEST_TEXT, widget=forms.Textarea(attrs={"rows": 28, "class": "code"})
    )
    revision = forms.IntegerField(widget=forms.HiddenInput)


class FollowUpForm(forms.ModelForm[FollowUp]):
    class Meta:
        model = FollowUp
        fields = ("text", "owner", "due_on", "done")
        widgets = {"due_on": forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")}


FollowUps: type[BaseInlineFormSet[FollowUp, PostMortem, FollowUpForm]] = inlineformset_factory(
    PostMortem, FollowUp, form=FollowUpForm, extra=2, can_delete=True, max_num=100, validate_max=True
)


@require_http_methods(["GET", "HEAD", "POST"])
def post_mortem(request: HttpRequest, incident: Incident) -> HttpResponse:
    """GET: the page, or the offer to draft one; POST: preview, or save the text and the follow-ups."""
    written = PostMortem.objects.filter(incident=incident).first()
    if written is None:
        if request.method == "POST":
            raise Http404
        return shown(request, "post_mortem", gettext("Post-mortem"), incident=incident, written=None)
    form = PostMortemForm(
        request.POST or None, initial={"body": written.body, "revision": written.revision}
    )  # fmt: skip
    follow_ups = FollowUps(request.POST or None, instance=written)
    if (
        request.method == "POST"
        and form.is_valid()
        and follow_ups.is_valid()
        and "preview" not in request.POST
    ):
        if written.write(form.cleaned_data["body"], actor(request), form.cleaned_data["revision"]):
            follow_ups.save()
            messages.success(request, gettext("Saved."))
            return HttpResponseRedirect(reverse("incident-post-mortem", args=[incident.pk]))
        form.add_error(
            None, _("Somebody else changed the text meanwhile. Copy yours, then load the page again.")
        )
    return shown(
        request,
        "post_mortem",
        gettext("Post-mortem"),
        incident=incident,
        written=written,
        form=form,
        follow_ups=follow_ups,
        picture=drawn(str(form["body"].value() or "")[:LONGEST_TEXT]),
    )


@require_POST
def draft(request: HttpRequest, incident: Incident) -> HttpResponse:
    incident.draft_post_mortem(actor(request))
    return HttpResponseRedirect(reverse("incident-post-mortem", args=[incident.pk]))


class TemplateForm(forms.Form):
    body = forms.CharField(
        label=_("text"), max_length=LONGEST_TEXT, widget=forms.Textarea(attrs={"rows": 28, "class": "code"})
    )


@require_http_methods(["GET", "HEAD", "POST"])
def template(request: HttpRequest) -> HttpResponse:
    """GET: what a post-mortem begins with; POST: another text, or (`reset`) the built-in one."""
    if not may_see(request) or (request.method == "POST" and not may_change(request)):
        raise PermissionDenied
    form = TemplateForm(request.POST or None, initial={"body": postmortem.template()})
    if request.method == "POST" and ("reset" in request.POST or form.is_valid()):
        if "reset" in request.POST:
            PostMortemTemplate.objects.all().delete()
        else:
            values = {"body": form.cleaned_data["body"], "changed_by": actor(request).name[:120]}
            PostMortemTemplate.objects.update_or_create(pk=1, defaults=values)
        messages.success(request, gettext("Saved."))
        return HttpResponseRedirect(reverse("post-mortem-template"))
    variables = [f"{{{name}}}" for name in postmortem.VARIABLES]
    return shown(request, "template", gettext("Post-mortem template"), form=form, variables=variables)


# --- The archive -----------------------------------------------------------------------------------------------
class ArchiveForm(forms.Form):
    then = forms.ChoiceField(
        label=_("What becomes of the chat"),
        choices=[("leave", _("The bot leaves it; the people keep it")), ("disband", _("It is dissolved"))],
        initial="leave",
        widget=forms.RadioSelect,
    )
    accept_gaps = forms.BooleanField(
        label=_("Even if the export lacks something"),
        required=False,
        help_text=_("What the export could not get is lost with a dissolved chat."),
    )


@require_http_methods(["GET", "HEAD", "POST"])
def archive(request: HttpRequest, incident: Incident) -> HttpResponse:
    """GET: asks; POST: exports, and then dissolves or leaves the chat."""
    form = ArchiveForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        told = form.cleaned_data
        try:
            incident.archive(
                actor(request), disband=told["then"] == "disband", accept_gaps=told["accept_gaps"]
            )
        except StepError:
            messages.error(request, gettext("Only a resolved incident can be archived."))
        else:
            messages.success(request, gettext("The export is being made; the chat goes when it is done."))
        return HttpResponseRedirect(reverse("incident-exports", args=[incident.pk]))
    resolved = incident.status == Incident.Status.RESOLVED
    return shown(request, "archive", gettext("Archive"), incident=incident, form=form, resolved=resolved)


INCIDENT = "incident/<int:pk>/"
urlpatterns: list[URLPattern] = [
    path(f"{INCIDENT}exports/", page(exports), name="incident-exports"),
    path(f"{INCIDENT}exports/<int:export_pk>/download/", page(download), name="incident-export-download"),
    path(f"{INCIDENT}exports/<int:export_pk>/retry/", page(retry), name="incident-export-retry"),
    path(f"{INCIDENT}post-mortem/", page(post_mortem), name="incident-post-mortem"),
    path(f"{INCIDENT}post-mortem/draft/", page(draft), name="incident-post-mortem-draft"),
    path(f"{INCIDENT}archive/", page(archive), name="incident-archive"),
    path("post-mortem-template/", never_cache(admin.site.admin_view(template)), name="post-mortem-template"),
]
