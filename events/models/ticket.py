"""The app_ticket of each store app: sealed, the newest only."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.db import models

from ..sealed import SealedField, Secret, UnsealError
from .bot import Bot
from .rows import insert_once


class AppTicketManager(models.Manager["AppTicket"]):
    def keep(self, bot: Bot, ticket: Secret, issued_at: datetime) -> bool:
        """Keeps the ticket unless a newer one is there; whether it did."""
        row = AppTicket(bot=bot, issued_at=issued_at)
        row.ticket = ticket
        if insert_once(row):
            return True
        return bool(self.filter(bot=bot, issued_at__lte=issued_at).update(ticket=ticket, issued_at=issued_at))

    def reseal(self) -> None:
        """Seals every ticket with the first key; one that no key opens is dropped: Feishu pushes another."""
        for row in self.select_for_update():
            try:
                row.ticket = row.ticket.resealed()
                row.save(update_fields=["ticket"])
            except UnsealError:
                row.delete()

    def of(self, bot: Bot) -> Secret | None:
        """The ticket, empty while there is none; None for a custom app, which needs none (and no query)."""
        if bot.app_type != Bot.AppType.STORE:
            return None
        ticket = self.filter(bot=bot).values_list("ticket", flat=True).first()
        return ticket if isinstance(ticket, Secret) else Secret("")


class AppTicket(models.Model):
    """What Feishu pushes to a store app every hour: without it, the app gets no token."""

    bot = models.OneToOneField(Bot, models.CASCADE, related_name="app_ticket")
    ticket = SealedField()
    issued_at = models.DateTimeField()

    objects: ClassVar[AppTicketManager] = AppTicketManager()

    def __str__(self) -> str:
        return f"{self.bot_id}, {self.issued_at:%Y-%m-%d %H:%M}"
