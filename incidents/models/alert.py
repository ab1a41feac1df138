"""Alerts as they are stored: what came and how often, and the one unresolved incident in which equal ones meet."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

from django.db import models, transaction
from django.db.models import Case, F, Q, Sum, Value, When
from django.utils import timezone
from django.utils.translation import gettext as _

from events.models import Bot, insert_once

from .. import chat
from ..alerts import Alert
from ..alerts.values import FINGERPRINT_LENGTH, TITLE_LENGTH, URL_LENGTH
from .actor import Actor, Via
from .incident import Incident
from .service import Service, Severity
from .timeline import TimelineEntry

log = logging.getLogger(__name__)

QUIET = timedelta(minutes=10)  # between two lines in a chat that say the same of its alerts
REOPENED_WITHIN = timedelta(hours=1)
# How long the very firing that people have called over may go on before it is a new incident: the source takes a
# while to notice a repair, and what is a false alarm stays one.
SETTLED = timedelta(minutes=30)
SETTLED_AS_FALSE = timedelta(days=1)
ROWS_PER_STATEMENT = 500  # SQLite takes so many values at once and not many more


@dataclass(frozen=True)
class Received:
    """Where an alert went: an incident, and whether it was opened for it."""

    incident: Incident
    opened: bool


class AlertGroupManager(models.Manager["AlertGroup"]):
    def receive(self, bot: Bot, source: str, alerts: Iterable[Alert], by: Actor) -> list[Received]:
        """Takes every alert of a request; those that nobody had opened anything for, and are over, go nowhere.

        Each group is a transaction of its own; in a fixed order, so that two requests never wait for each other.
        """
        groups: dict[str, dict[str, Alert]] = {}
        for alert in alerts:
            groups.setdefault(alert.key, {})[alert.fingerprint] = alert  # of one alert, the last word counts
        taken = [self._take(bot, source, key, list(groups[key].values()), by) for key in sorted(groups)]
        return [one for one in taken if one]

    @transaction.atomic
    def _take(self, bot: Bot, source: str, key: str, alerts: Sequence[Alert], by: Actor) -> Received | None:
        """The group's row is locked: whoever brings the same alert at the same moment waits here."""
        insert_once(AlertGroup(bot=bot, source=source, key=key))
        group = (
            self.select_for_update(of=("self",)).select_related("bot").get(bot=bot, source=source, key=key)
        )
        with chat.language_of_the_chat():
            return group.take(alerts, by, timezone.now())

    def tell_turned(self, now: datetime) -> int:
        """Says in the chats what was held back lest they flicker: recovered, or firing again. Called by the worker."""
        due = Q(turned_at=None) | Q(turned_at__lte=now - QUIET)
        loud = Q(incident__muted_until=None) | Q(incident__muted_until__lte=now) | Q(recovered=True)
        held_back = self.exclude(recovered=F("told_recovered")).filter(due, loud)
        in_a_chat = held_back.filter(incident__status__in=Incident.UNRESOLVED).exclude(incident__chat_id="")
        told = 0
        for pk in list(in_a_chat.values_list("pk", flat=True)):
            try:
                told += self._tell_turned(pk, now)
            except Exception:
                log.exception("the chat was not told of alert group %s; it is tried again", pk)
        return told

    @transaction.atomic
    def _tell_turned(self, pk: int, now: datetime) -> bool:
        group = self.select_for_update(of=("self",)).select_related("bot").get(pk=pk)
        incident = group.newest_incident()
        if incident is None or not _is_alive(incident):
            return False
        with chat.language_of_the_chat():
            told = group.tell(incident, Actor(Via.ALERT, group.source), now)
        group.save()
        return told


