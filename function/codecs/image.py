"""JPEG, PNG and WebP bytes -> the uint8 pixels that a model's picture graph takes."""

from __future__ import annotations

from function.errors import PredictError, invalid
from function.tensor import PixelTensor

TYPE_CHECKING = False  # `import typing` costs 5 ms of a cold start; type checkers take this name as true
if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile
    from typing_extensions import Buffer

# More than any phone's 50-megapixel camera gives. Pillow needs up to 8 bytes for each pixel, so 512 MB here.
MAX_PIXELS = 64_000_000

# A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that leaves at least this many times the size that the rule
# asks for: 2 to 5 times as fast. The filter still does the last step, so photographs' pixels stay within 6 of 255.
DRAFT_MARGIN = 2

FORMATS = "JPEG, PNG or WebP"
_MEGAPIXELS = f"the {MAX_PIXELS // 1_000_000} megapixels that fit"


class ImageRule:
    """The [image] table of model.toml: how a picture becomes the tensor `input`, and `output` its classes.

    `size` is (height, width) of the result. `resize` is "stretch" (to `size`, whatever the shape) or
    "shorter_side" (to `resize_to`, the longer side in proportion, then `size` is cut from the centre).
    `filter` is Pillow's name in lower case. `mean`, `std` and `layout` are for the graph that follows.
    """

    __slots__ = ("activation", "filter", "input", "layout", "mean", "output", "resize", "resize_to", "size", "std")

    def __init__(  # noqa: PLR0913
        self,
        *,
        input: str,  # noqa: A002  # the names of model.toml
        output: str,
        size: list[int],
        mean: list[float],
        std: list[float],
        activation: str,
        resize: str,
        resize_to: int,
        filter: str,  # noqa: A002
        layout: str,
    ) -> None:
        self.input, self.output, self.activation, self.layout = input, output, activation, layout
        self.size, self.mean, self.std = (size[0], size[1]), mean, std
        self.resize, self.resize_to, self.filter = resize, resize_to, filter


def decode(body: Buffer, rule: ImageRule) -> PixelTensor:
    """UINT8 [1, height, width, 3]: the first frame, upright by its EXIF orientation, RGB, resized by `rule`.

    Alpha is dropped as Pillow's convert("RGB") drops it, which is what models are trained with: a transparent
    pixel shows the colour stored under it. 16-bit samples keep their high byte. The format is told by the
    first bytes; a Content-Type is not looked at.

    PredictError: 400 for an empty, cut or damaged picture; 413 for more than MAX_PIXELS, told by the header
    before anything is decoded; 415 for another format.
    """
    import io

    name = _format(body)
    plugin = _plugin(name)
    from PIL.Image import DecompressionBombError

    try:
        return _pixels(plugin(io.BytesIO(body)), rule)
    except PredictError:
        raise
    except DecompressionBombError as error:  # a WebP that Pillow refuses by its header before we can
        raise _too_large(f"this picture has more than {_MEGAPIXELS}") from error
    except MemoryError as error:
        raise _too_large("this picture needs more memory than the function has") from error
    # Pillow meets damage with OSError, SyntaxError, ValueError, struct.error, zlib.error, EOFError and more.
    except Exception as error:
        raise invalid(f"this {name} picture is damaged: {error}; send a whole {FORMATS} file") from error


def _format(body: Buffer) -> str:
    view = memoryview(body).cast("B")
    head = bytes(view[:12])
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"RIFF") and head[8:] == b"WEBP":
        return "WebP"
    if not head:
        raise invalid(f"the picture is empty (0 bytes); send a {FORMATS} file")
    raise PredictError(
        "UNSUPPORTED_MEDIA_TYPE", f"the picture must be a {FORMATS} file; it begins with the bytes {head!r}"
    )


