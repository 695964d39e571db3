"""The one file in a multipart/form-data body, as browsers and `curl -F image=@file` send it (RFC 7578)."""

from __future__ import annotations

from function.errors import invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from function.messages import Body

# The part that is taken: one of these field names, or the first one with a file name.
FIELDS = ("image", "file")

_HINT = "send it as curl -F image=@picture.jpg does"


def first_file(body: Body, content_type: str) -> Body:
    """The content of the first part that is named image or file, or has a file name.

    `content_type`: the request's Content-Type with its boundary. PredictError 400 for a body that is not well
    formed up to the end of that part, or has no such part.
    """
    delimiter = b"--" + _boundary(content_type)
    start = 0 if body.startswith(delimiter) else _next_delimiter(body, delimiter, 0)
    fields: list[str] = []
    while start >= 0:
        line = start + len(delimiter)
        if body.startswith(b"--", line):
            found = ", ".join(map(repr, fields)) or "none"
            raise invalid(f"the form has no file in a field named image; its fields are: {found}; {_HINT}")
        line_end = body.find(b"\r\n", line)
        head_end = body.find(b"\r\n\r\n", line_end)  # at once, in a part without headers
        if line_end < 0 or head_end < 0 or body[line:line_end].strip():
            break
        end = _next_delimiter(body, delimiter, head_end + 2)
        if end < 0:
            break
        parameters = _disposition(body[line_end:head_end])
        if parameters.get("name") in FIELDS or "filename" in parameters or "filename*" in parameters:
            return body[head_end + 4 : end - 2]
        fields.append(parameters.get("name", ""))
        start = end
    raise invalid(f"the form is cut off, or not multipart/form-data with this boundary; {_HINT}")


def _boundary(content_type: str) -> bytes:
    boundary = _parameters(content_type).get("boundary", "")
    if not 1 <= len(boundary) <= 70 or not boundary.isascii():
        raise invalid(f"{content_type!r} must name a boundary of 1 to 70 ASCII characters; {_HINT}")
    return boundary.encode()


def _next_delimiter(body: Body, delimiter: bytes, start: int) -> int:
    """Where the next delimiter line begins, else -1. A line of content may begin with the same bytes."""
    while (start := body.find(b"\r\n" + delimiter, start)) >= 0:
        start += 2
        line = start + len(delimiter)
        line_end = body.find(b"\r\n", line)
        if body.startswith(b"--", line) or (line_end >= 0 and not body[line:line_end].strip()):
            return start
    return -1


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
