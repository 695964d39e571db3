"""JPEG, PNG and WebP bytes, HEIC with a package -> the uint8 pixels that a model's picture graph takes."""

from __future__ import annotations

from function.codecs import exif, image_cost, image_decoders, image_header
from function.errors import PredictError, invalid
from function.tensor import PixelTensor

TYPE_CHECKING = False  # `import typing` costs 5 ms of a cold start; type checkers take this name as true
if TYPE_CHECKING:
    from PIL.Image import Image
    from typing_extensions import Buffer

    from function.codecs.image_header import Header
    from function.tensor import ImageRule

MAX_PIXELS = 64_000_000  # more than any phone's 50-megapixel camera gives

LARGE = 32 * 1024 * 1024  # bytes; what such a picture took is given back to the system

# A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that leaves at least this many times the size that the rule
# asks for: 2 to 5 times as fast. The filter still does the last step, so photographs' pixels stay within 6 of 255.
DRAFT_MARGIN = 2

FORMATS = "JPEG, PNG or WebP"
_MEGAPIXELS = f"the {MAX_PIXELS // 1_000_000} megapixels that fit"


def decode(body: Buffer, rule: ImageRule) -> PixelTensor:
    """UINT8 [1, height, width, 3]: the first frame, upright by its EXIF orientation, RGB, resized by `rule`.

    Alpha is dropped as Pillow's convert("RGB") drops it, which is what models are trained with: a transparent
    pixel shows the colour stored under it. 16-bit samples keep their high byte. The format is told by the
    first bytes; a Content-Type is not looked at.

    PredictError: 400 for an empty, cut or damaged picture; 413 for more than MAX_PIXELS or more memory than there is,
    told by the header before anything is decoded; 415 for another format; 503 when others keep the memory too long.
    """
    from function.limits import LIMITS  # imported by the app before

    name = _format(body)
    try:
        header = _header(body if isinstance(body, bytes) else bytes(body), name)
    except (ValueError, IndexError) as error:
        raise _damaged(name, error) from error
    width, height = header.size
    if not width or not height:
        raise _damaged(name, "it has no pixels")
    _check_size((width, height), "this picture has")
    targets = [_target(header, rule, on_its_side=on_its_side) for on_its_side in (False, True)]
    _check_size(targets[0], f"with its shorter side made {rule.resize_to}, this picture would have")
    cost = max(image_cost.peak(header, DRAFT_MARGIN, target, rule.filter) for target in targets)
    # Codes are no reason to refuse a picture: where there is little memory it has the budget to itself.
    cost = max(cost, min(cost + image_cost.webp_codes(header), LIMITS.budget.capacity))
    with LIMITS.hold(cost, f"this {name} picture of {width} x {height} pixels", "send one with fewer pixels"):
        try:
            return _decode(header, name, rule)
        finally:
            if cost > LARGE:
                from function.native import malloc

                malloc.give_back()


def _header(data: bytes, name: str) -> Header:
    if name == "HEIC":
        from function.codecs import heic

        return heic.header(data)
    return image_header.read(data, name)


def _decode(header: Header, name: str, rule: ImageRule) -> PixelTensor:
    """Its errors have no cause, whose frames would keep the pixels in memory."""
    try:
        return _pixels(image_decoders.opened(header, name), header, rule)
    except MemoryError:  # its cost was within the budget, so this passes: the app answers 503
        raise
    # Pillow meets damage with OSError, SyntaxError, ValueError, struct.error, zlib.error, EOFError and more.
    except Exception as error:  # noqa: BLE001
        problem = _damaged(name, error)
    raise problem


def _format(body: Buffer) -> str:
    view = memoryview(body).cast("B")
    head = bytes(view[:64])
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        from function.codecs import heic

        if kind := heic.told(head):
            heic.check(kind)
            return kind
    if not head:
        raise invalid(f"the picture is empty (0 bytes); send a {FORMATS} file")
    raise PredictError(
        "UNSUPPORTED_MEDIA_TYPE", f"the picture must be a {FORMATS} file; it begins with the bytes {head[:12]!r}"
    )


def _pixels(image: Image, header: Header, rule: ImageRule) -> PixelTensor:
    from PIL.Image import Resampling, Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    orientation = exif.orientation(header.exif, header.xmp)
    height, width = rule.size
    target = _target(header, rule, on_its_side=orientation >= 5)
    # Only JPEG has drafts. The box is the picture's exact place in the draft, whose size is rounded up.
    draft = image.draft(None, (target[0] * DRAFT_MARGIN, target[1] * DRAFT_MARGIN))
    # Resized before it is turned, as that moves fewer pixels.
    resampling, box = Resampling[rule.filter.upper()], draft[1] if draft else (0, 0, *image.size)
    result = image_decoders.resizable(image)
    if result.mode in ("LA", "RGBA"):  # resize() would first work the alpha into a copy
        result = result._new(result.im.resize(target, resampling, box))
    else:
        result = result.resize(target, resampling, box)
    if result.mode != "RGB":
        result = result.convert("RGB")
    if orientation in turns:
        result = result.transpose(turns[orientation])
    if result.size != (width, height):
        left, top = (result.width - width) // 2, (result.height - height) // 2
        result = result.crop((left, top, left + width, top + height))
    return PixelTensor((1, height, width, 3), result.tobytes())


def _target(header: Header, rule: ImageRule, *, on_its_side: bool) -> tuple[int, int]:
    """(width, height) after resizing, as the picture is stored."""
    if on_its_side:
        return _resized(header.size[::-1], rule)[::-1]
    return _resized(header.size, rule)


def _resized(size: tuple[int, int], rule: ImageRule) -> tuple[int, int]:
    """(width, height) before the crop; the longer side is rounded to the nearest."""
    if rule.resize == "stretch":
        return rule.size[1], rule.size[0]
    shorter = min(size)
    return round(size[0] * rule.resize_to / shorter), round(size[1] * rule.resize_to / shorter)


def _check_size(size: tuple[int, int], what: str) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise _too_large(f"{what} {size[0]} x {size[1]} pixels, more than {_MEGAPIXELS}")


def _too_large(message: str) -> PredictError:
    return PredictError("PAYLOAD_TOO_LARGE", f"{message}; send a smaller picture")


def _damaged(name: str, how: object) -> PredictError:
    return invalid(f"this {name} picture is damaged: {str(how).strip()}; send a whole {FORMATS} file")


def from_base64(text: str | bytes) -> bytes:
    """The bytes of padded, standard base64, line breaks allowed, or of a base64 data: URL; else a 400.

    `text` is copied only to leave out a data: URL's head, or line breaks.
    """
    from pybase64 import b64decode  # 1 ms; 9 times as fast as the standard library's

    if isinstance(text, bytes):
        text = text.decode("latin-1")
    if text[:5].lower() == "data:":
        head, _, text = text.partition(",")
        if not head.lower().endswith(";base64"):
            raise invalid("this data: URL is not base64: ';base64,' is expected before the picture")
    if "\n" in text:
        text = text.replace("\r\n", "").replace("\n", "")
    try:
        return b64decode(text, validate=True)
    except ValueError as error:
        raise invalid(
            f"the picture's {len(text)} characters are not base64: A-Z, a-z, 0-9, '+' and '/', "
            "with '=' to a multiple of 4, are expected"
        ) from error
