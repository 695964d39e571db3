"""The log line, the trace context and Server-Timing."""

from __future__ import annotations

import errno
import io
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from function.errors import STATUS_OF_CODE, PredictError
from function.exchange import Exchange, Trace
from function.messages import Request, Response, error_response
from function.observability.telemetry import finish, log_line, report, warn
from function.settings import Settings
from tests.contract.client import new_client

if TYPE_CHECKING:
    from pathlib import Path

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SERVER, LAMBDA = Settings({}), Settings({"AWS_LAMBDA_FUNCTION_NAME": "my-function"})


def line(response: Response, settings: Settings = SERVER, *, cold: bool = False, **fields: Any) -> dict[str, Any]:
    request = Request("POST", "/v2/models/digits/infer", {"secret": "query"}, {"secret": "header"}, b"secret body")
    exchange = Exchange(request, cold=cold)
    exchange.route, exchange.model, exchange.family = "/v2/models/{model}/infer", ("digits", "1"), "avx2"
    exchange.phases, exchange.response = {"init": 20.0, "decode": 1.0, "infer": 2.5}, response
    for name, value in fields.items():
        setattr(exchange, name, value)
    found: dict[str, Any] = json.loads(log_line(settings, exchange, response.status))
    return found


def test_a_line_has_what_was_measured_and_nothing_of_the_payload() -> None:
    found = line(Response(200, {}, b"secret answer"), bytes_in=11)
    expected = {
        "level": "INFO",
        "message": "request",
        "source": "http",
        "method": "POST",
        "route": "/v2/models/{model}/infer",
        "model": "digits",
        "version": "1",
        "artifact_family": "avx2",
        "status": 200,
        "bytes_in": 11,
        "bytes_out": 13,
        "cold": False,
        "init_type": "server",
        "decode_ms": 1.0,
        "infer_ms": 2.5,
    }
    assert expected.items() <= found.items()
    assert set(found) - set(expected) == {"timestamp", "request_id", "trace_id", "span_id", "duration_ms"}
    assert "secret" not in json.dumps(found)


def test_init_is_of_the_first_request_alone() -> None:
    assert line(Response(200, {}, b""), cold=True)["init_ms"] == 20
    assert "init_ms" not in line(Response(200, {}, b""))


@pytest.mark.parametrize(("code", "status"), STATUS_OF_CODE.items())
def test_an_error_has_its_code_and_a_defects_reason(code: str, status: int) -> None:
    found = line(error_response(PredictError(code, "the reason")))
    assert (found["status"], found["error_code"]) == (status, code)
    assert found["level"] == ("ERROR" if status >= 500 else "WARN")
    # A caller's mistake is told to the caller; it may hold what he sent.
    assert found.get("error") == ("the reason" if status >= 500 else None)


def test_on_lambda_the_line_carries_its_metrics() -> None:
    found = line(error_response(PredictError("NOT_FOUND", "x")), LAMBDA, cold=True)
    assert found["init_type"] == "on-demand"
    by_model, by_code = found["_aws"]["CloudWatchMetrics"]
    assert by_model["Dimensions"] == [["function_name", "model"]]
    names = ["duration_ms", "init_ms", "decode_ms", "infer_ms", "cold_starts"]
    assert [metric["Name"] for metric in by_model["Metrics"]] == names
    assert by_code["Dimensions"] == [["function_name", "error_code"]]
    assert (found["function_name"], found["cold_starts"], found["errors"]) == ("my-function", 1, 1)
    healthy = line(Response(200, {}, b""), LAMBDA, model=None)
    assert [each["Dimensions"] for each in healthy["_aws"]["CloudWatchMetrics"]] == [[["function_name"]]]
    assert "errors" not in healthy
    assert "_aws" not in line(Response(200, {}, b""))


def test_a_callers_trace_goes_on() -> None:
    trace = Trace(f"00-{TRACE}-{PARENT}-03")
    assert (trace.trace_id, trace.parent_id) == (TRACE, PARENT)
    assert trace.response_header == f"00-{TRACE}-{trace.span_id}-01"  # of the flags only "sampled" is known
    assert trace.span_id != Trace(f"00-{TRACE}-{PARENT}-01").span_id
    later = Trace(f"cc-{TRACE}-{PARENT}-00-later")  # a version to come, with a field more
    assert later.response_header == f"00-{TRACE}-{later.span_id}-00"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-01-more",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-0g",
    ],
)
def test_a_header_that_is_no_trace_context_begins_a_new_trace(header: str) -> None:
    trace = Trace(header)
    assert trace.trace_id not in (TRACE, "0" * 32)
    assert trace.response_header is None


def test_xrays_trace_is_the_trace_unless_the_caller_has_one() -> None:
    xray = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    assert Trace(None, xray).trace_id == "5759e988bd862e3fe1be46a994272793"
    assert Trace(None, xray).xray == "1-5759e988-bd862e3fe1be46a994272793"
    assert Trace(f"00-{TRACE}-{PARENT}-01", xray).trace_id == TRACE
    assert len(Trace(None, "Root=1-x").trace_id) == 32


def test_the_caller_is_told_its_trace_and_the_phases() -> None:
    exchange = Exchange(Request("GET", "/", {}, {}, b""))
    finish(exchange)
    assert exchange.response.headers == {}
    exchange = Exchange(Request("GET", "/", {}, {"traceparent": f"00-{TRACE}-{PARENT}-01"}, b""))
    exchange.phases = {"infer": 1.0}
    finish(exchange)
    assert exchange.response.headers["Server-Timing"] == "infer;dur=1.00"
    assert exchange.response.headers["traceresponse"].startswith(f"00-{TRACE}-{exchange.trace.span_id}-")


def test_a_callers_request_id_is_cut() -> None:
    request = Request("GET", "/", {}, {}, b"")
    assert Exchange(request, "http", "x" * 1000).request_id == "x" * 128
    assert len(Exchange(request, "http", "").request_id) == 32


def test_standard_output_that_takes_no_more_fails_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    closed, full = io.StringIO(), Full()
    closed.close()
    for out in (closed, full):
        monkeypatch.setattr(sys, "stdout", out)
        report(SERVER, Exchange(Request("GET", "/", {}, {}, b"")))


def test_each_event_is_one_line(digits_prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digits = new_client(digits_prepared)
    digits.get("/health")
    digits.post("/nothing", b"secret")
    digits.invoke({"image": "secret"})
    found = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    told = [(each["source"], each["route"], each["status"]) for each in found]
    assert told == [("http", "/health", 200), ("http", "", 404), ("direct", "/classify", 400)]
    assert "secret" not in json.dumps(found)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("s3://b/plain é 漢 key.png", "s3://b/plain é 漢 key.png"),
        ('a\n{"level": "INFO"}', 'a\\n{"level": "INFO"}'),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("a\x85b\u2028c\x00", "a\\x85b\\u2028c\\x00"),
        ("a\ud800", "a\\ud800"),
    ],
)
def test_a_warning_is_one_line_whatever_it_quotes(text: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    warn(text)
    assert capsys.readouterr().err == f"zeroserve: warning: {line}\n"


def test_a_closed_standard_error_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr("sys.stderr", closed)
    warn("nobody reads this")
