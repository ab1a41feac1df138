"""The console's page of the setup check: the newest findings, "check now", and a checklist to print for each bot.

Nothing here calls the network: a worker makes the checks.
"""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from .adminrows import ReadOnlyAdmin
from .botadmin import setup_guide
from .doctorwords import EVENTS, SCOPES, VERSION, console_url, lines
from .features import FEATURES
from .models import SEEN_LATELY, Bot, Checkup, Heartbeat

REFRESH_SECONDS = 2


class CheckupAdmin(ReadOnlyAdmin[Checkup]):
    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return request.user.has_perm("events.view_bot")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("events.run_checkup") or request.user.has_perm("events.change_bot")

    def get_urls(self) -> list[URLPattern]:
        def view(of: Any) -> Any:
            return never_cache(self.admin_site.admin_view(of))

        return [
            path("now/", view(self.check_now), name="events_checkup_now"),
            path("checklist/<slug:slug>/", view(self.checklist), name="events_checkup_checklist"),
            path("", view(self.changelist_view), name="events_checkup_changelist"),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The newest findings, each bot's and the console's own."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        newest, last = Checkup.objects.newest(), Checkup.objects.first()
        findings = newest.findings if newest else []
        bots = [
            {"bot": bot, "lines": lines((one for one in findings if one["bot"] == bot.pk), bot)}
            for bot in Bot.objects.order_by("name")
        ]
        waits = last is not None and last.is_unfinished
        return self._shown(
            request,
            "page",
            title=gettext("Setup check"),
            checkup=newest,
            bots=bots,
            console=lines((one for one in findings if one["bot"] is None), None),
            waits=waits,
            refresh=REFRESH_SECONDS if waits else 0,
            worker_alive=Heartbeat.objects.alive("worker", SEEN_LATELY),
            can_check=self.has_operate_permission(request),
        )

    @method_decorator(require_POST)
    def check_now(self, request: HttpRequest) -> HttpResponse:
        """POST: asks the worker for a new round."""
        if not self.has_operate_permission(request):
            raise PermissionDenied
        Checkup.objects.ask(request.user.get_username())
        messages.success(request, gettext("The worker checks everything now. This page shows what it found."))
        return HttpResponseRedirect(reverse("admin:events_checkup_changelist"))

    def checklist(self, request: HttpRequest, slug: str) -> HttpResponse:
        """What to set in the developer console for a new bot, on paper."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        bot = get_object_or_404(Bot, slug=slug)
        pages = {name: console_url(bot, page) for name, page in PAGES.items()}
        title = gettext("Checklist for %(bot)s") % {"bot": bot}
        return self._shown(
            request,
            "checklist",
            title=title,
            bot=bot,
            features=FEATURES.values(),
            pages=pages,
            **setup_guide(bot),
        )

    def _shown(self, request: HttpRequest, name: str, **context: Any) -> HttpResponse:
        context |= {**self.admin_site.each_context(request), "opts": self.opts}
        return TemplateResponse(request, f"admin/events/checkup/{name}.html", context)


PAGES = {"events": EVENTS, "scopes": SCOPES, "version": VERSION}
