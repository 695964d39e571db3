"""Pictures to pixels: the reference photographs, every mode and orientation, limits, and damage of all kinds."""

from __future__ import annotations

import base64
import io
import json
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from function.codecs.image import MAX_PIXELS, decode, from_base64
from function.errors import PredictError
from function.tensor import ImageRule

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
ORIENTATION = 0x0112


def rule(**changes: Any) -> ImageRule:
    table: dict[str, Any] = {
        "input": "input",
        "output": "logits",
        "size": [24, 32],
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "activation": "softmax",
        "resize": "stretch",
        "resize_to": 0,
        "filter": "bilinear",
        "layout": "NCHW",
    }
    return ImageRule(**(table | changes))


CROP = rule(resize="shorter_side", resize_to=40)


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """A smooth gradient with a block in one corner, so that no turn of it looks like another."""
    across = Image.linear_gradient("L").rotate(90).resize((width, height))
    down = Image.linear_gradient("L").resize((width, height))
    block = Image.new("L", (width, height), 40)
    block.paste(220, (0, 0, width // 3, height // 4))
    return Image.merge("RGB", (across, down, block)).convert(mode)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def reference(image: Image.Image, how: ImageRule) -> bytes:
    """What the rule says, step by step with Pillow's own functions."""
    height, width = how.size
    resampling = Image.Resampling[how.filter.upper()]
    image = ImageOps.exif_transpose(image).convert("RGB")
    if how.resize == "stretch":
        return image.resize((width, height), resampling).tobytes()
    scale = how.resize_to / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), resampling)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height)).tobytes()


def differences(left: bytes, right: bytes) -> list[int]:
    assert len(left) == len(right)
    return [abs(a - b) for a, b in zip(left, right, strict=True)]


def pixels(body: bytes, how: ImageRule) -> bytes:
    tensor = decode(body, how)
    height, width = how.size
    assert (tensor.datatype, tensor.shape) == ("UINT8", (1, height, width, 3))
    assert isinstance(tensor.data, bytes)
    assert len(tensor.data) == height * width * 3
    return tensor.data


def colour(body: bytes) -> tuple[int, ...]:
    """Of a picture in one colour."""
    return tuple(pixels(body, rule(size=[1, 1])))


def refusal(body: bytes, how: ImageRule = CROP) -> PredictError:
    with pytest.raises(PredictError) as caught:
        decode(body, how)
    return caught.value


# The reference photographs


@pytest.mark.skipif(not SHARED.is_dir(), reason="the reference model and photographs lie beside the project")
def test_the_photographs_give_the_expected_logits() -> None:
    np = pytest.importorskip("numpy")
    onnxruntime = pytest.importorskip("onnxruntime")
    onnxruntime.set_default_logger_severity(3)
    session = onnxruntime.InferenceSession(SHARED / "models" / "mobilenetv2" / "model.onnx")
    how = rule(size=[224, 224], resize="shorter_side", resize_to=256)
    expected = json.loads((SHARED / "images" / "expected.json").read_text(encoding="utf-8"))["images"]
    for name, rows in expected.items():
        data = pixels((SHARED / "images" / name).read_bytes(), how)
        image = np.frombuffer(data, np.uint8).reshape(1, 224, 224, 3).transpose(0, 3, 1, 2)
        logits = session.run(None, {"input": image.astype(np.float32) / 127.5 - 1})[0][0]
        top = logits.argsort()[::-1][:5]
        assert list(top) == [row["index"] for row in rows["top5"]], name
        assert logits[top] == pytest.approx([row["logit"] for row in rows["top5"]], abs=1e-3), name


# Resizing


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(64, 48), (48, 64), (123, 41), (41, 123), (40, 40), (32, 24), (7, 5), (300, 200)])
def test_resizing_is_pillows(size: tuple[int, int], name: str) -> None:
    image = picture(*size)
    for how in (
        rule(filter=name),
        rule(filter=name, resize="shorter_side", resize_to=40),
        rule(filter=name, resize="shorter_side", resize_to=33, size=[33, 31]),
    ):
        assert pixels(encoded(image), how) == reference(image, how)


