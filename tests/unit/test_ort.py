"""The engine against its oracle, onnxruntime.InferenceSession: the same answers for every datatype and shape."""

from __future__ import annotations

import array
import gc
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from function.engine.session import OPTIMISE_ALL, Session
from function.native import ort_capi
from function.native.ort_capi import OrtError
from function.tensor import DATATYPES, NAME_OF_ONNX, Tensor
from tests import support
from tests.datatypes import NUMPY
from tests.support import doubling, identity, make_model, mixed, open_session

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

ALL = {**NUMPY, "BF16": ml_dtypes.bfloat16}


def tensor_of(values: NDArray[Any]) -> Tensor:
    """An array as the tensor of its datatype."""
    name = next(name for name, kind in ALL.items() if values.dtype == kind)
    return Tensor(name, values.shape, values.tobytes())


def array_of(tensor: Tensor) -> NDArray[Any]:
    """A numeric tensor as an array of its datatype and shape; the bytes are copied."""
    assert not isinstance(tensor.data, list)
    return np.frombuffer(bytes(tensor.data), ALL[tensor.datatype]).reshape(tensor.shape)


def fp32(*values: float) -> Tensor:
    return tensor_of(np.array(values, np.float32))


@pytest.fixture
def double(tmp_path: Path) -> Session:
    """`x` FP32 [-1] -> `y`, twice as much."""
    return open_session(doubling(), tmp_path)


# --- the same answers as the oracle


def test_digits_answer_as_the_oracle_does(digits_prepared: Path) -> None:
    path = str(digits_prepared / "digits" / "model.onnx")
    values = np.random.default_rng(3).normal(0, 1, (2, 3, 224, 224)).astype(np.float32)
    oracle = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    [expected] = oracle.run(None, {"input": values})
    session = Session(path, optimise=OPTIMISE_ALL, threads=1)
    got = array_of(session.run({"input": tensor_of(values)})["logits"])
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("name", list(NUMPY))  # the oracle takes no BF16 from numpy
@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (0,), (2, 0, 3)], ids=str)
def test_every_datatype_answers_as_the_oracle_does(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    kind = DATATYPES[name].onnx
    model = make_model(
        [
            helper.make_node("Concat", ["flat", "flat"], ["y"], axis=0),
            helper.make_node("Flatten", ["x"], ["flat"], axis=0),
        ][::-1],
        [("x", kind, [f"d{index}" for index in range(len(shape))])],
        [("y", kind, [2, "n"])],
    )
    values = np.random.default_rng(5).integers(0, 2 if name == "BOOL" else 100, shape).astype(NUMPY[name])
    session = open_session(model, tmp_path)
    got = session.run({"x": tensor_of(values)})["y"]
    oracle = onnxruntime.InferenceSession(str(tmp_path / "made.onnx"), providers=["CPUExecutionProvider"])
    [expected] = oracle.run(None, {"x": values})
    assert (got.datatype, got.shape) == (name, expected.shape)
    np.testing.assert_array_equal(array_of(got), expected)
    assert session.inputs["x"].datatype == name
    assert session.inputs["x"].shape == (-1,) * len(shape)


def test_bf16_goes_in_and_comes_out(tmp_path: Path) -> None:
    session = open_session(identity(TensorProto.BFLOAT16, ["n"]), tmp_path)
    values = np.array([0, -1.5, 3e38, np.inf], ml_dtypes.bfloat16)
    got = session.run({"x": tensor_of(values)})["y"]
    assert got.datatype == "BF16"
    np.testing.assert_array_equal(array_of(got), values)


def test_every_datatype_of_the_table_is_tried_here() -> None:
    assert {*ALL, "BYTES"} == set(DATATYPES)
    for name, kind in ALL.items():
        assert DATATYPES[name].itemsize == np.dtype(kind).itemsize
        assert helper.tensor_dtype_to_np_dtype(DATATYPES[name].onnx) == np.dtype(kind)
    assert DATATYPES["BYTES"].onnx == TensorProto.STRING


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ((), [b"one"]),
        ((3,), [b"", b"a\0b", "zwölf".encode()]),
        ((2, 2), [b"\0", b"", b"", b"x" * 100_000]),
        ((0,), []),
        ((2, 0), []),
        ((1,), [bytes(range(256))]),
    ],
    ids=str,
)
def test_strings_are_any_bytes(shape: tuple[int, ...], data: list[bytes], tmp_path: Path) -> None:
    session = open_session(identity(TensorProto.STRING, [f"d{index}" for index in range(len(shape))]), tmp_path)
    got = session.run({"x": Tensor("BYTES", shape, data)})["y"]
    assert (got.datatype, got.shape, got.data) == ("BYTES", shape, data)


