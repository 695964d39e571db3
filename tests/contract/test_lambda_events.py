"""The Lambda entry: Server-Timing, direct invokes, answers that are too large, and INIT."""

from __future__ import annotations

import base64
import json
import struct
from typing import TYPE_CHECKING, Any

import pytest

from function.errors import PredictError
from tests.contract.client import KINDS, Client, http_event, new_client

if TYPE_CHECKING:
    from pathlib import Path

V2 = "/v2/models/digits/infer"
FLAT = [0.25] * (3 * 224 * 224)


def tensor(batch: int = 1) -> dict[str, Any]:
    return {"name": "input", "datatype": "FP32", "shape": [batch, 3, 224, 224], "data": FLAT * batch}


def binary_request(batch: int = 1) -> tuple[bytes, dict[str, str]]:
    """Body and headers of Triton's binary form, the answer binary too."""
    data = struct.pack(f"<{len(FLAT)}f", *FLAT) * batch
    entry: dict[str, Any] = {"name": "input", "datatype": "FP32", "shape": [batch, 3, 224, 224]}
    entry["parameters"] = {"binary_data_size": len(data)}
    header = json.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}}).encode()
    return header + data, {"Inference-Header-Content-Length": str(len(header))}


def test_server_timing_tells_the_phases_and_cold_once(digits_prepared: Path, picture: bytes) -> None:
    client = new_client(digits_prepared)
    first = client.post("/classify", picture)
    assert list(first.phases) == ["init", "load", "decode", "infer", "encode", "cold"]
    assert all(first.phases[name] > 0 for name in ("init", "decode", "infer", "encode"))
    second = client.post("/classify", picture)
    assert list(second.phases) == ["init", "decode", "infer", "encode"]
    assert second.phases["init"] == first.phases["init"]
    assert list(client.post(V2, {"inputs": [tensor()]}).phases) == ["init", "decode", "infer", "encode"]
    assert list(client.get("/health").phases) == ["init"]
    assert list(client.get("/nothing").phases) == ["init"]
    assert list(client.post("/classify", b"GIF89a").phases) == ["init", "decode"]


def test_the_first_answer_is_cold_whatever_it_is(digits_prepared: Path, picture: bytes) -> None:
    client = new_client(digits_prepared)
    assert list(client.get("/health").phases) == ["init", "cold"]
    loading = client.post("/classify", picture)
    assert "load" in loading.phases
    assert "cold" not in loading.phases

    after_direct = new_client(digits_prepared)
    after_direct.invoke({"inputs": [FLAT]})
    assert "cold" not in after_direct.get("/health").phases

    damaged = new_client(digits_prepared)
    event = http_event("function_url", "POST", "/classify", picture) | {"body": "###"}
    assert damaged.handler(event, None)["headers"]["Server-Timing"].endswith(", cold")
    assert "cold" not in damaged.get("/health").phases


def test_lambda_may_load_the_model_during_init(digits_prepared: Path, picture: bytes) -> None:
    for kind in ("provisioned-concurrency", "snap-start", "lambda-managed-instances"):
        client = new_client(digits_prepared, AWS_LAMBDA_INITIALIZATION_TYPE=kind)
        assert "load" not in client.post("/classify", picture).phases
    lazy = new_client(digits_prepared, AWS_LAMBDA_INITIALIZATION_TYPE="on-demand")
    assert "load" in lazy.post("/classify", picture).phases


def test_a_variable_that_is_no_number_stops_init_with_its_name(digits_prepared: Path) -> None:
    with pytest.raises(PredictError, match="MAX_BODY_BYTES must be a whole number, not 'lots'"):
        new_client(digits_prepared, MAX_BODY_BYTES="lots")


@pytest.mark.parametrize("kind", KINDS)
def test_binary_tensors_travel_as_base64_both_ways(digits: Client, kind: str) -> None:
    answer = digits.of(kind).post(V2, *binary_request())
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    length = int(answer.headers["inference-header-content-length"])
    (output,) = json.loads(answer.body[:length])["outputs"]
    logits = struct.unpack("<10f", answer.body[length:])
    assert output["parameters"] == {"binary_data_size": 40}
    assert list(logits) == digits.post(V2, {"inputs": [tensor()]}).json["outputs"][0]["data"]


def test_a_batch_gives_a_row_for_each_of_its_members(digits: Client) -> None:
    darker = [value - 0.5 for value in FLAT]
    rows = [
        digits.post(V2, {"inputs": [tensor() | {"data": data}]}).json["outputs"][0]["data"] for data in (FLAT, darker)
    ]
    assert rows[0] != rows[1]
    batch = {"name": "input", "datatype": "FP32", "shape": [2, 3, 224, 224], "data": FLAT + darker}
    (output,) = digits.post(V2, {"inputs": [batch]}).json["outputs"]
    assert output["shape"] == [2, 10]
    assert output["data"] == pytest.approx(rows[0] + rows[1], rel=1e-4, abs=1e-5)
    goserve = digits.post("/v1/models/digits/infer", {"inputs": [FLAT, darker]}).json["outputs"]["logits"]
    assert goserve == [output["data"][:10], output["data"][10:]]


def test_classification_is_by_label(digits: Client) -> None:
    wanted = [{"name": "logits", "parameters": {"classification": 3}}]
    (output,) = digits.post(V2, {"inputs": [tensor()], "outputs": wanted}).json["outputs"]
    assert (output["datatype"], output["shape"]) == ("BYTES", [1, 3])
    value, index, label = output["data"][0].split(":")
    assert index == label
    assert float(value) == pytest.approx(
        max(digits.post(V2, {"inputs": [tensor()]}).json["outputs"][0]["data"]), abs=1e-6
    )


def test_a_direct_invoke_is_the_body_without_the_envelope(digits: Client, picture: bytes) -> None:
    text = base64.b64encode(picture).decode()
    nested = [[[[0.25] * 224] * 224] * 3]
    protocol = {"inputs": [tensor()], "id": "direct"}
    for event, path in (
        ({"image": text}, "/classify"),
        ({"tensors": {"input": nested}}, "/v1/models/digits/infer"),
        ({"inputs": nested}, "/v1/models/digits/infer"),
        (protocol, V2),
    ):
        assert digits.invoke(event) == digits.post(path, event).json


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({}, ("function URL", '{"image"}')),
        ([], ('{"tensors"}',)),
        (None, ('{"inputs"}',)),
        ("hello", ('{"inputs"}',)),
        ({"inputs": []}, ('{"inputs"}',)),
        ({"requestContext": {}}, ("function URL", "ALB")),
        ({"image": None}, ("'image', a string",)),
        ({"image": "###"}, ("not base64",)),
        ({"tensors": {}}, ("lacks 'input'",)),
        ({"tensors": {"input": [float("nan")]}}, ("NaN", "no JSON number")),
        ({"inputs": [[1, 2]]}, ("[1, 2]", "[-1, 3, 224, 224]")),
        ({"inputs": [{"name": "pixels"}]}, ("'pixels'", "takes input")),
        ({"inputs": [tensor()], "parameters": {"binary_data_output": True}}, ("JSON only", "binary_data_output")),
    ],
    ids=str,
)
def test_a_bad_direct_invoke_is_answered_with_an_error(digits: Client, event: object, words: tuple[str, ...]) -> None:
    answer = digits.invoke(event)
    assert list(answer) == ["error"]
    for word in words:
        assert word in answer["error"]
    assert "error" not in digits.invoke({"inputs": [FLAT]})
