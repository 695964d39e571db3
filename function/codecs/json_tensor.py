"""JSON arrays read as tensors: flat or nested, checked for their real shape, into one contiguous buffer."""

from __future__ import annotations

import struct

from function.codecs.json_body import Array, describe, value_at
from function.errors import invalid
from function.native.yyjson import ARRAY, REAL, SINT, UINT, Numbers
from function.tensor import DATATYPES, JsonTensor, Tensor, element_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable, Iterator
    from typing import Any

    from function.errors import PredictError

_DEEPEST = 64  # dimensions
_NUMBERS_AND_ARRAYS = bytes((ARRAY, REAL, UINT, SINT))
_FP16_OVERFLOW = 65520.0  # the smallest number that IEEE 754 rounding takes to infinity in binary16


def read_array(name: str, datatype: str, shape: tuple[int, ...], data: Array, *, nullable: bool = False) -> Tensor:
    """The tensor in `data`, which is flat (any shape) or nested exactly as `shape`.

    FP32 comes as a JsonTensor, which the session rounds. `nullable`: null is NaN. PredictError (INVALID_ARGUMENT)
    when a length is not the shape's or an element does not fit the datatype.
    """
    if datatype == "BF16":
        raise invalid(
            f"{name!r} is BF16, which has no JSON form; send it as binary data (protocol v2, binary_data_size)"
        )
    count = element_count(shape)
    nested = len(shape) > 1 and isinstance(data.first(), Array)
    if nested:
        rows, columns = _rows(name, shape, data), shape[-1]
    elif len(data) == count:
        rows, columns = [data.index + 1], count
    else:
        raise invalid(
            f"{name!r} has data of shape {list(nested_shape(data))}; expected shape {list(shape)}, "
            f"nested, or flat with {count} elements"
        )
    depth = len(shape) if nested else 1
    if datatype in ("BYTES", "BOOL"):
        return _from_elements(name, datatype, shape, list(_elements(data, depth)))
    # All rows have their lengths. When there are no more arrays than those, each element is a number or something else.
    numbers = Numbers(data.document, data.index, data.document.after(data.index))
    arrays = sum(element_count(shape[:level]) for level in range(depth))
    if numbers.count != count or numbers.arrays != arrays or len(numbers.kinds) != count + arrays:
        if nullable:
            from function.codecs import values  # only for data with gaps

            return values.packed(name, datatype, shape, list(_elements(data, depth)), nullable=True)
        raise _not_a_number(name, datatype, numbers, _elements(data, depth))
    if datatype == "FP32":
        return JsonTensor(shape, numbers)
    try:
        return Tensor(datatype, shape, _packed(datatype, numbers, rows, columns))
    except (OverflowError, struct.error):
        raise _misfit(name, datatype, _elements(data, depth)) from None


def _rows(name: str, shape: tuple[int, ...], data: Array) -> list[int]:
    """The number of each innermost row's first element, once every array has been found with its length."""
    document = data.document
    if len(data) != shape[0]:
        raise _misshapen(name, shape, 0, 0, data)
    level = [data.index]
    for depth in range(1, len(shape)):
        arrays = list[int]()
        for index in level:
            at = index + 1
            for _ in range(shape[depth - 1]):
                if not document.is_array_of(at, shape[depth]):
                    raise _misshapen(name, shape, depth, len(arrays), value_at(document, at))
                arrays.append(at)
                at = document.after(at)
        level = arrays
    return [index + 1 for index in level]


def _misshapen(name: str, shape: tuple[int, ...], depth: int, position: int, found: object) -> PredictError:
    """`found` is what stands at `position`, in row-major order, where an array was expected `depth` levels down."""
    place = ""
    for size in reversed(shape[:depth]):
        position, index = divmod(position, size)
        place = f"[{index}]{place}"
    because = f"because the shape is {list(shape)}"
    if isinstance(found, Array):
        return invalid(f"{name!r}: data{place} has {len(found)} elements; expected {shape[depth]}, {because}")
    return invalid(
        f"{name!r}: data{place} is {describe(found)}; expected an array of {shape[depth]} elements, {because}"
    )


