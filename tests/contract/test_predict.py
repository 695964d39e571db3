"""The V1 protocol in all its forms: tensors, rows of named columns, pictures, CSV, null for NaN, and refusals."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.client import Client, new_client
from tests.contract.entries import repository as models

if TYPE_CHECKING:
    from pathlib import Path

ROW = {"age": 31.5, "job": "pilot", "visits": 4}
RESULT = {"few": 33.5, "many": 1.0}  # age + visits / 2, member + visits / 4
CSV = {"content-type": "text/csv; charset=utf-8"}
PEOPLE = "/v1/models/people:predict"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Client:
    folder: Path = tmp_path_factory.mktemp("repository")
    models.build(folder)
    return new_client(folder, "people")


def predictions(client: Client, path: str, body: object, headers: dict[str, str] | None = None) -> Any:
    answer = client.post(path, body, headers)
    assert answer.status == 200, answer.body
    assert list(answer.json) == ["predictions"]
    return answer.json["predictions"]


def refusal(client: Client, path: str, body: object, headers: dict[str, str] | None = None) -> str:
    answer = client.post(path, body, headers)
    assert answer.status == 400, answer.body
    return answer.error


@pytest.mark.parametrize("path", [PEOPLE, "/invocations"])
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"instances": [ROW, ROW | {"member": True}]}, None),
        ({"dataframe_records": [ROW, ROW | {"member": True}]}, None),
        ({"inputs": {name: [value] * 2 for name, value in ROW.items()} | {"member": [False, True]}}, None),
        (
            {
                "dataframe_split": {
                    "index": [0, 1],
                    "columns": ["visits", "member", "job", "age"],
                    "data": [[4, False, "pilot", 31.5], [4, True, "pilot", 31.5]],
                }
            },
            None,
        ),
        (b"job,age,member,visits\npilot,31.5,false,4\npilot,31.5,TRUE,4\n", CSV),
        (b'\xef\xbb\xbf"job","age","member","visits"\r\npilot,31.5,0,4\r\n"pilot", 31.5 ,1,4', CSV),
    ],
)
def test_rows_of_named_columns(client: Client, path: str, body: object, headers: dict[str, str] | None) -> None:
    assert predictions(client, path, body, headers) == [RESULT, RESULT | {"many": 2.0}]


def test_ten_thousand_rows(client: Client) -> None:
    rows = predictions(client, PEOPLE, {"instances": [ROW | {"visits": index} for index in range(10_000)]})
    assert [row["few"] for row in rows] == [31.5 + index / 2 for index in range(10_000)]


def test_a_missing_number_is_nan(client: Client) -> None:
    (row,) = predictions(client, PEOPLE, {"instances": [ROW | {"age": None}]})
    assert row == {"few": None, "many": None}  # NaN times anything is NaN
    assert predictions(client, PEOPLE, b"job,age,visits\npilot,,4\n", CSV) == [row]
    assert predictions(client, PEOPLE, b"job,age,visits\npilot,NaN,4\n", CSV) == [row]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"height": 2}, "unknown columns 'height'; the model's columns are job, age, member (optional), visits"),
        ({"visits": "4"}, "'visits': value 0 is '4'; a whole number"),
        ({"visits": 4.5}, "'visits': value 0 is 4.5; a whole number"),
        ({"visits": 1 << 63}, "'visits': value 0 is 9223372036854775808"),
        ({"visits": None}, "'visits': row 0 is null; INT64 needs a value"),
        ({"age": True}, "'age': value 0 is true; a number that FP32 can hold is expected, or null for NaN"),
        ({"age": 1e39}, "'age': value 0 is 1e+39"),
        ({"age": [1]}, "'age': value 0 is an array"),
        ({"age": {"b64": "AA=="}}, "'age': value 0 is an object"),
        ({"member": "yes"}, "'member': value 0 is 'yes'; true or false is expected"),
        ({"job": 7}, "'job': value 0 is 7; a string is expected"),
        ({"job": "king"}, "'job': row 0 is 'king', a category never seen; known are 'baker', 'pilot'"),
    ],
)
def test_a_row_that_does_not_fit(client: Client, changes: dict[str, Any], words: str) -> None:
    assert words in refusal(client, PEOPLE, {"instances": [ROW | changes]})


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{}", "it has none"),
        (b'{"instances": [[1]], "inputs": [[1]]}', "it has instances and inputs"),
        (b'{"instances": []}', "'instances' is empty"),
        (b'{"instances": {}}', "must be an array"),
        (b'{"instances": [{"age": 1, "visits": 2}]}', "instances[0] lacks the columns job"),
        (b'{"instances": [{"age": 1, "age": 2, "job": "baker", "visits": 2}]}', "has the field 'age' twice"),
        (b'{"instances": [{"age": 1, "job": "baker", "visits": 2}, 5]}', "instances[1] is 5; an object"),
        (b'{"instances": [7]}', "send an object with a value for each"),
        (b'{"instances": [1], "signature_name": 5}', "'signature_name'"),
        (b'{"instances": [1], "params": {}}', "unknown field 'params'"),
        (b'{"dataframe_records": [5]}', "dataframe_records[0] is 5"),
        (b'{"dataframe_split": {"columns": ["age"], "data": []}}', "at least one row"),
        (b'{"dataframe_split": {"columns": ["age", "age", "job", "visits"], "data": [[1, 2, "baker", 3]]}}', "twice"),
        (b'{"dataframe_split": {"columns": ["age", "job", "visits"], "data": [[1, "baker"]]}}', "row 0 is 2 values"),
        (b'{"dataframe_split": {"columns": ["age", "job", "visits"], "data": [{}]}}', "row 0 is an object"),
        (b'{"inputs": {"age": [1], "job": ["baker"], "visits": [1, 2]}}', "different lengths"),
        (b'{"inputs": {"age": [1], "job": ["baker"], "visits": 1}}', "must be an array of values"),
        (b'{"inputs": {"age": [1], "job": ["baker"], "size": [1]}}', "unknown field 'size'"),
    ],
)
def test_a_request_that_does_not_fit(client: Client, body: bytes, words: str) -> None:
    assert words in refusal(client, PEOPLE, body)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no rows"),
        (b"job,age,visits\n", "no rows"),
        (b"job,age\nbaker,1\n", "the CSV lacks the columns visits"),
        (b"job,age,visits,more\nbaker,1,2,3\n", "unknown columns 'more'"),
        (b"job,age,visits\nbaker,1\n", "row 0 is 2 values; 3 values are expected"),
        (b"job,age,visits\nbaker,one,2\n", "row 1 has 'one' for 'age'; a number"),
        (b"job,age,visits\nbaker,inf,2\n", "row 1 has 'inf' for 'age'"),
        (b"job,age,visits\nbaker,1_0,2\n", "row 1 has '1_0' for 'age'"),
        (b"job,age,visits\nbaker,1,2.5\n", "row 1 has '2.5' for 'visits'"),
        (b"job,age,visits\nbaker,1,\n", "'visits': row 0 is null"),
        (b"job,age,visits,member\nbaker,1,2,maybe\n", "'maybe' for 'member'; true or false"),
        (b'job,age,visits\n"baker,1,2\n', "not CSV that can be read"),
        (b"job,age,visits\n\xff,1,2\n", "not UTF-8 (byte 15)"),
    ],
)
def test_csv_that_does_not_fit(client: Client, body: bytes, words: str) -> None:
    assert words in refusal(client, PEOPLE, body, CSV)


def test_csv_without_a_table_is_a_matrix(client: Client) -> None:
    path = f"/v1/models/{models.echo_name('FP64')}:predict"
    assert predictions(client, path, b"1,2.5\n-3,4e2\n", CSV) == [[1, 2.5], [-3, 400]]
    assert "first row has 2 fields" in refusal(client, path, b"1,2\n3\n", CSV)
    assert "is for models with one input" in refusal(client, "/v1/models/mixed:predict", b"1,2\n", CSV)


def test_tensors_of_one_input(client: Client) -> None:
    path = f"/v1/models/{models.echo_name('INT64')}:predict"
    for body in ({"instances": [[1, 2], [3, 4]]}, {"inputs": [[1, 2], [3, 4]]}, {"inputs": {"x": [[1, 2], [3, 4]]}}):
        assert predictions(client, path, body) == [[1, 2], [3, 4]]
    assert predictions(client, path, {"instances": [{"x": [1, 2]}, {"x": [3, 4]}]}) == [[1, 2], [3, 4]]
    assert predictions(client, "/v1/models/classes:predict", {"inputs": [1, 2, 3, 4]}) == [[1, 2, 3, 4]]
    assert "data[1] has 1 elements" in refusal(client, path, {"instances": [[1, 2], [3]]})
    assert "element 0 in row-major order is 1.5" in refusal(client, path, {"instances": [[1.5, 2]]})


def test_instances_are_counted_and_no_row_of_one(client: Client) -> None:
    """Four numbers are four instances here, whatever they would be under "inputs"."""
    path = "/v1/models/classes:predict"
    assert "4 instances of shape [] came for input 'x'" in refusal(client, path, {"instances": [1, 2, 3, 4]})


def test_tensors_of_several_inputs(client: Client) -> None:
    instance = {"a": [1, 2], "b": [0.5, 3], "words": "é"}
    path = "/v1/models/mixed:predict"
    first, second = predictions(client, path, {"instances": [instance, instance | {"words": {"b64": "/w=="}}]})
    assert first == {"sum": [1.5, 5], "copy": [1, 2], "same": "é", "greater": [True, False]}
    assert second == first | {"same": {"b64": "/w=="}}
    whole = {"inputs": {"a": [[1, 2]], "b": [[0.5, 3]], "words": ["é"]}}
    assert predictions(client, path, whole) == [first]
    for changes, words in (
        ({"a": [1]}, "1 instances of shape [1] came for input 'a', which is [-1, 2]"),
        ({"a": [[1], [2, 3]]}, "arrays of different lengths"),
        ({"b": [1, "2"]}, "'b': value 1 is '2'"),
        ({"c": 1}, "unknown field 'c'; known: a, b, words"),
    ):
        assert words in refusal(client, path, {"instances": [instance | changes]})
    assert "instances[0] lacks b" in refusal(client, path, {"instances": [{"a": [1, 2], "words": ""}]})
    ragged = [instance, instance | {"a": [1, 2, 3]}]
    assert "instances[1] has shape [3] and instances[0] [2]" in refusal(client, path, {"instances": ragged})


def test_an_output_without_a_row_for_each_instance(client: Client) -> None:
    assert "not a row for each of 2 instances" in refusal(client, "/v1/models/largest:predict", {"instances": [1, 2]})


def test_bytes(client: Client) -> None:
    path = "/v1/models/echo_vector:predict"
    assert predictions(client, path, {"instances": ["a", {"b64": "/w=="}, "ü"]}) == ["a", {"b64": "/w=="}, "ü"]
    assert "'x': value 1 is 5; a string" in refusal(client, path, {"instances": ["a", 5]})
    assert "not base64" in refusal(client, path, {"instances": [{"b64": "?"}]})


def test_pictures(client: Client, picture: bytes) -> None:
    encoded = {"b64": base64.b64encode(picture).decode()}
    path = "/v1/models/colours:predict"
    one = client.post("/v1/models/colours/classify", picture, query="top_k=3").json["predictions"]
    shares = {row["index"]: row["probability"] for row in one}
    found = predictions(client, path, {"instances": [encoded, encoded]})
    assert found == [[shares[0], shares[1], shares[2]]] * 2
    assert "instances[1] is 5" in refusal(client, path, {"instances": [encoded, 5]})
    assert "must be a JPEG" in client.post(path, {"instances": [{"b64": "AAAA"}]}).error


def test_null_is_nan_in_every_json_protocol(client: Client) -> None:
    tensors = {"numbers": [[1, None, 2]], "job": [["baker"]]}
    outputs = client.post("/v1/models/people/infer", {"tensors": tensors}).json["outputs"]
    assert outputs["shares"] == [[None, None]]
    inputs = [
        {"name": "numbers", "datatype": "FP32", "shape": [2, 3], "data": [1, None, 2, 3, 4, 5.5]},
        {"name": "job", "datatype": "BYTES", "shape": [2, 1], "data": ["baker", "pilot"]},
    ]
    answer = client.post("/v2/models/people/infer", {"inputs": inputs})
    assert answer.json["outputs"][0]["data"] == [None, None, 5.75, 5.375]
    inputs[1]["data"] = ["baker", None]
    assert "element 1 in row-major order is null" in client.post("/v2/models/people/infer", {"inputs": inputs}).error
    inputs[1]["data"], inputs[0]["data"] = ["a", "b"], [1, None, "2", 3, 4, 5]
    assert "'numbers': value 2 is '2'" in client.post("/v2/models/people/infer", {"inputs": inputs}).error


def test_null_stays_a_refusal_without_missing(client: Client) -> None:
    path = f"/v1/models/{models.echo_name('FP32')}"
    assert "is null; FP32 takes numbers" in refusal(client, f"{path}/infer", {"inputs": [[1, None]]})
    assert "is null; FP32 takes numbers" in refusal(client, f"{path}:predict", {"instances": [[1, None]]})


def test_infinity_is_refused_with_missing_too(client: Client) -> None:
    tensors = {"numbers": [[3e38, 0, 3e38]], "job": [["baker"]]}
    message = refusal(client, "/v1/models/people/infer", {"tensors": tensors})
    assert "is inf at element 0" in message


def test_a_document_too_large_for_memory_is_a_413(tmp_path: Path) -> None:
    models.echo(tmp_path / "wide", "FP32", [-1, -1])
    small = new_client(tmp_path, "wide", MEMORY_LIMIT_BYTES=str(64 << 20))
    body = {"instances": [{"x": [index]} for index in range(200_000)]}
    answer = small.post("/v1/models/wide:predict", body)
    assert answer.status == 413
    assert "of memory" in answer.error or "fit" in answer.error
    assert len(predictions(small, "/v1/models/wide:predict", {"instances": [{"x": [1]}] * 10_000})) == 10_000
