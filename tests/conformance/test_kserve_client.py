"""The kserve inference client, unmodified, against both entries."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("kserve", reason="kserve needs Python before 3.14")
import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

from tests.contract.entries.servers import ENTRIES
from tests.datatypes import NUMPY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# The client sends FP16 as binary data only.
FORMS = [(datatype, binary) for datatype in NUMPY for binary in (True, False) if binary or datatype != "FP16"]


class Client:
    """The client's coroutines as plain calls to one server."""

    def __init__(self, address: str, protocol: str = "v2") -> None:
        self._address = address
        self._runner = asyncio.Runner()
        self._client: Any = self._runner.run(self._make(protocol))

    async def _make(self, protocol: str) -> Any:
        return InferenceRESTClient(RESTConfig(protocol=protocol))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            return self._runner.run(getattr(self._client, name)(self._address, *arguments, **options))

        return call

    def infer_tensors(self, model: str, *inputs: Any, **options: Any) -> Any:
        return self.infer(InferRequest(model, list(inputs), **options), model_name=model)

    def end(self) -> None:
        self._runner.run(self._client.close())
        self._runner.close()


@pytest.fixture(params=ENTRIES)
def client(request: pytest.FixtureRequest, addresses: dict[str, str]) -> Iterator[Client]:
    client = Client(addresses[request.param])
    yield client
    client.end()


@pytest.fixture(params=ENTRIES)
def first(request: pytest.FixtureRequest, addresses: dict[str, str]) -> Iterator[Client]:
    """Of the protocol's first version."""
    client = Client(addresses[request.param], "v1")
    yield client
    client.end()


def test_the_first_version_of_the_protocol(first: Client) -> None:
    assert first.is_model_ready("people") is True
    assert first.is_model_ready("unprepared") is False
    with pytest.raises(httpx.HTTPStatusError, match="there is no model 'nobody'"):
        first.is_model_ready("nobody")
    row = {"job": "pilot", "age": 31.5, "visits": 4}
    assert first.infer({"instances": [row, row]}, model_name="people") == {
        "predictions": [{"few": 33.5, "many": 1.0}] * 2
    }
    assert first.infer({"inputs": [[1, 2]]}, model_name="echo_fp32") == {"predictions": [[1.0, 2.0]]}
    with pytest.raises(httpx.HTTPStatusError, match="a category never seen"):
        first.infer({"instances": [row | {"job": "king"}]}, model_name="people")


def tensor(name: str, values: Any, datatype: str, *, binary: bool) -> Any:
    item = InferInput(name, list(values.shape), datatype)
    item.set_data_from_numpy(values, binary_data=binary)
    return item


def test_liveness_and_readiness(client: Client) -> None:
    assert client.is_server_live() is True
    assert client.is_server_ready() is True
    assert client.is_model_ready("mixed") is True
    assert client.is_model_ready("nobody") is False
    assert client.is_model_ready("unprepared") is False


@pytest.mark.parametrize(("datatype", "binary"), FORMS)
def test_every_datatype(client: Client, datatype: str, binary: bool) -> None:
    values: Any = np.array([[1, 0, 1], [0, 1, 1]], NUMPY[datatype])
    response = client.infer_tensors(
        f"echo_{datatype.lower()}",
        tensor("x", values, datatype, binary=binary),
        request_id="7",
        parameters={"binary_data_output": binary},
    )
    assert response.id == "7"
    assert response.model_name == f"echo_{datatype.lower()}"
    output = response.get_output_by_name("y")
    assert (output.datatype, output.shape) == (datatype, [2, 3])
    assert output.as_numpy().tolist() == values.tolist()


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
@pytest.mark.parametrize("batch", [1, 5, 300])
def test_several_inputs_and_batches(client: Client, binary: bool, batch: int) -> None:
    a = np.arange(2 * batch, dtype=np.int64).reshape(batch, 2)
    b = np.full((batch, 2), -0.5, np.float32)
    words = np.array([f"word {index}".encode() for index in range(batch)], np.object_)
    response = client.infer_tensors(
        "mixed",
        tensor("a", a, "INT64", binary=binary),
        tensor("b", b, "FP32", binary=not binary),
        tensor("words", words, "BYTES", binary=binary),
        parameters={"binary_data_output": binary},
    )
    assert response.get_output_by_name("sum").as_numpy().tolist() == (a + b).tolist()
    assert response.get_output_by_name("copy").as_numpy().tolist() == a.tolist()
    assert response.get_output_by_name("greater").as_numpy().tolist() == (a > b).tolist()


def test_one_output_of_several(client: Client) -> None:
    a, b = np.ones((1, 2), np.int64), np.ones((1, 2), np.float32)
    response = client.infer_tensors(
        "mixed",
        tensor("a", a, "INT64", binary=True),
        tensor("b", b, "FP32", binary=True),
        tensor("words", np.array([b"w"], np.object_), "BYTES", binary=True),
        request_outputs=[RequestedOutput("copy", {"binary_data": True})],
    )
    assert [output.name for output in response.outputs] == ["copy"]
    assert response.outputs[0].as_numpy().tolist() == [[1, 1]]


def test_a_plain_dictionary(client: Client) -> None:
    request = {"inputs": [{"name": "x", "datatype": "INT32", "shape": [1, 2], "data": [3, 4]}]}
    response = client.infer(request, model_name="echo_int32")
    assert response.outputs[0].as_numpy().tolist() == [[3, 4]]


def test_errors_reach_the_caller_in_words(client: Client) -> None:
    values = np.ones((1, 3), np.float32)
    for model, status, words in (("nobody", 404, "no model 'nobody'"), ("classes", 400, "[1, 3]")):
        with pytest.raises(httpx.HTTPStatusError, match=str(status)) as caught:
            client.infer_tensors(model, tensor("x", values, "FP32", binary=True))
        assert words in str(caught.value)
        assert caught.value.response.status_code == status
        assert caught.value.response.headers["content-type"] == "application/json"
