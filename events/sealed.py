"""Secrets at rest: a model field that stores text sealed with Fernet, and the value that keeps it closed."""

import base64
import hashlib
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models
from django.utils.translation import gettext as _


class UnsealError(Exception):
    """The text was sealed with a key that is no longer among SEALING_KEYS (or made from another SECRET_KEY)."""


def _keys() -> tuple[str, ...]:
    return tuple(settings.SEALING_KEYS or [settings.SECRET_KEY])


def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    # Any long random text serves as a key: Fernet wants exactly 32 bytes in base64.
    digests = [hashlib.sha256(b"botconsole sealing key:" + key.encode()).digest() for key in keys]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(digest)) for digest in digests])


@lru_cache(maxsize=256)  # every push needs two secrets of its bot
def _unseal(sealed: str, keys: tuple[str, ...]) -> str:
    return _fernet(keys).decrypt(sealed.encode()).decode()


class Secret:
    """A sealed text. Printing, logging or serialising it shows nothing; only `reveal()` opens it."""

    def __init__(self, sealed: str) -> None:
        self.sealed = sealed

    @classmethod
    def seal(cls, text: str) -> "Secret":
        return cls(_fernet(_keys()).encrypt(text.encode()).decode() if text else "")

    def reveal(self) -> str:
        """The text itself; raises UnsealError if no key fits."""
        if not self.sealed:
            return ""
        try:
            return _unseal(self.sealed, _keys())
        except InvalidToken as error:
            raise UnsealError(
                _("A secret was sealed with another key. Restore SEALING_KEYS, or enter the secret again.")
            ) from error

    def hint(self) -> str:
        """The last 4 characters, for a person to recognise it by; fewer than 12 characters show none."""
        text = self.reveal()
        return text[-4:] if len(text) >= 12 else ""

    def resealed(self) -> "Secret":
        """The same text under the first of SEALING_KEYS."""
        return Secret.seal(self.reveal())

    def __bool__(self) -> bool:
        return bool(self.sealed)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.sealed == self.sealed

    def __hash__(self) -> int:
        return hash(self.sealed)

    def __repr__(self) -> str:
        return "<Secret>"


class SealedField(models.TextField[Any, Any]):
    """A TextField whose Python value is a `Secret`; plain text assigned to it is sealed when saved."""

    def from_db_value(self, value: str | None, *_: object) -> Secret:
        return Secret(value or "")

    def to_python(self, value: Any) -> Secret:
        return value if isinstance(value, Secret) else Secret.seal(str(value or ""))

    def get_prep_value(self, value: Any) -> str:
        return self.to_python(value).sealed

    def pre_save(self, model_instance: models.Model, add: bool) -> Secret:
        secret = self.to_python(getattr(model_instance, self.attname))
        setattr(model_instance, self.attname, secret)
        return secret

    def value_to_string(self, obj: models.Model) -> str:
        return ""  # dumpdata and serializers get nothing
