"""The documented requests and answers of tests/contract/examples, sent to both entries."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.entries.wire import LENGTH, with_binary

if TYPE_CHECKING:
    from tests.contract.entries.wire import Wire

FILES = sorted((Path(__file__).parents[1] / "examples").glob("*.json"))


def covers(got: Any, expected: Any) -> bool:
    """Objects may have more fields than expected, a list of objects more rows; all else is equal."""
    if isinstance(expected, dict):
        return isinstance(got, dict) and all(covers(got.get(name), value) for name, value in expected.items())
    if isinstance(expected, list) and expected and isinstance(expected[0], dict):
        return isinstance(got, list) and all(any(covers(row, each) for row in got) for each in expected)
    return bool(got == expected)


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_a_documented_example(wire: Wire, path: Path) -> None:
    example = json.loads(path.read_text(encoding="utf-8"))
    assert example["source"]
    headers, body = dict(example["headers"]), b""
    binary = [base64.b64decode(text) for text in example.get("binary", [])]
    if "json" in example and binary:
        body, more = with_binary(example["json"], *binary)
        headers |= more
    elif "json" in example:
        body = json.dumps(example["json"]).encode()
    else:
        body = b"".join(binary)
    answer = wire.request(example["method"], example["path"], body, headers)
    assert answer.status == example["status"], answer.body
    expected = b"".join(base64.b64decode(text) for text in example.get("answer_binary", []))
    if expected:
        document, data = answer.parts
        assert answer.headers["content-type"] == "application/octet-stream"
        assert data == expected
    else:
        document = answer.json
        assert answer.headers["content-type"] == "application/json"
        assert LENGTH.lower() not in answer.headers
    assert covers(document, example["answer"]), document


def test_there_are_examples_of_each_source() -> None:
    sources = [json.loads(path.read_text(encoding="utf-8"))["source"] for path in FILES]
    for origin in ("open-inference-protocol", "triton-inference-server", "MLServer"):
        assert any(origin in source for source in sources)
