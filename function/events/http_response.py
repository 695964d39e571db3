"""A response as Lambda carries it: its body as text or as base64, and never more than can leave."""

from __future__ import annotations

from function.errors import PredictError
from function.messages import error_response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from function.messages import Response

    class Chunks(Protocol):
        """What follows a head: `left` is the seconds until it has to have left, None for no limit."""

        def __next__(self) -> bytes: ...
        def left(self) -> float | None: ...
        def close(self) -> None: ...


# JSON writes these bytes as they are, the next as \n, and the others that ASCII has as \u001f. Of UTF-8's other
# bytes each takes at most three, as \u00e9 in the Python runtimes before 3.12.
_SHORT_ESCAPES = b'"\\\b\f\n\r\t'
_PLAIN = bytes(set(range(32, 127)) - set(_SHORT_ESCAPES))
_NOT_ASCII = bytes(range(128, 256))


class StreamingAnswer:
    """What a handler returns where its context says `streams`: the head as JSON, and the chunks that follow it.

    Whoever takes it closes the chunks.
    """

    __slots__ = ("chunks", "head")

    def __init__(self, head: bytes, chunks: Chunks) -> None:
        self.head, self.chunks = head, chunks


def carried(response: Response, limit: int) -> tuple[Response, str, bool]:
    """The response, or a 413 in place of one too large to leave; its body; whether that body is base64.

    `limit` is in bytes, of the whole answer as JSON.
    """
    text = _text(response)
    size = _escaped_size(response.body, limit) if text is not None else (len(response.body) + 2) // 3 * 4
    size += 256 + 2 * sum(len(name) + len(value) for name, value in response.headers.items())
    if size > limit:
        timing = {name: value for name, value in response.headers.items() if name == "Server-Timing"}
        response = error_response(
            PredictError(
                "PAYLOAD_TOO_LARGE",
                f"the answer is {size / 2**20:.1f} MiB as JSON or base64, over the {limit >> 20} MiB limit; "
                "send a smaller batch, name fewer outputs, or ask for gzip with Accept-Encoding",
            )
        )
        response.headers.update(timing)
        text = response.body.decode()
    if text is not None:
        return response, text, False
    from pybase64 import b64encode_as_string  # 1 ms

    return response, b64encode_as_string(response.body), True


def _text(response: Response) -> str | None:
    """The body as text, where its Content-Type says so and it is not compressed; else None."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    kind = headers.get("content-type", "")
    if "content-encoding" not in headers and kind.startswith(("application/json", "text/")):
        try:
            return response.body.decode()
        except UnicodeDecodeError:
            pass
    return None


def _escaped_size(body: bytes, limit: int) -> int:
    """At least the bytes of `body` as a JSON string; counted (1 ms a MB) only where the worst case is too large."""
    if len(body) > limit or 6 * len(body) < limit // 2:
        return len(body)
    escaped = body.translate(None, _PLAIN)
    rare = escaped.translate(None, _SHORT_ESCAPES)
    controls = len(rare.translate(None, _NOT_ASCII))
    return len(body) + len(escaped) - len(rare) + 5 * controls + 2 * (len(rare) - controls)
