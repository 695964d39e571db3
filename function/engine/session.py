"""Sessions of ONNX Runtime: buffers in without a copy, buffers out, the GIL free during a run."""

from __future__ import annotations

import ctypes
import os
from ctypes import byref, c_char_p, c_int, c_int64, c_size_t, c_void_p

from function.native.buffer import Borrowed, borrow, give_back
from function.native.ort_capi import Library, OrtError, get_library
from function.tensor import DATATYPES, NAME_OF_ONNX, Spec, Tensor, element_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OPTIMISE_NONE, OPTIMISE_BASIC, OPTIMISE_ALL = 0, 1, 99  # GraphOptimizationLevel
_CONFIG = {  # measured in docs/decisions.md
    b"session.use_env_allocators": b"1",  # the arena that ort_capi.Library made
    b"session.intra_op.allow_spinning": b"0",  # spinning burns billed CPU after the answer
    b"session.use_device_allocator_for_initializers": b"1",  # weights outside the arena
}


class _Borrowed:
    """What one run borrows: buffers of the caller's and ORT values. All given back by `close`, run or not."""

    def __init__(self, ort: Library) -> None:
        self.ort = ort
        self.buffers: list[Borrowed] = []
        self.values: list[int] = []

    def value(self, tensor: Tensor) -> int:
        """An OrtValue over the tensor's own memory (BYTES are copied: ORT keeps std::string)."""
        shape = (c_int64 * len(tensor.shape))(*tensor.shape)
        rank, kind = len(tensor.shape), DATATYPES[tensor.datatype]
        count = element_count(tensor.shape)
        if isinstance(tensor.data, list):
            if len(tensor.data) != count:  # before ORT makes as many strings as the shape says
                raise OrtError(2, f"shape {list(tensor.shape)} needs {count} elements, {len(tensor.data)} came")
            value = self.ort.create("CreateTensorAsOrtValue", self.ort.allocator, shape, rank, kind.onnx)
            self.values.append(value)
            for index, element in enumerate(tensor.data):
                # FillStringTensor would stop at a NUL byte.
                target = self.ort.create("GetResizedStringTensorElementBuffer", value, index, len(element))
                ctypes.memmove(target, element, len(element))
            return value
        view = borrow(tensor.data)
        self.buffers.append(view)
        if view.len != (size := count * kind.itemsize):
            raise OrtError(2, f"shape {list(tensor.shape)} of {kind.name} needs {size} bytes, not {view.len}")
        value = self.ort.create(
            "CreateTensorWithDataAsOrtValue", self.ort.memory, view.buf, view.len, shape, rank, kind.onnx
        )
        self.values.append(value)
        return value

    def close(self) -> None:
        for value in self.values:
            self.ort.ReleaseValue(value)
        for view in self.buffers:
            give_back(view)


class _Output:
    """Owns an OrtValue until the last view of its memory is gone."""

    __slots__ = ("ort", "value")

    def __init__(self, ort: Library, value: int) -> None:
        self.ort, self.value = ort, value

    def __del__(self) -> None:
        self.ort.ReleaseValue(self.value)

    def tensor(self) -> Tensor:
        """The value's content: a view of ORT's own memory, or for strings a list of bytes."""
        info = self.ort.create("GetTensorTypeAndShape", self.value)
        try:
            datatype, shape = _type_and_shape(self.ort, info)
        finally:
            self.ort.ReleaseTensorTypeAndShapeInfo(info)
        count = element_count(shape)
        if datatype == "BYTES":
            return Tensor(datatype, shape, self._strings(count))
        address = self.ort.create("GetTensorMutableData", self.value)
        memory = (ctypes.c_ubyte * (count * DATATYPES[datatype].itemsize)).from_address(address or id(self))
        memory.owner = self  # type: ignore[attr-defined]  # a memoryview keeps `memory`, and that keeps the value
        return Tensor(datatype, shape, memoryview(memory).cast("B"))

    def _strings(self, count: int) -> list[bytes]:
        length = c_size_t()
        self.ort.GetStringTensorDataLength(self.value, byref(length))
        text, starts = ctypes.create_string_buffer(max(length.value, 1)), (c_size_t * max(count, 1))()
        self.ort.GetStringTensorContent(self.value, text, length.value, starts, count)
        ends = [*starts[1:count], length.value] if count else []
        content = text.raw  # a copy of the whole: once
        return [content[start:end] for start, end in zip(starts[:count], ends, strict=True)]


