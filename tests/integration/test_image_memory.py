"""What pictures cost in memory: known from the header, taken from the shared budget, given back; bombs cost nothing."""

from __future__ import annotations

import base64
import io
import json
import random
import struct
import subprocess
import sys
import threading
import tracemalloc
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from function import limits
from function.codecs import image_header
from function.codecs.image import decode, from_base64
from function.concurrency import Budget
from function.errors import PredictError
from function.limits import LIMITS
from function.tensor import ImageRule
from tests.hostile import webp_groups

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
MIB = 1024 * 1024
SIDE = 4000  # of the large pictures: 16 megapixels
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}


def rule(side: int = 224, filter: str = "bilinear") -> ImageRule:  # noqa: A002
    how: dict[str, Any] = {"size": [side, side], "resize": "stretch", "resize_to": 0, "filter": filter}
    return ImageRule(input="", output="", mean=[], std=[], activation="", layout="", **how)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(size: tuple[int, int], bits: int, kind: int, *before: bytes, interlace: int = 0, after: bytes = b"") -> bytes:
    """All samples are zero; `before` and `after` are chunks that stand there, beside the pixels."""
    width, height = size
    passes = [(0, 0, 1, 1)]
    if interlace:  # Adam7: first column and row, steps
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = b"".join(
        bytes(1 + ((width - x + across - 1) // across * CHANNELS[kind] * bits + 7) // 8)
        * ((height - y + down - 1) // down)
        for x, y, across, down in passes
        if width > x
    )
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, interlace))
    palette = chunk(b"PLTE", bytes(range(6))) if kind == PALETTE else b""
    pixels = chunk(b"IDAT", zlib.compress(rows, 1))
    return b"".join((b"\x89PNG\r\n\x1a\n", header, palette, *before, pixels, after, chunk(b"IEND", b"")))


def encoded(mode: str, kind: str, size: tuple[int, int] = (SIDE, SIDE), **options: Any) -> bytes:
    file = io.BytesIO()
    image = Image.new(mode, size, 90 if mode == "L" else (200, 10, 30, 77)[: len(mode)])
    if options.get("save_all"):
        options["append_images"] = [Image.new(mode, size)]
    image.save(file, kind, **options)
    return file.getvalue()


LARGE: dict[str, Any] = {
    "png 1": lambda: png((SIDE, SIDE), 1, GREY),
    "png grey": lambda: png((SIDE, SIDE), 8, GREY),
    "png grey 16": lambda: png((SIDE, SIDE), 16, GREY),
    "png rgb": lambda: png((SIDE, SIDE), 8, RGB),
    "png rgb 16": lambda: png((SIDE, SIDE), 16, RGB),
    "png palette": lambda: png((SIDE, SIDE), 8, PALETTE),
    "png grey alpha": lambda: png((SIDE, SIDE), 8, GREY_ALPHA),
    "png rgba": lambda: png((SIDE, SIDE), 8, RGB_ALPHA),
    "png rgba 16": lambda: png((SIDE, SIDE), 16, RGB_ALPHA),
    "png interlaced": lambda: png((SIDE, SIDE), 8, RGB_ALPHA, interlace=1),
    "webp lossless": lambda: encoded("RGBA", "WEBP", lossless=True, quality=0, method=0),
    "webp lossy": lambda: encoded("RGB", "WEBP", quality=10, method=0),
    "webp lossy alpha": lambda: encoded("RGBA", "WEBP", quality=10, method=0),
    "webp animated": lambda: encoded("RGBA", "WEBP", save_all=True, lossless=True, quality=0, method=0),
    "jpeg grey": lambda: encoded("L", "JPEG"),
    "jpeg": lambda: encoded("RGB", "JPEG"),
    "jpeg cmyk": lambda: encoded("CMYK", "JPEG"),
    "jpeg progressive grey": lambda: encoded("L", "JPEG", progressive=True),
    "jpeg progressive": lambda: encoded("RGB", "JPEG", progressive=True),
    "jpeg progressive 444": lambda: encoded("RGB", "JPEG", progressive=True, subsampling=0),
    "jpeg progressive cmyk": lambda: encoded("CMYK", "JPEG", progressive=True),
}

# Decodes each file, named by standard input, in a fork of its own; what a fork needs anew is the picture's alone.
PROBE = """
import json, os, resource, sys
from function.codecs.image import decode
from function.tensor import ImageRule
from function.errors import PredictError
from function.limits import LIMITS
asked = json.load(sys.stdin)
how = ImageRule(input="", output="", mean=[], std=[], activation="", layout="", resize="stretch", resize_to=0,
                size=asked["size"], filter=asked["filter"])
held = [0]
hold = LIMITS.hold
type(LIMITS).hold = lambda self, needed, *words: held.append(needed) or hold(needed, *words)
hold = type(LIMITS).__dict__["hold"] and hold
for path in asked["warm"]:
    decode(open(path, "rb").read(), how)
def memory(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))
for path in asked["paths"]:
    sys.stdout.flush()
    child = os.fork()
    if not child:
        body = open(path, "rb").read()
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        before = memory("VmHWM")
        resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
        status, message = 200, ""
        try:
            decode(body, how)
        except PredictError as error:
            status, message = error.status, error.message
        print(json.dumps([status, held[-1], memory("VmHWM") - before, memory("VmRSS") - before, message[:300]]))
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(child, 0)
"""


class Seen:
    """Bytes: `held` of the budget, the `peak`, and what was `left`, beyond what the process had before."""

    def __init__(self, status: int, held: int, peak: int, left: int, message: str) -> None:
        self.status, self.held, self.peak, self.left, self.message = status, held, peak, left, message


def probe(folder: Path, bodies: dict[str, bytes], how: ImageRule) -> dict[str, Seen]:
    warm = [encoded("RGB", kind, (64, 64)) for kind in ("PNG", "JPEG", "WEBP")]
    for number, body in enumerate([*warm, *bodies.values()]):
        (folder / str(number)).write_bytes(body)
    paths = [str(folder / str(number)) for number in range(len(warm) + len(bodies))]
    asked = {"warm": paths[: len(warm)], "paths": paths[len(warm) :], "size": list(how.size), "filter": how.filter}
    command = [sys.executable, "-c", PROBE]
    run = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=False, cwd=ROOT)
    lines = [Seen(*json.loads(line)) for line in run.stdout.splitlines()]
    assert len(lines) == len(bodies), run.stderr
    return dict(zip(bodies, lines, strict=True))


