"""How Feast names an entity and a feature at rest: entity keys (serialisation version 3) and MurmurHash3.

Formats: feast.infra.key_encoding_utils and feast.infra.online_stores.helpers of Feast 0.67; MurmurHash3 is Austin
Appleby's, in the public domain (x86 32 bit, x64 128 bit, both with seed 0).
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# feast.types.ValueType.Enum
BYTES, STRING, INT32, INT64, UNIX_TIMESTAMP = 1, 2, 3, 4, 8

_U32 = 0xFFFFFFFF
_U64 = 0xFFFFFFFFFFFFFFFF


def key_names(names: Sequence[str]) -> bytes:
    """The first part of an entity's name at rest, the same for all of a kind; `names` are its join keys, sorted."""
    encoded = [name.encode() for name in names]
    return struct.pack("<I", len(names)) + b"".join(struct.pack("<II", STRING, len(name)) + name for name in encoded)


def key_value(kind: int, value: int | str | bytes) -> bytes:
    """What follows for each join key, in their order: its type and the value. struct.error for a number too large."""
    content = _content(kind, value)
    return struct.pack("<II", kind, len(content)) + content


def _content(kind: int, value: int | str | bytes) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return value
    return struct.pack("<i" if kind == INT32 else "<q", value)


def redis_field(view: str, feature: str) -> bytes:
    """The field of an entity's hash that holds a feature."""
    return struct.pack("<I", murmur3_32(f"{view}:{feature}".encode()))


def dynamodb_id(key: bytes) -> str:
    """The `entity_id` of an entity key in a DynamoDB table: 32 hexadecimal digits."""
    return murmur3_128(key).hex()


def murmur3_32(data: bytes) -> int:
    """MurmurHash3_x86_32 of `data`, from 0 to 2**32 - 1."""
    value = 0
    whole = len(data) & ~3
    for (word,) in struct.iter_unpack("<I", data[:whole]):
        value ^= _scrambled(word)
        value = (_rotated(value, 13, 32) * 5 + 0xE6546B64) & _U32
    value ^= _scrambled(int.from_bytes(data[whole:], "little"))
    value ^= len(data)
    value = ((value ^ value >> 16) * 0x85EBCA6B) & _U32
    value = ((value ^ value >> 13) * 0xC2B2AE35) & _U32
    return value ^ value >> 16


def murmur3_128(data: bytes) -> bytes:
    """MurmurHash3_x64_128 of `data`, 16 bytes."""
    first = second = 0
    whole = len(data) & ~15
    for low, high in struct.iter_unpack("<QQ", data[:whole]):
        first ^= _mixed(low, 0x87C37B91114253D5, 31, 0x4CF5AD432745937F)
        first = (_rotated(first, 27, 64) + second) & _U64
        first = (first * 5 + 0x52DCE729) & _U64
        second ^= _mixed(high, 0x4CF5AD432745937F, 33, 0x87C37B91114253D5)
        second = (_rotated(second, 31, 64) + first) & _U64
        second = (second * 5 + 0x38495AB5) & _U64
    tail = data[whole:]
    second ^= _mixed(int.from_bytes(tail[8:], "little"), 0x4CF5AD432745937F, 33, 0x87C37B91114253D5)
    first ^= _mixed(int.from_bytes(tail[:8], "little"), 0x87C37B91114253D5, 31, 0x4CF5AD432745937F)
    first ^= len(data)
    second ^= len(data)
    first = (first + second) & _U64
    second = (second + first) & _U64
    first, second = _finished(first), _finished(second)
    first = (first + second) & _U64
    return struct.pack("<QQ", first, (second + first) & _U64)


def _rotated(value: int, by: int, bits: int) -> int:
    return (value << by | value >> bits - by) & ((1 << bits) - 1)


def _scrambled(word: int) -> int:
    return _rotated(word * 0xCC9E2D51 & _U32, 15, 32) * 0x1B873593 & _U32


def _mixed(word: int, before: int, by: int, after: int) -> int:
    return _rotated(word * before & _U64, by, 64) * after & _U64


def _finished(value: int) -> int:
    value = ((value ^ value >> 33) * 0xFF51AFD7ED558CCD) & _U64
    value = ((value ^ value >> 33) * 0xC4CEB9FE1A85EC53) & _U64
    return value ^ value >> 33
