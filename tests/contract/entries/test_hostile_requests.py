"""Requests that Triton's own HTTP tests are about (qa/L0_http), by idea: each is refused in words, on both entries."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.contract.entries.wire import LENGTH, with_binary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.contract.entries.wire import Wire

ECHO = "echo_fp32"
FOUR = struct.pack("<4f", 1, 2, 3, 4)


def one_input(**changes: Any) -> dict[str, Any]:
    """A good request to the echo model but for these fields of its input; None drops one."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]} | changes
    return {"inputs": [{name: value for name, value in tensor.items() if value is not None}]}


def asking(*outputs: Any, **fields: Any) -> dict[str, Any]:
    return one_input() | {"outputs": list(outputs)} | fields


def binary(size: Any, data: bytes = FOUR, **changes: Any) -> tuple[bytes, dict[str, str]]:
    """One binary input of `size` by its parameter and `data` in the body."""
    return with_binary(one_input(data=None, parameters={"binary_data_size": size}, **changes), data)


class Bad(NamedTuple):
    """A request and the words of its refusal, a 400."""

    name: str
    body: bytes
    words: tuple[str, ...]
    headers: Mapping[str, str] = {}
    model: str = ECHO


def bad(name: str, document: Any, *words: str, model: str = ECHO) -> Bad:
    return Bad(name, json.dumps(document).encode(), words, {}, model)


def cases() -> Iterator[Bad]:
    """Shapes, header lengths, binary sizes, names that come twice, parameters, depth."""
    size: Any
    for first, second in ((2**4, 2**60 + 2), (2**2, 2**60 + 2), (2**32, 2**32), (2**62, 2), (2**63 - 1, 2**63 - 1)):
        yield bad(f"shape {first} x {second}", one_input(shape=[first, second], data=[1.0]), "shape")
        body, headers = binary(16, shape=[first, second])
        yield Bad(f"binary shape {first} x {second}", body, ("'x'",), headers)
    yield bad("dimension over 64 bits", one_input(shape=[2**64, 1]), "from 0 to 2^63-1")
    for size in (-5, -(2**63)):
        yield bad(f"dimension {size}", one_input(shape=[2, size]), str(size), "from 0")
    wrong: Any
    for wrong in (1.5, "2", None, True, [2], {"a": 1}):
        yield bad(f"dimension {wrong!r}", one_input(shape=[2, wrong]), "'shape'", "whole number")
    yield bad("no shape", one_input(shape=None), "'shape'")
    yield bad("shape is a number", one_input(shape=4), "'shape'", "array")
    yield bad("300 dimensions", one_input(shape=[1] * 300, data=[1]), "300 dimensions")
    yield bad("too little data", one_input(data=[1, 2, 3]), "[3]", "[2, 2]")
    yield bad("too much data", one_input(data=[1, 2, 3, 4, 5]), "[5]", "[2, 2]")
    yield bad("ragged data", one_input(data=[[1, 2, 3], [4]]), "data[0]", "3 elements")

    good = json.dumps(one_input()).encode()
    for length, words in (
        (str(len(good) + 1), ("only", str(len(good)))),
        ("9" * 18, ("only",)),
        ("9" * 30, (LENGTH,)),
        ("-1", (LENGTH,)),
        ("", (LENGTH,)),
        ("1.0", (LENGTH,)),
        ("0x10", (LENGTH,)),
        (f"{len(good)}, {len(good)}", (LENGTH,)),
        (str(len(good) - 1), ("JSON",)),
        ("1", ("JSON",)),
        ("0", ("raw body",)),
    ):
        yield Bad(f"header length {length!r}", good, words, {LENGTH: length})

    for size, words in (
        (15, ("15 bytes", "16")),
        (17, ("17 bytes", "16 are left")),
        (0, ("0 bytes", "16")),
        (2**62, ("16 are left",)),
        (-16, ("binary_data_size", "-16")),
        (2**63, ("16 are left",)),
        (2**64, ("whole number of 0 or more",)),
        ("16", ("binary_data_size",)),
        (16.0, ("binary_data_size",)),
        (True, ("binary_data_size",)),
    ):
        body, headers = binary(size)
        yield Bad(f"binary size {size!r}", body, words, headers)
    body, headers = binary(16, FOUR + b"!")
    yield Bad("a byte left over", body, ("1 bytes", "left over"), headers)
    body, headers = with_binary(one_input(parameters={"binary_data_size": 16}), FOUR)
    yield Bad("data and binary data", body, ("both",), headers)
    yield bad("neither data nor binary data", one_input(data=None), "neither")
    two = one_input(data=None, parameters={"binary_data_size": 16})
    two["inputs"] *= 2
    body, headers = with_binary(two, FOUR, FOUR)
    yield Bad("the same binary input twice", body, ("second time",), headers)
    body, headers = binary(4, struct.pack("<I", 2**32 - 1), datatype="BYTES", shape=[1])
    yield Bad("a BYTES element longer than the body", body, ("whole elements",), headers, "echo_vector")
    body, headers = binary(3, b"\0\0\0", datatype="BYTES", shape=[1])
    yield Bad("half a BYTES length", body, ("whole elements",), headers, "echo_vector")
    body, headers = binary(4, b"\0\1\2\1", datatype="BOOL")
    yield Bad("a BOOL of 2", body, ("0 or 1",), headers, "echo_bool")

    yield bad("the same input twice", {"inputs": one_input()["inputs"] * 2}, "second time")
    yield bad("the same output twice", asking({"name": "y"}, {"name": "y"}), "second time")
    yield bad("an output as a string", asking("y"), "outputs[0]", "object")
    yield bad("outputs as an object", asking() | {"outputs": {"name": "y"}}, "'outputs'", "array")
    yield Bad("a field twice", good.replace(b"{", b'{"id": "1", "id": "2", ', 1), ("'id'", "twice"))

    for name, value in (
        ("classification", 0),
        ("classification", -1),
        ("classification", "2"),
        ("binary_data", 1),
        ("binary_data", "yes"),
        ("mine", [1]),
        ("mine", {}),
        ("shared_memory_region", "a"),
    ):
        yield bad(f"{name} = {value!r}", asking({"name": "y", "parameters": {name: value}}), name)
    yield bad("binary_data_output = 1", asking(parameters={"binary_data_output": 1}), "binary_data_output")
    yield bad("a sequence", asking(parameters={"sequence_id": 1}), "sequence_id")
    yield bad("parameters as a list", asking(parameters=[]), "'parameters'")
    yield bad("another model's name", asking(model_name="classes"), "model_name", "'classes'")

    for depth in (1_020, 1_100, 100_000):
        nested = b"[" * depth + b"1" + b"]" * depth
        yield Bad(f"{depth} levels of data", good.replace(b"[1, 2, 3, 4]", nested), ())
        yield Bad(f"{depth} levels of nothing", b"[" * depth, ("JSON",))
    yield bad("data of data", one_input(data=[[[1], [2]], [[3], [4]]]), "array")


