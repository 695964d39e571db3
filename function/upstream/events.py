"""Server-sent events (html.spec.whatwg.org, "Server-sent events"), as far as a gateway must know them."""

from __future__ import annotations

from function.native import cjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from function.upstream.failure import UpstreamError

MEDIA_TYPE = "text/event-stream"
LARGEST_EVENT = 1024 * 1024  # bytes; what is longer is passed on in parts
TAIL = 4096  # bytes at the end of an answer in which its usage is looked for
_DONE = b"[DONE]"


def whole(data: bytes) -> tuple[bytes, bytes]:
    """The events that are whole in `data`, and the beginning of one that is not: an error must not come within one."""
    if data.endswith((b"\n\n", b"\r\n\r\n")):
        return data, b""
    plain, carriage = data.rfind(b"\n\n"), data.rfind(b"\r\n\r\n")
    at = max(plain + 2 if plain >= 0 else 0, carriage + 4 if carriage >= 0 else 0)
    if not at and len(data) > LARGEST_EVENT:
        return data, b""
    return data[:at], data[at:]


def ended(tail: bytes) -> bool:
    """Whether the last event says that it is the last."""
    return tail.rstrip().endswith(_DONE)


def error(failure: UpstreamError) -> bytes:
    """The event that OpenAI's clients raise as an APIError with this message."""
    document = {"error": {"message": failure.message, "type": "upstream_error", "param": None, "code": failure.kind}}
    return b"data: " + cjson.dumps(document, separators=(",", ":")).encode() + b"\n\n"


def usage(tail: bytes) -> tuple[int, int] | None:
    """Tokens of the prompt and of the answer, by what stands last in it; None where nothing does.

    `tail` ends an answer that streams, or is one that does not.
    """
    at = tail.rfind(b'"usage"')
    begin = tail.find(b"{", at)
    if at < 0 or begin < 0 or tail[at + 7 : begin].strip(b" :\r\n\t"):  # "usage": null
        return None
    depth = 0
    for end in range(begin, len(tail)):
        depth += (tail[end] == 0x7B) - (tail[end] == 0x7D)
        if not depth:
            break
    try:
        found = cjson.loads(tail[begin : end + 1])
    except (ValueError, RecursionError):
        return None
    counts = [found.get(name, 0) for name in ("prompt_tokens", "completion_tokens")]
    return (counts[0], counts[1]) if all(type(each) is int and 0 <= each < 1 << 53 for each in counts) else None
