"""HEIC photographs: told by name, bounded by what their boxes say, and handed to pillow-heif where it is.

The package itself is tried in tests/integration/test_package_extras.py, in a layer that has it.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from function.codecs import heic
from function.codecs.image import decode
from function.errors import PredictError
from function.tensor import ImageRule

RULE = ImageRule(
    input="input",
    output="logits",
    size=[24, 32],
    mean=[0.5] * 3,
    std=[0.5] * 3,
    activation="softmax",
    resize="stretch",
    resize_to=0,
    filter="bilinear",
    layout="NCHW",
)


def box(kind: bytes, *content: bytes) -> bytes:
    joined = b"".join(content)
    return (8 + len(joined)).to_bytes(4, "big") + kind + joined


def size(width: int, height: int) -> bytes:
    return box(b"ispe", bytes(4), width.to_bytes(4, "big"), height.to_bytes(4, "big"))


def ftyp(*brands: bytes) -> bytes:
    return box(b"ftyp", brands[0], bytes(4), *brands[1:])


def meta(*properties: bytes) -> bytes:
    return box(b"meta", bytes(4), box(b"hdlr", bytes(24)), box(b"iprp", box(b"ipco", *properties), box(b"ipma")))


def photograph(*sizes: tuple[int, int]) -> bytes:
    return ftyp(b"heic", b"mif1", b"heic") + meta(*(size(*each) for each in sizes)) + box(b"mdat", bytes(40))


def refusal(body: bytes) -> PredictError:
    with pytest.raises(PredictError) as caught:
        decode(body, RULE)
    return caught.value


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A stand-in for pillow-heif; `image` is what it finds in any file, `opened` how many it was given."""
    stand_in = SimpleNamespace(image=Image.new("RGB", (64, 48), (200, 100, 50)), opened=0)

    def open_heif(data: bytes) -> Any:
        stand_in.opened += 1
        return SimpleNamespace(size=stand_in.image.size, to_pillow=lambda: stand_in.image)

    stand_in.open_heif = open_heif
    monkeypatch.setitem(sys.modules, "pillow_heif", stand_in)
    return stand_in


@pytest.mark.parametrize(
    "brands", [(b"heic",), (b"heix", b"mif1"), (b"mif1", b"heic"), (b"hevc",), (b"msf1", b"hevx"), (b"mif1",)]
)
def test_it_is_named_where_the_package_is_not(brands: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    error = refusal(ftyp(*brands) + meta(size(64, 48)))
    assert error.status == 415
    assert "this is a HEIC photograph; save it as JPEG, or put pillow-heif into the layer" in error.message


@pytest.mark.parametrize("brands", [(b"avif", b"mif1", b"avif"), (b"mif1", b"avif"), (b"avis",)])
def test_avif_is_named(brands: tuple[bytes, ...], package: SimpleNamespace) -> None:
    error = refusal(ftyp(*brands) + meta(size(64, 48)))
    assert (error.status, "this is an AVIF picture; save it as JPEG" in error.message) == (415, True)
    assert not package.opened


def test_other_files_with_such_boxes_are_pictures_of_no_kind(package: SimpleNamespace) -> None:
    for body in (ftyp(b"isom", b"mp42"), b"\0\0\0\x08ftypheic"):
        error = refusal(body)
        assert (error.status, "JPEG, PNG or WebP" in error.message) == (415, True)


def test_a_photograph_is_read(package: SimpleNamespace) -> None:
    tensor = decode(photograph((64, 48), (32, 24)), RULE)
    assert isinstance(tensor.data, bytes)
    assert (tensor.shape, tensor.data[:3]) == ((1, 24, 32, 3), bytes((200, 100, 50)))
    package.image = package.image.resize((48, 64))  # turned by libheif
    assert decode(memoryview(photograph((64, 48))), RULE).shape == (1, 24, 32, 3)
    assert package.opened == 2


def test_the_cost_is_that_of_the_largest_picture() -> None:
    found = heic.header(photograph((512, 512), (4032, 3024), (320, 240)))
    assert found.size == (4032, 3024)
    assert found.decoding >= 12 * 4032 * 3024


def test_more_pixels_than_fit(package: SimpleNamespace) -> None:
    error = refusal(photograph((10_000, 10_000)))
    assert (error.status, "10000 x 10000 pixels" in error.message) == (413, True)
    assert not package.opened


BOXES = ftyp(b"heic")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (BOXES, "0 boxes 'meta'"),
        (BOXES + meta(size(8, 8)) + meta(size(8, 8)), "2 boxes 'meta'"),
        (BOXES + box(b"meta", bytes(4)), "0 boxes 'iprp'"),
        (BOXES + meta(), "its size is missing"),
        (BOXES + meta(box(b"ispe", bytes(4))), "its size is missing"),
        (BOXES + meta(size(0, 0)), "it has no pixels"),
        (BOXES + meta(size(8, 8)) + box(b"mdat", bytes(40))[:-1], "ends outside"),
        (BOXES + meta(size(8, 8)) + b"\0\0\0", "ends outside"),
        (BOXES + b"\0\0\0\x04meta", "ends outside"),
        (BOXES + b"\0\0\0\x01meta" + bytes(8), "ends outside"),
        (BOXES + box(b"free") * (heic.MAX_BOXES + 1), "more than 1000 boxes"),
        (photograph((63, 48)), "not of 63 x 48 pixels"),
    ],
)
def test_damage_and_lies(body: bytes, words: str, package: SimpleNamespace) -> None:
    error = refusal(body)
    assert (error.status, "this HEIC picture is damaged" in error.message) == (400, True)
    assert words in error.message


def test_what_libheif_says_is_one_line(package: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(data: bytes) -> Any:
        raise RuntimeError("Security limit exceeded\n")

    monkeypatch.setattr(package, "open_heif", refuse)
    error = refusal(photograph((64, 48)))
    assert "damaged: Security limit exceeded; send a whole" in error.message


def test_lengths_of_64_bits_and_up_to_the_end() -> None:
    wide = b"\0\0\0\x01free" + (24).to_bytes(8, "big") + bytes(8)
    last = b"\0\0\0\0mdat" + bytes(30)
    assert heic.header(ftyp(b"heic") + wide + meta(size(8, 6)) + last).size == (8, 6)
