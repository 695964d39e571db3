"""Scores as labelled probabilities, and the picture in a request."""

from __future__ import annotations

import base64
import math
from array import array
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from function.errors import PredictError
from function.messages import Request
from function.routes import classify
from function.tensor import Tensor

PICTURE = b"\x89PNG\r\n\x1a\n and so on"


def scores(*values: float) -> Tensor:
    return Tensor("FP32", (1, len(values)), array("f", values))


def request(body: bytes, content_type: str = "", **query: str) -> Request:
    return Request("POST", "/classify", query, {"content-type": content_type} if content_type else {}, body)


def refusal(*arguments: object) -> PredictError:
    with pytest.raises(PredictError) as caught:
        classify.predictions(*arguments)  # type: ignore[arg-type]
    return caught.value


def test_scores_without_softmax_are_given_as_they_are() -> None:
    rows = classify.predictions(scores(0.25, -3.0, 8.5), "none", ["a", "b", "c"], 2)
    assert rows == [
        {"label": "c", "index": 2, "probability": 8.5},
        {"label": "a", "index": 0, "probability": 0.25},
    ]


def test_softmax_is_that_of_the_formula() -> None:
    rows = classify.predictions(scores(1.0, 3.0), "softmax", [], 5)
    assert [row["label"] for row in rows] == ["1", "0"]
    assert rows[0]["probability"] == pytest.approx(1 / (1 + math.exp(-2)), rel=1e-12)
    assert rows[1]["probability"] == pytest.approx(1 / (1 + math.exp(2)), rel=1e-12)


@given(st.lists(st.floats(width=32, min_value=-(2.0**100), max_value=2.0**100), min_size=1, max_size=50))
def test_softmax_sums_to_one_and_keeps_the_order_for_any_logits(values: list[float]) -> None:
    rows = classify.predictions(scores(*values), "softmax", [], len(values))
    assert sum(row["probability"] for row in rows) == pytest.approx(1.0)
    found = [values[row["index"]] for row in rows]
    assert found == sorted(values, reverse=True)
    assert sorted(row["index"] for row in rows) == list(range(len(values)))


def test_equal_scores_come_in_the_order_of_their_index() -> None:
    rows = classify.predictions(scores(1.0, 2.0, 2.0, 1.0), "none", [], 4)
    assert [row["index"] for row in rows] == [1, 2, 0, 3]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("activation", ["none", "softmax"])
def test_a_score_that_is_no_number_is_no_answer(value: float, activation: str) -> None:
    error = refusal(scores(1.0, value), activation, [], 1)
    assert error.status == 500
    assert "NaN or Infinity" in error.message


def test_labels_of_another_number_of_classes_are_refused() -> None:
    for labels in (["a"], ["background", "a", "b"]):
        error = refusal(scores(0.5, 0.25), "none", labels, 1)
        assert error.status == 503
        assert f"2 scores and has {len(labels)} labels" in error.message
        assert "model.toml" in error.message


@pytest.mark.parametrize(("text", "k"), [("1", 1), ("5", 5), ("007", 7), ("999999", 999999)])
def test_top_k_is_a_whole_number(text: str, k: int) -> None:
    assert classify.top_k(request(b"", top_k=text)) == k


def test_top_k_is_5_without_one() -> None:
    assert classify.top_k(request(b"")) == 5


@pytest.mark.parametrize("text", ["", "0", "-1", "+1", "1.0", " 1", "1_0", "²", "٣", "1000000", "five", "9" * 5000])
def test_any_other_top_k_is_refused(text: str) -> None:
    with pytest.raises(PredictError, match=r"top_k must be a whole number, 1 or more; it is '") as caught:
        classify.top_k(request(b"", top_k=text))
    assert len(caught.value.message) < 200


def test_the_picture_is_the_body_whatever_its_content_type() -> None:
    for content_type in ("", "image/png", "application/json", "application/x-www-form-urlencoded"):
        assert classify.picture(request(PICTURE, content_type)) == PICTURE


def test_the_picture_is_base64_in_json_whatever_its_content_type() -> None:
    body = b' \n {"image": "' + base64.b64encode(PICTURE) + b'"}'
    for content_type in ("", "application/json; charset=utf-8", "text/plain", "application/x-www-form-urlencoded"):
        assert classify.picture(request(body, content_type)) == PICTURE


def test_the_picture_is_the_file_of_a_form() -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n' + PICTURE + b"\r\n--b--\r\n"
    assert classify.picture(request(body, "Multipart/Form-Data; boundary=b")) == PICTURE


def test_a_model_without_an_image_rule_takes_no_pictures() -> None:
    metadata = SimpleNamespace(name="m", image=None)
    with pytest.raises(PredictError, match=r"takes no pictures .* /v2/models/m/infer") as caught:
        classify.picture_rule(metadata)  # type: ignore[arg-type]
    assert caught.value.status == 400
