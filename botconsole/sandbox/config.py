"""What a sandbox is started with; nothing here reads settings or the environment."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass


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
    echo: Callable[[str], None] = silent

    @property
    def bot_open_id(self) -> str:
        """The bot's open_id: the same at every start, so that a product may remember it."""
        return f"ou_{hashlib.sha256(f'bot {self.app_id}'.encode()).hexdigest()[:32]}"
