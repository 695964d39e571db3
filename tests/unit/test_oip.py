"""Open Inference Protocol: requests in JSON, binary and raw form, refusals, answers, classification, fuzzing."""

from __future__ import annotations

import json
import random
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from function.codecs import oip_request, oip_response
from function.errors import PredictError
from function.tensor import DATATYPES, Spec, Tensor
from tests.datatypes import NUMPY

EXAMPLES = settings(max_examples=50, deadline=None)  # a busy machine is no failure


class Model(NamedTuple):
    name: str
    version: str
    inputs: dict[str, Spec]
    outputs: dict[str, Spec]


def specs(**rows: tuple[str, tuple[int, ...]]) -> dict[str, Spec]:
    return {name: Spec(name, *row) for name, row in rows.items()}


ONE = Model("one", "3", specs(x=("FP32", (-1, 2))), specs(y=("FP32", (-1, 3))))
MIXED = Model(
    "mixed",
    "1",
    specs(a=("UINT32", (2, 2)), b=("BOOL", (3,)), c=("BYTES", (-1,)), d=("FP64", (2, -1))),
    specs(y=("FP32", (-1, 3)), z=("BYTES", (-1,)), w=("BF16", (-1,))),
)


def x_input(**changes: Any) -> dict[str, Any]:
    item = {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]} | changes
    return {key: value for key, value in item.items() if value != "absent"}


def body(**fields: Any) -> bytes:
    return json.dumps({"inputs": [x_input()]} | fields).encode()


def binary_body(head: dict[str, Any], *blobs: bytes) -> tuple[bytes, int]:
    text = json.dumps(head).encode()
    return text + b"".join(blobs), len(text)


def raw_bytes(tensor: Tensor) -> bytes:
    assert not isinstance(tensor.data, list)
    return bytes(tensor.data)


def floats(tensor: Tensor) -> list[float]:
    assert tensor.datatype == "FP32"
    return list(tensor.numbers())


def refusal(model: Model, content: bytes, header_length: int | None = None) -> str:
    with pytest.raises(PredictError) as caught:
        oip_request.decode_infer(content, header_length, model)
    assert caught.value.status == 400
    request = oip_request.decode_infer(body(id="next"), None, ONE)
    assert (request.id, floats(request.inputs["x"])) == ("next", [1, 2, 3, 4])
    return caught.value.message


# Requests


def test_a_json_request() -> None:
    request = oip_request.decode_infer(
        body(id="é", parameters={"mine": "x", "also": 1.5, "none": None, "a\0b": 1}), None, ONE
    )
    assert request.id == "é"
    assert request.parameters == {"mine": "x", "also": 1.5, "none": None, "a\0b": 1}
    assert request.inputs["x"].datatype == "FP32"
    assert request.inputs["x"].shape == (2, 2)
    assert floats(request.inputs["x"]) == [1, 2, 3, 4]
    assert [(each.name, each.binary, each.classification) for each in request.outputs] == [("y", False, 0)]


def test_optional_fields_may_be_null_or_name_the_model() -> None:
    request = oip_request.decode_infer(
        body(id=None, parameters=None, outputs=None, model_name="one", model_version="3"), None, ONE
    )
    assert (request.id, request.parameters) == (None, {})
    assert oip_request.decode_infer(body(outputs=[]), None, ONE).outputs[0].name == "y"
    oip_request.decode_infer(body(inputs=[x_input(parameters=None)]), None, ONE)


def mixed_inputs(*, binary: bool) -> tuple[dict[str, Any], list[bytes]]:
    """The documented example of the binary extension (16 and 3 bytes) with BYTES and FP64 beside it."""
    rows: list[tuple[str, str, list[int], Any, bytes]] = [
        ("a", "UINT32", [2, 2], [[1, 2], [3, 4]], np.array([1, 2, 3, 4], np.uint32).tobytes()),
        ("b", "BOOL", [3], [True, False, True], b"\1\0\1"),
        ("c", "BYTES", [2], ["[", ""], b"\1\0\0\0[\0\0\0\0"),
        ("d", "FP64", [2, 1], [[0.5], [-1]], np.array([0.5, -1]).tobytes()),
    ]
    items: list[dict[str, Any]] = []
    for name, datatype, shape, data, raw in rows:
        item: dict[str, Any] = {"name": name, "datatype": datatype, "shape": shape}
        items.append(item | ({"parameters": {"binary_data_size": len(raw)}} if binary else {"data": data}))
    return {"inputs": items}, [raw for *_, raw in rows]


