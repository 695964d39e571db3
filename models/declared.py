"""What model.toml says about what people send: [table], [text] and [processing]."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from models.table import TableError, make

if TYPE_CHECKING:
    from pathlib import Path

    from models.manifest import TensorSpec

_COLUMN_TYPES = ("FP32", "FP64", "INT64", "INT32", "BOOL", "BYTES")
PROCESSING = "processing.py"
_TAKEN = (PROCESSING, "model.json", "image.onnx", "alike.json")  # what preparing and packing write beside it
TOKEN_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_PYTHON = {"FP": (int, float), "IN": (int,), "BO": (bool,), "BY": (str,)}


@dataclass(frozen=True)
class Column:
    """A named column: `input` is the model's input that it belongs to; without one, the input that is left over."""

    name: str
    datatype: str
    default: object = None
    categories: list[str] = field(default_factory=list)
    input: str = ""

    def __post_init__(self) -> None:
        if self.datatype not in _COLUMN_TYPES:
            raise TableError(
                f"[[table.columns]] {self.name!r} has datatype {self.datatype!r}; one of {', '.join(_COLUMN_TYPES)} "
                "is expected"
            )
        if self.categories and self.datatype != "BYTES":
            raise TableError(f"[[table.columns]] {self.name!r} has categories, which are for BYTES")
        if self.default is None:
            return
        fits = isinstance(self.default, _PYTHON[self.datatype[:2]])
        if not fits or (isinstance(self.default, bool) and self.datatype != "BOOL"):
            raise TableError(
                f"[[table.columns]] {self.name!r} has the default {self.default!r}, which is no {self.datatype}"
            )
        if self.categories and self.default not in self.categories:
            raise TableError(f"[[table.columns]] {self.name!r} has the default {self.default!r}, which is no category")


@dataclass(frozen=True)
class Table:
    """Named columns -> the model's inputs; `output`: the one that is answered, empty for all."""

    columns: list[Column]
    output: str = ""


@dataclass(frozen=True)
class Text:
    """How a string becomes the model's inputs, and the tensor `output` an embedding or the scores of classes."""

    tokenizer: str
    max_length: int
    task: str
    output: str = ""
    truncate: bool = False
    pooling: str = "none"
    normalise: bool = False
    activation: str = "softmax"

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("task", self.task, ("embedding", "classification")),
            ("pooling", self.pooling, ("mean", "cls", "none")),
            ("activation", self.activation, ("softmax", "sigmoid", "none")),
        ):
            if value not in allowed:
                raise TableError(f"[text] {name} is {value!r}; one of {', '.join(allowed)} is expected")
        if "/" in self.tokenizer or self.max_length < 1:
            raise TableError("[text] tokenizer must be a file of this folder, and max_length at least 1 token")


@dataclass(frozen=True)
class Processing:
    """processing.py beside model.toml: how long one request may spend in it, and the `files` that it reads."""

    timeout_s: float = 10.0
    files: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not 0 < self.timeout_s <= 900:
            raise TableError(f"[processing] timeout_s is {self.timeout_s}; more than 0 and at most 900 is expected")
        for name in self.files:
            if not re.fullmatch(r"[^./][^/]*\.[^/]+", name) or name in _TAKEN:
                raise TableError(
                    f"[processing] files has {name!r}; files of this folder are expected, such as characters.txt, not "
                    f"{', '.join(_TAKEN)}"
                )


@dataclass(frozen=True)
class Int8:
    """Of `prepare --int8`: the loss that is allowed, in percentage points of accuracy, without labels of pictures
    that get FP32's class; and a folder of pictures beside model.toml to calibrate with."""

    allowed_loss: float = 0.3
    calibration: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.allowed_loss <= 100:
            raise TableError(f"[int8] allowed_loss is {self.allowed_loss}; 0 to 100 percentage points are expected")


def sent(document: Any, folder: Path, inputs: list[TensorSpec], outputs: list[TensorSpec]) -> dict[str, Any]:
    """The tables of `document` that are there, by name; TableError where one does not fit the model or its folder."""
    found: dict[str, Any] = {}
    has_processing = (folder / PROCESSING).is_file()
    kinds = [name for name in ("image", "table", "text") if name in document]
    if len(kinds) > 1:
        raise TableError(f"[{'] and ['.join(kinds)}] are there; one of them says what people send")
    if has_processing and "text" in document:
        raise TableError(f"[text] is there, and {PROCESSING} beside it; one of them says what people send")
    if "table" in document:
        found["table"] = table(document["table"], inputs, outputs)
    if "text" in document:
        found["text"] = text(document["text"], folder, inputs, outputs)
    if has_processing:
        found["processing"] = make(Processing, "[processing] ", document.get("processing", {}))
        for name in found["processing"].files:
            if not (folder / name).is_file():
                raise TableError(f"[processing] files: {folder / name} is missing; put it there, or take it out")
    elif "processing" in document:
        raise TableError(f"[processing] is there, and {folder / PROCESSING} is not; write it, or take the table out")
    return found


