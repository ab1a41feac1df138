"""`manage.py sandbox`: a local Feishu for this project's app, in the foreground until Ctrl-C or SIGTERM."""

import signal
import sqlite3
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from botconsole.sandbox import SandboxConfig, SandboxServer
from botconsole.sandbox.scenario import Scenario, ScenarioError, named, read, shipped


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
        parser.add_argument(
            "--transport",
            choices=("webhook", "long_connection"),
            default="webhook",
            help="how events go there",
        )
        parser.add_argument("--state", default="", help="SQLite file that keeps groups, messages and pushes")
        parser.add_argument(
            "--allow-host", action="append", default=[], help="another host name to answer to"
        )
        parser.add_argument(
            "--clock-factor", type=float, default=1.0, help="how much faster Feishu's clock runs"
        )
        parser.add_argument(
            "--play", metavar="FILE", help="play a scenario: a YAML file, or the name of one that comes along"
        )
        parser.add_argument(
            "--set", action="append", default=[], metavar="NAME=VALUE", help="a variable of the scenario"
        )
        parser.add_argument("--record", metavar="FILE", help="write what people do to a scenario file")
        parser.add_argument(
            "--store-app",
            action="store_true",
            help="the app is one of the app store: app_ticket every hour, no long connection",
        )
        parser.add_argument("--no-limits", action="store_true", help="no rate limits")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["clock_factor"] <= 0:
            raise CommandError("--clock-factor must be above 0")
        config, scenario = self._config(options), self._scenario(options)
        try:
            server = SandboxServer(config, scenario)
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
        if options["record"]:
            server.recorder.start(path=_new_file(options["record"]))
            self.say(f"sandbox  what people do is recorded in {options['record']}")
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
            transport=options["transport"],
            host=options["host"],
            port=options["port"],
            allowed_hosts=tuple(options["allow_host"]),
            state_file=str(state) if state else "",
            limits=not options["no_limits"],
            store_app=options["store_app"],
            clock_factor=options["clock_factor"],
            echo=self.say,
        )

    def _scenario(self, options: dict[str, Any]) -> Scenario | None:
        """The file to play, or one of those that come along, with its variables set."""
        given = options["play"]
        if not given:
            return None
        path = Path(given)
        try:
            found = read(path.read_text("utf-8")) if path.is_file() else named(given)
        except LookupError:
            known = ", ".join(shipped())
            raise CommandError(f"there is no file {given}, and no scenario of that name ({known})") from None
        except (ScenarioError, OSError, UnicodeError) as error:
            raise CommandError(f"{given}: {error}") from None
        values = dict(one.partition("=")[::2] for one in options["set"])
        if unknown := set(values) - set(found.variables):
            raise CommandError(f"{given} has no variable {', '.join(sorted(unknown))}")
        return replace(found, variables={**found.variables, **values})

    def say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _new_file(name: str) -> Path:
    """A new file, made at once: a wrong path is known at the start, and no earlier recording is lost."""
    path = Path(name)
    try:
        path.touch(exist_ok=False)
    except OSError as error:
        raise CommandError(f"{name} cannot be written: {error.strerror}") from None
    return path
