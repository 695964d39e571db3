"""What goes wrong: in the event, in the function, at the runtime API. The same under both clients, where both can."""

from __future__ import annotations

import json
import os
import signal
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from infra import processes
from tests.integration.runtime.api import CLOSE, INIT_ERROR, NEXT, RESET, answer, event, pieces

if TYPE_CHECKING:
    from tests.integration.runtime.api import RuntimeApi, Step
    from tests.integration.runtime.conftest import Runtime


@pytest.mark.parametrize(
    ("document", "headers", "error_type", "message"),
    [
        (b'{"a', {}, "Runtime.UnmarshalError", "Unable to unmarshal input: "),
        (b"", {}, "Runtime.UnmarshalError", "Unable to unmarshal input: "),
        (b"[" * 200_000, {}, "", ""),  # AWS's client says RecursionError
        ({"object": 1}, {}, "Runtime.MarshalError", "Unable to marshal response: "),
        ({}, {"Lambda-Runtime-Client-Context": '{"a'}, "Runtime.LambdaContextUnmarshalError", "Client Context JSON"),
        ({}, {"Lambda-Runtime-Cognito-Identity": "{"}, "Runtime.LambdaContextUnmarshalError", "Cognito Identity JSON"),
    ],
)
def test_an_event_that_fails_is_told_and_the_next_one_answered(
    runtime: Runtime, api: RuntimeApi, document: Any, headers: dict[str, str], error_type: str, message: str
) -> None:
    api.events.put(event(document, headers))
    api.events.put(event({"n": 2}, number=2))
    with runtime.running(api) as process:
        error = api.error(1).document()
        assert api.response(2).document()["echo"] == {"n": 2}
        log = process.log()
    assert error_type in error["errorType"]
    assert message in error["errorMessage"]
    assert (error["requestId"], error["stackTrace"]) == ("request-1", []) or not error_type
    assert f"[ERROR] {error['errorType']}: {error['errorMessage']}" in log
    cause = json.loads(api.error(1).headers["lambda-runtime-function-xray-error-cause"])["exceptions"][0]
    assert cause["message"] == error["errorMessage"]
    assert cause["type"] == "LambdaValidationError" or not error_type


@pytest.mark.parametrize(
    ("handler", "source", "error_type", "message"),
    [
        ("toy", "", "Runtime.MalformedHandlerName", "Bad handler 'toy'"),
        ("toy.absent", "", "Runtime.HandlerNotFound", "Handler 'absent' missing on module 'toy'"),
        (
            "absent.handler",
            "",
            "Runtime.ImportModuleError",
            "Unable to import module 'absent': No module named 'absent'",
        ),
        ("sys.handler", "", "Runtime.BuiltInModuleConflict", "Cannot use built-in module sys as a handler module"),
        ("broken.handler", "import absent", "Runtime.ImportModuleError", "Unable to import module 'broken'"),
        ("broken.handler", "def (", "Runtime.UserCodeSyntaxError", "Syntax error in module 'broken'"),
        ("broken.handler", "raise ValueError('no luck')", "ValueError", "no luck"),
        ("broken.handler", "1 / 0", "ZeroDivisionError", "division by zero"),
    ],
)
def test_a_function_that_cannot_be_imported(
    runtime: Runtime, api: RuntimeApi, handler: str, source: str, error_type: str, message: str
) -> None:
    (runtime.folder / "broken.py").write_text(source)
    api.events.put(event({}))
    with runtime.running(api, handler) as process:
        seen = api.error(1) if runtime.early else api.wait_for(INIT_ERROR)
        assert process.ended() == 1
        log = process.log()
    error = seen.document()
    assert (error["errorType"], error["requestId"]) == (error_type, "request-1" if runtime.early else "")
    assert error["errorMessage"].startswith(message)
    if not error_type.startswith("Runtime."):
        assert error["stackTrace"][-1].splitlines()[0] == f'  File "{runtime.folder}/broken.py", line 1, in <module>'
    assert seen.headers["lambda-runtime-function-error-type"] == error_type or not runtime.is_ours
    assert f"[ERROR] {error_type}: {message}" in log
    asked = [each for each in api.seen if each.path == NEXT]
    assert len(asked) == (1 if runtime.early else 0)