@pytest.mark.parametrize("size", [(150, 130), (159, 100), (900, 159)])
def test_a_jpeg_below_four_times_the_size_is_decoded_whole(size: tuple[int, int]) -> None:
    body = encoded(picture(*size), "JPEG")
    assert pixels(body, CROP) == reference(Image.open(io.BytesIO(body)), CROP)


@pytest.mark.parametrize("size", [(161, 163), (333, 501), (1003, 777), (2001, 1401)])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_the_draft_of_a_large_jpeg_is_close(size: tuple[int, int], orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    body = encoded(picture(*size), "JPEG", exif=exif, quality=95)
    wanted = reference(Image.open(io.BytesIO(body)), CROP)
    off = differences(pixels(body, CROP), wanted)
    assert max(off) <= 12
    assert sum(off) / len(off) < 1


# Orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("how", [rule(), CROP], ids=["stretch", "crop"])
def test_exif_orientation(orientation: int, kind: str, how: ImageRule) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    body = encoded(picture(60, 44), kind, exif=exif, **options)
    image = Image.open(io.BytesIO(body))
    assert image.getexif()[ORIENTATION] == orientation
    # Resized before it is turned, not after: rows and columns are rounded in the other order.
    assert max(differences(pixels(body, how), reference(image, how))) <= 1


def test_the_turns_are_the_right_way_round() -> None:
    image = Image.new("RGB", (20, 10))
    image.paste((255, 255, 255), (0, 0, 10, 10))  # light on the left
    exif = Image.Exif()
    for orientation, lit in ((1, "left"), (2, "right"), (3, "right"), (6, "top"), (8, "bottom")):
        exif[ORIENTATION] = orientation
        data = pixels(encoded(image, exif=exif), rule(size=[2, 2], filter="nearest"))
        light = {index for index in range(4) if data[index * 3] == 255}
        assert light == {"left": {0, 2}, "right": {1, 3}, "top": {0, 1}, "bottom": {2, 3}}[lit], orientation


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0II*\0\x08\0\0\0",
        b"Exif\0\0garbage that is no TIFF header",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x09\0\0",  # orientation 9
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x01a\0\0\0",  # orientation "a"
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_data_that_cannot_be_read_is_left_alone(exif: bytes, kind: str) -> None:
    image = picture(60, 44)
    options = {"lossless": True} if kind == "WEBP" else {}
    upright = pixels(encoded(image, kind, **options), CROP)
    turned = pixels(encoded(image.rotate(180), kind, **options), CROP)
    assert pixels(encoded(image, kind, exif=exif, **options), CROP) == upright != turned


# Modes


def png(header: bytes, rows: bytes, *chunks: bytes) -> bytes:
    """`header`: what IHDR holds; `chunks` stand before the pixels."""
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def ihdr(width: int, height: int, bits: int, kind: int) -> bytes:
    return struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)


GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (png(ihdr(1, 1, 1, GREY), b"\0\x80"), (255, 255, 255)),
        (png(ihdr(1, 1, 2, GREY), b"\0\x40"), (85, 85, 85)),
        (png(ihdr(1, 1, 8, GREY), b"\0\x7b"), (123, 123, 123)),
        # 16 bits: the high byte, in grey as in colour
        (png(ihdr(1, 1, 16, GREY), b"\0\x7b\xff"), (123, 123, 123)),
        (png(ihdr(1, 1, 16, GREY), b"\0\x00\xff"), (0, 0, 0)),
        (png(ihdr(1, 1, 16, GREY), b"\0\xff\xff"), (255, 255, 255)),
        (png(ihdr(1, 1, 16, RGB), b"\0\x01\xff\x02\xff\x03\xff"), (1, 2, 3)),
        (png(ihdr(1, 1, 16, RGB_ALPHA), b"\0\x01\xff\x02\xff\x03\xff\0\0"), (1, 2, 3)),
        (png(ihdr(1, 1, 16, GREY_ALPHA), b"\0\x7b\xff\0\0"), (123, 123, 123)),
        # alpha is dropped, not laid over a ground
        (png(ihdr(1, 1, 8, GREY_ALPHA), b"\0\x7b\0"), (123, 123, 123)),
        (png(ihdr(1, 1, 8, RGB_ALPHA), b"\0\x01\x02\x03\x04"), (1, 2, 3)),
        (png(ihdr(1, 1, 8, GREY), b"\0\x7b", chunk(b"tRNS", b"\0\x7b")), (123, 123, 123)),
        (png(ihdr(1, 1, 8, RGB), b"\0\x01\x02\x03", chunk(b"tRNS", b"\0\x01\0\x02\0\x03")), (1, 2, 3)),
        # palettes
        (png(ihdr(1, 1, 1, PALETTE), b"\0\x80", chunk(b"PLTE", b"\1\2\3\4\5\6")), (4, 5, 6)),
        (png(ihdr(1, 1, 8, PALETTE), b"\0\1", chunk(b"PLTE", b"\1\2\3\4\5\6"), chunk(b"tRNS", b"\0")), (4, 5, 6)),
        (png(ihdr(1, 1, 8, PALETTE), b"\0\0", chunk(b"PLTE", b"\1\2\3\4\5\6"), chunk(b"tRNS", b"\7\1")), (1, 2, 3)),
        (encoded(Image.new("RGBA", (3, 3), (9, 80, 200, 1)), "WEBP", lossless=True, exact=True), (9, 80, 200)),
    ],
)
def test_modes(body: bytes, expected: tuple[int, ...]) -> None:
    assert colour(body) == expected


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
@pytest.mark.parametrize("progressive", [True, False])
def test_jpeg_modes(mode: str, progressive: bool) -> None:
    body = encoded(picture(60, 44, mode), "JPEG", progressive=progressive)
    assert pixels(body, CROP) == reference(Image.open(io.BytesIO(body)), CROP)


