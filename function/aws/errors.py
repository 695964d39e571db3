"""What AWS refused, and whether it is worth another try."""

from __future__ import annotations

_TEMPORARY = frozenset((429, 500, 502, 503, 504))


class AwsError(Exception):
    """AWS refused or did not answer: `status` is HTTP's, 0 without an answer; `code` is AWS's name of the error."""

    def __init__(self, message: str, status: int = 0, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code

    @property
    def temporary(self) -> bool:
        """Whether the same request may well succeed a moment later."""
        return self.status == 0 or self.status in _TEMPORARY
