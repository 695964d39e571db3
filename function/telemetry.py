"""What is measured, told: the Server-Timing header."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from function.message import Request


def server_timing(request: Request, *, cold: bool = False) -> str:
    """The header's value (W3C Server Timing): phases in milliseconds, and `cold` on a first answer."""
    entries = [f"{name};dur={value:.2f}" for name, value in request.phases.items()]
    return ", ".join([*entries, "cold"] if cold else entries)
