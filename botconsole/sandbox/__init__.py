"""A local Feishu that refuses what Feishu refuses; of the product it imports the card drawing only."""

from botconsole.sandbox.config import SandboxConfig
from botconsole.sandbox.server import SandboxServer

__all__ = ["SandboxConfig", "SandboxServer"]
