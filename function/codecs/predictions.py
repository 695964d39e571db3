"""{"predictions": [...]}: one element for each instance, as TensorFlow Serving and KServe's V1 protocol give them."""

from __future__ import annotations

import json

from function.codecs.raw_tensor import nested, tensor_to_json
from function.errors import invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from function.engine.repository import Metadata
    from function.tensor import Tensor


def of_outputs(outputs: Mapping[str, Tensor], count: int, model: Metadata) -> list[Any]:
    """The rows of one output; of several, an object of their rows by name for each of the `count` instances.

    With a [table] and labels, a row of one value for each label is an object of these. PredictError
    (INVALID_ARGUMENT) when an output has no row for each instance, or JSON no form for a value.
    """
    columns = {name: _rows(name, tensor, count, model) for name, tensor in outputs.items()}
    if len(columns) == 1:
        return next(iter(columns.values()))
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def of_one(outputs: Mapping[str, Tensor], model: Metadata) -> Any:
    """The prediction of one instance whose outputs were not cut out of a batch: as of_outputs where they have a row."""
    if all(tensor.shape[:1] == (1,) for tensor in outputs.values()):
        return of_outputs(outputs, 1, model)[0]
    found = {name: nested(_values(name, tensor, model), tensor.shape) for name, tensor in outputs.items()}
    return found if len(found) > 1 else next(iter(found.values()))


def _values(name: str, tensor: Tensor, model: Metadata) -> list[Any]:
    if isinstance(tensor.data, list):
        return list(map(_text, tensor.data))
    return tensor_to_json(name, tensor, nullable=model.missing == "nan")


def _rows(name: str, tensor: Tensor, count: int, model: Metadata) -> list[Any]:
    if tensor.shape[:1] != (count,):
        raise invalid(
            f"output {name!r} has shape {list(tensor.shape)}, which is not a row for each of {count} instances; "
            f"send tensors to /v2/models/{model.name}/infer"
        )
    rows: list[Any] = nested(_values(name, tensor, model), tensor.shape)
    if model.table and model.labels and tensor.shape == (count, len(model.labels)):
        return [dict(zip(model.labels, row, strict=True)) for row in rows]
    return rows


def _text(element: bytes) -> str | dict[str, str]:
    """A string, or TensorFlow Serving's {"b64": ...} where the bytes are not UTF-8."""
    try:
        return element.decode()
    except UnicodeDecodeError:
        return {"b64": base64_of(element)}


def base64_of(content: bytes) -> str:
    """Standard base64, padded."""
    from pybase64 import b64encode  # 1 ms

    return b64encode(content).decode()


def body(predictions: list[Any], features: Any = None) -> bytes:
    """The answer's JSON; `features`: which of the entities' features are not what a store holds."""
    answer = {"predictions": predictions}
    if features is not None:
        answer["features"] = features
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")
