"""`manage.py export_incident INC-1 --to DIR`: writes everything about an incident into a folder."""

import json
import re
import shutil
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from botconsole.progress import Progress
from events.sealed import UnsealError
from incidents.chat import language_of_the_chat
from incidents.export import write_texts
from incidents.history import CollectError, collect
from incidents.models import Incident
from incidents.record import Record

# What an export consists of.
OURS = re.compile(r"export\.(?:md|json|html)|post-mortem\.md|attachments(?:/[0-9]{3,}-[^/]+)?")
INCOMPLETE = 3  # the exit code of an export that was written, but lacks something


class Command(BaseCommand):
    help = (
        "Writes the chat's whole history, the timeline and the figures of an incident into DIR/INC-1: Markdown,"
        " JSON, HTML, attachments. Exit codes: 0 all of it, 1 nothing was written, 3 written, but something is"
        " missing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("number", metavar="INC-1", help="the incident's number")
        parser.add_argument(
            "--to", metavar="DIR", default=".", help="where the folder is made (default: here)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        incident, progress = find(options["number"]), Progress(self.stdout)
        folder = Path(options["to"]).expanduser() / incident.number
        try:
            check_place(folder, incident)
            record = self._write(incident, folder, progress)
        except CollectError as error:
            progress.end()
            raise CommandError(f"Feishu: {error}. Nothing was written; run it again later.") from error
        except UnsealError as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            progress.end()
            raise CommandError(f"{folder}: {error.strerror or error}") from error
        progress.end()
        self.stdout.write(f"{folder}: {len(record.messages)} messages, {len(record.files)} attachments")
        for text in record.missing:
            self.stderr.write(f"missing: {text}")
        if record.missing:
            raise SystemExit(INCOMPLETE)

    def _write(self, incident: Incident, folder: Path, progress: Progress) -> Record:
        """The export in the folder, whole or not at all; an older one of the same incident goes."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            with language_of_the_chat():
                record = collect(incident, progress.show, fresh)
                write_texts(record, fresh)
            fresh.chmod(0o755)
            check_place(folder, incident)  # collecting took its time
            if folder.exists():
                shutil.rmtree(folder)
            fresh.rename(folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        return record


def find(number: str) -> Incident:
    """The incident of `INC-1`, `inc-1` or `1`."""
    digits = number.upper().removeprefix("INC-")
    rows = Incident.objects.select_related("bot", "service")
    incident = rows.filter(pk=int(digits)).first() if digits.isdecimal() and len(digits) < 19 else None
    if incident is None:
        raise CommandError(f"There is no incident {number}.")
    return incident


def check_place(folder: Path, incident: Incident) -> None:
    """Only what an earlier export of the same incident has written is replaced; CommandError for all else."""
    if not folder.exists() and not folder.is_symlink():
        return
    if folder.is_symlink() or not folder.is_dir():
        raise CommandError(f"{folder} is not a folder. Move it away, or choose another --to.")
    paths = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*"))]
    if paths and number_in(folder) != incident.number:
        raise CommandError(
            f"{folder} is there and no export of {incident}. Move it away, or choose another --to."
        )
    if foreign := next((path for path in paths if not OURS.fullmatch(path)), None):
        raise CommandError(
            f"{folder / foreign} is not of an export and would be lost. Move it away, or choose another --to."
        )


def number_in(folder: Path) -> str:
    """The incident of the export in a folder; "" where there is none."""
    try:
        told = json.loads((folder / "export.json").read_text())
    except (OSError, ValueError):
        return ""
    return str(told.get("number", "")) if isinstance(told, dict) else ""
