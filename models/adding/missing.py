"""Values that are missing: which graphs take NaN for one, and Imputers of a datatype that ONNX Runtime has none for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import GraphProto, ModelProto, NodeProto

_OPSET = 9  # of ai.onnx, from which on there are IsNaN and Where


def taken_by(graph: GraphProto) -> str:
    """The operator that makes something of NaN, an Imputer or a tree that knows where to go; empty without one."""
    for node in graph.node:
        if node.op_type == "Imputer" and _fills_nan(node):
            return "Imputer"
        if any(_attributes(node).get("nodes_missing_value_tracks_true", [])):
            return str(node.op_type)
    return ""


def spell_out(model: ModelProto, types: Mapping[str, int]) -> list[str]:
    """Puts Where and IsNaN in the place of each Imputer over FP64, as ONNX Runtime's takes FP32 and INT64 alone.

    `types` are ONNX's element types by the tensors' names. Returns a line that says so; the answers are the same.
    """
    opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 0)
    changed: list[str] = []
    for index, node in reversed(list(enumerate(model.graph.node))):
        values = _attributes(node).get("imputed_value_floats") if node.op_type == "Imputer" else None
        if values is None or types.get(node.input[0]) != TensorProto.DOUBLE or opset < _OPSET:
            continue
        name, (source, made) = f"{node.output[0]}_imputed", (node.input[0], node.output[0])
        model.graph.initializer.append(numpy_helper.from_array(np.array(values, np.float64), name))
        if _fills_nan(node):
            found = helper.make_node("IsNaN", [source], [f"{name}_missing"])
        else:
            mark = np.array([_attributes(node).get("replaced_value_float", 0.0)], np.float64)
            model.graph.initializer.append(numpy_helper.from_array(mark, f"{name}_mark"))
            found = helper.make_node("Equal", [source, f"{name}_mark"], [f"{name}_missing"])
        filled = helper.make_node("Where", [f"{name}_missing", name, source], [made])
        del model.graph.node[index]
        model.graph.node.insert(index, filled)
        model.graph.node.insert(index, found)
        changed.insert(0, repr(source))
    if not changed:
        return []
    names = ", ".join(changed)
    return [f"an Imputer over FP64, which ONNX Runtime does not have, is IsNaN or Equal, and Where now: {names}"]


def _attributes(node: NodeProto) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _fills_nan(node: NodeProto) -> bool:
    return math.isnan(_attributes(node).get("replaced_value_float", 0.0))
