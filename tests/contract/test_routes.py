"""Every route of the core through the Lambda handler, from each of its four event sources."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from function.routes.table import ROUTES
from tests.contract.client import KINDS, Client

if TYPE_CHECKING:
    from collections.abc import Callable

PLANE = [[0.25] * 224] * 224
NESTED = [[PLANE] * 3]
FLAT = [0.25] * (3 * 224 * 224)


def v2_body() -> dict[str, Any]:
    return {"id": "7", "inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 3, 224, 224], "data": FLAT}]}


def is_prediction(answer: Any) -> None:
    assert answer["model_name"] == "digits"
    assert [row["index"] for row in answer["predictions"]] == [int(row["label"]) for row in answer["predictions"]]
    probabilities = [row["probability"] for row in answer["predictions"]]
    assert len(probabilities) == 5
    assert probabilities == sorted(probabilities, reverse=True)
    assert 0 < sum(probabilities) <= 1 + 1e-9


def is_inference(answer: Any) -> None:
    assert {key: answer[key] for key in ("model_name", "model_version", "id")} == {
        "model_name": "digits",
        "model_version": "1",
        "id": "7",
    }
    (output,) = answer["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("logits", "FP32", [1, 10])
    assert len(output["data"]) == 10


def is_goserve_inference(answer: Any) -> None:
    assert answer["model_name"] == "digits"
    (row,) = answer["outputs"]["logits"]
    assert len(row) == 10


def is_row(answer: Any) -> None:
    (row,) = answer["predictions"]
    assert len(row) == 10


def is_metadata(answer: Any) -> None:
    assert answer == {
        "name": "digits",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, 3, 224, 224]}],
        "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 10]}],
    }


def is_model_list(answer: Any) -> None:
    (row,) = [row for row in answer["models"] if row["name"] == "digits"]
    assert row["input_nodes"] == ["input"]
    assert row["output_nodes"] == ["logits"]
    assert row["path"].endswith("/digits")


def is_model_row(answer: Any) -> None:
    assert (answer["name"], answer["input_nodes"]) == ("digits", ["input"])


def is_openapi(answer: Any) -> None:
    assert set(answer["paths"]) == {route.path for route in ROUTES}


def is_index(answer: Any) -> None:
    assert {"name": "digits", "version": "1", "state": "READY", "reason": ""} in answer


def equals(expected: Any) -> Callable[[Any], None]:
    def check(answer: Any) -> None:
        assert answer == expected

    return check


def has_name(answer: Any) -> None:
    assert answer["name"] == "zeroserve"
    assert answer["version"]


# The pattern of a route -> the body to send (None: GET; "picture": the PNG), and what its answer must be
EXPECTED: dict[tuple[str, str], tuple[Any, Callable[[Any], None]]] = {
    ("GET", "/"): (None, has_name),
    ("GET", "/openapi.json"): (None, is_openapi),
    ("GET", "/health"): (None, equals({"status": "ok"})),
    ("GET", "/ready"): (None, equals({"status": "ready"})),
    ("GET", "/v1/models"): (None, is_model_list),
    ("POST", "/v1/models"): ({"name": "digits", "path": "digits"}, is_model_row),
    ("GET", "/v1/models/{model}"): (None, equals({"name": "digits", "ready": True})),
    ("POST", "/v1/models/{model}:predict"): ({"instances": NESTED}, is_row),
    ("GET", "/ping"): (None, equals({"status": "ready"})),
    ("POST", "/invocations"): ({"instances": NESTED}, is_row),
    ("POST", "/v1/models/{model}/infer"): ({"tensors": {"input": NESTED}}, is_goserve_inference),
    ("POST", "/v1/models/{model}/classify"): ("picture", is_prediction),
    ("POST", "/classify"): ("picture", is_prediction),
    ("GET", "/v2"): (None, has_name),
    ("GET", "/v2/health/live"): (None, equals({"live": True})),
    ("GET", "/v2/health/ready"): (None, equals({"live": True, "ready": True})),
    ("GET", "/v2/models/{model}"): (None, is_metadata),
    ("GET", "/v2/models/{model}/versions/{version}"): (None, is_metadata),
    ("GET", "/v2/models/{model}/ready"): (None, equals({"name": "digits", "ready": True})),
    ("GET", "/v2/models/{model}/versions/{version}/ready"): (None, equals({"name": "digits", "ready": True})),
    ("POST", "/v2/models/{model}/infer"): (v2_body(), is_inference),
    ("POST", "/v2/models/{model}/versions/{version}/infer"): (v2_body(), is_inference),
    ("POST", "/v2/repository/index"): ({}, is_index),
}
# The first is a server's, the others are for models of texts and of features, test_texts.py and test_features.py, and
# for upstreams: tests/e2e/test_gateway.py.
CHATS = ("/v1/chat/completions", "/v1/completions")
ELSEWHERE = ("/metrics", "/v1/embeddings", "/get-online-features", "/v1/features/{view}", *CHATS)
DEFINED = [(route.method, route.path) for route in ROUTES if route.path not in ELSEWHERE]


def test_every_route_has_its_expectation_here() -> None:
    assert sorted(DEFINED) == sorted(EXPECTED)


@pytest.mark.parametrize(("method", "pattern"), DEFINED, ids=[" ".join(route) for route in DEFINED])
def test_a_route_answers_the_same_from_every_event_source(
    digits: Client, picture: bytes, method: str, pattern: str
) -> None:
    content, check = EXPECTED[method, pattern]
    path = pattern.replace("{model}", "digits").replace("{version}", "1")
    body = b"" if content is None else picture if content == "picture" else json.dumps(content).encode()
    key = {"X-Admin-Key": "sesame"} if (method, path) == ("POST", "/v1/models") else {}
    answers = [digits.of(kind).request(method, path, body, key) for kind in KINDS]
    for answer in answers:
        assert answer.status == (201 if key else 200), answer.body
        assert answer.headers["content-type"] == "application/json"
        assert answer.body == answers[0].body
    check(answers[0].json)


@pytest.mark.parametrize(("method", "pattern"), DEFINED, ids=[" ".join(route) for route in DEFINED])
def test_a_route_refuses_another_method(digits: Client, method: str, pattern: str) -> None:
    path = pattern.replace("{model}", "digits").replace("{version}", "1")
    answer = digits.request("DELETE", path)
    assert answer.status == 405
    assert " takes " in answer.error
    assert method in answer.error
    assert "not DELETE" in answer.error
    assert method in answer.headers["allow"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_path_is_a_404_that_says_so(digits: Client, kind: str) -> None:
    for path in ("/nothing", "/v2/", "/v2/models/digits/infer/", "/v1/models/digits/"):
        answer = digits.of(kind).get(path)
        assert answer.status == 404
        assert path in answer.error


def test_a_verb_is_no_part_of_a_name(digits: Client) -> None:
    answer = digits.get("/v1/models/digits:predict")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert digits.get("/v2/models/digits:predict").status == 404
    assert digits.post("/v1/models/nobody:predict", {}).error.startswith("there is no model 'nobody'")


def test_head_is_answered_as_get(digits: Client) -> None:
    assert digits.request("HEAD", "/health").status == 200


@pytest.mark.parametrize("kind", KINDS)
def test_top_k_comes_by_the_query(digits: Client, picture: bytes, kind: str) -> None:
    full = digits.post("/classify", picture).json["predictions"]
    for k in (1, 3, 10, 99):
        answer = digits.of(kind).post("/classify", picture, query=f"top_k={k}")
        assert len(answer.json["predictions"]) == min(k, 10)
        assert answer.json["predictions"][:5] == full[: min(k, 5)]


def multipart(picture: bytes) -> tuple[bytes, dict[str, str]]:
    head = b'--xyz\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    return head + picture + b"\r\n--xyz--\r\n", {"Content-Type": "multipart/form-data; boundary=xyz"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_comes_raw_as_json_or_in_a_form(digits: Client, picture: bytes, kind: str) -> None:
    client, text = digits.of(kind), base64.b64encode(picture).decode()
    raw = client.post("/classify", picture, {"Content-Type": "image/png"})
    assert client.post("/classify", {"image": text}).body == raw.body
    assert client.post("/classify", {"image": f"data:image/png;base64,{text}"}).body == raw.body
    assert client.post("/classify", *multipart(picture)).body == raw.body


def test_goserves_two_forms_and_flat_data_mean_the_same(digits: Client) -> None:
    path = "/v1/models/digits/infer"
    answers = [
        digits.post(path, body).json["outputs"]
        for body in (
            {"tensors": {"input": NESTED}},
            {"tensors": {"input": FLAT}},
            {"inputs": NESTED},
            {"inputs": [FLAT]},
        )
    ]
    assert all(answer == answers[0] for answer in answers)
    protocol = digits.post("/v2/models/digits/infer", v2_body()).json["outputs"][0]["data"]
    assert answers[0]["logits"][0] == protocol


def test_the_answer_is_compressed_where_the_client_takes_it(digits: Client) -> None:
    import gzip

    body = {"inputs": [{"name": "input", "datatype": "FP32", "shape": [8, 3, 224, 224], "data": FLAT * 8}]}
    plain = digits.post("/v2/models/digits/infer", body)
    assert len(plain.body) > 1024
    compressed = digits.post(
        "/v2/models/digits/infer",
        gzip.compress(json.dumps(body).encode(), 1),
        {"Accept-Encoding": "gzip", "Content-Encoding": "gzip"},
    )
    assert compressed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(compressed.body) == plain.body
