"""tritonclient[http], unmodified, sync and aio, against both entries."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException, np_to_triton_dtype, triton_to_np_dtype

from function.tensor import DATATYPES
from tests.contract.entries.repository import CLASSES, echo_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.contract.entries.wire import Wire

COMPRESSIONS = (None, "gzip", "deflate")
NUMBERS = sorted(set(DATATYPES) - {"BYTES", "BF16"})
# The client itself refuses FP16 as JSON.
FORMS = [(datatype, binary) for datatype in NUMBERS for binary in (True, False) if binary or datatype != "FP16"]


class Client:
    """Either client behind plain calls: what is a coroutine is run to its end."""

    def __init__(self, kind: str, address: str) -> None:
        self._runner = asyncio.Runner()
        self._client: Any = self._runner.run(self._make(kind, address))

    async def _make(self, kind: str, address: str) -> Any:
        return (triton if kind == "sync" else triton_aio).InferenceServerClient(address)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            result = getattr(self._client, name)(*arguments, **options)
            return self._runner.run(result) if inspect.iscoroutine(result) else result

        return call

    def end(self) -> None:
        self.close()
        self._runner.close()


@pytest.fixture(params=["sync", "aio"])
def client(request: pytest.FixtureRequest, wire: Wire) -> Iterator[Client]:
    client = Client(request.param, wire.address)
    yield client
    client.end()


def tensor(name: str, values: Any, *, binary: bool = True) -> Any:
    item = triton.InferInput(name, values.shape, np_to_triton_dtype(values.dtype))
    item.set_data_from_numpy(values, binary_data=binary)
    return item


def some(datatype: str) -> Any:
    """A 2 x 3 array with the extremes of its datatype."""
    kind = triton_to_np_dtype(datatype)
    if datatype == "BOOL":
        return np.array([[True, False, True], [False, False, True]])
    info = np.finfo(kind) if datatype.startswith("FP") else np.iinfo(kind)
    return np.array([[info.min, info.max, 0], [1, 2, 3]], kind)


def test_liveness_readiness_and_metadata(client: Client) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("mixed")
    assert client.is_model_ready("mixed", "1")
    assert not client.is_model_ready("mixed", "2")
    assert not client.is_model_ready("nobody")
    server = client.get_server_metadata()
    assert server["name"] == "zeroserve"
    assert server["extensions"] == ["binary_tensor_data", "classification", "model_repository"]
    expected = {
        "name": "mymodel",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "input0", "datatype": "UINT32", "shape": [2, 2]},
            {"name": "input1", "datatype": "BOOL", "shape": [3]},
        ],
        "outputs": [{"name": "output0", "datatype": "FP32", "shape": [3, 2]}],
    }
    assert client.get_model_metadata("mymodel") == expected
    assert client.get_model_metadata("mymodel", "1") == expected


def test_the_repository_index(client: Client) -> None:
    rows = client.get_model_repository_index()
    assert {"name": "classes", "version": "1", "state": "READY", "reason": ""} in rows
    assert [row["name"] for row in rows] == sorted(row["name"] for row in rows)


@pytest.mark.parametrize(("datatype", "binary"), FORMS)
def test_every_datatype_both_ways(client: Client, datatype: str, binary: bool) -> None:
    values = some(datatype)
    outputs = [triton.InferRequestedOutput("y", binary_data=binary)]
    result = client.infer(echo_name(datatype), [tensor("x", values, binary=binary)], outputs=outputs)
    got = result.as_numpy("y")
    assert got.dtype == values.dtype
    assert got.tobytes() == values.tobytes()


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
def test_bytes_both_ways(client: Client, binary: bool) -> None:
    values = np.array([["naïve".encode(), b""], [b"a\0b", b"x" * 300]], np.object_)
    outputs = [triton.InferRequestedOutput("y", binary_data=binary)]
    got = client.infer("echo_bytes", [tensor("x", values, binary=binary)], outputs=outputs).as_numpy("y")
    if not binary:  # the client leaves JSON strings as they are
        got = np.array(
            [[text if isinstance(text, bytes) else text.encode() for text in row] for row in got], np.object_
        )
    assert got.tolist() == values.tolist()


def test_bf16_as_raw_bytes(client: Client) -> None:
    values = np.array([[1.5, -2.0, 3e38, np.nan]], ml_dtypes.bfloat16)
    got = client.infer("echo_bf16", [tensor("x", values)]).as_numpy("y")
    assert got.astype(ml_dtypes.bfloat16).tobytes() == values.tobytes()


@pytest.mark.parametrize("request_coding", COMPRESSIONS)
@pytest.mark.parametrize("response_coding", COMPRESSIONS)
@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
def test_compression_both_ways(
    client: Client, request_coding: str | None, response_coding: str | None, binary: bool
) -> None:
    values = np.arange(600, dtype=np.float32).reshape(2, 300)
    outputs = [triton.InferRequestedOutput("y", binary_data=binary)]
    result = client.infer(
        "echo_fp32",
        [tensor("x", values, binary=binary)],
        outputs=outputs,
        request_compression_algorithm=request_coding,
        response_compression_algorithm=response_coding,
    )
    assert result.as_numpy("y").tolist() == values.tolist()


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
def test_class_count(client: Client, binary: bool) -> None:
    values = np.array([[0.5, 2.5, -1, 2.5], [4, 3, 2, 1]], np.float32)
    outputs = [triton.InferRequestedOutput("y", binary_data=binary, class_count=3)]
    got = client.infer("classes", [tensor("x", values)], outputs=outputs).as_numpy("y")
    texts = [[text if isinstance(text, str) else text.decode() for text in row] for row in got.tolist()]
    assert texts == [
        [f"2.500000:1:{CLASSES[1]}", f"2.500000:3:{CLASSES[3]}", f"0.500000:0:{CLASSES[0]}"],
        [f"4.000000:0:{CLASSES[0]}", f"3.000000:1:{CLASSES[1]}", f"2.000000:2:{CLASSES[2]}"],
    ]


def mixed_inputs(batch: int) -> tuple[list[Any], dict[str, Any]]:
    a = np.arange(2 * batch, dtype=np.int64).reshape(batch, 2) - 3
    b = np.full((batch, 2), 0.5, np.float32)
    words = np.array([f"word {index}".encode() for index in range(batch)], np.object_)
    inputs = [tensor("b", b, binary=False), tensor("words", words), tensor("a", a)]
    return inputs, {"sum": a + b, "copy": a, "same": words, "greater": a > b}


@pytest.mark.parametrize("batch", [1, 2, 7, 64])
def test_several_inputs_outputs_and_batches(client: Client, batch: int) -> None:
    inputs, expected = mixed_inputs(batch)
    result = client.infer("mixed", inputs, request_id=f"batch {batch}")
    response = result.get_response()
    assert response["id"] == f"batch {batch}"
    assert response["model_name"] == "mixed"
    assert response["model_version"] == "1"
    for name, values in expected.items():
        assert result.as_numpy(name).tolist() == values.tolist(), name


def test_outputs_are_those_asked_for_in_that_order_each_in_its_form(client: Client) -> None:
    inputs, expected = mixed_inputs(2)
    outputs = [
        triton.InferRequestedOutput("greater", binary_data=False),
        triton.InferRequestedOutput("sum", binary_data=True),
    ]
    result = client.infer("mixed", inputs, outputs=outputs, model_version="1")
    assert [row["name"] for row in result.get_response()["outputs"]] == ["greater", "sum"]
    assert "data" in result.get_output("greater")
    assert result.get_output("sum")["parameters"] == {"binary_data_size": 16}
    for name in ("greater", "sum"):
        assert result.as_numpy(name).tolist() == expected[name].tolist()
    assert result.as_numpy("copy") is None


def test_own_parameters_are_let_through(client: Client) -> None:
    values = np.ones((1, 1), np.float32)
    options = {"priority": 3, "timeout": 1000, "parameters": {"my_tag": "x", "my_number": 1}}
    assert client.infer("echo_fp32", [tensor("x", values)], **options).as_numpy("y").tolist() == [[1]]


ONE = np.ones((1, 4), np.float32)
ERRORS: dict[str, tuple[str, list[Any], dict[str, Any], tuple[str, ...]]] = {
    "unknown model": ("nobody", [tensor("x", ONE)], {}, ("no model 'nobody'", "echo_fp32")),
    "unknown version": ("echo_fp32", [tensor("x", ONE)], {"model_version": "9"}, ("no version '9'", "'1'")),
    "unknown input": ("echo_fp32", [tensor("z", ONE)], {}, ("'z'", "takes x")),
    "missing input": ("mixed", [tensor("b", ONE[:, :2])], {}, ("lacks a, words",)),
    "wrong datatype": ("echo_fp32", [tensor("x", ONE.astype(np.int32))], {}, ("'INT32'", "takes FP32")),
    "wrong shape": ("classes", [tensor("x", ONE[:, :3])], {}, ("[1, 3]", "[-1, 4]")),
    "wrong rank": ("echo_fp32", [tensor("x", ONE[0])], {}, ("[4]", "[-1, -1]")),
    "unknown output": (
        "echo_fp32",
        [tensor("x", ONE)],
        {"outputs": [triton.InferRequestedOutput("z")]},
        ("'z'", "gives y"),
    ),
    "a sequence": ("echo_fp32", [tensor("x", ONE)], {"sequence_id": 5}, ("sequence_id", "not supported")),
    "classes of words": (
        "echo_vector",
        [tensor("x", np.array([b"a"], np.object_))],
        {"outputs": [triton.InferRequestedOutput("y", class_count=1)]},
        ("BYTES", "no order"),
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_reach_the_caller_in_words(client: Client, case: str) -> None:
    model, inputs, options, words = ERRORS[case]
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, inputs, **options)
    for word in words:
        assert word in caught.value.message()
    assert caught.value.status() in ("400", "404", "HTTP 400", "HTTP 404")
    assert client.infer("echo_fp32", [tensor("x", ONE)]).as_numpy("y").tolist() == ONE.tolist()


def test_nan_and_infinity_travel_as_binary_and_are_refused_as_json(client: Client) -> None:
    values = np.array([[np.nan, np.inf, -np.inf]], np.float32)
    assert client.infer("echo_fp32", [tensor("x", values)]).as_numpy("y").tobytes() == values.tobytes()
    outputs = [triton.InferRequestedOutput("y", binary_data=False)]
    with pytest.raises(InferenceServerException, match="JSON cannot say it"):
        client.infer("echo_fp32", [tensor("x", values)], outputs=outputs)
