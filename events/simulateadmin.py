"""The page on which an operator makes up an event: filled in, looked at with all it would cause, then sent for real."""

import json
import re
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import ADDITION, LogEntry
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods

from . import simulate
from .envelope import ID_LENGTH, Envelope, RefusedError
from .jsontree import pretty
from .models import Bot, Event
from .naming import naming
from .replaywords import call_lines
from .words import outcome_words, refusal_words

IDENTIFIER = re.compile(r"[A-Za-z0-9_-]+")
MOST_PEOPLE = 50
LONGEST_JSON = 20_000


WIDE = {"class": "vTextField"}


class SimulateForm(forms.Form):
    bot = forms.ModelChoiceField(label=_("Bot"), queryset=Bot.objects.all(), empty_label=None)
    type = forms.ChoiceField(label=_("Type"), choices=lambda: list(simulate.types().items()))
    chat_id = forms.RegexField(
        label=_("Chat"),
        regex=f"^{IDENTIFIER.pattern}$",
        max_length=ID_LENGTH,
        widget=forms.TextInput(attrs=WIDE),
        help_text=_("A chat id (oc_...). What the bot sends because of the event goes there."),
        error_messages={"invalid": _("A chat id has letters, digits, - and _ only.")},
    )
    chat_name = forms.CharField(label=_("The chat's name"), max_length=100, required=False)
    is_conversation = forms.BooleanField(
        label=_("A conversation with the bot, no group"), required=False, help_text=_("For messages.")
    )
    people = forms.CharField(
        label=_("People"),
        required=False,
        max_length=5000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("One a line: an open_id, a space, the name. Who acts comes first."),
    )
    text = forms.CharField(
        label=_("Text"),
        required=False,
        max_length=2000,
        widget=forms.TextInput(attrs=WIDE),
        help_text=_("Of the message; or the chat's new name, the emoji, the menu's event key."),
    )
    message_id = forms.RegexField(
        label=_("Message"),
        regex=f"^{IDENTIFIER.pattern}$",
        max_length=ID_LENGTH,
        widget=forms.TextInput(attrs=WIDE),
        required=False,
        help_text=_("A message id (om_...), for what happens to a message or a card."),
        error_messages={"invalid": _("A message id has letters, digits, - and _ only.")},
    )
    more = forms.CharField(
        label=_("More of the payload"),
        required=False,
        max_length=LONGEST_JSON,
        widget=forms.Textarea(attrs={"rows": 4, "class": "code"}),
        help_text=_("A JSON object that is laid over the event, for what this form does not ask."),
    )

    def clean_people(self) -> tuple[simulate.Person, ...]:
        people = []
        for line in self.cleaned_data["people"].splitlines():
            if not line.strip():
                continue
            open_id, _space, name = line.strip().partition(" ")
            if not IDENTIFIER.fullmatch(open_id) or len(open_id) > ID_LENGTH:
                raise forms.ValidationError(
                    _("“%(line)s” does not begin with an open_id."), params={"line": line[:60]}
                )
            people.append((open_id, name.strip()[:100]))
        if len(people) > MOST_PEOPLE:
            raise forms.ValidationError(_("At most %(count)d people."), params={"count": MOST_PEOPLE})
        return tuple(people)

    def clean_more(self) -> dict[str, Any]:
        text = self.cleaned_data["more"].strip()
        try:
            more = json.loads(text) if text else {}
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError(
                _("This is not JSON: %(why)s"), params={"why": str(error)[:100]}
            ) from error
        if not isinstance(more, dict):
            raise forms.ValidationError(_("This is not a JSON object: write {...}."))
        return more

    def clean(self) -> dict[str, Any]:
        told = self.cleaned_data
        for name in simulate.NEEDS.get(told.get("type", ""), ()):
            if name not in self.errors and not told.get(name):
                self.add_error(name, _("This type of event needs it."))
        return told

    def envelope(self, by: str) -> Envelope:
        """Raises RefusedError."""
        told = dict(self.cleaned_data)
        bot, event_type = told.pop("bot"), told.pop("type")
        return simulate.envelope(bot, event_type, simulate.Told(**told), by)


@require_http_methods(["GET", "HEAD", "POST"])
def simulate_view(request: HttpRequest) -> HttpResponse:
    """GET: the form; POST: what it would cause; POST with `confirmed`: for real."""
    if not request.user.has_perm("events.simulate_event"):
        raise PermissionDenied
    form = SimulateForm(request.POST or None, initial={"type": "im.chat.member.user.added_v1"})
    context: dict[str, Any] = {**admin.site.each_context(request), "title": gettext("Simulate an event")}
    if request.method == "POST" and form.is_valid():
        bot = form.cleaned_data["bot"]
        try:
            made_up = form.envelope(request.user.get_username())
            prospect = simulate.look_ahead(bot, made_up, request.user)
        except RefusedError as error:
            form.add_error(None, refusal_words(str(error)))
        except simulate.HiddenError:
            form.add_error("chat_id", _("You may not see what happens in this chat."))
        else:
            if "confirmed" in request.POST:
                return _send(request, bot, made_up)
            context |= _shown(prospect, made_up)
    return TemplateResponse(request, "admin/events/replay/simulate.html", {**context, "form": form})


def _send(request: HttpRequest, bot: Bot, made_up: Envelope) -> HttpResponse:
    event = simulate.send(bot, made_up)
    LogEntry.objects.log_actions(
        request.user.pk or 0, Event.objects.filter(pk=event.pk), ADDITION, change_message="Simulated."
    )
    messages.success(request, gettext("The simulated event was handled like a real one. This is its page."))
    return HttpResponseRedirect(reverse("admin:events_event_change", args=[event.pk]))


def _shown(prospect: simulate.Prospect, made_up: Envelope) -> dict[str, Any]:
    return {
        "prospect": prospect,
        "outcome": outcome_words(prospect.outcome),
        "calls": call_lines(prospect.event, prospect.calls, naming([prospect.event], wanted=False)),
        "body": pretty(made_up.body),
    }
