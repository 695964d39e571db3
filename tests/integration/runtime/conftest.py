"""Both runtime clients before a runtime API of the tests, with a handler that does what its event says."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from infra.emulator import AWSLAMBDARIC, BOOTSTRAP, python_path
from infra.rie import ROOT
from tests.integration.runtime.api import WAIT, RuntimeApi

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOY = """
import os, sys

def handler(event, context):
    print("called", end="")
    if not isinstance(event, dict):
        return {"came": repr(event)}
    if "raise" in event:
        return failing(event["raise"])
    if "exit" in event:
        sys.exit(event["exit"])
    if "bytes" in event:
        return event["bytes"].encode()
    if "object" in event:
        return object()
    if "length" in event:
        return "x" * event["length"]
    if "context" in event:
        client = context.client_context
        names = ("aws_request_id", "invoked_function_arn", "tenant_id", "function_name", "function_version",
                 "memory_limit_in_mb", "log_group_name", "log_stream_name")
        return {
            **{name: getattr(context, name) for name in names},
            "milliseconds": context.get_remaining_time_in_millis(),
            "identity": [context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id],
            "client": client and [client.custom, client.env, client.client and client.client.app_title],
            "w3c": context.w3c(),
            "xray": os.environ.get("_X_AMZN_TRACE_ID"),
        }
    return {"echo": event, "pid": os.getpid()}

def failing(message):
    raise ValueError(message)
"""


class Runtime:
    """One of the clients; `early`: it asks for an event before it imports the function."""

    def __init__(self, client: tuple[str, ...], folder: Path, *, early: bool = False) -> None:
        self.client, self.early, self.folder = client, early, folder
        (folder / "toy.py").write_text(TOY)

    @property
    def is_ours(self) -> bool:
        return self.client == BOOTSTRAP

    @contextmanager
    def running(self, api: RuntimeApi, handler: str = "toy.handler", **settings: Any) -> Iterator[Process]:
        """A process of it; `fds` are descriptors that it gets."""
        environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": python_path(str(ROOT)),
            "AWS_LAMBDA_RUNTIME_API": api.address,
        }
        if self.early:
            environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] = "1769"
        fds = settings.pop("fds", ())
        log = self.folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *self.client, handler],
                cwd=self.folder,
                env=environ | settings,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=fds,
            )
        try:
            yield Process(process, log)
        finally:
            process.kill()
            process.wait()


class Process:
    """A running client and what it has printed."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self._log = process, log

    def log(self) -> str:
        return self._log.read_bytes().decode()  # with each CR as it is

    def ended(self) -> int:
        """The exit status, once it has ended by itself."""
        return self.process.wait(WAIT)


@pytest.fixture
def api() -> Iterator[RuntimeApi]:
    with RuntimeApi() as api:
        yield api


@pytest.fixture(params=["awslambdaric", "zeroserve", "zeroserve-early"])
def runtime(request: pytest.FixtureRequest, tmp_path: Path) -> Runtime:
    client = AWSLAMBDARIC if request.param == "awslambdaric" else BOOTSTRAP
    return Runtime(client, tmp_path, early=request.param == "zeroserve-early")
