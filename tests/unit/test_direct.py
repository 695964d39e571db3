"""Direct invokes: which request an event stands for, and what its answer becomes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from function.errors import PredictError
from function.events import direct
from function.messages import Response

LIMIT = 100


@pytest.mark.parametrize(
    ("event", "path"),
    [
        ({"image": "aGVsbG8="}, "/classify"),
        ({"instances": [[1]]}, "/v1/models/some:predict"),
        ({"tensors": {"x": [1]}}, "/v1/models/some/infer"),
        ({"inputs": [[1, 2]]}, "/v1/models/some/infer"),
        ({"inputs": [1]}, "/v1/models/some/infer"),
        ({"inputs": [{"name": "x"}], "id": "é"}, "/v2/models/some/infer"),
    ],
)
def test_an_event_stands_for_a_post_of_itself(event: dict[str, Any], path: str) -> None:
    request = direct.to_request(event, "some")
    assert (request.method, request.path, request.headers, request.query) == ("POST", path, {}, {})
    assert json.loads(request.body) == event


@pytest.mark.parametrize("event", [None, 1, "text", [], [{"image": ""}], {}, {"inputs": []}, {"inputs": {}}, {"a": 1}])
def test_anything_else_is_answered_with_what_was_expected(event: object) -> None:
    with pytest.raises(PredictError) as caught:
        direct.to_request(event, "some")
    for word in ("function URL", "API Gateway", "ALB", '{"image"}', '{"tensors"}', '{"inputs"}'):
        assert word in caught.value.message


def test_an_event_that_is_nested_too_deep_is_refused() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(PredictError, match="nested too deep; send arrays"):
        direct.to_request({"tensors": deep}, "some")


def limited(body: bytes, content_type: str = "application/json") -> Response:
    return direct.limited(Response(200, {"Content-Type": content_type}, body), LIMIT)


def test_an_answer_may_have_as_many_bytes_as_lambda_lets_out() -> None:
    fits = b"x" * LIMIT
    assert limited(fits).body == fits
    answer = limited(fits + b" ")
    assert answer.status == 413
    assert f"has {LIMIT + 1} bytes, Lambda lets {LIMIT} out" in json.loads(answer.body)["error"]


def test_an_answer_with_binary_data_is_no_json() -> None:
    answer = limited(b"{}\0\0\0\0", "application/octet-stream")
    assert answer.status == 400
    assert "JSON only; leave binary_data_output out" in json.loads(answer.body)["error"]