@pytest.mark.parametrize("binary", [False, True])
def test_several_inputs(binary: bool) -> None:
    head, blobs = mixed_inputs(binary=binary)
    content, length = binary_body(head, *(blobs if binary else []))
    inputs = oip_request.decode_infer(content, length if binary else None, MIXED).inputs
    assert [(name, tensor.datatype, tensor.shape) for name, tensor in inputs.items()] == [
        ("a", "UINT32", (2, 2)),
        ("b", "BOOL", (3,)),
        ("c", "BYTES", (2,)),
        ("d", "FP64", (2, 1)),
    ]
    assert inputs["c"].data == [b"[", b""]
    for name, blob in zip("abd", (blobs[0], blobs[1], blobs[3]), strict=True):
        assert raw_bytes(inputs[name]) == blob


def test_json_and_binary_data_in_one_request() -> None:
    head, blobs = mixed_inputs(binary=False)
    head["inputs"][1] = {"name": "b", "datatype": "BOOL", "shape": [3], "parameters": {"binary_data_size": 3}}
    content, length = binary_body(head, blobs[1])
    inputs = oip_request.decode_infer(content, length, MIXED).inputs
    assert raw_bytes(inputs["b"]) == blobs[1]
    assert raw_bytes(inputs["a"]) == blobs[0]


def test_a_header_length_of_the_whole_body_is_a_json_request() -> None:
    content = body()
    assert floats(oip_request.decode_infer(content, len(content), ONE).inputs["x"]) == [1, 2, 3, 4]


def test_an_empty_tensor_as_binary_data() -> None:
    item = x_input(shape=[0, 2], data="absent", parameters={"binary_data_size": 0})
    content, length = binary_body({"inputs": [item]})
    assert oip_request.decode_infer(content, length, ONE).inputs["x"].shape == (0, 2)


@pytest.mark.parametrize(
    ("default", "outputs", "expected"),
    [
        (None, None, [("y", False), ("z", False), ("w", False)]),
        (True, None, [("y", True), ("z", True), ("w", True)]),
        (True, [{"name": "z"}], [("z", True)]),
        (True, [{"name": "z", "parameters": {"binary_data": False}}, {"name": "y"}], [("z", False), ("y", True)]),
        (False, [{"name": "z", "parameters": {"binary_data": True}}, {"name": "y"}], [("z", True), ("y", False)]),
        (None, [{"name": "w", "parameters": {"own": 1}}], [("w", False)]),
    ],
)
def test_forms_of_outputs(default: bool | None, outputs: Any, expected: list[tuple[str, bool]]) -> None:
    head, _ = mixed_inputs(binary=False)
    head |= {"outputs": outputs} | ({} if default is None else {"parameters": {"binary_data_output": default}})
    request = oip_request.decode_infer(json.dumps(head).encode(), None, MIXED)
    assert [(each.name, each.binary) for each in request.outputs] == expected


def test_what_tritonclient_sends() -> None:
    """InferRequestedOutput(class_count=2) with its default binary_data, and a request with priority and timeout."""
    content = body(
        parameters={"binary_data_output": True, "priority": 1, "timeout": 5000},
        outputs=[{"name": "y", "parameters": {"classification": 2, "binary_data": True}}],
    )
    (wanted,) = oip_request.decode_infer(content, None, ONE).outputs
    assert (wanted.binary, wanted.classification) == (True, 2)


# Raw bodies


