"""Puts the parts together, and runs them: in the foreground for the command, in a thread for tests."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from botconsole.sandbox import api, control, page, tokens
from botconsole.sandbox.clock import Clock
from botconsole.sandbox.config import SandboxConfig
from botconsole.sandbox.gate import Gate
from botconsole.sandbox.player import Player
from botconsole.sandbox.recorder import Recorder
from botconsole.sandbox.scenario import Scenario
from botconsole.sandbox.seed import seed
from botconsole.sandbox.store import Store
from botconsole.sandbox.world import World

START_SECONDS, END_SECONDS = 10, 3
LATEST = (
    "SELECT max(at) FROM (SELECT max(sent_at) AS at FROM messages UNION ALL SELECT max(at) FROM uuids"
    " UNION ALL SELECT max(at) FROM presses UNION ALL SELECT max(expires_at) - ? FROM tokens)"
)


def create_world(config: SandboxConfig) -> World:
    """The state of one sandbox, seeded if it is new."""
    store, clock = Store(config.state_file), Clock(config.clock_factor)
    # it may have run faster before a restart, and must not go back behind what it was told then
    clock.advance(max(0.0, store.number(LATEST, tokens.LIFE_SECONDS) - clock.now()))
    world = World(config, store, clock)
    seed(world)
    return world


def create_app(world: World, recorder: Recorder | None = None, first: Scenario | None = None) -> ASGIApp:
    """The ASGI application; its lifespan runs the pusher, and plays the scenario it was given."""
    player = Player(world)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        running = [asyncio.create_task(world.pusher.run())]
        if world.config.store_app:
            running.append(asyncio.create_task(tokens.push_tickets(world)))
        if first is not None:
            player.start(first)
        try:
            yield
        finally:
            await player.close()
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    app = Starlette(
        routes=[*api.routes(), *control.routes(), *page.routes()],
        lifespan=lifespan,
        exception_handlers={HTTPException: control.not_served},
    )
    app.state.world, app.state.player = world, player
    app.state.recorder = recorder or Recorder(world)
    return Gate(app, world)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; OSError if the port is taken or the host is not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only on sockets that say they are TCP; without it every answer waits 40 ms
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(2048)
    except OSError:
        listening.close()
        raise
    return listening


class _Uvicorn(uvicorn.Server):
    """Ends the open event streams first, so that a page left open does not hold up the shutdown; ends at once."""

    def __init__(self, config: uvicorn.Config, world: World) -> None:
        super().__init__(config)
        self._world = world
        self._ending = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        """uvicorn's own looks every 100 ms whether it should end: too long for a test that uses one sandbox."""
        self._loop, counter = asyncio.get_running_loop(), 0
        while not await self.on_tick(counter):
            counter = (counter + 1) % 864_000
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), 0.1)

    def end(self) -> None:
        """From whatever thread; before the start it is simply not served."""
        self.should_exit = True
        if self._loop is not None and not self._loop.is_closed():
            with contextlib.suppress(RuntimeError):  # closed in between
                self._loop.call_soon_threadsafe(self._ending.set)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Like uvicorn's own, which waits 100 ms even if nothing is under way."""
        self._world.changes.close()
        for server in self.servers:
            server.close()
        for listening in sockets or []:
            listening.close()
        under_way = self.server_state
        for connection in list(under_way.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                while (under_way.connections or under_way.tasks) and not self.force_exit:
                    await asyncio.sleep(0.005)
        for task in list(under_way.tasks):
            task.cancel()
        await self.lifespan.shutdown()


class SandboxServer:
    """One sandbox on one socket: in a thread as a context manager, in the foreground by `run()`."""

    def __init__(self, config: SandboxConfig, play: Scenario | None = None) -> None:
        self._socket = listen(config.host, config.port)
        self.config = config
        try:
            self.world = create_world(config)
        except BaseException:
            self._socket.close()
            raise
        self.recorder = Recorder(self.world)
        port = self._socket.getsockname()[1]
        shown = "127.0.0.1" if config.host in ("0.0.0.0", "::", "") else config.host  # noqa: S104 (compared only)
        self.url = f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
        settings = uvicorn.Config(
            create_app(self.world, self.recorder, play),
            log_config=None,
            log_level="warning",
            access_log=False,
            ws="websockets-sansio",
            ws_ping_interval=None,  # the platform does not ping; its client does, in frames
            ws_per_message_deflate=False,
            lifespan="on",
        )
        self._server = _Uvicorn(settings, self.world)
        self._thread = threading.Thread(target=self.run, name="sandbox", daemon=True)

    @property
    def webhook_url(self) -> str:
        return self.world.pusher.webhook_url

    def set_webhook(self, url: str) -> None:
        """Points the pushes at `url` without the challenge that `POST /_sandbox/webhook` sends."""
        self.world.pusher.webhook_url = url

    def run(self) -> None:
        """Serves until a signal (in the main thread) or `close()`."""
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()
            self.world.store.close()

    def start(self) -> Self:
        """Serves in a thread; returns once connections are taken."""
        self._thread.start()
        waited = threading.Event()
        for _ in range(START_SECONDS * 100):
            if self._server.started:
                return self
            if not self._thread.is_alive():
                break
            waited.wait(0.01)
        raise RuntimeError("the sandbox did not start")

    def close(self) -> None:
        """Stops the thread's server; safe to call twice."""
        self._server.end()
        if self._thread.is_alive():
            self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
