"""`manage.py prune`: deletes events and calls that are past their time, as the worker does little by little."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from botconsole.progress import Progress
from events.retention import past_their_time, prune


class Command(BaseCommand):
    help = "Deletes events and calls older than RETAIN_EVENTS_DAYS and RETAIN_OUTBOX_DAYS (or what their bot says)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only say how many there are")

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        total = sum(rows.count() for rows in past_their_time(now))
        if options["dry_run"]:
            self.stdout.write(f"{total} rows are past their time")
            return
        progress, deleted = Progress(self.stdout), 0
        for count in prune(now):
            deleted += count
            progress.show(deleted, max(total, deleted))
        progress.end()
        self.stdout.write(f"{deleted} rows deleted")