# Prediction


@pytest.mark.parametrize(("side", "filter_name"), [(224, "bilinear"), (2500, "lanczos")])
def test_the_peak_is_known_from_the_header(tmp_path: Path, side: int, filter_name: str) -> None:
    names = LARGE if side == 224 else [name for name in LARGE if name.startswith(("jpeg", "png grey", "png rgba"))]
    for name, seen in probe(tmp_path, {name: LARGE[name]() for name in names}, rule(side, filter_name)).items():
        found = f"{name}: {seen.held / MIB:.1f} MiB predicted, {seen.peak / MIB:.1f} measured"
        assert seen.status == 200, found
        assert seen.held * 1.1 + 2 * MIB > seen.peak, found
        assert seen.held < seen.peak * 1.5 + 4 * MIB, found  # or honest pictures are refused


def test_the_codes_of_a_lossless_webp_are_counted(tmp_path: Path) -> None:
    seen = probe(tmp_path, {"groups": webp_groups.picture()}, rule())["groups"]
    assert seen.status == 200
    assert seen.peak > 250 * MIB  # of 300 KB and one megapixel
    assert seen.peak < seen.held * 1.1 < seen.peak * 1.5


def test_the_codes_are_no_reason_to_refuse_a_picture(small_budget: int) -> None:
    noise = Image.effect_noise((1024, 1024), 64).convert("RGB")
    out = io.BytesIO()
    noise.save(out, "WEBP", lossless=True, method=0)
    with LIMITS.hold(5 * MIB, "another", "wait"):
        assert refusal(out.getvalue()).status == 503
    assert decode(out.getvalue(), rule(8)).shape == (1, 8, 8, 3)


