"""Bad input: a 4xx that says what was expected and what came, and the next request works."""

from __future__ import annotations

import base64
import gzip
import io
import json
import struct
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.contract.client import KINDS, Client, http_event, new_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

CLASSIFY = "/classify"
V1 = "/v1/models/digits/infer"
FIELDS = st.sampled_from(
    ["id", "image", "inputs", "outputs", "tensors", "input", "name", "shape", "datatype", "data", "parameters", "ready"]
)
V2 = "/v2/models/digits/infer"
SHAPE = [1, 3, 224, 224]
COUNT = 3 * 224 * 224


def noise(form: str) -> bytes:
    out = io.BytesIO()
    Image.effect_noise((256, 256), 60).save(out, form)
    return out.getvalue()


def png(width: int, height: int) -> bytes:
    """A PNG of 100 bytes whose header claims a size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def v2(**changes: Any) -> bytes:
    """A good request to the protocol's infer, but for the fields of its one input that are changed; None drops one."""
    tensor = {"name": "input", "datatype": "FP32", "shape": SHAPE, "data": [0.5] * COUNT} | changes
    return json.dumps({"inputs": [{name: value for name, value in tensor.items() if value is not None}]}).encode()


def ragged() -> list[Any]:
    """1 x 3 x 224 x 224 numbers in all, but one row has 223 and the next 225."""
    rows = [[0.5] * 224 for _ in range(224)]
    rows[7], rows[8] = rows[7][:-1], rows[8] + [0.5]
    plane = [[0.5] * 224] * 224
    return [[plane, rows, plane]]


def hidden() -> list[Any]:
    """The right number of elements, one of which is an array of one number."""
    return [*([0.5] * (COUNT - 1)), [0.5]]


def with_literal(literal: str) -> bytes:
    return v2().replace(b"0.5", literal.encode(), 1)


class Bad(NamedTuple):
    """A request, and the words that its refusal must have."""

    name: str
    path: str
    body: bytes
    status: int
    words: tuple[str, ...]
    headers: Mapping[str, str] = {}
    query: str = ""


