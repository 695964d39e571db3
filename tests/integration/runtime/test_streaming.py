"""Answers of a function URL that stream: by our own runtime client in chunks, by AWS's as one."""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from function.app import App
from function.exchange import Exchange
from function.messages import Request
from function.settings import Settings
from infra.emulator import AWSLAMBDARIC, BOOTSTRAP, Emulator
from infra.rie import ROOT
from tests import support
from tests.integration.runtime.api import CLOSE, NEXT, WAIT, RuntimeApi, answer, event
from tests.integration.runtime.conftest import Runtime

if TYPE_CHECKING:
    from collections.abc import Mapping

# The function, with a route whose answer's chunks do what the request says.
STREAMING = """
import json, os, time
from function import handler as entry
from function.errors import PredictError
from function.messages import Response
from function.routes import table

class Chunks:
    def __init__(self, steps, folder):
        self.steps, self.folder = iter(steps), folder

    def __iter__(self):
        return self

    def __next__(self):
        for name, value in self.steps:
            if name == "say":
                return value.encode()
            if name == "large":
                return bytes(value)
            if name == "wait":  # until the test writes into the pipe
                with open(os.path.join(self.folder, value)) as pipe:
                    pipe.read()
            elif name == "sleep":
                time.sleep(value)
            elif name == "raise":
                raise ValueError(value)
            elif name == "refuse":
                raise PredictError("UNAVAILABLE", value)
        raise StopIteration

    def close(self):
        with open(os.path.join(self.folder, "closed"), "a") as file:
            file.write("x")

def answer(inference, exchange, parameters):
    document = json.loads(exchange.request.body)
    response = Response(document.get("status", 200), {"Content-Type": "text/event-stream", "X-Own": "\\u00fc"}, b"")
    response.chunks = Chunks(document["steps"], os.getcwd())
    return response

table.ROUTES = (table.Route("POST", "/stream", answer), *table.ROUTES)
handler = entry.handler
"""
STREAM = {"INVOKE_MODE": "RESPONSE_STREAM"}
SEPARATOR = bytes(8)


@pytest.fixture
def ours(tmp_path: Path) -> Runtime:
    return at(tmp_path, BOOTSTRAP)


def at(folder: Path, client: tuple[str, ...]) -> Runtime:
    (folder / "streaming.py").write_text(STREAMING)
    return Runtime(client, folder)


def url_event(
    path: str, body: bytes, headers: Mapping[str, str] = {}, domain: str = "abcdefgh.lambda-url.us-west-2.on.aws"
) -> dict[str, Any]:
    return {
        "version": "2.0",
        "rawPath": path,
        "requestContext": {"domainName": domain, "http": {"method": "POST"}},
        "headers": dict(headers),
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }


def steps(*each: tuple[str, object], **fields: object) -> dict[str, Any]:
    return url_event("/stream", json.dumps({"steps": each, **fields}).encode())


def head_of(chunk: bytes) -> Any:
    """The head in the first chunk, which has nothing else."""
    head, separator, rest = chunk.partition(SEPARATOR)
    assert (separator, rest) == (SEPARATOR, b"")
    return json.loads(head)


def closed(runtime: Runtime, count: int = 1) -> bool:
    """Whether so many answers' chunks were closed, each once; waits for the last one."""
    path, end = runtime.folder / "closed", time.monotonic() + WAIT
    while not (path.exists() and path.stat().st_size >= count) and time.monotonic() < end:
        time.sleep(0.01)
    return path.read_text() == "x" * count


def lines(log: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.splitlines() if line.startswith('{"timestamp"')]