@settings(max_examples=50, deadline=None)
@given(data=st.lists(st.binary(max_size=300)))
def test_strings_come_back_unchanged(data: list[bytes], strings: Session) -> None:
    assert strings.run({"x": Tensor("BYTES", (len(data),), data)})["y"].data == data


@pytest.fixture(scope="module")
def strings(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return open_session(identity(TensorProto.STRING, ["n"]), tmp_path_factory.mktemp("strings"))


def test_many_strings_take_time_in_proportion(strings: Session) -> None:
    """20,000 strings of 1 kB: copying all of them for each would move 400 GB and not end."""
    data = [bytes([index % 256]) * 1000 for index in range(20_000)]
    assert strings.run({"x": Tensor("BYTES", (len(data),), data)})["y"].data == data


def test_inputs_and_outputs_of_mixed_datatypes(tmp_path: Path) -> None:
    session = open_session(mixed(), tmp_path)
    number, count = np.array([[1, 3, 2], [9, -8, 7]], np.float32), np.array([0, 1 << 63], np.uint64)
    inputs = {
        "count": tensor_of(count),
        "text": Tensor("BYTES", (2,), [b"\0", b""]),
        "number": tensor_of(number),
        "flag": tensor_of(np.array(True)),
    }
    got = session.run(inputs)
    oracle = onnxruntime.InferenceSession(str(tmp_path / "made.onnx"), providers=["CPUExecutionProvider"])
    text = np.array(["a", "b"], object)  # the oracle's strings are text
    fed = {"count": count, "text": text, "number": number, "flag": np.array(True)}
    expected = dict(zip(list(session.outputs), oracle.run(list(session.outputs), fed), strict=True))
    assert list(got) == ["real", "same", "best", "opposite", "square"]
    assert got["same"].data == [b"\0", b""]
    for name in ("real", "best", "opposite", "square"):
        np.testing.assert_array_equal(array_of(got[name]), expected[name])
        assert got[name].shape == expected[name].shape


def test_only_the_named_outputs_in_the_order_named(tmp_path: Path) -> None:
    session = open_session(mixed(), tmp_path)
    inputs = {
        "flag": tensor_of(np.array(False)),
        "number": tensor_of(np.zeros((1, 3), np.float32)),
        "text": Tensor("BYTES", (0,), []),
        "count": tensor_of(np.zeros(2, np.uint64)),
    }
    assert list(session.run(inputs, ["square", "best"])) == ["square", "best"]


def test_specs_are_the_oracles(tmp_path: Path) -> None:
    session = open_session(mixed(), tmp_path)
    oracle = onnxruntime.InferenceSession(str(tmp_path / "made.onnx"), providers=["CPUExecutionProvider"])
    for found, expected in ((session.inputs, oracle.get_inputs()), (session.outputs, oracle.get_outputs())):
        assert list(found) == [value.name for value in expected]
        for value in expected:
            assert found[value.name].shape == tuple(-1 if isinstance(size, str) else size for size in value.shape)
    assert {name: spec.datatype for name, spec in session.inputs.items()} == {
        "flag": "BOOL",
        "number": "FP32",
        "text": "BYTES",
        "count": "UINT64",
    }


@pytest.mark.parametrize("count", [1, 2, 5])
def test_dynamic_dimensions_take_any_size(count: int, double: Session) -> None:
    got = double.run({"x": fp32(*range(count))})["y"]
    np.testing.assert_array_equal(array_of(got), np.arange(count) * 2)


# --- buffers in


def test_any_contiguous_buffer_is_taken(double: Session) -> None:
    numbers = array.array("f", [1, 2, 3])
    inside = b"\xff" * 7 + numbers.tobytes() + b"\xff" * 5
    offset = memoryview(inside)[7:19]
    grid = np.array([[1, 2, 3]], np.float32).data
    for data in (numbers, numbers.tobytes(), bytearray(numbers.tobytes()), offset, memoryview(bytearray(offset)), grid):
        np.testing.assert_array_equal(array_of(double.run({"x": Tensor("FP32", (3,), data)})["y"]), [2, 4, 6])


@pytest.mark.parametrize("data", [b"", bytearray(), array.array("f"), memoryview(b"1234")[2:2]], ids=repr)
def test_an_empty_buffer_is_taken(data: bytes, double: Session) -> None:
    got = double.run({"x": Tensor("FP32", (0,), data)})["y"]
    assert (got.shape, bytes(got.data)) == ((0,), b"")  # type: ignore[arg-type]


def test_a_buffer_with_gaps_is_refused(double: Session) -> None:
    with pytest.raises(BufferError, match="not C-contiguous"):
        double.run({"x": Tensor("FP32", (2,), memoryview(bytes(16))[::2])})


def test_ort_is_given_the_callers_own_memory(double: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    given_addresses = []
    create = ort_capi.get_library().CreateTensorWithDataAsOrtValue

    def spy(memory: int, address: int, *rest: object) -> None:
        given_addresses.append(address)
        create(memory, address, *rest)

    monkeypatch.setattr(ort_capi.get_library(), "CreateTensorWithDataAsOrtValue", spy)
    owner = np.arange(8, dtype=np.float32)
    double.run({"x": Tensor("FP32", (3,), owner.data[2:5])})
    assert given_addresses == [owner.ctypes.data + 8]


def test_a_buffer_is_free_again_after_a_run(double: Session) -> None:
    data = bytearray(fp32(1).data)  # type: ignore[arg-type]
    for number in (1.0, 5.0):
        data[:] = fp32(number).data  # type: ignore[assignment]
        assert array_of(double.run({"x": Tensor("FP32", (1,), data)})["y"]) == 2 * number
    with pytest.raises(OrtError):
        double.run({"x": Tensor("FP32", (9,), data)})
    data.append(0)  # BufferError while somebody still holds a view of it


# --- buffers out


def test_outputs_outlive_the_session_and_each_other(tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["x", "x"], ["y"]), helper.make_node("Mul", ["x", "x"], ["z"])]
    model = make_model(nodes, [("x", 1, ["n"])], [("y", 1, ["n"]), ("z", 1, ["n"])])
    session = open_session(model, tmp_path)
    values = np.arange(1 << 16, dtype=np.float32)
    outputs = session.run({"x": tensor_of(values)})
    view = memoryview(outputs["y"].data)[8:]  # type: ignore[arg-type]
    del session, outputs
    gc.collect()
    open_session(model, tmp_path).run({"x": tensor_of(values * 0)})  # what was freed would be used again
    np.testing.assert_array_equal(np.frombuffer(view, np.float32), values[2:] * 2)


def test_outputs_are_released_when_nobody_holds_them(double: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    released = []
    release = ort_capi.get_library().ReleaseValue

    def spy(value: int) -> None:
        released.append(value)
        release(value)

    monkeypatch.setattr(ort_capi.get_library(), "ReleaseValue", spy)
    output = double.run({"x": fp32(1, 2)})["y"]
    assert len(released) == 1  # the input
    view = memoryview(output.data)[4:]  # type: ignore[arg-type]
    del output
    assert len(released) == 1
    assert np.frombuffer(view, np.float32) == 4
    view.release()
    del view
    assert len(released) == 2


# --- what is refused


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        ({"x": Tensor("FP32", (2,), bytes(12))}, None, r"shape \[2\] of FP32 needs 8 bytes, not 12"),
        ({"x": Tensor("FP32", (-1,), bytes(4))}, None, r"shape \[-1\] of FP32 needs -4 bytes, not 4"),
        ({"x": Tensor("FP32", (-1, -1), bytes(4))}, None, "negative value in shape"),
        ({"x": Tensor("FP32", (1 << 64,), b"")}, None, "needs 73786976294838206464 bytes, not 0"),
        ({"x": Tensor("FP32", (1, 1), bytes(4))}, None, "(?s)Invalid rank for input: x Got: 2 Expected: 1"),
        ({"x": Tensor("INT32", (1,), bytes(4))}, None, "Unexpected input data type"),
        ({"x": Tensor("BYTES", (1,), [b"a"])}, None, "Unexpected input data type"),
        ({"x": Tensor("BYTES", (1 << 40,), [b"a"])}, None, "needs 1099511627776 elements, 1 came"),
        ({"x": Tensor("BYTES", (2,), [b"a"])}, None, r"shape \[2\] needs 2 elements, 1 came"),
        ({"X": Tensor("FP32", (1,), bytes(4))}, None, "Invalid input name: X|Missing Input: x"),
        ({}, None, "Missing Input: x"),
        ({"x": Tensor("FP32", (1,), bytes(4))}, ["z"], "Invalid output name: ?z"),
        ({"x": Tensor("FP32", (1,), bytes(4))}, [], "."),
    ],
)
def test_an_input_that_does_not_fit_is_refused_with_the_reason(
    inputs: dict[str, Tensor], outputs: list[str] | None, message: str, double: Session
) -> None:
    with pytest.raises(OrtError, match=message) as caught:
        double.run(inputs, outputs)
    assert isinstance(caught.value.code, int)
    assert array_of(double.run({"x": fp32(3)})["y"]) == 6  # the next run works


