"""What the headers of a JPEG, PNG or WebP file say, read before any decoder sees the file.

Pillow reads and keeps all metadata piece by piece: 24 MB of empty JPEG comments cost it 435 MB and 4 s, 58 MB of EXIF
segments 10 s. What it need not see is taken out here (JPEG), and the rest is counted. Each walk ends after a fixed
number of steps.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# Before the pixels: cameras write about 20, a 16 MB depth map in XMP 250. Each costs Pillow memory and time.
MAX_SEGMENTS = 1000
# Progressive encoders write about 10 scans, and each takes as long as decoding the picture anew.
MAX_SCANS = 100
MAX_PIXEL_CHUNKS = 16_384  # of a PNG: 128 MB in those of 8 KB that libpng writes
MAX_WEBP_CHUNKS = 16_384

MIB = 1024 * 1024
_TEXT_CHUNK = 5 * MIB  # Pillow inflates 1 MiB of one at most, and a character may need 4 bytes
_TEXT_CHUNKS = 64  # Pillow keeps 64 MiB of text at most
_SCAN = 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = b"\xc2\xc6\xca\xce"  # the JPEG frames whose coefficients come in several scans
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_WITHOUT_PIXELS = "it ends before its pixels"

# PNG's (bits, colour type) -> bytes of a pixel that Pillow decodes to, and of the copy in which it can be resized
_PNG_PIXELS = {
    (1, 0): (1, 1),
    (2, 0): (1, 0),
    (4, 0): (1, 0),
    (8, 0): (1, 0),
    (16, 0): (2, 1),
    (8, 2): (4, 0),
    (16, 2): (4, 0),
    (1, 3): (1, 4),
    (2, 3): (1, 4),
    (4, 3): (1, 4),
    (8, 3): (1, 4),
    (8, 4): (4, 0),
    (16, 4): (4, 0),
    (8, 6): (4, 0),
    (16, 6): (4, 0),
}


class Header:
    """`data` is the file for the decoder. In bytes: `pixel`, one decoded pixel; `copied`, one of the full-size copy in
    another mode that is made of the pixels; `decoding`, the decoder's buffers; `fixed`, what is there all the time.

    `drafts`: it can be decoded at a fraction of its size. `exif` and `xmp` may tell the orientation; they are here of a
    JPEG, whose decoder does not get them.
    """

    __slots__ = ("copied", "data", "decoding", "drafts", "exif", "fixed", "pixel", "size", "xmp")

    def __init__(self, data: bytes, size: tuple[int, int], pixel: int) -> None:
        self.data, self.size, self.pixel = data, size, pixel
        self.copied = self.decoding = self.fixed = 0
        self.exif = self.xmp = b""
        self.drafts = False


def read(data: bytes, name: str) -> Header:
    """ValueError for what is damaged, or has more parts than any honest file."""
    return {"JPEG": _jpeg, "PNG": _png, "WebP": _webp}[name](data)


def _jpeg(data: bytes) -> Header:
    kept: list[bytes | memoryview] = [data[:2]]
    frame, exif, xmp, at, end = b"", b"", b"", 0, 0
    for marker, at, end in _jpeg_segments(data):
        content = data[at + 4 : end]
        if marker in _FRAMES:
            if frame:
                raise ValueError("it has more than one frame")
            frame = data[at + 1 : at + 2] + content
        if marker == 0xE1 and content.startswith(b"Exif\0\0"):
            exif = exif or content
        elif marker == 0xE1 and content.startswith(_XMP):
            xmp = content
        # APP0 (JFIF) and APP14 (Adobe) tell the colours; the others and comments do not touch the pixels.
        elif not (0xE1 <= marker <= 0xED or marker in (0xEF, 0xFE)):
            kept.append(data[at:end])
    header = _jpeg_frame(frame)
    if frame[0] in _PROGRESSIVE or data[at + 4] < frame[6]:
        _count_scans(data, end)
    else:
        header.decoding = 0  # all components in one scan: no coefficients are kept
    header.exif, header.xmp, header.data = exif, xmp, data
    kept[-1] = memoryview(data)[at:]
    length = sum(map(len, kept))
    if length < len(data):
        header.data = b"".join(kept)
        header.fixed = length
    return header


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, begin, end) of each segment with content, up to the header of the first scan."""
    end = 2
    for _ in range(MAX_SEGMENTS):
        begin = data.find(b"\xff", end)  # what is between segments is passed over, as decoders do
        if begin < 0 or begin + 4 >= len(data):
            break
        marker = data[begin + 1]
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD9:  # without content, or a byte that fills
            end = begin + (1 if marker == 0xFF else 2)
            continue
        end = begin + 2 + int.from_bytes(data[begin + 2 : begin + 4], "big")
        if end > len(data):
            break
        yield marker, begin, end
        if marker == _SCAN:
            return
    else:
        raise ValueError(f"it has more than {MAX_SEGMENTS} segments before its pixels")
    raise ValueError(_WITHOUT_PIXELS)


