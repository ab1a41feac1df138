"""Who calls the API and whether they may. Named in REST_FRAMEWORK: nothing of rest_framework.views here."""

from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.utils.translation import gettext as _
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from .models import ApiKey


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer bc_<prefix>_<secret>`; `request.auth` is the ApiKey."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, ApiKey] | None:
        scheme, _space, text = get_authorization_header(request).decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            return None
        key = ApiKey.objects.find(text.strip())
        if key is None:
            raise AuthenticationFailed(_("This API key is unknown or revoked."))
        key.note_use()
        return AnonymousUser(), key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="botconsole"'


class HasScope(BasePermission):
    """The key must hold the view's `scope`; to read, its `:read` is enough. A view without a scope is for nobody."""

    def has_permission(self, request: Request, view: Any) -> bool:
        scope = getattr(view, "scope", "")
        self.message = _("This API key lacks the scope %s.") % scope
        reading = request.method in SAFE_METHODS
        return (
            bool(scope) and isinstance(request.auth, ApiKey) and request.auth.allows(scope, reading=reading)
        )
