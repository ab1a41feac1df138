"""The operator's pages of this app: incidents and services."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from events.adminrows import pill

from .forms import ServiceForm
from .incidentadmin import IncidentAdmin
from .models import Incident, Service
from .names import known_people, name_of
from .ruleadmin import ReminderRuleAdmin as ReminderRuleAdmin

admin.site.register(Incident, IncidentAdmin)


class ServiceList(ChangeList):
    """A page of services that know people's names: one query for all of them."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        people = known_people()
        self.result_list = list(self.result_list)
        for service in self.result_list:
            service.people = people


@admin.register(Service)
class ServiceAdmin(admin.ModelAdmin[Service]):
    form = ServiceForm
    list_display = ("name", "severity_now", "first", "second", "members", "default")
    list_select_related = ("default_for",)
    search_fields = ("name", "first_on_call", "second_on_call")
    show_facets = admin.ShowFacets.NEVER
    fields = ServiceForm.Meta.fields
    empty_value_display = ""

    @admin.display(description=_("default severity"), ordering="severity")
    def severity_now(self, service: Service) -> SafeString:
        return pill(service.severity.lower(), service.severity)

    @admin.display(description=_("first on call"))
    def first(self, service: Any) -> str:
        return name_of(service.first_on_call, "", service.people)

    @admin.display(description=_("second on call"))
    def second(self, service: Any) -> str:
        return name_of(service.second_on_call, "", service.people)

    @admin.display(description=_("further members"))
    def members(self, service: Service) -> int:
        return len(service.member_ids)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Without the pencil and the plus: a bot is not made in passing."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and hasattr(field.widget, "widget"):
            field.widget = field.widget.widget
        return field

    @admin.display(description=_("default for"), ordering="default_for__name")
    def default(self, service: Service) -> str:
        return str(service.default_for or "")

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        without = Service.objects.bots_without_default()
        return super().changelist_view(request, {"bots_without_default": without, **(extra_context or {})})

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ServiceList

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context["known_people"] = known_people().items()
        return super().render_change_form(request, context, *args, **kwargs)
