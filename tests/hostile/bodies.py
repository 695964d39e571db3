"""The worst bodies that are known: large, or small to send and large to hold. Some are kept in .cache."""

from __future__ import annotations

import gzip
import io
import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image

from tests.hostile import webp_groups
from tests.hostile.seeds import CLASSIFY, ELEMENTS, GOSERVE, OIP, tensor
from tests.hostile.server_process import CACHE

if TYPE_CHECKING:
    from collections.abc import Callable

MILLION = 1_000_000
LARGEST = 66 * MILLION  # bytes, a little less than the 64 MiB that are the most anywhere
PARTS = (1, 2, 4, 8)  # the whole, halves and so on: with little memory, a smaller body is the largest that is taken
SIDE = 8000  # pixels: 64 megapixels, the largest picture that is taken
FORM = {"content-type": "multipart/form-data; boundary=b"}


class Body(NamedTuple):
    """A POST of `body` to `path`."""

    path: str
    headers: dict[str, str]
    body: bytes


def oip_data(unit: bytes, size: int) -> Body:
    """`size` bytes of `unit` as the data of an FP32 tensor."""
    head = json.dumps({"inputs": [tensor([1, 3, 224, 224])]}).encode()[:-3]
    return Body(OIP, {}, head + b', "data": [' + unit * (size // len(unit)) + b"0]}]}")


def goserve_data(unit: bytes, size: int) -> Body:
    """The same for GoServe's API."""
    return Body(GOSERVE, {}, b'{"tensors": {"input": [' + unit * (size // len(unit)) + b"0]}}")


def zipped(made: Body) -> Body:
    """The same body, 0.1 to 0.3 MB of gzip."""
    return Body(made.path, {**made.headers, "content-encoding": "gzip"}, gzip.compress(made.body, 6, mtime=0))


def parameters(size: int) -> Body:
    """5 million distinct parameters of an Open Inference request, where there is room for them."""
    names = b",".join(b'"%07d":0' % number for number in range(size // 13))
    return Body(OIP, {}, b'{"parameters": {' + names + b'}, "inputs": []}')


def parts(size: int) -> Body:
    """1.2 million fields of a form, each with another name, none of them a picture."""
    one = b"--b\r\nContent-Disposition: form-data; name=%07x\r\n\r\n\r\n"
    fields = b"".join(one % number for number in range(size // len(one % 0)))
    return Body("/classify", FORM, fields + b"--b--\r\n")


def header_lines(size: int) -> Body:
    """One field of a form, with 16 million header lines."""
    return Body("/classify", FORM, b"--b\r\n" + b"a:\r\n" * (size // 4) + b"\r\nx\r\n--b--\r\n")


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


TEXTS: dict[str, Callable[[int], Body]] = {
    "json-zeros": lambda size: oip_data(b"0,", size),
    "json-lists": lambda size: oip_data(b"[],", size),
    "goserve-zeros": lambda size: goserve_data(b"0,", size),
    "goserve-lists": lambda size: goserve_data(b"[],", size),
    "gzip-zeros": lambda size: zipped(oip_data(b"0,", size)),
    "gzip-lists": lambda size: zipped(oip_data(b"[],", size)),
    "gzip-goserve-zeros": lambda size: zipped(goserve_data(b"0,", size)),
    "gzip-goserve-lists": lambda size: zipped(goserve_data(b"[],", size)),
    "gzip-parameters": lambda size: zipped(parameters(size)),
    "parameters": parameters,
    "multipart-parts": parts,
    "multipart-lines": header_lines,
}
PICTURES: dict[str, Callable[[], Body]] = {
    "png-rgba": lambda: _picture("PNG", "RGBA", compress_level=1),
    "webp-lossless": lambda: _picture("WEBP", "RGBA", lossless=True, quality=0, method=0),
    "webp-animated": lambda: _picture("WEBP", "RGBA", animated=True, lossless=True, quality=0, method=0),
    "webp-groups": lambda: Body(CLASSIFY, {}, webp_groups.picture()),
    "jpeg-cmyk-progressive": lambda: _picture("JPEG", "CMYK", progressive=True),
}


def make(name: str, part: int = 1) -> Body:
    """The body of this name in TEXTS or PICTURES; a text of LARGEST bytes divided by `part`, before it is zipped."""
    if name in TEXTS and not name.startswith("gzip"):
        return TEXTS[name](LARGEST // part)
    path = CACHE / "bodies" / f"{name}-{part}.bin"  # it takes seconds to make, and little room
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = TEXTS[name](LARGEST // part) if name in TEXTS else PICTURES[name]()
        fresh = path.with_suffix(f".{os.getpid()}")
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
