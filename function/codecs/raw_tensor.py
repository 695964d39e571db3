"""Raw bytes -> tensors; tensors -> raw bytes or JSON values. json_tensor.py has the way from JSON."""

from __future__ import annotations

from function.errors import invalid
from function.tensor import DATATYPES, Tensor, element_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Buffer

    from function.messages import Body


def fill_shape(shape: tuple[int, ...], count: int) -> tuple[int, ...] | None:
    """`shape` with its dynamic dimension, if any, set so that there are `count` elements; else None."""
    known = element_count(tuple(size for size in shape if size >= 0))
    dynamic = sum(size < 0 for size in shape)
    if dynamic == 0:
        return shape if known == count else None
    if dynamic > 1 or known == 0 or count % known:
        return None
    return tuple(count // known if size < 0 else size for size in shape)


def tensor_from_bytes(name: str, datatype: str, shape: tuple[int, ...], body: Body, span: slice) -> Tensor:
    """The tensor in `body[span]`: little-endian, row-major; BYTES have a 4-byte length before each element.

    No copy when the elements lie aligned. PredictError (INVALID_ARGUMENT) when the size is not the shape's.
    """
    kind, count = DATATYPES[datatype], element_count(shape)
    data = memoryview(body)[span]
    if datatype == "BYTES":
        return Tensor(datatype, shape, _split(name, data.tobytes(), count))
    if data.nbytes != count * kind.itemsize:
        raise invalid(
            f"{name!r} has {data.nbytes} bytes of binary data; expected {count * kind.itemsize} for shape "
            f"{list(shape)} of {datatype}"
        )
    if datatype == "BOOL" and data.tobytes().translate(None, b"\0\1"):
        raise invalid(f"{name!r} is BOOL: each byte must be 0 or 1; any other has no meaning")
    # A bytes object's content is 16-byte aligned (its header has 32 bytes): the offset tells the alignment.
    # Vectorised C++ code may crash on elements that are not aligned: those are copied once.
    return Tensor(datatype, shape, bytes(data) if span.start % kind.itemsize else data)


def _split(name: str, data: bytes, count: int) -> list[bytes]:
    elements: list[bytes] = []
    at = 0
    while len(elements) < count and at + 4 <= len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "little")
        if end > len(data):
            break
        elements.append(data[at + 4 : end])
        at = end
    if len(elements) != count or at != len(data):
        raise invalid(
            f"{name!r} has {len(elements)} whole elements in the first {at} of {len(data)} bytes; expected "
            f"{count} in all, each a 4-byte little-endian length and that many bytes"
        )
    return elements


def tensor_to_bytes(tensor: Tensor) -> Buffer:
    """The inverse of `tensor_from_bytes`; the tensor's own memory but for BYTES."""
    if isinstance(tensor.data, list):
        return b"".join(part for item in tensor.data for part in (len(item).to_bytes(4, "little"), item))
    return tensor.data


def tensor_to_json(name: str, tensor: Tensor, *, nullable: bool = False) -> list[Any]:
    """The elements as a flat list of what JSON has; FP32 as the double of the same value. `nullable`: NaN is null.

    PredictError (INVALID_ARGUMENT) for what JSON cannot carry: NaN, Infinity, BF16, BYTES that are not UTF-8.
    """
    mend = "ask for it as binary data (protocol v2, parameter binary_data of the output)"
    if isinstance(tensor.data, list):
        try:
            return [item.decode() for item in tensor.data]
        except UnicodeDecodeError:
            raise invalid(f"output {name!r} has bytes that are not UTF-8, which JSON cannot carry; {mend}") from None
    if tensor.datatype == "BF16":
        raise invalid(f"output {name!r} is BF16, which has no JSON form; {mend}")
    values = list(tensor.numbers())
    if tensor.datatype[:2] == "FP" and sum(values) - sum(values) != 0:  # a finite sum has only finite terms
        for index, value in enumerate(values):
            if nullable and value != value:  # noqa: PLR0124  (NaN alone)
                values[index] = None
            elif value - value != 0:
                raise invalid(
                    f"output {name!r} is {value} at element {index} in row-major order; JSON cannot say it: {mend}"
                )
    return values


def nested(values: list[Any], shape: tuple[int, ...]) -> Any:
    """The flat `values` as lists of lists of the given shape; the one value itself for an empty shape."""
    if not shape:
        return values[0]
    for depth in range(len(shape) - 1, 0, -1):
        size = shape[depth]
        values = [values[at * size : (at + 1) * size] for at in range(element_count(shape[:depth]))]
    return values
