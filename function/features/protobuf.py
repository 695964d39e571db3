"""Protobuf's wire format: numbered fields, each a varint, four or eight bytes, or bytes of a length.

Format: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5  # wire types


class ValueFormatError(ValueError):
    """Stored bytes that are no Value or Timestamp that is understood here."""


def fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Number, wire type and content of each field: an integer for a varint, else the bytes."""
    at = 0
    while at < len(data):
        head, at = read_varint(data, at)
        number, wire = head >> 3, head & 7
        if wire == VARINT:
            content, at = read_varint(data, at)
            yield number, wire, content
            continue
        if wire == LENGTH:
            size, at = read_varint(data, at)
        elif wire in (FIXED64, FIXED32):
            size = 8 if wire == FIXED64 else 4
        else:
            raise ValueFormatError(f"a stored value has wire type {wire}, which protobuf does not know")
        if at + size > len(data):
            raise ValueFormatError(f"a stored value is cut short: {size} bytes expected, {len(data) - at} are there")
        yield number, wire, data[at : at + size]
        at += size


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
    raise ValueFormatError("a stored value is cut short within a number")


def tag(number: int, wire: int) -> bytes:
    return varint(number << 3 | wire)


def delimited(number: int, data: bytes) -> bytes:
    return tag(number, LENGTH) + varint(len(data)) + data


def varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
