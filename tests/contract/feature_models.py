"""A small model with entity features: `cards` adds up what is known about a card."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import ModelProto, TensorProto, helper

from tests.support import make_model, prepare_here, write_folder

if TYPE_CHECKING:
    from pathlib import Path

# In the model's order; `amount` is the request's own.
TABLE = """
[table]
columns = [
    { name = "mean", datatype = "FP32" },
    { name = "amount", datatype = "FP32" },
    { name = "visits", datatype = "INT64" },
    { name = "stolen", datatype = "BOOL" },
    { name = "country", datatype = "BYTES", input = "country" },
]
"""
VIEW = """
[[features]]
view = "card_stats"
project = "fraud"
max_age = 60
entity = [{{ name = "card_id", datatype = "BYTES" }}]
columns = [
    {{ name = "visits", datatype = "INT64", default = 1000 }},
    {{ name = "mean", datatype = "FP32", default = 0.5 }},
    {{ name = "country", datatype = "BYTES", default = "" }},
    {{ name = "stolen", datatype = "BOOL", default = true }},
]
{more}
"""
FILE = "cards.csv"
ROWS = "card_id,mean,visits,stolen,country\nc-1,10.25,3,false,AT\nc-2,,4,true,DE\n"
DEFAULT_SUM = 1001.5  # of the four numbers, without the amount
KNOWN_SUM = 13.25


def cards() -> ModelProto:
    """`numbers` FP32 [-1, 4], `country` [-1] -> `sum` FP32 [-1] and `same` [-1]."""
    return make_model(
        [
            helper.make_node("ReduceSum", ["numbers", "axis"], ["sum"], keepdims=0),
            helper.make_node("Identity", ["country"], ["same"]),
        ],
        [("numbers", TensorProto.FLOAT, ["n", 4]), ("country", TensorProto.STRING, ["n"])],
        [("sum", TensorProto.FLOAT, ["n"]), ("same", TensorProto.STRING, ["n"])],
        {"axis": np.array([1], np.int64)},
    )


def build(repository: Path, *, more: str = f'file = "{FILE}"', name: str = "cards") -> None:
    """The prepared model folder `name`; `more` are further fields of its [[features]]."""
    folder = repository / name
    folder.mkdir(parents=True)
    (folder / FILE).write_text(ROWS)
    prepare_here(write_folder(folder, cards(), TABLE + VIEW.format(more=more)))
