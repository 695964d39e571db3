"""What a 4 MB request costs on top of its decoded body, in a process of its own: nothing for raw FP32 data."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.contract.entries.servers import ROOT

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 1 << 20  # FP32 elements: 4 MB
SLACK = 64 * 1024  # bytes of small objects
PAGES = 1024 * 1024  # bytes that allocators and ORT may touch for the first time

# Prints the peak of Python's memory and of the process's, each above what it was with the whole body there.
PROBE = """
import json, struct, sys, tracemalloc
from function.app import App
from function.exchange import Exchange
from function.messages import Request
from function.settings import Settings

form, count = sys.argv[2], int(sys.argv[3])
api = App(Settings({"MODEL_REPOSITORY": sys.argv[1], "MODEL_NAME": "largest"}))

def body(count):
    data = struct.pack("<f", 1.5) * count
    if form == "raw":
        return data, {"inference-header-content-length": "0"}
    tensor = {"name": "x", "datatype": "FP32", "shape": [count]}
    if form == "json":
        return json.dumps({"inputs": [tensor | {"data": [1.5] * count}]}).encode(), {}
    text = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": len(data)}}]}).encode()
    text += b" " * (-len(text) % 4)
    return text + data, {"inference-header-content-length": str(len(text))}

def memory(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name))

def ask(content, headers):
    response = api.respond(Exchange(Request("POST", "/v2/models/largest/infer", {}, headers, content)))
    assert response.status == 200, response.body

ask(*body(4))  # loads the model
content, headers = body(count)
with open("/proc/self/clear_refs", "w") as reset:
    reset.write("5")  # VmHWM is from now on (proc_pid_clear_refs.5)
before = memory("VmRSS")
ask(content, headers)
process = memory("VmHWM") - before
tracemalloc.start()
ask(content, headers)
print(json.dumps({"process": process, "python": tracemalloc.get_traced_memory()[1]}))
"""


def peaks(repository: Path, form: str) -> dict[str, int]:
    command = [sys.executable, "-c", PROBE, str(repository), form, str(COUNT)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("form", ["raw", "binary"])
def test_raw_data_goes_from_the_body_into_ort_without_a_copy(repository: Path, form: str) -> None:
    found = peaks(repository, form)
    assert found["python"] < SLACK
    assert found["process"] < PAGES


def test_json_numbers_go_from_the_body_into_the_tensor(repository: Path) -> None:
    """4 bytes each, and nothing beside them: a Python object would be 24 more."""
    found = peaks(repository, "json")
    assert found["python"] < 4 * COUNT + 2 * SLACK  # 64 KiB for other values than numbers
    assert found["process"] < 4 * COUNT + PAGES
