"""KServe's V1 protocol and TensorFlow Serving's: {"instances": [...]} or {"inputs": ...}; MLflow's forms beside them.

An instance is a tensor without its batch, an object of such tensors by input name, {"b64": ...} for a picture or for
bytes, or a row of named columns, which codecs/table.py reads.
"""

from __future__ import annotations

from function.codecs import goserve
from function.codecs.json_body import (
    Array,
    Object,
    array_field,
    check_fields,
    describe,
    object_field,
    parse,
    string_field,
)
from function.codecs.raw_tensor import fill_shape
from function.codecs.values import packed
from function.errors import invalid
from function.limits import LIMITS
from function.messages import no_objects
from function.tensor import InferInputs, PixelTensor, element_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from function.engine.repository import Metadata
    from function.limits import Hold
    from function.messages import Fetch, Request
    from function.tensor import ImageRule, Spec, Tensor

_FORMS = ("instances", "inputs", "dataframe_split", "dataframe_records")
_DEEPEST = 64  # levels of arrays
_VALUE_BYTES = 64  # of memory, for a value as Python's, until it is part of a tensor
_B64, _URI = "b64", "uri"
FEWER = "send fewer at a time"


def decode(request: Request, model: Metadata, fetch: Fetch = no_objects) -> InferInputs:
    """Each of the model's inputs, the instances in a batch; the outputs that the model's [table] names.

    `fetch` reads pictures that are named by {"uri": ...}.

    PredictError INVALID_ARGUMENT for all that does not fit the model, PAYLOAD_TOO_LARGE for more than memory allows.
    """
    if "csv" in request.headers.get("content-type", ""):
        from function.codecs import csv_rows

        return InferInputs(csv_rows.decode(request.body, model), output_names(model))
    root, form = body_of(request)
    with held(root):
        return InferInputs(_tensors(root, form, model, fetch), output_names(model))


def body_of(request: Request) -> tuple[Object, str]:
    """The JSON object of a request, and which of _FORMS it has."""
    root = parse(request.document or request.body)
    check_fields(root, (*_FORMS, "signature_name"), "the request")
    if root.get("signature_name") is not None:
        string_field(root, "signature_name", "the request")
    forms = [name for name, value in root.fields() if name in _FORMS and value is not None]
    if len(forms) != 1:
        came = f"it has {' and '.join(forms)}" if forms else "it has none"
        raise invalid(f'the request must have one of {", ".join(_FORMS)}, such as {{"instances": [...]}}; {came}')
    return root, forms[0]


def held(root: Object) -> Hold:
    """Memory for all the values of a request as Python's."""
    count = root.document.count
    return LIMITS.hold(_VALUE_BYTES * count, f"this JSON of {count} values", FEWER)


def filled(rows: Array | None, field: str) -> Array:
    """The array, once it is known to hold something; PredictError else."""
    if rows is None or not len(rows):
        raise invalid(f"{field!r} is empty; send one element for each prediction that is wanted")
    return rows


def output_names(model: Metadata) -> list[str] | None:
    """The one output that [table] names; None: all."""
    output = model.table["output"] if model.table else ""
    return [output] if output else None


def _tensors(root: Object, form: str, model: Metadata, fetch: Fetch) -> dict[str, Tensor]:
    if form == "dataframe_split":
        from function.codecs import table

        frame = object_field(root, form, "the request")
        return table.from_split(frame, model)  # type: ignore[arg-type]  # it is there, by body_of
    named = root.get(form)
    if form == "inputs" and isinstance(named, Object) and b64_of(named) is None:
        if model.table and not set(model.inputs).issuperset(name for name, _ in named.fields()):
            from function.codecs import table

            return table.from_columns(named, model)
        return goserve.read_tensors(named, model)
    rows = filled(array_field(root, form, "the request"), form)
    first = rows.first()
    if isinstance(first, Object):
        if model.image and _only(first, _B64, _URI):
            return _pictures(rows, model.image, fetch)
        if form == "dataframe_records" or (model.table and b64_of(first) is None):
            from function.codecs import table

            return table.from_records(rows, form, model)
    elif form == "dataframe_records":
        raise invalid(f"dataframe_records[0] is {describe(first)}; an object of named columns is expected")
    return goserve.read_rows_of(rows, model) if form == "inputs" else _instances(rows, model)


