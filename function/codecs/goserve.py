"""GoServe's API: {"tensors": {name: nested}}, the legacy {"inputs": [rows]}, and its answer."""

from __future__ import annotations

from function.codecs.json_body import Array, array_field, check_fields, object_field, parse
from function.codecs.json_tensor import nested_shape, read_array
from function.codecs.raw_tensor import fill_shape, nested, tensor_to_json
from function.errors import invalid
from function.native import cjson
from function.tensor import InferInputs, element_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from function.codecs.json_body import Object
    from function.errors import PredictError
    from function.messages import Body
    from function.tensor import ModelView, Spec, Tensor


def decode_infer(body: Body | Object, model: ModelView) -> InferInputs:
    """Each input of `model`, from nested arrays, or flat ones where its shape leaves at most one size open.

    PredictError (INVALID_ARGUMENT) for all that does not fit `model`.
    """
    root = parse(body)
    check_fields(root, ("tensors", "inputs"), "the request")
    tensors = object_field(root, "tensors", "the request")
    rows = array_field(root, "inputs", "the request")
    if (tensors is None) == (rows is None):
        raise invalid('the request must be {"tensors": {name: nested array}} or the legacy {"inputs": [rows]}')
    if tensors is not None:
        return InferInputs(read_tensors(tensors, model))
    return InferInputs(read_rows_of(rows, model))  # type: ignore[arg-type]


def read_tensors(tensors: Object, model: ModelView) -> dict[str, Tensor]:
    """A tensor for each input, by name."""
    check_fields(tensors, model.inputs, "'tensors'")
    decoded: dict[str, Tensor] = {}
    for name, spec in model.inputs.items():
        data = array_field(tensors, name, "'tensors'")
        if data is None:
            raise invalid(f"'tensors' lacks {name!r}; model {model.name!r} takes {', '.join(model.inputs)}")
        decoded[name] = read_tensor(data, spec)
    return decoded


def read_tensor(data: Array, spec: Spec) -> Tensor:
    """The whole tensor of an input: nested, or flat where at most one size is open."""
    found = nested_shape(data)
    if len(found) == 1 != len(spec.shape):
        shape = fill_shape(spec.shape, found[0])
    else:
        shape = found if spec.accepts(found) else None
    if shape is None:
        raise _misfit(spec, found)
    return read_array(spec.name, spec.datatype, shape, data, nullable=spec.nullable)


def read_rows_of(rows: Array, model: ModelView) -> dict[str, Tensor]:
    """The legacy form: rows of the batch, each nested as the input's other dimensions or flat; or one row's numbers."""
    if len(model.inputs) != 1:
        raise invalid(
            f"'inputs' is for models with one input; {model.name!r} has {', '.join(model.inputs)}: "
            'send {"tensors": {name: nested array}}'
        )
    ((name, spec),) = model.inputs.items()
    one = (1, *spec.shape[1:])
    if len(one) > 1 and not isinstance(rows.first(), Array) and spec.accepts(one) and element_count(one) == len(rows):
        return {name: read_array(name, spec.datatype, one, rows, nullable=spec.nullable)}
    return {name: read_rows(rows, spec)}


def read_rows(rows: Array, spec: Spec) -> Tensor:
    """Rows of the batch, each nested as the input's other dimensions, or flat where at most one of these is open."""
    found = nested_shape(rows)
    if spec.accepts(found):
        return read_array(spec.name, spec.datatype, found, rows, nullable=spec.nullable)
    rest = fill_shape(spec.shape[1:], found[1]) if len(found) == 2 else None
    if rest is None or not spec.accepts((found[0], *rest)):
        raise _misfit(spec, found, rows=True)
    tensor = read_array(spec.name, spec.datatype, found, rows, nullable=spec.nullable)
    tensor.shape = (found[0], *rest)
    return tensor


def _misfit(spec: Spec, found: tuple[int, ...], *, rows: bool = False) -> PredictError:
    """`rows`: an array of rows was expected, where one that is flat altogether is not."""
    form = "nested, or flat when at most one size is open"
    if rows and len(spec.shape) > 1:
        form = "as an array of rows, each nested, or flat when at most one of its sizes is open; or flat for one row"
    elif rows:
        form = "as an array of values"
    return invalid(
        f"input {spec.name!r} has data of shape {list(found)}; expected {list(spec.shape)} (-1: any size), {form}"
    )


def encode_infer(model_name: str, outputs: Mapping[str, Tensor], *, nullable: bool = False) -> bytes:
    """The answer's body; `nullable`: NaN is null. PredictError (INVALID_ARGUMENT) when JSON has no form for a value."""
    arrays = {
        name: nested(tensor_to_json(name, tensor, nullable=nullable), tensor.shape) for name, tensor in outputs.items()
    }
    answer = {"model_name": model_name, "outputs": arrays}
    return cjson.dumps(answer, separators=(",", ":"), allow_nan=False).encode()
