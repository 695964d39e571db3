"""Why an upstream was asked in vain."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from function.upstream.target import Target


class UpstreamError(Exception):
    """One attempt that failed. `kind` is the label of the metrics: docs/operations.md, "Upstreams", has the list.

    `again`: the same upstream may be asked once more, `after` so many seconds where it says. `code` is what the caller
    is told, a key of errors.STATUS_OF_CODE, where nobody else can be asked.
    """

    def __init__(
        self, kind: str, message: str, *, again: bool = False, after: float | None = None, code: str = "UNAVAILABLE"
    ) -> None:
        super().__init__(message)
        self.kind, self.message, self.again, self.after, self.code = kind, message, again, after, code


def too_slow(kind: str, name: str, what: str, seconds: float) -> UpstreamError:
    """A timeout: `what` did not come within so many seconds."""
    return UpstreamError(kind, f"{name}: {what} within {seconds:g} s", code="DEADLINE_EXCEEDED")


def unreachable(target: Target, error: OSError) -> UpstreamError:
    """No connection: TimeoutError, or what the system or TLS said."""
    if isinstance(error, TimeoutError):
        return too_slow("connect", target.name, "no connection", target.connect_s)
    message = f"{target.name}: the upstream at {target.authority} cannot be reached: {error.strerror or error}"
    return UpstreamError("connect", message, again=True)
