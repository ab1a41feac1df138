"""Where pushes come from: the addresses an app's firewall lets in."""

from typing import Any

from botconsole.sandbox.call import Call, page
from botconsole.sandbox.world import World

ADDRESSES = ["127.0.0.1"]  # the sandbox pushes from this machine


def outbound_ip(world: World, call: Call) -> dict[str, Any]:
    """A page of the platform's own addresses, at most 50 at once."""
    size, start = call.page_size(50, default=10), call.page_token()
    told = page(ADDRESSES[start : start + size + 1], size, start, keep_empty_token=True)
    return {"ip_list": told.pop("items"), **told}
