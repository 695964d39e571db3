"""The worst bodies that are known: small to send or small to declare, large to hold. Made once, kept in .cache."""

from __future__ import annotations

import functools
import gzip
import io
import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image

from tests.hostile.seeds import CLASSIFY, ELEMENTS, GOSERVE, OIP, tensor
from tests.hostile.server_process import CACHE

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 67_108_864  # MAX_BODY_BYTES; each body stays just below it
MILLION = 1_000_000
SIDE = 8000  # pixels: 64 megapixels, the largest picture that is taken
FORM = {"content-type": "multipart/form-data; boundary=b"}


class Body(NamedTuple):
    """A POST of `body` to `path`."""

    path: str
    headers: dict[str, str]
    body: bytes


def oip_data(unit: bytes) -> Body:
    """66 MB of `unit` as the data of an FP32 tensor."""
    head = json.dumps({"inputs": [tensor([1, 3, 224, 224])]}).encode()[:-3]
    return Body(OIP, {}, head + b', "data": [' + unit * (66 * MILLION // len(unit)) + b"0]}]}")


def goserve_data(unit: bytes) -> Body:
    """The same for GoServe's API."""
    return Body(GOSERVE, {}, b'{"tensors": {"input": [' + unit * (66 * MILLION // len(unit)) + b"0]}}")


def zipped(made: Body) -> Body:
    """The same body, 0.1 to 0.3 MB of gzip."""
    return Body(made.path, {**made.headers, "content-encoding": "gzip"}, gzip.compress(made.body, 6, mtime=0))


def parameters() -> Body:
    """5 million distinct parameters of an Open Inference request."""
    names = b",".join(b'"%07d":0' % number for number in range(5 * MILLION))
    return Body(OIP, {}, b'{"parameters": {' + names + b'}, "inputs": []}')


def parts() -> Body:
    """1.2 million fields of a form, each with another name, none of them a picture."""
    fields = b"".join(b"--b\r\nContent-Disposition: form-data; name=%07x\r\n\r\n\r\n" % n for n in range(1_200_000))
    return Body("/classify", FORM, fields[: LIMIT - 100] + b"--b--\r\n")


def header_lines() -> Body:
    """One field of a form, with 16 million header lines."""
    return Body("/classify", FORM, b"--b\r\n" + b"a:\r\n" * (16 * MILLION) + b"\r\nx\r\n--b--\r\n")


def _picture(kind: str, mode: str, **options: Any) -> Body:
    out = io.BytesIO()
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        frame = Image.new(mode, (SIDE, SIDE))
        if options.pop("animated", False):
            options |= {"save_all": True, "append_images": [Image.new(mode, (SIDE, SIDE), 255)] * 2}
        frame.save(out, kind, **options)
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    return Body(CLASSIFY, {}, out.getvalue())


MAKERS: dict[str, Callable[[], Body]] = {
    "json-zeros": lambda: oip_data(b"0,"),
    "json-lists": lambda: oip_data(b"[],"),
    "goserve-zeros": lambda: goserve_data(b"0,"),
    "goserve-lists": lambda: goserve_data(b"[],"),
    "gzip-zeros": lambda: zipped(oip_data(b"0,")),
    "gzip-lists": lambda: zipped(oip_data(b"[],")),
    "gzip-goserve-zeros": lambda: zipped(goserve_data(b"0,")),
    "gzip-goserve-lists": lambda: zipped(goserve_data(b"[],")),
    "parameters": parameters,
    "multipart-parts": parts,
    "multipart-lines": header_lines,
    "png-rgba": lambda: _picture("PNG", "RGBA", compress_level=1),
    "webp-lossless": lambda: _picture("WEBP", "RGBA", lossless=True, quality=0, method=0),
    "webp-animated": lambda: _picture("WEBP", "RGBA", animated=True, lossless=True, quality=0, method=0),
    "jpeg-cmyk-progressive": lambda: _picture("JPEG", "CMYK", progressive=True),
}
_KEPT = ("png", "webp", "jpeg", "gzip")  # those that take seconds to make, and little room


@functools.lru_cache(maxsize=1)
def make(name: str) -> Body:
    """The body of this name in MAKERS; from .cache where it is kept there."""
    if not name.startswith(_KEPT):
        return MAKERS[name]()
    path = CACHE / "bodies" / f"{name}.bin"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        made = MAKERS[name]()
        fresh.write_bytes(json.dumps([made.path, made.headers]).encode() + b"\n" + made.body)
        fresh.replace(path)
    head, _, body = path.read_bytes().partition(b"\n")
    target, headers = json.loads(head)
    return Body(target, headers, body)


def honest_tensor() -> Body:
    """A whole inference as 1.2 MB of JSON, as an ordinary client sends it."""
    data = ",".join(["0.50000"] * ELEMENTS)
    head = json.dumps({"inputs": [tensor([1, 3, 224, 224])]})[:-3]
    return Body(OIP, {"content-type": "application/json"}, f'{head}, "data": [{data}]}}]}}'.encode())
