"""The fleet page: every listener, grouped by bot, with what is wrong about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from .adminrows import ReadOnlyAdmin, pill
from .models import MOST_CONNECTIONS, Bot, Connection

PILLS = {
    Connection.State.LIVE: "sent",
    Connection.State.SILENT: "failed",
    Connection.State.CONNECTING: "failed",
    Connection.State.GONE: "ignored",
}


@dataclass(frozen=True)
class Listener:
    """One line of the fleet."""

    row: Connection
    state: SafeString
    routes: Sequence[str]  # only those that another listener of the same bot does not offer alike


@dataclass(frozen=True)
class Fleet:
    """The listeners of one bot."""

    bot: Bot
    listeners: Sequence[Listener]
    live: int
    warnings: Sequence[str]

    most = MOST_CONNECTIONS


def fleets(now: datetime) -> list[Fleet]:
    """Of every bot that uses the long connection, or for which someone listens; two queries."""
    rows: dict[int, list[Connection]] = {}
    for row in Connection.objects.order_by("host", "pid"):
        rows.setdefault(row.bot_id, []).append(row)
    return [
        fleet(bot, rows.get(bot.pk, []), now)
        for bot in Bot.objects.order_by("name")
        if bot.pk in rows or bot.transport == Bot.Transport.LONG_CONNECTION
    ]


def fleet(bot: Bot, rows: Sequence[Connection], now: datetime) -> Fleet:
    present = [row for row in rows if row.state(now) != Connection.State.GONE]
    offered = [set(row.routes) for row in present]
    common = set.intersection(*offered) if offered else set()
    listeners = [
        Listener(
            row,
            pill(PILLS[row.state(now)], str(row.state(now).label)),
            sorted(set(row.routes) - common) if row in present else [],
        )
        for row in rows
    ]
    live = sum(row.state(now) == Connection.State.LIVE for row in rows)
    return Fleet(bot, listeners, live, list(_warnings(bot, present, live, common)))


def _warnings(bot: Bot, present: Sequence[Connection], live: int, common: set[str]) -> Any:
    if not live and bot.enabled and bot.transport == Bot.Transport.LONG_CONNECTION:
        yield gettext("Nobody is listening: this bot hears nothing. Start: manage.py listen")
    if present and bot.transport != Bot.Transport.LONG_CONNECTION:
        yield gettext("Someone listens, but the bot's events come by webhook, says its page.")
    if len(present) >= MOST_CONNECTIONS:
        yield gettext("Feishu allows no more connections: the next listener will be refused.")
    if any(set(row.routes) != common for row in present):
        yield gettext(
            "These listeners react to different events, and Feishu sends each event to any one of them:"
            " bring them to the same version."
        )
    elif len({row.version for row in present}) > 1:
        yield gettext("These listeners run different versions.")


@admin.register(Connection)
class ConnectionAdmin(ReadOnlyAdmin[Connection]):
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The fleet instead of Django's list."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Listeners"),
            "opts": self.opts,
            "fleets": fleets(timezone.now()),
            "may_see_bots": request.user.has_perm("events.view_bot"),
        }
        return TemplateResponse(request, "admin/events/connection/fleet.html", context)
