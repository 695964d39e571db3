"""JSON arrays read as tensors: flat or nested, checked for their real shape, into one contiguous buffer."""

from __future__ import annotations

import struct

from function.errors import invalid
from function.json_body import describe
from function.tensor import DATATYPES, Tensor, element_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from simdjson import Array

    from function.errors import PredictError

# simdjson flattens an array into doubles, int64 or uint64; narrower integers are packed from int64.
_FLATTENED_AS = {"FP16": "d", "FP32": "d", "FP64": "d", "UINT64": "u"}
_LONGEST = 0xFFFFFE  # simdjson's count of an array's elements stops at the next number
_FP16_OVERFLOW = 65520.0  # the smallest number that IEEE 754 rounding takes to infinity in binary16


class ArrayReader:
    """Reads the number arrays of one JSON body.

    simdjson flattens whatever is nested, so [[1], 2] would pass for two numbers. Looking at each element
    takes 9 ms for 150,000 of them. Instead `arrays` counts the arrays whose length was checked, the caller
    adds the others that it knows to be in the body, and `verify` counts the opening brackets: when there are
    no more of them than arrays, nothing is hidden. Only otherwise is each element looked at.
    """

    __slots__ = ("_unproven", "arrays")

    def __init__(self) -> None:
        self.arrays = 0
        self._unproven: list[tuple[str, str, Array, int]] = []

    def read(self, name: str, datatype: str, shape: tuple[int, ...], data: Array) -> Tensor:
        """The tensor in `data`, which is flat (any shape) or nested exactly as `shape`.

        FP32 comes back as FP64, which the session narrows. PredictError (INVALID_ARGUMENT) when a
        length is not the shape's or an element does not fit the datatype.
        """
        if datatype == "BF16":
            raise invalid(
                f"{name!r} is BF16, which has no JSON form; send it as binary data (protocol v2, binary_data_size)"
            )
        count = element_count(shape)
        if max(count, *shape, 0) > _LONGEST:
            raise invalid(
                f"{name!r} has shape {list(shape)}; JSON data takes up to {_LONGEST} elements: "
                "send it as binary data (protocol v2, binary_data_size)"
            )
        nested = len(shape) > 1 and len(data) and type(data[0]) is type(data)
        depth = len(shape) if nested else 1
        if nested:
            self.arrays += _checked(name, shape, data, [0] * depth, 0)
        elif len(data) == count:
            self.arrays += 1
        else:
            raise invalid(
                f"{name!r} has data of shape {list(nested_shape(data))}; expected shape {list(shape)}, "
                f"nested, or flat with {count} elements"
            )
        if datatype in ("BYTES", "BOOL"):
            return _from_elements(name, datatype, shape, list(_elements(data, depth)))
        self._unproven.append((name, datatype, data, depth))
        try:
            buffer = data.as_buffer(of_type=_FLATTENED_AS.get(datatype, "i"))  # type: ignore[arg-type]
            view = memoryview(buffer)
            if view.nbytes != 8 * count:
                raise _misfit(name, datatype, _elements(data, depth))
            if datatype in ("FP32", "FP64"):
                return Tensor("FP64", shape, buffer)
            if datatype in ("INT64", "UINT64"):
                return Tensor(datatype, shape, buffer)
            if datatype == "FP16":
                return Tensor(datatype, shape, struct.pack(f"<{count}e", *view.cast("d")))
            from array import array

            return Tensor(datatype, shape, array(DATATYPES[datatype].code, view.cast("q")))
        except (TypeError, ValueError, OverflowError):
            raise _misfit(name, datatype, _elements(data, depth)) from None

    def verify(self, body: bytes) -> None:
        """PredictError when an array that was read hides a further one; `body` is what was parsed."""
        brackets, at = 0, body.find(b"[")  # one find for each bracket: five times as fast as bytes.count
        while at >= 0 and brackets <= self.arrays:
            brackets += 1
            at = body.find(b"[", at + 1)
        if brackets > self.arrays:  # or a string has a bracket
            for name, datatype, data, depth in self._unproven:
                if any(type(element) is type(data) for element in _elements(data, depth)):
                    raise _misfit(name, datatype, _elements(data, depth))


def _checked(name: str, shape: tuple[int, ...], array: Array, path: list[int], depth: int) -> int:
    """How many arrays `array` is, itself and its rows, once all have their lengths; `path` leads to it."""
    if len(array) != shape[depth]:
        raise invalid(
            f"{name!r}: {_place(path[:depth])} has {len(array)} elements; expected {shape[depth]}, because "
            f"the shape is {list(shape)}"
        )
    arrays = 1
    if depth + 1 < len(shape):
        for path[depth], row in enumerate(array):
            if type(row) is not type(array):
                raise invalid(
                    f"{name!r}: {_place(path[: depth + 1])} is {describe(row)}; expected an array of "
                    f"{shape[depth + 1]} elements, because the shape is {list(shape)}"
                )
            arrays += _checked(name, shape, row, path, depth + 1)
    return arrays


def _place(path: list[int]) -> str:
    return "data" + "".join(f"[{index}]" for index in path)


def _elements(array: Any, depth: int) -> Iterator[Any]:
    """What is `depth` levels down, in row-major order."""
    for element in array:
        if depth > 1:
            yield from _elements(element, depth - 1)
        else:
            yield element


def nested_shape(data: Array) -> tuple[int, ...]:
    """The shape that the first element of each level suggests; ArrayReader.read checks the others."""
    shape = [len(data)]
    level: object = data
    while shape[-1] and type(level[0]) is type(data):  # type: ignore[index]
        level = level[0]  # type: ignore[index]
        shape.append(len(level))
    return tuple(shape)


def _from_elements(name: str, datatype: str, shape: tuple[int, ...], elements: list[Any]) -> Tensor:
    if not all(_fits(element, datatype) for element in elements):
        raise _misfit(name, datatype, elements)
    if datatype == "BOOL":
        return Tensor(datatype, shape, bytes(elements))
    return Tensor(datatype, shape, [element.encode() for element in elements])


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


def _misfit(name: str, datatype: str, elements: Iterable[Any]) -> PredictError:
    """The refusal that names the first of `elements` that does not fit."""
    if datatype in ("BYTES", "BOOL"):
        takes = {"BYTES": "strings", "BOOL": "true, false, 1 and 0"}[datatype]
    elif datatype[:2] == "FP":
        takes = "numbers" if datatype != "FP16" else "numbers within ±65504"
    else:
        takes = "whole numbers from {} to {}, without a decimal point".format(*_integer_range(datatype))
    index, element = next(pair for pair in enumerate(elements) if not _fits(pair[1], datatype))
    return invalid(f"{name!r}: element {index} in row-major order is {describe(element)}; {datatype} takes {takes}")
