"""What a row of the table of HTTP cases is made of."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.hostile.seeds import picture

if TYPE_CHECKING:
    from collections.abc import Collection

PNG = picture("PNG")
HOST = b"Host: localhost\r\n"
MEGABYTE = 1_000_000
MAX_BODY = 2 * MEGABYTE  # MAX_BODY_BYTES of the server under test


class Step(enum.Enum):
    """What a client does between its bytes."""

    PAUSE = "wait a moment, so that the next piece arrives by itself"
    HALF_CLOSE = "shutdown(SHUT_WR): nothing more is sent, answers are still read"
    READ = "read the next answer before more is sent"


class Then(enum.Enum):
    """What becomes of the connection after the last answer."""

    OPEN = "the next request on it is answered"
    CLOSED = "it ends, and nothing more is said"
    EITHER = "one or the other, but no third"


@dataclass(frozen=True)
class Case:
    """`send` goes out piece by piece; each of `want` is the set of statuses that one answer may have.

    `words` stand in the last answer's body, whatever their case. `silent`: the last answer may also be missing, the
    connection closed without it. `head_only`: the answers have no body, as those to HEAD.
    """

    name: str
    send: tuple[bytes | Step, ...]
    want: tuple[Collection[int], ...]
    then: Then
    words: str = ""
    silent: bool = False
    head_only: bool = False


def get(path: str = "/health", *headers: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    """A GET with these header lines (without line ends) after Host."""
    return request(b"GET", path.encode(), *headers, version=version)


def request(method: bytes, target: bytes, *headers: bytes, body: bytes = b"", version: bytes = b"HTTP/1.1") -> bytes:
    """A request with Host and these header lines; nothing is added for `body`."""
    lines = b"".join(line + b"\r\n" for line in headers)
    return method + b" " + target + b" " + version + b"\r\n" + HOST + lines + b"\r\n" + body


def post(*headers: bytes, body: bytes = PNG, target: bytes = b"/classify?top_k=1") -> bytes:
    """A picture to classify, its length among `headers` or not at all."""
    return request(b"POST", target, *headers, body=body)


def sized(*headers: bytes, body: bytes = PNG, target: bytes = b"/classify?top_k=1") -> bytes:
    """The same with a right Content-Length."""
    return post(b"Content-Length: %d" % len(body), *headers, body=body, target=target)


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    return b"%x%s\r\n%s\r\n" % (len(data), extension, data)


def chunked(*headers: bytes, body: bytes | None = None) -> bytes:
    """A picture in chunks, or what `body` is made of instead of them."""
    return post(b"Transfer-Encoding: chunked", *headers, body=chunk(PNG) + b"0\r\n\r\n" if body is None else body)