def json_of(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def bad_pictures() -> Iterator[Bad]:
    whole = noise("JPEG")
    yield Bad("truncated JPEG", CLASSIFY, whole[: len(whole) // 2], 400, ("JPEG picture is damaged", "send a whole"))
    yield Bad("JPEG of three bytes", CLASSIFY, whole[:3], 400, ("JPEG picture is damaged",))
    yield Bad("truncated PNG", CLASSIFY, noise("PNG")[:2000], 400, ("PNG picture is damaged",))
    yield Bad("PNG without pixels", CLASSIFY, noise("PNG")[:40], 400, ("PNG picture is damaged",))
    yield Bad("truncated WebP", CLASSIFY, noise("WebP")[:2000], 400, ("WebP picture is damaged",))
    yield Bad("30,000 x 30,000", CLASSIFY, png(30_000, 30_000), 413, ("30000 x 30000", "send a smaller picture"))
    yield Bad("GIF", CLASSIFY, b"GIF89a" + bytes(20), 415, ("JPEG, PNG or WebP", "GIF89a"))
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
    yield Bad("HEIC", CLASSIFY, heic + bytes(20), 415, ("HEIC photograph", "save it as JPEG", "pillow-heif"))
    yield Bad("text as a picture", CLASSIFY, b"a digit, please", 415, ("JPEG, PNG or WebP", "a digit"))
    yield Bad("no picture", CLASSIFY, b"", 400, ("picture is empty", "JPEG, PNG or WebP"))
    yield Bad("top_k 0", CLASSIFY, whole, 400, ("top_k", "'0'", "1 or more"), query="top_k=0")
    yield Bad("top_k of words", CLASSIFY, whole, 400, ("top_k", "'five'"), query="top_k=five")
    yield Bad("no base64", CLASSIFY, json_of(image="not base64!"), 400, ("not base64", "expected"))
    yield Bad("base64 cut", CLASSIFY, json_of(image=base64.b64encode(whole).decode()[:-3]), 400, ("not base64",))
    yield Bad("base64 of no picture", CLASSIFY, json_of(image="aGVsbG8="), 415, ("JPEG, PNG or WebP", "hello"))
    yield Bad("empty base64", CLASSIFY, json_of(image=""), 400, ("picture is empty",))
    yield Bad("image as a number", CLASSIFY, json_of(image=5), 400, ("'image', a string", "5"))
    yield Bad("another field", CLASSIFY, json_of(picture=""), 400, ("unknown field 'picture'", "known: image"))
    yield Bad("broken JSON picture", CLASSIFY, b'{"image": "aGVs', 400, ("not JSON", "line 1"))
    yield Bad(
        "form without a file",
        CLASSIFY,
        b"--x--\r\n",
        400,
        ("form",),
        {"Content-Type": "multipart/form-data; boundary=x"},
    )
    yield Bad("form without boundary", CLASSIFY, b"x", 400, ("boundary",), {"Content-Type": "multipart/form-data"})


def bad_json() -> Iterator[Bad]:
    for path in (V1, V2):
        yield Bad("empty", path, b"", 400, ("body is empty", "send a JSON object"))
        yield Bad("no JSON", path, b'{"inputs": [', 400, ("not JSON", "line 1, column"))
        yield Bad("trailing", path, b"{} {}", 400, ("not JSON", "Extra data"))
        yield Bad("not UTF-8", path, b'{"\xff": 1}', 400, ("not UTF-8", "0xff at offset 2"))
        yield Bad("an array", path, b"[1, 2]", 400, ("JSON object", "an array"))
        yield Bad("null", path, b"null", 400, ("JSON object", "null"))
        words = "deeper than 64 levels" if path == V1 else "an object with a 'name'; it is an array"
        yield Bad("too deep", path, b'{"inputs":' + b"[" * 3000 + b"]" * 3000 + b"}", 400, (words,))
        yield Bad("nothing in it", path, b"{}", 400, ("input",))
        yield Bad("unknown field", path, b'{"input": []}', 400, ("unknown field 'input'", "known:"))


def bad_numbers() -> Iterator[Bad]:
    for literal in ("NaN", "Infinity", "-Infinity"):
        yield Bad(literal, V2, with_literal(literal), 400, (literal, "no JSON number", "binary data"))
    yield Bad("number beyond doubles", V2, with_literal("1e400"), 400, ("infinity", "at byte"))
    yield Bad("number beyond FP32", V2, with_literal("1e39"), 400, ("'input' is FP32", "beyond 3.4e38"))
    yield Bad("negative beyond FP32", V2, with_literal("-1e39"), 400, ("'input' is FP32", "beyond 3.4e38"))
    yield Bad("integer beyond FP32", V2, with_literal("1" + "0" * 39), 400, ("'input' is FP32", "beyond 3.4e38"))


def bad_tensors() -> Iterator[Bad]:
    yield Bad("wrong shape", V2, v2(shape=[1, 3, 32, 32]), 400, ("[1, 3, 32, 32]", "[-1, 3, 224, 224]"))
    yield Bad("wrong rank", V2, v2(shape=[COUNT]), 400, (f"[{COUNT}]", "[-1, 3, 224, 224]"))
    yield Bad("negative size", V2, v2(shape=[-1, 3, 224, 224]), 400, ("-1", "whole number from 0"))
    yield Bad("shape of strings", V2, v2(shape=["1", 3, 224, 224]), 400, ("'1'", "whole number"))
    yield Bad("no shape", V2, v2(shape=None), 400, ("needs 'shape'", "[-1, 3, 224, 224]"))
    yield Bad("huge shape", V2, v2(shape=[2**60, 3, 224, 224]), 400, ("shape",))
    yield Bad("shape of another length", V2, v2(shape=[2, 3, 224, 224]), 400, (f"[{COUNT}]", "[2, 3, 224, 224]"))
    yield Bad("too little data", V2, v2(data=[0.5] * 9), 400, ("[9]", "[1, 3, 224, 224]", str(COUNT)))
    yield Bad("no data", V2, v2(data=None), 400, ("either 'data' or the parameter binary_data_size", "neither"))
    yield Bad("wrong dtype", V2, v2(datatype="INT64"), 400, ("'INT64'", "takes FP32"))
    yield Bad("unknown dtype", V2, v2(datatype="float32"), 400, ("'float32'", "takes FP32"))
    yield Bad("strings as data", V2, v2(data=["0.5"] * COUNT), 400, ("element 0", "'0.5'", "takes numbers"))
    yield Bad("true as data", V2, with_literal("true"), 400, ("element 0", "true", "takes numbers"))
    yield Bad("null as data", V2, with_literal("null"), 400, ("element 0", "null", "takes numbers"))
    yield Bad("ragged", V2, v2(data=ragged()), 400, ("data[0][1][7]", "223 elements", "expected 224"))
    yield Bad("ragged in GoServe's form", V1, json_of(tensors={"input": ragged()}), 400, ("data[0][1][7]", "223"))
    yield Bad("ragged rows", V1, json_of(inputs=ragged()), 400, ("data[0][1][7]", "223 elements", "expected 224"))
    yield Bad("an array among numbers", V2, v2(data=hidden()), 400, (f"element {COUNT - 1}", "an array"))
    yield Bad("an array among GoServe's", V1, json_of(tensors={"input": hidden()}), 400, ("an array",))
    yield Bad(
        "wrong shape for GoServe", V1, json_of(tensors={"input": [[[[1]]]]}), 400, ("[1, 1, 1, 1]", "[-1, 3, 224, 224]")
    )
    yield Bad("wrong rows for GoServe", V1, json_of(inputs=[[1, 2]]), 400, ("[1, 2]", "[-1, 3, 224, 224]"))


def bad_names() -> Iterator[Bad]:
    yield Bad("wrong input name", V2, v2(name="pixels"), 400, ("'pixels'", "takes input"))
    yield Bad("wrong name for GoServe", V1, json_of(tensors={"pixels": [1]}), 400, ("'pixels'", "input"))
    yield Bad("the input twice", V2, json_of(inputs=[json.loads(v2())["inputs"][0]] * 2), 400, ("second time", "once"))
    yield Bad(
        "unknown output", V2, v2()[:-1] + b', "outputs": [{"name": "scores"}]}', 400, ("'scores'", "gives logits")
    )
    yield Bad("no inputs", V2, json_of(inputs=[]), 400, ("lacks input",))
    yield Bad("both forms at once", V1, json_of(inputs=[[1]], tensors={}), 400, ("tensors", "legacy"))
    for path in ("/v2/models/nothing/infer", "/v1/models/nothing/infer", "/v1/models/nothing/classify"):
        yield Bad("unknown model", path, b"{}", 404, ("no model 'nothing'", "digits"))
    for name in (".", "..", "", "\0", "x" * 300, "é", "%2E%2E"):
        yield Bad(f"model {name[:9]!r}", f"/v2/models/{name}/infer", b"{}", 404, ("model",))
    yield Bad("unknown version", "/v2/models/digits/versions/9/infer", v2(), 404, ("version '9'", "'1'"))


def bad_headers() -> Iterator[Bad]:
    yield Bad("header length", V2, v2(), 400, ("'x'", "length in bytes"), {"Inference-Header-Content-Length": "x"})
    yield Bad("long header length", V2, b"{}", 400, ("99", "only 2 bytes"), {"Inference-Header-Content-Length": "99"})
    yield Bad("raw of odd size", V2, b"\0\0\0", 400, ("3 bytes", "FP32"), {"Inference-Header-Content-Length": "0"})

    yield Bad("no gzip", V2, v2(), 400, ("not gzip", "Content-Encoding"), {"Content-Encoding": "gzip"})
    yield Bad("gzip cut", V2, gzip.compress(v2())[:-20], 400, ("ends too early",), {"Content-Encoding": "gzip"})
    yield Bad("brotli", V2, v2(), 415, ("'br'", "gzip"), {"Content-Encoding": "br"})


CASES = [*bad_pictures(), *bad_json(), *bad_numbers(), *bad_tensors(), *bad_names(), *bad_headers()]


@pytest.mark.parametrize("bad", CASES, ids=[f"{bad.path.split('/')[1]}-{bad.name}" for bad in CASES])
def test_bad_input_is_refused_and_the_next_request_works(digits: Client, picture: bytes, bad: Bad) -> None:
    answer = digits.post(bad.path, bad.body, bad.headers, bad.query)
    assert answer.status == bad.status, answer.body
    missing = [word for word in bad.words if word not in answer.error]
    assert not missing, answer.error
    assert len(answer.error) < 500
    assert "Traceback" not in answer.error
    assert digits.post(CLASSIFY, picture).status == 200


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(FIELDS | st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)
BODIES = st.binary(max_size=200) | st.dictionaries(FIELDS, JSON_VALUES).map(lambda fields: json.dumps(fields).encode())


@given(path=st.sampled_from([CLASSIFY, V1, V2, "/v2/repository/index"]), body=BODIES)
@settings(deadline=None, max_examples=300)
def test_no_body_is_a_defect(digits: Client, path: str, body: bytes) -> None:
    answer = digits.post(path, body)
    assert answer.status < 500, answer.body
    if answer.status != 200:
        assert answer.error


@given(event=JSON_VALUES | st.dictionaries(FIELDS, JSON_VALUES))
@settings(deadline=None, max_examples=200)
def test_no_direct_invoke_is_a_defect(digits: Client, event: object) -> None:
    answer = digits.invoke(event)
    assert list(answer) == ["error"]
    assert "unexpectedly" not in answer["error"]


@pytest.fixture  # not for longer: the limits are those of the whole process
def limited(digits_prepared: Path) -> Client:
    return new_client(digits_prepared, MAX_BODY_BYTES="100000")


@pytest.mark.parametrize("encoding", ["", "identity", "gzip", "deflate"])
@pytest.mark.parametrize("path", [CLASSIFY, V1, V2])
def test_a_body_over_the_limit_is_a_413(limited: Client, picture: bytes, path: str, encoding: str) -> None:
    headers = {"Content-Encoding": encoding} if encoding else {}
    packers: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}
    pack = packers.get(encoding, bytes)
    answer = limited.post(path, pack(b" " * 100_001), headers)
    assert answer.status == 413
    assert "100000" in answer.error
    assert limited.post(path, pack(b" " * 100_000), headers).status in (400, 415)
    assert limited.post(CLASSIFY, picture).status == 200


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_whose_base64_is_none_is_a_400(digits: Client, picture: bytes, kind: str) -> None:
    event = http_event(kind, "POST", CLASSIFY, picture)
    assert event["isBase64Encoded"]
    for body in ("###", event["body"][:-3]):
        answer = digits.handler(event | {"body": body}, None)
        assert answer["statusCode"] == 400
        assert "not base64" in json.loads(answer["body"])["error"]
        assert "Server-Timing" in answer["headers"]
    assert digits.of(kind).post(CLASSIFY, picture).status == 200


@pytest.mark.parametrize("kind", KINDS)
def test_errors_look_the_same_from_every_event_source(digits: Client, kind: str) -> None:
    answer = digits.of(kind).post(V2, b"{")
    assert (answer.status, answer.body) == (400, digits.post(V2, b"{").body)
    assert answer.headers["content-type"] == "application/json"


def test_a_defect_is_a_500_without_its_trace(
    digits: Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from function.codecs import oip_response

    def broken(version: str) -> None:
        raise ZeroDivisionError("a secret of the implementation")

    monkeypatch.setattr(oip_response, "server_metadata", broken)
    answer = digits.get("/v2")
    assert answer.status == 500
    assert "secret" not in answer.error
    assert "a secret of the implementation" in capsys.readouterr().err  # for the log
    assert digits.get("/health").status == 200