def test_sixteen_bit_grey_keeps_its_gradient() -> None:
    rows = b"".join(b"\0" + bytes(byte for x in range(64) for byte in (x * 4, 99)) for _ in range(4))
    data = pixels(png(ihdr(64, 4, 16, GREY), rows), rule(size=[4, 64]))
    assert list(data[: 64 * 3 : 3]) == [x * 4 for x in range(64)]


@pytest.mark.parametrize("kind", ["WEBP", "PNG"])
def test_the_first_frame_of_an_animation(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), shade) for shade in ((200, 10, 20), (10, 200, 20))]
    body = encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
    assert colour(body) == (200, 10, 20)


# Limits and refusals


def jpeg_header(width: int, height: int) -> bytes:
    frame = struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0"
    scan = b"\1\1\0\0\x3f\0"
    return b"".join(
        b"\xff" + bytes([marker]) + (struct.pack(">H", len(data) + 2) + data if data else b"")
        for marker, data in ((0xD8, b""), (0xC0, frame), (0xDA, scan))
    )


def webp_header(width: int, height: int) -> bytes:
    """A lossless picture whose pixels are missing."""
    bits = b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(7)
    return b"RIFF" + struct.pack("<I", 12 + len(bits)) + b"WEBPVP8L" + struct.pack("<I", len(bits)) + bits


@pytest.mark.parametrize(
    ("body", "size"),
    [
        (png(ihdr(30_000, 30_000, 8, RGB), b""), "30000 x 30000"),
        (png(ihdr(2**31 - 1, 2**31 - 1, 1, GREY), b""), "2147483647 x 2147483647"),
        (png(ihdr(8001, 8000, 8, GREY), b""), "8001 x 8000"),
        (jpeg_header(30_000, 30_000), "30000 x 30000"),
        (jpeg_header(65_535, 65_535), "65535 x 65535"),
        (webp_header(9_000, 9_000), "9000 x 9000"),
        (webp_header(16_384, 16_384), "more than"),
    ],
)
def test_too_many_pixels_are_refused_by_the_header(body: bytes, size: str) -> None:
    """These files have no pixels: to decode one would be a 400."""
    error = refusal(body)
    assert error.status == 413
    assert size in error.message
    assert "64 megapixels" in error.message


def test_a_size_that_is_damaged_is_not_believed() -> None:
    whole = bytearray(png(ihdr(8, 8, 8, 2), b""))
    whole[20] ^= 0x10  # 8 x 268,435,464 pixels, which nobody wrote
    error = refusal(bytes(whole))
    assert error.status == 400
    assert "bad header checksum in b'IHDR'" in error.message


@pytest.mark.parametrize(
    "body", [png(ihdr(8000, 8000, 8, GREY), b""), jpeg_header(8000, 8000), webp_header(8000, 8000)]
)
def test_at_the_limit_it_is_the_pixels_that_are_missed(body: bytes) -> None:
    assert MAX_PIXELS == 8000 * 8000
    assert refusal(body).status == 400


