"""Pictures of every kind through both entries: one of each, for the rest is tested at the decoder."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contract.entries.wire import Wire

RED = (250, 10, 20)


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def red(mode: str = "RGB") -> Image.Image:
    return Image.new("RGB", (64, 48), RED).convert(mode)


def turned() -> bytes:
    """A JPEG whose EXIF says: turn by 90 degrees."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(red(), "JPEG", exif=exif)


KINDS: dict[str, tuple[str, Callable[[], bytes], list[float]]] = {
    "jpeg": ("image/jpeg", lambda: encoded(red(), "JPEG", quality=95), [0.98, 0.04, 0.08]),
    "png": ("image/png", lambda: encoded(red(), "PNG"), [0.98, 0.04, 0.08]),
    "webp": ("image/webp", lambda: encoded(red(), "WEBP", lossless=True), [0.98, 0.04, 0.08]),
    "turned jpeg": ("image/jpeg", turned, [0.98, 0.04, 0.08]),
    "cmyk jpeg": ("image/jpeg", lambda: encoded(red("CMYK"), "JPEG", quality=95), [0.98, 0.04, 0.08]),
    "grey png": ("image/png", lambda: encoded(Image.new("L", (9, 9), 128), "PNG"), [0.5, 0.5, 0.5]),
    "palette png": ("image/png", lambda: encoded(red("P"), "PNG"), [0.98, 0.04, 0.08]),
    "alpha png": ("image/png", lambda: encoded(red("RGBA"), "PNG"), [0.98, 0.04, 0.08]),
}


def shares(answer: Any) -> list[float]:
    found = {row["label"]: row["probability"] for row in answer["predictions"]}
    return [found[label] for label in ("red", "green", "blue")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_raw_in_json_and_in_a_form(wire: Wire, kind: str) -> None:
    media_type, make, expected = KINDS[kind]
    picture = make()
    raw = wire.post("/classify", picture, {"Content-Type": media_type})
    assert raw.status == 200, raw.body
    assert raw.json["model_name"] == "colours"
    assert shares(raw.json) == pytest.approx(expected, abs=0.03)
    text = base64.b64encode(picture).decode()
    form = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + picture + b"\r\n--b--\r\n"
    for path in ("/classify", "/v1/models/colours/classify"):
        assert wire.post(path, {"image": text}, {"Content-Type": "application/json"}).body == raw.body
        assert wire.post(path, form, {"Content-Type": "multipart/form-data; boundary=b"}).body == raw.body


def test_top_k(wire: Wire) -> None:
    picture = encoded(red(), "PNG")
    for k in (1, 2, 3, 100):
        rows = wire.post(f"/classify?top_k={k}", picture).json["predictions"]
        assert [row["label"] for row in rows] == ["red", "blue", "green"][:k]
        assert [row["index"] for row in rows] == [0, 2, 1][:k]
    for wrong in ("0", "-1", "x", "", "1.5", "9999999"):
        answer = wire.post(f"/classify?top_k={wrong}", picture)
        assert answer.status == 400
        assert "top_k" in answer.error


def test_what_is_no_picture_is_refused(wire: Wire) -> None:
    assert wire.post("/classify", b"GIF89a" + bytes(50)).status == 415
    assert wire.post("/classify", encoded(red(), "PNG")[:80]).status == 400
    assert wire.post("/classify", b"").status == 400
    refused = wire.post("/v1/models/echo_fp32/classify", encoded(red(), "PNG"))
    assert refused.status == 400
    assert "no pictures" in refused.error
