"""Open Inference Protocol v2: inference requests, with Triton's binary data and classification extensions."""

from __future__ import annotations

from function.codecs.json_body import Object, check_fields, describe, parse, string_field
from function.codecs.oip_inputs import read_inputs, read_objects
from function.codecs.oip_parameters import read_parameters
from function.codecs.raw_tensor import fill_shape, tensor_from_bytes
from function.errors import invalid
from function.messages import no_objects
from function.tensor import DATATYPES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from function.messages import Body, Fetch
    from function.tensor import ModelView, Spec, Tensor


_REQUEST_FIELDS = ("id", "parameters", "inputs", "outputs", "model_name", "model_version")
_OUTPUT_FIELDS = ("name", "parameters")


class RequestedOutput:
    """One output of the answer, as binary data or JSON: its top `classification` classes; 0: the tensor."""

    __slots__ = ("binary", "classification", "name")

    def __init__(self, name: str, *, binary: bool, classification: int = 0) -> None:
        self.name, self.binary, self.classification = name, binary, classification


class InferRequest:
    """A decoded request; `inputs` has each of the model's inputs."""

    __slots__ = ("id", "inputs", "outputs", "parameters")

    def __init__(
        self,
        request_id: str | None,
        inputs: dict[str, Tensor],
        outputs: list[RequestedOutput],
        parameters: dict[str, Any],
    ) -> None:
        self.id, self.inputs, self.outputs, self.parameters = request_id, inputs, outputs, parameters

    @property
    def output_names(self) -> list[str]:
        """The outputs that are asked for, in their order."""
        return [output.name for output in self.outputs]


def parse_header_length(header: str | None) -> int | None:
    """The value of Inference-Header-Content-Length, None without it. PredictError when it is no number."""
    if header is None:
        return None
    text = header.strip()
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise invalid(f"Inference-Header-Content-Length is {describe(header)}; expected the JSON's length in bytes")
    return int(text)


def decode_infer(
    body: Body | Object, header_length: int | None, model: ModelView, fetch: Fetch = no_objects
) -> InferRequest:
    """The request in `body`: a JSON object of `header_length` bytes (None: all) and the binary data after it.

    0 means that the body is the raw data of the model's only input. `fetch` reads what an input names instead of its
    data. PredictError (INVALID_ARGUMENT) for all that is not a request that fits `model`.
    """
    if isinstance(body, Object):
        return _request(body, model, b"", 0, fetch)
    if header_length == 0:
        return _raw_request(body, model)
    if header_length is not None and header_length > len(body):
        raise invalid(
            f"Inference-Header-Content-Length is {header_length}, but the body has only {len(body)} bytes; "
            "give the length of the JSON part"
        )
    header = body if header_length is None else memoryview(body)[:header_length]
    return _request(parse(header), model, body, len(header), fetch)


def _request(root: Object, model: ModelView, body: Body, offset: int, fetch: Fetch) -> InferRequest:
    """The request of the JSON object `root`; its binary data begins at `offset` of `body`."""
    check_fields(root, _REQUEST_FIELDS, "the request")
    for field, value in (("model_name", model.name), ("model_version", model.version)):
        if root.get(field) not in (None, value):
            raise invalid(f"{field!r} is {describe(root.get(field))}, but the request went to {value!r}; leave it out")
    request_id = None if root.get("id") is None else string_field(root, "id", "the request")
    parameters = read_parameters(root, "the request")
    inputs = read_inputs(root, model, _specs(root, model), body, offset, fetch)
    outputs = _outputs(root, model, binary=parameters.get("binary_data_output", False))
    return InferRequest(request_id, inputs, outputs, parameters)


def _specs(root: Object, model: ModelView) -> Mapping[str, Spec]:
    """What the inputs have to be: the model's own, or for a model with [[features]] the columns that are sent."""
    if not getattr(model, "features", None):
        return model.inputs
    from function.codecs import entities

    return entities.taken(model, [item.get("name") for item in read_objects(root, "inputs")])  # type: ignore[arg-type]


def _raw_request(body: Body, model: ModelView) -> InferRequest:
    """Triton's "Raw Binary Request": one input, its shape deduced from the size; all outputs binary."""
    if len(model.inputs) != 1:
        raise invalid(
            f"Inference-Header-Content-Length 0 means raw data for a single input, but {model.name!r} has "
            f"{len(model.inputs)} inputs: {', '.join(model.inputs)}; send a JSON object before the data"
        )
    ((name, spec),) = model.inputs.items()
    itemsize = DATATYPES[spec.datatype].itemsize
    # A raw body of BYTES is one element, without the length that a tensor's elements carry.
    shape = fill_shape(spec.shape, len(body) // itemsize if itemsize else 1)
    if shape is None or (itemsize and len(body) % itemsize):
        raise invalid(
            f"a raw body of {len(body)} bytes does not fit input {name!r}, {spec.datatype} "
            f"{list(spec.shape)} (-1: any size; one can be deduced); send JSON with the shape before it"
        )
    if itemsize == 0:
        body = len(body).to_bytes(4, "little") + body
    tensor = tensor_from_bytes(name, spec.datatype, shape, body, slice(0, len(body)))
    return InferRequest(None, {name: tensor}, [RequestedOutput(each, binary=True) for each in model.outputs], {})


def _outputs(root: Object, model: ModelView, *, binary: bool) -> list[RequestedOutput]:
    """What is asked for, in its order; all outputs when nothing is. `binary` is the default form."""
    wanted: dict[str, RequestedOutput] = {}
    for index, item in enumerate(read_objects(root, "outputs")):
        where = f"outputs[{index}]"
        check_fields(item, _OUTPUT_FIELDS, where)
        name = string_field(item, "name", where)
        if name not in model.outputs:
            raise invalid(f"{where} is {describe(name)}; model {model.name!r} gives {', '.join(model.outputs)}")
        if name in wanted:
            raise invalid(f"{where} is output {name!r} a second time; ask for each output once")
        parameters = read_parameters(item, where)
        wanted[name] = RequestedOutput(
            name,
            binary=parameters.get("binary_data", binary),
            classification=parameters.get("classification", 0),
        )
    return list(wanted.values()) or [RequestedOutput(name, binary=binary) for name in model.outputs]
