"""`manage.py listen`: receives events over Feishu's long connection instead of the webhook."""

import asyncio
import os
import signal
import sys
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from botconsole.listener import Listener
from events.frames import load
from events.models import Bot

ENDS_WITHIN_SECONDS = 20  # below the time a supervisor leaves a process after SIGTERM (compose.yaml: 40 s)


class Command(BaseCommand):
    help = "Receives events over Feishu's long connection, for every bot that uses it, until SIGTERM."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--bot",
            metavar="SLUG",
            action="append",
            default=[],
            help="only this bot, whatever its transport says (may be given several times)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        slugs = options["bot"]
        for slug in slugs:
            check_bot(slug)
        load()
        reasons = asyncio.run(_listen(slugs))
        if reasons:
            raise CommandError("\n".join(reasons))


def check_bot(slug: str) -> None:
    """Raises CommandError if this bot cannot be listened for."""
    bot = Bot.objects.filter(slug=slug).first()
    if bot is None:
        raise CommandError(f"There is no bot {slug}. Create one with: python manage.py setup_bot")
    if problem := bot.transport_problem(Bot.Transport.LONG_CONNECTION):
        raise CommandError(f"bot {slug}: {problem}")
    if not bot.enabled:
        raise CommandError(f"bot {slug} is disabled: enable it in the console first")


async def _listen(slugs: list[str]) -> list[str]:
    listener = Listener(slugs)

    def stop() -> None:
        listener.stop()
        _end_soon()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    reasons = await listener.run()
    _end_soon()
    return reasons


def _end_soon() -> None:
    """A thread that hangs, in a handler or the database, must not keep the process alive, and deaf."""
    timer = threading.Timer(ENDS_WITHIN_SECONDS, _give_up)
    timer.daemon = True
    timer.start()


def _give_up() -> None:
    sys.stderr.write("a thread does not end: leaving it behind\n")
    sys.stderr.flush()
    os._exit(1)