@pytest.mark.parametrize("size", [(60_000, 1), (1, 60_000)])
def test_a_thin_strip_is_refused_before_it_is_enlarged(size: tuple[int, int]) -> None:
    body = encoded(Image.new("L", size))
    error = refusal(body)
    assert error.status == 413
    assert "shorter side made 40" in error.message
    assert len(pixels(body, rule())) == 24 * 32 * 3


@pytest.mark.parametrize(
    "body",
    [
        encoded(picture(8, 8), "GIF"),
        encoded(picture(8, 8), "BMP"),
        encoded(picture(8, 8), "TIFF"),
        encoded(picture(8, 8), "PPM"),
        encoded(picture(8, 8), "JPEG2000"),
        b"RIFF\0\0\0\0WAVE",
        b"%PDF-1.7",
        b"<svg/>",
        b'{"image": ""}',
        b"\xff\xd8",
        b"\0",
    ],
)
def test_other_formats(body: bytes) -> None:
    error = refusal(body)
    assert error.status == 415
    assert "JPEG, PNG or WebP" in error.message
    assert repr(body[:4])[2:-1] in error.message


@pytest.mark.parametrize("body", [b"", bytearray(), memoryview(b"")])
def test_an_empty_body(body: bytes) -> None:
    error = refusal(body)
    assert (error.status, "empty" in error.message) == (400, True)


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_any_buffer_is_taken(kind: Any) -> None:
    body = encoded(picture(60, 44))
    assert pixels(kind(body), CROP) == pixels(body, CROP)


@pytest.mark.parametrize(("kind", "name"), [("JPEG", "JPEG"), ("PNG", "PNG"), ("WEBP", "WebP")])
def test_a_cut_picture(kind: str, name: str) -> None:
    body = encoded(picture(200, 150), kind)
    for size in (len(body) // 2, len(body) * 3 // 4, 40):
        error = refusal(body[:size])
        assert error.status == 400
        assert error.message.startswith(f"this {name} picture is damaged: ")


@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_no_pixels(size: tuple[int, int]) -> None:
    assert refusal(png(ihdr(*size, 8, GREY), b"")).status == 400
    assert refusal(jpeg_header(*size)).status == 400


def test_text_that_swells_in_a_png() -> None:
    info = PngInfo()
    info.add_text("comment", "x" * 5_000_000, zip=True)
    body = encoded(picture(8, 8), pnginfo=info)
    assert len(body) < 10_000
    assert refusal(body).status == 400


def test_too_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    body = encoded(picture(60, 44))

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "resize", fail)
    with pytest.raises(MemoryError):  # not the picture's fault: the app answers 503
        decode(body, rule())


# Damage


