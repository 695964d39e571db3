"""Tensors as plain buffers, the datatypes that ONNX and the Open Inference Protocol share, and what models take."""

from __future__ import annotations

import struct

TYPE_CHECKING = False  # `import typing` costs 5 ms of a cold start; type checkers take this name as true
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Protocol

    from typing_extensions import Buffer

    class ModelView(Protocol):
        """What a codec needs to know of a model."""

        @property
        def name(self) -> str: ...
        @property
        def version(self) -> str: ...
        @property
        def inputs(self) -> Mapping[str, Spec]: ...
        @property
        def outputs(self) -> Mapping[str, Spec]: ...


class Datatype:
    """One row of the table: protocol name, ONNX element type number, bytes per element (0: variable), struct code.

    Numbers: `ONNXTensorElementDataType` of onnxruntime_c_api.h; names: the protocol's "Tensor Data Types".
    """

    __slots__ = ("code", "itemsize", "name", "onnx")

    def __init__(self, name: str, onnx: int, itemsize: int, code: str) -> None:
        self.name, self.onnx, self.itemsize, self.code = name, onnx, itemsize, code


DATATYPES = {
    row.name: row
    for row in (
        Datatype("FP32", 1, 4, "f"),
        Datatype("UINT8", 2, 1, "B"),
        Datatype("INT8", 3, 1, "b"),
        Datatype("UINT16", 4, 2, "H"),
        Datatype("INT16", 5, 2, "h"),
        Datatype("INT32", 6, 4, "i"),
        Datatype("INT64", 7, 8, "q"),
        Datatype("BYTES", 8, 0, ""),
        Datatype("BOOL", 9, 1, "?"),
        Datatype("FP16", 10, 2, "e"),
        Datatype("FP64", 11, 8, "d"),
        Datatype("UINT32", 12, 4, "I"),
        Datatype("UINT64", 13, 8, "Q"),
        Datatype("BF16", 16, 2, ""),
    )
}
NAME_OF_ONNX = {row.onnx: row.name for row in DATATYPES.values()}


class Spec:
    """What a model takes or gives under one name: `datatype` of DATATYPES, `shape` with -1 for a dynamic dimension.

    `nullable`: null stands for NaN in JSON.
    """

    __slots__ = ("datatype", "name", "nullable", "shape")

    def __init__(self, name: str, datatype: str, shape: tuple[int, ...], *, nullable: bool = False) -> None:
        self.name, self.datatype, self.shape, self.nullable = name, datatype, shape, nullable

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of `shape` fits: the same rank, and the same size where this one is not dynamic."""
        return len(shape) == len(self.shape) and all(
            want in (-1, got) for want, got in zip(self.shape, shape, strict=True)
        )


class ImageRule:
    """The [image] table of model.toml: how a picture becomes the tensor `input`, and `output` its classes.

    `size` is (height, width) of the result. `resize` is "stretch" (to `size`, whatever the shape) or
    "shorter_side" (to `resize_to`, the longer side in proportion, then `size` is cut from the centre).
    `filter` is Pillow's name in lower case. `mean`, `std` and `layout` are for the graph that follows.
    """

    __slots__ = ("activation", "filter", "input", "layout", "mean", "output", "resize", "resize_to", "size", "std")

    def __init__(  # noqa: PLR0913
        self,
        *,
        input: str,  # noqa: A002  # the names of model.toml
        output: str,
        size: list[int],
        mean: list[float],
        std: list[float],
        activation: str,
        resize: str,
        resize_to: int,
        filter: str,  # noqa: A002
        layout: str,
    ) -> None:
        self.input, self.output, self.activation, self.layout = input, output, activation, layout
        self.size, self.mean, self.std = (size[0], size[1]), mean, std
        self.resize, self.resize_to, self.filter = resize, resize_to, filter


class Tensor:
    """`data`: row-major little-endian elements in one contiguous buffer; for BYTES a list of bytes objects."""

    __slots__ = ("data", "datatype", "shape")

    def __init__(self, datatype: str, shape: tuple[int, ...], data: Buffer | list[bytes]) -> None:
        self.datatype, self.shape, self.data = datatype, shape, data

    def numbers(self) -> tuple[Any, ...]:
        """The elements in row-major order as Python numbers; TypeError for BYTES and BF16, which are none to Python."""
        code = DATATYPES[self.datatype].code
        if isinstance(self.data, list) or not code:
            raise TypeError(f"{self.datatype} elements are not numbers")
        return struct.unpack(f"<{element_count(self.shape)}{code}", self.data)


class PixelTensor(Tensor):
    """UINT8 [n, height, width, 3], RGB: a picture, until the model makes its own input of it."""

    __slots__ = ()

    def __init__(self, shape: tuple[int, ...], pixels: Buffer) -> None:
        super().__init__("UINT8", shape, pixels)


class InferInputs:
    """A tensor for each of a model's inputs, and the names of the outputs that are wanted; None: all."""

    __slots__ = ("inputs", "output_names")

    def __init__(self, inputs: dict[str, Tensor], output_names: list[str] | None = None) -> None:
        self.inputs, self.output_names = inputs, output_names


def element_count(shape: tuple[int, ...]) -> int:
    """The product of the dimensions; 1 for a scalar's empty shape."""
    count = 1
    for size in shape:
        count *= size
    return count
