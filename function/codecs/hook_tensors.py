"""Tensors for processing.py and from it: plain lists, or numpy's arrays where its author brings numpy along."""

from __future__ import annotations

from function.codecs.raw_tensor import nested
from function.codecs.values import packed
from function.errors import invalid
from function.tensor import DATATYPES, Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from function.tensor import Spec

_DEEPEST = 64
_NUMPY_KINDS = {"FP": "f", "IN": "i", "UI": "u", "BO": "b"}


class Output:
    """One output of the model. `numpy.asarray(output)` takes it without a copy, but for BYTES and BF16."""

    __slots__ = ("_tensor", "datatype", "shape")

    def __init__(self, tensor: Tensor) -> None:
        self._tensor, self.shape, self.datatype = tensor, tensor.shape, tensor.datatype

    def tolist(self) -> Any:
        """Nested lists of numbers, or of bytes; one value for an empty shape."""
        data = self._tensor.data
        return nested(list(data if isinstance(data, list) else self._tensor.numbers()), self.shape)

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """numpy.org/doc/stable/reference/arrays.interface.html"""
        kind = DATATYPES[self.datatype]
        if not kind.code:
            raise AttributeError(f"{self.datatype} has no counterpart in numpy; use tolist()")
        typestr = f"<{_NUMPY_KINDS[self.datatype[:2]]}{kind.itemsize}"
        return {"version": 3, "shape": self.shape, "typestr": typestr, "data": self._tensor.data}


def to_tensors(given: Any, specs: Mapping[str, Spec]) -> dict[str, Tensor]:
    """What preprocess returned, as the model's inputs. PredictError when it is something else."""
    if not hasattr(given, "keys") or set(given.keys()) != set(specs):
        came = ", ".join(map(str, given.keys())) if hasattr(given, "keys") else f"a {type(given).__name__}"
        raise invalid(f"preprocess gave {came}; a dict with the model's inputs is expected: {', '.join(specs)}")
    return {name: _tensor(spec, given[name]) for name, spec in specs.items()}


def _tensor(spec: Spec, value: Any) -> Tensor:
    code = {"q": "l", "Q": "L"}.get(DATATYPES[spec.datatype].code, DATATYPES[spec.datatype].code)
    try:
        view = None if isinstance(value, (bytes, bytearray, str)) else memoryview(value)
    except (TypeError, ValueError):
        view = None
    if view is not None and view.format.lstrip("<=@") in (code, DATATYPES[spec.datatype].code) and view.ndim and code:
        content = view.cast("B") if view.c_contiguous and view.nbytes else view.tobytes()
        found = Tensor(spec.datatype, view.shape or (), content)
    else:
        flat: list[Any] = []
        shape = _flatten(value, flat)
        found = packed(spec.name, spec.datatype, shape, flat, nullable=spec.nullable)
    if not spec.accepts(found.shape):
        raise invalid(
            f"preprocess gave {list(found.shape)} for input {spec.name!r}; the model takes {list(spec.shape)}"
        )
    return found


def _flatten(value: Any, into: list[Any], depth: int = 0) -> tuple[int, ...]:
    """Adds the values in row-major order; the shape that they have."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        into.append(value)
        return ()
    shapes = {_flatten(element, into, depth + 1) for element in value} if depth < _DEEPEST else {(), (0,)}
    if len(shapes) > 1:
        raise invalid("preprocess gave lists of different lengths, or lists and numbers, beside each other")
    return (len(value), *(shapes.pop() if shapes else ()))
