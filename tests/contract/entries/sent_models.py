"""Models of what people send: rows of named columns, texts, and instances that their own Python reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper

from models import manifest
from tests import support, tiny_text
from tests.support import make_model, write_folder

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import ModelProto

PEOPLE = """
[table]
output = "shares"
[[table.columns]]
name = "job"
datatype = "BYTES"
categories = ["baker", "pilot"]
input = "job"
[[table.columns]]
name = "age"
datatype = "FP32"
[[table.columns]]
name = "member"
datatype = "BOOL"
default = false
[[table.columns]]
name = "visits"
datatype = "INT64"
"""
EMBEDDING = """
[text]
tokenizer = "tokenizer.json"
max_length = 16
task = "embedding"
pooling = "mean"
normalise = true
"""
CLASSES = """
[text]
tokenizer = "tokenizer.json"
max_length = 16
truncate = true
task = "classification"
"""
HOOKS = """
class Refused(Exception):
    status = 400

def preprocess(instance):
    if isinstance(instance, bytes):
        instance = {"a": len(instance), "raw": instance}
    try:
        return {"x": [[float(instance["a"]), len(instance.get("raw", b""))]]}
    except Exception as error:
        raise Refused(f"an instance has a number a, and raw: {error!r}")

def postprocess(outputs):
    return {"total": outputs["total"].tolist()[0], "shape": outputs["x2"].shape}
"""


def people() -> ModelProto:
    """`job` BYTES [-1, 1] and `numbers` FP32 [-1, 3] -> `shares` FP32 [-1, 2] and `same` BYTES [-1, 1]."""
    return make_model(
        [
            helper.make_node("Identity", ["job"], ["same"]),
            helper.make_node("MatMul", ["numbers", "weights"], ["shares"]),
        ],
        [("job", TensorProto.STRING, ["n", 1]), ("numbers", TensorProto.FLOAT, ["n", 3])],
        [("shares", TensorProto.FLOAT, ["n", 2]), ("same", TensorProto.STRING, ["n", 1])],
        {"weights": np.array([[1, 0], [0, 1], [0.5, 0.25]], np.float32)},
    )


def sums() -> ModelProto:
    """`x` FP32 [-1, 2] -> `x2`, twice as much, and `total` FP32 [-1], each row's sum."""
    return make_model(
        [
            helper.make_node("Add", ["x", "x"], ["x2"]),
            helper.make_node("ReduceSum", ["x", "axis"], ["total"], keepdims=0),
        ],
        [("x", TensorProto.FLOAT, ["n", 2])],
        [("x2", TensorProto.FLOAT, ["n", 2]), ("total", TensorProto.FLOAT, ["n"])],
        {"axis": np.array([1], np.int64)},
    )


def build(repository: Path) -> None:
    """Writes and prepares the models."""
    add(repository / "people", people(), extra=PEOPLE, top='missing = "nan"\nlabels = "labels.txt"\n')
    add(repository / "phrases", tiny_text.encoder(), extra=EMBEDDING)
    add(repository / "moods", tiny_text.encoder(classes=True), extra=CLASSES, top='labels = "labels.txt"\n')
    add(repository / "hooked", sums(), processing=HOOKS)


def add(
    folder: Path,
    model: ModelProto,
    *,
    extra: str = "",
    top: str = "",
    processing: str = "",
) -> Path:
    """A prepared model folder whose model.toml begins with `top` and ends in `extra`."""
    folder.mkdir(parents=True, exist_ok=True)
    if "[text]" in extra:
        tiny_text.tokenizer().save(str(folder / "tokenizer.json"))
    if processing:
        (folder / "processing.py").write_text(processing)
    labels = {"people": "few\nmany\n", "moods": "calm\nglad\nsad\n"}.get(folder.name, "")
    if labels:
        (folder / "labels.txt").write_text(labels)
    write_folder(folder, model, extra)
    document = folder / "model.toml"
    document.write_text(top + document.read_text())
    prepare_here(folder)
    return folder


def prepare_here(folder: Path) -> None:
    """Prepares the folder for this CPU alone, in this process."""
    support.prepare_here(manifest.read(folder))
