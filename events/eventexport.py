"""Everything that a filter matches as a file, written while it is read: page by page, never all in memory."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.translation import gettext

from .eventfilter import EventFilter
from .eventlist import estimate, page_of
from .models import Event
from .naming import Naming, naming
from .reading import catch_up

ROWS_AT_ONCE = 500
# A cell that begins so is a formula for a spreadsheet; the last four are what Chinese keyboards type.
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
BYTE_ORDER_MARK = "\ufeff"  # without it, Excel reads UTF-8 as something else

COLUMNS: Mapping[str, Callable[[Event, Naming], Any]] = {
    "received_at": lambda event, _: _time(event.received_at),
    "created_at": lambda event, _: _time(event.created_at),
    "bot": lambda event, _: event.bot.slug,
    "type": lambda event, _: event.event_type,
    "status": lambda event, _: event.status,
    "chat_id": lambda event, _: event.chat_id,
    "chat": lambda event, names: names.chats.get((event.bot_id, event.chat_id), ""),
    "person_id": lambda event, _: event.actor_open_id,
    "people": lambda event, names: "、".join(names.people_in(event).values()),
    "transport": lambda event, _: event.transport,
    "deliveries": lambda event, _: event.deliveries,
    "late": lambda event, _: event.late,
    "handler": lambda event, _: event.handler,
    "outcome": lambda event, _: event.summary,
    "duration_ms": lambda event, _: event.duration_ms,
    "tries": lambda event, _: event.tries,
    "event_id": lambda event, _: event.event_id,
    "payload": lambda event, _: event.body,
}


def exported(chosen: EventFilter, among: QuerySet[Event], kind: str) -> HttpResponseBase:
    """The file as an answer; the header X-Rows-Estimated lets the page show how far it is."""
    if kind not in WRITERS:
        text = gettext("There are two formats: csv and ndjson.")
        return HttpResponse(text, status=400, content_type="text/plain; charset=utf-8")
    content_type, write = WRITERS[kind]
    if chosen.reads_texts:
        catch_up()
    answer = StreamingHttpResponse(write(matching(chosen, among)), content_type=content_type)
    name = f"events-{timezone.localtime():%Y%m%d-%H%M%S}.{kind}"
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    answer["X-Rows-Estimated"] = str(estimate(chosen, among).count)
    answer["Cache-Control"] = "no-store"
    return answer


def matching(chosen: EventFilter, among: QuerySet[Event]) -> Iterator[tuple[list[Event], Naming]]:
    """What matches now, newest first, some at a time; an event that comes meanwhile is not in it."""
    before: int | None = None
    while True:
        page = page_of(chosen, before=before, among=among, length=ROWS_AT_ONCE)
        if page.events:
            yield page.events, naming(page.events, wanted=False)
        if page.older is None:
            return
        before = page.older


def csv_lines(pages: Iterable[tuple[list[Event], Naming]]) -> Iterator[str]:
    """One line an event: line ends inside a cell become spaces, so that lines are rows for whoever counts them."""
    yield BYTE_ORDER_MARK + csv_text([COLUMNS])
    for events, names in pages:
        yield csv_text([cell(value(event, names)) for value in COLUMNS.values()] for event in events)


def ndjson_lines(pages: Iterable[tuple[list[Event], Naming]]) -> Iterator[str]:
    for events, names in pages:
        rows = ({name: value(event, names) for name, value in COLUMNS.items()} for event in events)
        yield "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


WRITERS: Mapping[str, tuple[str, Callable[[Iterable[tuple[list[Event], Naming]]], Iterator[str]]]] = {
    "csv": ("text/csv; charset=utf-8", csv_lines),
    "ndjson": ("application/x-ndjson; charset=utf-8", ndjson_lines),
}


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    sheet = io.StringIO()
    csv.writer(sheet).writerows(rows)
    return sheet.getvalue()


def cell(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    if not isinstance(value, str):
        return value
    safe = f"'{value}" if value.lstrip(" ").startswith(FORMULA_SIGNS) else value
    return safe.replace("\r", " ").replace("\n", " ")


def _time(at: Any) -> str:
    return timezone.localtime(at).isoformat(timespec="milliseconds")
