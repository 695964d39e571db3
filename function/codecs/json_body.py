"""JSON bodies: objects and arrays that become Python values where they are asked for; mistakes with their place."""

from __future__ import annotations

from function.codecs.json_reader import read, reader
from function.errors import invalid
from function.messages import LARGE_BODY
from function.native.json_values import ARRAY, FALSE, NULL, NUMBERS, OBJECT, REAL, SINT, TRUE, UINT, JsonError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from typing import Any

    from typing_extensions import Buffer

    from function.native.json_values import Document

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_DEEPEST = 900  # levels that the standard library is asked to read


class Array:
    """A JSON array: `index` is its number in `document`. `shape` is None unless it is a tree, all numbers and alike;
    then it may also be what stands first in that tree, `depth` levels down."""

    __slots__ = ("depth", "document", "index", "shape")

    def __init__(self, document: Document, index: int, depth: int = 0) -> None:
        self.document, self.index, self.depth = document, index, depth
        self.shape = document.shape(index)[depth:] if document.kind(index) == NUMBERS else None

    def __len__(self) -> int:
        return self.document.length(self.index) if self.shape is None else self.shape[0]

    def __iter__(self) -> Iterator[object]:
        if self.shape is not None:
            array: Any = Array(read(self.document.span(self.index), trees=False), 0)
            for _ in range(self.depth):
                array = array.first()
            yield from array
            return
        at = self.index + 1
        for _ in range(len(self)):
            yield value_at(self.document, at)
            at = self.document.after(at)

    def first(self) -> object:
        """The first element; None for an empty array."""
        if self.shape is None:
            return next(iter(self), None)
        if len(self.shape) > 1:
            return Array(self.document, self.index, self.depth + 1)
        kernel: Any = reader()  # the one in C: no other makes trees
        number: int | float = kernel.number(self.document.text, self.document.payload(self.index))
        return number


class Object:
    """A JSON object: `index` is its number in `document`. A name may be there twice."""

    __slots__ = ("document", "index")

    def __init__(self, document: Document, index: int) -> None:
        self.document, self.index = document, index

    def __len__(self) -> int:
        return self.document.length(self.index)

    def __bool__(self) -> bool:
        return True  # an empty object is not the same as none

    def fields(self) -> Iterator[tuple[str, object]]:
        """Names and values, in their order."""
        at = self.index + 1
        for _ in range(len(self)):
            yield self.document.string(at), value_at(self.document, at + 1)
            at = self.document.after(at + 1)

    def get(self, name: str) -> object:
        """The first value of that name; None without one."""
        return next((value for key, value in self.fields() if key == name), None)


def value_at(document: Document, index: int) -> object:
    """The value of that number as Python's, an Array or an Object."""
    kind = document.kind(index)
    if kind in (REAL, UINT, SINT):
        return document.number(index)
    if kind in (ARRAY, NUMBERS):
        return Array(document, index)
    if kind == OBJECT:
        return Object(document, index)
    if kind in (NULL, FALSE, TRUE):
        return None if kind == NULL else kind == TRUE
    return document.string(index)


def parse(body: Buffer | Object) -> Object:
    """The JSON object in `body`, which may be one already. Integers beyond 64 bits are doubles.

    PredictError (INVALID_ARGUMENT) when the body is empty, is not JSON, or is not an object.
    """
    if isinstance(body, Object):
        return body
    text = memoryview(body)
    if not text:
        raise invalid("the body is empty; send a JSON object")
    if text[:3] == _BYTE_ORDER_MARK:
        text = text[3:]
    try:
        root = value_at(read(text), 0)
    except JsonError as error:
        # A large body is not read a second time, which takes 24 ms a megabyte.
        place = f"{error} at byte {error.position}"
        reason = place if text.nbytes > LARGE_BODY else _reason(bytes(text), place)
        raise invalid(f"the body is not JSON that can be read: {reason}") from None
    if not isinstance(root, Object):
        raise invalid(f"the body must be a JSON object, {{...}}; it is {describe(root)}")
    return root


def _reason(text: bytes, otherwise: str) -> str:
    """What is wrong and where, in the standard library's words, which Python users know; `otherwise` without them."""
    import json
    from itertools import accumulate

    def not_a_number(literal: str) -> None:
        raise ValueError(f"{literal} is no JSON number; tensors with NaN or Infinity can be sent as binary data")

    # Deeper nesting ends the process where threads have small stacks (Python 3.13). Brackets in strings count as well.
    levels = accumulate(1 if bracket in b"[{" else -1 for bracket in text.translate(None, _NO_BRACKETS))
    if max(levels, default=0) > _DEEPEST:
        return otherwise
    try:
        json.loads(text.decode(), parse_constant=not_a_number)
    except UnicodeDecodeError as wrong:
        return f"it is not UTF-8 (byte 0x{text[wrong.start]:02x} at offset {wrong.start})"
    except json.JSONDecodeError as wrong:
        return f"{wrong.msg} at line {wrong.lineno}, column {wrong.colno}"
    except RecursionError:
        pass
    except ValueError as wrong:
        return str(wrong)
    return otherwise


def describe(value: object) -> str:
    """A JSON value as a message shows it: short, and by kind where it is an array or object."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (str, int, float)):
        text = repr(value[:61] if isinstance(value, str) else value)
        return text if len(text) <= 60 else f"{text[:57]}..."
    return "an array" if isinstance(value, Array) else "an object"


def check_fields(holder: Object, known: Collection[str], where: str) -> None:
    """PredictError when `holder` has a field that is not in `known`, or one twice."""
    seen = set()
    for field, _ in holder.fields():
        if field not in known:
            raise invalid(f"{where} has the unknown field {describe(field)}; known: {', '.join(known)}")
        if field in seen:
            raise invalid(f"{where} has the field {describe(field)} twice; send it once")
        seen.add(field)


def string_field(holder: Object, field: str, where: str) -> str:
    """The string under `field`; PredictError when it is missing or something else."""
    value = holder.get(field)
    if not isinstance(value, str):
        came = "it is missing" if value is None else f"it is {describe(value)}"
        raise invalid(f"{where} needs {field!r}, a string; {came}")
    return value


def array_field(holder: Object, field: str, where: str) -> Array | None:
    """The array under `field`, None when it is missing or null; PredictError when it is something else."""
    value = holder.get(field)
    if value is not None and not isinstance(value, Array):
        raise invalid(f"{where} has {field!r}, which must be an array; it is {describe(value)}")
    return value


def object_field(holder: Object, field: str, where: str) -> Object | None:
    """The object under `field`, None when it is missing or null; PredictError when it is something else."""
    value = holder.get(field)
    if value is not None and not isinstance(value, Object):
        raise invalid(f"{where} has {field!r}, which must be an object; it is {describe(value)}")
    return value
