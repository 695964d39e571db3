"""Instances as Python's values, for models whose own code reads them."""

from __future__ import annotations

from function.codecs.instances import b64_of, body_of, bytes_of, filled, held
from function.codecs.json_body import Array, Object, array_field
from function.errors import invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from function.messages import Request

_DEEPEST = 64  # levels of arrays and objects
_RAW = ("image/", "audio/", "video/", "application/octet-stream")


def instances_of(request: Request) -> list[Any]:
    """The instances as Python's values, {"b64": ...} as bytes; for a model whose own code reads them.

    A body of a media type that is never JSON is one instance, its bytes.
    """
    if request.headers.get("content-type", "").lower().startswith(_RAW):
        return [bytes(request.body)]
    root, form = body_of(request)
    if form == "dataframe_split":
        raise invalid('dataframe_split is for models with a [table]; send {"instances": [...]}')
    with held(root):
        return [_plain(value) for value in filled(array_field(root, form, "the request"), form)]


def _plain(value: object, depth: int = 0) -> Any:
    if depth == _DEEPEST:
        raise invalid(f"an instance is nested deeper than {_DEEPEST} levels; send a simpler one")
    if isinstance(value, Array):
        return [_plain(element, depth + 1) for element in value]
    if isinstance(value, Object):
        content = b64_of(value)
        if content is not None:
            return bytes_of(content)
        return {name: _plain(element, depth + 1) for name, element in value.fields()}
    return value