def raw_model(datatype: str, shape: tuple[int, ...]) -> Model:
    return Model("raw", "1", specs(x=(datatype, shape)), specs(y=("FP32", (1,)), z=("FP32", (1,))))


@pytest.mark.parametrize(
    ("datatype", "shape", "size", "deduced"),
    [
        ("FP32", (2, 2), 16, (2, 2)),
        ("FP32", (-1, 2), 16, (2, 2)),
        ("FP32", (1, -1), 16, (1, 4)),
        ("UINT8", (-1,), 0, (0,)),
        ("INT64", (), 8, ()),
        ("FP32", (2, 2), 15, None),
        ("FP32", (2, 2), 20, None),
        ("FP32", (-1,), 15, None),
        ("FP32", (-1, 3), 16, None),
        ("FP32", (-1, -1), 16, None),
        ("BYTES", (2,), 8, None),
        ("BYTES", (-1, -1), 8, None),
    ],
)
def test_raw_bodies(datatype: str, shape: tuple[int, ...], size: int, deduced: tuple[int, ...] | None) -> None:
    content = bytes(range(size))
    if deduced is None:
        message = refusal(raw_model(datatype, shape), content, 0)
        assert f"raw body of {size} bytes does not fit input 'x'" in message
        return
    request = oip_request.decode_infer(content, 0, raw_model(datatype, shape))
    assert request.inputs["x"].shape == deduced
    assert request.inputs["x"].datatype == datatype
    assert raw_bytes(request.inputs["x"]) == content
    assert [(each.name, each.binary) for each in request.outputs] == [("y", True), ("z", True)]


def test_a_raw_body_is_not_copied() -> None:
    content = bytes(16)
    data = oip_request.decode_infer(content, 0, raw_model("FP32", (-1, 2))).inputs["x"].data
    assert isinstance(data, memoryview)
    assert data.obj is content


@pytest.mark.parametrize("shape", [(1,), (-1,), (1, 1), (-1, 1), ()])
def test_a_raw_body_of_bytes_is_one_element(shape: tuple[int, ...]) -> None:
    tensor = oip_request.decode_infer(b"\xffany", 0, raw_model("BYTES", shape)).inputs["x"]
    assert tensor.data == [b"\xffany"]
    assert tensor.shape == tuple(1 for _ in shape)


def test_a_raw_body_for_several_inputs() -> None:
    assert "has 4 inputs: a, b, c, d" in refusal(MIXED, b"1234", 0)


