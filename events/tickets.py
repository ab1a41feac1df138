"""Store apps: keeps the app_ticket that Feishu pushes, without which they get no token (events.tokens)."""

from .dispatch import Reaction, handled, ignored
from .envelope import text_at
from .models import AppTicket, Bot, Event
from .sealed import Secret


def keep_ticket(event: Event) -> Reaction:
    """app_ticket (v1.0), hourly; the door has sealed it (events.envelope)."""
    if event.bot.app_type != Bot.AppType.STORE:
        return ignored("only a store app has an app ticket")
    ticket = Secret(text_at(event.payload, "app_ticket"))
    if not ticket or event.is_simulated:
        return ignored("there is no app ticket in it")
    if not AppTicket.objects.keep(event.bot, ticket, event.created_at):
        return ignored("a newer app ticket is known")
    return handled("app ticket kept")
