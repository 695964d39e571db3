"""A request to a model with [[features]]: entity keys beside its own columns, until the rest has been looked up."""

from __future__ import annotations

import json

from function.codecs import table
from function.errors import invalid
from function.limits import LIMITS
from function.tensor import Spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any

    from function.engine.repository import Metadata
    from function.exchange import LookedUp
    from function.features.join import Join
    from function.tensor import Tensor

_VALUE_BYTES = 64  # of memory, for a value as Python's, until it is part of a tensor


def specs(model: Metadata) -> dict[str, Spec]:
    """What the Open Inference Protocol takes in place of the model's inputs: each column that is sent, [rows]."""
    return {
        name: Spec(name, column["datatype"], (-1,), nullable=model.missing == "nan" and column["datatype"][:2] == "FP")
        for name, column in table.columns_of(model).items()
    }


def taken(model: Metadata, names: Collection[object]) -> Mapping[str, Spec]:
    """The specs for inputs of these names: the model's own where one of them is there, else those of the columns."""
    return model.inputs if any(name in model.inputs for name in names) else specs(model)


def completed(
    sent: Mapping[str, Tensor], model: Metadata, join: Callable[[], Join]
) -> tuple[dict[str, Tensor], LookedUp] | None:
    """The model's inputs, and what was looked up for them; None where `sent` are these already.

    PredictError: INVALID_ARGUMENT for columns that do not fit, UNAVAILABLE as Join.columns.
    """
    columns = table.columns_of(model)
    if sent.keys() != columns.keys():
        return None
    counts = {tensor.shape[0] for tensor in sent.values()}
    if len(counts) != 1:
        raise invalid(f"the columns have different lengths, {sorted(counts)}; send a value of each for each row")
    count = counts.pop()
    if not count:
        raise invalid("there are no rows; send at least one")
    with LIMITS.hold(_VALUE_BYTES * count * len(model.table["columns"]), f"{count} rows", "send fewer at a time"):  # type: ignore[index]
        found = {name: _values(name, tensor) for name, tensor in sent.items()}
        door = join()
        views = door.views(model.fingerprint, model.features or [], model.folder)
        looked, told = door.columns(views, found, count)
        return table.tensors(found | looked, count, model), told


def _values(name: str, tensor: Tensor) -> list[Any]:
    if tensor.datatype != "BYTES":
        return list(tensor.numbers())
    try:
        return [element.decode() for element in tensor.data]  # type: ignore[union-attr]  # BYTES is a list
    except UnicodeDecodeError as error:
        raise invalid(f"{name!r} holds bytes that are not UTF-8 ({error.reason}); send a text") from None


def parameters(told: LookedUp) -> dict[str, Any]:
    """The same in the Open Inference Protocol, whose parameters are plain values: a number, and JSON as a text."""
    found: dict[str, Any] = {"features_defaulted": told.defaults}
    if told.defaulted:
        found["features"] = json.dumps({"defaulted": told.defaulted}, separators=(",", ":"))
    return found
