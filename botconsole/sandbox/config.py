"""What a sandbox is started with; nothing here reads settings or the environment."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

# What the platform tells a long connection's client, in seconds; -1 is for ever.
CLIENT_CONFIG = MappingProxyType(
    {"ReconnectCount": -1, "ReconnectInterval": 120, "ReconnectNonce": 30, "PingInterval": 120}
)


def silent(line: str) -> None:
    """The default of `SandboxConfig.echo`: say nothing."""


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """One sandbox with one app; `clock_factor` 60 makes an hour of the platform's clock pass in a minute."""

    app_id: str
    app_secret: str
    verification_token: str = ""
    encrypt_key: str = ""
    webhook_url: str = ""
    host: str = "127.0.0.1"
    port: int = 8001
    allowed_hosts: tuple[str, ...] = ()
    state_file: str = ""
    limits: bool = True
    clock_factor: float = 1.0
    seed: bool = True
    initial_members_pushed: bool = True  # open question 1 of the fact sheet; the harder answer is the default
    app_name: str = "OpsBot"
    tenant_key: str = "tk_sandbox"
    store_app: bool = False  # an app of the app store: hourly app_ticket, no long connection
    transport: str = "webhook"  # or long_connection, to begin with; for events and callbacks
    client_config: Mapping[str, int] = field(default_factory=lambda: CLIENT_CONFIG)
    echo: Callable[[str], None] = silent

    @property
    def bot_open_id(self) -> str:
        """The bot's open_id: the same at every start, so that a product may remember it."""
        return f"ou_{hashlib.sha256(f'bot {self.app_id}'.encode()).hexdigest()[:32]}"
