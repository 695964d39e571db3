"""What a handler and Lambda may rely on, the same under AWS's runtime client and under ours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.runtime.api import NEXT, RuntimeApi, event, event_headers, pieces

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.integration.runtime.conftest import Runtime

LARGE = 6 * 1024 * 1024


def called(api: RuntimeApi, runtime: Runtime, document: Any, headers: Mapping[str, str] = {}, **settings: str) -> Any:
    """The handler's answer to one event."""
    api.events.put(event(document, headers))
    with runtime.running(api, **settings):
        return api.response().document()


def test_events_are_answered_in_turn_on_one_connection(runtime: Runtime, api: RuntimeApi) -> None:
    for number in (1, 2, 3):
        api.events.put(event({"n": number, "text": "grüße \N{GRINNING FACE}"}, number=number))
    with runtime.running(api):
        answers = [api.response(number) for number in (1, 2, 3)]
        api.wait_for(NEXT, 4)
    documents = [seen.document() for seen in answers]
    assert [each["echo"] for each in documents] == [{"n": n, "text": "grüße \N{GRINNING FACE}"} for n in (1, 2, 3)]
    assert len({each["pid"] for each in documents}) == 1
    assert {seen.connection for seen in api.seen} == {1}
    assert {seen.headers["content-type"] for seen in answers} == {"application/json"}
    assert len({seen.headers["user-agent"] for seen in api.seen}) == 1
    assert [seen.path for seen in api.seen if seen.path != NEXT] == [seen.path for seen in answers]


def test_context_says_all_that_lambda_said(runtime: Runtime, api: RuntimeApi) -> None:
    headers = {
        "Lambda-Runtime-Client-Context": json.dumps(
            {"custom": {"a": 1}, "env": {"b": 2}, "client": {"app_title": "t"}, "w3c": {"traceparent": "p", "x": "y"}}
        ),
        "Lambda-Runtime-Cognito-Identity": '{"cognitoIdentityId": "i", "cognitoIdentityPoolId": "p"}',
        "Lambda-Runtime-Aws-Tenant-Id": "tenant",
    }
    settings = {
        "AWS_LAMBDA_FUNCTION_NAME": "name",
        "AWS_LAMBDA_FUNCTION_VERSION": "7",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769" if runtime.early else "512",
        "AWS_LAMBDA_LOG_GROUP_NAME": "group",
        "AWS_LAMBDA_LOG_STREAM_NAME": "stream",
    }
    found = called(api, runtime, {"context": 1}, headers, **settings)
    assert 0 < found.pop("milliseconds") <= 30_000
    assert found == {
        "aws_request_id": "request-1",
        "invoked_function_arn": event_headers()["Lambda-Runtime-Invoked-Function-Arn"],
        "tenant_id": "tenant",
        "function_name": "name",
        "function_version": "7",
        "memory_limit_in_mb": settings["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"],
        "log_group_name": "group",
        "log_stream_name": "stream",
        "identity": ["i", "p"],
        "client": [{"a": 1}, {"b": 2}, "t"],
        "w3c": {"traceparent": "p"},
        "xray": event_headers()["Lambda-Runtime-Trace-Id"],
    }


def test_context_of_an_event_that_says_nothing(runtime: Runtime, api: RuntimeApi) -> None:
    # The first has a trace, which must not be left to the second.
    api.events.put(event({"context": 1}))
    bare = dict.fromkeys(set(event_headers()) - {"Content-Type", "Lambda-Runtime-Aws-Request-Id"})
    api.events.put(event({"context": 1}, bare, number=2))
    with runtime.running(api):
        first, second = api.response(1).document(), api.response(2).document()
    assert first["xray"] == event_headers()["Lambda-Runtime-Trace-Id"]
    assert (second["aws_request_id"], second["milliseconds"], second["w3c"]) == ("request-2", 0, {})
    assert second["identity"] == [None, None]
    nothing = ("xray", "client", "tenant_id", "function_name", "function_version", "log_group_name", "log_stream_name")
    assert [second[name] for name in nothing] == [None] * len(nothing)


