"""`manage.py reseal`: seals every bot's secrets anew with the first of SEALING_KEYS, after a new key was put there."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from botconsole.management.commands.setup_bot import SECRETS
from events.models import AppTicket, Bot
from events.sealed import UnsealError


class Command(BaseCommand):
    help = "Seals all secrets with the first of SEALING_KEYS; older keys may be removed afterwards."

    def handle(self, *args: Any, **options: Any) -> None:
        with transaction.atomic():
            bots = list(Bot.objects.select_for_update())
            for bot in bots:
                try:
                    for secret in SECRETS:
                        setattr(bot, secret, getattr(bot, secret).resealed())
                except UnsealError as error:
                    raise CommandError(f"bot {bot.slug}: {error} Nothing was changed.") from error
                bot.save(update_fields=SECRETS)
            AppTicket.objects.reseal()
        self.stdout.write(f"{len(bots)} bot(s) sealed with the first key")
