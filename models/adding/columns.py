"""[table] of model.toml: from inputs of one column each, as skl2onnx makes them, or from a file with their names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from onnx import numpy_helper

from models.adding.words import AddError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from onnx import GraphProto, NodeProto

    from function.tensor import Spec

DATATYPES = ("FP32", "FP64", "INT64", "INT32", "BOOL", "BYTES")  # of a column
_COLUMN = ((-1,), (-1, 1))  # the shapes of an input that is one column


def from_inputs(specs: Mapping[str, Spec], categories: Mapping[tuple[str, int], list[str]]) -> list[dict[str, Any]]:
    """The rows of [[table.columns]] where every input is one column and there are several; else none."""
    if len(specs) < 2 or not all(spec.shape in _COLUMN and spec.datatype in DATATYPES for spec in specs.values()):
        return []
    rows = []
    for name, spec in specs.items():
        row: dict[str, Any] = {"name": name, "datatype": spec.datatype}
        if known := categories.get((name, 0)):
            row["categories"] = known
        rows.append(row | {"input": name})
    return rows


def from_file(
    path: Path, specs: Mapping[str, Spec], categories: Mapping[tuple[str, int], list[str]]
) -> list[dict[str, Any]]:
    """The rows that a file names for a model of one matrix input, or of one input for each column.

    A line is `name`, `name,datatype` or `name,datatype,default`; or one line has all the names; or the file is JSON, a
    list of names or of objects as [[table.columns]] has them. AddError when there are not as many as the model takes.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise AddError(f"--columns {path} cannot be read: {error}") from error
    rows = _json_rows(path, text) if text.lstrip()[:1] in ("[", "{") else _lines(text)
    if not rows:
        raise AddError(f"--columns {path} names no columns; write one name a line")
    if len(specs) == 1:
        ((name, spec),) = specs.items()
        if len(spec.shape) != 2 or spec.shape[1] not in (-1, len(rows)):
            raise AddError(
                f"--columns {path} names {len(rows)} columns, and the input {name!r} has the shape {list(spec.shape)}; "
                "name as many as its second dimension"
            )
        for index, row in enumerate(rows):
            row.setdefault("datatype", spec.datatype)
            if known := categories.get((name, index)):
                row.setdefault("categories", known)
        return rows
    inputs = from_inputs(specs, categories)
    if len(inputs) != len(rows):
        raise AddError(f"--columns {path} names {len(rows)} columns, and the model has {len(specs)} inputs; name each")
    return [made | row for made, row in zip(inputs, rows, strict=True)]


def _json_rows(path: Path, text: str) -> list[dict[str, Any]]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise AddError(f"--columns {path} is not JSON: {error}") from error
    rows = document.get("columns") if isinstance(document, dict) else document
    if not isinstance(rows, list) or not all(isinstance(row, (str, dict)) for row in rows):
        raise AddError(f"--columns {path} should be a list of names, or of objects with name and datatype")
    return [{"name": row} if isinstance(row, str) else row for row in rows]


def _lines(text: str) -> list[dict[str, Any]]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) == 1 and lines[0].count(",") and lines[0].split(",")[1].strip() not in DATATYPES:
        return [{"name": name.strip().strip('"')} for name in lines[0].split(",")]
    rows = []
    for line in lines:
        name, _, rest = line.partition(",")
        datatype, _, default = (part.strip() for part in rest.partition(","))
        row: dict[str, Any] = {"name": name.strip().strip('"')}
        if datatype:
            row["datatype"] = datatype
        if default:
            row["default"] = _value(default, datatype)
        rows.append(row)
    return rows


def _value(text: str, datatype: str) -> str | float | int | bool:
    try:
        if datatype == "BOOL":
            return {"true": True, "false": False}[text.lower()]
        return int(text) if datatype.startswith("INT") else text if datatype == "BYTES" else float(text)
    except (ValueError, KeyError):
        raise AddError(f"the default {text!r} is not of the datatype {datatype}") from None


def categories_of(graph: GraphProto) -> dict[tuple[str, int], list[str]]:
    """(input, column) -> the texts that an encoder of it knows, where it fails on any other."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    columns: dict[str, list[tuple[str, int] | None]] = {}  # what each column of a tensor is
    for value in graph.input:
        shape = value.type.tensor_type.shape.dim
        width = shape[1].dim_value if len(shape) == 2 else 1
        columns[value.name] = [(value.name, index) for index in range(max(width, 1))]
    found: dict[tuple[str, int], list[str]] = {}
    for node in graph.node:
        lies = [columns.get(name, []) for name in node.input]
        known = _encoded(node)
        if known and lies and len(lies[0]) == 1 and lies[0][0] is not None:
            found[lies[0][0]] = known
        for output in node.output:
            columns[output] = _columns(node, lies, [constants.get(name) for name in node.input])
    return found


def _columns(
    node: NodeProto, lies: Sequence[list[tuple[str, int] | None]], constants: Sequence[Any]
) -> list[tuple[str, int] | None]:
    if node.op_type == "Concat":
        return [column for columns in lies for column in columns]
    if node.op_type in ("Gather", "ArrayFeatureExtractor") and len(constants) == 2 and constants[1] is not None:
        wanted = numpy_helper.to_array(constants[1]).ravel().tolist()
        return [lies[0][index] for index in wanted] if all(0 <= i < len(lies[0]) for i in wanted) else []
    if node.op_type in ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast"):
        return list(lies[0])
    return []


def _encoded(node: NodeProto) -> list[str]:
    attributes = {attribute.name: attribute for attribute in node.attribute}
    if node.op_type == "OneHotEncoder" and "zeros" in attributes and not attributes["zeros"].i:
        strings = attributes.get("cats_strings")
    elif node.op_type == "LabelEncoder":
        strings = attributes.get("keys_strings")
    else:
        return []
    return [text.decode("utf-8", "replace") for text in strings.strings] if strings else []
