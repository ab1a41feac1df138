"""`manage.py replay`: the console's replay as a foreground job, dry run first. Killed, a worker goes on with it."""

import getpass
import re
import time
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone, translation

from events import replay as engine
from events.eventfilter import EventFilter, FilterError
from events.models import CALLS_PER_MINUTE, MOST_CALLS_PER_MINUTE, Bot, Replay
from events.replaywords import result_words, selection_words

AGO = re.compile(r"(\d{1,4})([mhd])")
UNITS = {"m": "minutes", "h": "hours", "d": "days"}
WAIT_SECONDS = 0.2
LOG_SECONDS = 5
SOME_FAILED, INTERRUPTED = 3, 130


class Command(BaseCommand):
    help = (
        "Runs received events once more, by today's routes and templates: first a dry run that lists what would be"
        " sent, then, without --dry-run, for real. What was sent before is not sent again. Exit codes: 0 done,"
        " 1 not done, 3 done, but some events failed, 130 interrupted (cancelled)."
    )

    _next_line_at = 0.0

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--since",
            required=True,
            metavar="TIME",
            help="2026-11-21, '2026-11-21 14:30', or 30m, 2h, 7d ago",
        )
        parser.add_argument("--until", default="", metavar="TIME", help="not included; default: now")
        parser.add_argument(
            "--type", default="", help="an event type, for instance im.chat.member.user.added_v1"
        )
        parser.add_argument("--bot", default="", metavar="SLUG")
        parser.add_argument("--status", default="", help="handled, ignored or failed")
        parser.add_argument("--chat", default="", metavar="CHAT_ID")
        parser.add_argument("--dry-run", action="store_true", help="only list what would be sent")
        parser.add_argument("--send-again", action="store_true", help="even what was sent before")
        parser.add_argument("--why", default="", help="kept with the replay")
        parser.add_argument(
            "--calls-per-minute", type=int, default=CALLS_PER_MINUTE, help=f"default: {CALLS_PER_MINUTE}"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        with translation.override("en"):  # as its own words: scripts read them, whatever the console speaks
            self._replay(options)

    def _replay(self, options: dict[str, Any]) -> None:
        if not 1 <= options["calls_per_minute"] <= MOST_CALLS_PER_MINUTE:
            raise CommandError(f"--calls-per-minute: 1 to {MOST_CALLS_PER_MINUTE}")
        replay = engine.ask(
            chosen(options),
            why=options["why"][:300],
            send_again=options["send_again"],
            calls_per_minute=options["calls_per_minute"],
            asked_by=who(),
        )
        self.stdout.write(f"replay {replay}: {selection_words(replay.selection)}")
        try:
            self._work(replay)
            self._list(replay)
            if not options["dry_run"] and replay.start(who()):
                self._work(replay)
        except KeyboardInterrupt:
            replay.cancel(who())
            self.stderr.write("\ninterrupted: the replay is cancelled; what was queued before is still sent")
            raise SystemExit(INTERRUPTED) from None
        self._end(replay, options["dry_run"])

    def _work(self, replay: Replay) -> None:
        """The dry run, or the real one, to its end; a worker may lend a hand meanwhile."""
        while replay.is_at_work:
            if not engine.step(replay.pk):
                time.sleep(WAIT_SECONDS)
            replay.refresh_from_db(fields=["status", "cursor", "tried", "done", "next_step_at"])
            self._tell(replay)
        if self.stdout.isatty():
            self.stdout.write("")

    def _tell(self, replay: Replay) -> None:
        line = f"{replay.get_status_display()}: {replay.percent} %, {result_words(replay)}"
        if self.stdout.isatty():
            self.stdout.write(f"\r{line}\x1b[K", ending="")
            self.stdout.flush()
        elif time.monotonic() >= self._next_line_at:  # in a log: a line now and then
            self._next_line_at = time.monotonic() + LOG_SECONDS
            self.stdout.write(line)

    def _list(self, replay: Replay) -> None:
        """The first events in full, the calls of all of them as figures."""
        replay.refresh_from_db()
        for outcome in replay.sample:
            calls = [f"{call['call']} {call['target']} ({call['state']})" for call in outcome["calls"]]
            said = "; ".join(calls) or outcome["summary"]
            self.stdout.write(f"  event {outcome['event']} {outcome['event_type']}: {said}")
        if replay.total > len(replay.sample):
            self.stdout.write(f"  … and {replay.total - len(replay.sample)} more, with these calls:")
            rest = replay.planned.filter(event__gt=replay.sample[-1]["event"]).order_by("pk")
            for row in rest.iterator(chunk_size=2000):
                self.stdout.write(f"  event {row.event}: {row.call} {row.target} ({row.state})")
        for call, states in replay.tried.get("calls", {}).items():
            self.stdout.write(
                f"  {call}: " + ", ".join(f"{count} {state}" for state, count in states.items())
            )

    def _end(self, replay: Replay, dry_run: bool) -> None:
        replay.refresh_from_db()
        if replay.status == Replay.Status.CANCELLED:
            raise CommandError(f"replay {replay} was cancelled by {replay.cancelled_by}")
        self.stdout.write(f"{'dry run' if dry_run else 'done'}: {result_words(replay)}")
        for failure in replay.failures:
            self.stderr.write(f"event {failure['event']} failed: {failure['error']}")
        if replay.figures.get("outcomes", {}).get(engine.FAILED):
            raise SystemExit(SOME_FAILED)


def chosen(options: dict[str, Any]) -> EventFilter:
    """The options as a filter of the event list; raises CommandError."""
    params = {name: options[name] for name in ("type", "status", "chat")}
    if slug := options["bot"]:
        bot = Bot.objects.filter(slug=slug).first()
        if bot is None:
            raise CommandError(f"There is no bot {slug}.")
        params["bot"] = str(bot.pk)
    try:
        return EventFilter.from_query(
            {**params, "since": ago(options["since"]), "until": ago(options["until"])}
        )
    except FilterError as error:
        raise CommandError(str(error)) from error


def ago(text: str) -> str:
    """`2h` as the time it was then; anything else as it is."""
    match = AGO.fullmatch(text.strip())
    if match is None:
        return text
    return (timezone.now() - timedelta(**{UNITS[match[2]]: int(match[1])})).isoformat()


def who() -> str:
    try:
        return f"manage.py ({getpass.getuser()})"
    except (OSError, KeyError):
        return "manage.py"