# Refusals


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (body(extra=1), "unknown field 'extra'; known: id, parameters, inputs"),
        (b'{"inputs":[],"inputs":[]}', "'inputs' twice"),
        (body(id=7), "needs 'id', a string; it is 7"),
        (body(model_name="two"), "'model_name' is 'two', but the request went to 'one'"),
        (body(model_version=3), "'model_version' is 3"),
        (body(parameters=[1]), "'parameters', which must be an object; it is an array"),
        (body(parameters={"a": [1]}), "'a', an array; it must be a scalar"),
        (body(parameters={"a": {}}), "must be a scalar"),
        (b'{"inputs":[],"parameters":{"a":1,"a":2}}', "'a' twice"),
        (body(parameters={"binary_data_output": 1}), "'binary_data_output' = 1; it must be true or false"),
        (body(parameters={"timeout": "1"}), "whole number of 0 or more"),
        (body(parameters={"priority": -1}), "whole number of 0 or more"),
        (body(parameters={"sequence_id": 5}), "'sequence_id', which is not supported"),
        (body(inputs={}), "'inputs', which must be an array; it is an object"),
        (body(inputs=[]), "'inputs' lacks x; model 'one' takes x"),
        (b"{}", "'inputs' lacks x"),
        (body(inputs=[3]), "inputs[0] must be an object with a 'name'; it is 3"),
        (body(inputs=[x_input(), x_input()]), "inputs[1] is input 'x' a second time"),
        (body(inputs=[x_input(), x_input(name="u")]), "inputs[1] is 'u'; model 'one' takes x"),
        (body(inputs=[x_input(name="u" * 10_000)]), "...; model 'one' takes x"),
        (body(inputs=[x_input(name=1)]), "inputs[0] needs 'name', a string; it is 1"),
        (body(inputs=[x_input(name="absent")]), "inputs[0] needs 'name'"),
        (body(inputs=[x_input(more=1)]), "inputs[0] has the unknown field 'more'"),
        (body(inputs=[x_input(datatype="FP64")]), "has datatype 'FP64'; the model takes FP32"),
        (body(inputs=[x_input(datatype="float")]), "has datatype 'float'; the model takes FP32"),
        (body(inputs=[x_input(datatype="absent")]), "inputs[0] needs 'datatype'"),
        (body(inputs=[x_input(shape="absent")]), "inputs[0] needs 'shape', an array"),
        (body(inputs=[x_input(shape=4)]), "'shape', which must be an array; it is 4"),
        (body(inputs=[x_input(shape=[2, -2])]), "has -2 in 'shape'"),
        (body(inputs=[x_input(shape=[2, 2.0])]), "has 2.0 in 'shape'"),
        (body(inputs=[x_input(shape=[2, True])]), "has true in 'shape'"),
        (body(inputs=[x_input(shape=[2, "2"])]), "has '2' in 'shape'"),
        (body(inputs=[x_input(shape=[[2], 2])]), "has an array in 'shape'"),
        (body(inputs=[x_input(shape=[2, None])]), "has null in 'shape'"),
        (body(inputs=[x_input(shape=[2, 3])]), "has shape [2, 3]; the model takes [-1, 2]"),
        (body(inputs=[x_input(shape=[4])]), "has shape [4]; the model takes [-1, 2]"),
        (body(inputs=[x_input(shape=[1] * 5000)]), "has shape 5000 dimensions"),
        (body(inputs=[x_input(shape=[(1 << 63) - 1, 2])]), "expected shape [9223372036854775807, 2], nested, or flat"),
        (body(inputs=[x_input(shape=[1 << 63, 2])]), "has 9223372036854775808 in 'shape'"),
        (body(inputs=[x_input(shape=[1 << 61, 2])]), "flat with 4611686018427387904 elements"),
        (body(inputs=[x_input(shape=[3, 2])]), "data of shape [4]; expected shape [3, 2]"),
        (body(inputs=[x_input(shape=[0, 2])]), "flat with 0 elements"),
        (body(inputs=[x_input(data="absent")]), "either 'data' or the parameter binary_data_size; it has neither"),
        (body(inputs=[x_input(data=None)]), "it has neither"),
        (body(inputs=[x_input(parameters={"binary_data_size": 16})]), "it has both"),
        (body(inputs=[x_input(parameters={"binary_data_size": True})]), "must be a whole number of 0 or more"),
        (body(inputs=[x_input(parameters={"binary_data_size": -1})]), "must be a whole number of 0 or more"),
        (body(inputs=[x_input(parameters={"binary_data_size": None})]), "must be a whole number of 0 or more"),
        (body(inputs=[x_input(parameters={"shared_memory_region": "r"})]), "'shared_memory_region', which is not"),
        (body(inputs=[x_input(data="absent", parameters={"binary_data_size": 16})]), "but 0 are left after the JSON"),
        (body(inputs=[x_input(data=7)]), "'data', which must be an array; it is 7"),
        (body(inputs=[x_input(data=[1, 2, 3, None])]), "element 3 in row-major order is null; FP32 takes numbers"),
        (body(inputs=[x_input(data=[[1, [2]], [3, 4]])]), "element 1 in row-major order is an array"),
        (body(outputs=[{"name": "z"}]), "outputs[0] is 'z'; model 'one' gives y"),
        (body(outputs=[{"name": "y"}, {"name": "y"}]), "outputs[1] is output 'y' a second time"),
        (body(outputs=[{}]), "outputs[0] needs 'name'"),
        (body(outputs=["y"]), "outputs[0] must be an object with a 'name'; it is 'y'"),
        (body(outputs=[{"name": "y", "data": []}]), "outputs[0] has the unknown field 'data'"),
        (body(outputs=[{"name": "y", "parameters": {"classification": 0}}]), "whole number of 1 or more"),
        (body(outputs=[{"name": "y", "parameters": {"classification": 1.0}}]), "whole number of 1 or more"),
        (body(outputs=[{"name": "y", "parameters": {"binary_data": "yes"}}]), "must be true or false"),
        (body(outputs=[{"name": "y", "parameters": {"shared_memory_offset": 0}}]), "not supported"),
    ],
)
def test_refusals(content: bytes, words: str) -> None:
    message = refusal(ONE, content)
    assert words in message
    assert len(message) < 400


