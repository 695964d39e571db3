"""How many bytes of memory it takes to decode and resize a picture, from its header alone.

The terms are the allocations of Pillow and its libraries; docs/decisions.md compares them with what processes took.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from function.codecs.image_header import Header

# How many pixels of the result Pillow's filters reach to each side. All but nearest have a picture between two passes.
_REACH = {"nearest": 0, "bilinear": 1, "bicubic": 2, "lanczos": 3}

# Of a lossless WebP each block of 4 x 4 pixels may have codes of its own, in 20 bits of the file and 5.7 KB of memory.
# libwebp writes 2,600 at most.
_MOST_CODES, _CODES_BITS, _CODES_BYTES = 65_536, 20, 6000


def peak(header: Header, margin: int, target: tuple[int, int], filter: str) -> int:  # noqa: A002
    """`target` is (width, height) after resizing, before turning; a draft has at least `margin` times that size."""
    draft = _draft(header.size, margin, target) if header.drafts else 1
    width, height = -(-header.size[0] // draft), -(-header.size[1] // draft)
    pixels = _plane((width, height), header.pixel)
    copied = _plane((width, height), header.copied) if header.copied else 0
    reach = _REACH[filter]
    between = _plane((target[0], height), header.copied or header.pixel) if reach else 0
    # A double for each step of the filter, in both directions.
    steps = sum((2 * reach + 1) * target[side] + 2 * reach * header.size[side] for side in (0, 1))
    resized = _plane(target, 4)  # thrice: converted, turned or copied out
    return header.fixed + pixels + max(header.decoding, copied + 8 * steps + max(between + resized, 3 * resized))


def webp_codes(header: Header) -> int:
    """What the Huffman codes of a lossless WebP, or of one with alpha, may take beyond `peak`.

    No honest file has so many, but their number is known only when half of the file is decoded.
    """
    data, at, coded = header.data, 12, 0
    while data[:4] == b"RIFF" and at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] in (b"VP8L", b"ALPH", b"ANMF"):
            coded += length
        at += 8 + length + length % 2
    blocks = -(-header.size[0] // 4) * -(-header.size[1] // 4)
    return min(_MOST_CODES, blocks, 8 * coded // _CODES_BITS) * _CODES_BYTES


def _draft(size: tuple[int, int], margin: int, target: tuple[int, int]) -> int:
    """A JPEG is decoded at 1/draft of its size, as Pillow's draft() chooses it."""
    scale = min(size[0] // (margin * target[0]), size[1] // (margin * target[1]))
    return next((draft for draft in (8, 4, 2) if scale >= draft), 1)


def _plane(size: tuple[int, int], pixel: int) -> int:
    """A picture in Pillow: rows of whole words, and a pointer to each."""
    return size[1] * (8 + (size[0] * pixel + 3 & -4))