def test_an_error_inside_the_graph_is_orts_own_text(tmp_path: Path) -> None:
    nodes = [helper.make_node("Gather", ["x", "at"], ["y"])]
    model = make_model(nodes, [("x", 1, [3]), ("at", TensorProto.INT64, ["n"])], [("y", 1, ["n"])])
    session = open_session(model, tmp_path)
    with pytest.raises(OrtError, match="indices element out of data bounds, idx=5 must be within"):
        session.run({"x": fp32(1, 2, 3), "at": tensor_of(np.array([5]))})


@pytest.mark.parametrize("content", [None, b"", b"no model", b"\0" * 100])
def test_a_file_that_is_no_model_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "ünusual.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OrtError, match=r"ünusual\.onnx"):
        Session(str(path), optimise=OPTIMISE_ALL, threads=1)


def test_a_sequence_cannot_be_served(tmp_path: Path) -> None:
    sequence = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    graph = helper.make_graph([helper.make_node("SequenceConstruct", ["x"], ["s"])], "made", [x], [sequence])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    with pytest.raises(OrtError, match="output 's' is not a tensor"):
        open_session(model, tmp_path)


def test_a_datatype_outside_the_protocol_is_named(tmp_path: Path) -> None:
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT8E4M3FN, ["n"]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "made", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    with pytest.raises(OrtError, match="ONNX element type 17 has no counterpart"):
        open_session(model, tmp_path)


