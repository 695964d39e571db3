"""What is true of a process as a whole: the library it loads, once; the first request; memory that stays flat."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import onnxruntime
import pytest

from function.engine.artifact import PORTABLE
from function.engine.registry import Models
from function.native import cpu
from function.settings import Settings
from tests import support
from tests.support import run_program

if TYPE_CHECKING:
    from pathlib import Path

FAMILY = cpu.family(cpu.flags()) or PORTABLE


def test_asking_for_each_request_costs_no_memory() -> None:
    """ctypes keeps each type that a pointer type was made of: 5.6 KB a call, when a class was defined in it."""
    program = (
        "import gc\n"
        "from function.native import cpu\n"
        "from tests.support import memory\n"
        "for _ in range(100): cpu.flags()\n"
        "gc.collect(); before = memory('VmRSS')\n"
        "for _ in range(20_000): cpu.flags()\n"
        "gc.collect(); print(memory('VmRSS') - before)\n"
    )
    done = run_program(program)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1 << 20


def test_another_abi_is_refused_with_both_versions() -> None:
    program = (
        "from function.native import ort_capi\n"
        "ort_capi.API_VERSION = 9999\n"
        "try:\n"
        "    ort_capi.get_library()\n"
        "except ort_capi.OrtError as error:\n"
        "    print(error)\n"
    )
    done = run_program(program)
    assert done.returncode == 0, done.stderr
    assert f"is ONNX Runtime {onnxruntime.__version__}: API 9999" in done.stdout


@pytest.mark.parametrize("content", [None, b"", b"\x7fELF cut short"])
def test_a_library_that_is_missing_or_damaged_is_said_to_be(content: bytes | None, tmp_path: Path) -> None:
    capi = tmp_path / "onnxruntime" / "capi"
    capi.mkdir(parents=True)
    if content is not None:
        (capi / "libonnxruntime.so.1.31.1").write_bytes(content)
    program = (
        "import sys\n"
        "sys.path[:] = [path for path in sys.path if 'site-packages' not in path] + sys.argv[1:]\n"
        "from function.engine.session import Session\n"
        "from function.native.ort_capi import OrtError\n"
        "try:\n"
        "    Session('model.onnx', optimise=0, threads=1)\n"
        "except OrtError as error:\n"
        "    print(error)\n"
    )
    done = run_program(program, str(tmp_path))
    assert "pip install --force-reinstall -r requirements/function.txt" in done.stdout
    assert ("was not found" if content is None else str(capi)) in done.stdout
    assert not done.stderr


def test_telemetry_is_off_and_numpy_is_not_imported() -> None:
    program = (
        "import os, sys\n"
        "from function.native import ort_capi\n"
        "ort_capi.get_library()\n"
        "print(os.environ['ORT_DISABLE_TELEMETRY'], {'numpy', 'onnxruntime'} & set(sys.modules))\n"
    )
    assert run_program(program).stdout == "1 set()\n"


def test_the_library_is_loaded_once_by_many_threads() -> None:
    program = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from function.native import ort_capi\n"
        "made = []\n"
        "class Counted(ort_capi.Library):\n"
        "    def __init__(self, path):\n"
        "        made.append(path)\n"
        "        super().__init__(path)\n"
        "ort_capi.Library = Counted\n"
        "with ThreadPoolExecutor(8) as pool:\n"
        "    print(len(set(pool.map(lambda _: id(ort_capi.get_library()), range(64)))), len(made))\n"
    )
    assert run_program(program).stdout == "1 1\n"


# The first request of a process, by eight threads at once; the load is counted where sessions are made.
PROGRAM = """
import json, sys, threading
from concurrent.futures import ThreadPoolExecutor
from function.engine import session
from function.engine.registry import Models
from function.settings import Settings
from function.tensor import Tensor

real, loads = session.Session, []
class Counted(real):
    def __init__(self, path, **options):
        loads.append(path)
        super().__init__(path, **options)
session.Session = Counted

repository, data, side = sys.argv[1:]
x = Tensor("FP32", (1, 3, int(side), int(side)), open(data, "rb").read())
models, barrier = Models(Settings({"MODEL_REPOSITORY": repository})), threading.Barrier(8)

def request(_):
    barrier.wait()
    return bytes(models.get("tiny").run({"input": x})["logits"].data).hex()

print("ready", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(8) as pool:
    answers = list(pool.map(request, range(8)))
print(json.dumps({"loads": loads, "answers": sorted(set(answers))}))
"""


def test_sixteen_processes_of_eight_threads_load_once_each(originals: Path, tmp_path: Path) -> None:
    data = support.picture().data
    assert isinstance(data, bytes)
    (tmp_path / "input").write_bytes(data)
    command = [sys.executable, "-c", PROGRAM, str(originals), str(tmp_path / "input"), str(support.SIDE)]
    environ = {**os.environ, "PYTHONPATH": str(support.ROOT)}
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen(command, text=True, env=environ, stdin=pipe, stdout=pipe, stderr=pipe) for _ in range(16)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:  # all are waiting: now all at once
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        results = [process.communicate(timeout=60) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    models = Models(Settings({"MODEL_REPOSITORY": str(originals)}))
    expected = bytes(support.logits(models.get("tiny").run({"input": support.picture()}))).hex()
    for stdout, stderr in results:
        assert not stderr
        assert json.loads(stdout) == {
            "loads": [str(originals / "tiny" / "prepared" / FAMILY / "model.onnx")],
            "answers": [expected],
        }
