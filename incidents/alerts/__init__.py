"""Where alerts come from: a parser for each format, which turns a request's JSON into a Batch of Alerts.

A parser is a pure function: no database, no network. It raises AlertError where there is no alert at all.
"""

from collections.abc import Callable, Mapping
from typing import Any

from . import alertmanager, generic, grafana
from .alert import Alert, AlertError, Batch

__all__ = ["PARSERS", "Alert", "AlertError", "Batch"]

# The name is the last part of the address, POST /api/v1/alerts/<name>, and is stored with each alert.
PARSERS: Mapping[str, Callable[[Any], Batch]] = {
    "alertmanager": alertmanager.parse,
    "grafana": grafana.parse,
    "generic": generic.parse,
}
