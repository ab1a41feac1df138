"""`manage.py demo`: the console, a worker and a local Feishu, set up and started together, for trying it out."""

import signal
import subprocess
import sys
import threading
import time
from argparse import ArgumentParser
from collections import deque
from io import StringIO
from typing import Any

import requests
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from botconsole.demo import FOLDER, HOST, add_ports, operator_password
from botconsole.management.commands.serve import require_free_port
from events.cardview import as_text
from events.models import Event, OutboxItem

OPERATOR, DRILL = "operator", "payment-outage"
local = requests.Session()
local.trust_env = False  # a proxy of the machine must not stand between the demo and itself
START_SECONDS, STOP_SECONDS, ROUND_SECONDS = 30, 12, 20


class Command(BaseCommand):
    help = "Sets everything up and runs the console, a worker and a local Feishu, until Ctrl-C."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_ports(parser)
        parser.add_argument("--drill", action="store_true", help="also play an outage in the local Feishu")
        parser.add_argument(
            "--once", action="store_true", help="play one round (a member joins, is greeted), then end"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        port, sandbox_port = options["port"], options["sandbox_port"]
        require_free_port(HOST, port)
        require_free_port(HOST, sandbox_port)
        self._set_up()
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        processes = Processes(quiet=options["once"])
        try:
            processes.start(
                "feishu", "sandbox", "--port", str(sandbox_port), "--state", str(FOLDER / "feishu.sqlite3")
            )
            processes.start("web", "serve", "--port", str(port), "--workers", "1")
            processes.start("worker", "run_worker")
            processes.wait_for(f"{settings.FEISHU_DOMAIN}/_sandbox/health")
            processes.wait_for(f"{settings.PUBLIC_URL}/readyz")
            if options["once"]:
                self._play_a_round()
            else:
                self._say_where()
                if options["drill"]:
                    self._play_drill()
                processes.watch()
        except KeyboardInterrupt:
            self.stdout.write("\nstopping ...")
        except CommandError:
            processes.show_last_lines()
            raise
        finally:
            processes.stop()

    def _set_up(self) -> None:
        self.stdout.write("setting up ...")
        call_command("migrate", verbosity=0)
        call_command("setup_bot", name="小助手", stdout=StringIO())
        users = get_user_model().objects
        if not users.filter(username=OPERATOR).exists():
            users.create_superuser(OPERATOR, password=operator_password())

    def _say_where(self) -> None:
        user = get_user_model().objects.get(username=OPERATOR)
        password = operator_password() if user.check_password(operator_password()) else "(the one you set)"
        self.stdout.write(
            f"\n  console       {settings.PUBLIC_URL}/          login: {OPERATOR} / {password}"
            f"\n  local Feishu  {settings.FEISHU_DOMAIN}/          pick a group, click “add member”"
            f"\n\n  Ctrl-C stops everything; the data stays in {FOLDER}\n"
        )

    def _play_a_round(self) -> None:
        """A member joins a group of the local Feishu; the card must arrive there."""
        sandbox = settings.FEISHU_DOMAIN + "/_sandbox"
        group = local.get(f"{sandbox}/groups", timeout=5).json()["items"][0]
        members = f"{sandbox}/groups/{group['chat_id']}/members"
        joined = local.post(members, json={"name": "林夏"}, timeout=5).json()
        self.stdout.write(f"1. 林夏 joins “{group['name']}” in the local Feishu: event {joined['event_id']}")
        item = self._wait_for_delivery(joined["event_id"])
        event = Event.objects.get(event_id=joined["event_id"])
        self.stdout.write(f"2. the webhook stored it: {event.event_type}, {event.status}, {event.summary}")
        attempt = item.attempts.last()
        took = attempt.duration_ms if attempt else 0
        self.stdout.write(f"3. the worker sent the card in {took} ms: {item.message_id}")
        messages = local.get(f"{sandbox}/groups/{group['chat_id']}/messages", timeout=5).json()["items"]
        if item.message_id not in [message["message_id"] for message in messages]:
            raise CommandError("The card was sent, but it is not in the group.")
        self.stdout.write(
            f"4. the card is in the group:\n\n{as_text(item.content, {joined['open_id']: '林夏'})}\n"
        )

    def _play_drill(self) -> None:
        """The outage that comes with the sandbox: its people open a drill, and leave it to whoever looks on."""
        play = f"{settings.FEISHU_DOMAIN}/_sandbox/scenarios/play"
        wanted = {"name": DRILL, "variables": {"by_themselves": ""}}
        told = local.post(play, json=wanted, timeout=5).json()
        incidents = f"{settings.PUBLIC_URL}/admin/incidents/incident/"
        self.stdout.write(
            f"  drill         “{told['title']}” is played in the local Feishu; its incident comes to {incidents}\n"
        )

    def _wait_for_delivery(self, event_id: str) -> OutboxItem:
        deadline = time.monotonic() + ROUND_SECONDS
        while time.monotonic() < deadline:
            item = OutboxItem.objects.filter(cause__event_id=event_id).first()
            if item is not None and item.status == OutboxItem.Status.SENT:
                return item
            time.sleep(0.05)
        raise CommandError(f"No card within {ROUND_SECONDS} s. The event log and the outbox say why.")


class Processes:
    """The demo's processes: started, watched, and stopped together; what they say is passed on line by line."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._running: dict[str, subprocess.Popen[str]] = {}
        self._held_back: deque[str] = deque(maxlen=60)

    def start(self, name: str, *arguments: str) -> None:
        # A session of its own: Ctrl-C reaches only this process, which then stops the others in order.
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, sys.argv[0], *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._running[name] = process
        threading.Thread(target=self._pass_on, args=(name, process), daemon=True).start()

    def wait_for(self, url: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self._require_all_running()
            try:
                if local.get(url, timeout=1).ok:
                    return
            except requests.RequestException:
                time.sleep(0.1)
        raise CommandError(f"{url} did not answer within {START_SECONDS} s.")

    def watch(self) -> None:
        while True:
            self._require_all_running()
            time.sleep(0.5)

    def stop(self) -> None:
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()

    def _require_all_running(self) -> None:
        for name, process in self._running.items():
            if process.poll() is not None:
                raise CommandError(
                    f"{name} has ended with exit code {process.returncode}; see its lines above."
                )

    def _pass_on(self, name: str, process: subprocess.Popen[str]) -> None:
        for line in process.stdout or ():
            self._held_back.append(f"{name:>7} | {line}")
            if not self._quiet:
                self.show_last_lines()

    def show_last_lines(self) -> None:
        while self._held_back:
            print(self._held_back.popleft(), end="", flush=True)