# --- threads


def test_threads_answer_as_one_after_the_other(tmp_path: Path) -> None:
    session = open_session(support.classifier(), tmp_path)
    pictures = [support.picture(seed) for seed in range(200)]
    expected = [support.logits(session.run({"input": picture})).copy() for picture in pictures]

    def work(first: int) -> None:
        for step in range(200):
            index = (first * 25 + step) % 200
            np.testing.assert_array_equal(support.logits(session.run({"input": pictures[index]})), expected[index])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


def test_the_gil_is_free_during_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While ORT's Run is in progress another thread counts; with the GIL held it could not, however long it takes.

    A thread that does not let go of the GIL keeps it for 1,000 s here, so nothing but Run itself lets the other in.
    """
    session = open_session(support.classifier(), tmp_path)
    pictures = support.picture(count=64)
    go, counted, seen = threading.Event(), [0], []
    run = ort_capi.get_library().Run

    def count() -> None:
        go.wait()
        for _ in range(1000):
            counted[0] += 1

    def spy(*arguments: object) -> None:
        go.set()
        before = counted[0]
        run(*arguments)
        seen.append(counted[0] - before)

    monkeypatch.setattr(ort_capi.get_library(), "Run", spy)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        for _ in range(100):  # a busy machine may not wake the other thread within one run
            go.clear()
            thread = threading.Thread(target=count)
            thread.start()
            session.run({"input": pictures})
            thread.join()
            if seen[-1]:
                break
    finally:
        sys.setswitchinterval(interval)
    assert seen[-1] > 0


def test_names_of_the_table_are_one_to_one() -> None:
    assert len(NAME_OF_ONNX) == len(DATATYPES)
