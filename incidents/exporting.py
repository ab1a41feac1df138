"""Exports as a job of the worker: one at a time, beside the deliveries, in a thread with a connection of its own."""

import logging
import tempfile
from pathlib import Path

from django.db import InterfaceError, OperationalError
from django.utils import timezone

from events.beside import Beside, IsStopping
from events.sealed import UnsealError

from . import chat
from .export import write_texts, write_zip
from .history import CollectError, Progress, collect
from .models import Export, LostError

log = logging.getLogger(__name__)


class StoppedError(Exception):
    """The worker stops."""


class Exporting(Beside):
    """The exports of one worker; when it stops, what is being made goes back into the queue."""

    def __init__(self) -> None:
        super().__init__("export", is_due, run_due)


def is_due() -> bool:
    return Export.objects.due(timezone.now()).exists()


def run_due(is_stopping: IsStopping) -> int:
    """Makes every export that is due; how many were tried."""
    tried = 0
    while not is_stopping() and (export := Export.objects.claim(timezone.now())) is not None:
        make(export, _report(export, is_stopping))
        tried += 1
    return tried


def _report(export: Export, is_stopping: IsStopping) -> Progress:
    def report(done: int, total: int) -> None:
        if is_stopping():
            raise StoppedError
        export.progress(done, total)

    return report


def make(export: Export, progress: Progress) -> None:
    """Makes a claimed export; whatever happens is written on its row."""
    try:
        with chat.language_of_the_chat(), tempfile.TemporaryDirectory(prefix="botconsole-export-") as scratch:
            folder = Path(scratch, export.incident.number)
            folder.mkdir()
            record = collect(export.incident, progress, folder)
            write_texts(record, folder)
            write_zip(folder, zipped := Path(scratch, "export.zip"))
            export.finish(zipped, list(record.missing))
        log.info("export %s of %s: %d bytes", export.pk, export.incident, export.size)
    except LostError:
        log.warning("export %s of %s went on elsewhere", export.pk, export.incident)
    except StoppedError:
        export.release()
    except CollectError as error:
        export.fail(error, again=error.again)
        log.warning("export %s of %s: %s", export.pk, export.incident, error)
    except UnsealError as error:
        export.fail(error, again=False)
    except (OperationalError, InterfaceError):
        raise  # the lease ends by itself
    except Exception as error:
        log.exception("export %s of %s failed", export.pk, export.incident)
        export.fail(f"{type(error).__name__}: {error}", again=False)
