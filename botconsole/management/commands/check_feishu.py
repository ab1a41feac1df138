"""`manage.py check_feishu`: asks Feishu who each bot is; the quickest way to know that the credentials are right."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from events.codes import explain
from events.feishu import FeishuClient, FeishuError
from events.models import Bot
from events.sealed import UnsealError


class Command(BaseCommand):
    help = "Calls Feishu with each bot's credentials and says what it answers."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--bot", metavar="SLUG", help="only this bot")

    def handle(self, *args: Any, **options: Any) -> None:
        bots = Bot.objects.filter(slug=options["bot"]) if options["bot"] else Bot.objects.all()
        if not bots:
            raise CommandError("No such bot. Create one with: python manage.py setup_bot")
        failures = [bot.slug for bot in bots if not self._check(bot)]
        if failures:
            raise CommandError(f"not working: {', '.join(failures)}")

    def _check(self, bot: Bot) -> bool:
        try:
            info = FeishuClient(bot.app_id, bot.app_secret.reveal(), bot.domain).bot_info()
        except UnsealError as error:
            self.stdout.write(f"{bot.slug}: {error}")
            return False
        except FeishuError as error:
            explanation = explain(error.code)
            code = "" if error.code is None else f" {error.code}"
            self.stdout.write(
                f"{bot.slug}:{code} {error.message}. {explanation.meaning}. {explanation.advice}"
            )
            return False
        self.stdout.write(
            f"{bot.slug}: {bot.domain} knows it as “{info.get('app_name', '')}” ({info.get('open_id', '')})"
        )
        return True
