"""Any tensor of any datatype, flat, nested or binary, comes back as it was sent, from both entries alike."""

from __future__ import annotations

import json
import math
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from function.tensor import DATATYPES, element_count
from tests.contract.entries.repository import echo_name
from tests.contract.entries.wire import LENGTH, with_binary

if TYPE_CHECKING:
    from tests.answer import Answer
    from tests.contract.entries.wire import Wire

EXAMPLES = settings(
    max_examples=30,
    deadline=None,  # a busy machine is no failure
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
JSON_DATATYPES = sorted(set(DATATYPES) - {"BF16"})
SHAPES = st.tuples(*[st.integers(0, 5)] * 2)


class Sent(NamedTuple):
    """A tensor of `shape`, whose elements are `data` as the protocol's binary form has them."""

    shape: tuple[int, ...]
    values: list[Any]
    data: bytes


def elements(datatype: str) -> st.SearchStrategy[Any]:
    """What JSON can say of a datatype."""
    if datatype == "BYTES":
        return st.text(max_size=20)
    if datatype == "BOOL":
        return st.booleans()
    if datatype == "FP16":  # of floats(width=16) Hypothesis throws so many away that at times it gives up
        finite = st.integers(0, 0x7BFF)
        halves = st.builds(lambda sign, half: struct.pack("<H", sign << 15 | half), st.integers(0, 1), finite)
        return halves.map(lambda half: struct.unpack("<e", half)[0])
    bits: Any = 8 * DATATYPES[datatype].itemsize
    if datatype[:2] == "FP":
        return st.floats(width=bits, allow_nan=False, allow_infinity=False)
    low = 0 if datatype[0] == "U" else -(1 << (bits - 1))
    return st.integers(low, low + (1 << bits) - 1)


def packed(datatype: str, values: list[Any]) -> bytes:
    if datatype == "BYTES":
        texts = [value if isinstance(value, bytes) else value.encode() for value in values]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return struct.pack(f"<{len(values)}{DATATYPES[datatype].code}", *values)


@st.composite
def json_tensors(draw: st.DrawFn, datatype: str, shapes: st.SearchStrategy[tuple[int, ...]]) -> Sent:
    shape = draw(shapes)
    count = element_count(shape)
    values = draw(st.lists(elements(datatype), min_size=count, max_size=count))
    return Sent(shape, values, packed(datatype, values))


@st.composite
def binary_tensors(draw: st.DrawFn, datatype: str) -> Sent:
    """Any bits at all: NaNs with a payload too."""
    shape = draw(SHAPES)
    count = element_count(shape)
    if datatype == "BYTES":
        values = draw(st.lists(st.binary(max_size=20), min_size=count, max_size=count))
        return Sent(shape, values, packed(datatype, values))
    if datatype == "BOOL":
        flags = draw(st.lists(st.booleans(), min_size=count, max_size=count))
        return Sent(shape, flags, bytes(flags))
    size = count * DATATYPES[datatype].itemsize
    return Sent(shape, [], draw(st.binary(min_size=size, max_size=size)))


def nested(values: list[Any], shape: tuple[int, ...]) -> Any:
    if len(shape) < 2:
        return values
    step = element_count(shape[1:])
    return [nested(values[at * step : (at + 1) * step], shape[1:]) for at in range(shape[0])]


def ask(wires: dict[str, Wire], model: str, body: object, headers: dict[str, str] | None = None) -> Answer:
    """The answer, a 200 with the same bytes from both entries."""
    first, second = (wire.infer(model, body, headers) for wire in wires.values())
    assert first.status == 200, first.body
    assert first.body == second.body
    return first


def request(datatype: str, shape: tuple[int, ...], data: Any, *, binary_output: bool) -> dict[str, Any]:
    tensor = {"name": "x", "datatype": datatype, "shape": shape, "data": data}
    return {"inputs": [tensor], "outputs": [{"name": "y", "parameters": {"binary_data": binary_output}}]}


def check_json(wires: dict[str, Wire], model: str, datatype: str, sent: Sent) -> None:
    """Flat and nested JSON in; binary and JSON out."""
    for data in (sent.values, nested(sent.values, sent.shape)):
        document, blob = ask(wires, model, request(datatype, sent.shape, data, binary_output=True)).parts
        (output,) = document["outputs"]
        assert (output["name"], output["datatype"], tuple(output["shape"])) == ("y", datatype, sent.shape)
        assert blob == sent.data
    answer = ask(wires, model, request(datatype, sent.shape, sent.values, binary_output=False))
    assert LENGTH.lower() not in answer.headers
    (output,) = answer.json["outputs"]
    assert packed(datatype, output["data"]) == sent.data


@pytest.mark.parametrize("datatype", JSON_DATATYPES)
def test_json_both_ways(wires: dict[str, Wire], datatype: str) -> None:
    @EXAMPLES
    @given(json_tensors(datatype, SHAPES))
    def check(sent: Sent) -> None:
        check_json(wires, echo_name(datatype), datatype, sent)

    check()


@EXAMPLES
@given(sent=json_tensors("INT16", st.tuples(*[st.integers(0, 3)] * 3)))
def test_three_dimensions(wires: dict[str, Wire], sent: Sent) -> None:
    check_json(wires, "echo_cube", "INT16", sent)


@EXAMPLES
@given(sent=json_tensors("BYTES", st.tuples(st.integers(0, 8))))
def test_one_dimension(wires: dict[str, Wire], sent: Sent) -> None:
    check_json(wires, "echo_vector", "BYTES", sent)


@EXAMPLES
@given(sent=json_tensors("FP32", st.just(())))
def test_no_dimension(wires: dict[str, Wire], sent: Sent) -> None:
    check_json(wires, "echo_scalar", "FP32", sent)


@pytest.mark.parametrize("datatype", sorted(DATATYPES))
def test_binary_both_ways_bit_by_bit(wires: dict[str, Wire], datatype: str) -> None:
    @EXAMPLES
    @given(binary_tensors(datatype), st.integers(0, 9))
    def check(sent: Sent, spaces: int) -> None:
        tensor: dict[str, Any] = {"name": "x", "datatype": datatype, "shape": sent.shape}
        tensor["parameters"] = {"binary_data_size": len(sent.data)}
        # Spaces after the JSON move the data to every alignment.
        text = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode() + b" " * spaces
        answer = ask(wires, echo_name(datatype), text + sent.data, {LENGTH: str(len(text))})
        document, blob = answer.parts
        assert document["outputs"][0]["parameters"] == {"binary_data_size": len(sent.data)}
        assert tuple(document["outputs"][0]["shape"]) == sent.shape
        assert blob == sent.data

    check()


@EXAMPLES
@given(a=json_tensors("INT64", st.tuples(st.integers(1, 4), st.just(2))), data=st.data())
def test_several_tensors_of_mixed_datatypes_and_forms(wires: dict[str, Wire], a: Sent, data: st.DataObject) -> None:
    b = data.draw(json_tensors("FP32", st.just(a.shape)))
    words = data.draw(json_tensors("BYTES", st.just((a.shape[0],))))
    inputs, blobs = [], []
    for name, datatype, sent in (("words", "BYTES", words), ("a", "INT64", a), ("b", "FP32", b)):
        tensor: dict[str, Any] = {"name": name, "datatype": datatype, "shape": sent.shape}
        if data.draw(st.booleans()):
            tensor["parameters"] = {"binary_data_size": len(sent.data)}
            blobs.append(sent.data)
        else:
            tensor["data"] = nested(sent.values, sent.shape)
        inputs.append(tensor)
    wanted = [{"name": name, "parameters": {"binary_data": True}} for name in ("same", "copy")]
    document, blob = ask(wires, "mixed", *with_binary({"inputs": inputs, "outputs": wanted}, *blobs)).parts
    assert [output["name"] for output in document["outputs"]] == ["same", "copy"]
    assert blob == words.data + a.data


@pytest.mark.parametrize("datatype", [name for name in JSON_DATATYPES if name != "BYTES"])
def test_goserves_api_carries_the_same_values(wires: dict[str, Wire], datatype: str) -> None:
    @EXAMPLES
    @given(json_tensors(datatype, st.tuples(st.integers(1, 4), st.integers(1, 4))))
    def check(sent: Sent) -> None:
        rows = nested(sent.values, sent.shape)
        for body in ({"tensors": {"x": rows}}, {"inputs": rows}):
            first, second = (w.post(f"/v1/models/{echo_name(datatype)}/infer", body) for w in wires.values())
            assert first.status == 200, first.body
            assert first.body == second.body
            got = first.json["outputs"]["y"]
            assert [len(row) for row in got] == [sent.shape[1]] * sent.shape[0]
            assert packed(datatype, [value for row in got for value in row]) == sent.data

    check()


def test_the_largest_finite_numbers_do_not_round_to_infinity(wires: dict[str, Wire]) -> None:
    for datatype, largest in (("FP16", 65504.0), ("FP32", 3.4028234663852886e38), ("FP64", 1.7976931348623157e308)):
        body = request(datatype, (1, 2), [largest, -largest], binary_output=False)
        got = ask(wires, echo_name(datatype), body).json["outputs"][0]["data"]
        assert got == [largest, -largest]
        assert all(map(math.isfinite, got))
