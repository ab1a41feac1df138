"""The pages of API keys: made here and shown once, revoked here, never edited and never deleted."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from events.adminrows import moment, pill

from .models import SCOPES, ApiKey


class ApiKeyForm(forms.ModelForm[ApiKey]):
    scopes = forms.MultipleChoiceField(
        label=_("scopes"),
        choices=lambda: [(scope, f"{words} ({scope})") for scope, words in SCOPES.items()],
        widget=forms.CheckboxSelectMultiple,
    )

    class Meta:
        model = ApiKey
        fields = ("name", "scopes")


class ApiKeyAdmin(admin.ModelAdmin[ApiKey]):
    list_display = ("name", "beginning", "allowed", "state", "made", "used")
    search_fields = ("name", "prefix")
    actions = ("revoke",)
    readonly_fields = ("name", "beginning", "allowed", "state", "made", "used")

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        return self.readonly_fields if obj else ("name", "scopes")

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        return self.readonly_fields if obj else ()

    def get_form(
        self, request: HttpRequest, obj: ApiKey | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form: Any = forms.ModelForm if change else ApiKeyForm
        return super().get_form(request, obj, change, form=form, **kwargs)

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if not change:
            request.new_api_key = obj.make_secret()  # type: ignore[attr-defined]
            super().save_model(request, obj, form, change)

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        """The key itself, in the answer to the form: no redirect may carry it, no cookie and no session."""
        context = {**self.admin_site.each_context(request), "title": obj.name, "opts": self.opts}
        context["text"] = request.new_api_key  # type: ignore[attr-defined]
        return TemplateResponse(request, "admin/botconsole/apikey/made.html", context)

    @admin.action(description=_("Revoke"), permissions=["change"])
    def revoke(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> None:
        for key in keys.filter(revoked=False):
            key.revoke()
            self.log_change(request, key, [{"changed": {"fields": ["revoked"]}}])
        self.message_user(request, gettext("Revoked: whoever uses these keys is refused from now on."))

    @admin.display(description=pgettext_lazy("API key", "key"))
    def beginning(self, key: ApiKey) -> str:
        return f"bc_{key.prefix}_…"

    @admin.display(description=_("scopes"))
    def allowed(self, key: ApiKey) -> str:
        return ", ".join(key.scopes)

    @admin.display(description=_("state"), ordering="revoked")
    def state(self, key: ApiKey) -> SafeString:
        return pill("failed", gettext("revoked")) if key.revoked else pill("sent", gettext("in use"))

    @admin.display(description=_("created at"), ordering="created_at")
    def made(self, key: ApiKey) -> SafeString:
        return moment(key.created_at)

    @admin.display(description=_("last used at"), ordering="last_used_at")
    def used(self, key: ApiKey) -> SafeString:
        return moment(key.last_used_at)