def _instances(rows: Array, model: Metadata) -> dict[str, Tensor]:
    first = rows.first()
    if isinstance(first, Object) and b64_of(first) is None:
        columns: dict[str, list[object]] = {name: [] for name in model.inputs}
        for index, row in enumerate(rows):
            where = f"instances[{index}]"
            if not isinstance(row, Object):
                raise invalid(f"{where} is {describe(row)}; an object is expected, as instances[0] is")
            check_fields(row, model.inputs, where)
            fields = dict(row.fields())
            if lacking := [name for name in model.inputs if name not in fields]:
                raise invalid(f"{where} lacks {', '.join(lacking)}; {model.name!r} takes {', '.join(model.inputs)}")
            for name, column in columns.items():
                column.append(fields[name])
        return {name: _stacked(columns[name], spec) for name, spec in model.inputs.items()}
    if len(model.inputs) != 1:
        raise invalid(
            f"instances[0] is {describe(first)}; {model.name!r} has the inputs {', '.join(model.inputs)}: "
            "send an object with a value for each"
        )
    ((name, spec),) = model.inputs.items()
    if spec.datatype == "BYTES" or not isinstance(first, Array):
        return {name: _stacked(list(rows), spec)}
    return {name: goserve.read_rows(rows, spec)}


def _stacked(instances: Sequence[object], spec: Spec) -> Tensor:
    """One tensor of the instances' values: each nested as the input's other dimensions, or flat."""
    flat: list[object] = []
    shape: tuple[int, ...] = ()
    for index, instance in enumerate(instances):
        found = _flatten(instance, flat, f"instances[{index}]")
        if index and found != shape:
            raise invalid(f"instances[{index}] has shape {list(found)} and instances[0] {list(shape)}; send equal ones")
        shape = found
    whole = (len(instances), *shape)
    if not spec.accepts(whole) and len(shape) == 1:
        whole = (len(instances), *(fill_shape(spec.shape[1:], element_count(shape)) or shape))
    if not spec.accepts(whole):
        raise invalid(
            f"{len(instances)} instances of shape {list(shape)} came for input {spec.name!r}, which is "
            f"{list(spec.shape)} with the batch first (-1: any size); each must be {list(spec.shape[1:])}"
        )
    return packed(spec.name, spec.datatype, whole, flat, nullable=spec.nullable)


def _flatten(value: object, into: list[object], where: str, depth: int = 0) -> tuple[int, ...]:
    """Adds the values in row-major order; the shape that they have."""
    if not isinstance(value, Array):
        content = b64_of(value)
        into.append(value if content is None else bytes_of(content))
        return ()
    if depth == _DEEPEST:
        raise invalid(f"{where} is nested deeper than {_DEEPEST} levels; send one that has the input's shape")
    shapes = {_flatten(element, into, where, depth + 1) for element in value}
    if len(shapes) > 1:
        raise invalid(f"{where} has arrays of different lengths beside each other; send all of one length")
    return (len(value), *(shapes.pop() if shapes else ()))


def b64_of(value: object) -> str | None:
    """The text of {"b64": text}; None for all else."""
    found = _only(value, _B64)
    return found[1] if found else None


def _only(value: object, *names: str) -> tuple[str, str] | None:
    """The one field of an object, where it has one of these names and a text."""
    if isinstance(value, Object) and len(value) == 1:
        ((name, text),) = value.fields()
        if name in names and isinstance(text, str):
            return name, text
    return None


def bytes_of(text: str) -> bytes:
    """What the base64 stands for; PredictError 400 when it is none."""
    from function.codecs import image

    return image.from_base64(text)


def _pictures(rows: Array, rule: ImageRule, fetch: Fetch) -> dict[str, Tensor]:
    from function.codecs import image  # Pillow, 26 ms

    height, width = rule.size
    with LIMITS.hold(15 * height * width * len(rows), f"{len(rows)} pictures", FEWER):  # and in FP32
        pixels = bytearray()
        for name, text in _texts(rows):
            content = fetch(text) if name == _URI else bytes_of(text)
            pixels += memoryview(image.decode(content, rule).data)  # type: ignore[arg-type]  # UINT8
    return {rule.input: PixelTensor((len(rows), height, width, 3), pixels)}


def _texts(rows: Array) -> Iterator[tuple[str, str]]:
    for index, row in enumerate(rows):
        found = _only(row, _B64, _URI)
        if found is None:
            expected = '{"b64": ...} is expected, as instances[0] is, or {"uri": ...}'
            raise invalid(f"instances[{index}] is {describe(row)}; {expected}")
        yield found