@pytest.mark.parametrize("chunks", [None, [LARGE], [1, 2, 3, 5000, 100_000], [4093] * 20], ids=str)
def test_a_huge_event_arrives_whole(runtime: Runtime, api: RuntimeApi, chunks: list[int] | None) -> None:
    text = "".join(map(str, range(LARGE // 7)))[: LARGE - 100]
    api.events.put(event({"text": text}, chunks=chunks, extension=";name=value"))
    api.events.put(event({"n": 2}, number=2))
    with runtime.running(api):
        assert api.response(1).document()["echo"] == {"text": text}
        assert api.response(2).document()["echo"] == {"n": 2}


@pytest.mark.parametrize("chunks", [None, [3, 30]], ids=str)
def test_a_slow_event_arrives_whole(runtime: Runtime, api: RuntimeApi, chunks: list[int] | None) -> None:
    api.events.put(pieces(event({"text": "abcdefgh" * 8}, chunks=chunks), 7, 0.001))
    with runtime.running(api):
        assert api.response(1).document()["echo"] == {"text": "abcdefgh" * 8}


def test_an_empty_chunked_event_and_trailers_are_read_to_their_end(runtime: Runtime, api: RuntimeApi) -> None:
    (whole,) = event({"n": 1}, chunks=[4])
    assert isinstance(whole, bytes)
    api.events.put([whole.removesuffix(b"\r\n") + b"X-Trailer: 1\r\n\r\n"])
    api.events.put(event({"n": 2}, number=2))
    with runtime.running(api):
        assert api.response(1).document()["echo"] == {"n": 1}
        assert api.response(2).document()["echo"] == {"n": 2}


def test_a_huge_answer_leaves_whole(runtime: Runtime, api: RuntimeApi) -> None:
    assert called(api, runtime, {"length": LARGE}) == "x" * LARGE


def test_an_interim_answer_is_passed_over(runtime: Runtime, api: RuntimeApi) -> None:
    api.events.put([b"HTTP/1.1 100 Continue\r\n\r\n", *event({"n": 1})])
    with runtime.running(api):
        assert api.response().document()["echo"] == {"n": 1}


def test_bytes_and_texts_pass_as_they_are(runtime: Runtime, api: RuntimeApi) -> None:
    api.events.put(event({"bytes": '{"a":1}'}))
    api.events.put(event(b"\x00\xff", {"Content-Type": "application/octet-stream"}, number=2))
    with runtime.running(api):
        first = api.response(1)
        assert (first.body, first.headers["content-type"]) == (b'{"a":1}', "application/unknown")
        assert api.response(2).document() == {"came": r"b'\x00\xff'"}


def test_what_the_handler_prints_is_out_before_its_answer(runtime: Runtime, api: RuntimeApi) -> None:
    api.events.put(event({}))
    with runtime.running(api) as process:
        api.response()
        assert process.log() == "called"


def test_the_invocations_own_id_goes_back(runtime: Runtime, api: RuntimeApi) -> None:
    api.events.put(event({}, {"Lambda-Runtime-Invocation-Id": "abc"}))
    api.events.put(event({"raise": "no luck"}, {"Lambda-Runtime-Invocation-Id": "def"}, number=2))
    with runtime.running(api):
        assert api.response(1).headers["lambda-runtime-invocation-id"] == "abc"
        assert api.error(2).headers["lambda-runtime-invocation-id"] == "def"


def test_an_exception_is_told_with_its_trace_and_the_next_event_is_answered(runtime: Runtime, api: RuntimeApi) -> None:
    # AWS's client dies of half a surrogate pair, which it cannot print.
    message = "no luck \ud83d" if runtime.is_ours else "no luck"
    api.events.put(event({"raise": message}))
    api.events.put(event({"n": 2}, number=2))
    with runtime.running(api) as process:
        seen = api.error(1)
        assert api.response(2).document()["echo"] == {"n": 2}
        log = process.log()
    error = seen.document()
    assert (error["errorMessage"], error["errorType"], error["requestId"]) == (message, "ValueError", "request-1")
    path = str(runtime.folder / "toy.py")
    lines = [f'  File "{path}", line {at}, in {name}' for at, name in ((9, "handler"), (33, "failing"))]
    assert [entry.splitlines()[0] for entry in error["stackTrace"]] == lines
    assert error["stackTrace"][1].splitlines()[1] == "    raise ValueError(message)"
    assert seen.headers["content-type"] == "application/json"
    cause = json.loads(seen.headers["lambda-runtime-function-xray-error-cause"])
    stack = [{"label": "handler", "path": path, "line": 9}, {"label": "failing", "path": path, "line": 33}]
    assert cause == {
        "working_directory": str(runtime.folder),
        "exceptions": [{"message": message, "type": "ValueError", "stack": stack}],
        "paths": [path],
    }
    if runtime.is_ours:  # AWS's client leaves it out, its documentation does not
        assert seen.headers["lambda-runtime-function-error-type"] == "ValueError"
    assert "[ERROR] ValueError: no luck" in log
    assert "\u00a0\u00a0\u00a0\u00a0raise ValueError(message)" in log
    assert "\n" not in log[log.index("[ERROR]") : log.index("raise ValueError(message)")]
