"""The "inputs" of an Open Inference Protocol request: JSON or binary data, checked against the model."""

from __future__ import annotations

from function.codecs.json_body import array_field, check_fields, describe, string_field
from function.codecs.json_tensor import read_array
from function.codecs.oip_parameters import read_parameters
from function.codecs.raw_tensor import tensor_from_bytes
from function.errors import invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from function.codecs.json_body import Object
    from function.errors import PredictError
    from function.messages import Body, Fetch
    from function.tensor import ModelView, Spec, Tensor

_FIELDS = ("name", "datatype", "shape", "parameters", "data")
_MOST_DIMENSIONS = 64
_LARGEST = (1 << 63) - 1  # ONNX dimensions are int64


def read_inputs(  # noqa: PLR0913, PLR0917  (where the bytes may be)
    root: Object, model: ModelView, specs: Mapping[str, Spec], body: Body, offset: int, fetch: Fetch
) -> dict[str, Tensor]:
    """Each of `specs`, which are the model's inputs or stand for them; the binary data begins at `offset` in `body`.

    `fetch` reads the binary data of one whose parameter `uri` names it.

    PredictError (INVALID_ARGUMENT) for one that is unknown, missing, there twice or misfits the model.
    """
    tensors: dict[str, Tensor] = {}
    for index, item in enumerate(read_objects(root, "inputs")):
        where = f"inputs[{index}]"
        check_fields(item, _FIELDS, where)
        name = string_field(item, "name", where)
        spec = specs.get(name)
        if spec is None:
            raise invalid(f"{where} is {describe(name)}; model {model.name!r} takes {', '.join(specs)}")
        if name in tensors:
            raise invalid(f"{where} is input {name!r} a second time; send each input once")
        datatype = string_field(item, "datatype", where)
        if datatype != spec.datatype:
            raise invalid(f"input {name!r} has datatype {describe(datatype)}; the model takes {spec.datatype}")
        shape = _shape(item, where, spec)
        parameters = read_parameters(item, where)
        data = array_field(item, "data", where)
        given = (data is not None) + ("binary_data_size" in parameters) + ("uri" in parameters)
        if given != 1:
            raise invalid(
                f"input {name!r} must have either 'data' or the parameter binary_data_size; it has "
                f"{('neither', '', 'both', 'both')[given]} (uri, for an object of S3, takes the place of one)"
            )
        if data is not None:
            tensors[name] = read_array(name, datatype, shape, data, nullable=spec.nullable)
        elif "uri" in parameters:
            content = fetch(parameters["uri"])
            tensors[name] = tensor_from_bytes(name, datatype, shape, content, slice(0, len(content)))
        else:
            end = offset + parameters["binary_data_size"]
            if end > len(body):
                raise invalid(
                    f"input {name!r} needs {end - offset} bytes of binary data, but {len(body) - offset} are "
                    "left after the JSON; is Inference-Header-Content-Length the length of the JSON?"
                )
            tensors[name] = tensor_from_bytes(name, datatype, shape, body, slice(offset, end))
            offset = end
    missing = [name for name in specs if name not in tensors]
    if missing:
        raise invalid(f"'inputs' lacks {', '.join(missing)}; model {model.name!r} takes {', '.join(specs)}")
    if offset != len(body):
        raise invalid(
            f"{len(body) - offset} bytes of binary data are left over: the binary_data_size of all inputs "
            "must add up to what follows the JSON"
        )
    return tensors


def read_objects(root: Object, field: str) -> Iterator[Object]:
    """The objects in the array under `field`, none without it; PredictError when one is something else."""
    items = array_field(root, field, "the request")
    if items is None:
        return
    for index, item in enumerate(items):
        if type(item) is not type(root):
            raise invalid(f"{field}[{index}] must be an object with a 'name'; it is {describe(item)}")
        yield item


def _shape(item: Object, where: str, spec: Spec) -> tuple[int, ...]:
    sizes = array_field(item, "shape", where)
    if sizes is None:
        raise invalid(f"{where} needs 'shape', an array; model input {spec.name!r} has {list(spec.shape)}")
    if len(sizes) > _MOST_DIMENSIONS:
        raise _misshapen(spec, f"{len(sizes)} dimensions")
    for size in sizes:
        if type(size) is not int or not 0 <= size <= _LARGEST:
            raise invalid(f"{where} has {describe(size)} in 'shape'; a dimension is a whole number from 0 to 2^63-1")
    shape: tuple[int, ...] = tuple(sizes)  # type: ignore[arg-type]
    if not spec.accepts(shape):
        raise _misshapen(spec, list(shape) if len(shape) <= 16 else f"{len(shape)} dimensions")
    return shape


def _misshapen(spec: Spec, shown: object) -> PredictError:
    return invalid(f"input {spec.name!r} has shape {shown}; the model takes {list(spec.shape)} (-1: any size)")
