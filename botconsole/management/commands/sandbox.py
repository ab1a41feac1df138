"""`manage.py sandbox`: a local Feishu for this project's app, in the foreground until Ctrl-C or SIGTERM."""

import signal
import sqlite3
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from botconsole.sandbox import SandboxConfig, SandboxServer


class Command(BaseCommand):
    """Reads the app's credentials from the settings; everything else is an option."""

    help = "Run a local Feishu (the sandbox): its API, its pushes, and a page to act as the people in it."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--host", default="127.0.0.1", help="address to bind to (default: this machine only)"
        )
        parser.add_argument("--port", type=int, default=8001)
        parser.add_argument(
            "--webhook", help="where events go (default: PUBLIC_URL + the default bot's path)"
        )
        parser.add_argument("--state", default="", help="SQLite file that keeps groups, messages and pushes")
        parser.add_argument(
            "--allow-host", action="append", default=[], help="another host name to answer to"
        )
        parser.add_argument(
            "--clock-factor", type=float, default=1.0, help="how much faster Feishu's clock runs"
        )
        parser.add_argument("--no-limits", action="store_true", help="no rate limits")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["clock_factor"] <= 0:
            raise CommandError("--clock-factor must be above 0")
        config = self._config(options)
        try:
            server = SandboxServer(config)
        except OSError as error:
            where = f"{config.host}:{config.port}"
            raise CommandError(f"the sandbox cannot listen on {where}: {error.strerror}") from None
        except sqlite3.Error as error:
            raise CommandError(f"{config.state_file} cannot be used: {error}") from None
        for number in (signal.SIGTERM, signal.SIGINT):
            # uvicorn puts its own in place while it serves, and raises the signal again after its clean end
            signal.signal(number, lambda *_: server.close())
        self.say(f"sandbox  a local Feishu, not Feishu: {server.url}/")
        self.say(f"sandbox  app {config.app_id}, events go to {config.webhook_url or 'nowhere'}")
        server.run()
        self.say("sandbox  stopped")

    def _config(self, options: dict[str, Any]) -> SandboxConfig:
        app_id, app_secret = settings.FEISHU_APP_ID, settings.FEISHU_APP_SECRET
        if not app_id or not app_secret:
            raise CommandError("set FEISHU_APP_ID and FEISHU_APP_SECRET (any invented values) first")
        state = Path(options["state"]).resolve() if options["state"] else None
        if state and not state.parent.is_dir():
            raise CommandError(f"there is no directory {state.parent}")
        default = f"{settings.PUBLIC_URL.rstrip('/')}/webhook/event/default"
        return SandboxConfig(
            app_id=app_id,
            app_secret=app_secret,
            verification_token=settings.FEISHU_VERIFICATION_TOKEN,
            encrypt_key=settings.FEISHU_ENCRYPT_KEY,
            webhook_url=default if options["webhook"] is None else options["webhook"],
            host=options["host"],
            port=options["port"],
            allowed_hosts=tuple(options["allow_host"]),
            state_file=str(state) if state else "",
            limits=not options["no_limits"],
            clock_factor=options["clock_factor"],
            echo=self.say,
        )

    def say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
