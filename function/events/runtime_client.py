"""Lambda's runtime API: the next event, its response or error, and the error that INIT ended in.

docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html. AWS's own client, awslambdaric, costs 20 ms of imports.
"""

from __future__ import annotations

import sys

from function.events.http_connection import BadAnswerError, Connection
from function.settings import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from function.events.http_response import StreamingAnswer

_PREFIX = "/2018-06-01/runtime/"
_PYTHON = ".".join(map(str, sys.version_info[:3]))
_AGENT = {"User-Agent": f"zeroserve/{VERSION} Python/{_PYTHON}"}
_INVOCATION = "Lambda-Runtime-Invocation-Id"  # goes back as it came, where it came
_ERROR_TYPE, _ERROR_BODY = "Lambda-Runtime-Function-Error-Type", "Lambda-Runtime-Function-Error-Body"
_STREAMING = {
    "Content-Type": "application/vnd.awslambda.http-integration-response",
    "Lambda-Runtime-Function-Response-Mode": "streaming",
    "Trailer": f"{_ERROR_TYPE}, {_ERROR_BODY}",
}
_AFTER_HEAD = bytes(8)  # what parts an answer's head from its chunks
_LARGEST_CAUSE = 1024 * 1024  # bytes; X-Ray is not told of a longer one


class RuntimeApiError(Exception):
    """The runtime API failed, or said what cannot be understood: the process cannot go on."""


class Invocation:
    """An event: `body` as it came, `headers` by lower-case name, `request_id`, which is never empty."""

    __slots__ = ("body", "headers", "request_id")

    def __init__(self, headers: dict[str, str], body: bytearray) -> None:
        self.headers, self.body = headers, body
        self.request_id = headers.get("lambda-runtime-aws-request-id", "")
        if not self.request_id:
            raise RuntimeApiError("an event came without Lambda-Runtime-Aws-Request-Id")


class RuntimeClient:
    """For one thread at a time. Each method raises RuntimeApiError, after which none is of use."""

    def __init__(self, address: str) -> None:
        """`address` is host:port, as AWS_LAMBDA_RUNTIME_API has it."""
        self._connection = Connection(address)
        self.asked = False  # for an event that has not been waited for yet

    def ask(self) -> None:
        """Asks for the next event without waiting for it. For Lambda, INIT has then ended."""
        self._ask("GET", "invocation/next", _AGENT, b"")
        self.asked = True

    def next(self) -> Invocation:
        """Waits for the next event, for as long as it takes."""
        if not self.asked:
            self.ask()
        self.asked = False
        status, headers, body = self._answer()
        if status != 200:
            raise RuntimeApiError(f"status {status} came for the next event: {_shown(body)}")
        return Invocation(headers, body)

    def respond(self, invocation: Invocation, body: bytes, content_type: str) -> None:
        """What the handler answered."""
        self._post(f"invocation/{invocation.request_id}/response", invocation, {"Content-Type": content_type}, body)

    def stream(
        self, invocation: Invocation, answer: StreamingAnswer, describe: Callable[[Exception], tuple[str, bytes]]
    ) -> None:
        """What the handler answered, each chunk as it comes; the chunks are closed in any case.

        What they raise ends the answer with trailers: the type and the document that `describe` makes of it. Where
        Lambda breaks off, or takes nothing more until the deadline, the rest is given up and the next event is served.
        """
        headers = self._headers(invocation, _STREAMING)
        try:
            self._connection.begin(f"{_PREFIX}invocation/{invocation.request_id}/response", headers)
            self._connection.chunk(answer.head + _AFTER_HEAD, answer.chunks.left())
            self._connection.end(self._chunks(answer, describe))
            status, _, body = self._connection.answer()
        except (OSError, BadAnswerError):
            self._connection.close()
            return
        finally:
            answer.chunks.close()
        self._check(status, "a streamed response", body)

    def _chunks(self, answer: StreamingAnswer, describe: Callable[[Exception], tuple[str, bytes]]) -> dict[str, str]:
        """Sends them; the trailers of one that failed. OSError is the connection's."""
        while True:
            try:
                chunk = next(answer.chunks, None)
            except Exception as error:  # noqa: BLE001  (whatever a handler's iterator raises)
                from binascii import b2a_base64

                error_type, document = describe(error)
                return {_ERROR_TYPE: error_type, _ERROR_BODY: b2a_base64(document, newline=False).decode()}
            if chunk is None:
                return {}
            self._connection.chunk(chunk, answer.chunks.left())

    def fail(self, invocation: Invocation | None, error_type: str, body: bytes, xray_cause: str = "") -> None:
        """The error that the handler raised; without an invocation, the one that INIT ended in."""
        headers = {"Content-Type": "application/json", _ERROR_TYPE: error_type}
        if xray_cause and len(xray_cause) < _LARGEST_CAUSE:
            headers["Lambda-Runtime-Function-XRay-Error-Cause"] = xray_cause
        path = f"invocation/{invocation.request_id}/error" if invocation else "init/error"
        self._post(path, invocation, headers, body)

    def _post(self, path: str, invocation: Invocation | None, headers: dict[str, str], body: bytes) -> None:
        self._ask("POST", path, self._headers(invocation, headers), body)
        status, _, answer = self._answer()
        self._check(status, f"POST {path}", answer)

    def _headers(self, invocation: Invocation | None, headers: dict[str, str]) -> dict[str, str]:
        if invocation and _INVOCATION.lower() in invocation.headers:
            headers = headers | {_INVOCATION: invocation.headers[_INVOCATION.lower()]}
        return _AGENT | headers

    def _check(self, status: int, what: str, answer: bytearray) -> None:
        if not 200 <= status < 300:
            raise RuntimeApiError(f"status {status} came for {what}: {_shown(answer)}")

    def _ask(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        try:
            self._connection.ask(method, _PREFIX + path, headers, body)
        except OSError as error:
            raise self._gone(error) from error

    def _answer(self) -> tuple[int, dict[str, str], bytearray]:
        try:
            return self._connection.answer()
        except (OSError, BadAnswerError) as error:
            raise self._gone(error) from error

    def _gone(self, error: Exception) -> RuntimeApiError:
        return RuntimeApiError(f"Lambda's runtime API at {self._connection.address} failed: {error}")


def _shown(body: bytearray) -> str:
    return repr(body[:200].decode("utf-8", "replace"))
