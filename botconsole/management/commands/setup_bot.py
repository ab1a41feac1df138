"""`manage.py setup_bot`: creates or updates a bot from the FEISHU_* variables. Run twice, it changes nothing."""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from events.models import Bot
from events.sealed import Secret, UnsealError
from templates.starters import make_starters

REQUIRED = ("FEISHU_APP_ID", "FEISHU_APP_SECRET", "FEISHU_VERIFICATION_TOKEN")
SECRETS = ("app_secret", "verification_token", "encrypt_key")


class Command(BaseCommand):
    help = "Creates or updates a bot from FEISHU_* and prints the request URL to paste into Feishu's console."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--slug", default="default", help="the last part of the request URL (default: default)"
        )
        parser.add_argument(
            "--transport", choices=Bot.Transport.values, help="how its events come (a new bot: webhook)"
        )
        parser.add_argument(
            "--app-type", choices=Bot.AppType.values, help="custom app or store app (a new bot: custom)"
        )
        parser.add_argument("--name", default="", help="the bot's name in the console")

    def handle(self, *args: Any, **options: Any) -> None:
        missing = [name for name in REQUIRED if not getattr(settings, name)]
        if missing:
            raise CommandError(
                f"{', '.join(missing)} not set. Copy them from the app's pages “Credentials” and"
                " “Events and callbacks › Encryption strategy” in Feishu's developer console into .env."
            )
        with transaction.atomic():
            chosen = {name: options[name] for name in ("name", "transport", "app_type") if options[name]}
            bot, change = self._save(options["slug"], chosen)
            templates = make_starters(bot)
        self.stdout.write(f"bot {bot.slug}: {change}")
        for template in templates:
            self.stdout.write(f"welcome template made: {template.name} ({template.get_trigger_display()})")
        if bot.transport == Bot.Transport.LONG_CONNECTION:
            self.stdout.write(
                "events and callbacks by long connection: keep running  python manage.py listen"
            )
        else:
            self.stdout.write(f"request URL for events and callbacks: {bot.webhook_url}")

    def _save(self, slug: str, chosen: Mapping[str, str]) -> tuple[Bot, str]:
        bot = Bot.objects.filter(slug=slug).first() or Bot(slug=slug, name=slug)
        before = _values(bot) if bot.pk else None
        for field, value in chosen.items():
            setattr(bot, field, value)
        bot.app_id, bot.domain = settings.FEISHU_APP_ID, settings.FEISHU_DOMAIN
        for secret in SECRETS:
            text = getattr(settings, f"FEISHU_{secret.upper()}")
            if bot.pk is None or not _says(getattr(bot, secret), text):
                setattr(bot, secret, text)
        try:
            bot.full_clean(exclude=SECRETS)
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        if before == _values(bot):
            return bot, "unchanged"
        bot.save()
        return bot, "updated" if before else "created"


def _says(secret: Secret, text: str) -> bool:
    """Whether the stored secret is this text; one that no key opens any more is not."""
    try:
        return secret.reveal() == text
    except UnsealError:
        return False


def _values(bot: Bot) -> list[object]:
    plain = [bot.name, bot.app_id, bot.domain, bot.transport, bot.app_type]
    return [*plain, *(getattr(bot, secret) for secret in SECRETS)]
