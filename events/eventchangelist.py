"""The page of the event log: Django's change list with the log's own filters, paged by key."""

from dataclasses import fields
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .eventfilter import EventFilter, FilterError, checked_time, first_pk_at
from .eventlist import LOOKED_THROUGH, Page, estimate, newest_key, page_of
from .eventrows import event_lines
from .models import BIGGEST_KEY, Bot, Chat, Event, EventText, Person
from .reading import catch_up
from .words import EVENT_TYPES, TRANSPORTS, short_id

DELIVERY_WORDS = {"late": _("Came late"), "again": _("Delivered more than once")}


class EventList(ChangeList):
    """What was chosen (`chosen`), what cannot be understood of it (`problem`), and the page of it (`page`)."""

    def __init__(self, request: HttpRequest, *args: Any) -> None:
        self.problem, self.reader = "", request.user
        self.chosen = EventFilter()
        try:
            self.chosen = EventFilter.from_query(request.GET.dict())
            self.before, self.after = cursors(request)
        except FilterError as error:
            self.problem, self.before, self.after = str(error), None, None
            messages.error(request, self.problem)
        super().__init__(request, *args)
        self.title = str(self.opts.verbose_name_plural)

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Event]:
        """Everything that matches: what an action on the whole choice is about."""
        self.filter_specs, self.has_filters, self.has_active_filters = [], False, False
        rows = self.root_queryset.none() if self.problem else self.chosen.queryset(among=self.root_queryset)
        return rows.order_by("-pk")

    def get_results(self, request: HttpRequest) -> None:
        # Noted before the page is read: what comes meanwhile is in the page, or is sent by the live tail.
        self.newest = newest_key()
        if self.chosen.reads_texts:
            catch_up()
        self.page = Page()
        if not self.problem:
            self.page = page_of(self.chosen, before=self.before, after=self.after, among=self.root_queryset)
        self.result_list = self.page.events
        self.estimate = None if self.problem else estimate(self.chosen, self.root_queryset)
        self.result_count = self.estimate.count if self.estimate else 0
        self.full_result_count, self.show_full_result_count = None, False
        self.show_admin_actions, self.can_show_all, self.multi_page = True, False, False
        self.lines = event_lines(self.page.events)

    @property
    def is_newest_page(self) -> bool:
        return self.page.newer is None and not self.problem

    @property
    def is_compared(self) -> bool:
        """Whether a search is too short for the index of texts: then only the newest events are compared."""
        return bool(self.chosen.q) and not self.chosen.is_indexed and not self.chosen.known_ids

    @property
    def searchable_since(self) -> Any:
        """How far back the index of texts reaches, where it does not hold all of the log yet."""
        return EventText.objects.searchable_since() if self.chosen.reads_texts else None

    @property
    def looked_through(self) -> int:
        return LOOKED_THROUGH

    @property
    def looked_back_to(self) -> Any:
        """When the last event that was compared came in."""
        key = self.page.looked_back_to
        at = Event.objects.filter(pk__lte=key).order_by("-pk") if key else Event.objects.none()
        return at.values_list("received_at", flat=True).first()

    def link(self, **params: object) -> str:
        query = EventFilter.as_query(self.chosen)
        extra = "&".join(f"{name}={value}" for name, value in params.items())
        return "?" + "&".join(part for part in (query, extra) if part)

    @property
    def export_query(self) -> str:
        return self.link() or "?"

    @property
    def newer_url(self) -> str:
        return self.link(after=self.page.newer) if self.page.newer is not None else ""

    @property
    def older_url(self) -> str:
        return self.link(before=self.page.older) if self.page.older is not None else ""

    @property
    def newest_url(self) -> str:
        return self.link() if not self.is_newest_page else ""

    @property
    def fields(self) -> dict[str, Any]:
        """What the form of filters offers and what is chosen in it."""
        chosen = {field.name: getattr(self.chosen, field.name) for field in fields(self.chosen)}
        for name in ("since", "until"):
            chosen[name] = _for_input(chosen[name])
        return {
            **chosen,
            "bots": [(str(pk), name) for pk, name in Bot.objects.order_by("name").values_list("pk", "name")],
            "types": [*EVENT_TYPES.items(), ("other", _("Other"))],
            "statuses": Event.Status.choices,
            "transports": TRANSPORTS.items(),
            "deliveries": DELIVERY_WORDS.items(),
            "chat_name": self._name_of(Chat.objects.readable_by(self.reader), self.chosen.chat),
            "person_name": self._name_of(Person.objects.all(), self.chosen.person),
            "unknown_type": self.chosen.type not in ("", "other", *EVENT_TYPES),
        }

    def _name_of(self, known: QuerySet[Any], identifier: str) -> str:
        if not identifier:
            return ""
        rows = known.filter(**{known.model.ID_FIELD: identifier}).exclude(name="")
        return rows.values_list("name", flat=True).first() or short_id(identifier)


def cursors(request: HttpRequest) -> tuple[int | None, int | None]:
    """(before, after) of the address; a time to jump to (`at`) is a `before`. Raises FilterError."""
    before, after = _key(request.GET.get("before", "")), _key(request.GET.get("after", ""))
    if at := request.GET.get("at", "").strip():
        before = first_pk_at(checked_time(at) + timedelta(seconds=1))
    return before, after


def _key(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text[:20]) <= BIGGEST_KEY):
        raise FilterError(gettext("This address is incomplete. Start again from the newest events."))
    return int(text)


def _for_input(text: str) -> str:
    """An ISO time as a field of the browser takes it: without a zone, in the console's."""
    at = parse_datetime(text) if text else None
    return timezone.localtime(at).strftime("%Y-%m-%dT%H:%M") if at else ""
