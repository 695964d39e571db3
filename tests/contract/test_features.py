"""Entity features joined to requests of both protocols, from the rows that come with the model."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract import feature_models as models
from tests.contract.client import Client, new_client

if TYPE_CHECKING:
    from pathlib import Path

PREDICT, INFER = "/v1/models/cards:predict", "/v2/models/cards/infer"
ROW = {"card_id": "c-1", "amount": 100.0}
KNOWN = {"sum": models.KNOWN_SUM + 100, "same": "AT"}
UNKNOWN = {"sum": models.DEFAULT_SUM + 100, "same": ""}
COLUMNS = ["visits", "mean", "country", "stolen"]
NOT_FOUND = {"row": 1, "view": "card_stats", "status": "NOT_FOUND", "columns": COLUMNS}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Client:
    folder: Path = tmp_path_factory.mktemp("repository")
    models.build(folder)
    return new_client(folder, "cards", RESULT_CACHE_BYTES="1000000")


def infer_body(keys: list[str], amounts: list[Any], **changes: Any) -> dict[str, Any]:
    rows = [len(keys)]
    return {
        "inputs": [
            {"name": "card_id", "datatype": "BYTES", "shape": rows, "data": keys},
            {"name": "amount", "datatype": "FP32", "shape": rows, "data": amounts},
        ]
    } | changes


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"instances": [ROW, ROW | {"card_id": "nobody"}]}, {}),
        ({"dataframe_records": [ROW, ROW | {"card_id": "nobody"}]}, {}),
        ({"dataframe_split": {"columns": ["amount", "card_id"], "data": [[100, "c-1"], [100, "nobody"]]}}, {}),
        ({"inputs": {"card_id": ["c-1", "nobody"], "amount": [100, 100]}}, {}),
        (b"amount,card_id\n100,c-1\n100,nobody\n", {"content-type": "text/csv"}),
    ],
)
def test_every_form_of_rows(client: Client, body: object, headers: dict[str, str]) -> None:
    answer = client.post(PREDICT, body, headers)
    assert answer.status == 200, answer.body
    assert answer.json == {"predictions": [KNOWN, UNKNOWN], "features": {"defaulted": [NOT_FOUND]}}


def test_a_null_is_the_columns_default_and_told(client: Client) -> None:
    answer = client.post(PREDICT, {"instances": [ROW | {"card_id": "c-2"}]}).json
    assert answer["predictions"] == [{"sum": 0.5 + 100 + 4 + 1, "same": "DE"}]
    assert answer["features"]["defaulted"] == [
        {"row": 0, "view": "card_stats", "status": "NULL_VALUE", "columns": ["mean"]}
    ]


def test_open_inference_protocol(client: Client) -> None:
    answer = client.post(INFER, infer_body(["c-1", "nobody"], [100, 100.0], id="7")).json
    assert answer["id"] == "7"
    assert [output["data"] for output in answer["outputs"]] == [
        [KNOWN["sum"], UNKNOWN["sum"]],
        [KNOWN["same"], UNKNOWN["same"]],
    ]
    assert answer["parameters"]["features_defaulted"] == len(COLUMNS)
    assert json.loads(answer["parameters"]["features"]) == {"defaulted": [NOT_FOUND]}
    answer = client.post(INFER, infer_body(["c-1"], [100])).json
    assert answer["parameters"] == {"features_defaulted": 0}


def test_binary_data(client: Client) -> None:
    keys, amounts = b"".join(struct.pack("<I", len(key)) + key for key in (b"c-1", b"x")), struct.pack("<2f", 100, 100)
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": "amount",
                    "datatype": "FP32",
                    "shape": [2],
                    "parameters": {"binary_data_size": len(amounts)},
                },
                {"name": "card_id", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": len(keys)}},
            ],
            "outputs": [{"name": "sum"}],
        }
    ).encode()
    answer = client.post(INFER, head + amounts + keys, {"Inference-Header-Content-Length": str(len(head))})
    assert answer.json["outputs"][0]["data"] == [KNOWN["sum"], UNKNOWN["sum"]]


def test_the_models_own_inputs_are_taken_as_they_are(client: Client) -> None:
    inputs = [
        {"name": "numbers", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]},
        {"name": "country", "datatype": "BYTES", "shape": [1], "data": ["FR"]},
    ]
    answer = client.post(INFER, {"inputs": inputs}).json
    assert [output["data"] for output in answer["outputs"]] == [[10], ["FR"]]
    assert "parameters" not in answer


def test_the_metadata_says_what_is_sent(client: Client) -> None:
    assert client.get("/v2/models/cards").json["inputs"] == [
        {"name": "amount", "datatype": "FP32", "shape": [-1]},
        {"name": "card_id", "datatype": "BYTES", "shape": [-1]},
    ]


def test_answers_are_not_stored(client: Client) -> None:
    body = {"instances": [ROW]}
    for _ in range(2):
        answer = client.post(PREDICT, body)
        assert "cache" not in answer.phases
        assert "features" in answer.phases


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ({"instances": [{"amount": 1}]}, "lacks the columns card_id"),
        ({"instances": [ROW | {"mean": 3}]}, "unknown columns 'mean'"),
        ({"instances": [ROW | {"card_id": 7}]}, "a string is expected"),
        ({"instances": [ROW | {"card_id": None}]}, "is null"),
        ({"instances": [ROW | {"card_id": "k" * 1025}]}, "a text of at most 1024 bytes"),
        ({"inputs": {"card_id": ["a"], "amount": [1, 2]}}, "different lengths"),
    ],
)
def test_rows_that_do_not_fit(client: Client, body: object, part: str) -> None:
    answer = client.post(PREDICT, body)
    assert answer.status == 400, answer.body
    assert part in answer.error


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (infer_body(["a"], [1], inputs=[]), "lacks amount, card_id"),
        (infer_body(["a", "b"], [1, None]), "FP32 takes numbers"),
        ({"inputs": [*infer_body(["a"], [1])["inputs"], {"name": "mean"}]}, "takes amount, card_id"),
        (infer_body([], []), "there are no rows"),
        (
            {"inputs": [infer_body(["a", "b"], [1, 2])["inputs"][0], infer_body(["a"], [1])["inputs"][1]]},
            "different lengths",
        ),
    ],
)
def test_inputs_that_do_not_fit(client: Client, body: object, part: str) -> None:
    answer = client.post(INFER, body)
    assert answer.status == 400, answer.body
    assert part in answer.error


def test_without_a_store_that_answers(tmp_path: Path) -> None:
    """Port 1 of the loopback refuses at once; the policy is each model's own."""
    for policy in ("default", "last", "unavailable"):
        models.build(tmp_path, more=f'on_error = "{policy}"', name=f"cards_{policy}")
    client = new_client(tmp_path, "cards_default", FEATURES_URL="redis://127.0.0.1:1", FEATURES_DEADLINE_MS="5000")
    for policy in ("default", "last"):
        answer = client.post(f"/v1/models/cards_{policy}:predict", {"instances": [ROW]}).json
        assert answer["predictions"] == [UNKNOWN]
        assert [each["status"] for each in answer["features"]["defaulted"]] == ["UNAVAILABLE"]
    answer = client.post("/v1/models/cards_unavailable:predict", {"instances": [ROW]})
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert "card_stats" in answer.error


def test_a_store_that_nobody_knows(tmp_path: Path) -> None:
    models.build(tmp_path)
    answer = new_client(tmp_path, "cards", FEATURES_URL="ftp://there").post(PREDICT, {"instances": [ROW]})
    assert answer.status == 503
    assert "FEATURES_URL" in answer.error
