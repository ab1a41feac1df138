"""How a store app comes to a tenant's access token: app_ticket, then the app's token, then the tenant's.

Source: feishu-platform.md 4.1. A custom app needs none of it: events.feishu fetches its token directly.
"""

import time
from dataclasses import dataclass
from typing import NoReturn

from .feishu import FeishuError, Json, Post
from .models import Bot
from .sealed import Secret

AUTH = "/open-apis/auth/v3"
BAD_TICKET = 10012
BAD_APP_TOKENS = (99991663, 99991664)
MARGIN_SECONDS = 300
ASK_AGAIN_SECONDS = 60


class NotYetError(FeishuError):
    """What only Feishu can push is not there yet: the app's ticket, or an event of a tenant that has the app."""


class NoTenantError(NotYetError):
    """No tenant is named."""


@dataclass
class StoreApp:
    """The tokens of one store app in one tenant; `app_ticket` is renewed by whoever holds the object."""

    app_id: str
    app_secret: str
    tenant_key: str
    app_ticket: str = ""
    app_token: str = ""
    app_token_until: float = 0.0
    asked_for_ticket: float | None = None

    def __repr__(self) -> str:
        return f"<StoreApp {self.app_id}>"  # nothing of its secrets

    def __call__(self, post: Post) -> tuple[str, float]:
        """The tenant's token and its seconds; raises FeishuError. A missing ticket is asked for, and awaited."""
        if not self.tenant_key:
            raise NoTenantError(
                "this is a store app, and the message does not say for which tenant it is", http_status=400
            )
        if not self.app_ticket:
            self._ask_for_ticket(post)
        try:
            return self._tenant_token(post)
        except FeishuError as error:
            if error.code not in BAD_APP_TOKENS:
                raise
        self.app_token = ""
        return self._tenant_token(post)

    def prove(self, post: Post) -> NoReturn:
        """Fetches the app's own token, while no tenant is known; raises FeishuError, NoTenantError if all is well."""
        if not self.app_ticket:
            self._ask_for_ticket(post)
        self._fetch_app_token(post)
        raise NoTenantError("no tenant is known", http_status=400)

    def _tenant_token(self, post: Post) -> tuple[str, float]:
        body = {"app_access_token": self._fetch_app_token(post), "tenant_key": self.tenant_key}
        return _token(post(f"{AUTH}/tenant_access_token", body), "tenant_access_token")

    def _fetch_app_token(self, post: Post) -> str:
        if not self.app_token or time.monotonic() >= self.app_token_until:
            try:
                document = post(f"{AUTH}/app_access_token", {**self._app, "app_ticket": self.app_ticket})
            except FeishuError as error:
                if error.code != BAD_TICKET:
                    raise
                self._ask_for_ticket(post)
            self.app_token, seconds = _token(document, "app_access_token")
            self.app_token_until = time.monotonic() + max(seconds - MARGIN_SECONDS, seconds / 2)
        return self.app_token

    def _ask_for_ticket(self, post: Post) -> NoReturn:
        """Has Feishu push the ticket again (to the webhook); the call is tried again later."""
        now = time.monotonic()
        if self.asked_for_ticket is None or now - self.asked_for_ticket >= ASK_AGAIN_SECONDS:
            post(f"{AUTH}/app_ticket/resend", self._app)
            self.asked_for_ticket = now
        raise NotYetError("no usable app_ticket yet: Feishu was asked to push it again")

    @property
    def _app(self) -> Json:
        return {"app_id": self.app_id, "app_secret": self.app_secret}


def store_app(bot: Bot, tenant_key: str, ticket: Secret | None) -> StoreApp | None:
    """What fetches this tenant's token (`ticket` is AppTicket.objects.of(bot)); None for a custom app.

    Touches no database; raises UnsealError.
    """
    if ticket is None:
        return None
    return StoreApp(bot.app_id, bot.app_secret.reveal(), tenant_key, ticket.reveal())


def _token(document: Json, name: str) -> tuple[str, float]:
    try:
        return str(document[name]), float(document["expire"])
    except (KeyError, TypeError, ValueError) as error:
        raise FeishuError("the answer to the token request is not understood") from error