def _packed(datatype: str, numbers: Numbers, rows: list[int], columns: int) -> bytes | array[Any]:
    """The numbers in their datatype, row-major. OverflowError when one does not fit; for FP16, struct.error too."""
    from array import array  # 0.2 ms

    words = array("Q")
    for start in rows:
        words += numbers.document.payloads(start, columns)
    kinds = numbers.kinds.translate(None, bytes([ARRAY]))
    if datatype[:2] != "FP":
        return _integers(datatype, kinds, words)
    bits = memoryview(words).cast("B")
    if numbers.integers:
        as_kind = {REAL: bits.cast("d"), UINT: words, SINT: bits.cast("q")}
        bits = memoryview(array("d", [as_kind[kind][at] for at, kind in enumerate(kinds)]))
    if datatype == "FP64":
        return bits.tobytes()
    return struct.pack(f"<{len(kinds)}e", *bits.cast("B").cast("d"))


def doubles(tensor: JsonTensor) -> tuple[float, ...]:
    """The numbers of a tensor of one dimension as they came."""
    numbers = tensor.unrounded
    packed = _packed("FP64", numbers, [numbers.start + 1], numbers.count)
    return struct.unpack(f"<{numbers.count}d", packed)


def _integers(datatype: str, kinds: bytes, words: array[int]) -> array[int]:
    from array import array

    if REAL in kinds or (datatype[0] == "U" and SINT in kinds):
        raise OverflowError
    if datatype == "UINT64":
        return words
    integers = array("q", memoryview(words).tobytes())
    # A UINT from 2^63 on is negative when read as int64. All elements are compared at once, as two large integers:
    signs = int.from_bytes(integers.tobytes()[7::8], "big")
    naturals = int.from_bytes(kinds.translate(bytes(0x80 * (kind == UINT) for kind in range(256))), "big")
    if signs & naturals:
        raise OverflowError
    return integers if datatype == "INT64" else array(DATATYPES[datatype].code, integers)


def _elements(data: Array, depth: int) -> Iterator[Any]:
    """What is `depth` levels down, in row-major order."""
    for element in data:
        if depth > 1:
            yield from _elements(element, depth - 1)  # type: ignore[arg-type]
        else:
            yield element


def nested_shape(data: Array) -> tuple[int, ...]:
    """The shape that the first element of each level suggests; `read_array` checks the others.

    PredictError when it has more dimensions than any tensor.
    """
    shape = [len(data)]
    first = data.first()
    while isinstance(first, Array):
        shape.append(len(first))
        first = first.first()
        if len(shape) > _DEEPEST:
            raise invalid(f"an array is nested deeper than {_DEEPEST} levels; send one that has the input's shape")
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


def _not_a_number(name: str, datatype: str, numbers: Numbers, elements: Iterable[Any]) -> PredictError:
    """The refusal that names the first of `elements` that is no number; they are many, so it is looked up by kind."""
    at = len(numbers.kinds) - len(numbers.kinds.lstrip(_NUMBERS_AND_ARRAYS))
    if at == len(numbers.kinds):  # an array stands where a number should
        return _misfit(name, datatype, elements)
    element = value_at(numbers.document, numbers.start + at)
    return _refusal(name, datatype, at - numbers.kinds[:at].count(ARRAY), element)


def _misfit(name: str, datatype: str, elements: Iterable[Any]) -> PredictError:
    """The refusal that names the first of `elements` that does not fit."""
    index, element = next(pair for pair in enumerate(elements) if not _fits(pair[1], datatype))
    return _refusal(name, datatype, index, element)


def _refusal(name: str, datatype: str, index: int, element: object) -> PredictError:
    if datatype in ("BYTES", "BOOL"):
        takes = {"BYTES": "strings", "BOOL": "true, false, 1 and 0"}[datatype]
    elif datatype[:2] == "FP":
        takes = "numbers" if datatype != "FP16" else "numbers within ±65504"
    else:
        takes = "whole numbers from {} to {}, without a decimal point".format(*_integer_range(datatype))
    return invalid(f"{name!r}: element {index} in row-major order is {describe(element)}; {datatype} takes {takes}")
