"""Sizes for the open dimensions of a model's inputs, found by trying: many models take some sizes only."""

from __future__ import annotations

import itertools
import signal
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from function.engine import golden
from function.tensor import DATATYPES, Spec
from models.adding.words import AddError, explained

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import onnxruntime
    from numpy.typing import NDArray

    from function.tensor import Tensor

CANDIDATES = (2, 8, 16, 32, 64, 128, 224, 256, 320, 384, 512, 640, 1024)
_PICTURES = (*CANDIDATES[3:], *CANDIDATES[2::-1])  # smaller ones are all border to a convolution
PATIENCE = 40.0  # seconds for all tries together
_MOST_FREE = 4  # dimensions that are tried independently of each other
_NUMPY: dict[str, Any] = {"FP16": np.float16, "FP32": np.float32, "FP64": np.float64, "BOOL": np.bool_, "BYTES": object}


def open_quietly(path: Path, called: Path | None = None) -> onnxruntime.InferenceSession:
    """onnxruntime's own session of the raw file, which says nothing of the tries that fail.

    AddError names `called`, of which `path` may be a copy.
    """
    onnxruntime = _onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base
        raise AddError(f"{called or path} cannot be served: {explained(str(error))}") from error


def _onnxruntime() -> Any:
    """The package. Ctrl-C waits until it is there: in the middle of its setting up, the process crashes of it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        import onnxruntime
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    return onnxruntime


# onnxruntime's names of element types, where they are not the protocol's in lower case
_TYPES = {"float": "FP32", "double": "FP64", "float16": "FP16", "bfloat16": "BF16", "string": "BYTES"}


def specs_of(session: onnxruntime.InferenceSession) -> tuple[dict[str, Spec], dict[str, Spec]]:
    """The inputs and outputs as the protocol calls them; AddError for what no request can carry."""
    sides = []
    for side, values in (("input", session.get_inputs()), ("output", session.get_outputs())):
        specs = {}
        for each in values:
            kind = each.type.removeprefix("tensor(").removesuffix(")")
            if not each.type.startswith("tensor("):
                raise AddError(explained(f"{side} {each.name!r} is not a tensor"))
            datatype = _TYPES.get(kind, kind.upper())
            if datatype not in DATATYPES:
                raise AddError(
                    f"the {side} {each.name!r} is of the ONNX type {kind}, which the Open Inference Protocol does not "
                    "have; cast it to FP32 in the graph"
                )
            shape = tuple(size if isinstance(size, int) and size >= 0 else -1 for size in each.shape)
            specs[each.name] = Spec(each.name, datatype, shape)
        sides.append(specs)
    return sides[0], sides[1]


def to_numpy(tensor: Tensor) -> NDArray[Any]:
    """A tensor as onnxruntime takes it: strings as objects. TypeError for BF16, which numpy does not have."""
    if isinstance(tensor.data, list):
        texts = [text.decode("utf-8", "replace") for text in tensor.data]
        return np.array(texts, object).reshape(tensor.shape)
    return np.frombuffer(bytes(tensor.data), numpy_type(tensor.datatype)).reshape(tensor.shape)


def numpy_type(datatype: str) -> np.dtype[Any]:
    """numpy's type for a protocol datatype; TypeError for BF16, which numpy does not have."""
    return np.dtype(_NUMPY.get(datatype) or datatype.lower())


def run(session: onnxruntime.InferenceSession, inputs: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """The outputs by name; RuntimeError with ONNX Runtime's message."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.log_severity_level = 4
    names = [output.name for output in session.get_outputs()]
    try:
        return dict(zip(names, session.run(names, dict(inputs), options), strict=True))
    except Exception as error:
        raise RuntimeError(str(error)) from error


def find(
    session: onnxruntime.InferenceSession,
    specs: Mapping[str, Spec],
    given: Mapping[str, dict[str, Any]],
    values: Mapping[str, str],
) -> dict[str, dict[str, Any]]:
    """[example] with which the model runs: input -> shape and value, for inputs that need to be told.

    `given` are entries that are fixed already, `values` texts that a string input takes. Empty when sizes of 1, the
    golden input's own, do. AddError when nothing that was tried runs.
    """
    symbols = {each.name: each.shape for each in session.get_inputs()}
    free = _free(specs, given, symbols)
    deadline, tried, empty, failure = time.monotonic() + PATIENCE, 0, None, ""
    pictures = any(len(specs[name].shape) == 4 for name, _ in free)
    for sizes in _assignments(free, _PICTURES if pictures else CANDIDATES):
        example: dict[str, dict[str, Any]] = {
            name: {"shape": _shape(name, spec, sizes, free)} for name, spec in specs.items()
        }
        for name, text in values.items():
            example[name] |= {"value": text}
        example |= given
        tried += 1
        try:
            outputs = run(session, {k: to_numpy(v) for k, v in golden.inputs(specs, example=example).items()})
        except TypeError:  # BF16: the artifact's own check has to do
            return example
        except (RuntimeError, MemoryError) as error:
            failure = failure or str(error)
        else:
            if all(np.size(output) for output in outputs.values()):
                return example
            empty = empty or example  # a detector that finds nothing, or an input too small to give anything
        if time.monotonic() > deadline:
            break
    if empty is not None:
        return empty
    hint = "; say what fits: --size INPUT=1x3x640x640, or --example FILE" if free else "; give one with --example FILE"
    raise AddError(f"the model runs with none of the {tried} inputs that were tried: {first_line(failure)}{hint}")


def first_line(failure: object) -> str:
    line = (str(failure).strip().splitlines() or [""])[0]
    return line if len(line) < 400 else f"{line[:200]} ... {line[-190:]}"


def _free(
    specs: Mapping[str, Spec], given: Mapping[str, Any], symbols: Mapping[str, Sequence[int | str | None]]
) -> dict[tuple[str, int], str]:
    """(input, axis) of each open dimension -> what it is called; those of one name have one size."""
    return {
        (name, axis): str(symbols[name][axis] or f"{name}.{axis}")
        for name, spec in specs.items()
        if name not in given
        for axis, size in enumerate(spec.shape)
        if size == -1
    }


def _shape(name: str, spec: Spec, sizes: Mapping[str, int], free: Mapping[tuple[str, int], str]) -> list[int]:
    return [sizes[free[name, axis]] if (name, axis) in free else max(size, 0) for axis, size in enumerate(spec.shape)]


def _assignments(free: Mapping[tuple[str, int], str], candidates: Sequence[int]) -> Iterator[dict[str, int]]:
    """Sizes by name. For each candidate a batch of one, then all that is 1 or the candidate, the smallest first."""
    names = list(dict.fromkeys(free.values()))
    ones = dict.fromkeys(names, 1)
    batch = {free[key] for key in free if key[1] == 0}
    few = names if len(names) <= _MOST_FREE else []
    seen: list[dict[str, int]] = []
    if candidates is CANDIDATES or not set(names) - batch:
        seen.append(ones)
        yield ones
    for size in candidates if names else ():
        choices = [dict(zip(few, each, strict=True)) for each in itertools.product((1, size), repeat=len(few))]
        choices.sort(key=lambda choice: sum(choice.values()))
        plain = {name: 1 if name in batch else size for name in names}
        for choice in (plain, *choices, dict.fromkeys(names, size)):
            if choice not in seen:
                seen.append(choice)
                yield choice
