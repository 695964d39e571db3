"""Python values as tensors: what rows, instances and hooks give, and numbers with gaps."""

from __future__ import annotations

import struct

from function.codecs.json_body import describe
from function.errors import invalid
from function.tensor import DATATYPES, Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_NAN = float("nan")


def packed(
    name: str, datatype: str, shape: tuple[int, ...], values: Sequence[Any], *, nullable: bool = False
) -> Tensor:
    """The tensor of `values` in row-major order, as many as `shape` says; `nullable`: None is NaN.

    PredictError (INVALID_ARGUMENT) names the first value that the datatype does not have.
    """
    if nullable:
        values = [_NAN if value is None else value for value in values]
    data = _data(datatype, values)
    if data is None:
        index = next((at for at, value in enumerate(values) if _data(datatype, [value]) is None), 0)
        more = ", or null for NaN" if nullable else ""
        raise invalid(f"{name!r}: value {index} is {shown(values[index])}; {takes(datatype)} is expected{more}")
    return Tensor(datatype, shape, data)


def _data(datatype: str, values: Sequence[Any]) -> bytes | list[bytes] | None:
    """What a tensor holds; None when one of the values is not the datatype's."""
    kinds, code = set(map(type, values)), DATATYPES[datatype].code
    if datatype == "BYTES":
        if not kinds <= {str, bytes}:
            return None
        return [value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass") for value in values]
    if datatype == "BOOL":
        return bytes(values) if kinds <= {bool, int} and set(values) <= {0, 1} else None
    if not code or not kinds <= ({int, float} if datatype[:2] == "FP" else {int}):
        return None
    try:
        return struct.pack(f"<{len(values)}{code}", *values)
    except (struct.error, OverflowError):
        return None


def takes(datatype: str) -> str:
    """What values a datatype has, in words."""
    if datatype == "BYTES":
        return "a string"
    if datatype == "BOOL":
        return "true or false"
    if datatype[:2] == "FP":
        return f"a number that {datatype} can hold"
    return f"a whole number without a decimal point that {datatype} can hold"


def shown(value: object) -> str:
    """Any value as a message shows it, in JSON's words where it is JSON's."""
    if isinstance(value, bytes):
        return f"the bytes {value[:20]!r}"
    if isinstance(value, list | tuple):
        return "an array"
    return describe(value)