@pytest.mark.parametrize(
    ("sizes", "given", "added", "words"),
    [
        ([16, 3, 9, 16], 44, 1, "Inference-Header-Content-Length is"),
        ([16, 3, 9, 16], 43, 0, "needs 16 bytes of binary data, but 15 are left"),
        ([16, 3, 9, 16], 45, 0, "1 bytes of binary data are left over"),
        ([15, 3, 9, 16], 44, 0, "has 15 bytes of binary data; expected 16 for shape [2, 2] of UINT32"),
        ([16, 4, 9, 16], 44, 0, "has 4 bytes of binary data; expected 3"),
        ([16, 3, 8, 16], 44, 0, "'c' has 1 whole elements in the first 5 of 8 bytes"),
        ([16, 3, 9, 1 << 62], 44, 0, "but 16 are left"),
    ],
)
def test_binary_sizes_that_do_not_add_up(sizes: list[int], given: int, added: int, words: str) -> None:
    head, blobs = mixed_inputs(binary=True)
    for item, size in zip(head["inputs"], sizes, strict=True):
        item["parameters"]["binary_data_size"] = size
    content, length = binary_body(head, b"".join(blobs).ljust(given, b"\0")[:given])
    assert words in refusal(MIXED, content, length + (added and given + added))


@pytest.mark.parametrize("cut", [-1, 1])
def test_a_header_length_that_is_off_by_one(cut: int) -> None:
    head, blobs = mixed_inputs(binary=True)
    content, length = binary_body(head, *blobs)
    assert "not JSON" in refusal(MIXED, content, length + cut)


@pytest.mark.parametrize(("header", "length"), [(None, None), ("0", 0), (" 17 ", 17), ("9" * 18, int("9" * 18))])
def test_header_lengths(header: str | None, length: int | None) -> None:
    assert oip_request.parse_header_length(header) == length


@pytest.mark.parametrize("header", ["", "-1", "1.5", "0x10", "1 2", "²", "٣", "9" * 19, "9" * 5000, "none"])
def test_header_lengths_that_are_none(header: str) -> None:
    with pytest.raises(PredictError, match="Inference-Header-Content-Length") as caught:
        oip_request.parse_header_length(header)
    assert len(caught.value.message) < 200


# Every datatype, both ways


BITS: dict[str, Any] = {**NUMPY, "BF16": np.uint16}


@pytest.mark.parametrize("datatype", [name for name in DATATYPES if name not in ("BYTES", "BOOL")])
@EXAMPLES
@given(st.data())
def test_what_is_encoded_can_be_decoded(datatype: str, data: Any) -> None:
    """An answer's outputs, sent back as inputs, are the same tensors: bit by bit, however the JSON is padded."""
    shape = tuple(data.draw(st.lists(st.integers(0, 3), max_size=3)))
    size = int(np.prod(shape, dtype=int)) * DATATYPES[datatype].itemsize
    raw = data.draw(st.binary(min_size=size, max_size=size))
    model = Model("same", "1", specs(t=(datatype, shape)), specs(t=(datatype, shape)))
    binary = data.draw(st.booleans()) or datatype == "BF16"
    if not binary and datatype[:2] == "FP":
        values = np.frombuffer(raw, BITS[datatype])
        raw = np.where(np.isfinite(values), values, 1).astype(BITS[datatype]).tobytes()
    request = oip_request.InferRequest("7", {}, [oip_request.RequestedOutput("t", binary=binary)], {})
    content, length = oip_response.encode_infer(model, request, {"t": Tensor(datatype, shape, raw)}, [])
    assert (length is not None) == binary
    answer = json.loads(content[:length])
    assert {key: answer[key] for key in ("model_name", "model_version", "id")} == {
        "model_name": "same",
        "model_version": "1",
        "id": "7",
    }
    pad = b" " * data.draw(st.integers(0, 8))
    head = json.dumps({"inputs": answer["outputs"]}).encode() + pad
    sent = head + content[length:] if length is not None else head
    back = oip_request.decode_infer(sent, len(head), model).inputs["t"]
    assert back.shape == shape
    assert raw_bytes(back) == raw


