"""Feast's stored values: the protobuf messages feast.types.Value (scalars and lists) and google.protobuf.Timestamp.

Read and written without the protobuf library, whose import costs 30 ms. Format: protobuf.dev's encoding guide and
Value.proto of Feast 0.67.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Scalar = bytes | str | int | float | bool
    Value = Scalar | list[Scalar] | None

# Field numbers of Value's oneof; a list of scalar n is field n + 10.
BYTES, STRING, INT32, INT64, DOUBLE, FLOAT, BOOL, TIMESTAMP, NULL = 1, 2, 3, 4, 5, 6, 7, 8, 19
_LISTS = range(11, 19)
_FIRST, _END = -62135596800, 253402300800  # seconds since 1970: protobuf's own bounds of a Timestamp

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5  # wire types
_PACKED = {DOUBLE: (b"\x29", "<d"), FLOAT: (b"\x35", "<f")}  # with their tags
_FIXED = {DOUBLE: ("<d", 8), FLOAT: ("<f", 4)}
# By tag: the type, the length of the whole Value, and what reads it.
_WHOLE = {
    tag: (kind, struct.calcsize(code) + 1, struct.Struct(f"<x{code[1]}").unpack)
    for kind, (tag, code) in _PACKED.items()
}


class ValueFormatError(ValueError):
    """Stored bytes that are no Value or Timestamp that is understood here."""


def decode(data: bytes) -> tuple[int, Value]:
    """The type (a field number above) and the value; NULL and None for null or nothing. ValueFormatError.

    As in protobuf, the last field wins, and a field that this version does not know is passed over; other types of
    value (maps, sets) are refused.
    """
    if (whole := _WHOLE.get(data[:1])) and len(data) == whole[1]:  # most of all values, so at once
        return whole[0], whole[2](data)[0]
    kind: int = NULL
    value: Value = None
    for number, wire, content in _fields(data):
        if number == NULL:
            kind, value = NULL, None
        elif number in _LISTS:
            kind, value = number, _list(number - 10, _delimited_bytes(wire, content))
        elif BYTES <= number <= TIMESTAMP:
            kind, value = number, _scalar(number, wire, content)
        else:
            raise ValueFormatError(f"a stored value has type {number} of Feast's Value, which is not read here")
    return kind, value


def encode(kind: int, value: Value) -> bytes:
    """A Value of this type (a field number above), as Feast's own writer makes it."""
    if kind in _PACKED and type(value) is float:  # most of all values, so at once
        head, code = _PACKED[kind]
        return head + struct.pack(code, value)
    if value is None:
        return _tag(NULL, _VARINT) + b"\0"
    if isinstance(value, list):
        return _delimited(kind, _packed(kind - 10, value))
    return _encoded(kind, value)


def timestamp(data: bytes) -> float:
    """A Timestamp's seconds since 1970. ValueFormatError."""
    parts = {number: _signed(content) for number, _, content in _fields(data) if isinstance(content, int)}
    seconds = parts.get(1, 0) + parts.get(2, 0) / 1e9
    if not _FIRST <= seconds < _END:
        raise ValueFormatError("a stored time is not of the years 1 to 9999")
    return seconds


def encoded_timestamp(seconds: float) -> bytes:
    """A Timestamp of these seconds since 1970, to the microsecond."""
    whole, micros = divmod(round(seconds * 1e6), 1_000_000)
    text = _tag(1, _VARINT) + _varint(whole) if whole else b""
    return text + (_tag(2, _VARINT) + _varint(micros * 1000) if micros else b"")


def _fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Number, wire type and content of each field: an integer for a varint, else the bytes."""
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            content, at = _read_varint(data, at)
            yield number, wire, content
            continue
        if wire == _LENGTH:
            size, at = _read_varint(data, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise ValueFormatError(f"a stored value has wire type {wire}, which protobuf does not know")
        if at + size > len(data):
            raise ValueFormatError(f"a stored value is cut short: {size} bytes expected, {len(data) - at} are there")
        yield number, wire, data[at : at + size]
        at += size


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
    raise ValueFormatError("a stored value is cut short within a number")


def _scalar(kind: int, wire: int, content: int | bytes) -> Scalar:
    if kind in (INT32, INT64, TIMESTAMP, BOOL):
        if not isinstance(content, int):
            raise ValueFormatError("a stored integer is not a varint")
        if kind == INT32:  # protobuf keeps the low half
            return (content & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
        return bool(content) if kind == BOOL else _signed(content)
    data = _expected(content)
    if kind in (BYTES, STRING) and wire != _LENGTH:
        raise ValueFormatError("a stored text is a number")
    if kind in _FIXED:
        code, size = _FIXED[kind]
        if len(data) != size or wire == _LENGTH:
            raise ValueFormatError(f"a stored number is not {size} bytes of its own")
        number: float = struct.unpack(code, data)[0]
        return number
    return _text(data) if kind == STRING else data


def _list(kind: int, message: bytes) -> list[Scalar]:
    """The elements of a list message, whose only field 1 is packed or repeated."""
    values: list[Scalar] = []
    for number, wire, content in _fields(message):
        if number != 1:
            continue
        if kind in (BYTES, STRING) or wire != _LENGTH or isinstance(content, int):
            values.append(_scalar(kind, wire, content))
        elif kind in _FIXED:
            code, size = _FIXED[kind]
            if len(content) % size:
                raise ValueFormatError("a stored list of numbers is cut short")
            values += (row[0] for row in struct.iter_unpack(code, content))
        else:
            at = 0
            while at < len(content):
                element, at = _read_varint(content, at)
                values.append(_scalar(kind, _VARINT, element))
    return values


def _encoded(kind: int, value: Scalar) -> bytes:
    if kind in _FIXED:
        code, size = _FIXED[kind]
        return _tag(kind, _FIXED64 if size == 8 else _FIXED32) + struct.pack(code, value)
    if isinstance(value, str):
        return _delimited(kind, value.encode())
    if isinstance(value, bytes):
        return _delimited(kind, value)
    return _tag(kind, _VARINT) + _varint(int(value))


def _packed(kind: int, values: list[Scalar]) -> bytes:
    if not values:
        return b""
    if kind in (BYTES, STRING):
        texts = [value.encode() if isinstance(value, str) else value for value in values]
        return b"".join(_delimited(1, text) for text in texts if isinstance(text, bytes))
    if kind in _FIXED:
        return _delimited(1, b"".join(struct.pack(_FIXED[kind][0], value) for value in values))
    return _delimited(1, b"".join(_varint(int(value)) for value in values))


def _delimited_bytes(wire: int, content: int | bytes) -> bytes:
    if wire != _LENGTH:
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


def _tag(number: int, wire: int) -> bytes:
    return _varint(number << 3 | wire)


def _delimited(number: int, data: bytes) -> bytes:
    return _tag(number, _LENGTH) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
