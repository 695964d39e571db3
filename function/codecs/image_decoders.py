"""One format's file -> Pillow's image. A reader costs 26-30 ms to import; PIL.Image.open would import five first."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from PIL.Image import Image

    from function.codecs.image_header import Header

_STRIP = 1024 * 1024  # pixels of a copy that is made piece by piece


def opened(header: Header, name: str) -> Image:
    """The first frame, a JPEG not decoded yet; `header` gets what may tell the orientation.

    Any exception for a damaged file.
    """
    if name == "HEIC":
        from function.codecs import heic

        return heic.opened(header)
    image = {"JPEG": _jpeg, "PNG": _png, "WebP": _webp}[name](header)
    if image.size != header.size:
        raise ValueError(f"its parts are not of {header.size[0]} x {header.size[1]} pixels")
    return image


def _jpeg(header: Header) -> Image:
    import io

    from PIL.JpegImagePlugin import JpegImageFile

    return JpegImageFile(io.BytesIO(header.data))


def _png(header: Header) -> Image:
    import io
    import warnings

    from PIL.PngImagePlugin import PngImageFile

    # Pillow warns of odd metadata that does not touch the pixels. At each call, as tests reset the filters.
    warnings.filterwarnings("ignore", module="PIL")
    image = PngImageFile(io.BytesIO(header.data))
    image.load()
    info = image.info
    header.exif = info.get("exif") or _raw_profile(info.get("Raw profile type exif", ""))
    header.xmp = info.get("xmp") or info.get("XML:com.adobe.xmp", "").encode()
    return image


def _webp(header: Header) -> Image:
    """Not by Pillow's plugin, which keeps libwebp's two canvases and a copy of the pixels beside them: 20 bytes for
    each pixel instead of 12."""
    from PIL import _webp
    from PIL.Image import frombuffer

    decoder = _webp.WebPAnimDecoder(header.data)
    if decoder.get_info()[0] != header.size:
        raise ValueError(f"its parts are not of {header.size[0]} x {header.size[1]} pixels")
    frame = decoder.get_next()
    if frame is None:
        raise ValueError("its pixels cannot be decoded")
    header.exif, header.xmp = decoder.get_chunk("EXIF") or b"", decoder.get_chunk("XMP ") or b""
    return frombuffer("RGBX", header.size, frame[0], "raw", "RGBX", 0, 1)  # without a copy; X is the alpha


def _raw_profile(text: str) -> bytes:
    """EXIF data as ImageMagick writes them into a PNG: three lines, then hexadecimal digits."""
    try:
        return bytes.fromhex("".join(text.split("\n")[3:]))
    except ValueError:
        return b""


def resizable(image: Image) -> Image:
    """The pixels in a mode whose channels are resized each on its own, with no other copy than that needs."""
    image.load()
    image.info.pop("transparency", None)  # alpha is dropped later; convert() would compute it first
    if image.mode == "I;16":
        return _high_bytes(image)
    if image.mode == "1":
        return image.convert("L")
    return image.convert("RGB") if image.mode in ("P", "CMYK") else image


def _high_bytes(image: Image) -> Image:
    """convert() would cut values above 255 to 255."""
    from PIL.Image import frombytes, new

    result, (width, height) = new("L", image.size), image.size
    rows = max(1, _STRIP // width)
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        result.paste(frombytes("L", strip.size, strip.tobytes()[1::2]), (0, top))
    return result