HEAD = b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 1\r\n"
TOO_LITTLE = event({"n": 1}, {"X-Filling": "x" * 300})
FATAL: dict[str, list[Step]] = {
    "error": answer("500 Internal Server Error", b'{"errorType": "x"}'),
    "forbidden": answer("403 Forbidden", b"{}"),
    "no request id": event({}, {"Lambda-Runtime-Aws-Request-Id": None}),
    "no HTTP": [b"SSH-2.0-OpenSSH_9.2\r\n\r\n", CLOSE],
    "nothing": [CLOSE],
    "reset": [RESET],
    "half a head": [*pieces(TOO_LITTLE, 100)[:2], CLOSE],
    "half a body": [b"".join(TOO_LITTLE)[:-3], CLOSE],  # type: ignore[arg-type]
    "half a body, reset": [b"".join(TOO_LITTLE)[:-3], 0.05, RESET],  # type: ignore[arg-type]
    "half a chunk": [b"".join(event({"n": 1}, chunks=[5]))[:-12], CLOSE],  # type: ignore[arg-type]
    "wrong chunk": [HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", CLOSE],
    "wrong length": [HEAD + b"Content-Length: x\r\n\r\n", CLOSE],
}


@pytest.mark.parametrize("fault", FATAL)
def test_a_runtime_api_that_fails_ends_the_process(runtime: Runtime, api: RuntimeApi, fault: str) -> None:
    if fault == "half a head" and not runtime.is_ours:
        pytest.skip("AWS's client takes it as an event without a body")
    for _ in range(3):  # a client may try again
        api.events.put(FATAL[fault])
    with runtime.running(api) as process:
        assert process.ended() == 1
    assert {seen.path for seen in api.seen} == {NEXT}


@pytest.mark.parametrize("status", ["400 Bad Request", "403 Forbidden", "413 Too Large", "500 Internal Server Error"])
@pytest.mark.parametrize("document", [{}, {"raise": "no luck"}], ids=["response", "error"])
def test_an_answer_that_is_refused_ends_the_process(
    runtime: Runtime, api: RuntimeApi, document: dict[str, str], status: str
) -> None:
    api.events.put(event(document))
    api.posts.put(answer(status, b'{"errorType": "x"}'))
    with runtime.running(api) as process:
        assert process.ended() == 1
        assert status.partition(" ")[0] in process.log()
    assert len(api.seen) == 2


def test_an_answer_that_is_refused_before_all_of_it_came_ends_the_process(runtime: Runtime, api: RuntimeApi) -> None:
    api.events.put(event({"length": 64 << 20}))
    api.hang_up_after = 1000
    with runtime.running(api) as process:
        assert process.ended() == 1


def test_a_connection_that_is_closed_between_events_is_made_anew(runtime: Runtime, api: RuntimeApi) -> None:
    if not runtime.is_ours:
        pytest.skip("AWS's client ends now and then, when it has not seen the close before it sends its answer")
    api.events.put(event({"n": 1}))
    api.posts.put([*answer(), CLOSE])
    api.events.put([*event({"n": 2}, number=2), CLOSE])
    api.events.put(event({"n": 3}, number=3))
    with runtime.running(api):
        assert [api.response(number).document()["echo"] for number in (1, 2, 3)] == [{"n": n} for n in (1, 2, 3)]
    assert [seen.connection for seen in api.seen if seen.path != NEXT] == [1, 3, 3]


def test_a_connection_that_says_close_is_not_used_again(runtime: Runtime, api: RuntimeApi) -> None:
    api.events.put(event({"n": 1}))
    api.posts.put([*answer("202 Accepted", b"{}", "Connection: close"), CLOSE])
    api.events.put(event({"n": 2}, number=2))
    with runtime.running(api):
        assert api.response(2).document()["echo"] == {"n": 2}
    assert [seen.connection for seen in api.seen][:4] == [1, 1, 2, 2]


def test_nobody_listens(runtime: Runtime, api: RuntimeApi) -> None:
    with runtime.running(api, AWS_LAMBDA_RUNTIME_API=f"127.0.0.1:{processes.free_port()}") as process:
        assert process.ended() == 1


def test_sigterm_ends_a_waiting_process_at_once(runtime: Runtime, api: RuntimeApi) -> None:
    api.events.put(event({}))
    with runtime.running(api) as process:
        api.wait_for(NEXT, 2)
        process.process.send_signal(signal.SIGTERM)
        assert process.ended() == -signal.SIGTERM


def test_the_handlers_own_exit_is_the_process_s(runtime: Runtime, api: RuntimeApi) -> None:
    api.events.put(event({"exit": 3}))
    with runtime.running(api) as process:
        assert process.ended() == 3
    assert {seen.path for seen in api.seen} == {NEXT}


def test_a_failure_is_logged_as_json_where_the_function_is_told_to(runtime: Runtime, api: RuntimeApi) -> None:
    api.events.put(event({"raise": "no luck"}))
    with runtime.running(api, AWS_LAMBDA_LOG_FORMAT="JSON") as process:
        error = api.error().document()
        record = json.loads(process.log()[len("called") :])
    assert record.pop("timestamp").endswith("Z")
    assert record == {"level": "ERROR", **error}


@pytest.mark.parametrize(("format_", "kind"), [("JSON", 0xA55A0016), ("Text", 0xA55A0017)])
def test_a_failure_is_framed_where_lambda_takes_frames(
    runtime: Runtime, api: RuntimeApi, format_: str, kind: int
) -> None:
    api.events.put(event({"raise": "no luck"}))
    reading, writing = os.pipe()
    with closing(os.fdopen(reading, "rb")) as frames, closing(os.fdopen(writing, "wb")) as sink:
        settings = {"AWS_LAMBDA_LOG_FORMAT": format_, "_LAMBDA_TELEMETRY_LOG_FD": str(writing)}
        with runtime.running(api, fds=(writing,), **settings) as process:
            api.error()
            assert process.log() == "called"
        sink.close()
        frame = frames.read()
    assert int.from_bytes(frame[:4], "big") == kind
    assert int.from_bytes(frame[4:8], "big") == len(frame) - 16
    message = frame[16:].decode()
    if format_ == "JSON":
        assert json.loads(message)["errorMessage"] == "no luck"
    else:
        assert message.startswith("[ERROR] ValueError: no luck\nTraceback (most recent call last):\n")
