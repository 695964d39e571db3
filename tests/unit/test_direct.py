"""Direct invokes: which request an event stands for, and what its answer becomes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from function.events.direct import answer_direct
from function.messages import Request, Response

LIMIT = 100


class FakeApi:
    """Records the request and gives a prepared response."""

    class settings:  # noqa: N801
        model_name = "some"

    def __init__(self, response: Response) -> None:
        self.response, self.requests = response, list[Request]()

    def respond(self, request: Request) -> Response:
        self.requests.append(request)
        return self.response


def ask(event: object, body: bytes = b'{"answer":1}', content_type: str = "application/json") -> tuple[FakeApi, Any]:
    api = FakeApi(Response(200, {"Content-Type": content_type}, body))
    _, response = answer_direct(api, event, LIMIT)  # type: ignore[arg-type]
    return api, json.loads(response.body)


@pytest.mark.parametrize(
    ("event", "path"),
    [
        ({"image": "aGVsbG8="}, "/classify"),
        ({"tensors": {"x": [1]}}, "/v1/models/some/infer"),
        ({"inputs": [[1, 2]]}, "/v1/models/some/infer"),
        ({"inputs": [1]}, "/v1/models/some/infer"),
        ({"inputs": [{"name": "x"}], "id": "é"}, "/v2/models/some/infer"),
    ],
)
def test_an_event_stands_for_a_post_of_itself(event: dict[str, Any], path: str) -> None:
    api, answer = ask(event)
    (request,) = api.requests
    assert (request.method, request.path, request.headers, request.query) == ("POST", path, {}, {})
    assert json.loads(request.body) == event
    assert answer == {"answer": 1}


@pytest.mark.parametrize("event", [None, 1, "text", [], [{"image": ""}], {}, {"inputs": []}, {"inputs": {}}, {"a": 1}])
def test_anything_else_is_answered_with_what_was_expected(event: object) -> None:
    api, answer = ask(event)
    assert not api.requests
    assert list(answer) == ["error"]
    for word in ("function URL", "API Gateway", "ALB", '{"image"}', '{"tensors"}', '{"inputs"}'):
        assert word in answer["error"]


def test_an_answer_may_have_as_many_bytes_as_lambda_lets_out() -> None:
    fits = json.dumps("x" * (LIMIT - 2)).encode()
    assert len(fits) == LIMIT
    assert ask({"image": ""}, fits)[1] == "x" * (LIMIT - 2)
    _, answer = ask({"image": ""}, fits + b" ")
    assert list(answer) == ["error"]
    assert f"has {LIMIT + 1} bytes, Lambda lets {LIMIT} out" in answer["error"]


def test_an_answer_with_binary_data_is_no_json() -> None:
    _, answer = ask({"inputs": [{}]}, b"{}\0\0\0\0", "application/octet-stream")
    assert list(answer) == ["error"]
    assert "JSON only; leave binary_data_output out" in answer["error"]