class AlertGroup(models.Model):
    """What is taken for one thing: at any time at most one incident is opened for it."""

    bot = models.ForeignKey(Bot, models.CASCADE, related_name="+")
    source = models.CharField(max_length=20)
    key = models.CharField(max_length=64)
    incident = models.ForeignKey(Incident, models.SET_NULL, null=True, related_name="+")
    recovered = models.BooleanField(default=False)
    # What the chat has heard of it last, and when.
    told_recovered = models.BooleanField(default=False)
    turned_at = models.DateTimeField(null=True)
    told_at = models.DateTimeField(null=True)

    objects: ClassVar[AlertGroupManager] = AlertGroupManager()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("bot", "source", "key"), name="one_group_per_key"),)
        indexes = (
            models.Index(
                fields=("turned_at",), condition=~Q(recovered=F("told_recovered")), name="alert_group_turned"
            ),
        )

    def __str__(self) -> str:
        return f"{self.source} {self.key}"

    def newest_incident(self) -> Incident | None:
        """The incident that these alerts are about, locked: one that people are at before all others, else the last."""
        alive = When(status__in=Incident.UNRESOLVED, chat_gone=False, then=Value(0))
        incidents = Incident.objects.filter(pk__in=self.alerts.values("incident"))
        locked = incidents.select_for_update(of=("self",)).select_related("bot", "service")
        return locked.order_by(Case(alive, default=Value(1)), "-pk").first()

    def take(self, alerts: Sequence[Alert], by: Actor, now: datetime) -> Received | None:
        """Counts the alerts, opens what they need, says what the chat should know."""
        firing = [one for one in alerts if one.firing]
        self._end([one.fingerprint for one in alerts if not one.firing], now)
        incident, opened = self.newest_incident(), False
        if incident is None or not (
            _is_alive(incident) or all(_is_settled(incident, one, now) for one in firing)
        ):
            if not firing:
                return None
            incident, opened = self._begin(incident, firing, by, now)
        self._count(incident, firing, by, now)
        if _is_alive(incident):
            self.incident = incident
            self.recovered = not incident.alerts.filter(firing=True).exists()
            self.tell(incident, by, now, repeated=bool(firing) and not opened)
        self.save()
        return Received(incident, opened)

    def _end(self, fingerprints: Sequence[str], now: datetime) -> None:
        """These alerts are over, on the page of every incident that they are behind."""
        for number in range(0, len(fingerprints), ROWS_PER_STATEMENT):
            some = fingerprints[number : number + ROWS_PER_STATEMENT]
            self.alerts.filter(fingerprint__in=some, firing=True).update(firing=False, last_at=now)

    def _begin(
        self, before: Incident | None, firing: Sequence[Alert], by: Actor, now: datetime
    ) -> tuple[Incident, bool]:
        """A new incident; but one that its alerts alone had ended just now goes on."""
        self.told_recovered, self.turned_at, self.told_at = False, None, now
        if before is not None and _ended_by_alerts(before, now):
            before.reopen(by, _("The alert fires again"))
            return before, False
        worst = min(firing, key=lambda one: one.severity or "P9")
        incident = Incident.objects.open(
            bot=self.bot,
            title=worst.title,
            by=by,
            severity=worst.severity,
            service=Service.objects.named(worst.services),
            description=worst.description,
            image=next((one.image for one in firing if one.image), b""),
        )
        if before is not None:
            outcome = _("false alarm") if before.false_alarm else before.get_status_display()
            text = _("This alert was %(incident)s before: %(outcome)s") % {
                "incident": before,
                "outcome": outcome,
            }
            incident.write(TimelineEntry.Kind.ALERT, by, text=text)
        return incident, True

    def _count(self, incident: Incident, firing: Collection[Alert], by: Actor, now: datetime) -> None:
        """A row for each new alert, one more for each known one; one that is worse makes the incident worse."""
        rows = incident.alerts.only("incident", "fingerprint", "count") if firing else ()
        known = {row.fingerprint: row for row in rows}
        new, again = [], []
        for alert in firing:
            row = known.get(alert.fingerprint)
            if row is None:
                row = StoredAlert(incident=incident, group=self, fingerprint=alert.fingerprint, first_at=now)
                new.append(row)
            else:
                again.append(row)
            row.hear(alert, now)
        StoredAlert.objects.bulk_create(new, batch_size=ROWS_PER_STATEMENT)
        StoredAlert.objects.bulk_update(again, StoredAlert.HEARD, batch_size=ROWS_PER_STATEMENT // 10)
        worst = min((row.severity for row in new if row.severity), default=incident.severity)
        if worst < incident.severity and _is_alive(incident):
            incident.change_severity(by, worst)

    def tell(self, incident: Incident, by: Actor, now: datetime, *, repeated: bool = False) -> bool:
        """The line about its alerts that the chat should have now, if any; True if there was one."""
        if self.recovered and incident.service and incident.service.resolved_by_alerts:
            incident.write(TimelineEntry.Kind.RECOVERED, by, text=incident.title)
            incident.resolve(by, _("All its alerts have recovered"))
            return True
        if self.recovered != self.told_recovered:
            return self._turn(incident, by, now)
        if not repeated or self.recovered or incident.is_muted or not _long_ago(self.told_at, now):
            return False
        self.told_at = now
        _say(incident, TimelineEntry.Kind.ALERT, by, _still(incident))
        return True

    def _turn(self, incident: Incident, by: Actor, now: datetime) -> bool:
        """Recovered, or firing again: said at once, but not for every flicker, and not before anyone can hear it."""
        muted = incident.is_muted and not self.recovered
        if muted or not incident.chat_id or not _long_ago(self.turned_at, now):
            return False
        self.told_recovered, self.turned_at, self.told_at = self.recovered, now, now
        if self.recovered:
            _say(incident, TimelineEntry.Kind.RECOVERED, by, incident.title)
        else:
            _say(incident, TimelineEntry.Kind.ALERT, by, _("Firing again: %s") % incident.title)
        return True


class StoredAlert(models.Model):
    """An alert behind an incident: what it said last, and how often it came."""

    HEARD = ("title", "severity", "url", "payload", "firing", "count", "last_at")

    incident = models.ForeignKey(Incident, models.CASCADE, related_name="alerts")
    group = models.ForeignKey(AlertGroup, models.CASCADE, related_name="alerts")
    fingerprint = models.CharField(max_length=FINGERPRINT_LENGTH)
    title = models.CharField(max_length=TITLE_LENGTH)
    severity = models.CharField(max_length=2, choices=Severity.choices, blank=True)
    url = models.CharField(max_length=URL_LENGTH, blank=True)
    firing = models.BooleanField(default=True)
    count = models.PositiveIntegerField(default=0)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    payload = models.JSONField(default=dict)

    class Meta:
        ordering = ("-firing", "-last_at", "-pk")
        constraints = (models.UniqueConstraint(fields=("incident", "fingerprint"), name="one_row_per_alert"),)

    def __str__(self) -> str:
        return self.title

    def hear(self, alert: Alert, now: datetime) -> None:
        """It fires (again), and what it says now counts; not saved."""
        self.title, self.severity, self.url = alert.title, alert.severity, alert.url
        self.payload, self.firing, self.last_at = dict(alert.payload), True, now
        self.count += 1


def _is_alive(incident: Incident) -> bool:
    """Whether people are at it and can be told: an alert in a chat that is gone would reach nobody."""
    return incident.status != Incident.Status.RESOLVED and not incident.chat_gone


def _is_settled(incident: Incident, alert: Alert, now: datetime) -> bool:
    """Whether it is the firing that people called over, not a new one; a source that gives no time cannot say."""
    if incident.resolved_at is None or alert.starts_at is None or alert.starts_at > incident.resolved_at:
        return False
    return now < incident.resolved_at + (SETTLED_AS_FALSE if incident.false_alarm else SETTLED)


def _ended_by_alerts(incident: Incident, now: datetime) -> bool:
    """Whether nobody but its alerts said, a moment ago, that it is over."""
    if incident.chat_gone or incident.resolved_at is None or incident.resolved_at < now - REOPENED_WITHIN:
        return False
    last = incident.timeline.filter(kind=TimelineEntry.Kind.RESOLVED).order_by("-pk").first()
    return last is not None and last.via == Via.ALERT


def _say(incident: Incident, kind: str, by: Actor, text: str) -> None:
    chat.say(incident, incident.write(kind, by, text=text), by)


def _long_ago(moment: datetime | None, now: datetime) -> bool:
    return moment is None or moment <= now - QUIET


def _still(incident: Incident) -> str:
    """The newest alert that fires, how many beside it, and how often all of them came."""
    firing = incident.alerts.filter(firing=True)
    more = firing.count() - 1
    count = incident.alerts.aggregate(count=Sum("count"))["count"]
    values = {"title": firing.values_list("title", flat=True)[0], "more": more, "count": count}
    if more:
        return _("Still firing: %(title)s and %(more)d more; received %(count)d times") % values
    return _("Still firing: %(title)s; received %(count)d times") % values
