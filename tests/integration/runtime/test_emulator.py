"""Both runtime clients in AWS's emulator: the same answers, failures and limits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from infra.emulator import EVENT_LIMIT, Emulator
from infra.rie import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.runtime.conftest import Runtime


def emulator(runtime: Runtime, handler: str = "toy.handler", **env: str) -> Emulator:
    memory = "1769" if runtime.early else "1768"
    environ = {"PYTHONPATH": str(ROOT), "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": memory, **env}
    return Emulator(handler, environ, runtime.folder, client=runtime.client)


def call(function: Emulator, **event: Any) -> Any:
    return json.loads(function.invoke(event))


def test_events_failures_and_the_next_event(runtime: Runtime) -> None:
    with emulator(runtime) as function:
        first = call(function, text="grüße")
        raised = call(function, **{"raise": "no luck"})
        again = call(function, n=2)
        assert json.loads(function.invoke(b'{"bytes": "[1,2]"}')) == [1, 2]
    assert (first["echo"], again["echo"], first["pid"]) == ({"text": "grüße"}, {"n": 2}, again["pid"])
    assert (raised["errorType"], raised["errorMessage"]) == ("ValueError", "no luck")
    assert "in failing" in raised["stackTrace"][-1]


def test_context(runtime: Runtime) -> None:
    with emulator(runtime, AWS_LAMBDA_FUNCTION_TIMEOUT="25") as function:
        found = call(function, context=True)
    assert 20_000 < found["milliseconds"] <= 25_000
    assert found["invoked_function_arn"].startswith("arn:aws:lambda:")
    assert (found["function_name"], found["function_version"]) == ("zeroserve", "$LATEST")
    assert found["log_stream_name"] == "$LATEST"


def test_the_longest_event_and_answer(runtime: Runtime) -> None:
    text = "x" * (EVENT_LIMIT - len('{"text":""}'))
    event = json.dumps({"text": text}, separators=(",", ":")).encode()
    assert len(event) == EVENT_LIMIT
    with emulator(runtime) as function:
        # An answer has 40 bytes more than its event: too long by these.
        assert json.loads(function.invoke(event))["errorType"] == "Function.ResponseSizeTooLarge"
        assert len(call(function, length=EVENT_LIMIT - 2)) == EVENT_LIMIT - 2
        assert call(function, length=EVENT_LIMIT - 1)["errorType"] == "Function.ResponseSizeTooLarge"
        assert call(function, n=1)["echo"] == {"n": 1}


def test_an_end_of_the_process_is_told_and_a_new_one_answers(runtime: Runtime) -> None:
    with emulator(runtime) as function:
        before = call(function)["pid"]
        assert call(function, exit=3)["errorType"] == "Runtime.ExitError"
        assert call(function)["pid"] != before


@pytest.mark.parametrize(
    ("handler", "source", "error_type"),
    [
        ("absent.handler", "", "Runtime.ImportModuleError"),
        ("toy.absent", "", "Runtime.HandlerNotFound"),
        ("broken.handler", "raise ValueError('no luck')", "ValueError"),
    ],
)
def test_a_function_that_cannot_be_imported(runtime: Runtime, handler: str, source: str, error_type: str) -> None:
    (runtime.folder / "broken.py").write_text(source)
    with emulator(runtime, handler) as function:
        assert call(function)["errorType"] == error_type


def test_the_function_itself(runtime: Runtime, digits_prepared: Path) -> None:
    event = {
        "version": "2.0",
        "rawPath": "/v2/models/digits/infer",
        "requestContext": {"http": {"method": "POST"}},
        "headers": {"content-type": "application/json"},
    }
    # A body that is taken from the event's text, and one in which that is left to `json`.
    tensor = {"name": "input", "datatype": "FP32", "shape": [1, 3, 224, 224], "data": [0.25] * (3 * 224 * 224)}
    bodies = [json.dumps({"inputs": [tensor], "id": name}, ensure_ascii=False) for name in ("a\\b\n/", "grüße")]
    with emulator(runtime, "function.handler.handler", MODEL_REPOSITORY=str(digits_prepared)) as function:
        answers = [json.loads(function.invoke(event | {"body": body})) for body in bodies]
        assert json.loads(function.invoke({"inputs": [tensor]}))["outputs"][0]["shape"] == [1, 10]
    assert [answer["statusCode"] for answer in answers] == [200, 200]
    documents = [json.loads(answer["body"]) for answer in answers]
    assert [document["id"] for document in documents] == ["a\\b\n/", "grüße"]
    assert documents[0]["outputs"] == documents[1]["outputs"]
