"""The one file in a multipart/form-data body, as browsers and `curl -F image=@file` send it (RFC 7578)."""

from __future__ import annotations

from function.errors import invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from function.messages import Body

# The part that is taken: one of these field names, or the first one with a file name.
FIELDS = ("image", "file")

# curl and browsers write two lines, of about 150 bytes, before a file. Fields before the picture count as well.
MAX_HEAD = 16 * 1024  # bytes of one part's head
MAX_HEAD_LINES = 32
MAX_PARTS = 100
MAX_LOOK_ALIKES = 1000  # lines of one part that begin like a delimiter and are none
MAX_NAMED, MAX_NAME = 10, 60  # fields, and characters of one, in the message that there is no file

_HINT = "send it as curl -F image=@picture.jpg does"


def first_file(body: Body, content_type: str) -> bytes:
    """The content of the first part that is named image or file, or has a file name.

    `content_type`: the request's Content-Type with its boundary. PredictError 400 for a body that is not well
    formed up to the end of that part, has no such part among its first MAX_PARTS, or a longer head before one.
    """
    delimiter = b"--" + _boundary(content_type)
    start = 0 if body.startswith(delimiter) else _next_delimiter(body, delimiter, 0)
    fields: list[str] = []
    while start >= 0:
        line = start + len(delimiter)
        if body.startswith(b"--", line):
            raise invalid(f"the form has no file in a field named image; its fields are: {_named(fields)}; {_HINT}")
        if len(fields) == MAX_PARTS:
            raise invalid(f"the first {MAX_PARTS} parts of the form have no file; send the picture before others")
        line_end = _line_end(body, line)
        if line_end < 0:
            break
        head_end = body.find(b"\r\n\r\n", line_end, line_end + MAX_HEAD + 4)  # at once, in a part without headers
        if head_end < 0 and len(body) - line_end <= MAX_HEAD:
            break
        head = body[line_end : head_end if head_end >= 0 else line_end + MAX_HEAD]
        if head_end < 0 or head.count(b"\r\n") > MAX_HEAD_LINES:
            limit = f"{MAX_HEAD // 1024} KiB or {MAX_HEAD_LINES} lines"
            raise invalid(f"the head of part {len(fields) + 1} of the form is longer than {limit}; {_HINT}")
        end = _next_delimiter(body, delimiter, head_end + 2)
        if end < 0:
            break
        parameters = _disposition(head)
        if parameters.get("name") in FIELDS or "filename" in parameters or "filename*" in parameters:
            return bytes(memoryview(body)[head_end + 4 : end - 2])
        fields.append(parameters.get("name", ""))
        start = end
    raise invalid(f"the form is cut off, or not multipart/form-data with this boundary; {_HINT}")


def _named(fields: list[str]) -> str:
    if not fields:
        return "none"
    names = ", ".join(repr(name if len(name) <= MAX_NAME else f"{name[:MAX_NAME]}...") for name in fields[:MAX_NAMED])
    return f"{names} and {len(fields) - MAX_NAMED} more" if len(fields) > MAX_NAMED else names


def _line_end(body: Body, start: int) -> int:
    """Where the line of a delimiter that ends at `start` ends, else -1: nothing but blanks may follow, and not many."""
    end = body.find(b"\r\n", start, start + MAX_HEAD)
    return end if end >= 0 and not body[start:end].strip() else -1


def _boundary(content_type: str) -> bytes:
    boundary = _parameters(content_type).get("boundary", "")
    if not 1 <= len(boundary) <= 70 or not boundary.isascii():
        raise invalid(f"{content_type[:200]!r} must name a boundary of 1 to 70 ASCII characters; {_HINT}")
    return boundary.encode()


def _next_delimiter(body: Body, delimiter: bytes, start: int) -> int:
    """Where the next delimiter line begins, else -1. A line of content may begin with the same bytes."""
    for _ in range(MAX_LOOK_ALIKES):
        start = body.find(b"\r\n" + delimiter, start) + 2
        line = start + len(delimiter)
        if start < 2:
            return -1
        if body.startswith(b"--", line) or _line_end(body, line) >= 0:
            return start
    raise invalid(f"a part has more than {MAX_LOOK_ALIKES} lines that begin like the boundary; choose another boundary")


def _disposition(head: Body) -> dict[str, str]:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-disposition":
            return _parameters(value.decode("utf-8", "replace"))
    return {}


def _parameters(value: str) -> dict[str, str]:
    """`form-data; name="image"; filename="a;b.jpg"` -> its parameters; the first of a name counts.

    A quoted string may hold semicolons, and a quote after a backslash.
    """
    items, quoted, begin = [], False, 0
    for index, character in enumerate(value):
        if character == '"' and not (quoted and value[index - 1] == "\\"):
            quoted = not quoted
        elif character == ";" and not quoted:
            items.append(value[begin:index])
            begin = index + 1
    parameters: dict[str, str] = {}
    for item in [*items, value[begin:]][1:]:
        name, _, text = item.partition("=")
        parameters.setdefault(name.strip().lower(), text.strip().strip('"'))
    return parameters
