"""What one incident's page shows of the alerts behind it, and of the incidents that the same alerts were before."""

from datetime import timedelta
from typing import Any

from django.utils.safestring import SafeString
from django.utils.translation import gettext

from events.adminrows import moment, pill
from events.jsontree import tree

from .models import Incident, StoredAlert

ALERTS_SHOWN, ALERTS_FOLDED = 5, 45
EARLIER_SHOWN = 5


def alerts_behind(incident: Incident, user: Any) -> dict[str, Any]:
    """The firing ones first, then the newest; the first few at once, more folded. Nothing where there is none."""
    most = ALERTS_SHOWN + ALERTS_FOLDED
    rows = list(incident.alerts.all()[: most + 1])
    if not rows:
        return {"alerts": ()}
    total = len(rows) if len(rows) <= most else incident.alerts.count()
    lines = [alert_line(row) for row in rows[:most]]
    return {
        "alerts": lines[:ALERTS_SHOWN],
        "more_alerts": lines[ALERTS_SHOWN:],
        "alerts_left_out": total - len(lines),
        "alert_total": total,
        "earlier": earlier(incident, user),
    }


def alert_line(row: StoredAlert) -> dict[str, Any]:
    """`row.url` was checked where it came in: it is of the web, or empty."""
    return {
        "row": row,
        "mark": firing_mark(row),
        "severity": pill(row.severity.lower(), row.severity) if row.severity else "",
        "first": moment(row.first_at),
        "last": moment(row.last_at) if row.last_at - row.first_at > timedelta(seconds=1) else "",
        "tree": tree(row.payload),
    }


def firing_mark(row: StoredAlert) -> SafeString:
    return pill("failed", gettext("firing")) if row.firing else pill("handled", gettext("recovered"))


def earlier(incident: Incident, user: Any) -> list[Incident]:
    """The last incidents that these alerts were before; the private ones for those who may see them."""
    groups = incident.alerts.values("group")
    same = Incident.objects.filter(pk__in=StoredAlert.objects.filter(group__in=groups).values("incident"))
    return list(same.visible_to(user).filter(pk__lt=incident.pk).order_by("-pk")[:EARLIER_SHOWN])
