"""Random bodies, and valid ones with one byte changed: no 5xx, and the process lives. The seed is printed."""

from __future__ import annotations

import base64
import gzip
import io
import json
import random
import struct
import zlib
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from PIL import Image

from function.api import Api
from function.message import Request
from function.settings import Settings
from tests.contract.entries.wire import LENGTH, with_binary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.contract.entries.wire import Wire

CASES = 10_000  # through the core
BIG_CASES = 24  # of 1 to 8 MB
WIRE_CASES = 400  # through each entry
MEGABYTE = 1 << 20


class Valid(NamedTuple):
    """A request that is answered 200."""

    path: str
    body: bytes
    headers: Mapping[str, str] = {}


class Sent(NamedTuple):
    number: int
    path: str
    body: bytes
    headers: Mapping[str, str]

    def __repr__(self) -> str:
        return f"case {self.number}: {self.path} {dict(self.headers)} {len(self.body)} bytes {self.body[:200]!r}"


def picture(kind: str) -> bytes:
    out = io.BytesIO()
    Image.radial_gradient("L").resize((24, 24)).convert("RGB").save(out, kind)
    return out.getvalue()


def tensor(name: str, datatype: str, shape: list[int], **rest: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, **rest}


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
HEADERS: tuple[Mapping[str, str], ...] = (
    {},
    {LENGTH.lower(): "0"},
    {LENGTH.lower(): "100"},
    {"content-encoding": "gzip"},
    {"content-encoding": "deflate"},
    {"content-type": "multipart/form-data; boundary=b"},
)


def cases(generator: random.Random, count: int, big: int) -> Iterator[Sent]:
    """`count` cases, a quarter of them random bytes; the `big` last ones are those of 1 to 8 MB."""
    for number in range(count):
        base = generator.choice(VALID)
        if number >= count - big:
            size = generator.randrange(MEGABYTE, 8 * MEGABYTE + 1)
            yield Sent(number, base.path, generator.randbytes(size), generator.choice(HEADERS))
        elif number % 4 == 0:
            size = int(2 ** generator.uniform(0, 15)) - 1
            yield Sent(number, base.path, generator.randbytes(size), generator.choice(HEADERS))
        else:
            changed = bytearray(base.body)
            changed[generator.randrange(len(changed))] = generator.randrange(256)
            yield Sent(number, base.path, bytes(changed), base.headers)


@pytest.fixture
def generator(capsys: pytest.CaptureFixture[str]) -> random.Random:
    seed = random.SystemRandom().randrange(1 << 32)
    with capsys.disabled():
        print(f"\n[fuzz seed {seed}]", end=" ")
    return random.Random(seed)


@pytest.fixture(scope="module")
def api(repository: Path) -> Api:
    return Api(Settings({"MODEL_REPOSITORY": str(repository), "MODEL_NAME": "colours"}))


def ask(api: Api, path: str, body: bytes, headers: Mapping[str, str]) -> int:
    response = api.respond(Request("POST", path, {}, dict(headers), body))
    if response.status != 200:
        assert list(json.loads(response.body)) == ["error"]
    return response.status


def test_the_core_answers_whatever_comes(api: Api, generator: random.Random) -> None:
    for valid in VALID:
        assert ask(api, valid.path, valid.body, valid.headers) == 200
    statuses: Counter[int] = Counter()
    for sent in cases(generator, CASES, BIG_CASES):
        status = ask(api, sent.path, sent.body, sent.headers)
        assert status < 500, sent
        statuses[status] += 1
    assert statuses.total() == CASES
    assert statuses[200] > CASES // 20  # a changed digit is another valid request
    assert statuses[400] > CASES // 4
    for valid in VALID:
        assert ask(api, valid.path, valid.body, valid.headers) == 200


def test_both_entries_answer_whatever_comes(wires: dict[str, Wire], generator: random.Random) -> None:
    for sent in cases(generator, WIRE_CASES, 4):
        # Over 6 MB the function URL refuses by itself, in its own words.
        first, second = (wire.post(sent.path, sent.body, sent.headers) for wire in wires.values())
        assert first.status < 500, sent
        assert second.status < 500, sent
        if len(sent.body) < 4 * MEGABYTE:
            assert first.status == second.status, sent
            assert first.body == second.body, sent
    for valid in VALID:
        assert [wire.post(*valid).status for wire in wires.values()] == [200, 200]