CASES = list(cases())


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_it_is_refused_in_words(wire: Wire, case: Bad) -> None:
    answer = wire.infer(case.model, case.body, case.headers)
    assert answer.status == 400, answer.body
    for word in case.words:
        assert word in answer.error
    assert wire.infer(ECHO, one_input()).json["outputs"][0]["data"] == [1, 2, 3, 4]


def test_unknown_parameters_are_let_through_on_every_level(wire: Wire) -> None:
    mine = {"text": "a", "number": -1.5, "flag": False, "nothing": None}
    request = one_input(parameters=mine) | {"parameters": mine, "outputs": [{"name": "y", "parameters": mine}]}
    assert wire.infer(ECHO, request).status == 200


@pytest.mark.parametrize(("model", "size", "words"), [
    ("echo_fp32", 16, ("one can be deduced",)),
    ("mixed", 16, ("single input", "3 inputs")),
    ("largest", 15, ("15 bytes",)),
])  # fmt: skip
def test_a_raw_body_whose_shape_cannot_be_deduced(wire: Wire, model: str, size: int, words: tuple[str, ...]) -> None:
    answer = wire.infer(model, bytes(size), {LENGTH: "0"})
    assert answer.status == 400
    for word in words:
        assert word in answer.error


def test_a_raw_body_is_the_only_input(wire: Wire) -> None:
    document, data = wire.infer("largest", struct.pack("<3f", 1, 7, 3), {LENGTH: "0"}).parts
    assert document["outputs"][0]["shape"] == [1]
    assert struct.unpack("<f", data) == (7,)
    document, data = wire.infer("echo_vector", b"any\0thing", {LENGTH: "0"}).parts
    assert document["outputs"][0]["shape"] == [1]
    assert data == struct.pack("<I", 9) + b"any\0thing"
