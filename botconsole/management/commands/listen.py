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
from events.sealed import UnsealError

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
        refusals = asyncio.run(_listen(bots))
        if refusals:
            raise CommandError("\n".join(refusals))


async def _listen(bots: list[Bot]) -> list[str]:
    """One connection a bot, until SIGTERM; ends by itself, with the reasons, when no bot is left."""
    stop = asyncio.create_task(_signalled())
    beat = asyncio.create_task(_beat())
    connections = {asyncio.create_task(_receive(bot)) for bot in bots}
    refusals: list[str] = []
    while connections and not stop.done():
        await asyncio.wait({stop, *connections}, return_when=asyncio.FIRST_COMPLETED)
        ended = {task for task in connections if task.done()}
        refusals += [task.result() for task in ended]  # one bot's refusal is not the others'
        connections -= ended
    asked_to_stop = stop.done()
    for task in (stop, beat, *connections):
        task.cancel()
    await asyncio.gather(stop, beat, *connections, return_exceptions=True)
    return [] if asked_to_stop else refusals


async def _receive(bot: Bot) -> str:
    """Receives for one bot; returns why it cannot, if Feishu refuses for good."""
    try:
        await _connection(bot).run()
    except (RefusedConnectionError, UnsealError) as error:
        log.error("bot %s is deaf: %s", bot.slug, error)
        return f"bot {bot.slug}: {error}"
    return ""


def _connection(bot: Bot) -> LongConnection:
    def receive(payload: bytes) -> Mapping[str, Any]:
        close_old_connections()  # a thread's connection that the server dropped is opened anew
        current = Bot.objects.get(pk=bot.pk)
        return accept(current, open_frame(current, payload), transport="long_connection")

    return LongConnection(bot.app_id, bot.app_secret.reveal(), bot.domain, receive)


async def _signalled() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
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
