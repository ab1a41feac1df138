"""`manage.py check_feishu`: the checks of the console's page, here and now; what is wrong, and what to click."""

from argparse import ArgumentParser
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from events import doctor
from events.doctorwords import CHECKS, advice_of, link_of, text_of
from events.models import Bot

SIGNS = {"ok": "ok  ", "warn": "look", "fail": "BAD "}


class Command(BaseCommand):
    help = (
        "Checks each bot's credentials, keys, events and scopes, and the console itself: database, clock, worker,"
        " listeners, outbox. Exit codes: 0 nothing is bad (there may be something to look at), 1 something is."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--bot", metavar="SLUG", help="only this bot, and not the console itself")

    def handle(self, *args: Any, **options: Any) -> None:
        slug = options["bot"]
        bots = list(Bot.objects.filter(slug=slug) if slug else Bot.objects.order_by("name"))
        if not bots:
            raise CommandError("No such bot. Create one with: python manage.py setup_bot")
        bad = [bot.slug for bot in bots if self._tell(bot.slug, bot, doctor.examine(bot))]
        if not slug and self._tell("botconsole", None, doctor.examine_console()):
            bad.append("botconsole")
        if bad:
            raise CommandError(f"not working: {', '.join(bad)}")

    def _tell(self, name: str, bot: Bot | None, findings: list[doctor.Finding]) -> bool:
        """Writes the findings; whether one of them is bad."""
        self.stdout.write(f"{name}:")
        for finding in findings:
            self._line(asdict(finding), bot)
        return any(finding.level == doctor.FAIL for finding in findings)

    def _line(self, finding: Mapping[str, Any], bot: Bot | None) -> None:
        self.stdout.write(f"  {SIGNS[finding['level']]} {CHECKS[finding['check']]}: {text_of(finding)}")
        if finding["level"] != doctor.OK:
            for what in (advice_of(finding), link_of(finding, bot)):
                if what:
                    self.stdout.write(f"       {what}")
