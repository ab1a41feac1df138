"""Grafana's webhook contact point (unified alerting): Alertmanager's notification with addresses of Grafana's pages.

Beyond it, each alert has "panelURL", "dashboardURL", "imageURL" (fetched never, taken only as data:).
https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier/
"""

from typing import Any

from . import alertmanager
from .alert import Batch

ADDRESSES = ("panelURL", "dashboardURL", "generatorURL")


def parse(body: Any) -> Batch:
    return alertmanager.parse(body, addresses=ADDRESSES, image="imageURL")
