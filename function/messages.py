"""The request and the response that every entry speaks: no event, no ASGI scope, no socket."""

from __future__ import annotations

from function.errors import PredictError, invalid
from function.native import cjson

LARGE_BODY = 1024 * 1024  # bytes; from here on a copy costs more than the calls that avoid it

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Any

    Body = bytes | bytearray
    Fetch = Callable[[str], bytes]  # the object of an s3://bucket/key


class Request:
    """An HTTP request, unwrapped.

    `path` is percent-decoded once and has no stage prefix. `query` holds the last value of a repeated name.
    `headers` have lower-case names; a repeated header's values are joined by commas. `body` is the raw body, and
    `document` the same as a JSON object, where an adapter had to parse it to choose the path.
    """

    __slots__ = ("body", "document", "headers", "method", "path", "query")

    def __init__(self, method: str, path: str, query: dict[str, str], headers: dict[str, str], body: Body) -> None:
        self.method, self.path, self.query, self.headers, self.body = method, path, query, headers, body
        self.document: Any = None


class Response:
    """An HTTP response: one value for each header; names are written as they shall be sent.

    `error` is what went wrong, where `body` tells of it. A response that streams has `chunks` in place of a body:
    its bytes in pieces as they come; an exception out of it ends the answer in the middle.
    """

    __slots__ = ("body", "chunks", "error", "headers", "status")

    def __init__(self, status: int, headers: dict[str, str], body: bytes, error: PredictError | None = None) -> None:
        self.status, self.headers, self.body, self.error = status, headers, body, error
        self.chunks: Iterator[bytes] | AsyncIterator[bytes] | None = None


def json_response(status: int, obj: Any) -> Response:
    """`obj` as compact UTF-8 JSON; ValueError for NaN and Infinity, which JSON does not have."""
    text = cjson.dumps(obj, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # An error message may quote a lone surrogate that came in as \ud800: UTF-8 has no bytes for it.
    return Response(status, {"Content-Type": "application/json"}, text.encode("utf-8", "replace"))


def error_response(error: PredictError) -> Response:
    """The one form that errors take; the kserve client wants exactly this Content-Type."""
    response = json_response(error.status, {"error": error.message})
    response.headers.update(error.headers)
    response.error = error
    return response


def defect_response() -> Response:
    """The answer while an exception is handled that nobody expected; its traceback goes to the log."""
    import traceback

    traceback.print_exc()
    return error_response(PredictError("INTERNAL", "the function failed unexpectedly; its log says where"))


def no_objects(_uri: str) -> bytes:
    """Fetch, where objects cannot be named."""
    raise invalid("an object of S3 cannot be named here; send its bytes")


def unquoted(text: str, what: str) -> str:
    """Percent-encoded `text` decoded once; PredictError 400 when that is no UTF-8. `what` is "the path", for one."""
    if "%" not in text:
        return text
    from urllib.parse import unquote  # 8 ms alone, 2 after awslambdaric

    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError as error:
        raise invalid(f"{what} {text!r} is not percent-encoded UTF-8") from error


def form_decoded(text: str) -> str:
    """A name or value of a query string, in which '+' is a space."""
    return unquoted(text.replace("+", " "), "the query")


def parsed_query(text: str) -> dict[str, str]:
    """The names of a query string with their last values; PredictError 400 when one is not percent-encoded UTF-8."""
    pairs = (pair.partition("=") for pair in text.split("&") if pair)
    return {form_decoded(name): form_decoded(value) for name, _, value in pairs}
