"""Read the body of an HTTP/1.1 request, chunked or not: Python's http.server leaves that to its user."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message
    from io import BufferedIOBase

_PIECE = 1024 * 1024
_LINE_LIMIT = 4096


def read_pieces(headers: Message, stream: BufferedIOBase) -> Iterator[bytes]:
    """Yield the body in pieces of at most 1 MiB, up to the byte before the next request.

    Raises ValueError when its framing is wrong (RFC 9112, 6 and 7.1) or it is cut off.
    """
    coding = headers.get("transfer-encoding")
    if coding is None:
        yield from _read(stream, _number(headers.get("content-length", "0"), 10))
        return
    if coding.lower() != "chunked":
        raise ValueError(f"Transfer-Encoding must be chunked, not {coding!r}")
    while length := _number(_read_line(stream).partition(";")[0].strip(), 16):
        yield from _read(stream, length)
        if _read_line(stream):
            raise ValueError("a chunk is longer than its length says")
    while _read_line(stream):  # trailers
        pass


def _read(stream: BufferedIOBase, length: int) -> Iterator[bytes]:
    while length:
        piece = stream.read(min(length, _PIECE))
        if not piece:
            raise ValueError(f"the connection ended {length} bytes before the end of the body")
        length -= len(piece)
        yield piece


def _read_line(stream: BufferedIOBase) -> str:
    line = stream.readline(_LINE_LIMIT)
    if not line.endswith(b"\n"):
        raise ValueError("a line of the chunked body is cut off or too long")
    return line.decode("latin-1").rstrip("\r\n")


def _number(digits: str, base: int) -> int:
    # int() alone would take signs, spaces and underscores, which HTTP forbids.
    if not re.fullmatch("[0-9a-fA-F]{1,16}", digits):
        raise ValueError(f"{digits!r} is no length")
    return int(digits, base)
