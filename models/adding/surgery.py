"""Small changes to a graph that make it one that can be served; each is told in a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto, helper

from models.adding import missing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

_FP32_ALWAYS = ("TreeEnsembleRegressor", "LinearRegressor", "SVMRegressor")  # of ai.onnx.ml
LOCALE = "C.UTF-8"  # of every Linux, also of Lambda's; ONNX's default is en_US


def operate(model: ModelProto) -> tuple[list[str], list[str]]:
    """Changes `model` in place; returns a line for each change, and the class labels that a ZipMap had."""
    lines = missing.spell_out(model, _types(model, "Imputer"))
    types = _types(model, "ZipMap")
    labels: list[str] = []
    graph = model.graph
    producers = {name: node for node in graph.node for name in node.output}
    for position in reversed(range(len(graph.output))):
        output = graph.output[position]
        if output.type.WhichOneof("value") in (None, "tensor_type"):
            continue
        node = producers.get(output.name)
        while node is not None and node.op_type == "Identity":
            node = producers.get(node.input[0])
        if node is None or (made := _tensors_of(graph, output, node, types)) is None:
            continue
        del graph.output[position]
        for each in reversed(made):
            graph.output.insert(position, each)
        names = ", ".join(each.name for each in made)
        lines.append(f"the output {output.name!r} was made by {node.op_type} and is now a tensor: {names}")
        if node.op_type == "ZipMap":
            labels = _labels(node) or labels
    _drop_unused(graph)
    lines += _declare_fp32(graph)
    if locales := _set_locale(graph):
        lines.append(f"its StringNormalizer takes the locale {LOCALE} instead of {locales}, which Lambda does not have")
    return lines, labels


def _types(model: ModelProto, operator: str) -> dict[str, int]:
    """ONNX's element type of each tensor where it follows from the inputs'; empty for a graph without the operator."""
    if not any(node.op_type == operator for node in model.graph.node):
        return {}
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):  # ONNX Runtime says what is wrong with it
        return {}
    return {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info)}


def _tensors_of(
    graph: GraphProto, output: ValueInfoProto, node: NodeProto, types: Mapping[str, int]
) -> list[ValueInfoProto] | None:
    """The tensors that a sequence or map was made of, as outputs with new names; None for an unknown maker."""
    if node.op_type == "ZipMap":  # of FP64, where skl2onnx was given columns of it, though ONNX knows no such ZipMap
        kind = types.get(node.input[0]) or TensorProto.FLOAT
        return [_renamed(graph, node.input[0], output.name, kind, [None, len(_labels(node)) or None])]
    element = output.type.sequence_type.elem_type.tensor_type
    if not output.type.HasField("sequence_type") or not element.elem_type:
        return None
    dimensions = [size.dim_value or None for size in element.shape.dim] if element.HasField("shape") else None
    if node.op_type == "SplitToSequence":
        rank = len(dimensions) if dimensions else None
        return [_renamed(graph, node.input[0], output.name, element.elem_type, [None] * rank if rank else None)]
    if node.op_type == "SequenceConstruct":
        return [
            _renamed(graph, name, f"{output.name}_{index}", element.elem_type, dimensions)
            for index, name in enumerate(node.input)
        ]
    return None


def _renamed(
    graph: GraphProto, tensor: str, name: str, kind: int, dimensions: list[int | None] | None
) -> ValueInfoProto:
    """A graph output `name` that is `tensor`."""
    for node in graph.node:  # whoever made the sequence of that name makes something that nobody reads now
        for index, made in enumerate(node.output):
            if made == name:
                node.output[index] = f"{name}_before"
    graph.node.append(helper.make_node("Identity", [tensor], [name]))
    return helper.make_tensor_value_info(name, kind, dimensions)


def _labels(node: NodeProto) -> list[str]:
    for attribute in node.attribute:
        if attribute.name == "classlabels_strings" and attribute.strings:
            return [text.decode("utf-8", "replace") for text in attribute.strings]
        if attribute.name == "classlabels_int64s" and attribute.ints:
            return [str(number) for number in attribute.ints]
    return []


def _drop_unused(graph: GraphProto) -> None:
    """Removes the makers of sequences that nothing reads any more."""
    kinds = {"ZipMap", "SequenceConstruct", "SplitToSequence", "Identity"}
    while True:
        read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
        read |= {name for node in graph.node for attribute in node.attribute for name in _read_in(attribute.g)}
        unused = [node for node in graph.node if node.op_type in kinds and not read & set(node.output)]
        if not unused:
            return
        for node in unused:
            graph.node.remove(node)


def _read_in(graph: GraphProto) -> set[str]:
    """The names that a subgraph reads."""
    names = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    for node in graph.node:
        for attribute in node.attribute:
            names |= _read_in(attribute.g)
    return names


def _declare_fp32(graph: GraphProto) -> list[str]:
    """Corrects what exporters say of regressors over FP64: their outputs are FP32, by ONNX's own rule."""
    made = {name: node.op_type for node in graph.node if node.op_type in _FP32_ALWAYS for name in node.output}
    lines = []
    for value in (*graph.output, *graph.value_info):
        kind = value.type.tensor_type
        if value.name in made and kind.elem_type == TensorProto.DOUBLE:
            kind.elem_type = TensorProto.FLOAT
            lines.append(f"the output {value.name!r} is FP32, not FP64: {made[value.name]} gives no other")
    return lines


def _set_locale(graph: GraphProto) -> str:
    """Sets LOCALE in each StringNormalizer; returns what there was, empty when nothing had to change."""
    before = set()
    for node in graph.node:
        if node.op_type == "StringNormalizer":
            given = [attribute for attribute in node.attribute if attribute.name == "locale"]
            locale = given[0].s.decode("utf-8", "replace") if given else "en_US"
            if locale in (LOCALE, "C"):
                continue
            for attribute in given:
                node.attribute.remove(attribute)
            node.attribute.append(helper.make_attribute("locale", LOCALE))
            before.add(locale)
    return ", ".join(sorted(before))
