"""`manage.py run_worker`: delivers the outbox and runs failed events again, until SIGTERM."""

import logging
import os
import signal
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from botconsole.worker import Worker


class Command(BaseCommand):
    help = (
        "Delivers the outbox and runs failed events again. SIGTERM: finishes the calls in flight, then ends."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="do everything that is due now, then end")

    def handle(self, *args: Any, **options: Any) -> None:
        worker = Worker()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.stop())
        if options["once"]:
            worker.run_once()
        else:
            worker.run()
        if worker.left_behind:
            # Python would wait for its threads, and they for a Feishu that does not answer.
            logging.shutdown()
            os._exit(0)
