"""The list's filter by age."""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .models import Incident


class AgeFilter(admin.SimpleListFilter):
    """When it was opened; asks the database nothing."""

    title = _("age")
    parameter_name = "age"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("hour", gettext("Opened within an hour")),
            ("day", gettext("Opened within a day")),
            ("week", gettext("Opened within a week")),
            ("older", gettext("Older than a week")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Incident]) -> QuerySet[Incident]:
        now = timezone.now()
        choices = {
            "hour": Q(opened_at__gte=now - timedelta(hours=1)),
            "day": Q(opened_at__gte=now - timedelta(days=1)),
            "week": Q(opened_at__gte=now - timedelta(days=7)),
            "older": Q(opened_at__lt=now - timedelta(days=7)),
        }
        return queryset.filter(choices.get(self.value() or "", Q()))
