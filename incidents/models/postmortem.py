"""What was learned from an incident: the post-mortem, its template, and the follow-ups."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.db import models, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .actor import NAME_LENGTH, Actor
from .timeline import TimelineEntry

if TYPE_CHECKING:
    from .incident import Incident


class PostMortemTemplate(models.Model):
    """What a post-mortem begins with, once somebody has changed it: one row, else the built-in text."""

    body = models.TextField(_("text"))
    changed_by = models.CharField(_("changed by"), max_length=NAME_LENGTH, blank=True)
    changed_at = models.DateTimeField(_("changed at"), auto_now=True)

    class Meta:
        verbose_name = _("post-mortem template")
        verbose_name_plural = _("post-mortem template")

    def __str__(self) -> str:
        return self.body[:40]


class PostMortemQuerySet(models.QuerySet["PostMortem"]):
    @transaction.atomic
    def draft(self, incident: Incident, by: Actor) -> PostMortem:
        """The incident's post-mortem, made from the template if there is none yet."""
        from .. import postmortem

        type(incident).objects.select_for_update().get(pk=incident.pk)
        body = postmortem.drafted(incident)
        page, made = self.get_or_create(incident=incident, defaults={"body": body, "created_by": by.name})
        if made:
            incident.write(TimelineEntry.Kind.POST_MORTEM, by)
        return page


class PostMortem(models.Model):
    """What was learned from an incident, written by people; never made by itself."""

    incident = models.OneToOneField(
        "incidents.Incident", models.CASCADE, related_name="post_mortem", verbose_name=_("incident")
    )
    body = models.TextField(_("text"))
    revision = models.PositiveIntegerField(default=1, editable=False)
    created_by = models.CharField(_("created by"), max_length=NAME_LENGTH, blank=True)
    created_at = models.DateTimeField(_("created at"), default=timezone.now)
    updated_by = models.CharField(_("changed by"), max_length=NAME_LENGTH, blank=True)
    updated_at = models.DateTimeField(_("changed at"), auto_now=True)

    objects: ClassVar[PostMortemQuerySet] = PostMortemQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("post-mortem")
        verbose_name_plural = _("post-mortems")

    def __str__(self) -> str:
        return str(self.incident)

    def write(self, body: str, by: Actor, revision: int) -> bool:
        """Stores the text; False if somebody else changed it since `revision`."""
        rows = PostMortem.objects.filter(pk=self.pk, revision=revision)
        changes = {"body": body, "updated_by": by.name, "updated_at": timezone.now()}
        return bool(rows.update(revision=F("revision") + 1, **changes))

    def as_markdown(self) -> str:
        """The text, and its follow-ups as a list."""
        from .. import postmortem

        return postmortem.as_markdown(self)


class FollowUp(models.Model):
    """Something to be done so that it does not happen again."""

    post_mortem = models.ForeignKey(
        PostMortem, models.CASCADE, related_name="follow_ups", verbose_name=_("post-mortem")
    )
    text = models.CharField(_("what"), max_length=300)
    owner = models.CharField(_("owner"), max_length=NAME_LENGTH, blank=True)
    due_on = models.DateField(_("due on"), null=True, blank=True)
    done = models.BooleanField(_("done"), default=False)

    class Meta:
        verbose_name = _("follow-up")
        verbose_name_plural = _("follow-ups")
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.text
