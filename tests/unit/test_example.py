"""[example] of model.toml: read strictly, and what the golden input makes of it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from function.engine import golden
from function.tensor import Spec, Tensor
from models import example
from models.example import Example
from models.manifest import TensorSpec
from models.table import TableError

INPUTS = [
    TensorSpec("x", "FP32", [-1, 3]),
    TensorSpec("rate", "INT64", []),
    TensorSpec("text", "BYTES", [-1]),
    TensorSpec("flag", "BOOL", [1]),
    TensorSpec("small", "UINT8", [1]),
    TensorSpec("half", "BF16", [1]),
]
SPECS = {spec.name: Spec(spec.name, spec.datatype, tuple(spec.shape)) for spec in INPUTS}


def test_shapes_and_values() -> None:
    table = {"x": [2, 3], "rate": {"shape": [], "value": 16000}, "text": {"shape": [2], "value": "é"}}
    found = example.read(table, INPUTS)
    assert found == {"x": Example([2, 3]), "rate": Example([], 16000), "text": Example([2], "é")}
    entries: dict[str, dict[str, Any]] = {
        name: {"shape": each.shape, "value": each.value} for name, each in found.items()
    }
    tensors = golden.inputs(SPECS, example=entries)
    assert tensors["x"].shape == (2, 3)
    assert tensors["rate"].numbers() == (16000,)
    assert tensors["text"].data == ["é".encode()] * 2
    assert tensors["flag"].shape == (1,)
    assert golden.inputs(SPECS)["x"].shape == (1, 3)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ([1], "[example] should be a table"),
        ({"y": [1]}, "[example] has 'y'; the inputs are x, rate"),
        ({"x": [1, 4]}, "[example] x is [1, 4], which is not of the input's shape [-1, 3]"),
        ({"x": [3]}, "which is not of the input's shape"),
        ({"x": [-1, 3]}, "a shape without -1 is expected"),
        ({"x": "1x3"}, "a shape without -1 is expected"),
        ({"x": [1.5, 3]}, "a shape without -1 is expected"),
        ({"x": [True, 3]}, "a shape without -1 is expected"),
        ({"x": {"shape": [1, 3], "values": 1}}, "or { shape = [...], value = ... }"),
        ({"x": [1 << 40, 3]}, "elements are expected"),
        ({"rate": {"shape": [], "value": "a"}}, "which is not of the datatype INT64"),
        ({"rate": {"shape": [], "value": 1.5}}, "which is not of the datatype INT64"),
        ({"rate": {"shape": [], "value": 1 << 63}}, "which is not of the datatype INT64"),
        ({"rate": {"shape": [], "value": True}}, "which is not of the datatype INT64"),
        ({"small": {"shape": [1], "value": 256}}, "which is not of the datatype UINT8"),
        ({"text": {"shape": [1], "value": 1}}, "which is not of the datatype BYTES"),
        ({"flag": {"shape": [1], "value": 1}}, "which is not of the datatype BOOL"),
        ({"half": {"shape": [1], "value": 1}}, "which is not of the datatype BF16"),
        ({"x": {"shape": [1, 3], "value": 1e300}}, "which is not of the datatype FP32"),
    ],
)
def test_what_does_not_fit_is_named(table: Any, expected: str) -> None:
    with pytest.raises(TableError) as caught:
        example.read(table, INPUTS)
    assert expected in str(caught.value)


@pytest.mark.parametrize("count", [0, 1, 4096, 4097, 100_000])
def test_of_a_large_output_some_are_kept(count: int) -> None:
    found = golden.answer({"y": Tensor("UINT8", (count,), bytes(count))})["y"]
    assert len(found) == (count if count <= golden.MOST_ELEMENTS else math.ceil(count / -(-count // 4096)))
    assert len(found) <= golden.MOST_ELEMENTS


@pytest.mark.parametrize(
    ("expected", "got", "same"),
    [
        ([8.2e-05, 8.94e-08], [8.2e-05, 0.0], True),  # a text detector, two builds
        ([1e-6, 2e-7], [1e-6, 4e-7], False),
        ([1.0, 0.5], [1.0, 0.502], False),
    ],
)
def test_scores_near_0_may_differ_by_a_rounding(expected: list[float], got: list[float], same: bool) -> None:
    assert (golden.difference({"y": expected}, {"y": got}) is None) == same
