"""Exports as a job of the worker: one at a time, beside the deliveries, in a thread with a connection of its own."""

import logging
import tempfile
import threading
from pathlib import Path

from django.db import InterfaceError, OperationalError, connections
from django.utils import timezone

from events.sealed import UnsealError

from . import chat
from .export import write_texts, write_zip
from .history import CollectError, Progress, collect
from .models import Export, LostError

log = logging.getLogger(__name__)

FINISH_SECONDS = 20


class StoppedError(Exception):
    """The worker stops."""


class Exporting:
    """The exports of one worker."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def step(self) -> int:
        """Starts what is due unless one is running; returns at once."""
        running = self._thread is not None and self._thread.is_alive()
        if running or self._stopping.is_set() or not Export.objects.due(timezone.now()).exists():
            return 0
        self._thread = threading.Thread(target=self._run, name="export", daemon=True)
        self._thread.start()
        return 1

    def run_due(self) -> int:
        """Makes every export that is due, here and now; how many were tried."""
        tried = 0
        while not self._stopping.is_set() and (export := Export.objects.claim(timezone.now())) is not None:
            make(export, self._report(export))
            tried += 1
        return tried

    def stop(self) -> None:
        """What is being made goes back into the queue."""
        self._stopping.set()

    def close(self) -> None:
        self.stop()
        if self._thread is not None:
            self._thread.join(FINISH_SECONDS)

    def _run(self) -> None:
        try:
            self.run_due()
        except (OperationalError, InterfaceError) as error:
            log.error("the database is out of reach, the export is made later: %s", str(error).strip())
        except Exception:
            log.exception("an export failed in a way that nobody foresaw")
        finally:
            connections.close_all()

    def _report(self, export: Export) -> Progress:
        def report(done: int, total: int) -> None:
            if self._stopping.is_set():
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
