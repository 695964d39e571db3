"""The one error that callers see: a code, its HTTP status, and a message that says how to mend it."""

from __future__ import annotations

STATUS_OF_CODE = {
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "REQUEST_TIMEOUT": 408,
    "PAYLOAD_TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
CODE_OF_STATUS = {status: code for code, status in STATUS_OF_CODE.items()}


class PredictError(Exception):
    """An answer that is not a prediction: `code` is a key of STATUS_OF_CODE, `status` its HTTP status.

    `headers` go with the answer where HTTP asks for more than the status: Allow with a 405.
    """

    def __init__(self, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.headers = headers or {}
        self.status = STATUS_OF_CODE[code]
        self.message = message


def invalid(message: str) -> PredictError:
    """The most common refusal: 400, the caller's input cannot be used."""
    return PredictError("INVALID_ARGUMENT", message)
