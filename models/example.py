"""[example] of model.toml: the shapes, and where need be the values, of an input that the model is sure to take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from function.tensor import DATATYPES
from models.table import TableError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from models.manifest import TensorSpec

FILE = "example.json"  # beside model.toml: the body of a request that `zeroserve run` and `predict` send
MOST_ELEMENTS = 1 << 26  # of one input: the golden input is made anew at each check


@dataclass(frozen=True)
class Example:
    """The shape of one input, and what all its elements are; None: what the golden input makes of its datatype."""

    shape: list[int]
    value: int | float | str | bool | None = None


def read(table: object, inputs: Iterable[TensorSpec]) -> dict[str, Example]:
    """The table as an Example for each input that it names; TableError says what is wrong.

    An entry is a shape, `[1, 3, 224, 224]`, or `{ shape = [], value = 16000 }`.
    """
    if not isinstance(table, dict):
        raise TableError("[example] should be a table of shapes, one for each input")
    specs = {spec.name: spec for spec in inputs}
    return {name: _entry(name, entry, specs) for name, entry in table.items()}


def _entry(name: str, entry: Any, specs: dict[str, TensorSpec]) -> Example:
    if name not in specs:
        raise TableError(f"[example] has {name!r}; the inputs are {', '.join(specs)}")
    spec = specs[name]
    document = entry if isinstance(entry, dict) else {"shape": entry}
    shape, value = document.get("shape"), document.get("value")
    if (
        document.keys() - {"shape", "value"}
        or not isinstance(shape, list)
        or not all(type(size) is int and size >= 0 for size in shape)
    ):
        raise TableError(
            f"[example] {name} is {entry!r}; a shape without -1 is expected, or {{ shape = [...], value = ... }}"
        )
    if len(shape) != len(spec.shape) or any(want not in (-1, got) for want, got in zip(spec.shape, shape, strict=True)):
        raise TableError(f"[example] {name} is {shape}, which is not of the input's shape {spec.shape}")
    elements = 1
    for size in shape:
        elements *= size
    if elements > MOST_ELEMENTS:
        raise TableError(f"[example] {name} is {shape}; at most {MOST_ELEMENTS:,} elements are expected")
    if value is not None and not _fits(value, spec.datatype):
        raise TableError(f"[example] {name} has the value {value!r}, which is not of the datatype {spec.datatype}")
    return Example(shape, value)


def _fits(value: object, datatype: str) -> bool:
    if datatype == "BYTES":
        return isinstance(value, str)
    if datatype == "BOOL":
        return isinstance(value, bool)
    code = DATATYPES[datatype].code
    if not code or isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    import struct

    try:
        struct.pack(f"<{code}", value)
    except (struct.error, OverflowError):
        return False
    return True
