"""Small ONNX models made on the spot, as files and as model folders, and what a process holds in memory."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

from function.codecs import json_body, json_tensor
from function.engine.session import OPTIMISE_ALL, Session
from function.tensor import NAME_OF_ONNX, Tensor
from models import build_artifact, manifest
from models.prepare import prepare

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto

NAMES = tuple(NAME_OF_ONNX.values())  # of the datatypes
ROOT = Path(__file__).parent.parent
SIDE, CLASSES = 16, 10  # of the classifier's picture and answer

Value = tuple[str, int, "Sequence[int | str]"]  # name, ONNX element type, dimensions


def make_model(
    nodes: Sequence[NodeProto],
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    weights: Mapping[str, NDArray[Any]] | None = None,
) -> ModelProto:
    """A checked model; every weight is an initializer of its name."""
    graph = helper.make_graph(
        list(nodes),
        "made",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model, full_check=True)
    return model


def from_json(numbers: object, shape: tuple[int, ...]) -> Tensor:
    """`numbers`, flat or nested, as an FP32 tensor that came as JSON."""
    array = json_body.parse(json.dumps({"data": numbers}).encode()).get("data")
    assert isinstance(array, json_body.Array)
    return json_tensor.read_array("input", "FP32", shape, array)


def identity(kind: int, dimensions: Sequence[int | str]) -> ModelProto:
    """`x` -> `y`, the same, of one element type and shape."""
    return make_model(
        [helper.make_node("Identity", ["x"], ["y"])], [("x", kind, dimensions)], [("y", kind, dimensions)]
    )


def doubling() -> ModelProto:
    """`x` FP32 [-1] -> `y`, twice as much."""
    dims = ["n"]
    node = helper.make_node("Add", ["x", "x"], ["y"])
    return make_model([node], [("x", TensorProto.FLOAT, dims)], [("y", TensorProto.FLOAT, dims)])


def mixed() -> ModelProto:
    """Four inputs of four datatypes, and five outputs of them in another order."""
    return make_model(
        [
            helper.make_node("Not", ["flag"], ["opposite"]),
            helper.make_node("Mul", ["number", "number"], ["square"]),
            helper.make_node("Identity", ["text"], ["same"]),
            helper.make_node("ArgMax", ["number"], ["best"], axis=1, keepdims=0),
            helper.make_node("Cast", ["count"], ["real"], to=TensorProto.DOUBLE),
        ],
        [
            ("flag", TensorProto.BOOL, []),
            ("number", TensorProto.FLOAT, ["n", 3]),
            ("text", TensorProto.STRING, ["m"]),
            ("count", TensorProto.UINT64, [2]),
        ],
        [
            ("real", TensorProto.DOUBLE, [2]),
            ("same", TensorProto.STRING, ["m"]),
            ("best", TensorProto.INT64, ["n"]),
            ("opposite", TensorProto.BOOL, []),
            ("square", TensorProto.FLOAT, ["n", 3]),
        ],
    )


def classifier(seed: int = 1) -> ModelProto:
    """A convolutional net in miniature, `input` FP32 [-1, 3, SIDE, SIDE] -> `logits` [-1, CLASSES].

    It has the operators that ORT lays out for one CPU family: dense, depthwise and 1x1 convolutions and a sum.
    """
    generator = np.random.default_rng(seed)

    def weight(*shape: int) -> NDArray[np.float32]:
        return generator.normal(0, np.prod(shape[1:]) ** -0.5 if len(shape) > 1 else 0.1, shape).astype(np.float32)

    wide = 32
    weights = {
        "stem.weight": weight(wide, 3, 3, 3),
        "stem.bias": weight(wide),
        "depth.weight": weight(wide, 1, 3, 3),
        "depth.bias": weight(wide),
        "point.weight": weight(wide, wide, 1, 1),
        "point.bias": weight(wide),
        "head.weight": weight(CLASSES, wide),
        "head.bias": weight(CLASSES),
        "low": np.array(0, np.float32),
        "high": np.array(6, np.float32),
    }
    pads = [1, 1, 1, 1]
    nodes = [
        helper.make_node("Conv", ["input", "stem.weight", "stem.bias"], ["stem"], pads=pads),
        helper.make_node("Clip", ["stem", "low", "high"], ["stem.clip"]),
        helper.make_node("Conv", ["stem.clip", "depth.weight", "depth.bias"], ["depth"], pads=pads, group=wide),
        helper.make_node("Clip", ["depth", "low", "high"], ["depth.clip"]),
        helper.make_node("Conv", ["depth.clip", "point.weight", "point.bias"], ["point"]),
        helper.make_node("Add", ["stem.clip", "point"], ["sum"]),
        helper.make_node("GlobalAveragePool", ["sum"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Gemm", ["flat", "head.weight", "head.bias"], ["logits"], transB=1),
    ]
    return make_model(
        nodes,
        [("input", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [("logits", TensorProto.FLOAT, ["n", CLASSES])],
        weights,
    )


def save(model: ModelProto, path: Path) -> Path:
    """Writes the model to `path` and returns it."""
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def open_session(model: ModelProto, folder: Path, threads: int = 1) -> Session:
    """The engine's session over the model, by way of a file in `folder`."""
    return Session(str(save(model, folder / "made.onnx")), optimise=OPTIMISE_ALL, threads=threads)


