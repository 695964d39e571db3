"""Lines of the log against docs/log.schema.json and the rules of CloudWatch's embedded metric format."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from infra import venvs
from infra.emulator import Emulator
from tests.contract.client import http_event, new_client
from tests.integration.aws.test_records import PNG, REQUEST, Context, s3_event, sqs_event

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMA = Path(__file__).parents[3] / "docs" / "log.schema.json"

# jsonschema's own environment; prints the problems of each line of standard input.
VALIDATE = """
import json, sys
from jsonschema import Draft202012Validator
with open(sys.argv[1]) as file:
    schema = json.load(file)
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)
print(json.dumps([[error.message for error in validator.iter_errors(json.loads(line))] for line in sys.stdin]))
"""


def problems(lines: list[str]) -> list[list[str]]:
    command = [str(venvs.ensure("ops")), "-c", VALIDATE, str(SCHEMA)]
    done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=True)
    found: list[list[str]] = json.loads(done.stdout)
    return found


def check_emf(line: dict[str, Any]) -> None:
    """What the specification asks beyond the form: every reference is a member of the line, of the right kind."""
    assert len(json.dumps(line)) < 256 * 1024
    for directive in line["_aws"]["CloudWatchMetrics"]:
        for metric in directive["Metrics"]:
            value = line[metric["Name"]]
            assert isinstance(value, (int, float))
            assert not isinstance(value, bool)
        for dimensions in directive["Dimensions"]:
            for name in dimensions:
                assert isinstance(line[name], str)
                assert 1 <= len(line[name]) <= 1024
    assert abs(line["_aws"]["Timestamp"] / 1000 - _seconds(line["timestamp"])) < 1


def _seconds(stamp: str) -> float:
    import datetime

    return datetime.datetime.fromisoformat(stamp).timestamp()


def produced(handler: Callable[[Any, Any], Any], bucket: str) -> None:
    """Events of all kinds, good and bad."""
    traced = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    for event in (
        http_event("function_url", "GET", "/health", b""),
        http_event("function_url", "POST", "/classify", PNG, headers=traced),
        http_event("rest_api", "POST", "/v2/models/digits/infer", b"{}"),
        http_event("alb", "DELETE", "/v2/models/nothing", b""),
        http_event("http_api", "GET", "/v2/models/nothing", b""),
        {"image": base64.b64encode(PNG).decode()},
        {"no": "request"},
        sqs_event(REQUEST, "bad"),
    ):
        handler(json.loads(json.dumps(event)), Context())
    with pytest.raises(Exception, match="404 NoSuchKey"):
        handler(s3_event(bucket, "gone.png"), Context())


@pytest.mark.parametrize("where", ["server", "lambda"])
def test_every_line_fits_the_schema(
    digits_prepared: Path,
    variables: dict[str, str],
    bucket: str,
    where: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1")
    name = {"AWS_LAMBDA_FUNCTION_NAME": "my-function"} if where == "lambda" else {}
    settings = variables | name | {"RESULT_URI": f"s3://{bucket}/", "RESULT_CACHE_BYTES": "1000"}
    produced(new_client(digits_prepared, **settings).handler, bucket)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert problems(lines) == [[]] * 10
    parsed = [json.loads(line) for line in lines]
    assert {each["xray_trace_id"] for each in parsed} == {"1-5759e988-bd862e3fe1be46a994272793"}
    assert [each["status"] for each in parsed] == [200, 200, 400, 405, 404, 200, 400, 200, 400, 503]
    for each in parsed:
        assert ("_aws" in each) == (where == "lambda")
        if "_aws" in each:
            check_emf(each)


def test_what_does_not_fit_is_found(digits_prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new_client(digits_prepared, AWS_LAMBDA_FUNCTION_NAME="f").get("/health")
    line = json.loads(capsys.readouterr().out)
    wrong = [
        line | {"body": "secret"},
        line | {"status": "200"},
        {name: value for name, value in line.items() if name != "trace_id"},
        line | {"_aws": line["_aws"] | {"CloudWatchMetrics": [{"Namespace": "x", "Metrics": []}]}},
        line | {"_aws": {"CloudWatchMetrics": []}},
    ]
    assert all(problems([json.dumps(each) for each in wrong]))


def test_through_the_emulator(bucket: str, variables: dict[str, str], digits_prepared: Path) -> None:
    """The lines reach the log whole, each on a line of its own, with Lambda's request id."""
    with Emulator(env=variables) as emulator:
        for path in ("/health", "/v2/models/digits"):
            emulator.invoke(json.dumps(http_event("function_url", "GET", path, b"")).encode())
        log = emulator.log_text()
    lines = [line for line in log.splitlines() if line.startswith("{")]
    assert problems(lines) == [[], []]
    parsed = [json.loads(line) for line in lines]
    assert [each["cold"] for each in parsed] == [True, False]
    for each in parsed:
        check_emf(each)
        assert f"START RequestId: {each['request_id']}" in log