def text(document: Any, folder: Path, inputs: list[TensorSpec], outputs: list[TensorSpec]) -> Text:
    """The [text] with its output filled in; TableError where it does not fit the model, or has no tokenizer."""
    found = make(Text, "[text] ", document)
    if not (folder / found.tokenizer).is_file():
        raise TableError(
            f"[text] tokenizer: {folder / found.tokenizer} is missing; put the model's tokenizer.json there"
        )
    if not found.output and len(outputs) != 1:
        raise TableError(f"[text] needs output, one of {', '.join(spec.name for spec in outputs)}")
    found = replace(found, output=found.output or outputs[0].name)
    for spec in inputs:
        if (
            spec.name not in TOKEN_INPUTS
            or spec.datatype not in ("INT64", "INT32")
            or len(spec.shape) != 2
            or spec.shape[0] not in (-1, 1)
        ):
            raise TableError(
                f"[text]: input {spec.name!r} is {spec.datatype} {spec.shape}; it may have {', '.join(TOKEN_INPUTS)}, "
                "INT64 or INT32 of the shape [-1, -1]"
            )
    output = next((spec for spec in outputs if spec.name == found.output), None)
    rank = 2 if found.pooling == "none" else 3
    if output is None or output.datatype != "FP32" or len(output.shape) != rank:
        raise TableError(
            f"[text] output {found.output!r} must name an FP32 output of {rank} dimensions with pooling "
            f"{found.pooling!r}: {'texts, numbers' if rank == 2 else 'texts, tokens, numbers'}"
        )
    if found.task == "classification" and rank != 2:
        raise TableError('[text] task "classification" is for an output of [texts, classes]; leave pooling out')
    return found


def table(document: Any, inputs: list[TensorSpec], outputs: list[TensorSpec]) -> Table:
    """The [table] with each column's input filled in; TableError where it does not fit the model's inputs."""
    rows = document.get("columns") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not rows:
        raise TableError("[table] needs columns, each under [[table.columns]]")
    columns = [make(Column, "[[table.columns]] ", row) for row in rows]
    found = make(Table, "[table] ", document | {"columns": columns})
    names = [column.name for column in columns]
    if len(set(names)) != len(names):
        raise TableError(f"[[table.columns]] has a name twice: {', '.join(names)}")
    if found.output and found.output not in [spec.name for spec in outputs]:
        raise TableError(f"[table] output is {found.output!r}; the model gives {', '.join(s.name for s in outputs)}")
    left = [spec.name for spec in inputs if spec.name not in {column.input for column in columns}]
    columns = [column if column.input else _with_input(column, left) for column in columns]
    for spec in inputs:
        _check_input(spec, [column for column in columns if column.input == spec.name])
    if unknown := {column.input for column in columns} - {spec.name for spec in inputs}:
        raise TableError(f"[[table.columns]] names the inputs {', '.join(sorted(unknown))}, which the model has not")
    return Table(columns, found.output)


def _with_input(column: Column, left: list[str]) -> Column:
    if len(left) != 1:
        raise TableError(
            f"[[table.columns]] {column.name!r} needs input: columns without one go into the one input that no column "
            f"names, and {', '.join(left) or 'none'} would be that"
        )
    return replace(column, input=left[0])


def _check_input(spec: TensorSpec, columns: list[Column]) -> None:
    if not columns:
        raise TableError(f"[[table.columns]] has no column for the input {spec.name!r}")
    if len(spec.shape) not in (1, 2) or (len(spec.shape) == 2 and spec.shape[1] not in (-1, len(columns))):
        raise TableError(
            f"[[table.columns]] gives input {spec.name!r} {len(columns)} columns; its shape is {spec.shape}"
        )
    if len(spec.shape) == 1 and len(columns) != 1:
        raise TableError(f"[[table.columns]] gives input {spec.name!r} {len(columns)} columns; it has one dimension")
    for column in columns:
        texts = (column.datatype == "BYTES", spec.datatype == "BYTES")
        into_integers = spec.datatype[:2] != "FP" and column.datatype[:2] == "FP"
        into_flags = spec.datatype == "BOOL" and column.datatype != "BOOL"
        if texts[0] != texts[1] or into_integers or into_flags:
            raise TableError(
                f"[[table.columns]] {column.name!r} is {column.datatype}, its input {spec.name!r} {spec.datatype}; "
                "numbers go into numbers, BYTES into BYTES, and floats into floats alone"
            )
