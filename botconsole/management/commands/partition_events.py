"""`manage.py partition_events`: divides the event log by month (PostgreSQL; docs/scaling.md says when it pays)."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.template.defaultfilters import filesizeformat
from django.utils import timezone

from events.partitioning import Plan, convert, obstacle, plan, revert


class Command(BaseCommand):
    help = "PostgreSQL: divides the event log by month. What is there becomes the first partition; nothing is copied."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
        parser.add_argument("--undo", action="store_true", help="back to one table; copies all events")

    def handle(self, *args: Any, **options: Any) -> None:
        undo: bool = options["undo"]
        if problem := obstacle(undo=undo):
            raise CommandError(problem)
        planned = plan(timezone.now())
        self.stdout.write(f"about {planned.rows} events, {filesizeformat(planned.size)}")
        if not undo:
            self._explain(planned)
        if options["dry_run"]:
            return
        for step in revert() if undo else convert(planned):
            self.stdout.write(step)
        self.stdout.write(self.style.SUCCESS("done"))

    def _explain(self, planned: Plan) -> None:
        self.stdout.write(f"they stay where they are: their table becomes the partition {planned.old}")
        self.stdout.write(f"from {planned.bound:%Y-%m} (UTC) on, each month gets a partition of its own")
        for table, name in planned.references:
            self.stdout.write(f"will no longer be checked by the database: {name} of {table}")