IMAGE = f"""
[image]
input = "input"
output = "logits"
activation = "softmax"
size = [{SIDE}, {SIDE}]
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
"""


def write_folder(folder: Path, model: ModelProto, extra: str = "", labels: Sequence[str] = ()) -> manifest.Manifest:
    """A model folder named like `folder`: model.onnx and the model.toml that fits it, ending in `extra`; labels.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    content = save(model, folder / "model.onnx").read_bytes()
    lines = [
        f'name = "{folder.name}"',
        'version = "1"',
        'description = "made for a test"',
        'licence = "Apache-2.0"',
        'source = "tests/support.py"',
        *(['labels = "labels.txt"'] if labels else []),
        "[file]",
        'name = "model.onnx"',
        f"bytes = {len(content)}",
        f'sha256 = "{hashlib.sha256(content).hexdigest()}"',
    ]
    for side, values in (("inputs", model.graph.input), ("outputs", model.graph.output)):
        for value in values:
            kind = value.type.tensor_type
            shape = [size.dim_value if size.HasField("dim_value") else -1 for size in kind.shape.dim]
            lines += [
                f"[[{side}]]",
                f'name = "{value.name}"',
                f'datatype = "{NAME_OF_ONNX[kind.elem_type]}"',
                f"shape = {shape}",
            ]
    (folder / "model.toml").write_text("\n".join(lines) + "\n" + extra)
    if labels:
        (folder / "labels.txt").write_text("\n".join(labels) + "\n")
    return manifest.read(folder)


def prepare_natively(model: manifest.Manifest, *, force: bool = False, calibration: Path | None = None) -> list[str]:
    """`prepare` as on a machine without qemu: the portable artifact and this CPU's, within a second."""
    with patch("models.prepare.shutil.which", return_value=None):
        return prepare(model, force=force, calibration=calibration)


def prepare_here(model: manifest.Manifest, *, force: bool = False, calibration: Path | None = None) -> list[str]:
    """The same in this process: 20 ms an artifact instead of a third of a second, but one thread at a time."""

    def run(_: int, *command: str | Path) -> None:
        raw, target, family, expected = command[-4:]
        build_artifact.build(Path(raw), Path(target), str(family))
        build_artifact.check(Path(target), str(family), json.loads(Path(expected).read_text()))

    with patch("models.prepare._run", run):
        return prepare_natively(model, force=force, calibration=calibration)


def picture(seed: int = 7, count: int = 1) -> Tensor:
    """An input for the classifier, FP32 [count, 3, SIDE, SIDE]."""
    values = np.random.default_rng(seed).normal(0, 1, (count, 3, SIDE, SIDE)).astype(np.float32)
    return Tensor("FP32", values.shape, values.tobytes())


def logits(outputs: Mapping[str, Tensor], name: str = "logits") -> NDArray[np.float32]:
    """A copy of an FP32 output as an array of its shape."""
    tensor = outputs[name]
    assert tensor.datatype == "FP32"
    assert not isinstance(tensor.data, list)
    return np.frombuffer(bytes(tensor.data), np.float32).reshape(tensor.shape)


def run_program(program: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter that finds the project's modules."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environ}
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


def memory(field: str) -> int:
    """A line of /proc/self/status in bytes: VmRSS, RssAnon, VmHWM."""
    found = re.search(rf"(?m)^{field}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024


def edit_json(path: Path, **changes: object) -> None:
    """Sets members of a JSON file's object, as someone with an editor would."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
