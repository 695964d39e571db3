"""Memory of the engine: nothing is copied, nothing leaks, and weights are shared between processes."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from onnx import helper

from function.engine.session import OPTIMISE_NONE, Session
from function.native import ort_capi
from function.native.ort_capi import OrtError
from function.tensor import Tensor
from tests import leaks, support
from tests.support import doubling, make_model, open_session, run_program

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("kind", leaks.KINDS)
def test_resident_memory_stays_flat(kind: str, tmp_path: Path, digits_prepared: Path) -> None:
    done = run_program("import runpy; runpy.run_module('tests.leaks', run_name='__main__')", kind, str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 5 << 20, leaks.KINDS[kind].__doc__


def test_a_large_input_is_not_copied(tmp_path: Path) -> None:
    """The most memory ever held grows by far less than the 128 MB that go in."""
    nodes = [helper.make_node("ReduceMax", ["x"], ["y"], keepdims=0)]
    path = support.save(make_model(nodes, [("x", 1, ["n"])], [("y", 1, [])]), tmp_path / "largest.onnx")
    program = (
        "import sys\n"
        "from function.engine.session import OPTIMISE_ALL, Session\n"
        "from function.tensor import Tensor\n"
        "from tests.support import memory\n"
        "session = Session(sys.argv[1], optimise=OPTIMISE_ALL, threads=1)\n"
        "session.run({'x': Tensor('FP32', (2,), bytes(8))})\n"
        "data = bytearray(1 << 27)\n"
        "data[:] = b'\\x01' * len(data)\n"
        "before = memory('VmHWM')\n"
        "session.run({'x': Tensor('FP32', (len(data) // 4,), data)})\n"
        "print(memory('VmHWM') - before)\n"
    )
    done = run_program(program, str(path))
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1 << 24


def test_memory_is_held_as_long_as_the_outputs_are(tmp_path: Path) -> None:
    """Sixteen answers of 4 MB held: 64 MB more. Let go: the next sixteen, again and again, need no more."""
    program = (
        "import sys\n"
        "from function.engine.session import OPTIMISE_ALL, Session\n"
        "from function.tensor import Tensor\n"
        "from tests.support import memory\n"
        "session = Session(sys.argv[1], optimise=OPTIMISE_ALL, threads=1)\n"
        "x = Tensor('FP32', (1 << 20,), bytes(1 << 22))\n"
        "session.run({'x': x})\n"
        "empty = memory('RssAnon')\n"
        "held = [session.run({'x': x}) for _ in range(16)]\n"
        "print(memory('RssAnon') - empty)\n"
        "for _ in range(4):\n"
        "    held.clear()\n"
        "    held += [session.run({'x': x}) for _ in range(16)]\n"
        "print(memory('RssAnon') - empty)\n"
    )
    done = run_program(program, str(support.save(doubling(), tmp_path / "double.onnx")))
    assert done.returncode == 0, done.stderr
    first, last = map(int, done.stdout.split())
    assert first >= 15 << 22
    assert last < 20 << 22


def test_every_object_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ORT makes and what it is given back, counted by kind, over good and failing loads and runs."""
    gc.collect()  # what earlier tests left is not of this one's making
    api = ort_capi.get_library()
    live: dict[int, str] = {}
    makers = {"CreateSession", "CreateSessionOptions", "CreateTensorAsOrtValue", "CreateTensorWithDataAsOrtValue"}
    makers |= {"GetTensorTypeAndShape", "SessionGetInputTypeInfo", "SessionGetOutputTypeInfo"}
    makers |= {"SessionGetInputName", "SessionGetOutputName"}
    releases = ("Session", "Value", "TypeInfo", "TensorTypeAndShapeInfo", "SessionOptions", "Status")
    create, run, get_error_code = api.create, api.Run, api.GetErrorCode

    def spy_create(name: str, *arguments: object) -> int:
        address = create(name, *arguments)
        if name in makers:
            live[address] = name
        return address

    def spy_run(*arguments: Any) -> None:
        run(*arguments)
        live.update((address, "output") for address in arguments[-1])

    def spy_status(status: int) -> int:
        live[status] = "status"
        return int(get_error_code(status))

    def spy_release(name: str) -> None:
        release = getattr(api, name)

        def call(*arguments: int) -> None:
            assert live.pop(arguments[-1], None), f"{name} of something that is not alive"
            release(*arguments)

        monkeypatch.setattr(api, name, call)

    gc.collect()  # what earlier tests left is not counted
    monkeypatch.setattr(api, "GetErrorCode", spy_status)
    monkeypatch.setattr(api, "create", spy_create)
    monkeypatch.setattr(api, "Run", spy_run)
    for name in ("AllocatorFree", *(f"Release{kind}" for kind in releases)):
        spy_release(name)
    session = open_session(doubling(), tmp_path)
    x = Tensor("FP32", (1,), bytes(4))
    outputs = [session.run({"x": x}) for _ in range(3)]
    for wrong in ({"x": Tensor("INT8", (1,), b"1")}, {"z": x}, {"x": x, "z": Tensor("BYTES", (1,), [b""])}):
        with pytest.raises(OrtError):
            session.run(wrong)
    with pytest.raises(BufferError):
        session.run({"x": Tensor("FP32", (1,), memoryview(bytes(8))[::2])})
    with pytest.raises(OrtError):
        Session(str(tmp_path / "absent.onnx"), optimise=OPTIMISE_NONE, threads=1)
    assert sorted(live.values()) == ["CreateSession", "output", "output", "output"]
    del outputs, session
    gc.collect()
    assert not live


def weight_mappings(pid: int | str, path: Path) -> list[dict[str, int]]:
    """The mappings of a file in a process: Rss, Pss and so on in kB, of /proc/<pid>/smaps."""
    found: list[dict[str, int]] = []
    inside = False
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as lines:  # noqa: PTH123
        for line in lines:
            field, _, rest = line.partition(":")
            if "-" in field and " " in field:
                inside = line.rstrip().endswith(str(path))
                if inside:
                    found.append({})
            elif inside and rest.strip().endswith("kB"):
                found[-1][field] = int(rest.split()[0])
    return found


def test_weights_are_mapped_and_shared_between_processes(digits_prepared: Path) -> None:
    folder = digits_prepared / "digits" / "prepared" / "portable"
    weights = folder / "weights.bin"
    program = (
        "import sys\n"
        "from function.engine import golden\n"
        "from function.engine.session import OPTIMISE_NONE, Session\n"
        "session = Session(sys.argv[1], optimise=OPTIMISE_NONE, threads=1)\n"
        "session.run(golden.inputs(session.inputs))\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(folder / "model.onnx")]
    environ = {**os.environ, "PYTHONPATH": str(support.ROOT)}
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ)
        for _ in range(2)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            mappings = weight_mappings(process.pid, weights)
            assert mappings, "weights.bin is not mapped"
            rss, pss = sum(row["Rss"] for row in mappings), sum(row["Pss"] for row in mappings)
            assert rss * 1024 > weights.stat().st_size / 2
            assert pss <= 0.6 * rss  # half of each page is the other process's
            assert sum(row["Anonymous"] for row in mappings) == 0  # no page was written to
    finally:
        for process in processes:
            process.communicate(timeout=20)
