"""The small ONNX graphs beside an artifact: doubles from JSON to FP32, pixels to the model's picture input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, checker, helper, numpy_helper

if TYPE_CHECKING:
    from models.manifest import Image

OPSET, IR_VERSION = 18, 9  # old enough for every ORT that function/ takes


def narrow() -> ModelProto:
    """FP64 [n] -> FP32 [n], with the smallest and largest result: infinite when a double was too large."""
    return _model(
        "narrow",
        [
            helper.make_node("Cast", ["values"], ["narrow"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMin", ["narrow"], ["smallest"], keepdims=0),
            helper.make_node("ReduceMax", ["narrow"], ["largest"], keepdims=0),
        ],
        [helper.make_tensor_value_info("values", TensorProto.DOUBLE, ["n"])],
        [
            helper.make_tensor_value_info("narrow", TensorProto.FLOAT, ["n"]),
            helper.make_tensor_value_info("smallest", TensorProto.FLOAT, []),
            helper.make_tensor_value_info("largest", TensorProto.FLOAT, []),
        ],
        [],
    )


def image(rule: Image) -> ModelProto:
    """UINT8 [n, height, width, 3] -> FP32 in the rule's layout: (pixel / 255 - mean) / std for each channel."""
    height, width = rule.size
    nchw = rule.layout == "NCHW"
    shape = (1, 3, 1, 1) if nchw else (1, 1, 1, 3)
    mean, std = np.array(rule.mean, np.float64), np.array(rule.std, np.float64)
    scale = (1 / (255 * std)).astype(np.float32).reshape(shape)
    offset = (-mean / std).astype(np.float32).reshape(shape)
    # Transposing bytes before the cast moves a quarter of the memory: 0.13 ms instead of 1.3.
    transpose = [helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2])] if nchw else []
    return _model(
        "image",
        [
            *transpose,
            helper.make_node("Cast", ["planes" if nchw else "pixels"], ["values"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["values", "scale"], ["scaled"]),
            helper.make_node("Add", ["scaled", "offset"], ["input"]),
        ],
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", height, width, 3])],
        [
            helper.make_tensor_value_info(
                "input", TensorProto.FLOAT, ["n", 3, height, width] if nchw else ["n", height, width, 3]
            )
        ],
        [numpy_helper.from_array(scale, "scale"), numpy_helper.from_array(offset, "offset")],
    )


def _model(
    name: str,
    nodes: list[NodeProto],
    inputs: list[ValueInfoProto],
    outputs: list[ValueInfoProto],
    initializers: list[TensorProto],
) -> ModelProto:
    graph = helper.make_graph(nodes, name, inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    checker.check_model(model)
    return model
