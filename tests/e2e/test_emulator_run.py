"""The function inside the real Lambda emulator: by HTTP through the function URL, and by direct invoke."""

from __future__ import annotations

import base64
import json
import struct
from typing import TYPE_CHECKING, Any

import pytest

from infra.emulator import Emulator
from infra.front import FunctionUrl
from tests.contract import made_models
from tests.e2e.http_client import ask, post_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

V2 = "/v2/models/digits/infer"
SHAPE = [1, 3, 224, 224]
FLAT = [0.25] * (3 * 224 * 224)


@pytest.fixture(scope="module")
def repository(digits_prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits, and `echo`, whose answers can be of any size."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "digits").symlink_to(digits_prepared / "digits")
    made_models.add_model(folder, "echo", made_models.echo())
    return folder


@pytest.fixture(scope="module")
def emulator(repository: Path) -> Iterator[Emulator]:
    with Emulator(env={"MODEL_REPOSITORY": str(repository)}) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def url(emulator: Emulator) -> Iterator[str]:
    with FunctionUrl(emulator) as front:
        yield front.url


@pytest.fixture(scope="module")
def logits(url: str) -> list[float]:
    (output,) = post_json(url, V2, {"inputs": [tensor()]}).json["outputs"]
    assert output["shape"] == [1, 10]
    found: list[float] = output["data"]
    return found


def tensor() -> dict[str, Any]:
    return {"name": "input", "datatype": "FP32", "shape": SHAPE, "data": FLAT}


@pytest.mark.parametrize("load_in_init", ["0", "1"])
def test_the_first_answer_is_cold_and_the_next_are_warm(repository: Path, picture: bytes, load_in_init: str) -> None:
    env = {"MODEL_REPOSITORY": str(repository), "LOAD_IN_INIT": load_in_init}
    with Emulator(env=env) as emulator, FunctionUrl(emulator) as front:
        phases = [ask(front.url, "POST", "/classify", picture).phases for _ in range(3)]
        health = ask(front.url, "GET", "/health").phases
    expected = ["init", "load", "decode", "infer", "encode", "cold"]
    if load_in_init == "1" and "load" not in phases[0]:  # it was over before the picture came
        expected.remove("load")
    assert list(phases[0]) == expected
    assert all(phases[0][name] > 0 for name in ("init", "decode", "infer"))
    assert list(phases[1]) == list(phases[2]) == ["init", "decode", "infer", "encode"]
    assert list(health) == ["init"]


def test_health_and_metadata(url: str) -> None:
    assert ask(url, "GET", "/health").json == {"status": "ok"}
    assert ask(url, "GET", "/v2/health/ready").json == {"live": True, "ready": True}
    assert ask(url, "GET", "/v2/models/digits").json["inputs"] == [
        {"name": "input", "datatype": "FP32", "shape": [-1, 3, 224, 224]}
    ]
    assert [row["name"] for row in ask(url, "GET", "/v1/models").json["models"]] == ["digits", "echo"]


def test_a_picture_raw_and_as_json(url: str, picture: bytes) -> None:
    raw = ask(url, "POST", "/classify?top_k=3", picture, {"Content-Type": "image/png"})
    assert raw.status == 200
    assert len(raw.json["predictions"]) == 3
    for path in ("/classify?top_k=3", "/v1/models/digits/classify?top_k=3"):
        assert post_json(url, path, {"image": base64.b64encode(picture).decode()}).body == raw.body


def test_goserves_tensors_give_the_same_logits(url: str, logits: list[float]) -> None:
    answer = post_json(url, "/v1/models/digits/infer", {"tensors": {"input": FLAT}})
    assert answer.json == {"model_name": "digits", "outputs": {"logits": [logits]}}


def test_binary_tensors_give_the_same_logits(url: str, logits: list[float]) -> None:
    data = struct.pack(f"<{len(FLAT)}f", *FLAT)
    entry = {"name": "input", "datatype": "FP32", "shape": SHAPE, "parameters": {"binary_data_size": len(data)}}
    header = json.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}}).encode()
    length = {"Inference-Header-Content-Length": str(len(header))}
    answer = ask(url, "POST", V2, header + data, length)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    start = int(answer.headers["inference-header-content-length"])
    assert list(struct.unpack("<10f", answer.body[start:])) == logits

    raw = ask(url, "POST", V2, data, {"Inference-Header-Content-Length": "0"})
    start = int(raw.headers["inference-header-content-length"])
    assert list(struct.unpack("<10f", raw.body[start:])) == logits


