"""What the console itself stores: the keys of its API, and the first answers to requests that may come again."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from datetime import timedelta
from typing import ClassVar

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

# What a key may be allowed to do. A resource's own scope stands for reading and writing.
SCOPES = {
    "incidents": _("read and change incidents"),
    "incidents:read": _("read incidents"),
    "incidents:private": _("see private incidents too"),
    "alerts": _("send alerts"),
    "metrics": _("read the metrics"),
}
SCOPE_OF = {"incidents.view_private_incident": "incidents:private"}
KEY = re.compile(r"bc_([0-9a-f]{8})_([0-9a-f]{40})")
USE_NOTED_EVERY = timedelta(minutes=1)
ANSWERS_KEPT = timedelta(days=1)


def _hash(secret: str) -> str:
    """The secret is 160 random bits: no salt and no slow hash can make it harder to guess."""
    return hashlib.sha256(secret.encode()).hexdigest()


class ApiKeyManager(models.Manager["ApiKey"]):
    def issue(self, name: str, scopes: Iterable[str]) -> tuple[ApiKey, str]:
        """A new key, and its text, which nobody can read again; ValidationError for an unknown scope."""
        scopes = list(dict.fromkeys(scopes))
        if unknown := [scope for scope in scopes if scope not in SCOPES]:
            message = _("Unknown scope: %(unknown)s. There are: %(known)s")
            raise ValidationError(message, params={"unknown": ", ".join(unknown), "known": ", ".join(SCOPES)})
        key = ApiKey(name=name, scopes=scopes)
        text = key.make_secret()
        key.full_clean()
        key.save()
        return key, text

    def find(self, text: str) -> ApiKey | None:
        """The key that this text is, unless it was revoked."""
        match = KEY.fullmatch(text)
        if match is None:
            return None
        key = self.filter(prefix=match[1], revoked=False).first()
        fits = hmac.compare_digest(key.secret_hash if key else _hash(""), _hash(match[2]))
        return key if fits else None


class ApiKey(models.Model):
    """Who may use the API, and for what; the secret itself is not stored."""

    name = models.CharField(_("name"), max_length=80, help_text=_("Stands in the timeline as the person."))
    prefix = models.CharField(_("prefix"), max_length=8, unique=True, editable=False)
    secret_hash = models.CharField(max_length=64, editable=False)
    scopes = models.JSONField(_("scopes"), default=list)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(_("last used at"), null=True, blank=True, editable=False)
    revoked = models.BooleanField(_("revoked"), default=False)

    objects: ClassVar[ApiKeyManager] = ApiKeyManager()

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"{self.name} (bc_{self.prefix}_…)"

    def make_secret(self) -> str:
        """Gives a new key, before it is saved, its prefix and hash; the text is there this once."""
        secret = secrets.token_hex(20)
        self.prefix, self.secret_hash = secrets.token_hex(4), _hash(secret)
        return f"bc_{self.prefix}_{secret}"

    def allows(self, scope: str, *, reading: bool = False) -> bool:
        return scope in self.scopes or (reading and f"{scope}:read" in self.scopes)

    def has_perm(self, perm: str, /) -> bool:
        """The console's permissions that a scope stands for."""
        return SCOPE_OF.get(perm) in self.scopes

    def note_use(self) -> None:
        """Once a minute; whoever notes it also drops the answers that are kept no longer."""
        now = timezone.now()
        if self.last_used_at and self.last_used_at > now - USE_NOTED_EVERY:
            return
        unnoted = Q(last_used_at=None) | Q(last_used_at__lte=now - USE_NOTED_EVERY)
        if ApiKey.objects.filter(unnoted, pk=self.pk).update(last_used_at=now):
            self.answers.filter(created_at__lt=now - ANSWERS_KEPT).delete()

    def revoke(self) -> None:
        self.revoked = True
        self.save(update_fields=["revoked"])


class IdempotencyKey(models.Model):
    """The first answer to a request that its sender may repeat, for ANSWERS_KEPT."""

    api_key = models.ForeignKey(ApiKey, models.CASCADE, related_name="answers")
    key = models.CharField(max_length=200)
    request_hash = models.CharField(max_length=64)
    status = models.PositiveIntegerField(default=0)
    body = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("api_key", "key"), name="one_answer_per_key"),)

    def __str__(self) -> str:
        return self.key
