"""The text of a post-mortem: drafted from the template, and with its follow-ups as Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

from . import chat

if TYPE_CHECKING:
    from .models import Incident, PostMortem

LONGEST_TIMELINE = 300
# The variables of a template; whatever else stands in braces stays as it is.
VARIABLES = (
    "number", "title", "severity", "service", "opened_at", "resolved_at", "time_to_acknowledge",
    "time_to_resolve", "resolution", "timeline",
)  # fmt: skip
# The language of the text is the operator's: whoever writes in another one changes the template.
DEFAULT_TEMPLATE = """\
# {number} {title} 复盘

## 概述

- 级别：{severity}
- 服务：{service}
- 开始：{opened_at}
- 解决：{resolved_at}
- 响应用时：{time_to_acknowledge}
- 解决用时：{time_to_resolve}
- 处理结果：{resolution}

## 影响

（影响了哪些用户和业务、持续多久、有多严重）

## 时间线（关键条目）

{timeline}

## 原因

（直接原因、根本原因、为什么没有更早发现）

## 改进项

（逐条填入下方的改进项：内容、负责人、截止日期）
"""


def template() -> str:
    """What the operator wrote, else the built-in text."""
    from .models import PostMortemTemplate

    written = PostMortemTemplate.objects.order_by("pk").values_list("body", flat=True).first()
    return DEFAULT_TEMPLATE if written is None else written


def drafted(incident: Incident) -> str:
    """The template filled with what is known."""
    with chat.language_of_the_chat():
        values = _values(incident)
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), template())


def _values(incident: Incident) -> dict[str, str]:
    from . import facts
    from .export import moment, plain
    from .phrases import duration

    names: dict[str, str] = {}
    key = [entry for entry in facts.entries(incident, names) if facts.is_key(entry) and not entry.recalled]
    lines = [
        f"- {moment(entry.happened_at)} **{plain(entry.words)}** {plain(entry.person)} {plain(entry.text)}".rstrip()
        for entry in key[:LONGEST_TIMELINE]
    ]
    if len(key) > LONGEST_TIMELINE:
        more = _("and %d more") % (len(key) - LONGEST_TIMELINE)
        lines.append(f"- {more}")
    acknowledged_at = facts.first_acknowledged_at(incident)
    acknowledged_after = acknowledged_at - incident.opened_at if acknowledged_at else None
    resolved_after = incident.resolved_at - incident.opened_at if incident.resolved_at else None
    return {
        "number": incident.number,
        "title": plain(incident.title),
        "severity": incident.severity,
        "service": plain(incident.service or "–"),
        "opened_at": moment(incident.opened_at),
        "resolved_at": moment(incident.resolved_at),
        "time_to_acknowledge": duration(acknowledged_after),
        "time_to_resolve": duration(resolved_after),
        "resolution": plain(incident.resolution_note or "–"),
        "timeline": "\n".join(lines),
    }


def as_markdown(page: PostMortem) -> str:
    """The text as it was written, then the follow-ups as a list of boxes."""
    from .export import plain

    lines = []
    for one in page.follow_ups.all():
        due = f" ({one.due_on:%Y-%m-%d})" if one.due_on else ""
        owner = f" — {plain(one.owner)}" if one.owner else ""
        lines.append(f"- [{'x' if one.done else ' '}] {plain(one.text)}{owner}{due}")
    return "\n".join([page.body.rstrip(), "", *lines]).rstrip() + "\n"
