"""`manage.py listen`: receives events over Feishu's long connection instead of the webhook."""

import asyncio
import logging
import os
import signal
import socket
from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import close_old_connections
from django.utils import timezone

from events.dispatch import accept
from events.envelope import open_frame
from events.longconnection import LongConnection, RefusedConnectionError
from events.models import Bot, Heartbeat

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 10


class Command(BaseCommand):
    help = "Receives events over Feishu's long connection, until SIGTERM."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--bot", metavar="SLUG", action="append", help="only these bots (default: all enabled)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        bots = list(
            Bot.objects.filter(enabled=True, **({"slug__in": options["bot"]} if options["bot"] else {}))
        )
        if not bots:
            raise CommandError("No such enabled bot. Create one with: python manage.py setup_bot")
        try:
            asyncio.run(_listen(bots))
        except RefusedConnectionError as error:
            raise CommandError(str(error)) from error


async def _listen(bots: list[Bot]) -> None:
    """One connection a bot; ends at SIGTERM, or with the first refusal that is final."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    tasks = [asyncio.create_task(_connection(bot).run()) for bot in bots]
    tasks += [asyncio.create_task(_beat()), asyncio.create_task(_until(stop))]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        task.result()


def _connection(bot: Bot) -> LongConnection:
    def receive(payload: bytes) -> Mapping[str, Any]:
        close_old_connections()  # a thread's connection that the server dropped is opened anew
        current = Bot.objects.get(pk=bot.pk)
        return accept(current, open_frame(current, payload), transport="long_connection")

    return LongConnection(bot.app_id, bot.app_secret.reveal(), bot.domain, receive)


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()


async def _beat() -> None:
    started_at = timezone.now()
    while True:
        try:
            await asyncio.to_thread(
                Heartbeat.objects.beat, "listener", socket.gethostname(), os.getpid(), started_at
            )
        except Exception:
            log.exception("no heartbeat could be written")
        await asyncio.sleep(HEARTBEAT_SECONDS)
