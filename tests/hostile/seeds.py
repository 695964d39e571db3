"""Valid requests of every route and form of body for the digits model, and events that the Lambda entry alone takes."""

from __future__ import annotations

import base64
import functools
import gzip
import io
import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Mapping

ADMIN_KEY = "the key of the attack"
ELEMENTS = 3 * 224 * 224
LENGTH = "inference-header-content-length"
OIP, GOSERVE, CLASSIFY = "/v2/models/digits/infer", "/v1/models/digits/infer", "/v1/models/digits/classify"
EVENTS = Path(__file__).parents[1] / "events"
GETS = (
    "/", "/openapi.json", "/health", "/ready", "/v1/models", "/v2", "/v2/health/live", "/v2/health/ready",
    "/v2/models/digits", "/v2/models/digits/versions/1", "/v2/models/digits/ready",
    "/v2/models/digits/versions/1/ready", "/v2/models/none", "/nothing", "/metrics",
)  # fmt: skip


@dataclass(frozen=True)
class Sent:
    """A request to both entries. `target` is path and query as they stand on the request line; names are lower case."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@functools.cache
def picture(kind: str, mode: str = "L", size: int = 8) -> bytes:
    """A small gradient; animated where `kind` is GIF or WEBP and `mode` is "animated"."""
    out = io.BytesIO()
    frame = Image.linear_gradient("L").resize((size, size))
    if mode == "animated":
        frame.save(out, kind, save_all=True, append_images=[frame.rotate(90), frame.rotate(180)], duration=10)
    else:
        frame.convert(mode).save(out, kind)
    return out.getvalue()


def oip(*inputs: Mapping[str, Any], **rest: Any) -> bytes:
    return json.dumps({"inputs": list(inputs), **rest}).encode()


def tensor(shape: list[int], **rest: Any) -> dict[str, Any]:
    return {"name": "input", "datatype": "FP32", "shape": shape, **rest}


def multipart(*fields: tuple[str, bytes]) -> bytes:
    """A form with the boundary b."""
    parts = [
        b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), data)
        for name, data in fields
    ]
    return b"".join(parts) + b"--b--\r\n"


@functools.cache
def inferences() -> tuple[Sent, ...]:
    """Whole inferences, half a megabyte each: they are answered 200, and cost milliseconds."""
    raw = bytes(4 * ELEMENTS)
    shape = [1, 3, 224, 224]
    head = oip(tensor(shape, parameters={"binary_data_size": len(raw)}), parameters={"binary_data_output": True})
    flat = oip(
        tensor(shape, data=[0.5] * ELEMENTS), id="7", outputs=[{"name": "logits", "parameters": {"classification": 3}}]
    )
    rows = [[[0] * 224] * 224] * 3
    return (
        Sent("POST", OIP, {LENGTH: "0"}, raw),
        Sent("POST", OIP, {LENGTH: str(len(head))}, head + raw),
        Sent("POST", "/v2/models/digits/versions/1/infer", {"content-type": "application/json"}, flat),
        Sent("POST", OIP, {"content-encoding": "gzip", "accept-encoding": "gzip"}, gzip.compress(flat, mtime=0)),
        Sent("POST", OIP, {"content-encoding": "deflate"}, zlib.compress(flat)),
        Sent("POST", GOSERVE, {}, json.dumps({"tensors": {"input": [rows]}}).encode()),
        Sent("POST", GOSERVE, {}, json.dumps({"inputs": [rows]}).encode()),
    )


@functools.cache
def pictures() -> tuple[Sent, ...]:
    """Small pictures: 200, and an inference each."""
    png = picture("PNG")
    encoded = json.dumps({"image": base64.b64encode(png).decode()}).encode()
    form = {"content-type": "multipart/form-data; boundary=b"}
    found = [
        Sent("POST", f"/classify?top_k={k}", {}, picture(kind)) for k, kind in enumerate(("PNG", "JPEG", "WEBP"), 1)
    ]
    found += [Sent("POST", CLASSIFY, {}, picture(*made)) for made in (("PNG", "RGBA"), ("PNG", "P"), ("JPEG", "CMYK"))]
    return (
        *found,
        Sent("POST", CLASSIFY, {}, picture("WEBP", "animated")),
        Sent("POST", "/classify?top_k=10", {"content-type": "application/json"}, encoded),
        Sent("POST", "/classify", form, multipart(("image", png))),
        Sent("POST", CLASSIFY, form, multipart(("a", b"1"), ("file", picture("JPEG")))),
        Sent("POST", "/classify", {"content-encoding": "gzip"}, gzip.compress(png, mtime=0)),
    )


@functools.cache
def cheap() -> tuple[Sent, ...]:
    """Requests in the right form that are refused before an inference, and those that need none."""
    admin = {"x-admin-key": ADMIN_KEY}
    load = json.dumps({"name": "digits", "path": "digits"}).encode()
    three = tensor([1, 3], data=[0.5, -1, 2e3])
    asked = {"name": "logits", "parameters": {"classification": 2, "binary_data": False}}
    binary = oip(
        tensor([1, 3], parameters={"binary_data_size": 12}),
        outputs=[{"name": "logits", "parameters": {"binary_data": True}}],
    )
    text = oip(three, id="42", parameters={"binary_data_output": False, "mine": "x"}, outputs=[asked])
    nested = tensor([1, 1, 2, 2], data=[[[[1, 2], [3, 4]]]])
    words = {"name": "text", "datatype": "BYTES", "shape": [2], "data": ["naïve", "\ud83d\ude00"]}
    return (
        *(Sent("GET", path) for path in GETS),
        Sent("HEAD", "/health"),
        Sent("DELETE", "/v1/models"),
        Sent("OPTIONS", "/classify"),
        Sent("POST", OIP, {"content-type": "application/json", "accept-encoding": "gzip, deflate"}, text),
        Sent("POST", OIP, {}, oip(nested)),
        Sent("POST", OIP, {}, oip(three, words)),
        Sent("POST", OIP, {LENGTH: str(len(binary)), "content-type": "application/octet-stream"}, binary + bytes(12)),
        Sent("POST", OIP, {LENGTH: "0"}, bytes(40)),
        Sent("POST", OIP, {"content-encoding": "gzip"}, gzip.compress(text, mtime=0)),
        Sent("POST", OIP, {"content-encoding": "deflate"}, zlib.compress(text)),
        Sent("POST", GOSERVE, {}, json.dumps({"tensors": {"input": [[1.5, 2], [3, -4]]}}).encode()),
        Sent("POST", GOSERVE, {}, json.dumps({"inputs": [[1, 2, 3], [4, 5, 6]]}).encode()),
        Sent("POST", "/v2/repository/index", {}, b'{"ready": true}'),
        Sent("POST", "/v2/repository/index", {}, b""),
        Sent("POST", "/classify", {}, picture("PNG")[:60]),
        Sent("POST", "/classify?top_k=3", {}, b'{"image": "aGVsbG8="}'),
        Sent(
            "POST",
            "/classify",
            {"content-type": "multipart/form-data; boundary=b"},
            multipart(("a", b"1"), ("c", b"22")),
        ),
        Sent("POST", "/v1/models", {}, load),
        Sent("POST", "/v1/models", {"x-admin-key": "wrong"}, load),
        Sent("POST", "/v1/models", admin, b'{"name": "digits", "path": "nothing/here"}'),
        Sent("POST", "/v1/models", admin, b'{"name": "other", "path": "digits"}'),
        Sent("POST", "/v1/models", admin, b'{"name": "digits", "path": "../../etc"}'),
        Sent("POST", "/v1/models", {"x-request-id": "a b", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}, load),
    )


@functools.cache
def events() -> tuple[dict[str, Any], ...]:
    """Events of the other sources as AWS sends them, and direct invokes."""
    found: list[dict[str, Any]] = [json.loads(path.read_text()) for path in sorted(EVENTS.glob("*.json"))]
    small = {"inputs": [tensor([1, 3], data=[0.5, -1, 2])]}
    found += [
        small,
        {"tensors": {"input": [[1, 2, 3]]}},
        {"image": base64.b64encode(picture("PNG")).decode()},
        {
            "source": "aws.s3",
            "detail-type": "Object Created",
            "detail": {"bucket": {"name": "b"}, "object": {"key": "k.png"}},
        },
        {"Records": [{"eventSource": "aws:sqs", "messageId": "1", "body": json.dumps(small)}]},
        {
            "Records": [
                {
                    "eventSource": "aws:sqs",
                    "messageId": "1",
                    "body": '{"uri": "s3://b/k"}',
                    "attributes": {"MessageGroupId": "g"},
                }
            ]
        },
    ]
    return tuple(found)
