"""`manage.py serve`: the production web server (granian), with the console and the webhook."""

import os
import socket
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = "Runs the production web server."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
        parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: 8000)")
        parser.add_argument("--workers", type=int, default=2, help="web processes (default: 2)")

    def handle(self, *args: Any, **options: Any) -> None:
        from granian.constants import Interfaces
        from granian.server import Server

        require_free_port(options["host"], options["port"])
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "botconsole.settings")
        Server(
            "botconsole.wsgi:application",
            address=options["host"],
            port=options["port"],
            interface=Interfaces.WSGI,
            workers=options["workers"],
            blocking_threads=16,  # a client that stalls its body holds one; a buffering proxy in front holds them off
            backlog=2048,
            respawn_failed_workers=True,
            workers_kill_timeout=10,
            log_level="error",  # its warning about more threads than cores is no news: they wait for databases
        ).serve()
        sys.stdout.flush()


def require_free_port(host: str, port: int) -> None:
    """Raises CommandError, in one line, if nobody else could listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CommandError(
                f"Cannot listen on {host}:{port}: {error.strerror}. Choose another port."
            ) from error
