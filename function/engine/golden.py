"""The golden input: a fixed pseudo-random request whose answer was recorded when the artifact was built."""

from __future__ import annotations

import math
import random
import struct

from function.tensor import DATATYPES, Tensor, element_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from function.tensor import Spec

SEED = 20260101
# A few last digits of FP32 at 1: scores near 0 that come out of a sigmoid differ by that, which may be up to a tenth of
# the largest of them. Of a wrong layout, all digits differ.
ROUNDING = 5e-7
MOST_ELEMENTS = 4096  # of one output that are kept: artifact.json is read at every load
TOLERANCE = 1e-3  # relative to the largest expected value; CPU families differ by 1e-6, wrong layouts by 1


def inputs(
    specs: Mapping[str, Spec], seed: int = SEED, example: Mapping[str, dict[str, Any]] = {}
) -> dict[str, Tensor]:
    """One tensor for each spec: floats in [-1, 1), integers and BOOL 0 or 1, BYTES b"0"; dynamic dimensions are 1.

    `example` is [example] of model.toml: input -> its `shape`, and a `value` (None: as above) for all its elements.
    """
    generator = random.Random(seed)  # noqa: S311  (repeatable, not secret)
    tensors = {}
    for name, spec in specs.items():
        given = example.get(name, {"shape": [max(size, 1) if size else 0 for size in spec.shape]})
        shape, value = tuple(given["shape"]), given.get("value")
        count, code = element_count(shape), DATATYPES[spec.datatype].code
        if spec.datatype == "BYTES":
            tensors[name] = Tensor("BYTES", shape, [b"0" if value is None else value.encode()] * count)
        elif code and value is not None:
            tensors[name] = Tensor(spec.datatype, shape, struct.pack(f"<{count}{code}", *[value] * count))
        elif code in ("f", "d", "e"):
            values = [generator.random() * 2 - 1 for _ in range(count)]
            tensors[name] = Tensor(spec.datatype, shape, struct.pack(f"<{count}{code}", *values))
        elif code:
            bits = [generator.getrandbits(1) for _ in range(count)]
            tensors[name] = Tensor(spec.datatype, shape, struct.pack(f"<{count}{code}", *bits))
        else:  # BF16: the upper half of a float32
            halves = [struct.pack("<f", generator.random())[2:] for _ in range(count)]
            tensors[name] = Tensor(spec.datatype, shape, b"".join(halves))
    return tensors


def answer(outputs: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """The numeric outputs as lists of floats, of a large one every n-th; BYTES and BF16 are left out."""
    found = {}
    for name, tensor in outputs.items():
        if DATATYPES[tensor.datatype].code:
            numbers = tensor.numbers()
            found[name] = [float(value) for value in numbers[:: -(-len(numbers) // MOST_ELEMENTS) or 1]]
    return found


def difference(expected: Mapping[str, list[float]], got: Mapping[str, list[float]]) -> str | None:
    """None when every output agrees within TOLERANCE, or ROUNDING where that is more.

    Else a sentence that says which one does not, and by how much.
    """
    for name, values in expected.items():
        found = got.get(name, [])
        if len(found) != len(values):
            return f"output {name!r} has {len(found)} elements, {len(values)} are expected"
        scale = max((abs(value) for value in values if math.isfinite(value)), default=0.0) or 1.0
        allowed = max(TOLERANCE * scale, min(ROUNDING, scale / 10))
        for index, (want, have) in enumerate(zip(values, found, strict=True)):
            same = want == have or (math.isnan(want) and math.isnan(have))
            if not same and not abs(want - have) <= allowed:  # also when one of them is NaN
                return f"output {name!r} has {have:.6g} at {index}, {want:.6g} is expected within {allowed:.2g}"
    return None