def samples() -> dict[str, bytes]:
    """Small files of each format, with as much metadata as the readers look at."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[0x010F] = "a maker"
    info = PngInfo()
    info.add_text("plain", "text")
    info.add_text("packed", "text" * 99, zip=True)
    info.add_itxt("XML:com.adobe.xmp", "<x tiff:Orientation='6'/>")
    profile = bytes(128)
    image = picture(23, 17)
    still = {"exif": exif, "icc_profile": profile}
    moving = {"save_all": True, "append_images": [image.rotate(180)], "duration": 20}
    return {
        "jpeg": encoded(image, "JPEG", comment=b"made for a test", xmp=b"<x/>", **still),
        "progressive": encoded(image.convert("CMYK"), "JPEG", progressive=True),
        "png": encoded(image, "PNG", pnginfo=info, **still),
        "palette": encoded(image.quantize(16), "PNG", transparency=3),
        "apng": encoded(image, "PNG", **moving),
        "webp": encoded(image, "WEBP", **still),
        "lossless": encoded(image.convert("RGBA"), "WEBP", lossless=True),
        "animation": encoded(image, "WEBP", **moving),
    }


SAMPLES = samples()
SEED = 20261121


def status_of(body: bytes) -> int:
    """Any other exception than a PredictError fails the test, and so does a warning."""
    try:
        pixels(body, CROP)
    except PredictError as error:
        return error.status
    return 200


@pytest.mark.parametrize("name", SAMPLES)
def test_every_truncation(name: str) -> None:
    body = SAMPLES[name]
    assert status_of(body) == 200
    statuses = [status_of(body[: len(body) * part // 64]) for part in range(64)]
    # The last bytes of a file may say nothing about the pixels.
    assert set(statuses[:32]) <= ({200, 400, 415} if name in ("apng", "animation") else {400, 415})
    assert set(statuses) <= {200, 400, 415}


@pytest.mark.parametrize("name", SAMPLES)
def test_one_byte_changed(name: str) -> None:
    generator = random.Random(f"{SEED} {name}")
    before = pixels(SAMPLES[name], CROP)
    statuses = []
    for _ in range(3000 if name in ("jpeg", "png", "webp") else 500):
        body = bytearray(SAMPLES[name])
        body[generator.randrange(len(body))] = generator.randrange(256)
        statuses.append(status_of(bytes(body)))
    assert {200, 400, 415} <= set(statuses) <= {200, 400, 413, 415}
    assert pixels(SAMPLES[name], CROP) == before


@pytest.mark.parametrize("name", ["png", "palette", "apng"])
def test_one_byte_changed_and_the_checksum_mended(name: str) -> None:
    generator = random.Random(f"{SEED} {name} mended")
    chunks = chunks_of(SAMPLES[name])
    statuses = []
    for _ in range(500):
        damaged = [(kind, bytearray(data)) for kind, data in chunks]
        _, data = damaged[generator.randrange(len(damaged) - 1)]
        if data:
            data[generator.randrange(len(data))] = generator.randrange(256)
        body = b"".join(chunk(kind, bytes(data)) for kind, data in damaged)
        statuses.append(status_of(b"\x89PNG\r\n\x1a\n" + body))
    assert {200, 400} <= set(statuses) <= {200, 400, 413}


def chunks_of(body: bytes) -> list[tuple[bytes, bytes]]:
    chunks, position = [], 8
    while position < len(body):
        (length,) = struct.unpack_from(">I", body, position)
        chunks.append((body[position + 4 : position + 8], body[position + 8 : position + 8 + length]))
        position += 12 + length
    return chunks


# What Pillow warns of


ODD = {
    "no frames": png(ihdr(1, 1, 8, GREY), b"\0\x7b", chunk(b"acTL", bytes(8))),
    "transparent palette": png(ihdr(1, 1, 8, PALETTE), b"\0\0", chunk(b"PLTE", b"\x7b\x7b\x7b"), chunk(b"tRNS", b"\7")),
    "corrupt EXIF": encoded(
        Image.new("L", (1, 1), 123), exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x02\x01\x12\0\x03\0\0\0\x01\0\x01\0\0"
    ),
}


def converted(body: bytes) -> None:
    image = Image.open(io.BytesIO(body))
    image.getexif()
    image.convert("RGB")


@pytest.mark.parametrize("name", ODD)
def test_odd_metadata_is_no_error_and_no_warning(name: str) -> None:
    with pytest.warns(UserWarning, match="Invalid APNG|Palette images with Transparency|Corrupt EXIF"):
        converted(ODD[name])
    assert colour(ODD[name]) == (123, 123, 123)


# base64


def test_base64() -> None:
    data = bytes(range(256))
    text = base64.b64encode(data).decode()
    lines = base64.encodebytes(data).decode()
    for form in (text, text.encode(), lines, lines.replace("\n", "\r\n"), f"data:image/png;base64,{text}"):
        assert from_base64(form) == data
    assert from_base64(f"DATA:;charset=x;BASE64,{text}") == data
    assert from_base64("") == b""


@pytest.mark.parametrize("text", ["Q", "QQ", "QUI", "QUI=QUI=", "QU I=", " QUI=", "-_8=", "é", "\ud800", "QUI=\t", "="])
def test_text_that_is_not_base64(text: str) -> None:
    with pytest.raises(PredictError, match="not base64") as caught:
        from_base64(text)
    assert caught.value.status == 400


@pytest.mark.parametrize("text", ["data:image/png,QUI=", "data:image/png;base64QUI=", "data:;hex,00"])
def test_a_data_url_without_base64(text: str) -> None:
    with pytest.raises(PredictError, match="';base64,' is expected"):
        from_base64(text)
