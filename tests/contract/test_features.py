"""Entity features joined to requests of both protocols, from the rows that come with the model."""

from __future__ import annotations

import json
import re
import struct
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract import feature_models as models
from tests.contract.client import Client, new_client

if TYPE_CHECKING:
    from pathlib import Path

PREDICT, INFER = "/v1/models/cards:predict", "/v2/models/cards/infer"
ONLINE, WRITE = "/get-online-features", "/v1/features/card_stats"
KEY = {"X-Admin-Key": "sesame"}
ROW = {"card_id": "c-1", "amount": 100.0}
KNOWN = {"sum": models.KNOWN_SUM + 100, "same": "AT"}
UNKNOWN = {"sum": models.DEFAULT_SUM + 100, "same": ""}
COLUMNS = ["visits", "mean", "country", "stolen"]
NOT_FOUND = {"row": 1, "view": "card_stats", "status": "NOT_FOUND", "columns": COLUMNS}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Client:
    folder: Path = tmp_path_factory.mktemp("repository")
    models.build(folder)
    return new_client(folder, "cards", RESULT_CACHE_BYTES="1000000", ADMIN_KEY=KEY["X-Admin-Key"])


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


def online(client: Client, **fields: Any) -> dict[str, Any]:
    answer = client.post(ONLINE, {"entities": {"card_id": ["c-1", "c-2", "nobody"]}} | fields)
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json
    assert list(found["results"][0]) == ["values", "statuses", "event_timestamps"]
    return found


def test_feasts_own_request(client: Client) -> None:
    found = online(client, features=["card_stats:mean", "card_stats:country"])
    assert found["metadata"] == {"feature_names": ["card_id", "mean", "country"]}
    keys, mean, country = found["results"]
    assert keys["values"] == ["c-1", "c-2", "nobody"]
    assert keys["statuses"] == ["PRESENT"] * 3
    assert set(keys["event_timestamps"]) == {"1970-01-01T00:00:00Z"}
    assert mean["values"] == [10.25, None, None]
    assert country["values"] == ["AT", "DE", None]
    assert country["statuses"] == ["PRESENT", "PRESENT", "NOT_FOUND"]
    assert country["event_timestamps"][2] == "1970-01-01T00:00:00Z"
    assert country["event_timestamps"][0].startswith("20")


def test_a_models_name_is_a_feature_service(client: Client) -> None:
    found = online(client, feature_service="cards", full_feature_names=True)
    assert found["metadata"]["feature_names"] == ["card_id", *(f"card_stats__{name}" for name in COLUMNS)]


@pytest.mark.parametrize(
    ("changes", "status", "part"),
    [
        ({}, 400, "either"),
        ({"features": ["mean"]}, 400, "card_stats:mean_1d"),
        ({"features": ["other:mean"]}, 404, "there are card_stats"),
        ({"features": ["card_stats:other"]}, 404, "it has visits"),
        ({"feature_service": "nobody"}, 404, "nobody"),
        ({"feature_service": ["cards"]}, 400, "either"),
        ({"features": ["card_stats:mean"], "entities": {}}, 400, "entities"),
        ({"features": ["card_stats:mean"], "entities": {"card": ["a"]}}, 400, "are of card_id"),
        ({"features": ["card_stats:mean"], "entities": {"card_id": "a"}}, 400, "an array of keys"),
        ({"features": ["card_stats:mean"], "entities": {"card_id": [1]}}, 400, "must be a text"),
        ({"features": ["card_stats:mean"], "full_feature_names": 1}, 400, "true or false"),
        ({"features": ["card_stats:mean"], "colour": 1}, 400, "unknown field"),
    ],
)
def test_what_feasts_route_refuses(client: Client, changes: dict[str, Any], status: int, part: str) -> None:
    answer = client.post(ONLINE, {"entities": {"card_id": ["c-1"]}} | changes)
    assert (answer.status, part in answer.error) == (status, True), answer.error


NEW = {"card_id": "c-9", "mean": 1.5, "visits": 2, "stolen": False, "country": None}