def _type_and_shape(ort: Library, info: int) -> tuple[str, tuple[int, ...]]:
    """Protocol datatype and dimensions (-1 where symbolic) of an OrtTensorTypeAndShapeInfo."""
    kind, rank = c_int(), c_size_t()
    ort.GetTensorElementType(info, byref(kind))
    ort.GetDimensionsCount(info, byref(rank))
    dimensions = (c_int64 * rank.value)()
    ort.GetDimensions(info, dimensions, rank.value)
    if kind.value not in NAME_OF_ONNX:
        raise OrtError(9, f"ONNX element type {kind.value} has no counterpart in the Open Inference Protocol")
    return NAME_OF_ONNX[kind.value], tuple(dimensions)


class Session:
    """One loaded graph. `run` may be called from any number of threads at once."""

    _handle = 0

    def __init__(self, model: str | bytes, *, optimise: int, threads: int, weights: Mapping[str, bytes] = {}) -> None:
        """Loads an ONNX file, a path or its bytes; `threads` work on one run. OrtError when ORT cannot load it.

        The files of external data that the graph names lie beside it and are mapped; those in `weights`, by name, are
        copied from there instead.
        """
        self._ort = get_library()
        options = self._ort.create("CreateSessionOptions")
        try:
            self._ort.SetSessionGraphOptimizationLevel(options, optimise)
            self._ort.SetIntraOpNumThreads(options, threads)
            for key, value in _CONFIG.items():
                self._ort.AddSessionConfigEntry(options, key, value)
            if weights:
                count = len(weights)
                self._ort.AddExternalInitializersFromFilesInMemory(
                    options,
                    (c_char_p * count)(*map(os.fsencode, weights)),
                    (c_char_p * count)(*weights.values()),
                    (c_size_t * count)(*map(len, weights.values())),
                    count,
                )
            if isinstance(model, str):
                self._handle = self._ort.create("CreateSession", self._ort.env, os.fsencode(model), options)
            else:
                arguments = (self._ort.env, model, len(model), options)
                self._handle = self._ort.create("CreateSessionFromArray", *arguments)
        finally:
            self._ort.ReleaseSessionOptions(options)
        self.inputs = self._specs("Input")
        self.outputs = self._specs("Output")

    def __del__(self) -> None:
        if self._handle:
            self._ort.ReleaseSession(self._handle)

    def _specs(self, side: str) -> dict[str, Spec]:
        count, specs = c_size_t(), {}
        getattr(self._ort, f"SessionGet{side}Count")(self._handle, byref(count))
        for index in range(count.value):
            address = self._ort.create(f"SessionGet{side}Name", self._handle, index, self._ort.allocator)
            name = ctypes.string_at(address).decode()
            self._ort.AllocatorFree(self._ort.allocator, address)
            info = self._ort.create(f"SessionGet{side}TypeInfo", self._handle, index)
            try:
                tensor_info = self._ort.create("CastTypeInfoToTensorInfo", info)
                if not tensor_info:
                    raise OrtError(9, f"{side.lower()} {name!r} is not a tensor; sequences and maps cannot be served")
                specs[name] = Spec(name, *_type_and_shape(self._ort, tensor_info))
            finally:
                self._ort.ReleaseTypeInfo(info)
        return specs

    def run(
        self, inputs: Mapping[str, Tensor], outputs: Sequence[str] | None = None, *, shrink: bool = False
    ) -> dict[str, Tensor]:
        """Runs the graph on `inputs` and returns the named `outputs` (all of them when None).

        `shrink`: the arena of all sessions gives back what no run uses. OrtError when a name, datatype or shape is not
        the graph's, or when the graph itself fails.
        """
        options = self._ort.create("CreateRunOptions") if shrink else None
        names = list(self.outputs if outputs is None else outputs)
        borrowed = _Borrowed(self._ort)
        try:
            if options:
                self._ort.AddRunConfigEntry(options, b"memory.enable_memory_arena_shrinkage", b"cpu:0")
            values = [borrowed.value(tensor) for tensor in inputs.values()]
            results = (c_void_p * len(names))()
            self._ort.Run(
                self._handle,
                options,
                (c_char_p * len(values))(*(name.encode() for name in inputs)),
                (c_void_p * len(values))(*values),
                len(values),
                (c_char_p * len(names))(*(name.encode() for name in names)),
                len(names),
                results,
            )
        finally:
            borrowed.close()
            if options:
                self._ort.ReleaseRunOptions(options)
        owners = [_Output(self._ort, value or 0) for value in results]
        return {name: owner.tensor() for name, owner in zip(names, owners, strict=True)}
