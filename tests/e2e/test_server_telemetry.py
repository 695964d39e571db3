"""What the plain HTTP server tells: Prometheus's metrics, its log, and the caller's trace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from infra import processes
from tests.e2e.http_client import ask, post_json

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
FLAT = [0.25] * (3 * 224 * 224)


@pytest.fixture(scope="module")
def server(digits_prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The server's address and its log."""
    log = tmp_path_factory.mktemp("server") / "log"
    port = processes.free_port()
    command = [sys.executable, "-m", "function.server", "--port", str(port)]
    environ = os.environ | {"MODEL_REPOSITORY": str(digits_prepared), "MODEL_NAME": "digits"}
    with log.open("wb") as out, subprocess.Popen(command, cwd=ROOT, env=environ, stdout=out) as process:
        try:
            end = time.monotonic() + 60
            while port not in processes.listening_ports(process.pid):
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.02)
            yield f"http://127.0.0.1:{port}", log
        finally:
            process.terminate()


def samples(url: str) -> dict[str, float]:
    answer = ask(url, "GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = [line for line in answer.body.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_metrics_count_what_was_asked(server: tuple[str, Path]) -> None:
    url, _ = server
    path = "/v1/models/digits/infer"
    assert post_json(url, path, {"tensors": {"input": FLAT}}).status == 200
    assert post_json(url, path, {"tensors": {}}).status == 400
    assert post_json(url, "/v1/models/nothing/infer", {}).status == 404
    assert ask(url, "GET", "/a/path/of/mine").status == 404
    found = samples(url)
    route = "/v1/models/{model}/infer"
    for status in (200, 400, 404):
        assert found[f'goserve_http_requests_total{{method="POST",status="{status}",path="{route}"}}'] == 1
    assert found['goserve_http_requests_total{method="GET",status="404",path="unmatched"}'] == 1
    assert found[f'goserve_http_request_duration_seconds_count{{method="POST",path="{route}"}}'] == 3
    assert found['goserve_inference_duration_seconds_count{model_name="digits"}'] == 1
    assert 0 < found['goserve_inference_duration_seconds_sum{model_name="digits"}'] < 60
    assert found['goserve_inference_errors_total{model_name="digits",error_type="INVALID_ARGUMENT"}'] == 1
    assert found['goserve_inference_errors_total{model_name="unknown",error_type="NOT_FOUND"}'] == 1
    assert samples(url)['goserve_http_requests_total{method="GET",status="200",path="/metrics"}'] >= 1


def test_the_callers_trace_and_id_are_in_the_answer_and_the_log(server: tuple[str, Path]) -> None:
    url, log = server
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-Id": "an id of mine"}
    answer = ask(url, "GET", "/v2/models/digits", headers=headers)
    version, trace, span, flags = answer.headers["traceresponse"].split("-")
    assert (version, trace, flags) == ("00", TRACE, "01")
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    (found,) = (line for line in lines if line["request_id"] == "an id of mine")
    assert (found["trace_id"], found["parent_id"], found["span_id"]) == (TRACE, PARENT, span)
    assert (found["route"], found["status"], found["init_type"]) == ("/v2/models/{model}", 200, "server")
    assert "_aws" not in found
    assert "traceresponse" not in ask(url, "GET", "/health").headers


def test_on_lambda_there_are_no_metrics_to_scrape(digits_prepared: Path) -> None:
    from tests.contract.client import new_client

    answer = new_client(digits_prepared).get("/metrics")
    assert answer.status == 404
    assert "on Lambda the metrics are in its log" in answer.error
