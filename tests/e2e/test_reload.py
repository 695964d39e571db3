"""`zeroserve serve --reload`: a model whose folder changes is served anew by the same server."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import TensorProto, helper

from models import manifest
from tests import support
from tests.e2e.http_client import ask

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE = 120.0  # seconds


def times(factor: float) -> bytes:
    model = support.make_model(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        [("x", TensorProto.FLOAT, ["n"])],
        [("y", TensorProto.FLOAT, ["n"])],
        {"factor": np.array(factor, np.float32)},
    )
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def write(folder: Path, content: bytes) -> None:
    """The file and its sha256, each replaced at once, as an editor does."""
    text = (folder / "model.toml").read_text()
    text = re.sub(r"bytes = \d+", f"bytes = {len(content)}", text)
    text = re.sub(r'sha256 = "\w+"', f'sha256 = "{hashlib.sha256(content).hexdigest()}"', text)
    for name, written in (("model.onnx", content), ("model.toml", text.encode())):
        beside = folder.parent / f"{name}.new"
        beside.write_bytes(written)
        beside.replace(folder / name)


def answer(url: str) -> float:
    body = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}'
    response = ask(url, "POST", "/v2/models/changing/infer", body, {"content-type": "application/json"})
    return float(response.json["outputs"][0]["data"][0])


def wait_for(url: str, expected: float) -> None:
    deadline = time.monotonic() + PATIENCE
    while (found := answer(url)) != expected:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "repository" / "changing"
    support.write_folder(made, support.doubling())
    write(made, times(2))
    return made


@pytest.fixture
def server(folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "zeroserve", "serve", str(folder), "--port", "0", "--reload"]
    environ = {**os.environ, "PATH": ""}
    with subprocess.Popen(
        command, cwd=support.ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if found := re.search(r"listening on (http://\S+)", line):
                    yield found[1], process
                    break
            else:
                raise AssertionError("the server did not start")
        finally:
            process.terminate()


def test_what_changes_is_served_and_what_is_broken_is_not(
    folder: Path, server: tuple[str, subprocess.Popen[str]]
) -> None:
    url, process = server
    assert answer(url) == 2
    write(folder, times(3))
    wait_for(url, 3)
    write(folder, b"broken")
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("error: "):
            assert "what was served before is served still" in line
            break
    assert answer(url) == 3
    write(folder, times(5))
    wait_for(url, 5)
    # Prepared by somebody else, in another process.
    text = (folder / "model.toml").read_text().replace('version = "1"', 'version = "2"')
    (folder / "model.toml").write_text(text)
    support.prepare_natively(manifest.read(folder))
    deadline = time.monotonic() + PATIENCE
    while ask(url, "GET", "/v2/models/changing").json["versions"] != ["2"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
