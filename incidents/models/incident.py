"""Incidents. Every verb is a conditional update: of two callers one wins."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.db import IntegrityError, connection, models, transaction
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from events.confidential import Reader
from events.envelope import ID_LENGTH
from events.models import Bot, prepared_cursor

from .. import archive, chat
from ..phrases import one_line
from .actor import NAME_LENGTH, Actor, StepError, Via
from .export import Export
from .postmortem import PostMortem
from .service import Service, Severity
from .timeline import FormerChat, Responder, TimelineEntry


class IncidentQuerySet(models.QuerySet["Incident"]):
    @transaction.atomic
    def open(
        self,
        *,
        bot: Bot,
        title: str,
        by: Actor,
        severity: str = "",
        service: Service | None = None,
        responders: Iterable[Responder] = (),
        image: bytes = b"",
        **fields: Any,
    ) -> Incident:
        """A new incident; its chat follows when the worker comes to it.

        One that names no service is the bot's default service's, unless it is a drill.
        """
        now = timezone.now()
        if service is None and not fields.get("drill"):
            service = Service.objects.default_of(bot)
        incident: Incident = self.create(
            bot=bot,
            title=one_line(title),
            severity=severity or (service.severity if service else Severity.P2),
            service=service,
            opened_at=now,
            active_at=now,
            opened_by=by.name,
            opened_by_open_id=by.open_id,
            source=by.via,
            **fields,
        )
        incident.write(TimelineEntry.Kind.OPENED, by, text=title)
        incident.call_in(
            [*(Responder(open_id=one) for one in (service.everyone if service else ())), *responders]
        )
        chat.begin(incident, image)
        chat.call_for_help(incident)
        return incident

    def open_once(self, *, key: uuid.UUID, **fields: Any) -> Incident:
        """As `open`; the same key again, even at the same moment, is the same incident."""
        try:
            with transaction.atomic():
                return self.filter(key=key).first() or self.open(key=key, **fields)
        except IntegrityError:
            return self.get(key=key)  # the other one was faster; any other breach raises here

    @transaction.atomic
    def import_chat(
        self, *, bot: Bot, chat_id: str, title: str, by: Actor, resolved: bool = False, **fields: Any
    ) -> Incident:
        """An incident of a chat that exists already, for a retrospective; nothing is sent anywhere.

        What the event log has of the chat, from the opening to the resolution where they are given, is its timeline.
        The chat of an incident is not made another one: that one is returned.
        """
        from .. import early  # it is built on this module

        since, until = fields.get("opened_at"), fields.get("resolved_at")
        Bot.objects.select_for_update(no_key=True).get(pk=bot.pk)  # of two imports of a chat, one waits here
        if known := self.that_had(bot, chat_id):
            return known
        now = timezone.now()
        fields = {"opened_at": now, "active_at": now, "source": by.via} | fields
        if resolved:
            end = {"resolved_at": now, "resolved_by": by.name, "resolved_by_open_id": by.open_id}
            fields = {"status": Incident.Status.RESOLVED} | end | fields
        people = {"opened_by": by.name, "opened_by_open_id": by.open_id}
        incident: Incident = self.create(bot=bot, chat_id=chat_id, title=one_line(title), **people, **fields)
        incident.write(TimelineEntry.Kind.IMPORTED, by, text=chat_id)
        early.take_up_past(incident, since, until)
        return incident

    def visible_to(self, user: Reader) -> IncidentQuerySet:
        """Private incidents are for those with the permission alone."""
        return self if user.has_perm(Incident.SEES_PRIVATE) else self.filter(private=False)

    def unresolved(self) -> IncidentQuerySet:
        return self.exclude(status=Incident.Status.RESOLVED)

    def calling_nobody(self) -> IncidentQuerySet:
        """Those that nobody has taken, with only the bot in the chat as far as we know: nobody sees them there."""
        reachable = Responder.objects.filter(incident=OuterRef("pk")).exclude(status=Responder.Status.FAILED)
        kinds = (*TimelineEntry.TRACES, TimelineEntry.Kind.IMPORTED)
        heard = TimelineEntry.objects.filter(incident=OuterRef("pk"), kind__in=kinds)
        alone = self.filter(status=Incident.Status.OPEN, drill=False)
        return alone.exclude(Exists(reachable)).exclude(Exists(heard))

    def that_had(self, bot: Bot, chat_id: str) -> Incident | None:
        """The newest incident whose chat it is, or was."""
        chats = Q(chat_id=chat_id) | Q(pk__in=FormerChat.objects.filter(chat_id=chat_id).values("incident"))
        return self.filter(chats, bot=bot).order_by("-pk").first()

    def newest_in(self, bots: Collection[int], chat_ids: Collection[str]) -> dict[tuple[int, str], int]:
        """The newest incident of each of these chats that has one: {(the bot's key, chat_id): its key}."""
        with prepared_cursor() as cursor:  # a fifth of what it costs to have the ORM write the same
            cursor.execute(_NEWEST_IN[connection.vendor], [_array(bots), _array(set(chat_ids) - {""})])
            return {(bot, chat_id): newest for bot, chat_id, newest in cursor.fetchall()}

    def in_chat(self, bot: Bot, chat_id: str) -> Incident | None:
        """The newest incident of a chat. Asked for every event of every chat, nearly always in vain."""
        newest = self.newest_in([bot.pk], [chat_id]).get((bot.pk, chat_id)) if chat_id else None
        return self.filter(pk=newest).first() if newest else None


_NEWEST_IN = {
    "postgresql": "SELECT bot_id, chat_id, max(id) FROM incidents_incident"
    " WHERE bot_id = ANY(%s) AND chat_id = ANY(%s) GROUP BY bot_id, chat_id",
    "sqlite": "SELECT bot_id, chat_id, max(id) FROM incidents_incident"
    " WHERE bot_id IN (SELECT value FROM json_each(%s)) AND chat_id IN (SELECT value FROM json_each(%s))"
    " GROUP BY bot_id, chat_id",
}


def _array(values: Collection[int] | Collection[str]) -> Any:
    return list(values) if connection.vendor == "postgresql" else json.dumps(list(values))


class Incident(models.Model):
    """Something is broken, and people are at it."""

    class Status(models.TextChoices):
        OPEN = "open", _("open")
        ACKNOWLEDGED = "acknowledged", _("acknowledged")
        RESOLVED = "resolved", _("resolved")

    SEES_PRIVATE = "incidents.view_private_incident"
    UNRESOLVED = (Status.OPEN, Status.ACKNOWLEDGED)

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    bot = models.ForeignKey(Bot, models.PROTECT, related_name="incidents", verbose_name=_("bot"))
    title = models.CharField(_("title"), max_length=200)
    severity = models.CharField(_("severity"), max_length=2, choices=Severity.choices, default=Severity.P2)
    status = models.CharField(_("status"), max_length=12, choices=Status.choices, default=Status.OPEN)
    description = models.TextField(_("description"), blank=True)
    service = models.ForeignKey(
        Service, models.SET_NULL, null=True, blank=True, related_name="incidents", verbose_name=_("service")
    )
    source = models.CharField(_("source"), max_length=10, choices=Via.choices, default=Via.ADMIN)
    private = models.BooleanField(_("private"), default=False)
    drill = models.BooleanField(
        _("drill"), default=False, help_text=_("Kept off the figures; nobody is reminded.")
    )
    lead_open_id = models.CharField(_("lead"), max_length=ID_LENGTH, blank=True)

    chat_id = models.CharField(_("chat"), max_length=ID_LENGTH, blank=True)
    chat_gone = models.BooleanField(_("chat is gone"), default=False)
    # Counts the chats that were begun for it: docs/decisions/0008.
    chat_generation = models.PositiveIntegerField(default=1, editable=False)
    image_key = models.CharField(max_length=ID_LENGTH, blank=True, editable=False)
    card_message_id = models.CharField(max_length=ID_LENGTH, blank=True, editable=False)
    revision = models.PositiveIntegerField(default=1, editable=False)

    opened_at = models.DateTimeField(_("opened at"))
    opened_by = models.CharField(_("opened by"), max_length=NAME_LENGTH, blank=True)
    opened_by_open_id = models.CharField(max_length=ID_LENGTH, blank=True)
    acknowledged_at = models.DateTimeField(_("acknowledged at"), null=True, blank=True)
    acknowledged_by = models.CharField(_("acknowledged by"), max_length=NAME_LENGTH, blank=True)
    acknowledged_by_open_id = models.CharField(max_length=ID_LENGTH, blank=True)
    resolved_at = models.DateTimeField(_("resolved at"), null=True, blank=True)
    resolved_by = models.CharField(_("resolved by"), max_length=NAME_LENGTH, blank=True)
    resolved_by_open_id = models.CharField(max_length=ID_LENGTH, blank=True)
    resolution_note = models.TextField(_("resolution note"), blank=True)
    false_alarm = models.BooleanField(_("false alarm"), default=False)
    muted_until = models.DateTimeField(_("muted until"), null=True, blank=True)
    active_at = models.DateTimeField(_("last activity"))
    # Since the last opening or acknowledgement: see reminders.py.
    reminder_count = models.PositiveIntegerField(default=0, editable=False)
    reminded_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects: ClassVar[IncidentQuerySet] = IncidentQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("incident")
        verbose_name_plural = _("incidents")
        ordering = ("-pk",)
        permissions = (("view_private_incident", "Can view private incidents"),)
        indexes = (
            models.Index(fields=("bot", "chat_id"), name="incident_by_chat"),
            models.Index(fields=("opened_at",), condition=~Q(status="resolved"), name="incident_unresolved"),
        )

    def __str__(self) -> str:
        return self.number

    @property
    def number(self) -> str:
        return f"INC-{self.pk}"

    @property
    def is_muted(self) -> bool:
        quiet = self.muted_until is not None and self.muted_until > timezone.now()
        return quiet and self.status != self.Status.RESOLVED

    @property
    def calls_nobody(self) -> bool:
        if self.status != self.Status.OPEN or any(one.status != "failed" for one in self.responders.all()):
            return False  # without a query, mostly
        return Incident.objects.filter(pk=self.pk).calling_nobody().exists()

    @property
    def duration(self) -> timedelta:
        """From opening to resolution, or until now."""
        return (self.resolved_at or timezone.now()) - self.opened_at

    # --- Verbs: each raises StepError where the state does not allow it ----------------------------------
    def acknowledge(self, by: Actor) -> None:
        """Someone is at it."""
        self._step(
            TimelineEntry.Kind.ACKNOWLEDGED,
            by,
            allowed=(self.Status.OPEN,),
            status=self.Status.ACKNOWLEDGED,
            acknowledged_at=timezone.now(),
            acknowledged_by=by.name,
            acknowledged_by_open_id=by.open_id,
            reminder_count=0,
            reminded_at=None,
        )

    def resolve(self, by: Actor, note: str = "", *, false_alarm: bool = False) -> None:
        """It is over; a false alarm is over too, and says so."""
        self._step(
            TimelineEntry.Kind.FALSE_ALARM if false_alarm else TimelineEntry.Kind.RESOLVED,
            by,
            note,
            allowed=(self.Status.OPEN, self.Status.ACKNOWLEDGED),
            status=self.Status.RESOLVED,
            resolved_at=timezone.now(),
            resolved_by=by.name,
            resolved_by_open_id=by.open_id,
            resolution_note=note,
            false_alarm=false_alarm,
        )

    @transaction.atomic
    def reopen(self, by: Actor, reason: str = "") -> None:
        """It is not over after all; whoever had acknowledged it must do so again.

        A chat that still stands is kept; in place of one that is gone a new one begins: docs/decisions/0008. A mute
        of before ends, unless its alerts alone flicker: who opens it again wants it heard.
        """
        until = self.muted_until if by.via == Via.ALERT else None
        self._step(
            TimelineEntry.Kind.REOPENED,
            by,
            reason,
            allowed=(self.Status.RESOLVED,),
            status=self.Status.OPEN,
            acknowledged_at=None,
            acknowledged_by="",
            acknowledged_by_open_id="",
            resolved_at=None,
            resolved_by="",
            resolved_by_open_id="",
            resolution_note="",
            false_alarm=False,
            muted_until=until,
            reminder_count=0,
            reminded_at=timezone.now(),
        )
        archive.call_off(self)
        chat.begin_again(self)

    def change_severity(self, by: Actor, severity: str) -> None:
        """Raises StepError too where somebody else has changed it since this row was read."""
        was = {"severity": self.severity}
        if severity != self.severity:  # else nothing changes, so nobody is told
            self._step(
                TimelineEntry.Kind.SEVERITY, by, severity, allowed=self.UNRESOLVED, was=was, severity=severity
            )

    def assign_lead(self, by: Actor, open_id: str) -> None:
        """One person leads; whoever is not in the chat yet is added. StepError as for the severity."""
        was = {"lead_open_id": self.lead_open_id}
        with transaction.atomic():
            self._step(
                TimelineEntry.Kind.LEAD, by, open_id, allowed=self.UNRESOLVED, was=was, lead_open_id=open_id
            )
            self.call_in([Responder(open_id=open_id)])
            chat.add_responders(self)

    def add_responders(self, by: Actor, responders: Sequence[Responder]) -> None:
        with transaction.atomic():
            whom = " ".join(one.label for one in responders)
            self._step(TimelineEntry.Kind.CALLED_IN, by, whom, allowed=self.UNRESOLVED)
            self.call_in(responders)
            chat.add_responders(self)

    def mute(self, by: Actor, duration: timedelta) -> None:
        """Quiet for that long: no reminders, no repeated alerts."""
        until = timezone.now() + duration
        text = timezone.localtime(until).strftime("%Y-%m-%d %H:%M")
        self._step(TimelineEntry.Kind.MUTED, by, text, allowed=self.UNRESOLVED, muted_until=until)

    def note(self, by: Actor, text: str) -> None:
        """A remark for the timeline; possible at any time."""
        self._step(TimelineEntry.Kind.NOTE, by, text, allowed=self.Status.values)

    def _step(
        self,
        kind: str,
        by: Actor,
        text: str = "",
        *,
        allowed: Iterable[str],
        was: Mapping[str, str] | None = None,
        **changes: Any,
    ) -> None:
        """One conditional update, its timeline entry, and what Feishu must see, or nothing at all.

        `was`: what a field held when the caller looked; of two who set it at once, one wins.
        """
        with transaction.atomic():
            rows = Incident.objects.filter(pk=self.pk, status__in=list(allowed), **(was or {}))
            if not rows.update(revision=F("revision") + 1, active_at=timezone.now(), **changes):
                self.refresh_from_db()
                raise StepError(self, contested=kind if was and self.status in allowed else "")
            self.refresh_from_db()
            entry = self.write(kind, by, text=text)
            chat.show(self, entry, by)

    # --- Review: `export`, the post-mortem, the archive ----------------------------------------------------
    def export(self, by: Actor) -> Export:
        """A zip of everything, made by the worker."""
        return Export.objects.ask(self, by)

    def draft_post_mortem(self, by: Actor) -> PostMortem:
        """The post-mortem, drafted from the template if there is none yet."""
        return PostMortem.objects.draft(self, by)

    def archive(self, by: Actor, *, disband: bool, accept_gaps: bool = False) -> Export:
        """Exports everything, then dissolves the chat or leaves it; raises StepError while it is unresolved."""
        return archive.ask(self, by, disband=disband, accept_gaps=accept_gaps)

    # --- What belongs to it ------------------------------------------------------------------------------
    def write(self, kind: str, by: Actor, **entry: Any) -> TimelineEntry:
        """A line of the timeline."""
        return TimelineEntry.objects.create(
            incident=self, kind=kind, via=by.via, person=by.name, open_id=by.open_id, **entry
        )

    def all_chats(self) -> list[str]:
        """Its chat and those it had before, oldest first."""
        former = list(self.former_chats.values_list("chat_id", flat=True))
        return [*former, self.chat_id] if self.chat_id else former

    def call_in(self, responders: Iterable[Responder]) -> None:
        """Remembers who is to be in the chat; whoever was refused, or has left, is tried again."""
        known = {one.identity: one for one in self.responders.all()}
        for responder in responders:
            if (same := known.get(responder.identity)) is None:
                known[responder.identity] = responder
                responder.incident = self
                responder.save()
            elif same.pk and same.status != Responder.Status.WAITING:
                same.status, same.error = Responder.Status.WAITING, ""
                same.save(update_fields=["status", "error"])

    def call_in_again(self) -> None:
        """Whoever was called in, or has been heard in the chat and did not leave it, is to be in the next chat."""
        heard = self.timeline.filter(via=Via.CHAT, kind__in=TimelineEntry.TRACES, open_id__startswith="ou_")
        last = dict(heard.order_by("happened_at", "pk").values_list("open_id", "kind"))
        left = {open_id for open_id, kind in last.items() if kind == TimelineEntry.Kind.LEFT}
        known = {one.open_id for one in self.responders.all()}
        self.responders.exclude(open_id__in=left).update(status=Responder.Status.WAITING, error="")
        self.call_in(Responder(open_id=one) for one in last if one not in left | known)

    def reopened_unheard(self) -> datetime | None:
        """When it was opened again, if nobody has been heard in its chat since then; else None."""
        rows = self.timeline.filter(Q(kind=TimelineEntry.Kind.REOPENED) | Q(via=Via.CHAT)).order_by("-pk")
        last = rows.first()
        return last.happened_at if last is not None and last.kind == TimelineEntry.Kind.REOPENED else None
