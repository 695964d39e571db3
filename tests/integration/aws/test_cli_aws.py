"""`zeroserve deploy` and `logs` against moto's AWS."""

from __future__ import annotations

import time
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from infra.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(autouse=True)
def environment(moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


def test_logs_are_printed_as_they_were_written(client: Callable[[str], Any]) -> None:
    logs = client("logs")
    place = {"logGroupName": "/aws/lambda/told", "logStreamName": "one"}
    logs.create_log_group(logGroupName=place["logGroupName"])
    logs.create_log_stream(**place)
    now = int(time.time() * 1000)
    events = [
        {"timestamp": now - 86_400_000 // 2, "message": "old"},
        {"timestamp": now, "message": '{"level": "INFO"}\n'},
    ]
    logs.put_log_events(logEvents=events, **place)
    result = CliRunner().invoke(app, ["logs", "--name", "told"])
    assert (result.exit_code, result.stdout) == (0, '{"level": "INFO"}\n')
    assert CliRunner().invoke(app, ["logs", "--name", "told", "--since", "1d"]).stdout.startswith("old\n")
    result = CliRunner().invoke(app, ["logs", "--name", "silent"])
    assert result.exit_code == 1
    assert "there is no log /aws/lambda/silent; the function never ran" in result.stderr


def test_deploy_prints_the_url_or_what_is_missing(tmp_path: Path) -> None:
    arguments = ["deploy", "--bucket", "of-the-command", "--name", "by-command", "--packages", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "function.zip is missing; run: zeroserve package digits" in result.stderr
    for name in ("function", "layer-x86_64"):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.writestr("function/handler.py", f"# {name}")
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("http")
    assert CliRunner().invoke(app, [*arguments, "--architecture", "sparc"]).exit_code == 2
