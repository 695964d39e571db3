"""The same request gives the same status, body and headers through a Lambda event and through ASGI."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from function.routes.table import ROUTES
from tests.contract.entries.repository import echo_name
from tests.contract.entries.servers import SERVER_PATHS
from tests.contract.entries.test_hostile_requests import CASES
from tests.contract.entries.valid import VALID
from tests.contract.entries.wire import LENGTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.contract.entries.wire import Wire

# What HTTP servers add, what is measured, and what numbers each process on its own.
OWN = {"date", "server", "server-timing", "connection", "content-length"}

BIG: dict[str, Any] = {
    "inputs": [{"name": "x", "datatype": "INT64", "shape": [2, 500], "data": list(range(1000))}],
}
SMALL: dict[str, Any] = {"inputs": [{"name": "x", "datatype": "INT64", "shape": [1, 1], "data": [7]}]}
INFER = f"/v2/models/{echo_name('INT64')}/infer"


CSV = "text/csv; charset=utf-8"
# Model or path, body, Content-Type: refusals for the most part; what is right is in VALID.
PREDICTIONS: tuple[tuple[str, bytes, str], ...] = (
    ("people", b'{"instances": [{"age": 1, "job": "baker", "visits": null}]}', ""),
    ("people", b'{"instances": [{"age": 1, "job": "king", "visits": 2}]}', ""),
    ("people", b'{"instances": [{"age": 1, "job": "baker", "visits": 2, "x": 1}]}', ""),
    ("people", b"age,job,visits\n1,baker,two\n", CSV),
    ("people", b"age,job\n1,baker\n", CSV),
    ("people", b"\xff\xfe", CSV),
    ("people", b'"', CSV),
    ("people", b'{"instances": []}', ""),
    ("people", b'{"instances": {}}', ""),
    ("mixed", b'{"instances": [{"a": [1, 2], "b": [1, 2]}]}', ""),
    ("mixed", b'{"instances": [[1, 2]]}', ""),
    ("colours", b'{"instances": [{"b64": "????"}]}', ""),
    ("phrases", b'{"instances": ["%s"]}' % (b"the quick fox " * 40), ""),
    ("phrases", b'{"instances": [1]}', ""),
    ("hooked", b'{"instances": [[[[[[1]]]]]], "more": 1}', ""),
    ("/v1/embeddings", b'{"model": "phrases", "input": []}', ""),
    ("/v1/embeddings", b'{"model": "colours", "input": "a"}', ""),
    ("/v1/embeddings", b'{"input": "a"}', ""),
    ("/v1/chat/completions", b'{"model": "phrases", "messages": []}', ""),
    ("/v1/chat/completions", b'{"model": "nobody", "messages": []}', ""),
    ("/v1/chat/completions", b'{"model": "phrases", "stream": "yes"}', ""),
    ("/v1/completions", b'{"prompt": "a"}', ""),
    ("/invocations", b"{}", ""),
)


class Sent(NamedTuple):
    name: str
    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = {}


def corpus() -> Iterator[Sent]:
    """Each route, refusals of each status, both codings, and the hostile requests."""
    for route in ROUTES:
        method, pattern = route.method, route.path
        path = pattern.replace("{model}", "mixed").replace("{version}", "1")
        if pattern not in SERVER_PATHS:
            yield Sent(f"{method} {pattern}", method, path)
            yield Sent(f"HEAD {pattern} of {method}", "HEAD", path)
        for other in ("PUT", "DELETE", "PATCH", "OPTIONS"):
            yield Sent(f"{other} {pattern} of {method}", other, path)
    for path in ("/nothing", "/v2/", "/v2/models/nobody", "/v2/models/mixed/versions/2", "/v2/models/a%2Fb", "/%00"):
        yield Sent(f"GET {path}", "GET", path)
    for name in ("%00", "..", "model.onnx", "x" * 300, "%C3%A9", "a%20b", "%2e%2e%2fetc", "a%0Ab"):
        yield Sent(f"a model called {name[:20]}", "GET", f"/v2/models/{name}")
    for ready in (b"", b"{}", b'{"ready": true}', b'{"ready": false}', b'{"ready": 1}', b"[]", b'{"more": 1}'):
        yield Sent(f"index {ready!r}", "POST", "/v2/repository/index", ready)
    for document in (BIG, SMALL):
        text = json.dumps(document).encode()
        for accepted in ("", "gzip", "deflate", "gzip;q=0.1, deflate", "identity", "*", "br", "gzip;q=0"):
            yield Sent(f"accepts {accepted!r}", "POST", INFER, text, {"Accept-Encoding": accepted})
        raw = zlib.compressobj(wbits=-15)
        for coding, body in (
            ("gzip", gzip.compress(text, mtime=0)),
            ("deflate", zlib.compress(text)),
            ("deflate", raw.compress(text) + raw.flush()),
            ("identity", text),
            ("GZIP", gzip.compress(text, mtime=0)),
            ("br", text),
            ("gzip", text),
            ("gzip", gzip.compress(text)[:-9]),
            ("gzip", gzip.compress(text, mtime=0) + b"more"),
            ("gzip, gzip", text),
        ):
            yield Sent(f"sent as {coding}", "POST", INFER, body, {"Content-Encoding": coding})
    yield from predictions()
    for case in CASES:
        yield Sent(case.name, "POST", f"/v2/models/{case.model}/infer", case.body, case.headers)


def predictions() -> Iterator[Sent]:
    """All that is valid, and PREDICTIONS."""
    for valid in VALID:
        yield Sent(f"valid at {valid.path}", "POST", valid.path, valid.body, valid.headers)
    for model, body, kind in PREDICTIONS:
        path = model if model[0] == "/" else f"/v1/models/{model}:predict"
        yield Sent(f"{path} of {body[:40]!r}", "POST", path, body, {"Content-Type": kind} if kind else {})


SENT = list(corpus())


@pytest.mark.parametrize("sent", SENT, ids=[sent.name for sent in SENT])
def test_both_entries_answer_alike(wires: dict[str, Wire], sent: Sent) -> None:
    first, second = (wire.request(sent.method, sent.path, sent.body, sent.headers) for wire in wires.values())
    assert first.status == second.status
    assert first.body == second.body
    assert {k: v for k, v in first.headers.items() if k not in OWN} == {
        k: v for k, v in second.headers.items() if k not in OWN
    }
    assert first.status < 500
    if sent.method != "HEAD" and first.status >= 400:
        assert first.error


def test_head_has_the_headers_of_get_and_no_body(wire: Wire) -> None:
    for path in ("/", "/health", "/v2", "/v2/models/mixed", "/v1/models", "/nothing", "/openapi.json"):
        head, get = wire.request("HEAD", path), wire.get(path)
        assert head.body == b""
        assert head.status == get.status
        for name in ("content-type", "content-length"):
            assert head.headers[name] == get.headers[name]


@pytest.mark.parametrize("coding", ["gzip", "br"])
def test_a_body_that_means_nothing_is_not_decoded(wire: Wire, coding: str) -> None:
    for body in (b"", b"{}"):
        assert wire.request("GET", "/health", body, {"content-encoding": coding}).status == 200
        assert wire.request("GET", "/v2/models/absent", body, {"content-encoding": coding}).status == 404


def test_a_405_names_the_methods(wire: Wire) -> None:
    assert wire.request("DELETE", "/v2").headers["allow"] == "GET, HEAD"
    assert wire.get(INFER).headers["allow"] == "POST"
    assert wire.request("PUT", "/v1/models").headers["allow"] == "GET, POST, HEAD"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compression_both_ways(wire: Wire, coding: str) -> None:
    undo: Callable[[bytes], bytes] = gzip.decompress if coding == "gzip" else zlib.decompress
    text = json.dumps(BIG).encode()
    plain = wire.post(INFER, text)
    assert "content-encoding" not in plain.headers
    body = gzip.compress(text) if coding == "gzip" else zlib.compress(text)
    answer = wire.post(INFER, body, {"Content-Encoding": coding, "Accept-Encoding": coding})
    assert answer.headers["content-encoding"] == coding
    assert answer.headers["vary"] == "Accept-Encoding"
    assert undo(answer.body) == plain.body
    assert len(answer.body) < len(plain.body)


def test_a_small_answer_and_one_that_is_no_inference_are_not_compressed(wire: Wire) -> None:
    assert "content-encoding" not in wire.post(INFER, SMALL, {"Accept-Encoding": "gzip"}).headers
    assert "content-encoding" not in wire.get("/openapi.json", {"Accept-Encoding": "gzip"}).headers


def test_a_body_that_inflates_beyond_the_limit_is_refused(wire: Wire) -> None:
    bomb = gzip.compress(bytes(70_000_000), 9)
    answer = wire.post(INFER, bomb, {"Content-Encoding": "gzip"})
    assert answer.status == 413
    assert "67108864" in answer.error


def test_the_header_length_of_a_compressed_body_is_that_of_the_json_inside(wire: Wire) -> None:
    tensor: dict[str, Any] = {"name": "x", "datatype": "INT64", "shape": [1, 2]}
    text = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": 16}}]}).encode()
    body = gzip.compress(text + bytes(range(16)))
    headers = {LENGTH: str(len(text)), "Content-Encoding": "gzip"}
    assert wire.post(INFER, body, headers).json["outputs"][0]["data"] == [
        int.from_bytes(bytes(range(8)), "little"),
        int.from_bytes(bytes(range(8, 16)), "little"),
    ]


def test_the_id_is_echoed_and_only_then(wire: Wire) -> None:
    for value in ("", "42", "naïve ☃ \U0001f600", "a" * 1000, 'quote " and \\'):
        assert wire.post(INFER, SMALL | {"id": value}).json["id"] == value
    assert "id" not in wire.post(INFER, SMALL).json
    assert wire.post(INFER, SMALL | {"id": 42}).status == 400


def test_a_repeated_header_is_no_header_length(wire: Wire) -> None:
    text = json.dumps(SMALL).encode()
    connection = wire._connection
    connection.putrequest("POST", INFER)
    for name, value in ((LENGTH, str(len(text))), (LENGTH, str(len(text))), ("Content-Length", str(len(text)))):
        connection.putheader(name, value)
    connection.endheaders(text)
    response = connection.getresponse()
    assert response.status == 400
    assert LENGTH in json.loads(response.read())["error"]


def test_the_index_tells_what_is_ready(wire: Wire) -> None:
    everything = wire.post("/v2/repository/index", b"").json
    assert {tuple(row) for row in everything} == {("name", "version", "state", "reason")}
    unready = [row for row in everything if row["state"] != "READY"]
    assert [(row["name"], row["state"]) for row in unready] == [
        ("damaged", "UNAVAILABLE"),
        ("unprepared", "UNAVAILABLE"),
    ]
    assert all("run: zeroserve prepare" in row["reason"] for row in unready)
    ready = wire.post("/v2/repository/index", {"ready": True}).json
    assert ready == [row for row in everything if row not in unready]
    assert all(row["version"] == "1" and row["reason"] == "" for row in ready)
    assert [row["name"] for row in wire.get("/v1/models").json["models"]] == [row["name"] for row in ready]


def test_a_model_that_is_not_ready_is_a_503_that_says_what_to_run(wire: Wire) -> None:
    for name in ("damaged", "unprepared"):
        for path in (f"/v2/models/{name}", f"/v2/models/{name}/ready", f"/v2/models/{name}/versions/1/ready"):
            answer = wire.get(path)
            assert answer.status == 503
            assert "run: zeroserve prepare" in answer.error
        assert wire.infer(name, {"inputs": []}).status == 503
