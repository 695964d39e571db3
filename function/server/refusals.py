"""Requests that the server turns away before the core sees them, each counted by its reason."""

from __future__ import annotations

from function.errors import PredictError


class RefusedError(PredictError):
    """`reason` is the label of zeroserve_requests_refused_total; docs/operations.md, "Limits", has the list."""

    def __init__(self, reason: str, code: str, message: str) -> None:
        super().__init__(code, message, {"Retry-After": "1"} if code == "UNAVAILABLE" else None)
        self.reason = reason
