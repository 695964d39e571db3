"""The head of a request: its limits, and what of it the app is told; and that of an answer."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from httptools import HttpParserCallbackError, HttpParserError, parse_url

if TYPE_CHECKING:
    from typing import Any

REQUEST_LINE = 8 * 1024  # bytes of the request target
HEADER, HEADERS = 8 * 1024, 100  # bytes of one header, and how many there may be
HEAD = 32 * 1024  # bytes of all headers
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.1
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


class BadRequestError(Exception):
    """Not a request that can be passed on: `reason` for the metrics, the status and the words of its answer."""

    def __init__(self, reason: str, status: int, message: str) -> None:
        super().__init__(message)
        self.reason, self.status, self.message = reason, status, message


def status_line(status: int) -> bytes:
    """HTTP/1.1's first line of an answer."""
    return b"HTTP/1.1 %d %s\r\n" % (status, HTTPStatus(status).phrase.encode())


def answer_head(status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
    """That line and the headers; RuntimeError for one that HTTP does not allow."""
    head = [status_line(status)]
    for name, value in headers:
        if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)):
            raise RuntimeError(f"the answer's header {name!r} cannot be sent: {value!r}")
        head += (name, b": ", value, b"\r\n")
    return b"".join(head)


def checked(scope: dict[str, Any], version: str, method: bytes, url: bytes) -> int:
    """Fills the scope; the declared length of the body. BadRequestError for what must not be passed on."""
    scope["method"] = method.decode("ascii")
    scope["http_version"] = version
    if version not in ("1.0", "1.1"):
        raise BadRequestError("malformed", 505, f"HTTP/{version} is not spoken here; use HTTP/1.1")
    if scope["method"] == "CONNECT":
        raise BadRequestError("malformed", 501, "CONNECT asks for a proxy, which this is not")
    raw_path, _, scope["query_string"] = url.partition(b"?")
    if not raw_path.startswith(b"/") or b"#" in url:
        try:
            target = parse_url(url)
        except HttpParserError:
            raise BadRequestError("malformed", 400, f"the request target {_text(url)!r} is not a path") from None
        raw_path, scope["query_string"] = target.path or b"/", target.query or b""
    if not raw_path.isascii():
        raise BadRequestError("malformed", 400, f"the path {_text(raw_path)!r} is not percent-encoded UTF-8")
    scope["path"], scope["raw_path"] = _unescaped(raw_path.decode("ascii")), raw_path
    length = hosts = 0
    for name, value in scope["headers"]:
        if name == b"host":
            hosts += 1
            if any(byte in value for byte in b" \t,"):
                raise BadRequestError("malformed", 400, f"the Host header must name one host, not {_text(value)!r}")
        elif name == b"content-length" and value.isdigit():
            length = int(value)  # at most 20 digits: the parser has seen to that
        elif name == b"transfer-encoding" and value.strip().lower() != b"chunked":
            raise BadRequestError("malformed", 501, f"Transfer-Encoding must be chunked alone, not {_text(value)!r}")
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        raise BadRequestError("malformed", 400, f"a request needs one Host header, and this one has {hosts}")
    return length


def too_long(*, line_is_there: bool) -> BadRequestError:
    """The refusal of headers, or of a request line, over the limits."""
    if line_is_there:
        message = f"at most {HEADERS} headers of {HEADER} bytes, {HEAD} in all, may be sent; send fewer or shorter ones"
        return BadRequestError("head", 431, message)
    return BadRequestError("head", 414, f"the path and query have more than {REQUEST_LINE} bytes; shorten them")


def reason(error: HttpParserError) -> BadRequestError:
    """What the parser could not read, or what one of the checks has refused."""
    cause = error.__context__
    if isinstance(cause, BadRequestError):
        return cause
    if isinstance(error, HttpParserCallbackError):
        raise error  # a defect here: uvloop writes it to the log, and closes the connection
    words = str(error) or "it ended too early"
    return BadRequestError(
        "malformed", 505 if words.startswith("Invalid HTTP version") else 400, f"this is not HTTP/1.1: {words}"
    )


def _unescaped(path: str) -> str:
    if "%" not in path:
        return path
    from urllib.parse import unquote  # 2 ms, which no path of a tensor's needs

    return unquote(path)


def _text(raw: bytes) -> str:
    return raw[:200].decode("latin-1")