# Answers


def answer(tensors: dict[str, Tensor], *outputs: oip_request.RequestedOutput, labels: list[str] | None = None) -> Any:
    request = oip_request.InferRequest(None, {}, list(outputs), {})
    content, length = oip_response.encode_infer(MIXED, request, tensors, labels or [])
    return json.loads(content[:length]), b"" if length is None else content[length:]


def fp32(*rows: list[float]) -> Tensor:
    array = np.array(rows, np.float32)
    return Tensor("FP32", array.shape, array.tobytes())


def test_json_and_binary_outputs_in_one_answer() -> None:
    tensors = {"y": fp32([0.1, 2, 3]), "z": Tensor("BYTES", (2,), [b"ab", b""]), "w": Tensor("BF16", (1,), b"\1\2")}
    document, rest = answer(
        tensors,
        oip_request.RequestedOutput("w", binary=True),
        oip_request.RequestedOutput("y", binary=False),
        oip_request.RequestedOutput("z", binary=True),
    )
    assert document == {
        "model_name": "mixed",
        "model_version": "1",
        "outputs": [
            {"name": "w", "datatype": "BF16", "shape": [1], "parameters": {"binary_data_size": 2}},
            {"name": "y", "datatype": "FP32", "shape": [1, 3], "data": [float(np.float32(0.1)), 2, 3]},
            {"name": "z", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": 10}},
        ],
    }
    assert list(document) == ["model_name", "model_version", "outputs"]
    assert rest == b"\1\2\2\0\0\0ab\0\0\0\0"


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (fp32([1, float("nan")]), "'y' is nan at element 1"),
        (Tensor("BYTES", (1,), [b"\xff"]), "not UTF-8"),
        (Tensor("BF16", (1,), b"\0\0"), "BF16"),
    ],
)
def test_outputs_that_json_cannot_carry(tensor: Tensor, words: str) -> None:
    with pytest.raises(PredictError, match="binary data") as caught:
        answer({"y": tensor}, oip_request.RequestedOutput("y", binary=False))
    assert words in caught.value.message
    assert answer({"y": tensor}, oip_request.RequestedOutput("y", binary=True))[1]


LABELS = ["ant", "bee", "cat", "dog"]


