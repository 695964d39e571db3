"""The small ONNX graphs beside an artifact: pixels to a picture model's input, and what comes after a text model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, checker, helper, numpy_helper

if TYPE_CHECKING:
    from models.declared import Text
    from models.manifest import Image

OPSET, IR_VERSION = 18, 9  # old enough for every ORT that function/ takes


def _scalar(name: str, value: int, element_type: int) -> TensorProto:
    return helper.make_tensor(name, element_type, [], [value])


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


def text(rule: Text, width: int) -> ModelProto:
    """What comes after a text model: `output`, FP32 as the model gives it, and `mask`, FP32 [n, tokens], 1 for tokens
    that are no padding -> `result` FP32 [n, width].

    Embeddings are pooled over the tokens and brought to length 1 as the rule says, scores made probabilities.
    """
    nodes: list[NodeProto] = []
    pooled = "output"
    constants = [numpy_helper.from_array(np.array([1], np.int64), "ONE")]
    if rule.pooling == "mean":
        nodes = [
            helper.make_node("Unsqueeze", ["mask", "TWO"], ["weights"]),
            helper.make_node("Mul", ["output", "weights"], ["weighted"]),
            helper.make_node("ReduceSum", ["weighted", "ONE"], ["sum"], keepdims=0),
            helper.make_node("ReduceSum", ["mask", "ONE"], ["count"], keepdims=1),
            helper.make_node("Div", ["sum", "count"], ["pooled"]),
        ]
        constants.append(numpy_helper.from_array(np.array([2], np.int64), "TWO"))
        pooled = "pooled"
    elif rule.pooling == "cls":
        nodes = [helper.make_node("Gather", ["output", "ZERO"], ["pooled"], axis=1)]
        constants.append(_scalar("ZERO", 0, TensorProto.INT64))
        pooled = "pooled"
    if rule.task == "classification":
        operator = {"softmax": "Softmax", "sigmoid": "Sigmoid", "none": "Identity"}[rule.activation]
        nodes.append(helper.make_node(operator, [pooled], ["result"]))
    elif rule.normalise:
        nodes += [
            helper.make_node("ReduceL2", [pooled, "ONE"], ["length"], keepdims=1),
            helper.make_node("Max", ["length", "SMALLEST"], ["divisor"]),  # as torch.nn.functional.normalize
            helper.make_node("Div", [pooled, "divisor"], ["result"]),
        ]
        constants.append(numpy_helper.from_array(np.array(1e-12, np.float32), "SMALLEST"))
    else:
        nodes.append(helper.make_node("Identity", [pooled], ["result"]))
    last: list[int | str] = ["n", width if width > 0 else "width"]
    used = {name for node in nodes for name in node.input}
    return _model(
        "text",
        nodes,
        [
            helper.make_tensor_value_info(
                "output", TensorProto.FLOAT, last if rule.pooling == "none" else ["n", "t", *last[1:]]
            ),
            helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n", "t"]),
        ],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, last)],
        [constant for constant in constants if constant.name in used],
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
