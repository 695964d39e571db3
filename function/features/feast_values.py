"""Feast's stored values: the protobuf messages feast.types.Value (scalars and lists) and google.protobuf.Timestamp.

Read and written without the protobuf library, whose import costs 30 ms. Format: protobuf.dev's encoding guide and
Value.proto of Feast 0.67.
"""

from __future__ import annotations

import struct

from function.features import protobuf
from function.features.protobuf import ValueFormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    Scalar = bytes | str | int | float | bool
    Value = Scalar | list[Scalar] | None

# Field numbers of Value's oneof; a list of scalar n is field n + 10.
BYTES, STRING, INT32, INT64, DOUBLE, FLOAT, BOOL, TIMESTAMP, NULL = 1, 2, 3, 4, 5, 6, 7, 8, 19
# Others, by what they are at rest: lists of each scalar, sets (as lists), and JSON, UUIDs and decimals (as texts).
_LISTS = {number + 10: number for number in range(BYTES, TIMESTAMP + 1)}
_LISTS |= {22: BYTES, 23: STRING, 24: INT32, 25: INT64, 26: DOUBLE, 27: FLOAT, 28: BOOL, 29: TIMESTAMP}
_LISTS |= dict.fromkeys((33, 38, 39, 40, 41, 45, 46), STRING)
_TEXTS = (32, 36, 37, 44)
_FIRST, _END = -62135596800, 253402300800  # seconds since 1970: protobuf's own bounds of a Timestamp

_PACKED = {DOUBLE: (b"\x29", "<d"), FLOAT: (b"\x35", "<f")}  # with their tags
_FIXED = {DOUBLE: ("<d", 8), FLOAT: ("<f", 4)}
# By tag: the type, the length of the whole Value, and what reads it.
_WHOLE = {
    tag: (kind, struct.calcsize(code) + 1, struct.Struct(f"<x{code[1]}").unpack)
    for kind, (tag, code) in _PACKED.items()
}


def decode(data: bytes) -> tuple[int, Value]:
    """The type (a field number above) and the value; NULL and None for null or nothing. ValueFormatError.

    Sets are lists; JSON, UUIDs and decimals are texts. As in protobuf, the last field wins. Other types of value (maps,
    structures, times with a zone) are refused.
    """
    if (whole := _WHOLE.get(data[:1])) and len(data) == whole[1]:  # most of all values, so at once
        return whole[0], whole[2](data)[0]
    kind: int = NULL
    value: Value = None
    for number, wire, content in protobuf.fields(data):
        if number == NULL:
            kind, value = NULL, None
        elif number in _LISTS:
            kind, value = number, _list(_LISTS[number], _delimited_bytes(wire, content))
        elif BYTES <= number <= TIMESTAMP or number in _TEXTS:
            kind, value = number, _scalar(STRING if number in _TEXTS else number, wire, content)
        else:
            raise ValueFormatError(f"a stored value has type {number} of Feast's Value, which is not read here")
    return kind, value


def encode(kind: int, value: Value) -> bytes:
    """A Value of this type (a field number above), as Feast's own writer makes it."""
    if kind in _PACKED and type(value) is float:  # most of all values, so at once
        head, code = _PACKED[kind]
        return head + struct.pack(code, value)
    if value is None:
        return protobuf.tag(NULL, protobuf.VARINT) + b"\0"
    if isinstance(value, list):
        return protobuf.delimited(kind, _packed(kind - 10, value))
    return _encoded(kind, value)


def timestamp(data: bytes) -> float:
    """A Timestamp's seconds since 1970. ValueFormatError."""
    parts = {number: _signed(content) for number, _, content in protobuf.fields(data) if isinstance(content, int)}
    seconds = parts.get(1, 0) + parts.get(2, 0) / 1e9
    if not _FIRST <= seconds < _END:
        raise ValueFormatError("a stored time is not of the years 1 to 9999")
    return seconds


def encoded_timestamp(seconds: float) -> bytes:
    """A Timestamp of these seconds since 1970, to the microsecond."""
    whole, micros = divmod(round(seconds * 1e6), 1_000_000)
    text = protobuf.tag(1, protobuf.VARINT) + protobuf.varint(whole) if whole else b""
    return text + (protobuf.tag(2, protobuf.VARINT) + protobuf.varint(micros * 1000) if micros else b"")


def _scalar(kind: int, wire: int, content: int | bytes) -> Scalar:
    if kind in (INT32, INT64, TIMESTAMP, BOOL):
        if not isinstance(content, int):
            raise ValueFormatError("a stored integer is not a varint")
        if kind == INT32:  # protobuf keeps the low half
            return (content & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
        return bool(content) if kind == BOOL else _signed(content)
    data = _expected(content)
    if kind in (BYTES, STRING) and wire != protobuf.LENGTH:
        raise ValueFormatError("a stored text is a number")
    if kind in _FIXED:
        code, size = _FIXED[kind]
        if len(data) != size or wire == protobuf.LENGTH:
            raise ValueFormatError(f"a stored number is not {size} bytes of its own")
        number: float = struct.unpack(code, data)[0]
        return number
    return _text(data) if kind == STRING else data


def _list(kind: int, message: bytes) -> list[Scalar]:
    """The elements of a list message, whose only field 1 is packed or repeated."""
    values: list[Scalar] = []
    for number, wire, content in protobuf.fields(message):
        if number != 1:
            continue
        if kind in (BYTES, STRING) or wire != protobuf.LENGTH or isinstance(content, int):
            values.append(_scalar(kind, wire, content))
        elif kind in _FIXED:
            code, size = _FIXED[kind]
            if len(content) % size:
                raise ValueFormatError("a stored list of numbers is cut short")
            values += (row[0] for row in struct.iter_unpack(code, content))
        else:
            at = 0
            while at < len(content):
                element, at = protobuf.read_varint(content, at)
                values.append(_scalar(kind, protobuf.VARINT, element))
    return values


def _encoded(kind: int, value: Scalar) -> bytes:
    if kind in _FIXED:
        code, size = _FIXED[kind]
        return protobuf.tag(kind, protobuf.FIXED64 if size == 8 else protobuf.FIXED32) + struct.pack(code, value)
    if isinstance(value, str):
        return protobuf.delimited(kind, value.encode())
    if isinstance(value, bytes):
        return protobuf.delimited(kind, value)
    return protobuf.tag(kind, protobuf.VARINT) + protobuf.varint(int(value))


def _packed(kind: int, values: list[Scalar]) -> bytes:
    if not values:
        return b""
    if kind in (BYTES, STRING):
        texts = [value.encode() if isinstance(value, str) else value for value in values]
        return b"".join(protobuf.delimited(1, text) for text in texts if isinstance(text, bytes))
    if kind in _FIXED:
        return protobuf.delimited(1, b"".join(struct.pack(_FIXED[kind][0], value) for value in values))
    return protobuf.delimited(1, b"".join(protobuf.varint(int(value)) for value in values))


def _delimited_bytes(wire: int, content: int | bytes) -> bytes:
    if wire != protobuf.LENGTH:
        raise ValueFormatError("a stored list is a number")
    return _expected(content)


def _expected(content: int | bytes) -> bytes:
    if isinstance(content, int):
        raise ValueFormatError("a stored value is a varint where bytes are expected")
    return content


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueFormatError("a stored text is not UTF-8") from error


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
