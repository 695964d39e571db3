"""HEIC photographs, as telephones take them: read where pillow-heif is, and told by name where it is not."""

from __future__ import annotations

from function.codecs.image_header import Header
from function.errors import PredictError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from PIL.Image import Image

# Brands of the ftyp box. Files with mif1 or msf1, "some picture", have the brand of their coding beside it.
_AVIF = frozenset((b"avif", b"avis"))
_HEIC = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
MAX_BOXES = 1000  # on one level; a telephone writes about 20 properties
_HEADER = 8  # bytes: the length of a box and its kind

# Bytes of a pixel beside Pillow's own 4: libheif's planes of 10 bits, the tiles' decoders, the RGB and its copy.
_DECODING = 16


def told(head: bytes) -> str:
    """HEIC or AVIF, for the first 64 bytes of a file with a ftyp box; empty for another."""
    end = min(len(head), int.from_bytes(head[:4], "big"))
    brands = {head[at : at + 4] for at in range(_HEADER, end, 4)}
    return "AVIF" if brands & _AVIF else "HEIC" if brands & _HEIC else ""


def check(kind: str) -> None:
    """PredictError 415 for what cannot be read here: AVIF, and HEIC without pillow-heif."""
    if kind == "AVIF":
        raise PredictError("UNSUPPORTED_MEDIA_TYPE", "this is an AVIF picture; save it as JPEG, PNG or WebP")
    try:
        _package()
    except ImportError as error:
        raise PredictError(
            "UNSUPPORTED_MEDIA_TYPE",
            f"this is a HEIC photograph; save it as JPEG, or put pillow-heif into the layer ({error})",
        ) from error


def _package() -> Any:
    import pillow_heif  # libheif and its decoders; only where a model's requirements.txt brought them

    return pillow_heif


def header(data: bytes) -> Header:
    """The size of the largest picture in the file, which those of its tiles, thumbnail and depth map do not pass.

    ValueError where the boxes do not say it, or are no boxes.
    """
    place = 0, len(data)
    for kind in (b"meta", b"iprp", b"ipco"):
        places = [(begin, end) for name, begin, end in _boxes(data, *place) if name == kind]
        if len(places) != 1:
            raise ValueError(f"it has {len(places)} boxes {kind.decode()!r}, and one is expected")
        place = places[0][0] + (4 if kind == b"meta" else 0), places[0][1]  # a version and flags come first in meta
    sizes = [
        (int.from_bytes(data[begin + 4 : begin + 8], "big"), int.from_bytes(data[begin + 8 : begin + 12], "big"))
        for name, begin, end in _boxes(data, *place)
        if name == b"ispe" and end - begin >= 12
    ]
    if not sizes:
        raise ValueError("its size is missing: it has no box 'ispe'")
    found = Header(data, max(sizes, key=lambda size: size[0] * size[1]), 4)
    found.decoding = _DECODING * found.size[0] * found.size[1]
    return found


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, where its content begins, where it ends) of the boxes side by side in a stretch of the file."""
    for _ in range(MAX_BOXES):
        if at == end:
            return
        length, kind, begin = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], at + _HEADER
        if length == 1:  # a length of 64 bits follows
            length, begin = int.from_bytes(data[begin : begin + 8], "big"), begin + 8
        elif length == 0:  # up to the end
            length = end - at
        if begin > at + length or at + length > end:
            raise ValueError(f"its box {kind!r} ends outside of the file, or of the box around it")
        yield kind, begin, at + length
        at += length
    raise ValueError(f"it has more than {MAX_BOXES} boxes side by side")


def opened(header: Header) -> Image:
    """The pixels of the primary picture, upright: libheif turns it, so no orientation is left to follow."""
    file = _package().open_heif(header.data)
    largest, found = sorted(header.size), sorted(file.size)
    if found[0] > largest[0] or found[1] > largest[1]:
        raise ValueError(f"its parts are not of {header.size[0]} x {header.size[1]} pixels")
    image: Image = file.to_pillow()
    header.size = image.size
    return image
