"""Small models that show what they were given: `python -m tests.contract.entries.repository FOLDER` prepares them."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx import TensorProto, helper

from function.tensor import DATATYPES
from tests import support
from tests.contract.entries import sent_models

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx import NodeProto

Tensors = dict[str, tuple[str, list[int]]]  # name -> datatype and shape

COLOURS = ["red", "green", "blue"]
CLASSES = ["cat", "dog", "bird", "fish"]


def echo_name(datatype: str) -> str:
    """The model that gives its one input x of `datatype`, [-1, -1], back as y."""
    return f"echo_{datatype.lower()}"


def build(repository: Path) -> None:
    """Writes and prepares every model."""
    for datatype in DATATYPES:
        echo(repository / echo_name(datatype), datatype, [-1, -1])
    echo(repository / "echo_scalar", "FP32", [])
    echo(repository / "echo_vector", "BYTES", [-1])
    echo(repository / "echo_cube", "INT16", [-1, -1, -1])
    echo(repository / "classes", "FP32", [-1, 4], CLASSES)
    _largest(repository)
    _mixed(repository)
    _two_inputs(repository)
    _colours(repository)
    sent_models.build(repository)
    echo(repository / "damaged", "FP32", [-1])
    (repository / "damaged" / "prepared" / "model.json").write_text("{")
    echo(repository / "unprepared", "FP32", [-1])
    shutil.rmtree(repository / "unprepared" / "prepared")


def echo(
    folder: Path, datatype: str, shape: list[int], labels: Sequence[str] = (), *, operator: str = "Identity"
) -> None:
    """A prepared model, called as its folder, that gives x back as y: as it is, or after a unary ONNX operator."""
    node = helper.make_node(operator, ["x"], ["y"])
    _model(folder, [node], {"x": (datatype, shape)}, {"y": (datatype, shape)}, labels)


def _largest(repository: Path) -> None:
    """Any number of values in, the largest out: an answer that takes no memory."""
    node = helper.make_node("ReduceMax", ["x"], ["y"], keepdims=1)
    _model(repository / "largest", [node], {"x": ("FP32", [-1])}, {"y": ("FP32", [1])})


def _mixed(repository: Path) -> None:
    """Three inputs and four outputs of five datatypes."""
    inputs: Tensors = {"a": ("INT64", [-1, 2]), "b": ("FP32", [-1, 2]), "words": ("BYTES", [-1])}
    outputs: Tensors = {
        "sum": ("FP32", [-1, 2]),
        "copy": ("INT64", [-1, 2]),
        "same": ("BYTES", [-1]),
        "greater": ("BOOL", [-1, 2]),
    }
    nodes = [
        helper.make_node("Cast", ["a"], ["a_float"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["a_float", "b"], ["sum"]),
        helper.make_node("Identity", ["a"], ["copy"]),
        helper.make_node("Identity", ["words"], ["same"]),
        helper.make_node("Greater", ["a_float", "b"], ["greater"]),
    ]
    _model(repository / "mixed", nodes, inputs, outputs)


def _two_inputs(repository: Path) -> None:
    """The tensors of the protocol's own example: output0[i][j] is the sum of column j where input1[i] is true."""
    nodes = [
        helper.make_node("Constant", [], ["zero"], value_ints=[0]),
        helper.make_node("Constant", [], ["one"], value_ints=[1]),
        helper.make_node("Cast", ["input0"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["numbers", "zero"], ["columns"], keepdims=1),
        helper.make_node("Cast", ["input1"], ["flags"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["flags", "one"], ["rows"]),
        helper.make_node("Mul", ["rows", "columns"], ["output0"]),
    ]
    inputs: Tensors = {"input0": ("UINT32", [2, 2]), "input1": ("BOOL", [3])}
    _model(repository / "mymodel", nodes, inputs, {"output0": ("FP32", [3, 2])})


def _colours(repository: Path) -> None:
    """A picture of 8 x 8 pixels in, how red, green and blue it is on average out, 0 to 1."""
    nodes = [
        helper.make_node("Constant", [], ["axes"], value_ints=[2, 3]),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["shares"], keepdims=0),
    ]
    image = {
        "input": "pixels",
        "output": "shares",
        "activation": "none",
        "size": [8, 8],
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
    }
    inputs: Tensors = {"pixels": ("FP32", [-1, 3, 8, 8])}
    _model(repository / "colours", nodes, inputs, {"shares": ("FP32", [-1, 3])}, COLOURS, image=image)


def _model(
    folder: Path,
    nodes: list[NodeProto],
    inputs: Tensors,
    outputs: Tensors,
    labels: Sequence[str] = (),
    *,
    image: dict[str, Any] | None = None,
) -> None:
    model = support.make_model(nodes, _values(inputs), _values(outputs))
    table = "\n".join(["[image]", *(f"{key} = {json.dumps(value)}" for key, value in image.items())]) if image else ""
    support.prepare_here(support.write_folder(folder, model, table, labels))


def _values(tensors: Tensors) -> list[support.Value]:
    """-1 as a dimension named after the tensor and its axis."""
    return [
        (name, DATATYPES[datatype].onnx, [f"{name}{axis}" if size < 0 else size for axis, size in enumerate(shape)])
        for name, (datatype, shape) in tensors.items()
    ]


if __name__ == "__main__":
    build(Path(sys.argv[1]))
