"""The prepared model beside onnxruntime: the same random inputs, in several sizes, through both."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from function.engine import golden
from function.engine.artifact import GRAPH, PORTABLE, optimise_level
from function.engine.session import Session
from function.native import cpu
from models.adding import sizes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import onnxruntime

    from function.tensor import Spec, Tensor
    from models.manifest import Manifest

    Case = tuple[Mapping[str, Tensor], Mapping[str, Any]]

SEEDS = range(1, 4)


def expectations(
    oracle: onnxruntime.InferenceSession, specs: Mapping[str, Spec], example: Mapping[str, dict[str, Any]]
) -> list[Case]:
    """Inputs, and what onnxruntime answers to them: made before the artifact is loaded, so that one model is in memory
    at a time."""
    cases: list[Case] = []
    for seed, shapes in _cases(specs, example):
        tensors = golden.inputs(specs, seed, shapes)
        with suppress(RuntimeError, TypeError):  # a batch that the model does not take; BF16
            cases.append((tensors, sizes.run(oracle, {name: sizes.to_numpy(t) for name, t in tensors.items()})))
    return cases


def compare(model: Manifest, cases: Sequence[Case]) -> float:
    """The largest difference, relative to the largest number of its output.

    AddError when the artifact answers in other shapes or texts, or further off than golden.TOLERANCE.
    """
    family = cpu.family(cpu.flags())
    folder = model.prepared / (family if family and (model.prepared / family).is_dir() else PORTABLE)
    session = Session(str(folder / GRAPH), optimise=optimise_level(folder.name), threads=1)
    worst = 0.0
    for tensors, expected in cases:
        found = session.run(tensors)
        for name, want in expected.items():
            worst = max(worst, _difference(name, np.asarray(want), sizes.to_numpy(found[name])))
    return worst


def _cases(
    specs: Mapping[str, Spec], example: Mapping[str, dict[str, Any]]
) -> Iterator[tuple[int, dict[str, dict[str, Any]]]]:
    """Seeds with the example's sizes, and the first with a larger batch where the first dimensions are open."""
    full = {
        name: example.get(name, {"shape": [max(size, 1) if size else 0 for size in spec.shape]})
        for name, spec in specs.items()
    }
    for seed in SEEDS:
        yield seed, full
    yield (
        SEEDS[0],
        {
            name: entry | {"shape": [3, *entry["shape"][1:]]} if specs[name].shape[:1] == (-1,) else entry
            for name, entry in full.items()
        },
    )


def _difference(name: str, want: Any, have: Any) -> float:
    from models.adding.words import AddError

    if want.shape != have.shape:
        raise AddError(f"the artifact's output {name!r} has the shape {have.shape}, onnxruntime's {want.shape}")
    if want.dtype.kind in "OUS":
        if want.astype(str).tolist() != have.astype(str).tolist():
            raise AddError(f"the artifact's output {name!r} has other texts than onnxruntime's")
        return 0.0
    if not want.size or np.array_equal(want, have, equal_nan=want.dtype.kind == "f"):
        return 0.0
    expected, found = ({name: array.astype(float).ravel().tolist()} for array in (want, have))
    if problem := golden.difference(expected, found):
        raise AddError(f"the artifact does not answer as onnxruntime does: {problem}")
    finite = np.isfinite(want) & np.isfinite(have)
    scale = float(np.abs(want[finite]).max(initial=0)) or 1.0
    return float(np.abs(want[finite].astype(float) - have[finite].astype(float)).max(initial=0)) / scale
