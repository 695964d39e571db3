"""The small ONNX graphs beside an artifact: numbers from JSON to FP32, pixels to the model's picture input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, checker, helper, numpy_helper

from function.native import yyjson

if TYPE_CHECKING:
    from models.declared import Text
    from models.manifest import Image

OPSET, IR_VERSION = 18, 9  # old enough for every ORT that function/ takes


def reals() -> ModelProto:
    """Numbers as function/native/yyjson.py describes them -> FP32 [k], with the smallest and largest result.

    `kinds` is UINT8 [n]; `reals` are the values' memory, FP64 [n, 2], tag and payload. Those of kind ARRAY are left
    out. A result is infinite when a number was too large.
    """
    return _rounded("reals", _payloads("reals", "rounded_all"), [], [])


def numbers() -> ModelProto:
    """The same where some are integers: `integers` and `naturals` are the same memory as INT64 and UINT64."""
    nodes = [
        *_payloads("reals", "real"),
        *_payloads("integers", "integer"),
        *_payloads("naturals", "natural"),
        helper.make_node("Equal", ["kinds", "SINT"], ["is_negative"]),
        helper.make_node("Where", ["is_negative", "integer", "natural"], ["whole"]),
        helper.make_node("Equal", ["kinds", "REAL"], ["is_real"]),
        helper.make_node("Where", ["is_real", "real", "whole"], ["rounded_all"]),
    ]
    inputs = [
        helper.make_tensor_value_info("integers", TensorProto.INT64, ["n", 2]),
        helper.make_tensor_value_info("naturals", TensorProto.UINT64, ["n", 2]),
    ]
    kinds = [_scalar("SINT", yyjson.SINT, TensorProto.UINT8), _scalar("REAL", yyjson.REAL, TensorProto.UINT8)]
    return _rounded("numbers", nodes, inputs, kinds)


def _payloads(memory: str, result: str) -> list[NodeProto]:
    """[n, 2] of any number -> the second column as FP32 [n]. Casting both and transposing is the fastest way to it."""
    return [
        helper.make_node("Cast", [memory], [f"{result}_pairs"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", [f"{result}_pairs"], [f"{result}_columns"], perm=[1, 0]),
        helper.make_node("Gather", [f"{result}_columns", "PAYLOAD"], [result], axis=0),
    ]


def _rounded(
    name: str, nodes: list[NodeProto], inputs: list[ValueInfoProto], initializers: list[TensorProto]
) -> ModelProto:
    """The graph around `nodes`, which make rounded_all: FP32 [n], arrays among them."""
    return _model(
        name,
        [
            *nodes,
            helper.make_node("Equal", ["kinds", "ARRAY"], ["is_array"]),
            helper.make_node("Not", ["is_array"], ["is_number"]),
            helper.make_node("Compress", ["rounded_all", "is_number"], ["rounded"]),
            helper.make_node("ReduceMin", ["rounded"], ["smallest"], keepdims=0),
            helper.make_node("ReduceMax", ["rounded"], ["largest"], keepdims=0),
        ],
        [
            helper.make_tensor_value_info("kinds", TensorProto.UINT8, ["n"]),
            helper.make_tensor_value_info("reals", TensorProto.DOUBLE, ["n", 2]),
            *inputs,
        ],
        [
            helper.make_tensor_value_info("rounded", TensorProto.FLOAT, ["k"]),
            helper.make_tensor_value_info("smallest", TensorProto.FLOAT, []),
            helper.make_tensor_value_info("largest", TensorProto.FLOAT, []),
        ],
        [
            _scalar("PAYLOAD", 1, TensorProto.INT64),
            _scalar("ARRAY", yyjson.ARRAY, TensorProto.UINT8),
            *initializers,
        ],
    )


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