def test_a_thin_strip_counts_its_filter_and_its_rows(tmp_path: Path) -> None:
    strips = {"wide": png((2_000_000, 1), 8, GREY), "tall": png((1, 2_000_000), 8, GREY)}
    for name, seen in probe(tmp_path, strips, rule(filter="lanczos")).items():
        assert seen.status == 200
        assert seen.held * 1.1 > seen.peak, name


def test_what_no_machine_has_is_refused_by_the_header(tmp_path: Path) -> None:
    for seen in probe(tmp_path, {"tall": png((1, 64_000_000), 8, GREY)}, rule()).values():
        assert seen.status == 413
        assert "1 x 64000000 pixels" in seen.message
        assert seen.peak < 8 * MIB


def segment(marker: int, data: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


def jpeg_head(frame_marker: int, factors: list[int], in_scan: int, size: tuple[int, int] = (SIDE, SIDE)) -> bytes:
    parts = b"".join(bytes((number, factor, 0)) for number, factor in enumerate(factors))
    frame = segment(frame_marker, struct.pack(">BHHB", 8, *size, len(factors)) + parts)
    return b"\xff\xd8" + frame + segment(0xDA, bytes((in_scan,)) + bytes(2 * in_scan) + b"\0\x3f\0")


@pytest.mark.parametrize(
    ("head", "coefficients"),
    [
        (jpeg_head(0xC0, [0x22, 0x11, 0x11], 3), 0),
        (jpeg_head(0xC2, [0x22, 0x11, 0x11], 3), 3),
        (jpeg_head(0xC0, [0x22, 0x11, 0x11], 1), 3),  # baseline, but a scan for each component
        (jpeg_head(0xC2, [0x11] * 4, 1), 8),
        (jpeg_head(0xC2, [0x44, 0x44, 0x44], 1), 6),
        (jpeg_head(0xC2, [0x41, 0x11, 0x11], 1), 3),
    ],
)
def test_the_coefficients_that_a_jpeg_keeps(head: bytes, coefficients: int) -> None:
    """In bytes for each pixel; the size is no multiple of the largest units."""
    assert image_header.read(head, "JPEG").decoding == pytest.approx(coefficients * SIDE * SIDE, rel=0.02)


# The budget


@pytest.fixture
def small_budget(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """40 MiB, all of which must be free again at the end."""
    work = 40 * MIB
    monkeypatch.setattr(LIMITS, "share", 4 * MIB)
    monkeypatch.setattr(LIMITS, "budget", Budget(work))
    monkeypatch.setattr(limits, "WAIT_S", 0.05)
    yield work
    assert LIMITS.budget.take(work, 0)


def refusal(body: bytes) -> PredictError:
    with pytest.raises(PredictError) as caught:
        decode(body, rule(8))
    return caught.value


def test_a_picture_that_never_fits_is_refused(small_budget: int) -> None:
    error = refusal(png((SIDE, SIDE), 8, RGB_ALPHA))
    assert error.status == 413
    assert "this PNG picture of 4000 x 4000 pixels would take 6" in error.message
    assert "40 MiB are there" in error.message
    assert "send one with fewer pixels" in error.message
    assert "tensors" not in error.message


def test_a_picture_waits_for_its_turn(small_budget: int) -> None:
    body = png((SIDE, SIDE), 8, GREY)
    with LIMITS.hold(small_budget - 10 * MIB, "another", "wait"):
        assert refusal(body).status == 503
    assert decode(body, rule(8)).shape == (1, 8, 8, 3)


@pytest.mark.usefixtures("small_budget")
def test_a_damaged_picture_gives_its_memory_back() -> None:
    body = png((SIDE, SIDE), 8, GREY)
    error = refusal(body[: len(body) // 2])
    assert error.status == 400
    assert error.__cause__ is None  # its frames would keep the pixels
    assert error.__context__ is None


SOAK = """
import sys, threading
from function.codecs.image import decode
from function.tensor import ImageRule
from function.errors import PredictError
from function.limits import LIMITS
from function.concurrency import Budget
LIMITS.share = 4 << 20
LIMITS.budget = Budget(256 << 20)
how = ImageRule(input="", output="", mean=[], std=[], activation="", layout="", resize="stretch", resize_to=0,
                size=[224, 224], filter="bilinear")
bodies = [open(path, "rb").read() for path in sys.argv[1:]]
def memory(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))
small, large = bodies[:3], bodies[3:]
for body in small:
    decode(body, how)
before = memory("VmRSS")
for body in large:
    threads = [threading.Thread(target=decode, args=(body, how)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print(memory("VmHWM") - before, memory("VmRSS") - before)
"""


def test_four_at_a_time_stay_within_the_budget_and_give_their_memory_back(tmp_path: Path) -> None:
    bodies = [encoded("RGB", kind, (64, 64)) for kind in ("PNG", "JPEG", "WEBP")]
    bodies += [LARGE[name]() for name in ("webp lossless", "png rgba", "jpeg progressive cmyk", "webp animated")]
    paths = [tmp_path / str(number) for number in range(len(bodies))]
    for path, body in zip(paths, bodies, strict=True):
        path.write_bytes(body)
    run = subprocess.run(
        [sys.executable, "-c", SOAK, *map(str, paths)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert run.returncode == 0, run.stderr
    peak, left = map(int, run.stdout.split())
    assert peak < 280 * MIB
    assert left < 60 * MIB


# Pixels


def noise(mode: str, size: tuple[int, int]) -> Image.Image:
    generator = random.Random(f"{mode} {size}")
    if mode == "P":
        return noise("RGB", size).quantize(64)
    if mode == "1":
        return noise("L", size).convert("1")
    length = size[0] * size[1] * {"I;16": 2}.get(mode, len(mode))
    return Image.frombytes(mode, size, generator.randbytes(length))


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_no_mode_is_resized_to_other_pixels_than_its_rgb_copy(mode: str, name: str) -> None:
    """Bit for bit: where the copy is not made, nothing may change."""
    for size in ((300, 211), (24, 24), (7, 60), (1, 1)):
        image = noise(mode, size)
        wanted = image
        if mode == "I;16":
            wanted = Image.frombytes("L", size, image.tobytes()[1::2])
        pixels = wanted.convert("RGB").resize((24, 24), Image.Resampling[name.upper()]).tobytes()
        for kind, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True})):
            if kind == "WEBP" and mode not in ("RGB", "RGBA"):
                continue
            file = io.BytesIO()
            image.save(file, kind, **options)
            assert decode(file.getvalue(), rule(24, name)).data == pixels, (kind, size)


# Bombs


def tiff(entries: list[tuple[int, int, int, int]], padding: int = 0, following: int = 0) -> bytes:
    """(tag, type, count, value or offset) of one directory."""
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + packed + struct.pack("<I", following) + bytes(padding)


def gradient(kind: str, **options: Any) -> bytes:
    """A small picture of which no turn looks like another."""
    across, down = Image.linear_gradient("L").rotate(90).resize((64, 48)), Image.linear_gradient("L").resize((64, 48))
    file = io.BytesIO()
    Image.merge("RGB", (across, down, across)).save(file, kind, **options)
    return file.getvalue()


def jpeg_with(*segments: bytes) -> bytes:
    body = gradient("JPEG")
    return body[:2] + b"".join(segments) + body[2:]


def webp_with(kind: bytes, data: bytes) -> bytes:
    body = gradient("WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0")
    at = body.index(b"EXIF")
    content = body[12:at] + kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
    return b"RIFF" + struct.pack("<I", len(content) + 4) + b"WEBP" + content


def small_png(*before: bytes, after: bytes = b"") -> bytes:
    body = gradient("PNG")
    first, last = body.index(b"IDAT") - 4, body.index(b"IEND") - 4
    return body[:first] + b"".join(before) + body[first:last] + after + body[last:]


def deflated(length: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(MIB)) for _ in range(length // MIB)) + packer.flush()


HUGE = tiff([(tag, 7, 60_000, 8) for tag in range(1, 5_001)], padding=4_000)  # 300 MB are pointed at
HUGER = tiff([(tag, 7, 780_000, 8) for tag in range(1, 60_001)], padding=70_000)  # 47 GB
WRONG = tiff([(0x0112, 3, 1, 1), (0x010F, 2, 2**32 - 1, 2**32 - 1), (0x8769, 4, 1, 2**31)], following=2**32 - 1)
LOOP = tiff([(0x8769, 4, 1, 8), (0x014A, 4, 1, 8), (0x0112, 3, 1, 1)], following=8)
ICC = b"ICC_PROFILE\0"

BOMBS: dict[str, tuple[Any, set[int]]] = {
    **{
        f"exif {name}, {kind}": (lambda make=make, data=data: make(data), {200})
        for name, data in (("huge", HUGE), ("huger", HUGER), ("wrong", WRONG), ("loop", LOOP), ("cut", HUGER[:5000]))
        for kind, make in (
            ("jpeg", lambda data: jpeg_with(segment(0xE1, b"Exif\0\0" + data[:65_000]))),
            ("png", lambda data: small_png(chunk(b"eXIf", data))),
            ("png, last", lambda data: small_png(after=chunk(b"eXIf", data))),
            ("webp", lambda data: webp_with(b"EXIF", data)),
        )
    },
    "900 EXIF segments": (lambda: jpeg_with(*[segment(0xE1, b"Exif\0\0" + bytes(65_000))] * 900), {200}),
    "900 ICC segments": (lambda: jpeg_with(*[segment(0xE2, ICC + b"\1\1" + bytes(65_000))] * 900), {200}),
    "900 comments": (lambda: jpeg_with(*[segment(0xFE, bytes(65_000))] * 900), {200}),
    "truncated ICC in a JPEG": (lambda: jpeg_with(segment(0xE2, ICC + b"\1\3" + bytes(100))), {200}),
    "6 million short segments": (lambda: jpeg_with(segment(0xFE, b"") * 6_000_000), {400}),
    "30 million fill bytes": (lambda: jpeg_with(b"\xff" * 30_000_000), {400}),
    "6 million tables": (lambda: jpeg_with(segment(0xDB, b"") * 6_000_000), {400}),
    "two frames": (lambda: jpeg_with(segment(0xC2, b"\x08\xff\xff\xff\xff\1\1\x11\0")), {400}),
    "an ICC profile of 256 MB": (lambda: small_png(chunk(b"iCCP", b"a\0\0" + deflated(256 * MIB))), {200, 400}),
    "truncated ICC in a PNG": (lambda: small_png(chunk(b"iCCP", b"a\0\0" + deflated(MIB)[:50])), {200}),
    "a text of 256 MB": (lambda: small_png(chunk(b"zTXt", b"a\0\0" + deflated(256 * MIB))), {200, 400}),
    "60 texts of 1 MB": (
        lambda: small_png(*(chunk(b"zTXt", b"a%d\0\0" % number + deflated(MIB)) for number in range(60))),
        {200, 400},
    ),
    "60 last texts of 1 MB": (
        lambda: small_png(after=b"".join(chunk(b"iTXt", b"a%d\0\1\0\0\0" % n + deflated(MIB)) for n in range(60))),
        {200, 400},
    ),
    "3 million private chunks": (lambda: small_png(chunk(b"prVt", b"") * 3_000_000), {400}),
    "3 million last chunks": (lambda: small_png(after=chunk(b"prVt", b"") * 3_000_000), {400}),
    "3 million empty IDAT": (lambda: small_png(after=chunk(b"IDAT", b"") * 3_000_000), {400}),
    "two sizes": (lambda: small_png(chunk(b"IHDR", struct.pack(">IIBBBBB", 8000, 8000, 8, 6, 0, 0, 0))), {400}),
    "5 million WebP chunks": (lambda: webp_with(b"abcd", b"") + b"abcd\0\0\0\0" * 5_000_000, {400}),
}


def test_bombs_in_the_metadata(tmp_path: Path) -> None:
    bodies = {name: make() for name, (make, _) in BOMBS.items()}
    for name, seen in probe(tmp_path, bodies, rule(8)).items():
        assert seen.status in BOMBS[name][1], f"{name}: {seen.status} {seen.message}"
        assert seen.peak < seen.held + len(bodies[name]) + 16 * MIB, name
        assert seen.held < 2 * len(bodies[name]) + 400 * MIB, name


def scans_bomb(count: int) -> bytes:
    body = encoded("L", "JPEG", (64, 48), progressive=True)
    last = body.rindex(b"\xff\xda")
    return body[:last] + body[last:-2] * count + b"\xff\xd9"


def test_a_progressive_jpeg_of_many_scans_is_refused() -> None:
    assert refusal(scans_bomb(1000)).status == 400
    assert "more than 100 scans" in refusal(scans_bomb(1000)).message
    assert decode(scans_bomb(1), rule(8)).shape == (1, 8, 8, 3)


# Orientation, which is no longer read by Pillow


XMP = b"<x:xmpmeta><rdf:Description tiff:Orientation%s/></x:xmpmeta>"


def orientations() -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name, exif in {
        "short": tiff([(0x0100, 4, 1, 9), (0x0112, 3, 1, 6)]),
        "long": tiff([(0x0112, 4, 1, 6)]),
        "twice": tiff([(0x0112, 3, 1, 3), (0x0112, 3, 1, 6)]),
        "two values": tiff([(0x0112, 3, 2, 0x0006_0006)]),
        "byte": tiff([(0x0112, 1, 1, 6)]),
        "zero": tiff([(0x0112, 3, 1, 0)]),
        "nine": tiff([(0x0112, 3, 1, 9)]),
        "none": tiff([]),
        "big endian": b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\x06\0\0\0\0\0\0",
        "with its name": b"Exif\0\0" + tiff([(0x0112, 3, 1, 6)]),
        "far away": b"II*\0\x20\0\0\0" + bytes(24) + tiff([(0x0112, 3, 1, 6)])[8:],
    }.items():
        found[f"jpeg, {name}"] = jpeg_with(segment(0xE1, b"Exif\0\0" + exif))
        found[f"png, {name}"] = small_png(chunk(b"eXIf", exif))
        found[f"webp, {name}"] = webp_with(b"EXIF", exif)
        found[f"png profile, {name}"] = small_png(
            chunk(b"tEXt", b"Raw profile type exif\0\nexif\n9\n" + exif.hex().encode())
        )
    for value in (b'="6"', b">3<", b"='6'", b'="0"'):
        xmp = XMP % value
        found[f"jpeg, {value!r}"] = jpeg_with(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp))
        found[f"png, {value!r}"] = small_png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp))
        found[f"png text, {value!r}"] = small_png(chunk(b"tEXt", b"XML:com.adobe.xmp\0" + xmp))
    return found


ORIENTATIONS = orientations()


@pytest.mark.filterwarnings("ignore:Metadata Warning")
@pytest.mark.parametrize("name", ORIENTATIONS)
def test_the_orientation_is_the_one_that_pillow_reads(name: str) -> None:
    body = ORIENTATIONS[name]
    image = Image.open(io.BytesIO(body))
    image.load()
    value = image.getexif().get(0x0112)
    turns = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_270}
    wanted = image.convert("RGB").resize((24, 24), Image.Resampling.BILINEAR)
    assert all(wanted.tobytes() != wanted.transpose(turn).tobytes() for turn in turns.values())
    if value in turns:
        wanted = wanted.transpose(turns[value])
    assert decode(body, rule(24)).data == wanted.tobytes()


# base64


@pytest.mark.parametrize(
    ("before", "lines", "copies"), [("", False, 0), ("data:image/png;base64,", False, 1), ("", True, 1)]
)
def test_base64_is_copied_once_at_most(before: str, lines: bool, copies: int) -> None:
    text = base64.b64encode(bytes(15_000_000)).decode()
    text = before + ("\n".join((text, "")) if lines else text)
    tracemalloc.start()
    try:
        assert len(from_base64(text)) == 15_000_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 15_000_000 + copies * len(text) + 100_000


def test_threads_do_not_disturb_each_other() -> None:
    body, results = png((500, 400), 8, RGB_ALPHA), []
    threads = [threading.Thread(target=lambda: results.append(decode(body, rule()).data)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [bytes(224 * 224 * 3)] * 4
