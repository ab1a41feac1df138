"""The buttons of an incident's page: a small form for each verb of the model, and what is said when it is done."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from events.envelope import ID_LENGTH

from .cards import MUTE_MINUTES
from .forms import LINES, OpenIdField, PeopleField
from .models import Actor, Incident, Severity, StepError
from .phrases import duration

Text = str | Promise

UNRESOLVED: Sequence[str] = Incident.UNRESOLVED
LONGEST_TEXT = 2000


def long_text(label: Text, help_text: Text = "") -> forms.CharField:
    widget = forms.Textarea(attrs={"rows": 3, "class": "vLargeTextField"})
    return forms.CharField(label=label, max_length=LONGEST_TEXT, widget=widget, help_text=help_text)  # type: ignore[arg-type]


class VerbForm(forms.Form):
    """`words` stand on the button, `submit` on the second step's; `when` are the states that allow it."""

    words: ClassVar[Text]
    submit: ClassVar[Text]
    done: ClassVar[Text]
    when: ClassVar[Sequence[str]] = UNRESOLVED
    leading: ClassVar[Sequence[str]] = ()  # the states in which it is what one most likely wants

    def __init__(self, data: Any = None, *, incident: Incident) -> None:
        self.incident = incident
        super().__init__(data, prefix=None, auto_id=f"id_{type(self).__name__.lower()}_%s")

    @property
    def leads(self) -> bool:
        return self.incident.status in self.leading

    def do(self, by: Actor) -> None:
        raise NotImplementedError


class Acknowledge(VerbForm):
    words = submit = _("Acknowledge")
    done = _("It is yours. Good luck!")
    when = leading = (Incident.Status.OPEN,)

    def do(self, by: Actor) -> None:
        self.incident.acknowledge(by)


class Resolve(VerbForm):
    words = _("Resolve…")
    submit = _("Resolve")
    done = _("Resolved.")
    leading = (Incident.Status.ACKNOWLEDGED,)

    note = long_text(_("What was done"), _("Everyone in the chat is told that it is over."))

    def do(self, by: Actor) -> None:
        self.incident.resolve(by, self.cleaned_data["note"])


class FalseAlarm(VerbForm):
    words = _("False alarm…")
    submit = _("Resolve as a false alarm")
    done = _("Resolved as a false alarm.")

    note = long_text(_("Why it is a false alarm"))

    def do(self, by: Actor) -> None:
        self.incident.resolve(by, self.cleaned_data["note"], false_alarm=True)


class Reopen(VerbForm):
    words = _("Reopen…")
    submit = _("Reopen")
    done = _("Open again.")
    when = leading = (Incident.Status.RESOLVED,)

    reason = long_text(_("Why it is not over"), _("Everyone in the chat is told."))

    def do(self, by: Actor) -> None:
        self.incident.reopen(by, self.cleaned_data["reason"])


class Note(VerbForm):
    words = _("Note…")
    submit = _("Add to the timeline")
    done = _("Noted.")
    when = tuple(Incident.Status.values)

    text = long_text(_("What you see, what you did"))

    def do(self, by: Actor) -> None:
        self.incident.note(by, self.cleaned_data["text"])


class AddResponders(VerbForm):
    words = _("Add people…")
    submit = _("Add to the chat")
    done = _("They are being added.")

    responders = PeopleField(
        label=_("Responders"),
        widget=forms.Textarea(attrs=LINES),
        help_text=_("One a line: open_id (ou_...), e-mail address or mobile number."),
    )

    def do(self, by: Actor) -> None:
        self.incident.add_responders(by, self.cleaned_data["responders"])


class ChangeSeverity(VerbForm):
    words = _("Severity…")
    submit = _("Change the severity")
    done = _("The severity is changed.")

    severity = forms.ChoiceField(label=_("Severity"), choices=Severity.choices)
    # As the page showed it: whoever has changed it since was first.
    was = forms.ChoiceField(required=False, choices=Severity.choices, widget=forms.HiddenInput)

    def __init__(self, data: Any = None, *, incident: Incident) -> None:
        super().__init__(data, incident=incident)
        self.initial = {"severity": incident.severity, "was": incident.severity}

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        values["was"] = values.get("was") or self.incident.severity
        if values.get("severity") == values["was"] == self.incident.severity:
            self.add_error("severity", _("That is its severity already."))
        return values

    def do(self, by: Actor) -> None:
        severity, was = self.cleaned_data["severity"], self.cleaned_data["was"]
        if severity == was:  # chosen on a page on which it was still that
            raise StepError(self.incident, "severity")
        self.incident.severity = was
        self.incident.change_severity(by, severity)


class AssignLead(VerbForm):
    words = _("Lead…")
    submit = _("Name the lead")
    done = _("The lead is named.")

    open_id = OpenIdField(
        label=_("Lead"), help_text=_("An open_id (ou_...). Whoever is not in the chat yet is added.")
    )
    was = forms.CharField(required=False, max_length=ID_LENGTH, widget=forms.HiddenInput)

    def __init__(self, data: Any = None, *, incident: Incident) -> None:
        super().__init__(data, incident=incident)
        self.initial = {"was": incident.lead_open_id}

    def do(self, by: Actor) -> None:
        if "was" in self.data:
            self.incident.lead_open_id = self.cleaned_data["was"]
        self.incident.assign_lead(by, self.cleaned_data["open_id"])


class Mute(VerbForm):
    words = _("Mute…")
    submit = _("Mute")
    done = _("Muted: no reminders, no repeated alerts.")

    minutes = forms.TypedChoiceField(
        label=_("For how long"),
        coerce=int,
        choices=lambda: [(one, duration(timedelta(minutes=one))) for one in MUTE_MINUTES],
    )

    def do(self, by: Actor) -> None:
        self.incident.mute(by, timedelta(minutes=self.cleaned_data["minutes"]))


# In the order of the buttons; the name is the last part of the address.
VERBS: Mapping[str, type[VerbForm]] = {
    "acknowledge": Acknowledge,
    "resolve": Resolve,
    "note": Note,
    "responders": AddResponders,
    "severity": ChangeSeverity,
    "lead": AssignLead,
    "mute": Mute,
    "false-alarm": FalseAlarm,
    "reopen": Reopen,
}
