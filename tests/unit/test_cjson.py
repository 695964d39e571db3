"""JSON by the C half of `json` is what all of `json` makes of it, errors included, with that half or without."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from function.native import cjson

if TYPE_CHECKING:
    from collections.abc import Callable

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
TEXTS = [
    "",
    " ",
    "{",
    "[1,",
    '{"a":1} x',
    "{'a':1}",
    '"\t"',
    '"\\x"',
    "nul",
    "01",
    "[1]]",
    "\ufeff{}",
    "[NaN,-Infinity]",
    "1e999",
]
OPTIONS: list[dict[str, Any]] = [{}, {"ensure_ascii": False}, {"separators": (",", ":")}, {"allow_nan": False}]


@pytest.fixture(params=["C", "Python"])
def half(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    assert cjson._c is not None
    if request.param == "Python":
        monkeypatch.setattr(cjson, "_c", None)
        monkeypatch.setattr(cjson, "_scan", None)
    return str(request.param)


def outcome(call: Callable[..., Any], *arguments: Any, **options: Any) -> object:
    try:
        return call(*arguments, **options)
    except (ValueError, TypeError, RecursionError) as error:
        return type(error), str(error).partition(" while ")[0]


@settings(deadline=None)
@given(value=VALUES)
def test_values_go_out_and_come_back(value: Any) -> None:
    for options in OPTIONS:
        assert outcome(cjson.dumps, value, **options) == outcome(json.dumps, value, **options)
        text = json.dumps(value, **options | {"allow_nan": True})
        assert cjson.loads(text) == cjson.loads(f"{text} \n") == value


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(
    "value", [float("nan"), [-float("inf")], {"a": object()}, {1: 2}, {(): 1}, b"", 1e300, "\ud83d"]
)
def test_what_cannot_go_out_is_refused_in_the_same_words(half: str, value: Any, options: dict[str, Any]) -> None:
    assert outcome(cjson.dumps, value, **options) == outcome(json.dumps, value, **options)


def test_a_circle_is_refused(half: str) -> None:
    circle: list[Any] = []
    circle.append(circle)
    assert outcome(cjson.dumps, circle) == outcome(json.dumps, circle) != "[]"


@pytest.mark.parametrize(
    "text", [*TEXTS, *(text.encode() for text in TEXTS), b"\xff", "{}".encode("utf-16"), b"[" * 99999]
)
def test_what_is_no_json_is_refused_in_the_same_words(half: str, text: str | bytes) -> None:
    assert repr(outcome(cjson.loads, text)) == repr(outcome(json.loads, text))
    if isinstance(text, bytes):
        assert repr(outcome(cjson.loads, bytearray(text))) == repr(outcome(json.loads, bytearray(text)))