def test_new_values_serve_at_once(client: Client) -> None:
    answer = client.post(WRITE, {"rows": [NEW | {"event_timestamp": "2026-01-02T03:04:05.250Z"}]}, KEY)
    assert (answer.status, answer.json) == (200, {"view": "card_stats", "rows": 1})
    assert client.post(PREDICT, {"instances": [{"card_id": "c-9", "amount": 1}]}).json["predictions"] == [
        {"sum": 4.5, "same": ""}
    ]
    found = client.post(ONLINE, {"entities": {"card_id": ["c-9"]}, "features": ["card_stats:mean"]}).json
    assert found["results"][1]["event_timestamps"] == ["2026-01-02T03:04:05.250Z"]


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "part"),
    [
        (WRITE, {"rows": [NEW]}, {}, 404, "X-Admin-Key"),
        (WRITE, {"rows": [NEW]}, {"X-Admin-Key": "other"}, 404, "X-Admin-Key"),
        ("/v1/features/other", {"rows": [NEW]}, KEY, 404, "there are card_stats"),
        (WRITE, {"rows": []}, KEY, 400, "at least one"),
        (WRITE, {"rows": [1]}, KEY, 400, "an object is expected"),
        (WRITE, {"rows": [{"card_id": "a"}]}, KEY, 400, "lacks visits, mean, country, stolen"),
        (WRITE, {"rows": [NEW | {"visits": 1.5}]}, KEY, 400, "'visits' is 1.5"),
        (WRITE, {"rows": [NEW | {"mean": 1e39}]}, KEY, 400, "'mean'"),
        (WRITE, {"rows": [NEW | {"card_id": None}]}, KEY, 400, "'card_id'"),
        (WRITE, {"rows": [NEW | {"event_timestamp": "now"}]}, KEY, 400, "2026-01-31T12:00:00Z"),
    ],
)
def test_what_is_not_written(
    client: Client, path: str, body: object, headers: dict[str, str], status: int, part: str
) -> None:
    answer = client.post(path, body, headers)
    assert (answer.status, part in answer.error) == (status, True), answer.error


def test_where_the_entities_came_from_is_told(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    answer = client.post(PREDICT, {"instances": [ROW, ROW | {"card_id": "secret-card"}]})
    assert "features;dur=" in answer.headers["server-timing"]
    assert 'desc="memory 100%"' in answer.headers["server-timing"]
    line = capsys.readouterr().out
    assert json.loads(line)["features"] == {"memory": 2, "defaulted": len(COLUMNS), "resting": 0}
    assert "secret-card" not in line


def test_rows_that_do_not_fit_into_memory_are_not_lost_unseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = "".join(f"more-{number},1,2,false,DE\n" for number in range(100))
    monkeypatch.setattr(models, "ROWS", models.ROWS + more)
    models.build(tmp_path)

    def asked(capacity: int) -> Any:
        client = new_client(tmp_path, "cards", FEATURES_CACHE_BYTES=str(capacity))
        client.post(PREDICT, {"instances": [ROW]})  # the second request is told the same
        return client.post(PREDICT, {"instances": [ROW]})

    refused = asked(50_000)
    told = re.search(r"the 102 rows of cards.csv take (\d+) bytes, for which FEATURES_CACHE_BYTES has", refused.error)
    assert told, refused.error
    assert refused.status == 503
    assert asked(int(told[1]) - 1).status == 503
    assert asked(int(told[1])).json["predictions"] == [KNOWN]


def test_the_age_of_what_was_served_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models.build(tmp_path)
    client = new_client(tmp_path, "cards", ADMIN_KEY=KEY["X-Admin-Key"], AWS_LAMBDA_FUNCTION_NAME="scorer")
    seen = datetime.now(UTC) - timedelta(hours=2)
    rows = [NEW | {"event_timestamp": seen.isoformat()}, NEW | {"card_id": "c-10"}]
    assert client.post(WRITE, {"rows": rows}, KEY).status == 200
    bodies: list[tuple[str, dict[str, Any]]] = [
        (PREDICT, {"instances": [{"card_id": "c-9", "amount": 1}, {"card_id": "c-10", "amount": 1}]}),
        (ONLINE, {"entities": {"card_id": ["c-9", "c-10"]}, "features": ["card_stats:mean"]}),
    ]
    for path, body in bodies:
        capsys.readouterr()
        assert client.post(path, body).status == 200
        line = json.loads(capsys.readouterr().out)
        assert 7200 <= line["features_age_s"] < 7300
        metrics = line["_aws"]["CloudWatchMetrics"][0]["Metrics"]
        assert {"Name": "features_age_s", "Unit": "Seconds"} in metrics
    capsys.readouterr()
    client.post(PREDICT, {"instances": [{"card_id": "nobody", "amount": 1}]})
    assert "features_age_s" not in json.loads(capsys.readouterr().out)