def test_each_chunk_is_there_before_the_next_one_exists(ours: Runtime, api: RuntimeApi) -> None:
    os.mkfifo(ours.folder / "second")
    api.events.put(event(steps(("say", "a\0b"), ("say", ""), ("wait", "second"), ("say", "c"), status=201)))
    with ours.running(api, "streaming.handler", **STREAM) as process:
        head, first = api.wait_for_chunks(2)
        assert (head_of(head)["statusCode"], first) == (201, b"a\0b")
        assert len(api.chunks) == 2
        (ours.folder / "second").write_text("go on")
        seen = api.response()
        api.wait_for(NEXT, 2)
        (line,) = lines(process.log())
    assert seen.chunks[1:] == (b"a\0b", b"c")
    assert seen.headers["lambda-runtime-function-response-mode"] == "streaming"
    assert seen.headers["content-type"] == "application/vnd.awslambda.http-integration-response"
    assert seen.headers["trailer"] == "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body"
    assert "content-length" not in seen.headers
    assert seen.trailers == {}
    headers = head_of(head)["headers"]
    assert (headers["Content-Type"], headers["X-Own"]) == ("text/event-stream", "ü")
    assert head_of(head)["cookies"] == []
    assert closed(ours)
    assert (line["status"], line["bytes_out"], line["route"]) == (201, 4, "/stream")


def test_ordinary_answers_stream_too_and_errors_keep_their_status(
    ours: Runtime, api: RuntimeApi, digits_prepared: Path
) -> None:
    api.events.put(event(url_event("/classify", b"no picture")))
    api.events.put(event(url_event("/classify", b"", domain="id.execute-api.us-east-1.amazonaws.com"), number=2))
    api.events.put(event({"instances": [1]}, number=3))
    with ours.running(api, "streaming.handler", MODEL_REPOSITORY=str(digits_prepared), **STREAM):
        streamed, buffered, direct = (api.response(number) for number in (1, 2, 3))
    assert head_of(streamed.chunks[0])["statusCode"] == 415
    assert head_of(streamed.chunks[0])["headers"]["Content-Type"] == "application/json"
    assert "picture" in json.loads(b"".join(streamed.chunks[1:]))["error"]
    assert (buffered.document()["statusCode"], buffered.chunks) == (400, ())
    assert (set(direct.document()), direct.chunks) == ({"error"}, ())


@pytest.mark.parametrize(
    ("step", "status", "message"),
    [(("refuse", "no model"), 503, "no model"), (("raise", "no luck"), 500, "failed unexpectedly")],
)
def test_an_error_before_the_first_chunk_is_an_ordinary_answer(
    ours: Runtime, api: RuntimeApi, step: tuple[str, str], status: int, message: str
) -> None:
    api.events.put(event(steps(("say", ""), step)))
    with ours.running(api, "streaming.handler", **STREAM):
        seen = api.response()
        assert closed(ours)
    assert head_of(seen.chunks[0])["statusCode"] == status
    assert message in json.loads(seen.chunks[1])["error"]
    assert seen.trailers == {}


@pytest.mark.parametrize(
    ("step", "kind", "status"),
    [(("refuse", "no modèl"), "PredictError", 503), (("raise", "no lück"), "ValueError", 500)],
)
def test_an_error_after_it_is_told_in_the_trailers(
    ours: Runtime, api: RuntimeApi, step: tuple[str, str], kind: str, status: int
) -> None:
    api.events.put(event(steps(("say", "a"), step)))
    api.events.put(event(steps(("say", "b")), number=2))
    with ours.running(api, "streaming.handler", **STREAM) as process:
        seen, after = api.response(), api.response(2)
        api.wait_for(NEXT, 3)
        log = process.log()
    assert (head_of(seen.chunks[0])["statusCode"], seen.chunks[1:]) == (200, (b"a",))
    assert seen.trailers["lambda-runtime-function-error-type"] == kind
    document = json.loads(base64.b64decode(seen.trailers["lambda-runtime-function-error-body"]))
    assert (document["errorType"], document["errorMessage"], document["requestId"]) == (kind, step[1], "request-1")
    assert f"[ERROR] {kind}: {step[1]}" in log
    assert [(line["status"], line["level"]) for line in lines(log)] == [(status, "ERROR"), (200, "INFO")]
    assert step[1] in lines(log)[0]["error"]
    assert after.chunks[1:] == (b"b",)
    assert closed(ours, 2)
    assert seen.connection == after.connection


