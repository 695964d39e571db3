"""How much resident memory many runs cost; a process of its own, where no memory freed before hides a leak.

    python -m tests.leaks KIND FOLDER

Prints the bytes gained between the first calls and the last; FOLDER takes the model that is made.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from function.engine.session import OPTIMISE_ALL, OPTIMISE_NONE, Session
from function.native.ort_capi import OrtError
from function.tensor import Tensor
from models import manifest
from tests import support

if TYPE_CHECKING:
    from collections.abc import Callable

    Step = Callable[[int], None]


def growth(step: Step, first: int, total: int) -> int:
    """Resident bytes gained between the first `first` and all `total` calls of `step`."""
    for index in range(first):
        step(index)
    gc.collect()
    before = support.memory("VmRSS")
    for index in range(first, total):
        step(index)
    gc.collect()
    return support.memory("VmRSS") - before


def refused(call: Callable[[], object]) -> None:
    """Calls what must fail."""
    try:
        call()
    except OrtError:
        return
    raise SystemExit("ORT took what it should have refused")


def runs(folder: Path) -> int:
    """20,000 runs of a small net on batches of 1 to 3, every tenth of which fails."""
    session = support.open_session(support.classifier(), folder)
    wrong = Tensor("FP64", (1,), bytes(8))
    pictures = [support.picture(seed, count=1 + seed % 3) for seed in range(6)]

    def step(index: int) -> None:
        if index % 10 == 0:
            refused(lambda: session.run({"input": wrong}))
        elif session.run({"input": pictures[index % 6]})["logits"].shape != (1 + index % 3, support.CLASSES):
            raise SystemExit("the answer has another shape")

    return growth(step, 500, 20_000)


def failing(folder: Path) -> int:
    """10,000 runs that fail: rank, datatype, name, number of bytes and of strings; 12 kB go in each time."""
    session = support.open_session(support.mixed(), folder)
    good = {
        "flag": Tensor("BOOL", (), b"\0"),
        "number": Tensor("FP32", (1000, 3), bytes(12_000)),
        "text": Tensor("BYTES", (10,), [b"x" * 1000] * 10),
        "count": Tensor("UINT64", (2,), bytes(16)),
    }
    wrong = [
        good | {"number": Tensor("FP32", (3000,), bytes(12_000))},
        good | {"number": Tensor("FP64", (1000, 3), bytes(24_000))},
        good | {"other": good["number"]},
        good | {"number": Tensor("FP32", (1000, 3), bytes(8))},
        good | {"text": Tensor("BYTES", (3,), [b"a"])},
    ]
    return growth(lambda index: refused(lambda: session.run(wrong[index % len(wrong)])), 500, 10_500)


def strings(folder: Path) -> int:
    """2,000 runs with 100 kB of strings in and out."""
    session = support.open_session(support.identity(8, ["n"]), folder)
    x = Tensor("BYTES", (100,), [b"x" * 1000] * 100)

    def step(_: int) -> None:
        session.run({"x": x})

    return growth(step, 200, 2200)


def loads(folder: Path) -> int:
    """1,000 loads, every other one of a file that is cut short."""
    good = support.save(support.mixed(), folder / "good.onnx")
    bad = folder / "bad.onnx"
    bad.write_bytes(good.read_bytes()[:-20])

    def step(index: int) -> None:
        if index % 2:
            Session(str(good), optimise=OPTIMISE_NONE, threads=1)
        else:
            refused(lambda: Session(str(bad), optimise=OPTIMISE_NONE, threads=1))

    return growth(step, 100, 1100)


def digits(_: Path) -> int:
    """200 runs of the embedded model, which is prepared."""
    portable = manifest.HERE / "digits" / "prepared" / "portable" / "model.onnx"
    session = Session(str(portable), optimise=OPTIMISE_ALL, threads=1)
    values = np.random.default_rng(3).normal(0, 1, (1, 3, 224, 224)).astype(np.float32)
    x = Tensor("FP32", values.shape, values.tobytes())

    def step(_: int) -> None:
        session.run({"input": x})

    return growth(step, 20, 220)


KINDS = {function.__name__: function for function in (runs, failing, strings, loads, digits)}

if __name__ == "__main__":
    print(KINDS[sys.argv[1]](Path(sys.argv[2])))
