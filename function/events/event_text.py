"""An event's text -> the event. A large body of an HTTP event is taken out of the text as bytes, not as a string."""

from __future__ import annotations

import os

from function.native import cjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NAME = b'"body":"'
_LARGE = 64 * 1024  # bytes of an event; a smaller one takes `json` 0.1 ms
_MOST_ESCAPES = 4096  # with more of them `json` is faster
# What stands behind a backslash, and what the two mean.
_ESCAPED = {0x22: b'"', 0x5C: b"\\", 0x2F: b"/", 0x62: b"\b", 0x66: b"\f", 0x6E: b"\n", 0x72: b"\r", 0x74: b"\t"}


def loads(text: bytearray) -> Any:
    """The event; the "body" of an HTTP event may be bytes, where it is ASCII. ValueError where the text is no JSON.

    Control characters within such a body are not refused, which Lambda, whose text this is, does not send.
    """
    at = text.find(_NAME) if len(text) >= _LARGE else -1
    if at < 0 or not text.isascii():
        return cjson.loads(text)
    start = at + len(_NAME)
    body, end = _string(text, start)
    # Something that nobody can have sent stands in its place, and has to turn up where the body should.
    mark = os.urandom(16).hex()
    event = None if body is None else cjson.loads(b"".join((text[:start], mark.encode(), memoryview(text)[end:])))
    if isinstance(event, dict) and event.get("body") == mark and _is_http(event):
        event["body"] = body
        return event
    return cjson.loads(text)


def _is_http(event: dict[str, Any]) -> bool:
    """As http_event.py tells them from others."""
    return isinstance(event.get("requestContext"), dict) and ("rawPath" in event or "httpMethod" in event)


def _string(text: bytearray, start: int) -> tuple[bytes | None, int]:
    """The string that begins at `start`, and where its closing quote is; None where that is better left to `json`."""
    parts: list[bytes | memoryview] = []
    end = -1
    with memoryview(text) as view:
        while True:
            if end < start:
                end = text.find(b'"', start)
            escape = text.find(b"\\", start, max(end, 0))
            if escape < 0:
                break
            character = _ESCAPED.get(text[escape + 1])
            if character is None or len(parts) > _MOST_ESCAPES:  # \u, or no JSON
                return None, 0
            parts += [view[start:escape], character]
            start = escape + 2
        return (None, 0) if end < 0 else (b"".join([*parts, view[start:end]]), end)
