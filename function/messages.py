"""The request and the response that every entry speaks: no event, no ASGI scope, no socket."""

from __future__ import annotations

import time

LARGE_BODY = 1024 * 1024  # bytes: from here on, copies and memory count for more than a few calls
WHOLE_BODY = "zeroserve.whole_body"  # among the extensions of an ASGI scope: the server's own way to a large body

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from function.errors import PredictError

    Body = bytes | bytearray


class Request:
    """An HTTP request, unwrapped.

    `path` is percent-decoded once and has no stage prefix. `query` holds the last value of a repeated name.
    `headers` have lower-case names; a repeated header's values are joined by commas. `body` is the raw body.
    What became of it: `route` is the pattern that matched, `model` name and version, `family` its artifact's,
    `phases` milliseconds by name, `cache` memory, shared or miss where the result cache was asked, and `cache_key`,
    `bytes_in` the length of the body as it came.
    """

    __slots__ = (
        "body",
        "bytes_in",
        "cache",
        "cache_key",
        "family",
        "headers",
        "method",
        "model",
        "path",
        "phases",
        "query",
        "route",
    )

    def __init__(self, method: str, path: str, query: dict[str, str], headers: dict[str, str], body: Body) -> None:
        self.method, self.path, self.query, self.headers, self.body = method, path, query, headers, body
        self.phases: dict[str, float] = {}
        self.model: tuple[str, str] | None = None
        self.family: str | None = None
        self.cache: str | None = None
        self.cache_key: str | None = None
        self.bytes_in = 0
        self.route = ""


class Response:
    """An HTTP response: one value for each header; names are written as they shall be sent."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body


class Phase:
    """Adds the milliseconds of a block to request.phases."""

    __slots__ = ("name", "request", "start")

    def __init__(self, request: Request, name: str) -> None:
        self.request, self.name = request, name

    def __enter__(self) -> None:
        self.start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        milliseconds = (time.perf_counter() - self.start) * 1000
        self.request.phases[self.name] = self.request.phases.get(self.name, 0.0) + milliseconds


def json_response(status: int, obj: Any) -> Response:
    """`obj` as compact UTF-8 JSON; ValueError for NaN and Infinity, which JSON does not have."""
    import json  # 7 ms alone, nothing after awslambdaric

    text = json.dumps(obj, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # An error message may quote a lone surrogate that came in as \ud800: UTF-8 has no bytes for it.
    return Response(status, {"Content-Type": "application/json"}, text.encode("utf-8", "replace"))


def error_response(error: PredictError) -> Response:
    """The one form that errors take; the kserve client wants exactly this Content-Type."""
    response = json_response(error.status, {"error": error.message})
    response.headers.update(error.headers)
    return response
