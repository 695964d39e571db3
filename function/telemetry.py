"""What is measured, told: the Server-Timing header."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from function.message import Request


def server_timing(request: Request, init_ms: float, *, cold: bool) -> str:
    """The header's value (W3C Server Timing): durations in milliseconds, and `cold` on a first answer."""
    entries = [f"{name};dur={value:.2f}" for name, value in (("init", init_ms), *request.phases.items())]
    return ", ".join([*entries, "cold"] if cold else entries)