@pytest.mark.parametrize("first", [True, False], ids=["before the first chunk", "after it"])
def test_a_stalled_answer_ends_before_lambdas_deadline(ours: Runtime, api: RuntimeApi, *, first: bool) -> None:
    deadline = {"Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + 3000)}
    api.events.put(event(steps(*([] if first else [("say", "a")]), ("sleep", 3600)), deadline))
    api.events.put(event(steps(("say", "b")), number=2))
    with ours.running(api, "streaming.handler", **STREAM):
        seen, after = api.response(), api.response(2)
        assert closed(ours, 2)
    if first:
        assert head_of(seen.chunks[0])["statusCode"] == 504
        assert "Lambda's time" in json.loads(seen.chunks[1])["error"]
    else:
        document = json.loads(base64.b64decode(seen.trailers["lambda-runtime-function-error-body"]))
        assert "Lambda's time" in document["errorMessage"]
    assert after.chunks[1:] == (b"b",)


def test_an_answer_that_never_pauses_ends_at_the_deadline_too(ours: Runtime, api: RuntimeApi) -> None:
    deadline = {"Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + 2000)}
    api.events.put(event(steps(*[("say", "a"), ("sleep", 0.05)] * 100_000), deadline))
    with ours.running(api, "streaming.handler", **STREAM):
        seen = api.response()
        assert closed(ours)
    assert set(seen.chunks[1:]) == {b"a"}
    assert seen.trailers["lambda-runtime-function-error-type"] == "PredictError"


def test_a_reader_that_stops_ends_the_answer_at_the_deadline(ours: Runtime, api: RuntimeApi) -> None:
    deadline = {"Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + 3000)}
    api.stop_after = 2
    api.events.put(event(steps(*[("large", 1 << 20)] * 150), deadline))
    with ours.running(api, "streaming.handler", **STREAM) as process:
        api.wait_for(NEXT, 2)
        api.stop_after = None
        api.events.put(event(steps(("say", "b")), number=2))
        assert api.response(2).chunks[1:] == (b"b",)
        api.wait_for(NEXT, 3)
        (line, _) = lines(process.log())
    assert (line["status"], line["error"]) == (503, "Lambda took no more of the answer")
    assert closed(ours, 2)


def test_a_connection_that_is_cut_ends_the_answer_and_the_next_event_is_served(ours: Runtime, api: RuntimeApi) -> None:
    api.cut_after = 3
    api.events.put(event(steps(*[("large", 1 << 20)] * 150)))
    with ours.running(api, "streaming.handler", **STREAM):
        api.wait_for(NEXT, 2)
        api.cut_after = None
        api.events.put(event(steps(("say", "b")), number=2))
        assert api.response(2).chunks[1:] == (b"b",)
        assert closed(ours, 2)


def test_a_connection_that_was_closed_before_the_answer_is_made_anew(ours: Runtime, api: RuntimeApi) -> None:
    os.mkfifo(ours.folder / "first")
    api.events.put([*event(steps(("wait", "first"), ("say", "a"))), CLOSE])
    with ours.running(api, "streaming.handler", **STREAM):
        (ours.folder / "first").write_text("")  # opened by the chunks, by when the event has come whole
        seen = api.response()
    assert seen.chunks[1:] == (b"a",)
    assert seen.connection == 2


def test_a_streamed_answer_that_is_refused_ends_the_process(ours: Runtime, api: RuntimeApi) -> None:
    api.events.put(event(steps(("say", "a"))))
    api.posts.put(answer("413 Too Large", b"{}"))
    with ours.running(api, "streaming.handler", **STREAM) as process:
        assert process.ended() == 1
        assert "413" in process.log()


def test_a_hundred_megabytes_pass_in_flat_memory(ours: Runtime, api: RuntimeApi) -> None:
    api.keeps_chunks = False
    api.events.put(event(steps(("large", 1 << 20), ("say", "a"))))
    with ours.running(api, "streaming.handler", LOAD_IN_INIT="0", **STREAM) as process:  # nothing else grows
        api.wait_for(NEXT, 2)
        proc = Path(f"/proc/{process.process.pid}")
        before = memory(proc, "VmRSS")
        (proc / "clear_refs").write_text("5")  # the peak begins anew
        api.events.put(event(steps(*[("large", 1 << 20)] * 100), number=2))
        assert len(api.response(2).chunks) == 101
        assert memory(proc, "VmHWM") - before < 5 * 1024
        api.wait_for(NEXT, 3)
        assert lines(process.log())[1]["bytes_out"] == 100 << 20


def memory(proc: Path, name: str) -> int:
    """A figure of /proc/PID/status, in KiB."""
    (line,) = [line for line in (proc / "status").read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1])


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A model whose answer has 8 MB, whatever comes."""
    import numpy as np
    from onnx import TensorProto, helper

    nodes = [helper.make_node("Expand", ["x", "size"], ["y"])]
    model = support.make_model(
        nodes,
        [("x", TensorProto.FLOAT, [1])],
        [("y", TensorProto.FLOAT, [2_000_000])],
        {"size": np.array([2_000_000], np.int64)},
    )
    folder = tmp_path / "repository"
    support.prepare_here(support.write_folder(folder / "large", model))
    return folder


@pytest.mark.parametrize("binary", [True, False])
def test_a_large_tensor_streams_and_is_the_same(
    ours: Runtime, api: RuntimeApi, repository: Path, *, binary: bool
) -> None:
    document = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [0.1]}]}
    document |= {"parameters": {"binary_data_output": binary}}  # type: ignore[dict-item]
    path, body = "/v2/models/large/infer", json.dumps(document).encode()
    settings = {"MODEL_REPOSITORY": str(repository), "MODEL_NAME": "large"}
    expected = App(Settings(settings)).respond(Exchange(Request("POST", path, {}, {}, body)))
    api.events.put(event(url_event(path, body)))
    with ours.running(api, "streaming.handler", **STREAM, **settings):
        seen = api.response()
    head = head_of(seen.chunks[0])
    assert head["statusCode"] == 200
    assert {name: head["headers"][name] for name in expected.headers} == expected.headers
    assert len(expected.body) > 7_000_000
    assert b"".join(seen.chunks[1:]) == expected.body
    # An API of its own: the first process may have asked the other one for an event that it would take in vain.
    with RuntimeApi() as buffering:
        buffering.events.put(event(url_event(path, body)))
        with ours.running(buffering, "streaming.handler", **settings):
            assert buffering.response().document()["statusCode"] == 413


def test_awss_client_gets_the_answer_buffered(tmp_path: Path, api: RuntimeApi) -> None:
    api.events.put(event(steps(("say", "a"), ("say", "ü"))))
    api.events.put(event(steps(("say", "a"), ("refuse", "no model")), number=2))
    api.events.put(event(steps(*[("large", 1 << 20)] * 7), number=3))
    runtime = at(tmp_path, AWSLAMBDARIC)
    with runtime.running(api, "streaming.handler", **STREAM):
        documents = [api.response(number).document() for number in (1, 2, 3)]
        assert closed(runtime, 3)
    assert [document["statusCode"] for document in documents] == [200, 503, 413]
    assert (documents[0]["body"], documents[0]["isBase64Encoded"]) == ("aü", False)


def test_the_emulator_hands_out_head_and_chunks(ours: Runtime) -> None:
    environ = {"PYTHONPATH": str(ROOT), **STREAM}
    with Emulator("streaming.handler", environ, ours.folder, client=ours.client) as emulator:
        whole = emulator.invoke(steps(("say", "a\0"), ("say", "b")))
        again = emulator.invoke(steps(("say", "c")))
    head, _, rest = whole.partition(SEPARATOR)
    assert (json.loads(head)["statusCode"], rest) == (200, b"a\0b")
    assert again.endswith(SEPARATOR + b"c")
