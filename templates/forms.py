"""The form of a welcome template: chats one a line, the card as text."""

from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .models import WelcomeTemplate


class ChatIdsField(forms.CharField):
    """A list of chat ids, typed one a line (or with commas between them)."""

    widget = forms.Textarea(attrs={"rows": 3, "spellcheck": "false", "class": "vLargeTextField code"})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        ids = (
            value
            if isinstance(value, list)
            else str(value or "").replace(",", " ").replace("，", " ").split()
        )
        return list(dict.fromkeys(ids))

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.to_python(initial) != self.to_python(data))

    def validate(self, value: Any) -> None:
        """The model knows what a chat id looks like."""

    def run_validators(self, value: Any) -> None:
        for chat_id in value:
            super().run_validators(chat_id)


class WelcomeTemplateForm(forms.ModelForm[WelcomeTemplate]):
    """Saved as a copy, a template is switched off: two that greet in the same chat are refused."""

    chat_ids = ChatIdsField(
        label=_("Chats"),
        required=False,
        help_text=_("One chat id (oc_...) a line. Empty: every chat without a template of its own."),
    )

    class Meta:
        model = WelcomeTemplate
        fields = ("name", "bot", "trigger", "chat_ids", "tenant_key", "enabled", "late_hours", "card")
        widgets = {
            "card": forms.Textarea(
                attrs={
                    "rows": 26,
                    "spellcheck": "false",
                    "autocapitalize": "off",
                    "autocomplete": "off",
                    "class": "vLargeTextField code",
                }
            ),
            "trigger": forms.Select(),
        }

    def clean_enabled(self) -> bool:
        return bool(self.cleaned_data["enabled"]) and not self.is_copy

    def clean_name(self) -> str:
        name = str(self.cleaned_data["name"])
        if self.is_copy and WelcomeTemplate.objects.filter(name=name).exists():
            suffix = gettext(" (copy)")
            return name[: 80 - len(suffix)] + suffix
        return name

    @property
    def is_copy(self) -> bool:
        return "_saveasnew" in self.data
