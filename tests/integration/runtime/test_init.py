"""INIT on Lambda: which client runs, what is loaded when, and what is told where it fails."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from infra.emulator import BOOTSTRAP, python_path
from infra.rie import ROOT
from tests.integration.runtime.api import CLOSE, INIT_ERROR, NEXT, PREFIX, WAIT, answer, event

if TYPE_CHECKING:
    from tests.integration.runtime.api import RuntimeApi
    from tests.integration.runtime.conftest import Process, Runtime

HANDLER = "function.handler.handler"
HEALTH, METADATA = "/health", "/v2/models/digits"


def http(path: str, body: bytes = b"", *, number: int = 1) -> Any:
    """A function URL's event as the runtime API hands it over."""
    method = "POST" if body else "GET"
    return event(
        {
            "version": "2.0",
            "rawPath": path,
            "requestContext": {"http": {"method": method}},
            "body": base64.b64encode(body).decode(),
            "isBase64Encoded": True,
        },
        number=number,
    )


def tensor(number: int, model: str = "digits") -> Any:
    document = {"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 3, 224, 224], "data": [0.5] * 150_528}]}
    return http(f"/v2/models/{model}/infer", json.dumps(document).encode(), number=number)


def has_ort(process: Process) -> bool:
    return "libonnxruntime" in Path(f"/proc/{process.process.pid}/maps").read_text()


@pytest.fixture
def repository(tmp_path: Path, digits_prepared: Path) -> Path:
    """A copy of the digits."""
    shutil.copytree(digits_prepared / "digits" / "prepared", tmp_path / "models" / "digits" / "prepared")
    return tmp_path / "models"


class HeldModel:
    """A model whose load stands still where it reads its artifact's record, until `let_go`."""

    def __init__(self, repository: Path) -> None:
        self._records = {path: path.read_bytes() for path in repository.rglob("artifact.json")}
        for path in self._records:
            path.unlink()
            os.mkfifo(path)

    def let_go(self) -> None:
        """Waits for the load to get there; AssertionError when it does not."""
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            for path, content in self._records.items():
                with suppress(OSError):  # nobody reads it
                    writing = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
                    os.write(writing, content)
                    os.close(writing)
                    return
            time.sleep(0.005)
        pytest.fail("the model was not loaded")


def test_nobody_waits_for_the_load_that_begins_in_init(runtime: Runtime, api: RuntimeApi, repository: Path) -> None:
    model = HeldModel(repository)
    api.events.put(http(HEALTH))
    api.events.put(http(METADATA, number=2))
    with runtime.running(api, HANDLER, MODEL_REPOSITORY=str(repository)):
        assert api.response(1).document()["statusCode"] == 200
        assert json.loads(api.response(2).document()["body"])["name"] == "digits"
        model.let_go()  # no inference has been asked for
        api.events.put(tensor(3))
        assert api.response(3).document()["statusCode"] == 200


def test_the_setting_keeps_the_load_for_the_first_request(runtime: Runtime, api: RuntimeApi, repository: Path) -> None:
    api.events.put(http(HEALTH))
    with runtime.running(api, HANDLER, MODEL_REPOSITORY=str(repository), LOAD_IN_INIT="0") as process:
        assert api.response(1).document()["statusCode"] == 200
        api.wait_for(NEXT, 2)
        assert not has_ort(process)
        api.events.put(tensor(2))
        assert api.response(2).document()["statusCode"] == 200
        assert has_ort(process)


@pytest.mark.parametrize(
    ("damage", "status", "reason"),
    [
        ("unknown", 404, "there is no model 'unknown'"),
        ("not prepared", 503, "is not prepared"),
        ("damaged", 503, "CRC"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_told_to_the_first_inference(
    runtime: Runtime, api: RuntimeApi, repository: Path, damage: str, status: int, reason: str
) -> None:
    name = "unknown" if damage == "unknown" else "digits"
    for record in repository.rglob("artifact.json" if damage == "damaged" else "model.json"):
        record.write_bytes(b"{}") if damage == "damaged" else None
        record.unlink() if damage == "not prepared" else None
    api.events.put(http(HEALTH))
    api.events.put(tensor(2, name))
    api.events.put(http(HEALTH, number=3))
    with runtime.running(api, HANDLER, MODEL_REPOSITORY=str(repository), MODEL_NAME=name):
        answers = [api.response(number).document() for number in (1, 2, 3)]
    assert [each["statusCode"] for each in answers] == [200, status, 200]
    assert reason in answers[1]["body"]
    assert not [seen for seen in api.seen if seen.path == INIT_ERROR]


def test_a_setting_that_cannot_be_read_is_told(runtime: Runtime, api: RuntimeApi) -> None:
    api.events.put(event({}))
    with runtime.running(api, HANDLER, MAX_BODY_BYTES="much") as process:
        error = (api.error(1) if runtime.early else api.wait_for(INIT_ERROR)).document()
        assert process.ended() == 1
    assert error["errorType"] == "PredictError"
    assert "MAX_BODY_BYTES must be a whole number, not 'much'" in error["errorMessage"]


@pytest.mark.parametrize(
    ("settings", "ours"),
    [
        ({}, True),
        ({"AWS_LAMBDA_INITIALIZATION_TYPE": "provisioned-concurrency"}, True),
        ({"RUNTIME_CLIENT": "zeroserve"}, True),
        ({"RUNTIME_CLIENT": "awslambdaric"}, False),
        ({"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}, False),
        ({"AWS_LAMBDA_INITIALIZATION_TYPE": "lambda-managed-instances"}, False),
        ({"AWS_LAMBDA_MAX_CONCURRENCY": "2"}, False),
    ],
    ids=str,
)
def test_who_gets_aws_own_client(tmp_path: Path, api: RuntimeApi, settings: dict[str, str], *, ours: bool) -> None:
    environ = {"PYTHONPATH": python_path(str(ROOT)), "AWS_LAMBDA_RUNTIME_API": api.address, **settings}
    (tmp_path / "toy.py").write_text("def handler(event, context): pass")
    for _ in range(2):
        api.events.put([CLOSE])
    command = [sys.executable, *BOOTSTRAP, "toy.handler", "/bin/echo", "AWS's client", "toy.handler"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=WAIT, check=False)
    if ours:
        assert "failed: the connection ended" in done.stderr
        assert api.seen[0].headers["user-agent"].startswith("zeroserve/")
    else:
        assert (done.returncode, done.stdout) == (0, "AWS's client toy.handler\n")
        assert api.seen == []


def test_without_a_command_aws_client_is_a_module(tmp_path: Path, api: RuntimeApi) -> None:
    (tmp_path / "toy.py").write_text("def handler(event, context): return 7")
    environ = {"PYTHONPATH": python_path(str(ROOT)), "AWS_LAMBDA_RUNTIME_API": api.address}
    environ["AWS_LAMBDA_INITIALIZATION_TYPE"] = "snap-start"
    api.events.put(answer("200 OK"))  # to `restore/next`, when the snapshot is restored
    api.events.put(event({}))
    with subprocess.Popen([sys.executable, *BOOTSTRAP, "toy.handler"], cwd=tmp_path, env=environ) as process:
        try:
            assert api.response().body == b"7"
        finally:
            process.kill()
    assert api.seen[0].path == f"{PREFIX}restore/next"
    assert api.seen[1].headers["user-agent"].startswith("aws-lambda-python/")
