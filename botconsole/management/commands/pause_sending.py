"""`manage.py pause_sending <bot>`: nothing of a bot goes out until `--resume`; what is queued waits."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from events.models import Bot


class Command(BaseCommand):
    help = "Pauses all sending of a bot; nothing is lost. With --resume it goes on."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("slug", help="the bot's slug, the last part of its request URL")
        parser.add_argument(
            "--resume", action="store_true", help="send again, beginning with what has waited"
        )

    def handle(self, *args: Any, slug: str, resume: bool, **options: Any) -> None:
        bot = Bot.objects.filter(slug=slug).first()
        if bot is None:
            known = ", ".join(Bot.objects.values_list("slug", flat=True)) or "none"
            raise CommandError(f"there is no bot {slug!r}; known: {known}")
        changed = bot.resume_sending() if resume else bot.pause_sending()
        state = "resumed" if resume else "paused"
        self.stdout.write(f"{bot.slug}: sending {'is' if changed else 'was already'} {state}")