def test_bad_input_gets_its_status_and_leaves_no_trace(url: str, emulator: Emulator, picture: bytes) -> None:
    def as_json(body: object) -> bytes:
        return json.dumps(body).encode()

    flat = as_json({"inputs": [tensor()]})
    for method, path, body, status in (
        ("POST", "/classify", b"", 400),
        ("POST", "/classify", picture[:40], 400),
        ("POST", "/classify", b"GIF89a", 415),
        ("POST", "/classify", b'{"image": "###"}', 400),
        ("POST", "/classify?top_k=x", picture, 400),
        ("POST", V2, b"", 400),
        ("POST", V2, b"{", 400),
        ("POST", V2, b"\xff\xfe", 400),
        ("POST", V2, flat.replace(b"0.25", b"NaN", 1), 400),
        ("POST", V2, flat.replace(b"0.25", b"1e39", 1), 400),
        ("POST", V2, as_json({"inputs": [tensor() | {"shape": [1, 3, 32, 32]}]}), 400),
        ("POST", V2, as_json({"inputs": [tensor() | {"datatype": "INT64"}]}), 400),
        ("POST", V2, as_json({"inputs": [tensor() | {"name": "pixels"}]}), 400),
        ("POST", "/v2/models/nothing/infer", flat, 404),
        ("GET", "/v2/models/nothing", b"", 404),
        ("GET", "/v2/models/%FF", b"", 400),
        ("GET", "/nothing", b"", 404),
        ("PUT", "/classify", picture, 405),
    ):
        answer = ask(url, method, path, body, {"Content-Type": "application/json"})
        assert (answer.status, bool(answer.error)) == (status, True), (method, path, body[:50])
        assert "init" in answer.phases
    assert ask(url, "POST", "/classify", picture).status == 200
    log = emulator.log_text()
    assert "INIT RTDONE" in log or "START RequestId" in log  # it is the log
    assert "Traceback" not in log


def test_an_answer_beyond_six_megabytes_is_a_413_and_the_function_lives(url: str, emulator: Emulator) -> None:
    count = 700_000
    data = struct.pack("<f", 0.1) * count
    entry = {"name": "values", "datatype": "FP32", "shape": [1, count], "parameters": {"binary_data_size": len(data)}}
    header = json.dumps({"inputs": [entry]}).encode()
    length = {"Inference-Header-Content-Length": str(len(header))}
    pids = emulator.pids()
    answer = ask(url, "POST", "/v2/models/echo/infer", header + data, length)
    assert answer.status == 413
    assert "MiB as JSON" in answer.error
    assert "6 MiB limit" in answer.error
    direct = json.loads(emulator.invoke({"image": ""}))
    assert "empty" in direct["error"]
    assert emulator.pids() == pids  # no restart


def test_direct_invokes(emulator: Emulator, logits: list[float], picture: bytes) -> None:
    def invoke(event: dict[str, Any]) -> Any:
        return json.loads(emulator.invoke(event))

    image = invoke({"image": base64.b64encode(picture).decode()})
    assert [row["label"] for row in image["predictions"]] != []
    assert invoke({"inputs": [tensor()]})["outputs"][0]["data"] == logits
    assert invoke({"tensors": {"input": FLAT}})["outputs"] == {"logits": [logits]}
    assert invoke({"inputs": [FLAT]})["outputs"] == {"logits": [logits]}
    assert list(invoke({"nothing": 1})) == ["error"]
    assert "Traceback" not in emulator.log_text()
