"""The pages of a bot. Not registered here: the console does that, with what stands above `events`."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, QuerySet, Subquery
from django.forms import ModelChoiceField
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from .adminrows import moment, pill
from .features import EVENTS_TO_ADD, SCOPES_TO_ADD
from .forms import RETENTION, SECRETS, BotForm, secret_state, secrets_problem
from .models import Bot, Event
from .sending import page_of, probe_at_once
from .words import EVENT_TYPES, refusal_words

REFUSALS_SHOWN = 20


def setup_guide(bot: Bot | None) -> dict[str, Any]:
    """What the template admin/includes/setup_guide.html shows."""
    events = [(event_type, EVENT_TYPES[event_type], scope) for event_type, scope in EVENTS_TO_ADD]
    return {
        "guide_id": bot.slug if bot else "",
        "guide_url": bot.webhook_url if bot else "",
        "guide_listens": bot is not None and bot.transport == Bot.Transport.LONG_CONNECTION,
        "guide_events": events,
        "guide_scopes": SCOPES_TO_ADD,
    }


def state_pill(bot: Bot) -> SafeString:
    if secrets_problem(bot):
        return pill("failed", gettext("secrets unreadable"))
    if not bot.enabled:
        return pill("ignored", gettext("off"))
    return pill("paused", gettext("sending is paused")) if bot.paused else pill("sent", gettext("on"))


def transport_warning(bot: Any) -> str:
    """What to say when the newest event came another way than the bot's page says; needs `last_transport`."""
    if bot.last_transport not in Bot.Transport.values or bot.last_transport == bot.transport:
        return ""
    words = gettext("Set to %(said)s, but the newest event came by %(came)s.")
    came = Bot.Transport(bot.last_transport).label
    return words % {"said": bot.get_transport_display(), "came": came}


# What the buttons do: the words that tell it, and the act.
SENDING_ACTS: dict[str, tuple[str | Promise, Callable[[Bot], object]]] = {
    "pause": (_("Sending is paused."), Bot.pause_sending),
    "resume": (_("Sending goes on."), Bot.resume_sending),
    "probe": (_("The worker tries it at once."), probe_at_once),
}


@method_decorator(sensitive_post_parameters(*SECRETS), "changeform_view")
class BotAdmin(admin.ModelAdmin[Bot]):
    form = BotForm
    list_display = ("name", "state", "comes_by", "request_url", "last_event")
    search_fields = ("name", "slug", "app_id")
    readonly_fields = ("secrets",)
    save_on_top = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Bot]:
        newest = Event.objects.filter(bot=OuterRef("pk")).order_by("-pk")
        return (
            super()
            .get_queryset(request)
            .annotate(
                last_event_at=Subquery(newest.values("received_at")[:1]),
                last_transport=Subquery(newest.values("transport")[:1]),
            )
        )

    def get_fieldsets(self, request: HttpRequest, obj: Bot | None = None) -> Any:
        writes = self.has_change_permission(request, obj) if obj else self.has_add_permission(request)
        secrets: tuple[str, ...] = SECRETS if writes else ("secrets",)
        if writes and obj and obj.encrypt_key:
            secrets = (*secrets, "remove_encrypt_key")
        return (
            (None, {"fields": ("name", "slug", "app_id", "domain", "app_type", "transport", "enabled")}),
            (_("Retention"), {"fields": RETENTION}),
            (
                _("When it goes deaf"),
                {
                    "fields": ("alarm_chat_id", "alarm_bot"),
                    "description": _(
                        "Every page of the console says so; a chat can be told as well. It is told, too, of"
                        " incidents for which nobody was called."
                    ),
                },
            ),
            (
                _("Secrets"),
                {
                    "fields": secrets,
                    "description": _("Stored encrypted. Once saved, they are never shown again."),
                },
            ),
        )

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Without pencil, plus and cross beside the other bot: a bot is not made, nor deleted, in passing."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if isinstance(field, ModelChoiceField) and isinstance(field.widget, RelatedFieldWidgetWrapper):
            field.widget = field.widget.widget
        return field

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        first = {} if Bot.objects.exists() else {"slug": "default"}
        return {**first, **super().get_changeform_initial_data(request)}

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.sending_view)
        return [path("<int:pk>/sending/", view, name="events_bot_sending"), *super().get_urls()]

    @method_decorator(require_POST)
    def sending_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """POST do=pause|resume|probe: whether a bot sends."""
        bot = get_object_or_404(Bot, pk=pk)
        if not self.has_change_permission(request, bot):
            raise PermissionDenied
        act = SENDING_ACTS.get(request.POST.get("do", ""))
        if act is None:
            messages.warning(request, gettext("Nothing was changed."))
        else:
            said, done = act
            done(bot)
            self.log_change(request, bot, str(said))
            messages.success(request, str(said))
        return HttpResponseRedirect(reverse("admin:events_bot_change", args=[pk]))

    def save_model(self, request: HttpRequest, obj: Bot, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        probe_at_once(obj)  # the secret may be the right one now

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        bot = kwargs.get("obj")
        context |= setup_guide(bot)
        if bot:
            refusals = bot.refusals.all()[:REFUSALS_SHOWN]
            context["refusals"] = [
                (row.refused_at, refusal_words(row.reason), row.remote_address) for row in refusals
            ]
            context["refusals_url"] = f"{reverse('admin:events_refusal_changelist')}?bot__id__exact={bot.pk}"
            context["has_events"] = bot.events.exists()
            context["transport_warning"] = transport_warning(bot)
            context |= {**page_of(bot, request.user), "may_pause": self.has_change_permission(request, bot)}
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=_("state"))
    def state(self, bot: Bot) -> SafeString:
        return state_pill(bot)

    @admin.display(description=_("events come by"))
    def comes_by(self, bot: Bot) -> str | SafeString:
        warning = transport_warning(bot)
        words = bot.get_transport_display()
        return format_html('{}<small class="under note">{}</small>', words, warning) if warning else words

    @admin.display(description=_("request URL"))
    def request_url(self, bot: Bot) -> SafeString:
        return format_html('<code class="url">{}</code>', bot.webhook_url)

    @admin.display(description=_("last event"))
    def last_event(self, bot: Bot) -> str | SafeString:
        return moment(getattr(bot, "last_event_at", None)) or gettext("none yet")

    @admin.display(description=_("secrets"))
    def secrets(self, bot: Bot) -> SafeString:
        fields = ((BotForm.base_fields[name].label, secret_state(getattr(bot, name))) for name in SECRETS)
        return format_html_join("", "<p>{}: {}</p>", fields)
