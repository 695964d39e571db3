"""Tables of a TOML file as dataclasses, read strictly."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any, TypeVar

T = TypeVar("T")
LARGEST = 1 << 62  # of any number; sizes are 64 bits wide in ONNX
_TYPES: dict[str, type | tuple[type, ...]] = {"str": str, "int": int, "float": (int, float)}


class TableError(Exception):
    """A table that is not the dataclass's; the message names the field and what it should be."""


def make(cls: type[T], where: str, values: dict[str, Any]) -> T:
    """An instance of a dataclass from a table; types are checked as far as TOML can get them wrong."""
    known = {item.name: item for item in fields(cls)}  # type: ignore[arg-type]
    required = {name for name, item in known.items() if item.default is MISSING and item.default_factory is MISSING}
    if not isinstance(values, dict):
        raise TableError(f"{where}should be a table")
    if unknown := set(values) - set(known):
        raise TableError(f"{where}unknown fields {sorted(unknown)}; known are {sorted(known)}")
    if missing := required - set(values):
        raise TableError(f"{where}missing fields {sorted(missing)}")
    for name, value in values.items():
        if not _fits(value, str(known[name].type)):
            raise TableError(f"{where}{name} is {value!r}; {known[name].type} is expected")
    return cls(**values)


def _fits(value: object, kind: str) -> bool:
    """Whether a TOML value is of a field's type, as its annotation spells it; tables are read elsewhere."""
    if kind.startswith("list[") and kind[5:-1] in _TYPES:
        return isinstance(value, list) and all(_fits(item, kind[5:-1]) for item in value)
    if kind == "bool":
        return isinstance(value, bool)
    if kind not in _TYPES:
        return True
    if isinstance(value, bool) or not isinstance(value, _TYPES[kind]):
        return False
    return not isinstance(value, int | float) or abs(value) < LARGEST  # false for NaN as well
