"""The operator's page of the reminders: one row for each severity, changed and never added."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from .models import ReminderRule


@admin.register(ReminderRule)
class ReminderRuleAdmin(admin.ModelAdmin[ReminderRule]):
    list_display = (
        "severity",
        "enabled",
        "remind_after_minutes",
        "escalate_after_minutes",
        "repeat_every_minutes",
        "at_most",
        "ask_for_update_after_minutes",
    )
    exclude = ("severity",)
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[ReminderRule]:
        ReminderRule.objects.by_severity()  # the rules exist from the first look at them on
        return super().get_queryset(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ReminderRule | None = None) -> bool:
        return False
