"""JSON arrays read as tensors: flat or nested, checked for their real shape, into one contiguous buffer."""

from __future__ import annotations

import struct

from function.codecs.json_body import Array, describe
from function.codecs.json_reader import reader
from function.errors import invalid
from function.tensor import DATATYPES, Tensor, element_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from typing_extensions import Buffer

    from function.errors import PredictError

_DEEPEST = 64  # dimensions
_FP16_OVERFLOW = 65520.0  # the smallest number that IEEE 754 rounding takes to infinity in binary16


def read_array(name: str, datatype: str, shape: tuple[int, ...], data: Array, *, nullable: bool = False) -> Tensor:
    """The tensor in `data`, which is flat (any shape) or nested exactly as `shape`.

    `nullable`: null is NaN. PredictError (INVALID_ARGUMENT) when a length is not the shape's or an element does not fit
    the datatype.
    """
    if datatype == "BF16":
        raise invalid(
            f"{name!r} is BF16, which has no JSON form; send it as binary data (protocol v2, binary_data_size)"
        )
    count = element_count(shape)
    if data.shape in (shape, (count,)):
        return Tensor(datatype, shape, _from_tree(name, datatype, data, count))
    nested = len(shape) > 1 and (isinstance(data.first(), Array) if data.shape is None else len(data.shape) > 1)
    if not nested and len(data) != count:
        raise invalid(
            f"{name!r} has data of shape {list(nested_shape(data))}; expected shape {list(shape)}, "
            f"nested, or flat with {count} elements"
        )
    if data.shape is not None:
        raise _other_shape(name, datatype, shape, data, data.shape) if nested else _refusal(name, datatype, 0, data)
    rows = _rows(name, shape, data) if nested else [data]
    if nullable and not all(type(element) in (int, float) for row in rows for element in row):
        from function.codecs import values  # only for data with gaps

        return values.packed(name, datatype, shape, [element for row in rows for element in row], nullable=True)
    return Tensor(datatype, shape, _from_elements(name, datatype, (element for row in rows for element in row)))


def _from_tree(name: str, datatype: str, data: Array, count: int) -> Buffer:
    """The numbers of a tree in their datatype, row-major."""
    document, index = data.document, data.index
    kernel: Any = reader()  # the one in C: no other makes trees
    if datatype == "FP32":
        if document.beyond_fp32(index):
            raise _beyond_fp32(name)
        return document.fp32(index, count)
    if datatype == "BYTES":
        raise _refusal(name, datatype, 0, kernel.number(document.text, document.payload(index)))
    code = DATATYPES[datatype].code
    packed, fitting, place = kernel.convert(document.text, document.payload(index), count, code)
    if fitting < count:
        raise _refusal(name, datatype, fitting, kernel.number(document.text, place))
    return packed if code != "e" else struct.pack(f"<{count}e", *memoryview(packed).cast("d"))


def _other_shape(name: str, datatype: str, shape: tuple[int, ...], data: Array, found: tuple[int, ...]) -> PredictError:
    """The refusal of a tree of shape `found`: its branches are alike, so the first one of a level tells."""
    for depth, size in enumerate(shape):
        if depth == len(found):
            first: object = data
            while isinstance(first, Array):
                first = first.first()
            return _misshapen(name, shape, depth, 0, describe(first))
        if found[depth] != size:
            return _misshapen(name, shape, depth, 0, found[depth])
    return _refusal(name, datatype, 0, data)


def _rows(name: str, shape: tuple[int, ...], data: Array) -> list[Array]:
    """The innermost arrays in row-major order, once every array has been found with its length."""
    if len(data) != shape[0]:
        raise _misshapen(name, shape, 0, 0, len(data))
    level = [data]
    for depth in range(1, len(shape)):
        arrays = list[Array]()
        for found in (element for array in level for element in array):
            if not isinstance(found, Array) or len(found) != shape[depth]:
                shown = len(found) if isinstance(found, Array) else describe(found)
                raise _misshapen(name, shape, depth, len(arrays), shown)
            arrays.append(found)
        level = arrays
    return level


def _misshapen(name: str, shape: tuple[int, ...], depth: int, position: int, found: int | str) -> PredictError:
    """`found` stands at `position`, in row-major order, where an array was expected `depth` levels down: an array of
    that length, or something else."""
    place = ""
    for size in reversed(shape[:depth]):
        position, index = divmod(position, size)
        place = f"[{index}]{place}"
    because = f"because the shape is {list(shape)}"
    if isinstance(found, int):
        return invalid(f"{name!r}: data{place} has {found} elements; expected {shape[depth]}, {because}")
    return invalid(f"{name!r}: data{place} is {found}; expected an array of {shape[depth]} elements, {because}")


def nested_shape(data: Array) -> tuple[int, ...]:
    """A tree's; else the shape that the first element of each level suggests: `read_array` checks the others.

    PredictError when it has more dimensions than any tensor.
    """
    if data.shape is not None:
        return data.shape
    shape = [len(data)]
    first = data.first()
    while isinstance(first, Array):
        shape.append(len(first))
        first = first.first()
        if len(shape) > _DEEPEST:
            raise invalid(f"an array is nested deeper than {_DEEPEST} levels; send one that has the input's shape")
    return tuple(shape)


def _from_elements(name: str, datatype: str, elements: Iterable[Any]) -> Buffer | list[bytes]:
    taken: list[Any] = []
    for element in elements:
        if not _fits(element, datatype):
            raise _refusal(name, datatype, len(taken), element)
        if datatype == "BYTES":
            taken.append(element.encode())
        else:
            taken.append(_narrow(element) if datatype == "FP32" and type(element) is int else element)
    if datatype == "BYTES":
        return taken
    try:
        return struct.pack(f"<{len(taken)}{DATATYPES[datatype].code}", *taken)
    except OverflowError:
        raise _beyond_fp32(name) from None


def _narrow(integer: int) -> int:
    """An integer that rounds to the same FP32 by way of a double as `integer` does at once: 53 bits, the last one set
    where bits below it are."""
    excess = max(0, integer.bit_length() - 53)
    size = abs(integer)
    size = (size >> excess | (size & ((1 << excess) - 1) != 0)) << excess
    return size if integer > 0 else -size


def _beyond_fp32(name: str) -> PredictError:
    return invalid(f"input {name!r} is FP32 and holds a number beyond 3.4e38; send numbers that FP32 has")


def _integer_range(datatype: str) -> tuple[int, int]:
    bits = 8 * DATATYPES[datatype].itemsize
    return (0, (1 << bits) - 1) if datatype[0] == "U" else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def _fits(value: object, datatype: str) -> bool:
    if datatype == "BYTES":
        return isinstance(value, str)
    if datatype == "BOOL":
        return isinstance(value, bool) or (type(value) is int and value in (0, 1))
    if type(value) not in (int, float):
        return False
    if datatype[:2] == "FP":
        return datatype != "FP16" or abs(value) < _FP16_OVERFLOW  # type: ignore[arg-type]
    low, high = _integer_range(datatype)
    return type(value) is int and low <= value <= high


def _refusal(name: str, datatype: str, index: int, element: object) -> PredictError:
    if datatype in ("BYTES", "BOOL"):
        takes = {"BYTES": "strings", "BOOL": "true, false, 1 and 0"}[datatype]
    elif datatype[:2] == "FP":
        takes = "numbers" if datatype != "FP16" else "numbers within ±65504"
    else:
        takes = "whole numbers from {} to {}, without a decimal point".format(*_integer_range(datatype))
    return invalid(f"{name!r}: element {index} in row-major order is {describe(element)}; {datatype} takes {takes}")
