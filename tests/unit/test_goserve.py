"""GoServe's API: named tensors, legacy rows, answers."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from function.codecs import goserve
from function.errors import PredictError
from function.tensor import Spec, Tensor

EXAMPLES = settings(max_examples=50, deadline=None)  # a busy machine is no failure


class Model(NamedTuple):
    inputs: dict[str, Spec]
    name: str = "m"
    version: str = "1"
    outputs: dict[str, Spec] = {}  # noqa: RUF012  # not read, not changed


def one(shape: tuple[int, ...], datatype: str = "FP32") -> Model:
    return Model({"x": Spec("x", datatype, shape)})


TWO = Model({"x": Spec("x", "FP32", (-1, 2)), "n": Spec("n", "INT64", ())})


def values(tensor: Tensor) -> list[Any]:
    if isinstance(tensor.data, list):
        return tensor.data
    return list(tensor.numbers())


def decode(document: object, model: Model) -> dict[str, Tensor]:
    return goserve.decode_infer(json.dumps(document).encode(), model).inputs


def refusal(document: object, model: Model) -> str:
    with pytest.raises(PredictError) as caught:
        decode(document, model)
    assert caught.value.status == 400
    assert values(decode({"tensors": {"x": [[1, 2]], "n": [3]}}, TWO)["x"]) == [1, 2]
    return caught.value.message


@pytest.mark.parametrize(
    ("shape", "data", "decoded"),
    [
        ((-1, 2), [[1, 2], [3, 4]], (2, 2)),
        ((-1, 2), [1, 2, 3, 4], (2, 2)),
        ((-1, 2), [], (0, 2)),
        ((2, -1), [[1, 2], [3, 4]], (2, 2)),
        ((-1, -1), [[1, 2, 3, 4]], (1, 4)),
        ((-1,), [1, 2, 3, 4], (4,)),
        ((4,), [1, 2, 3, 4], (4,)),
        ((1, 2, 2), [[[1, 2], [3, 4]]], (1, 2, 2)),
        ((1, 2, 2), [1, 2, 3, 4], (1, 2, 2)),
        ((), [1], ()),
    ],
)
def test_tensors(shape: tuple[int, ...], data: Any, decoded: tuple[int, ...]) -> None:
    tensor = decode({"tensors": {"x": data}}, one(shape))["x"]
    assert tensor.shape == decoded
    assert values(tensor) == [1, 2, 3, 4][: math.prod(decoded)]


def test_several_tensors_of_several_datatypes() -> None:
    tensors = decode({"tensors": {"n": [7], "x": [[1.5, 2]]}}, TWO)
    assert {name: (tensor.datatype, values(tensor)) for name, tensor in tensors.items()} == {
        "x": ("FP32", [1.5, 2]),
        "n": ("INT64", [7]),
    }
    assert values(decode({"tensors": {"x": [["a", "[é"]]}}, one((-1, 2), "BYTES"))["x"]) == [b"a", "[é".encode()]


@pytest.mark.parametrize(
    ("shape", "rows", "decoded"),
    [
        ((-1, 2), [[1, 2], [3, 4]], (2, 2)),
        ((-1, -1), [[1, 2], [3, 4]], (2, 2)),
        ((-1, 2, 1), [[1, 2], [3, 4]], (2, 2, 1)),
        ((-1, 2, 1), [[[1], [2]], [[3], [4]]], (2, 2, 1)),
        ((1, 2, -1), [[1, 2, 3, 4]], (1, 2, 2)),
        ((-1,), [1, 2, 3, 4], (4,)),
        ((-1, 4), [1, 2, 3, 4], (1, 4)),
        ((1, 2, 2), [1, 2, 3, 4], (1, 2, 2)),
    ],
)
def test_legacy_rows(shape: tuple[int, ...], rows: Any, decoded: tuple[int, ...]) -> None:
    tensor = decode({"inputs": rows}, one(shape))["x"]
    assert tensor.shape == decoded
    assert values(tensor) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("document", "model", "words"),
    [
        ({}, TWO, '{"tensors": {name: nested array}}'),
        ({"tensors": {}, "inputs": []}, TWO, '{"tensors": {name: nested array}}'),
        ({"tensor": {}}, TWO, "unknown field 'tensor'; known: tensors, inputs"),
        ({"tensors": []}, TWO, "must be an object; it is an array"),
        ({"tensors": {}}, TWO, "'tensors' lacks 'x'; model 'm' takes x, n"),
        ({"tensors": {"x": [[1, 2]], "n": None}}, TWO, "'tensors' lacks 'n'"),
        ({"tensors": {"x": [[1, 2]], "n": 3}}, TWO, "must be an array; it is 3"),
        ({"tensors": {"x": [[1, 2]], "n": [3], "z": [1]}}, TWO, "'tensors' has the unknown field 'z'; known: x, n"),
        ({"tensors": {"x": [[1, 2]], "n": [3.5]}}, TWO, "'n': element 0 in row-major order is 3.5"),
        ({"tensors": {"x": [[1, 2, 3]], "n": [3]}}, TWO, "'x' has data of shape [1, 3]; expected [-1, 2]"),
        ({"tensors": {"x": [[1, 2], [3]]}}, one((-1, 2)), "data[1] has 1 elements; expected 2"),
        ({"tensors": {"x": [[1, 2], 3]}}, one((-1, 2)), "data[1] is 3; expected an array"),
        ({"tensors": {"x": [[1, [2]]]}}, one((-1, 2)), "element 1 in row-major order is an array"),
        ({"tensors": {"x": [1, 2, 3]}}, one((-1, 2)), "data of shape [3]; expected [-1, 2]"),
        ({"tensors": {"x": [1, 2]}}, one((-1, -1)), "flat when at most one size is open"),
        ({"tensors": {"x": [[[1, 2]]]}}, one((-1, 2)), "data of shape [1, 1, 2]"),
        ({"tensors": {"x": [[]]}}, one((-1, 2)), "data of shape [1, 0]"),
        ({"tensors": {"x": [1]}}, one((1,), "BF16"), "BF16"),
        ({"inputs": [[1, 2]]}, TWO, "'inputs' is for models with one input; 'm' has x, n"),
        ({"inputs": [1, 2, 3]}, one((-1, 2)), "data of shape [3]; expected [-1, 2]"),
        ({"inputs": [1, 2, 3, 4]}, one((-1, 2)), "as an array of rows, each nested, or flat"),
        ({"inputs": [1, 2]}, one((-1, -1)), "data of shape [2]; expected [-1, -1]"),
        ({"inputs": [1, 2]}, one((2, 1)), "data of shape [2]; expected [2, 1]"),
        ({"inputs": [[1, 2, 3]]}, one((-1, 2)), "data of shape [1, 3]"),
        ({"inputs": [[1, 2], [3]]}, one((-1, 2)), "data[1] has 1 elements"),
        ({"inputs": [[1, 2], [3, [4]]]}, one((-1, 2)), "is an array"),
        ({"inputs": [[1, 2, 3, 4], [[1, 2], [3, 4]]]}, one((-1, 2, 2)), "data[1] has 2 elements; expected 4"),
        ({"inputs": [[1, 2], [3, 4]]}, one((1, 2, 1)), "data of shape [2, 2]; expected [1, 2, 1]"),
        ({"inputs": [[1, 2]]}, one((-1, -1, -1)), "data of shape [1, 2]"),
        ({"inputs": []}, one((-1, 2)), "data of shape [0]"),
        ({"inputs": [[1]]}, one(()), "data of shape [1, 1]; expected []"),
        ({"inputs": {"x": []}}, one((1,)), "must be an array; it is an object"),
    ],
)
def test_refusals(document: object, model: Model, words: str) -> None:
    message = refusal(document, model)
    assert words in message
    assert len(message) < 300


def test_answers() -> None:
    outputs = {
        "probabilities": Tensor("FP64", (1, 2), b"\0" * 8 + b"\0\0\0\0\0\0\xf0\x3f"),
        "label": Tensor("INT64", (1,), (5).to_bytes(8, "little")),
        "name": Tensor("BYTES", (2, 1), ["é".encode(), b""]),
        "scalar": Tensor("BOOL", (), b"\1"),
        "none": Tensor("FP32", (2, 0), b""),
    }
    assert goserve.encode_infer("m", outputs) == (
        b'{"model_name":"m","outputs":{"probabilities":[[0.0,1.0]],"label":[5],"name":[["\\u00e9"],[""]],'
        b'"scalar":true,"none":[[],[]]}}'
    )


def test_an_answer_that_json_cannot_carry() -> None:
    with pytest.raises(PredictError, match="'y' is inf at element 0"):
        goserve.encode_infer("m", {"y": Tensor("FP64", (1,), b"\0\0\0\0\0\0\xf0\x7f")})


@EXAMPLES
@given(st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3)))
def test_what_is_answered_can_be_sent_back(rows: list[list[float]]) -> None:
    tensor = decode({"tensors": {"x": rows}}, one((-1, 3), "FP64"))["x"]
    assert tensor.shape == (len(rows), 3)
    answered = json.loads(goserve.encode_infer("m", {"x": tensor}))["outputs"]
    assert answered == {"x": rows}
    assert values(decode({"tensors": answered}, one((-1, 3), "FP64"))["x"]) == [value for row in rows for value in row]
