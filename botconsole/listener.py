"""The listener: one process that receives for every bot on the long connection, and tells how it is."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db import Error as AnyDatabaseError
from django.db import close_old_connections, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from events.dispatch import accept, routes
from events.envelope import RefusedError, open_frame
from events.longconnection import Limits, LongConnection, NotStoredError, RefusedConnectionError
from events.models import Bot, Connection, Heartbeat, Refusal
from events.sealed import UnsealError

from . import __version__

log = logging.getLogger(__name__)
T = TypeVar("T")

THREADS = 32  # of all bots together: each holds a database connection
FROM_FRAMES = "long connection"  # stands where a refused request has its remote address


@dataclass(frozen=True)
class Timing:
    """When the listener looks after itself, in seconds."""

    beat: float = 10
    database: float = 20  # a question to the database that takes longer is given up
    useless: float = 300  # nothing heard for so long, by any bot: a supervisor should start it anew
    stuck: float = 90  # every thread of a bot hangs in a handler for so long: the same
    threads: float = 5  # how long threads may take to end
    refused_again: float = (
        300  # a bot that Feishu refused is tried again, if its settings did not change before
    )


@dataclass
class Ear:
    """One bot that is listened for; `refusal` says why Feishu does not let it in."""

    bot: Bot
    connection: LongConnection
    task: asyncio.Task[str]
    refusal: str = ""
    refused: float = 0

    @property
    def settings(self) -> tuple[str, str, str]:
        return settings_of(self.bot)


class Listener:
    """`slugs`: only these bots, whatever their transport says; else all that use the long connection."""

    def __init__(
        self,
        slugs: Collection[str] = (),
        *,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        timing: Timing = Timing(),
    ) -> None:
        self._slugs = slugs
        self._limits = limits
        self._timing = timing
        self._opened: list[BaseDatabaseWrapper] = []
        self._pool = ThreadPoolExecutor(THREADS, "receive", self._note_connection)
        self._desk = ThreadPoolExecutor(2, "desk", self._note_connection)
        self._ears: dict[int, Ear] = {}
        self._stopping = asyncio.Event()
        self._changed = asyncio.Event()
        self._started_at = timezone.now()
        self._routes = route_names()
        self._said_idle = False
        self._answered = time.monotonic()  # when the database last did

    def stop(self) -> None:
        self._stopping.set()
        self._changed.set()

    async def run(self) -> list[str]:
        """Receives until `stop()`; or ends by itself, with the reasons, when it is of no use any more."""
        reasons: list[str] = []
        while not self._stopping.is_set() and not reasons:
            self._changed.clear()
            bots = await self._ask(self._wanted)
            if bots is not None:
                self._follow({bot.pk: bot for bot in bots})
            await self._ask(self._beat)
            reasons = self._useless()
            if not reasons:
                await self._pause()
        await self._close()
        return [] if self._stopping.is_set() else reasons

    async def _pause(self) -> None:
        """Until the next beat, or until a connection opened, closed or was refused."""
        try:
            async with asyncio.timeout(self._timing.beat):
                await self._changed.wait()
        except TimeoutError:
            return
        await asyncio.sleep(
            min(0.2, self._timing.beat)
        )  # a connection that flaps must not flood the database

    async def _close(self) -> None:
        """Leaves: what is in flight is answered or comes again; the fleet shows this process no more."""
        for ear in self._ears.values():
            ear.task.cancel()
        await asyncio.gather(*(ear.task for ear in self._ears.values()), return_exceptions=True)
        self._ears = {}
        await self._ask(self._leave)
        await self._close_threads()

    async def _close_threads(self) -> None:
        """Ends the threads and their database connections; one that hangs is left to its fate."""
        try:
            async with asyncio.timeout(self._timing.threads):
                for pool in (self._pool, self._desk):
                    await asyncio.to_thread(pool.shutdown, wait=True, cancel_futures=True)
        except TimeoutError:
            log.warning("a handler still hangs: leaving it behind")
            return
        for opened in self._opened:
            await asyncio.to_thread(opened.close)

    def _note_connection(self) -> None:
        """Each thread has a database connection of its own, which is closed at the end by another."""
        own = connections["default"]
        own.inc_thread_sharing()
        self._opened.append(own)

    async def _ask(self, work: Callable[[], T]) -> T | None:
        """Database work, off the event loop; None (and a line in the log) if it does not answer."""

        def in_thread() -> T:
            close_old_connections()
            return work()

        try:
            async with asyncio.timeout(self._timing.database):
                answer = await asyncio.get_running_loop().run_in_executor(self._desk, in_thread)
            self._answered = time.monotonic()
            return answer
        except (AnyDatabaseError, TimeoutError) as error:
            log.error("the database is out of reach, trying again: %s", str(error).strip() or "no answer")
        return None

    # --- Which bots ---------------------------------------------------------------------------------------
    def _wanted(self) -> list[Bot]:
        bots = Bot.objects.filter(enabled=True, app_type=Bot.AppType.CUSTOM)
        if self._slugs:
            return list(bots.filter(slug__in=self._slugs))
        return list(bots.filter(transport=Bot.Transport.LONG_CONNECTION))

    def _follow(self, bots: Mapping[int, Bot]) -> None:
        """Opens and closes connections as the bots' settings say now."""
        for pk, ear in list(self._ears.items()):
            again = ear.refusal and time.monotonic() - ear.refused > self._timing.refused_again
            if pk not in bots or ear.settings != settings_of(bots[pk]) or again:
                log.info("bot %s: closing its long connection", ear.bot.slug)
                ear.task.cancel()
                del self._ears[pk]
        for pk, bot in bots.items():
            if pk not in self._ears:
                self._ears[pk] = self._listen_for(bot)
        if not bots and not self._said_idle:
            log.warning("no enabled bot uses the long connection: waiting until one does")
        self._said_idle = not bots

    def _listen_for(self, bot: Bot) -> Ear:
        try:
            secret = bot.app_secret.reveal()
        except UnsealError as error:
            secret, problem = "", str(error)
        else:
            problem = ""
        connection = LongConnection(
            bot.app_id,
            secret,
            bot.domain,
            receiver(bot.pk),
            self._pool,
            changed=self._changed.set,
            limits=self._limits,
        )
        ear = Ear(bot, connection, asyncio.create_task(self._receive(connection, problem)))
        ear.task.add_done_callback(lambda task: self._note_end(ear, task))
        return ear

    async def _receive(self, connection: LongConnection, problem: str) -> str:
        """Receives for one bot; returns why it cannot, if Feishu refuses for good."""
        if problem:
            return problem
        try:
            await connection.run()
        except RefusedConnectionError as error:
            return str(error)
        return ""

    def _note_end(self, ear: Ear, task: asyncio.Task[str]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        ear.refusal = f"it failed: {type(error).__name__}" if error else task.result()
        ear.refused = time.monotonic()
        ear.connection.pulse.note_error(ear.refusal)
        log.error("bot %s is deaf: %s", ear.bot.slug, ear.refusal, exc_info=error)
        self._changed.set()

    # --- How it is ----------------------------------------------------------------------------------------
    def _useless(self) -> list[str]:
        """Why the process should end: no bot hears, nothing can be stored. One deaf bot is not the others'."""
        now = time.monotonic()
        if now - self._answered > self._timing.useless:
            return [f"the database has not answered for {round(now - self._answered)} s"]
        for ear in self._ears.values():
            full_since = ear.connection.pulse.full_since
            if full_since is not None and now - full_since > self._timing.stuck:
                return [f"bot {ear.bot.slug}: its events hang in their handlers"]
        deaf = [reason for ear in self._ears.values() if (reason := self._deaf(ear, now))]
        return deaf if deaf and len(deaf) == len(self._ears) else []

    def _deaf(self, ear: Ear, now: float) -> str:
        if ear.refusal:
            return f"bot {ear.bot.slug}: {ear.refusal}"
        unheard = now - ear.connection.pulse.heard
        if unheard <= self._timing.useless:
            return ""
        last = ear.connection.pulse.last_error or "no answer"
        return f"bot {ear.bot.slug}: nothing was heard from Feishu for {round(unheard)} s ({last})"

    def _beat(self) -> None:
        now, host, pid = timezone.now(), socket.gethostname()[:200], os.getpid()
        Heartbeat.objects.beat("listener", host, pid, self._started_at)
        Connection.objects.filter(host=host, pid=pid).exclude(bot__in=list(self._ears)).delete()
        for ear in list(self._ears.values()):
            Connection.objects.beat(ear.bot, host, pid, now, self._columns(ear))
        Connection.objects.drop_old(now)

    def _columns(self, ear: Ear) -> dict[str, Any]:
        pulse = ear.connection.pulse
        return {
            "version": __version__,
            "routes": self._routes,
            "started_at": self._started_at,
            "connected_since": pulse.connected_since,
            "last_frame_at": pulse.last_frame_at,
            "last_event_at": pulse.last_event_at,
            "frames": pulse.frames,
            "events": pulse.events,
            "errors": pulse.errors,
            "last_error": pulse.last_error,
        }

    def _leave(self) -> None:
        mine = {"host": socket.gethostname()[:200], "pid": os.getpid()}
        Connection.objects.filter(**mine).delete()
        Heartbeat.objects.filter(kind="listener", **mine).delete()


def receiver(bot_pk: int) -> Callable[[bytes], Mapping[str, Any]]:
    """What stores the payload of one frame of this bot, in a thread."""

    def receive(payload: bytes) -> Mapping[str, Any]:
        close_old_connections()  # a thread's connection that the server dropped is opened anew
        bot = Bot.objects.get(pk=bot_pk)
        try:
            envelope = open_frame(bot, payload)
        except (RefusedError, UnsealError) as refusal:
            Refusal.objects.record(bot, str(refusal), FROM_FRAMES)
            raise NotStoredError(str(refusal)) from refusal
        return accept(bot, envelope, transport=Bot.Transport.LONG_CONNECTION)

    return receive


def settings_of(bot: Bot) -> tuple[str, str, str]:
    """What a connection is opened with; a change opens it anew."""
    return bot.app_id, bot.domain, bot.app_secret.sealed


def route_names() -> list[str]:
    """Which handlers this process would run: ["im.message.receive_v1: events.people.learn, ..."]."""
    return [
        f"{event_type}: {', '.join(f'{handler.__module__}.{handler.__qualname__}' for handler in handlers)}"
        for event_type, handlers in sorted(routes().items())
    ]