@pytest.mark.parametrize(
    ("tensor", "k", "labels", "shape", "expected"),
    [
        (fp32([1.1, 3.3, 0.5, 2.4]), 2, [], [1, 2], ["3.300000:1", "2.400000:3"]),
        (fp32([1.1, 3.3, 0.5, 2.4]), 2, LABELS, [1, 2], ["3.300000:1:bee", "2.400000:3:dog"]),
        (fp32([1.1, 3.3, 0.5, 2.4]), 2, LABELS[:3], [1, 2], ["3.300000:1", "2.400000:3"]),
        (fp32([1, 5], [7, 7], [-1, 0]), 9, [], [3, 2], ["5:1", "1:0", "7:0", "7:1", "0:1", "-1:0"]),
        (Tensor("INT8", (4,), b"\1\5\xff\4"), 2, LABELS, [2], ["5:1:bee", "4:3:dog"]),
        (Tensor("UINT64", (2,), b"\xff" * 8 + b"\0" * 8), 1, [], [1], ["18446744073709551615:0"]),
        (Tensor("FP16", (1, 2), np.array([0.5, 2], np.float16).tobytes()), 1, [], [1, 1], ["2.000000:1"]),
        (Tensor("INT16", (2, 2, 1), b"\1\0\2\0\4\0\3\0"), 1, [], [2, 1], ["2:1", "4:0"]),
        (Tensor("INT32", (), b"\7\0\0\0"), 5, [], [1], ["7:0"]),
        (Tensor("FP32", (0, 4), b""), 2, [], [0, 2], []),
        (Tensor("FP32", (3, 0), b""), 2, [], [3, 0], []),
    ],
)
def test_classification(tensor: Tensor, k: int, labels: list[str], shape: list[int], expected: list[str]) -> None:
    wanted = oip_request.RequestedOutput("y", binary=False, classification=k)
    (output,) = answer({"y": tensor}, wanted, labels=labels)[0]["outputs"]
    if tensor.datatype == "FP32" and expected and "." not in expected[0]:
        expected = [f"{float(value):.6f}:{index}" for value, index in (text.split(":") for text in expected)]
    assert output == {"name": "y", "datatype": "BYTES", "shape": shape, "data": expected}


def test_classification_as_binary_data() -> None:
    wanted = oip_request.RequestedOutput("y", binary=True, classification=1)
    document, rest = answer({"y": Tensor("INT8", (1, 2), b"\1\2")}, wanted)
    assert document["outputs"][0]["parameters"] == {"binary_data_size": 7}
    assert rest == b"\3\0\0\0" + b"2:1"


@pytest.mark.parametrize("datatype", ["BOOL", "BF16", "BYTES"])
def test_classification_needs_an_order(datatype: str) -> None:
    tensor = Tensor(datatype, (1,), [b"a"] if datatype == "BYTES" else b"\0\0")
    with pytest.raises(PredictError, match="has no order"):
        answer({"y": tensor}, oip_request.RequestedOutput("y", binary=False, classification=1))


def test_metadata() -> None:
    assert oip_response.server_metadata("1.2") == {
        "name": "zeroserve",
        "version": "1.2",
        "extensions": ("binary_tensor_data", "classification", "model_repository"),
    }
    assert json.loads(json.dumps(oip_response.model_metadata(ONE))) == {
        "name": "one",
        "versions": ["3"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}],
    }


# Fuzzing


def test_one_changed_byte_never_breaks_anything() -> None:
    """6,000 valid requests with one byte changed, dropped or doubled: an answer or a PredictError, nothing else."""
    head, blobs = mixed_inputs(binary=True)
    binary, length = binary_body(head | {"outputs": [{"name": "y", "parameters": {"binary_data": True}}]}, *blobs)
    text, _ = binary_body(mixed_inputs(binary=False)[0] | {"id": "1", "parameters": {"a": 1}})
    seeds: list[tuple[bytes, int | None]] = [(binary, length), (text, None)]
    seed = 20_261_121
    chance = random.Random(seed)
    answered = refused = 0
    for case in range(6000):
        valid, header_length = seeds[case % 2]
        at = chance.randrange(len(valid))
        middle = chance.choice((bytes([chance.randrange(256)]), chance.choice(b'[]{}",:-.0e').to_bytes(), b""))
        changed = valid[:at] + middle + valid[at + chance.randrange(2) :]
        try:
            request = oip_request.decode_infer(changed, header_length, MIXED)
        except PredictError as error:
            refused += error.status == 400
            continue
        except Exception as error:
            raise AssertionError(f"seed {seed}, case {case}: {changed!r}") from error
        for name, tensor in request.inputs.items():
            assert MIXED.inputs[name].accepts(tensor.shape), f"seed {seed}, case {case}"
        answered += 1
    assert refused > 1000
    assert answered + refused == 6000
    assert len(oip_request.decode_infer(binary, length, MIXED).inputs) == 4
