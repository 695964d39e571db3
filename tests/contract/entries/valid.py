"""Requests that are answered 200: one of each form that a body can take."""

from __future__ import annotations

import base64
import gzip
import io
import json
import struct
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image

from tests.contract.entries.wire import LENGTH, with_binary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Valid(NamedTuple):
    """A POST and its path."""

    path: str
    body: bytes
    headers: Mapping[str, str] = {}


def picture(kind: str) -> bytes:
    out = io.BytesIO()
    Image.radial_gradient("L").resize((24, 24)).convert("RGB").save(out, kind)
    return out.getvalue()


def tensor(name: str, datatype: str, shape: list[int], **rest: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, **rest}


def _predictions() -> Iterator[Valid]:
    """What the V1 protocol and its neighbours take."""
    row = {"age": 31.5, "job": "pilot", "visits": 3}
    encoded = base64.b64encode(picture("PNG")).decode()
    for path, document in (
        ("/v1/models/people:predict", {"instances": [row, row | {"age": None, "member": True}]}),
        ("/v1/models/people:predict", {"dataframe_records": [row]}),
        ("/v1/models/people:predict", {"dataframe_split": {"columns": list(row), "data": [list(row.values())] * 2}}),
        ("/v1/models/people:predict", {"inputs": {name: [value] for name, value in row.items()}}),
        ("/v1/models/mixed:predict", {"instances": [{"a": [1, 2], "b": [0.5, 2], "words": {"b64": "/w=="}}]}),
        ("/v1/models/echo_fp32:predict", {"inputs": [[1, 2], [3, 4]], "signature_name": "serving_default"}),
        ("/v1/models/colours:predict", {"instances": [{"b64": encoded}] * 2}),
        ("/invocations", {"instances": [{"b64": encoded}]}),
        ("/v1/models/phrases:predict", {"instances": ["the quick fox", "naïve"]}),
        ("/v1/models/moods:predict", {"instances": ["the quick fox"]}),
        ("/v1/models/hooked:predict", {"instances": [{"a": 1.5, "raw": {"b64": "AAAA"}}, {"a": 2}]}),
        ("/v1/embeddings", {"model": "phrases", "input": ["a", "the lazy dog"], "encoding_format": "base64"}),
        ("/v1/embeddings", {"model": "phrases", "input": "a", "dimensions": 8, "user": "me"}),
    ):
        yield Valid(path, json.dumps(document).encode(), {"content-type": "application/json"})
    table = b"age,job,visits\r\n31.5,pilot,3\r\n,baker,4\r\n"
    yield Valid("/v1/models/people:predict", table, {"content-type": "text/csv"})
    yield Valid("/v1/models/hooked:predict", picture("PNG"), {"content-type": "image/png"})


def valid_requests() -> Iterator[Valid]:
    """One of each form that a body can take."""
    mixed: dict[str, Any] = {
        "id": "7",
        "parameters": {"mine": 1, "binary_data_output": False},
        "inputs": [
            tensor("a", "INT64", [2, 2], data=[[1, -2], [3, 4]]),
            tensor("b", "FP32", [2, 2], data=[0.5, -1e-3, 2, 3.25]),
            tensor("words", "BYTES", [2], data=["naïve", "\u2603"]),
        ],
        "outputs": [{"name": "sum", "parameters": {"classification": 2}}, {"name": "same"}],
    }
    text = json.dumps(mixed).encode()
    infer = "/v2/models/mixed/infer"
    yield Valid(infer, text)
    yield Valid("/v2/models/mixed/versions/1/infer", text, {"content-type": "application/json"})
    yield Valid(infer, gzip.compress(text), {"content-encoding": "gzip"})
    yield Valid(infer, zlib.compress(text), {"content-encoding": "deflate"})
    yield from _predictions()
    halves = [
        tensor("a", "INT64", [1, 2], parameters={"binary_data_size": 16}),
        tensor("words", "BYTES", [2], parameters={"binary_data_size": 11}),
        tensor("b", "FP32", [1, 2], data=[1, 2]),
    ]
    blobs = struct.pack("<2q", 1, -1), struct.pack("<I2sI1s", 2, b"ab", 1, b"c")
    body, headers = with_binary({"inputs": halves, "parameters": {"binary_data_output": True}}, *blobs)
    yield Valid(infer, body, {name.lower(): value for name, value in headers.items()})
    yield Valid("/v2/models/largest/infer", struct.pack("<64f", *range(64)), {LENGTH.lower(): "0"})
    yield Valid("/v2/models/echo_vector/infer", b"one element", {LENGTH.lower(): "0"})
    yield Valid("/v1/models/echo_fp32/infer", json.dumps({"tensors": {"x": [[1.5, 2], [3, -4]]}}).encode())
    yield Valid("/v1/models/echo_uint8/infer", json.dumps({"inputs": [[1, 2], [3, 255]]}).encode())
    yield Valid("/v2/repository/index", b'{"ready": true}')
    for kind in ("JPEG", "PNG", "WEBP"):
        yield Valid("/classify", picture(kind))
    yield Valid("/classify", json.dumps({"image": base64.b64encode(picture("PNG")).decode()}).encode())
    form = b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\n' + picture("PNG") + b"\r\n--b--\r\n"
    yield Valid("/v1/models/colours/classify", form, {"content-type": "multipart/form-data; boundary=b"})


VALID = list(valid_requests())