def _jpeg_frame(frame: bytes) -> Header:
    """`frame` is its marker and content. `decoding` is what all coefficients need, 2 bytes for each."""
    components = frame[6] if len(frame) > 6 else 0
    if not components or len(frame) < 7 + 3 * components:
        raise ValueError("its size is missing")
    size = int.from_bytes(frame[4:6], "big"), int.from_bytes(frame[2:4], "big")
    header = Header(b"", size, 1 if components == 1 else 4)
    header.copied = 4 if components == 4 else 0
    header.drafts = True
    factors = [(frame[at] >> 4, frame[at] & 15) for at in range(8, 7 + 3 * components, 3)]
    across, down = (max(1, *pair) for pair in zip(*factors, strict=True))
    units = -(-size[0] // (8 * across)) * -(-size[1] // (8 * down))
    header.decoding = units * sum(x * y for x, y in factors) * 128
    return header


def _count_scans(data: bytes, at: int) -> None:
    import re  # Pillow has it

    scans, marker = 1, re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
    for _ in range(MAX_SEGMENTS):
        found = marker.search(data, at)
        if found is None or found[0] == b"\xff\xd9":
            return
        scans += found[0] == b"\xff\xda"
        if scans > MAX_SCANS:
            break
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    raise ValueError(f"it has more than {MAX_SCANS} scans")


def _png(data: bytes) -> Header:
    header, at, frames, seen_pixels, others, texts, metadata = None, 8, 0, 0, 0, 0, 0
    while at + 8 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind == b"IEND" or (kind == b"fcTL" and seen_pixels and frames > 1):
            break
        if kind in (b"IDAT", b"fdAT", b"fcTL"):
            seen_pixels += kind != b"fcTL"
            if seen_pixels > MAX_PIXEL_CHUNKS:
                raise ValueError(f"its pixels are in more than {MAX_PIXEL_CHUNKS} chunks")
        else:
            others += 1
            metadata += min(length, len(data) - at)
            if others > MAX_SEGMENTS:
                raise ValueError(f"it has more than {MAX_SEGMENTS} chunks that are not pixels")
            if kind == b"IHDR":
                if header is not None:
                    raise ValueError("it has more than one IHDR chunk")
                header = _png_pixels(data, data[at + 4 : at + 25])
            elif kind == b"acTL":
                frames = int.from_bytes(data[at + 8 : at + 12], "big")
            elif kind in (b"iCCP", b"iTXt", b"zTXt"):
                texts += 1
        at += 12 + length
    if header is None:
        raise ValueError("it has no IHDR chunk")
    header.fixed = 4 * metadata + min(texts, _TEXT_CHUNKS) * _TEXT_CHUNK
    return header


def _png_pixels(data: bytes, chunk: bytes) -> Header:
    from binascii import crc32

    content, checksum = chunk[4:17], int.from_bytes(chunk[17:], "big")
    if len(chunk) == 21 and crc32(chunk[:17]) != checksum:  # else a size that nobody wrote would be counted
        raise ValueError("broken PNG file (bad header checksum in b'IHDR')")
    size = int.from_bytes(content[:4], "big"), int.from_bytes(content[4:8], "big")
    pixel, copied = _PNG_PIXELS.get((content[8], content[9]), (4, 4))
    header = Header(data, size, pixel)
    header.copied = copied
    return header


def _webp(data: bytes) -> Header:
    kind = data[12:16]
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        size = int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    elif kind == b"VP8L" and data[20:21] == b"\x2f":
        bits = int.from_bytes(data[21:25], "little")
        size = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8X":
        size = int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    else:
        raise ValueError("it begins with none of the chunks VP8, VP8L and VP8X")
    if len(data) < 30:
        raise ValueError(_WITHOUT_PIXELS)
    at, chunks = 12, 0
    while at + 8 <= len(data):
        chunks += 1
        if chunks > MAX_WEBP_CHUNKS:
            raise ValueError(f"it has more than {MAX_WEBP_CHUNKS} chunks")
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + length % 2
    header = Header(data, size, 4)
    header.decoding = 8 * size[0] * size[1]  # libwebp's two canvases, whose place the pixels take afterwards
    return header
