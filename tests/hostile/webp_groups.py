"""A lossless WebP whose every block of 4 x 4 pixels has Huffman codes of its own, written bit by bit.

Format: "WebP Lossless Bitstream Specification", developers.google.com/speed/webp/docs.
"""

from __future__ import annotations

SIDE = 1024  # pixels: 65,536 blocks of 4 x 4, as many as there can be groups of codes
GROUPS = (SIDE // 4) ** 2
_ORDER_OF_8 = 11  # where the length 8 stands among the lengths of the code for code lengths


class _Bits:
    """Least significant bit first."""

    def __init__(self) -> None:
        self._value = self._count = 0
        self._bytes = bytearray()

    def write(self, value: int, count: int) -> None:
        self._value |= value << self._count
        self._count += count
        while self._count >= 8:
            self._bytes.append(self._value & 255)
            self._value >>= 8
            self._count -= 8

    def bytes(self) -> bytes:
        return bytes(self._bytes) + bytes([self._value]) + bytes(8)


def _one_symbol(bits: _Bits) -> None:
    """A simple code whose only symbol is 0, in a bit."""
    bits.write(0b0001, 4)


def _all_of_8_bits(bits: _Bits, *, first_256_alone: bool) -> None:
    """A code in which each of 256 symbols has 8 bits."""
    bits.write(0, 1)
    bits.write(_ORDER_OF_8 + 1 - 4, 4)
    bits.write(1 << 3 * _ORDER_OF_8, 3 * _ORDER_OF_8 + 3)
    bits.write(first_256_alone, 1)
    if first_256_alone:
        bits.write(3, 3)  # the number of symbols stands in 2 + 2 * 3 bits
        bits.write(256 - 2, 8)


def picture() -> bytes:
    """About 300 KB."""
    bits = _Bits()
    bits.write(0x2F, 8)
    bits.write(SIDE - 1, 14)
    bits.write(SIDE - 1, 14)
    bits.write(0, 1 + 3 + 1 + 1)  # no alpha, version 0, no transform, no colour cache
    bits.write(0b0001, 4)  # there are groups, of blocks of 2 to the power of 0 + 2
    bits.write(0, 1)
    _all_of_8_bits(bits, first_256_alone=True)  # green, behind whose 256 symbols are those of lengths
    _all_of_8_bits(bits, first_256_alone=False)  # red
    for _ in range(3):  # blue, alpha, distance
        _one_symbol(bits)
    reversed_bits = [int(f"{symbol:08b}"[::-1], 2) for symbol in range(256)]
    for group in range(GROUPS):
        bits.write(reversed_bits[group & 255], 8)
        bits.write(reversed_bits[group >> 8], 8)
    for _ in range(5 * GROUPS):
        _one_symbol(bits)
    data = bits.bytes()  # the pixels take no bits at all
    data += bytes(len(data) % 2)
    chunk = b"VP8L" + len(data).to_bytes(4, "little") + data
    return b"RIFF" + (4 + len(chunk)).to_bytes(4, "little") + b"WEBP" + chunk
