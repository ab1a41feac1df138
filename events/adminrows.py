"""What the operator's pages of events and of the outbox share: read-only rows, times, states, searching."""

import json
from datetime import datetime
from typing import Any, TypeVar

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext

from .naming import names_of_chats

Row = TypeVar("Row", bound=Model)

ROWS_COUNTED = 10_000  # counting millions of rows for a page number would take longer than the page
ROWS_SEARCHED = 20_000  # texts inside the JSON have no index: only the newest rows are looked through
RUN_AT_ONCE = 50  # more rows than these are left to the worker, and to nobody's history


def moment(at: datetime | None) -> SafeString:
    """A time in few characters, whole in the tooltip; nothing for None."""
    if at is None:
        return mark_safe("")
    local = timezone.localtime(at)
    short = "%m-%d %H:%M:%S" if local.year == timezone.localtime().year else "%Y-%m-%d %H:%M"
    full = local.strftime("%Y-%m-%d %H:%M:%S %Z")
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', at.isoformat(), full, local.strftime(short)
    )


def pill(kind: str, text: str) -> SafeString:
    """A state as a coloured word; the colour never stands alone."""
    return format_html('<span class="pill pill--{}">{}</span>', kind, text)


def two_lines(first: str, second: str) -> SafeString:
    """What an operator reads, and small below it what a machine calls it."""
    return (
        format_html('{}<small class="under">{}</small>', first, second)
        if second
        else format_html("{}", first)
    )


class CappedPaginator(Paginator[Any]):
    """Counts no further than ROWS_COUNTED."""

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        return rows[:ROWS_COUNTED].count() if isinstance(rows, QuerySet) else len(rows)


class NamedChatsList(ChangeList):
    """A page of rows that know the names of their chats: one query for all of them."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows: list[Any] = list(self.result_list)
        chats = {getattr(row, self.model_admin.chat_field) for row in rows} - {""}  # type: ignore[attr-defined]
        names = names_of_chats(chats) if chats else {}
        for row in rows:
            row.known_chat = names.get(getattr(row, self.model_admin.chat_field), "")  # type: ignore[attr-defined]
        self.result_list = rows


class ReadOnlyAdmin(admin.ModelAdmin[Row]):
    """Rows that the program writes: nobody adds, edits or deletes them, some may operate them."""

    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = CappedPaginator
    empty_value_display = ""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return super().has_change_permission(request)

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Row], *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        """As Django's, which answers 500 to a key that is no number."""
        keys = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if not all(key.isascii() and key.isdigit() and len(key) < 19 for key in keys):
            messages.warning(request, gettext("This selection is not understood."))
            return None
        return super().response_action(request, queryset, *args, **kwargs)

    def operated(self, request: HttpRequest, rows: QuerySet[Row], what: str) -> None:
        """Says in the history of each row who did it."""
        LogEntry.objects.log_actions(request.user.pk or 0, rows, CHANGE, change_message=what)


def newest_containing(rows: QuerySet[Row], field: str, term: str) -> Q:
    """Rows among the newest whose JSON holds the text; SQLite stores Chinese as escapes."""
    newest = rows.model._default_manager.order_by("-pk").values_list("pk", flat=True).first() or 0
    escaped = json.dumps(term)[1:-1]
    held = Q(**{f"{field}__contains": term}) | Q(**{f"{field}__contains": escaped})
    return Q(pk__gt=newest - ROWS_SEARCHED) & held
