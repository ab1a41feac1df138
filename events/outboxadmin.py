"""The operator's pages of the outbox: what was to be sent, how it went, and "retry" for what failed."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language, gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from . import clock
from .adminrows import RUN_AT_ONCE, NamedChatsList, ReadOnlyAdmin, moment, newest_containing, pill, two_lines
from .cardview import draw
from .codes import explain
from .jsontree import tree
from .models import Attempt, OutboxItem
from .naming import names_of_chats, naming
from .sentences import headline
from .words import CALLS, call_words, people_in, short_id


class CallFilter(admin.SimpleListFilter):
    """The known calls in words; asks the database nothing."""

    title = _("call")
    parameter_name = "call"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(call, str(words)) for call, words in CALLS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[OutboxItem]) -> QuerySet[OutboxItem]:
        return queryset.filter(call=self.value()) if self.value() else queryset


class OutboxAdmin(ReadOnlyAdmin[OutboxItem]):
    list_display = ("created", "what", "to", "state", "tries", "next_try", "problem")
    list_display_links = ("created", "what")
    list_filter = ("status", "bot", CallFilter, "created_at")
    list_select_related = ("bot",)
    search_fields = ("key",)
    search_help_text = _("Key, chat id, open_id or message id.")
    actions = ("retry",)
    chat_field = "target"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return NamedChatsList

    def get_queryset(self, request: HttpRequest) -> QuerySet[OutboxItem]:
        return super().get_queryset(request).readable_by(request.user)  # type: ignore[attr-defined,no-any-return]

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.retry_view)
        return [path("<int:pk>/retry/", view, name="events_outboxitem_retry"), *super().get_urls()]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[OutboxItem], search_term: str
    ) -> tuple[QuerySet[OutboxItem], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        if queryset.filter(key=term).exists():
            return queryset.filter(key=term), False
        text = queryset.annotate(result_text=Cast("result", TextField()))
        recent = newest_containing(queryset, "result_text", term) | newest_containing(
            queryset, "target", term
        )
        return text.filter(recent | newest_containing(queryset, "key", term)), False

    @admin.display(description=_("created at"), ordering="pk")
    def created(self, item: OutboxItem) -> SafeString:
        return moment(item.created_at)

    @admin.display(description=_("call"))
    def what(self, item: OutboxItem) -> SafeString:
        return two_lines(call_words(item.call, item.arguments), item.bot.name)

    @admin.display(description=_("target"))
    def to(self, item: OutboxItem) -> SafeString:
        name = getattr(item, "known_chat", "")
        return two_lines(name, short_id(item.target)) if name else format_html("{}", short_id(item.target))

    @admin.display(description=_("status"))
    def state(self, item: OutboxItem) -> SafeString:
        return format_html("{} {}", pill(item.status, item.get_status_display()), replay_mark(item))

    @admin.display(description=_("tries"))
    def tries(self, item: OutboxItem) -> int:
        return item.attempt_count

    @admin.display(description=_("next attempt"))
    def next_try(self, item: OutboxItem) -> SafeString:
        if item.status != OutboxItem.Status.PENDING:
            return moment(None)
        return format_html(
            '<span class="narrow">{} </span>{}', _("next attempt"), moment(item.next_attempt_at)
        )

    @admin.display(description=_("error"))
    def problem(self, item: OutboxItem) -> SafeString:
        code = "" if item.error_code is None else str(item.error_code)
        return two_lines(error_words(item), code)

    @admin.action(description=_("Retry now (failed items)"), permissions=["operate"])
    def retry(self, request: HttpRequest, queryset: QuerySet[OutboxItem]) -> None:
        failed = list(
            queryset.filter(status=OutboxItem.Status.FAILED).values_list("pk", flat=True)[:RUN_AT_ONCE]
        )
        count = queryset.retry(clock.now())  # type: ignore[attr-defined]
        self.operated(request, OutboxItem.objects.filter(pk__in=failed), "Retried.")
        text = ngettext("%(count)d item is queued again.", "%(count)d items are queued again.", count)
        messages.add_message(
            request, messages.SUCCESS if count else messages.WARNING, text % {"count": count}
        )

    @method_decorator(require_POST)
    def retry_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """POST: queues one failed item again."""
        if not self.has_operate_permission(request):
            raise PermissionDenied
        item = get_object_or_404(self.get_queryset(request), pk=pk)
        if OutboxItem.objects.filter(pk=item.pk).retry(clock.now()):
            self.operated(request, OutboxItem.objects.filter(pk=item.pk), "Retried.")
            messages.success(request, gettext("Queued again: the worker sends it in a moment."))
        else:
            messages.warning(request, gettext("Only failed items can be retried."))
        return HttpResponseRedirect(reverse("admin:events_outboxitem_change", args=[pk]))

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        item: OutboxItem = kwargs["obj"]
        names = names_of_chats([item.target])
        failed = item.status == OutboxItem.Status.FAILED
        context |= {
            "title": call_words(item.call, item.arguments),
            "subtitle": None,
            "item": item,
            "mark": pill(item.status, item.get_status_display()),
            "replay_mark": replay_mark(item),
            "chat_name": names.get(item.target, ""),
            "picture": picture(item),
            "tree": tree(item.arguments),
            "attempts": [(attempt, attempt_words(attempt)) for attempt in item.attempts.all()],
            "problem": error_words(item),
            "advice": explain(item.error_code).advice if failed else "",
            "cause_words": headline(item.cause, naming([item.cause])) if item.cause else "",
            "subject_url": admin_url(item.subject),
            "can_retry": failed and self.has_operate_permission(request),
        }
        return super().render_change_form(request, context, *args, **kwargs)


def error_words(item: OutboxItem) -> str:
    """What the last error means; nothing for an item without one."""
    if item.error_code is None and not item.error:
        return ""
    return str(explain(item.error_code).meaning)


def attempt_words(attempt: Attempt) -> str:
    if attempt.outcome == Attempt.Outcome.SENT:
        return ""
    return str(explain(attempt.code).meaning)


def outbox_line(item: OutboxItem, chat: str = "") -> dict[str, Any]:
    """One outbox item in a list of few; `chat` is its target's name."""
    return {
        "url": reverse("admin:events_outboxitem_change", args=[item.pk]),
        "words": call_words(item.call, item.arguments),
        "mark": format_html("{} {}", pill(item.status, item.get_status_display()), replay_mark(item)),
        "at": moment(item.sent_at or item.created_at),
        "problem": error_words(item),
        "target": chat or short_id(item.target),
    }


def card_language() -> str:
    """The language in which the drawing itself speaks."""
    return "zh_cn" if (get_language() or "zh").startswith("zh") else "en_us"


def picture(item: OutboxItem) -> SafeString | str:
    """The message as people see it: a card drawn, a text as it is; nothing where the call sends none."""
    try:
        content = item.content
    except ValueError:
        return ""
    if not isinstance(content, dict):
        return ""
    if isinstance(content.get("text"), str):
        return str(content["text"])
    people = people_in(item.cause) if item.cause else {}
    return mark_safe(draw(content, people=people, locale=card_language()))  # draw escapes  # noqa: S308


def replay_mark(item: OutboxItem) -> SafeString | str:
    """On an outbox item's page: that a replay made it, and whether it was made before."""
    if item.replay_id is None:
        return ""
    words = _("sent again by replay #%d") if item.is_sent_again else _("queued by replay #%d")
    url = reverse("admin:events_replay_change", args=[item.replay_id])
    return format_html('<a href="{}">{}</a>', url, pill("again", str(words) % item.replay_id))


def admin_url(row: Any) -> str:
    """The page of a row, where the console has one."""
    if row is None:
        return ""
    try:
        return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
    except NoReverseMatch:
        return ""
