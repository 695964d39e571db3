"""Just enough of the ELF format (elf(5), 64-bit little-endian) to slim libraries for another CPU than this one."""

from __future__ import annotations

import struct
from dataclasses import dataclass

MACHINES = {62: "x86_64", 183: "arm64"}  # e_machine
_LOAD, _DYNAMIC = 1, 2  # p_type
_NEEDED, _STRTAB = 1, 5  # d_tag


class ElfError(Exception):
    """Not a shared library that can be read here."""


@dataclass(frozen=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int


def machine(content: bytes) -> str:
    """ "x86_64" or "arm64"; ElfError for anything else."""
    if content[:6] != b"\x7fELF\x02\x01":
        raise ElfError("a 64-bit little-endian ELF file is expected")
    number = struct.unpack_from("<H", content, 18)[0]
    if number not in MACHINES:
        raise ElfError(f"e_machine is {number}; {MACHINES} are known")
    return MACHINES[number]


def needed(content: bytes) -> list[str]:
    """The libraries that the dynamic loader must find for this one (DT_NEEDED), in order."""
    segments = _segments(content)
    entries: list[tuple[int, int]] = []
    for segment in segments:
        if segment.kind == _DYNAMIC:
            entries += struct.iter_unpack("<QQ", content[segment.offset : segment.offset + segment.size // 16 * 16])
    address = next((value for tag, value in entries if tag == _STRTAB), 0)
    strings = next(
        s.offset + address - s.address
        for s in segments
        if s.kind == _LOAD and s.address <= address < s.address + s.size
    )
    starts = [strings + value for tag, value in entries if tag == _NEEDED]
    return [content[start : content.index(b"\0", start)].decode() for start in starts]


def without_sections(content: bytes) -> bytes:
    """The same library without section headers, symbols and debug data: the loader reads segments only.

    `strip` does less, and a build machine has it for its own CPU only.
    """
    end = max(segment.offset + segment.size for segment in _segments(content))
    header = bytearray(content[:end])
    struct.pack_into("<Q", header, 40, 0)  # e_shoff
    struct.pack_into("<HH", header, 60, 0, 0)  # e_shnum, e_shstrndx
    return bytes(header)


def _segments(content: bytes) -> list[_Segment]:
    machine(content)
    (table,) = struct.unpack_from("<Q", content, 32)
    entry_size, count = struct.unpack_from("<HH", content, 54)
    found = []
    for index in range(count):
        kind, _, offset, address, _, size = struct.unpack_from("<IIQQQQ", content, table + index * entry_size)
        found.append(_Segment(kind, offset, address, size))
    return found
