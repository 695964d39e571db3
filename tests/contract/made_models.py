"""Small models made for the tests, as folders that are prepared like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import ModelProto, TensorProto, helper

from models import manifest
from tests.support import make_model, prepare_here, write_folder

if TYPE_CHECKING:
    from pathlib import Path

SIDE = 16  # pixels


def echo() -> ModelProto:
    """`values` FP32 [-1, -1] -> `same`: two dynamic dimensions, and answers as large as one likes."""
    return make_model(
        [helper.make_node("Identity", ["values"], ["same"])],
        [("values", TensorProto.FLOAT, ["n", "m"])],
        [("same", TensorProto.FLOAT, ["n", "m"])],
    )


def mixed() -> ModelProto:
    """Four inputs of four datatypes -> the numbers' sum, the ids plus one, the flag negated, the text as it is."""
    return make_model(
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
        {"one": np.array(1, np.int64)},
    )


def shades(order: tuple[int, int, int] = (0, 1, 2)) -> ModelProto:
    """`input` FP32 [-1, 3, SIDE, SIDE] -> `scores` [-1, 3]: how red, green and blue a picture is on average.

    With another `order` of the colours it is wrong, and looks the same from outside.
    """
    weights = np.repeat(np.eye(3, dtype=np.float32)[:, order], SIDE * SIDE, axis=0) / (SIDE * SIDE)
    return make_model(
        [
            helper.make_node("Flatten", ["input"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["scores"]),
        ],
        [("input", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [("scores", TensorProto.FLOAT, ["n", 3])],
        {"weights": weights},
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
    """A prepared model folder; `image` is the [image] table of its model.toml."""
    folder = repository / name
    write_folder(folder, model, image, labels)
    prepare_again(folder)
    return folder


def prepare_again(folder: Path) -> None:
    """What `zeroserve prepare FOLDER` does on a machine without qemu."""
    prepare_here(manifest.read(folder))
