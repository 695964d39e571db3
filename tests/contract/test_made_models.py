"""Models of other kinds through the API: dynamic shapes, several inputs and datatypes, with and without softmax."""

from __future__ import annotations

import io
import json
import math
import struct
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from tests.contract import made_models
from tests.contract.client import KINDS, Client, new_client

if TYPE_CHECKING:
    from pathlib import Path

Tensors = dict[str, tuple[str, list[int], list[Any]]]  # name -> datatype, shape, data

COLOURS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    made_models.add_model(folder, "echo", made_models.echo())
    made_models.add_model(folder, "mixed", made_models.mixed())
    shades, none, softmax = made_models.shades(), made_models.shades_rule("none"), made_models.shades_rule("softmax")
    made_models.add_model(folder, "scores", shades, image=none, labels=COLOURS)
    made_models.add_model(folder, "logits", shades, image=softmax)
    return folder


@pytest.fixture(scope="module")
def client(repository: Path) -> Client:
    return new_client(repository, "echo")


def png(colour: tuple[int, int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(out, "PNG")
    return out.getvalue()


def values(shape: list[int], numbers: list[float]) -> dict[str, object]:
    return {"inputs": [{"name": "values", "datatype": "FP32", "shape": shape, "data": numbers}]}


def test_all_models_of_the_repository_are_listed(client: Client) -> None:
    names = ["echo", "logits", "mixed", "scores"]
    assert [row["name"] for row in client.get("/v1/models").json["models"]] == names
    assert [row["name"] for row in client.post("/v2/repository/index", b"").json] == names


@pytest.mark.parametrize("shape", [[1, 1], [2, 3], [3, 2], [6, 1], [0, 4]])
def test_dynamic_dimensions_take_any_size(client: Client, shape: list[int]) -> None:
    numbers = [index / 4 - 1 for index in range(shape[0] * shape[1])]
    (output,) = client.post("/v2/models/echo/infer", values(shape, numbers)).json["outputs"]
    assert output == {"name": "same", "datatype": "FP32", "shape": shape, "data": numbers}
    if numbers:
        nested = [numbers[at : at + shape[1]] for at in range(0, len(numbers), shape[1])]
        answer = client.post("/v1/models/echo/infer", {"tensors": {"values": nested}}).json
        assert answer == {"model_name": "echo", "outputs": {"same": nested}}


def test_numbers_keep_their_value_up_to_the_end_of_fp32(client: Client) -> None:
    largest = 3.4028234663852886e38
    numbers = [0.0, largest, -largest, 1e-45, 1e-60, 0.1, 16777217.0]
    (output,) = client.post("/v2/models/echo/infer", values([1, 7], numbers)).json["outputs"]
    assert output["data"] == [struct.unpack("<f", struct.pack("<f", number))[0] for number in numbers]
    for number in (3.5e38, -3.5e38, 1e300):
        answer = client.post("/v2/models/echo/infer", values([1, 2], [1.0, number]))
        assert answer.status == 400
        assert "'values' is FP32" in answer.error
        assert "3.4e38" in answer.error


def test_two_dynamic_dimensions_are_not_guessed_from_flat_data(client: Client) -> None:
    answer = client.post("/v1/models/echo/infer", {"tensors": {"values": [1, 2, 3, 4]}})
    assert answer.status == 400
    assert "shape [4]" in answer.error
    assert "[-1, -1]" in answer.error


MIXED: Tensors = {
    "numbers": ("FP32", [2, 2], [1.5, 2.0, 3.0, -0.5]),
    "ids": ("INT64", [3], [1, -2, 9007199254740993]),
    "flag": ("BOOL", [1], [True]),
    "text": ("BYTES", [2], ["zwölf", ""]),
}
ANSWERED: Tensors = {
    "sum": ("FP32", [], [6.0]),
    "next": ("INT64", [3], [2, -1, 9007199254740994]),
    "opposite": ("BOOL", [1], [False]),
    "copy": ("BYTES", [2], ["zwölf", ""]),
}


def entries(tensors: Tensors) -> list[dict[str, object]]:
    return [
        dict(zip(("name", "datatype", "shape", "data"), (name, *rest), strict=True)) for name, rest in tensors.items()
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_and_outputs_of_several_datatypes(client: Client, kind: str) -> None:
    inputs, expected = entries(MIXED), entries(ANSWERED)
    for order in (inputs, inputs[::-1]):
        answer = client.of(kind).post("/v2/models/mixed/infer", {"inputs": order})
        assert answer.status == 200, answer.body
        assert answer.json["outputs"] == expected
    wanted = client.of(kind).post("/v2/models/mixed/infer", {"inputs": inputs, "outputs": [{"name": "next"}]})
    assert wanted.json["outputs"] == expected[1:2]


def test_several_inputs_in_goserves_form(client: Client) -> None:
    tensors = {"numbers": [[1.5, 2.0], [3.0, -0.5]], "ids": [1, -2], "flag": [True], "text": ["a", "b"]}
    answer = client.post("/v1/models/mixed/infer", {"tensors": tensors}).json
    assert answer["outputs"] == {"sum": 6.0, "next": [2, -1], "opposite": [False], "copy": ["a", "b"]}


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("ids", {"data": [1.5, 2, 3]}, ("'ids': element 0", "1.5", "whole numbers")),
        ("ids", {"data": [True, 2, 3]}, ("'ids': element 0", "true", "whole numbers")),
        ("ids", {"data": [2**63, 2, 3]}, ("'ids': element 0", "9223372036854775807")),
        ("flag", {"data": [2]}, ("'flag': element 0", "2", "true, false")),
        ("text", {"data": [1, 2]}, ("'text': element 0", "1", "strings")),
        ("numbers", {"datatype": "FP64"}, ("'FP64'", "takes FP32")),
        ("numbers", {"shape": [4, 1]}, ("[4, 1]", "[-1, 2]")),
        ("numbers", {"name": "number"}, ("'number'", "numbers, ids, flag, text")),
    ],
)
def test_what_does_not_fit_one_input_of_several_is_refused(
    client: Client, name: str, change: dict[str, object], words: tuple[str, ...]
) -> None:
    inputs = [entry | (change if entry["name"] == name else {}) for entry in entries(MIXED)]
    answer = client.post("/v2/models/mixed/infer", {"inputs": inputs})
    assert answer.status == 400
    assert not [word for word in words if word not in answer.error], answer.error


def test_a_missing_input_is_named(client: Client) -> None:
    answer = client.post("/v2/models/mixed/infer", {"inputs": entries(MIXED)[1:]})
    assert answer.status == 400
    assert "lacks numbers" in answer.error
    legacy = client.post("/v1/models/mixed/infer", {"inputs": [[1, 2]]})
    assert legacy.status == 400
    assert "numbers, ids, flag, text" in legacy.error


def test_softmax_only_where_the_outputs_are_logits(client: Client) -> None:
    picture = png((51, 204, 102))
    scores = client.post("/v1/models/scores/classify", picture).json["predictions"]
    assert [(row["label"], row["index"]) for row in scores] == [("green", 1), ("blue", 2), ("red", 0)]
    assert [row["probability"] for row in scores] == pytest.approx([0.8, 0.4, 0.2], abs=1e-5)

    logits = client.post("/v1/models/logits/classify", picture).json["predictions"]
    assert [(row["label"], row["index"]) for row in logits] == [("1", 1), ("2", 2), ("0", 0)]  # it has no labels
    total = sum(math.exp(row["probability"]) for row in scores)
    expected = [math.exp(row["probability"]) / total for row in scores]
    assert [row["probability"] for row in logits] == pytest.approx(expected, abs=1e-6)


def test_equal_scores_keep_the_order_of_their_index(client: Client) -> None:
    rows = client.post("/v1/models/scores/classify", png((90, 90, 90))).json["predictions"]
    assert [row["index"] for row in rows] == [0, 1, 2]


def test_a_model_without_pictures_says_what_it_takes(client: Client) -> None:
    answer = client.post("/classify", png((1, 2, 3)))
    assert answer.status == 400
    assert "'echo' takes no pictures" in answer.error
    assert "/v2/models/echo/infer" in answer.error


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_beyond_lambdas_limit_is_a_413(client: Client, kind: str) -> None:
    count = 2_000_000 if kind != "alb" else 400_000
    data = struct.pack("<f", 0.5) * count
    entry = {"name": "values", "datatype": "FP32", "shape": [1, count], "parameters": {"binary_data_size": len(data)}}
    header = json.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}}).encode()
    length = {"Inference-Header-Content-Length": str(len(header))}
    answer = client.of(kind).post("/v2/models/echo/infer", header + data, length)
    assert answer.status == 413
    assert "MiB limit" in answer.error
    assert "init" in answer.phases
    zipped = client.of(kind).post("/v2/models/echo/infer", header + data, length | {"Accept-Encoding": "gzip"})
    assert zipped.status == 200  # as the message says


def test_a_direct_answer_beyond_lambdas_limit_is_an_error(client: Client) -> None:
    answer = client.invoke({"inputs": [[0.123456789] * 400_000]})
    assert "lets 6291456 out" in answer["error"]
    assert "smaller batch" in answer["error"]
    assert client.invoke({"inputs": [[0.5]]}) == {"model_name": "echo", "outputs": {"same": [[0.5]]}}
