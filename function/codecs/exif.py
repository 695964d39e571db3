"""A picture's orientation from its EXIF or XMP data.

Not by Pillow's reader, which costs 4 ms of a cold start: it reads every entry, and how much it copies for entries that
point at the same bytes depends on its version.
"""

from __future__ import annotations

_TAG, _SHORT, _LONG = 0x0112, 3, 4


def orientation(exif: bytes, xmp: bytes) -> int:
    """1 to 8; 1, as stored, where there is none or it cannot be read, as viewers do. `exif`: a TIFF file, with or
    without "Exif" before it; `xmp`: XML, asked only where `exif` has no such entry.
    """
    found = _from_exif(exif)
    if found is None and xmp:
        import re  # Pillow has it

        match = re.search(rb'tiff:Orientation(?:="|>)([0-9])', xmp)
        found = int(match[1]) if match else None
    return found if found is not None and 1 <= found <= 8 else 1


def _from_exif(exif: bytes) -> int | None:
    """The entry of the first directory, the first one where it is repeated; 0 for one that is no whole number."""
    for _ in range(2):  # some writers repeat it
        exif = exif.removeprefix(b"Exif\0\0")
    if exif[:4] not in (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0"):
        return None
    big = exif[0] == 0x4D
    at = _integer(exif[4:8], big) + 2
    for entry in range(at, min(at + 12 * _integer(exif[at - 2 : at], big), len(exif) - 11), 12):
        if _integer(exif[entry : entry + 2], big) == _TAG:
            kind, count = _integer(exif[entry + 2 : entry + 4], big), _integer(exif[entry + 4 : entry + 8], big)
            length = {_SHORT: 2, _LONG: 4}.get(kind, 0)
            length = length if 0 < count * length <= 4 else 0  # the first of two, as Pillow reads them
            return _integer(exif[entry + 8 : entry + 8 + length], big)
    return None


def _integer(data: bytes, big: bool) -> int:
    return int.from_bytes(data, "big" if big else "little")