def _plugin(name: str) -> type[ImageFile]:
    """One format's reader: 26-30 ms to import, 5 ms less than PIL.Image.open, which imports five first."""
    import warnings

    # Pillow warns of odd metadata that does not touch the pixels. At each call, as tests reset the filters.
    warnings.filterwarnings("ignore", module="PIL")
    if name == "JPEG":
        from PIL.JpegImagePlugin import JpegImageFile

        return JpegImageFile
    if name == "PNG":
        from PIL.PngImagePlugin import PngImageFile

        return PngImageFile
    from PIL.WebPImagePlugin import WebPImageFile

    return WebPImageFile


def _pixels(image: ImageFile, rule: ImageRule) -> PixelTensor:
    from PIL.Image import Resampling, Transpose

    _check_size(image.size, "this picture has")
    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    orientation = _orientation(image)
    on_its_side = orientation >= 5
    height, width = rule.size
    upright = _resized(image.size[::-1] if on_its_side else image.size, rule)
    _check_size(upright, f"with its shorter side made {rule.resize_to}, this picture would have")
    target = upright[::-1] if on_its_side else upright
    # Only JPEG has drafts. The box is the picture's exact place in the draft, whose size is rounded up.
    draft = image.draft(None, (target[0] * DRAFT_MARGIN, target[1] * DRAFT_MARGIN))
    # Resized before it is turned, as that moves fewer pixels.
    result = _rgb(image).resize(target, Resampling[rule.filter.upper()], draft[1] if draft else None)
    if orientation in turns:
        result = result.transpose(turns[orientation])
    if result.size != (width, height):
        left, top = (result.width - width) // 2, (result.height - height) // 2
        result = result.crop((left, top, left + width, top + height))
    return PixelTensor((1, height, width, 3), result.tobytes())


def _resized(size: tuple[int, int], rule: ImageRule) -> tuple[int, int]:
    """(width, height) before the crop; the longer side is rounded to the nearest."""
    if rule.resize == "stretch":
        return rule.size[1], rule.size[0]
    shorter = min(size)
    return round(size[0] * rule.resize_to / shorter), round(size[1] * rule.resize_to / shorter)


def _orientation(image: ImageFile) -> int:
    """EXIF tag 0x0112, 1 to 8; 1, as stored, where there is none or it cannot be read, as viewers do.

    Reading it costs 4 ms once, for Pillow's TIFF reader, and only where a picture has EXIF data.
    """
    if image.format != "JPEG":
        image.load()  # here, so that its errors are not taken for those of the EXIF data, which may come last
    try:
        value = image.getexif().get(0x0112)
    except Exception:  # noqa: BLE001
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _rgb(image: Image) -> Image:
    if image.mode == "RGB":
        return image
    if image.mode == "I;16":
        from PIL.Image import frombytes

        # convert() would cut values above 255 to 255.
        image = frombytes("L", image.size, image.tobytes()[1::2])
    image.info.pop("transparency", None)  # dropped all the same, but convert() would first work it out
    return image.convert("RGB")


def _check_size(size: tuple[int, int], what: str) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise _too_large(f"{what} {size[0]} x {size[1]} pixels, more than {_MEGAPIXELS}")


def _too_large(message: str) -> PredictError:
    return PredictError("PAYLOAD_TOO_LARGE", f"{message}; send a smaller picture")


def from_base64(text: str | bytes) -> bytes:
    """The bytes of padded, standard base64, line breaks allowed, or of a base64 data: URL; else a 400."""
    from pybase64 import b64decode  # 1 ms; 9 times as fast as the standard library's

    raw = text.encode("utf-8", "replace") if isinstance(text, str) else text
    if raw[:5].lower() == b"data:":
        head, _, raw = raw.partition(b",")
        if not head.lower().endswith(b";base64"):
            raise invalid("this data: URL is not base64: ';base64,' is expected before the picture")
    if b"\n" in raw:
        raw = raw.replace(b"\r\n", b"").replace(b"\n", b"")
    try:
        return b64decode(raw, validate=True)
    except ValueError as error:
        raise invalid(
            f"the picture's {len(raw)} characters are not base64: A-Z, a-z, 0-9, '+' and '/', "
            "with '=' to a multiple of 4, are expected"
        ) from error
