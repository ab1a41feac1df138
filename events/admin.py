"""The operator's pages of this app: event log, outbox, refused requests. All read-only.

What an operator may do here are two verbs, "run again" and "retry": POST only, for who may change the rows.
The pages of a bot stand in botadmin; the console registers them, with what stands above `events`.
"""

from django.contrib import admin
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from . import connectionadmin  # noqa: F401 - registers the fleet page
from .adminrows import ReadOnlyAdmin, moment
from .doctoradmin import CheckupAdmin
from .eventadmin import EventAdmin
from .models import Checkup, Event, OutboxItem, Refusal, Replay
from .outboxadmin import OutboxAdmin
from .replayadmin import ReplayAdmin
from .words import refusal_words

admin.site.register(Event, EventAdmin)
admin.site.register(OutboxItem, OutboxAdmin)
admin.site.register(Replay, ReplayAdmin)
admin.site.register(Checkup, CheckupAdmin)


@admin.register(Refusal)
class RefusalAdmin(ReadOnlyAdmin[Refusal]):
    list_display = ("at", "bot", "why", "remote_address")
    list_display_links = None
    list_filter = ("bot",)
    list_select_related = ("bot",)

    @admin.display(description=_("refused at"), ordering="pk")
    def at(self, refusal: Refusal) -> SafeString:
        return moment(refusal.refused_at)

    @admin.display(description=_("reason"))
    def why(self, refusal: Refusal) -> str:
        return refusal_words(refusal.reason)
