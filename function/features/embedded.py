"""Rows of a view in a CSV file whose head names its keys and columns: those that come with a model."""

from __future__ import annotations

import csv

from function.features.view import Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from function.features.view import View


def rows(view: View, lines: Iterable[str], event_time: float) -> Iterator[tuple[bytes, Row]]:
    """The entity key and the row of each line; an empty field is null. ValueError, PredictError for what is none."""
    kinds = {name: _READ[kind] for name, kind in view.keys.items()}
    kinds |= {column.name: _READ[column.datatype] for column in view.columns}
    for line in csv.DictReader(lines):
        values = {name: kinds[name](text) if text else None for name, text in line.items() if name in kinds}
        yield (
            view.entity_key(values),
            Row(event_time, {column.name: values.get(column.name) for column in view.columns}),
        )


def _flag(text: str) -> bool:
    return text.lower() in ("true", "1")


_READ: dict[str, Callable[[str], Any]] = {
    "BYTES": str,
    "BOOL": _flag,
    "INT32": int,
    "INT64": int,
    "FP32": float,
    "FP64": float,
}
