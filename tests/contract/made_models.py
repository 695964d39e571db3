"""Small models made for the tests, as folders that are prepared like any other."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper

from models import manifest
from models.prepare import prepare

if TYPE_CHECKING:
    from pathlib import Path

NAMES = {TensorProto.FLOAT: "FP32", TensorProto.INT64: "INT64", TensorProto.BOOL: "BOOL", TensorProto.STRING: "BYTES"}
SIDE = 16  # pixels


def echo() -> ModelProto:
    """`values` FP32 [-1, -1] -> `same`: two dynamic dimensions, and answers as large as one likes."""
    return _model(
        [helper.make_node("Identity", ["values"], ["same"])],
        [("values", TensorProto.FLOAT, ["n", "m"])],
        [("same", TensorProto.FLOAT, ["n", "m"])],
    )


def mixed() -> ModelProto:
    """Four inputs of four datatypes -> the numbers' sum, the ids plus one, the flag negated, the text as it is."""
    return _model(
        [
            helper.make_node("ReduceSum", ["numbers"], ["sum"], keepdims=0),
            helper.make_node("Add", ["ids", "one"], ["next"]),
            helper.make_node("Not", ["flag"], ["opposite"]),
            helper.make_node("Identity", ["text"], ["copy"]),
        ],
        [
            ("numbers", TensorProto.FLOAT, ["n", 2]),
            ("ids", TensorProto.INT64, ["n"]),
            ("flag", TensorProto.BOOL, [1]),
            ("text", TensorProto.STRING, ["n"]),
        ],
        [
            ("sum", TensorProto.FLOAT, []),
            ("next", TensorProto.INT64, ["n"]),
            ("opposite", TensorProto.BOOL, [1]),
            ("copy", TensorProto.STRING, ["n"]),
        ],
        [numpy_helper.from_array(np.array(1, np.int64), "one")],
    )


def shades() -> ModelProto:
    """`input` FP32 [-1, 3, SIDE, SIDE] -> `scores` [-1, 3]: how red, green and blue a picture is on average."""
    weights = np.repeat(np.eye(3, dtype=np.float32), SIDE * SIDE, axis=0) / (SIDE * SIDE)
    return _model(
        [
            helper.make_node("Flatten", ["input"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["scores"]),
        ],
        [("input", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [("scores", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(weights, "weights")],
    )


def shades_rule(activation: str) -> str:
    """The [image] table for `shades`: its scores are then the channels' means, 0 to 1."""
    return f"""
[image]
input = "input"
output = "scores"
activation = "{activation}"
size = [{SIDE}, {SIDE}]
mean = [0.0, 0.0, 0.0]
std = [1.0, 1.0, 1.0]
"""


def add_model(repository: Path, name: str, model: ModelProto, *, image: str = "", labels: tuple[str, ...] = ()) -> Path:
    """A prepared model folder of this CPU's family and portable; `image` is the [image] table of its model.toml."""
    folder = repository / name
    folder.mkdir()
    content = model.SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    lines = [
        f'name = "{name}"',
        'version = "3"',
        'description = "made for a test"',
        'licence = "none"',
        'source = "here"',
    ]
    if labels:
        (folder / "labels.txt").write_text("\n".join(labels))
        lines.append('labels = "labels.txt"')
    digest = hashlib.sha256(content).hexdigest()
    lines += ["[file]", 'name = "model.onnx"', f"bytes = {len(content)}", f'sha256 = "{digest}"']
    for side, values in (("inputs", model.graph.input), ("outputs", model.graph.output)):
        for value in values:
            tensor = value.type.tensor_type
            shape = [size.dim_value if size.HasField("dim_value") else -1 for size in tensor.shape.dim]
            lines += [f"[[{side}]]", f'name = "{value.name}"', f'datatype = "{NAMES[tensor.elem_type]}"']
            lines.append(f"shape = {json.dumps(shape)}")
    (folder / "model.toml").write_text("\n".join(lines) + image)
    prepare_quickly(folder)
    return folder


def prepare_quickly(folder: Path) -> None:
    """Without the artifacts of other CPUs, which an emulated CPU takes seconds to build."""
    with patch.object(shutil, "which", lambda _name: None):
        prepare(manifest.read(folder))


def _model(
    nodes: list[object],
    inputs: list[tuple[str, int, list[object]]],
    outputs: list[tuple[str, int, list[object]]],
    initializers: list[TensorProto] | None = None,
) -> ModelProto:
    sides = [[helper.make_tensor_value_info(*value) for value in side] for side in (inputs, outputs)]
    graph = helper.make_graph(nodes, "made", *sides, initializers or [])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model)
    return model
