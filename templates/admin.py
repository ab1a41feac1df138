"""The editor of welcome templates: the card's JSON beside its picture, drawn by the server while one types."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.core.exceptions import PermissionDenied
from django.forms import ModelChoiceField
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from events.adminrows import moment, pill
from events.cards import MAX_BYTES
from events.models import Bot, Chat

from .forms import WelcomeTemplateForm
from .models import Trigger, WelcomeTemplate
from .preview import SITUATIONS, VARIABLE_WORDS, preview
from .starters import starter_card
from .variables import VARIABLES

CHATS_OFFERED = 30


@admin.register(WelcomeTemplate)
class WelcomeTemplateAdmin(admin.ModelAdmin[WelcomeTemplate]):
    form = WelcomeTemplateForm
    list_display = ("name", "for_bot", "trigger", "chats", "state", "changed")
    list_filter = ("enabled", "trigger", "bot")
    list_select_related = ("bot",)
    search_fields = ("name",)
    ordering = ("-updated_at",)
    show_facets = admin.ShowFacets.NEVER
    save_as = True
    save_as_continue = True
    fieldsets = (
        (None, {"fields": ("name", ("bot", "trigger"), "chat_ids", ("enabled", "late_hours"))}),
        (_("Card"), {"fields": ("card",), "classes": ("card-editor",)}),
    )

    def get_fieldsets(self, request: HttpRequest, obj: WelcomeTemplate | None = None) -> Any:
        """With the tenant only where a store app greets those of several."""
        (first, options), *rest = super().get_fieldsets(request, obj)
        if Bot.objects.filter(app_type=Bot.AppType.STORE).exists():
            options = {**options, "fields": (*options["fields"], "tenant_key")}
        return ((first, options), *rest)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.preview_view)
        return [path("preview/", view, name="templates_welcometemplate_preview"), *super().get_urls()]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        bots = list(Bot.objects.values_list("pk", flat=True)[:2])
        only_bot = {"bot": bots[0]} if len(bots) == 1 else {}
        asked: dict[str, Any] = super().get_changeform_initial_data(request)
        trigger = str(asked.get("trigger"))
        card = starter_card(Trigger(trigger) if trigger in Trigger.values else Trigger.MEMBER_JOINED)
        return {"card": card, **only_bot, **asked}

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Without the pencil and the plus beside the bot: a bot is not made in passing."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if isinstance(field, ModelChoiceField) and isinstance(field.widget, RelatedFieldWidgetWrapper):
            field.widget = field.widget.widget
        return field

    @method_decorator(require_POST)
    def preview_view(self, request: HttpRequest) -> HttpResponse:
        """POST card, trigger, bot, situation -> {"html", "problems": [{"path", "message"}], "size"}. Saves nothing."""
        if not (self.has_view_permission(request) or self.has_add_permission(request)):
            raise PermissionDenied
        bot_pk = request.POST.get("bot", "")
        bot = (
            Bot.objects.filter(pk=bot_pk).first()
            if bot_pk.isascii() and bot_pk.isdigit() and len(bot_pk) < 10
            else None
        )
        shown = preview(
            request.POST.get("card", ""),
            request.POST.get("trigger", ""),
            bot.name if bot else "",
            request.POST.get("situation", ""),
        )
        return JsonResponse(shown.as_json())

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        template = kwargs.get("obj")
        form = context["adminform"].form
        card, trigger = self.gettext(form, template, "card"), self.gettext(form, template, "trigger")
        shown = preview(card, trigger, template.bot.name if template else "")
        context |= {
            "preview_html": mark_safe(shown.html),  # drawn by events.cardview, which escapes  # noqa: S308
            "preview": shown,
            "preview_url": reverse("admin:templates_welcometemplate_preview"),
            "max_bytes": MAX_BYTES,
            "situations": SITUATIONS.items(),
            "variables": variable_groups(),
            "trigger_now": trigger or Trigger.MEMBER_JOINED,
            "known_chats": known_chats(request.user),
        }
        return super().render_change_form(request, context, *args, **kwargs)

    @staticmethod
    def gettext(form: Any, template: WelcomeTemplate | None, name: str) -> str:
        """What the field holds on this page; without a field (read only), what is stored."""
        value = form[name].value() if name in form.fields else getattr(template, name, "")
        return str(value or "")

    @admin.display(description=_("bot"), ordering="bot")
    def for_bot(self, template: WelcomeTemplate) -> str:
        return template.bot.name

    @admin.display(description=_("chats"))
    def chats(self, template: WelcomeTemplate) -> str | SafeString:
        count = len(template.chat_ids)
        if not count:
            return gettext("all")
        words = ngettext("%(count)d chat", "%(count)d chats", count) % {"count": count}
        return format_html('<span title="{}">{}</span>', "\n".join(map(str, template.chat_ids)), words)

    @admin.display(description=_("state"), ordering="enabled")
    def state(self, template: WelcomeTemplate) -> SafeString:
        return pill("sent", gettext("on")) if template.enabled else pill("ignored", gettext("off"))

    @admin.display(description=_("changed at"), ordering="updated_at")
    def changed(self, template: WelcomeTemplate) -> SafeString:
        return moment(template.updated_at)


def variable_groups() -> list[tuple[str, str, list[tuple[str, str]]]]:
    """For each trigger: its value, its words, and its placeholders with what they stand for."""
    return [
        (
            trigger.value,
            str(trigger.label),
            [
                (f"{{{{ {name} }}}}", str(words))
                for name, words in VARIABLE_WORDS.items()
                if name in VARIABLES[trigger]
            ],
        )
        for trigger in Trigger
    ]


def known_chats(user: Any) -> list[tuple[str, str]]:
    """The chats that a bot met last, with their names, for those who write a list of chats."""
    return list(Chat.objects.readable_by(user).newest_names(CHATS_OFFERED).items())
